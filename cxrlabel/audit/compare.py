"""Labels beside the reviewed truth: which studies are compared, with what weight, and how many not.

The weights are those of the studies that were reviewed: where a stratum of the sample is reviewed
in part, the reviewed ones stand for all of it. That is right when they are a random part, as they
are when a review is stopped early (its order is random), and wrong when the difficult ones were
left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import pandas as pd

from cxrlabel.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cxrlabel.audit.consensus import Consensus
    from cxrlabel.audit.design import SampleTable

UncertainAs = Literal["negative", "positive"]

READINGS: Final[tuple[UncertainAs, ...]] = ("negative", "positive")  # of an uncertain label
SIMPLE: Final = "simple random sample, unweighted"


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """n studies that were labeled and reviewed, and F findings that both tables have.

    Rows are sorted by id; the arrays go with them.
    """

    id_name: str
    reference: str
    labels: pd.DataFrame  # index: id; 1, 0, -1, NaN
    truth: pd.DataFrame  # 1, 0, NaN where it is left open
    review: Consensus  # of all reviewed studies, whether labeled or not
    strata: NDArray[np.int64] | None  # [n] index into `sizes`; None: a simple random sample
    sizes: NDArray[np.int64] | None  # [H] N_h, studies that each stratum was drawn from
    patients: NDArray[np.int64] | None  # [n] index of each study's patient
    # studies with each label state in the population, or None where that is not known
    population: pd.DataFrame | None  # index: state word; one column per finding
    labeled_only: int  # studies without a review
    reviewed_only: int  # studies without a label, left out
    outside_sample: int  # reviewed studies that the sample does not have, left out
    not_reviewed: int  # studies of the sample that are not compared
    label_findings: tuple[str, ...]  # findings of the labels alone, left out
    review_findings: tuple[str, ...]  # findings of the review alone, left out

    @property
    def design(self) -> str:
        """How the studies were drawn, in words."""
        if self.strata is None or self.sizes is None:
            return SIMPLE
        return f"stratified sample of {int(self.sizes.sum())} studies, {len(self.sizes)} strata"

    @property
    def findings(self) -> tuple[str, ...]:
        """The findings that are compared, in the order of the labels."""
        return tuple(map(str, self.labels.columns))


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Label and truth of one finding, over the studies whose truth is not open."""

    label: NDArray[np.bool_]  # [m]
    truth: NDArray[np.bool_]  # [m]
    strata: NDArray[np.int64] | None
    sizes: NDArray[np.int64] | None
    patients: NDArray[np.int64] | None


def compare(
    labels: pd.DataFrame,
    review: Consensus,
    *,
    sample: SampleTable | None = None,
    patients: pd.Series[str] | None = None,
    place: str = "labels",
) -> Comparison:
    """Join labels and review by id.

    Args:
        labels: index: id as text; one column per finding: 1, 0, -1, NaN.
        sample: how the reviewed studies were drawn; None: at random from all, with equal chances.
        patients: the patient of each study, by study id.
        place: the label table's name in messages.

    Raises:
        InputError: no study or no finding is in both, no truth is known, or a study has no
            patient.
    """
    findings = [name for name in labels.columns if name in review.truth.columns]
    if not findings:
        raise InputError(
            f"{place}: no finding is both labeled ({', '.join(map(str, labels.columns))}) and "
            f"reviewed ({', '.join(map(str, review.truth.columns))})"
        )
    labeled = _both(review.truth.index, labels.index)
    ids = (labeled if sample is None else _both(labeled, sample.table.index)).sort_values()
    if not len(ids):
        raise InputError(
            f"{place}: none of its {len(labels)} studies is among the {len(review.truth)} reviewed"
            f"{'' if sample is None else ' and sampled'} ones; expected the same ids"
        )
    if review.truth.loc[ids, findings].isna().all(axis=None):
        raise InputError(
            f"{place}: none of the {len(ids)} reviewed studies has a truth that is not left open; "
            "expected a finding that somebody called present or absent"
        )
    strata, sizes = (None, None) if sample is None else _strata(ids, sample)
    return Comparison(
        id_name=review.id_name,
        reference=review.reference,
        labels=labels.loc[ids, findings],
        truth=review.truth.loc[ids, findings],
        review=review,
        strata=strata,
        sizes=sizes,
        patients=None if patients is None else _patients(ids, patients),
        population=_population(labels, findings, sample),
        labeled_only=len(labels) - len(labeled),
        reviewed_only=len(review.truth) - len(labeled),
        outside_sample=len(labeled) - len(ids),
        not_reviewed=0 if sample is None else len(sample.table) - len(ids),
        label_findings=_without(labels.columns, findings),
        review_findings=_without(review.truth.columns, findings),
    )


