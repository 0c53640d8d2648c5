"""What all cells share: studies with known truth and their features, as features.npz has them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from cxrlabel.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FEATURES: Final = "features.npz"


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """The studies that labels are drawn for, then those that are tested on."""

    findings: tuple[str, ...]
    truth: pd.DataFrame  # [N] index: id, sorted; 1, 0: of the studies to learn from
    patients: pd.Series[str]  # of these
    scores: pd.DataFrame  # the encoder's logits of these
    features: Floats  # [N, D] standardised, in their principal axes
    test_features: Floats  # [M, D] in the same
    test_truth: Floats  # [M, F]
    test_ids: tuple[str, ...]


def read_material(path: Path) -> Material:
    """Read features.npz.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read; remove it and run the sweep again") from error
    findings = tuple(map(str, found["findings"]))
    pool = ~found["tested"]
    ids = pd.Index(found["ids"][pool].astype(str), name="study_id", dtype=object)
    features = found["features"].astype(np.float64)
    columns = list(findings)
    return Material(
        findings=findings,
        truth=pd.DataFrame(found["truth"][pool], index=ids, columns=columns),
        patients=pd.Series(found["patients"][pool].astype(str), index=ids, dtype=object),
        scores=pd.DataFrame(found["scores"][pool], index=ids, columns=columns),
        features=np.ascontiguousarray(features[pool]),
        test_features=np.ascontiguousarray(features[~pool]),
        test_truth=found["truth"][~pool],
        test_ids=tuple(map(str, found["ids"][~pool])),
    )
