"""From a data set on disk to a manifest: adapter, broken and repeated files, splits, leaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cxrlabel.checks import one_of
from cxrlabel.errors import InputError
from cxrvision.data.datasets import AUTO, detect, folder, indexer
from cxrvision.data.files import find_broken, hash_duplicates, named
from cxrvision.data.manifest import among, sort_images
from cxrvision.data.splits import (
    SHARES,
    SPLITS,
    TEST,
    TRAIN,
    VAL,
    carve_validation,
    check_shares,
    find_leaks,
    join_patients,
    require_no_leaks,
    split_patients,
)

if TYPE_CHECKING:
    import pandas as pd

OFFICIAL: Final = "official"
PATIENT: Final = "patient"
NONE: Final = "none"
SPLITTINGS: Final = (OFFICIAL, PATIENT, NONE)
CHECKED: Final = 20_000  # images up to which every file is looked into without being asked


@dataclass(frozen=True, slots=True, eq=False)
class DataIndex:
    """A data set as `cxr data index` writes it."""

    kind: str  # the format
    images: pd.DataFrame  # COLUMNS of a manifest; paths from the data set's folder
    labels: pd.DataFrame | None  # index study_id, only studies with an image
    notes: list[str]  # what was left out, changed or is odd, with counts


def index_folder(
    root: Path,
    *,
    kind: str = AUTO,
    split: str = OFFICIAL,
    seed: int = 0,
    shares: Sequence[float] = SHARES,
    check: bool | None = None,
    table: Path | None = None,
    pattern: str = "",
) -> DataIndex:
    """Index a data set: images with their study, patient, view and split, and its own labels.

    Args:
        root: the data set's folder.
        kind: a name of `INDEXERS`, or "auto".
        split: "official" uses the data set's lists, and carves val from train by patient where they
            have none; without lists, and with "patient", patients are split by a hash of their id.
        check: look into every file for those that are broken, and those with the content of
            another. None does so for up to `CHECKED` images.
        table, pattern: for the format "folder".

    Raises:
        InputError: the folder is not of this kind, a table is bad, or a patient or study is in two
            splits.
    """
    one_of("--split", "value", split, SPLITTINGS)
    check_shares(shares)
    kind = detect(root) if kind == AUTO else kind
    index = indexer(kind)
    if table is not None or pattern:
        if kind != "folder":
            raise InputError(f"--table and --pattern: for --format folder, found {kind}")
        index = partial(folder.index, table=table, pattern=pattern)
    found = index(root)
    images, notes = found.images.reset_index(drop=True), list(found.notes)
    look = len(images) <= CHECKED if check is None else check
    hashes: pd.Series[str] | None = None
    if look:
        images, hashes, told = _look_into(root, images)
        notes += told
    else:
        notes.append(f"{len(images):,} files are not looked into; --check finds broken and copied")
    images, told = _split(images, hashes, split=split, seed=seed, shares=shares)
    notes += told
    require_no_leaks(find_leaks(images, hashes), place=str(root))
    labels = found.labels
    if labels is not None:
        labels = labels[among(labels.index.to_series(), images["study_id"].tolist())]
    return DataIndex(kind, sort_images(images), labels, notes)


def _look_into(root: Path, images: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series[str], list[str]]:
    """The images that are not broken, the hash of those that are copies, and notes."""
    import pandas as pd

    files = [root / path for path in images["path"]]
    broken = pd.Series(find_broken(files), images.index, dtype=bool)
    notes = []
    if broken.any():
        paths = named(images.loc[broken, "path"])
        notes.append(
            f"{int(broken.sum()):,} files are broken (empty or cut off): {paths}; left out"
        )
    if broken.all():
        raise InputError(f"{root}: every image file is broken; {notes[0]}")
    images = images[~broken].reset_index(drop=True)
    files = [root / path for path in images["path"]]
    hashes = hash_duplicates(files, [path.stat().st_size for path in files])
    series = pd.Series(hashes, images.index, dtype="str")
    copies = images[series != ""]
    if len(copies):
        owners = copies["patient_id"].groupby(series[series != ""]).nunique()
        notes.append(
            f"{len(copies):,} images are the same file as another: {named(copies['path'])}; "
            f"{int((owners > 1).sum()):,} of {len(owners):,} such files are of several patients"
        )
    return images, series, notes


def _split(
    images: pd.DataFrame,
    hashes: pd.Series[str] | None,
    *,
    split: str,
    seed: int,
    shares: Sequence[float],
) -> tuple[pd.DataFrame, list[str]]:
    """The images with their splits."""
    if split == NONE:
        return images.assign(split=""), []
    odd = ~images["split"].isin(["", *SPLITS])
    if odd.any():
        found = images.loc[odd, "split"].iloc[0]
        raise InputError(f"split {found!r}: expected train, val, test or nothing")
    keys = images["patient_id"]
    joined = keys if hashes is None else join_patients(keys, hashes)
    notes = []
    if split == PATIENT or (images["split"] == "").all():
        moved = int(images.loc[keys != joined, "patient_id"].nunique())
        if moved:
            notes.append(f"{moved:,} patients are split with another who has the same file")
        listed = "/".join(f"{share:.0%}" for share in shares)
        notes.append(f"split by patient {listed} (train/val/test), seed {seed}")
        return images.assign(split=split_patients(joined, seed=seed, shares=shares)), notes
    require_no_leaks(find_leaks(images), place="official split")
    notes.append("split by the official lists")
    if not (images["split"] == VAL).any():
        train = images["split"] == TRAIN
        carved = carve_validation(joined, seed=seed, shares=shares)
        images = images.assign(split=images["split"].mask(train, carved))
        notes.append(f"val carved from the official train by patient, seed {seed}")
    return _drop_copies(images, hashes, notes)


def _drop_copies(
    images: pd.DataFrame, hashes: pd.Series[str] | None, notes: list[str]
) -> tuple[pd.DataFrame, list[str]]:
    """Take studies out of train, then out of val, whose files are also in a later split.

    Official lists are not rearranged: what is tested on stays as it was published.
    """
    if hashes is None:
        return images, notes
    for part, kept in ((TRAIN, (VAL, TEST)), (VAL, (TEST,))):
        used = (hashes != "") & images["split"].isin(kept)
        copied = (images["split"] == part) & among(hashes, hashes[used].tolist())
        if copied.any():
            studies = set(images.loc[copied, "study_id"])
            dropped = among(images["study_id"], studies) & (images["split"] == part)
            images = images.assign(split=images["split"].mask(dropped, ""))
            notes.append(
                f"{len(studies):,} studies of {part} have a file that is also in "
                f"{' or '.join(kept)}: {named(sorted(studies))}; they are in no split"
            )
    return images, notes