def cells_of(comparison: Comparison, finding: str, uncertain_as: UncertainAs) -> Cells:
    """Label against truth for one finding; blank labels are negative.

    Args:
        uncertain_as: what an uncertain label counts as.
    """
    states = comparison.labels[finding].to_numpy()
    label = (states == 1) | ((states == -1) & (uncertain_as == "positive"))
    return select_cells(comparison, label, comparison.truth[finding].to_numpy())


def select_cells(
    comparison: Comparison, label: NDArray[np.bool_], truth: NDArray[np.float64]
) -> Cells:
    """The studies whose truth is not NaN, as `Cells`.

    Args:
        label: [n]
        truth: [n] 1, 0 or NaN.
    """
    known = ~np.isnan(truth)
    strata, patients = comparison.strata, comparison.patients
    return Cells(
        label=label[known],
        truth=truth[known] == 1,
        strata=None if strata is None else strata[known],
        sizes=comparison.sizes,
        patients=None if patients is None else patients[known],
    )


def study_weights(comparison: Comparison, known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How many studies each of these stands for, where only these are known.

    Args:
        known: [n]

    Returns:
        One weight for each of the known; 1 where the sample is unweighted.
    """
    if comparison.strata is None or comparison.sizes is None:
        return np.ones(int(known.sum()))
    strata = comparison.strata[known]
    reviewed = np.bincount(strata, minlength=len(comparison.sizes))
    weights: NDArray[np.float64] = comparison.sizes[strata] / reviewed[strata]
    return weights


def _both(ids: pd.Index, others: pd.Index) -> pd.Index:
    """The ids that are among the others."""
    return ids[others.get_indexer(ids) >= 0]


def _strata(ids: pd.Index, sample: SampleTable) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The stratum of each study, and the sizes of all strata."""
    names = sample.strata.index
    return (
        names.get_indexer(sample.table.loc[ids, "stratum"]).astype(np.int64),
        sample.strata["size"].to_numpy(dtype=np.int64),
    )


def _patients(ids: pd.Index, patients: pd.Series[str]) -> NDArray[np.int64]:
    found = patients.reindex(ids)
    missing = found.index[found.isna()]
    if len(missing):
        raise InputError(
            f"patients: study {missing[0]!r} ({len(missing)} in all) has no patient; "
            "expected one for each reviewed study"
        )
    return pd.factorize(found)[0].astype(np.int64)


def _population(
    labels: pd.DataFrame, findings: Sequence[str], sample: SampleTable | None
) -> pd.DataFrame | None:
    """How many studies have each state, where the sample was drawn from this very table."""
    if sample is None or sample.studies != len(labels):
        return None
    if len(_both(sample.table.index, labels.index)) < len(sample.table):
        return None
    return count_states(labels[list(findings)])


def count_states(labels: pd.DataFrame) -> pd.DataFrame:
    """Studies by label state.

    Returns:
        Index: "positive", "uncertain", "negative", "blank"; one column per finding.
    """
    return pd.DataFrame(
        {
            "positive": (labels == 1).sum(),
            "uncertain": (labels == -1).sum(),
            "negative": (labels == 0).sum(),
            "blank": labels.isna().sum(),
        }
    ).T


def _without(columns: pd.Index, findings: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(name) for name in columns if name not in findings)
