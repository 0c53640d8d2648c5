"""The audited studies: whose truth somebody looked up, how many studies each stands for.

The review is what `cxr audit export` writes, or a spreadsheet; the sample is what `cxr audit
sample` drew. Evaluation estimates on these studies, training learns from them. Readings become a
truth as in `cxr audit report`: the majority of the readers, a blank cell is an absent finding, an
uncertain one leaves the truth open. A report and an image are two references, and never mixed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cxrlabel import findings
from cxrlabel.audit.consensus import make_consensus
from cxrlabel.audit.design import SIZE, STRATUM, SampleTable, read_sample
from cxrlabel.audit.reviews import read_reviews
from cxrlabel.errors import InputError
from cxrlabel.tables import Resolve

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Reviewed:
    """The m audited studies whose truth is known for one finding, sorted by id."""

    ids: pd.Index  # [m]
    truth: Bools  # [m] whether the study has the finding
    # [m] studies that each stands for: N_h over the known truths of its stratum; 1 without a sample
    weights: Floats
    strata: Integers | None  # [m] code of the stratum, 0 and up; None without a sample


@dataclass(frozen=True, slots=True, eq=False)
class Audited:
    """The audited studies."""

    reference: str  # "report" or "image": what the reviewers looked at
    truth: pd.DataFrame  # index: id as text, sorted; a column per finding: 1, 0, NaN for open
    sample: SampleTable | None  # how they were drawn; None: not known
    outside_sample: int  # reviewed studies that the sample does not have, left out
    paths: tuple[Path, ...]  # of the files

    @property
    def design(self) -> str:
        """How the studies were drawn, in words."""
        if self.sample is None:
            return "the audited studies only, unweighted"
        strata = len(self.sample.strata)
        return f"stratified sample of {self.sample.studies} studies, {strata} strata"

    def reviewed(self, finding: str) -> Reviewed:
        """The studies whose truth is known for a finding of `truth`.

        Where only some of a stratum's sample has a truth, these stand for all of it: right where
        they are a random part, as they are when a review is stopped early.
        """
        known = self.truth[finding].dropna()
        if self.sample is None:
            return Reviewed(known.index, known.to_numpy() == 1, np.ones(len(known)), None)
        names = self.sample.strata.index
        drawn = self.sample.table.loc[known.index, STRATUM]
        strata = names.get_indexer(drawn).astype(np.int64)
        reviewed = np.bincount(strata, minlength=len(names))
        sizes = self.sample.strata[SIZE].to_numpy(np.float64)
        weights = sizes[strata] / reviewed[strata]
        return Reviewed(known.index, known.to_numpy() == 1, weights, strata)


def read_audited(
    manual: Path | str,
    *,
    sample: Path | str | None = None,
    reference: str | None = None,
    id_column: str | None = None,
    resolve: Resolve = findings.resolve,
) -> Audited:
    """Read a manual review, and the sample that it is a review of.

    Args:
        manual: as for `cxrlabel.audit.reviews.read_reviews`.
        sample: as for `cxrlabel.audit.design.read_sample`; None: how the studies were drawn is not
            known.
        reference: "report" or "image"; None takes what the file says.
        id_column: of both tables; None takes the first with a usual name.
        resolve: the finding that a name means, or None.

    Raises:
        InputError: a table cannot be read, the reference is not said or the review has the other,
            or none of its studies is of the sample.
    """
    paths = (Path(manual),) if sample is None else (Path(manual), Path(sample))
    reviews = read_reviews(manual, id_column=id_column, reference=reference, resolve=resolve)
    if not reviews.reference:
        raise InputError(
            f"{manual}: no column 'reference'; say by --reference report|image what was looked at"
        )
    truth = make_consensus(reviews).truth
    if sample is None:
        return Audited(reviews.reference, truth, None, 0, paths)
    drawn = read_sample(sample, id_column=id_column)
    inside = truth.index.isin(drawn.table.index)
    if not inside.any():
        raise InputError(
            f"{manual}: none of its {len(truth)} studies is among the {len(drawn.table)} of "
            f"{sample}; expected the same ids"
        )
    return Audited(reviews.reference, truth[inside], drawn, int((~inside).sum()), paths)
