"""Who is trained on and who is tested on: splits by patient, and the search for leaks.

A patient's place depends on its own id and the seed alone, so that patients who come later move
nobody.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cxrlabel.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

TRAIN: Final = "train"
VAL: Final = "val"
TEST: Final = "test"
SPLITS: Final = (TRAIN, VAL, TEST)
SHARES: Final = (0.7, 0.1, 0.2)


@dataclass(frozen=True, slots=True)
class Leak:
    """Something that is in more than one split."""

    kind: str  # "patient", "study" or "file"
    key: str  # the id; for a file the hash of its content
    splits: tuple[str, ...]
    studies: tuple[str, ...]  # in which it is, the first few

    def __str__(self) -> str:
        """One line for a message."""
        key = self.key if len(self.key) <= 40 else f"{self.key[:12]}…"
        studies = ", ".join(self.studies)
        return f"{self.kind} {key} is in {' and '.join(self.splits)} (studies {studies})"


def split_patients(
    patients: Iterable[str], *, seed: int = 0, shares: Sequence[float] = SHARES
) -> pd.Series[str]:
    """The split of each patient: train, val or test.

    Args:
        patients: ids, also repeated ones; a Series keeps its index.
        shares: of train, val and test, with sum 1; they hold for many patients.

    Raises:
        InputError: the shares are negative or do not sum to 1.
    """
    import pandas as pd

    check_shares(shares)
    series = patients if isinstance(patients, pd.Series) else pd.Series(list(patients), dtype="str")
    bounds = (shares[0], shares[0] + shares[1])
    key = f"cxr split {seed}".encode()
    places = {patient: _place(patient, key) for patient in series.unique()}
    names = {
        patient: TRAIN if place < bounds[0] else VAL if place < bounds[1] else TEST
        for patient, place in places.items()
    }
    return series.map(names).astype("str")


def carve_validation(
    patients: pd.Series[str], *, seed: int = 0, shares: Sequence[float] = SHARES
) -> pd.Series[str]:
    """Train or val for the patients of an official training list that has no validation part.

    The share of val is that which `shares` give it among train and val: an eighth by default.
    """
    check_shares(shares)
    both = shares[0] + shares[1]
    if both <= 0:
        raise InputError("--shares: train and val are 0; expected a share of train")
    return split_patients(patients, seed=seed, shares=(shares[0] / both, shares[1] / both, 0.0))


def check_shares(shares: Sequence[float]) -> None:
    """Raise an `InputError` unless these are three shares that sum to 1."""
    if len(shares) != 3 or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        listed = ", ".join(f"{share:g}" for share in shares)
        raise InputError(f"--shares: found {listed}; expected train, val, test with sum 1")


def split_hash(table: pd.DataFrame) -> str:
    """12 hex digits that change when a study changes its split; the order of rows does not count.

    Args:
        table: with the columns study_id and split, as a manifest has them.
    """
    pairs = sorted(set(zip(table["study_id"], table["split"], strict=True)))
    text = "".join(f"{study}\t{split}\n" for study, split in pairs)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def find_leaks(table: pd.DataFrame, hashes: pd.Series[str] | None = None) -> list[Leak]:
    """Patients, studies and files that are in more than one split.

    Args:
        table: study_id, patient_id and split of each image; "" is in no split.
        hashes: of each image's file, "" where it was not looked at; the index of `table`.
    """
    keys = [("patient", table["patient_id"]), ("study", table["study_id"])]
    if hashes is not None:
        keys.append(("file", hashes))
    leaks: list[Leak] = []
    for kind, key in keys:
        used = (table["split"] != "") & (key != "")
        rows = table.loc[used, ["study_id", "split"]].assign(key=key[used])
        several = rows.groupby("key")["split"].transform("nunique") > 1
        leaks += [_leak(kind, str(name), group) for name, group in rows[several].groupby("key")]
    return leaks


def require_no_leaks(leaks: Sequence[Leak], *, place: str) -> None:
    """Raise an `InputError` that names the first leak and counts the others."""
    if leaks:
        more = f", and {len(leaks) - 1:,} more" if len(leaks) > 1 else ""
        raise InputError(f"{place}: {leaks[0]}{more}; expected one split for each")


def join_patients(patients: pd.Series[str], hashes: pd.Series[str]) -> pd.Series[str]:
    """One key for all patients that share a file, directly or through others: their smallest id.

    Split by this key, no file is in two splits. Who shares nothing keeps the own id, and so the
    own place.
    """
    heads: dict[str, str] = {}

    def head(patient: str) -> str:
        while (above := heads.get(patient, patient)) != patient:
            patient = above
        return patient

    shared = hashes != ""
    for _, group in patients[shared].groupby(hashes[shared]):
        first, *others = sorted({head(patient) for patient in group})
        heads |= dict.fromkeys(others, first)
    return patients.map({patient: head(patient) for patient in patients.unique()}).astype("str")


def _place(patient: str, key: bytes) -> float:
    """A number in [0, 1) that only the patient's id and the key decide."""
    digest = hashlib.blake2b(patient.encode(), digest_size=8, key=key).digest()
    return int.from_bytes(digest, "big") / 2**64


def _leak(kind: str, key: str, rows: pd.DataFrame) -> Leak:
    present = set(rows["split"])
    splits = tuple(split for split in SPLITS if split in present)
    return Leak(kind, key, splits, tuple(sorted(set(rows["study_id"]))[:3]))
