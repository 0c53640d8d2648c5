"""Studies to train or predict on: which images each has, by view, and what its labels say."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cxrlabel.errors import InputError
from cxrvision.data.views import VIEWS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from cxrvision.data.manifest import Manifest

FEATURES: Final = ("age", "sex", "view_position")

_AGE_SCALE: Final = 100.0  # years
_SEXES: Final = {"F": 0.0, "M": 1.0}
_POSITIONS: Final = {"PA": 0.0, "AP": 1.0}


@dataclass(frozen=True, slots=True, eq=False)
class Studies:
    """N studies with M images of the wanted views; the images of a study are next to each other."""

    ids: NDArray[np.object_]  # [N]
    patients: NDArray[np.object_]  # [N]
    splits: NDArray[np.object_]  # [N]
    positions: NDArray[np.object_]  # [N] view position of the first frontal image, or ""
    sites: NDArray[np.object_]  # [N] "" where it is not known
    offsets: NDArray[np.int64]  # [N + 1] images of study i: offsets[i] to offsets[i + 1]
    images: NDArray[np.object_]  # [M] image ids
    paths: NDArray[np.object_]  # [M]
    views: NDArray[np.int64]  # [M] index in VIEWS
    findings: tuple[str, ...]
    states: NDArray[np.float32]  # [N, F] 1, 0, -1, NaN for blank
    features: NDArray[np.float32]  # [N, K] in the order asked for; NaN where unknown
    left_out: tuple[str, ...]  # what was left out, one line each
    # [N, F, 4] of each of STATES, where the labeler gives them beside the labels
    label_probs: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def counts(self) -> NDArray[np.int64]:
        """[N, V] images of each study by view."""
        counts = np.zeros((len(self), len(VIEWS)), dtype=np.int64)
        owners = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        np.add.at(counts, (owners, self.views), 1)
        return counts

    def take(self, index: NDArray[np.int64]) -> Studies:
        """The studies of an index, in its order."""
        sizes = np.diff(self.offsets)[index]
        rows = image_rows(self.offsets, index)
        return Studies(
            ids=self.ids[index],
            patients=self.patients[index],
            splits=self.splits[index],
            positions=self.positions[index],
            sites=self.sites[index],
            offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            images=self.images[rows],
            paths=self.paths[rows],
            views=self.views[rows],
            findings=self.findings,
            states=self.states[index],
            features=self.features[index],
            left_out=self.left_out,
            label_probs=None if self.label_probs is None else self.label_probs[index],
        )

    def of_split(self, split: str) -> Studies:
        """The studies of one split."""
        return self.take(np.flatnonzero(self.splits == split))


def image_rows(offsets: NDArray[np.int64], index: NDArray[np.int64]) -> NDArray[np.int64]:
    """The image rows of some studies, study by study."""
    starts, sizes = offsets[index], np.diff(offsets)[index]
    before = np.repeat(np.cumsum(sizes) - sizes, sizes)
    rows: NDArray[np.int64] = np.repeat(starts, sizes) + np.arange(sizes.sum()) - before
    return rows


def make_studies(
    manifest: Manifest,
    labels: pd.DataFrame | None = None,
    *,
    findings: Sequence[str] = (),
    views: Sequence[str] = VIEWS,
    features: Sequence[str] = (),
    usable: NDArray[np.bool_] | None = None,
    silent: Mapping[str, str] | None = None,
) -> Studies:
    """Gather the images of each study, and its labels.

    Args:
        labels: index: study id; one column per finding: 1, 0, -1, NaN. Studies without a row are
            left out and counted. None: no labels are needed, all are blank.
        findings: the findings in order; none takes all columns of the labels.
        views: images of other views are not used, and studies without one of these are left out.
        features: of `FEATURES`: age in units of 100 years, sex 0 female and 1 male, view position
            0 PA and 1 AP.
        usable: [rows of the manifest] False for an image that cannot be read.
        silent: study id -> status of its report, which was not labeled; left out and counted.

    Raises:
        InputError: a finding is not in the labels, or no study is left.
    """
    table = manifest.table
    wanted = table["view"].isin(list(views)).to_numpy()
    keep = wanted if usable is None else wanted & usable
    if labels is not None:
        said = labels.index.difference([*(silent or {})])
        keep = keep & table["study_id"].isin(said).to_numpy()
    kept = table[keep]
    if kept.empty:
        raise InputError(
            f"{manifest.place}: no study with a usable image of {' or '.join(views)}"
            f"{'' if labels is None else ' and a label'}; expected at least one"
        )
    ids, first, sizes = np.unique(
        kept["study_id"].to_numpy(dtype=object), return_index=True, return_counts=True
    )
    names = tuple(findings) if labels is None or findings else tuple(map(str, labels.columns))
    heads = kept.iloc[first]
    codes = np.array([VIEWS.index(view) for view in kept["view"]], dtype=np.int64)
    return Studies(
        ids=ids,
        patients=heads["patient_id"].to_numpy(dtype=object),
        splits=heads["split"].to_numpy(dtype=object),
        positions=_frontal_positions(kept, ids),
        sites=heads["site"].fillna("").to_numpy(dtype=object),
        offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        images=kept["image_id"].to_numpy(dtype=object),
        paths=np.array([str(manifest.root / path) for path in kept["path"]], dtype=object),
        views=codes,
        findings=names,
        states=_states(labels, ids, names),
        features=_features(heads, _frontal_positions(kept, ids), features),
        left_out=_left_out(table, labels, wanted, usable, len(ids), views, silent or {}),
    )


def _states(
    labels: pd.DataFrame | None, ids: NDArray[np.object_], findings: Sequence[str]
) -> NDArray[np.float32]:
    if labels is None:
        return np.full((len(ids), len(findings)), np.nan, dtype=np.float32)
    missing = [name for name in findings if name not in labels.columns]
    if missing:
        raise InputError(
            f"labels: no column {missing[0]!r}; expected one of {', '.join(labels.columns)}"
        )
    return labels[list(findings)].reindex(ids).to_numpy(dtype=np.float32)


def _frontal_positions(kept: pd.DataFrame, ids: NDArray[np.object_]) -> NDArray[np.object_]:
    frontal = kept[kept["view"] == "frontal"].drop_duplicates("study_id").set_index("study_id")
    return frontal["view_position"].reindex(ids).fillna("").to_numpy(dtype=object)


def _features(
    heads: pd.DataFrame, positions: NDArray[np.object_], names: Sequence[str]
) -> NDArray[np.float32]:
    columns = {
        "age": heads["age"].to_numpy(dtype=np.float32) / _AGE_SCALE,
        "sex": np.array([_SEXES.get(sex, np.nan) for sex in heads["sex"]]),
        "view_position": np.array([_POSITIONS.get(position, np.nan) for position in positions]),
    }
    unknown = [name for name in names if name not in columns]
    if unknown:
        raise InputError(f"--features: {unknown[0]!r}; expected some of {', '.join(FEATURES)}")
    if not names:
        return np.empty((len(heads), 0), dtype=np.float32)
    return np.stack([columns[name] for name in names], axis=1).astype(np.float32)


def _left_out(
    table: pd.DataFrame,
    labels: pd.DataFrame | None,
    wanted: NDArray[np.bool_],
    usable: NDArray[np.bool_] | None,
    kept: int,
    views: Sequence[str],
    silent: Mapping[str, str],
) -> tuple[str, ...]:
    """What is not used and why, one line for each reason that occurs."""
    with_view = set(table.loc[wanted, "study_id"])
    counts = [
        (table["study_id"].nunique() - len(with_view), f"studies without a {' or '.join(views)}"),
        (int((~wanted).sum()), "images of another or an unknown view"),
    ]
    if usable is not None:
        readable = set(table.loc[wanted & usable, "study_id"])
        counts.append((int((wanted & ~usable).sum()), "images that cannot be read"))
        counts.append((len(with_view - readable), "studies whose images cannot be read"))
        with_view = readable
    if labels is not None:
        unheard = Counter(silent[study] for study in with_view if study in silent)
        counts += [
            (n, f"studies whose report is {status!r}") for status, n in sorted(unheard.items())
        ]
        counts.append((len(with_view) - kept - unheard.total(), "studies without a label"))
        counts.append(
            (int((~labels.index.isin(table["study_id"])).sum()), "labels without a study")
        )
    return tuple(f"{count:,} {what}" for count, what in counts if count)
