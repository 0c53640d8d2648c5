"""Label policy: from the states of studies to the targets of training. Nowhere else.

States are 1 positive, 0 negative, -1 uncertain and NaN blank (Irvin et al. 2019). A target is what
the loss compares a probability with, and the mask says where there is one.

No Finding is a finding like the others, with two rules of logic that fill blank cells before any
policy, because its definition (no abnormality but Support Devices is positive or uncertain) says
what they are: where it is 1, a blank abnormality is 0, but Support Devices stay blank; where it is
blank and an abnormality is positive or uncertain, it is 0. Cells that have a label keep it, even
where they contradict each other: that is label error, which belongs to the audit.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cxrlabel.errors import InputError
from cxrlabel.findings import BLANK as BLANK_STATE
from cxrlabel.findings import NO_FINDING, POSITIVE, STATES, SUPPORT_DEVICES
from cxrlabel.findings import UNCERTAIN as UNCERTAIN_STATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]
    Targets32 = NDArray[np.float32]

# What an uncertain label becomes. ignore, zeros, ones, self-train, multiclass: Irvin et al. 2019,
# sec. 3.1; smooth (of ones) and smooth-zeros: Pham et al. 2021, sec. 3.3
UNCERTAIN: Final = (
    "ignore", "zeros", "ones", "smooth", "smooth-zeros", "self-train", "multiclass",
)  # fmt: skip
BLANK: Final = ("zeros", "ignore")
SMOOTH_ONES: Final = (0.55, 0.85)  # uniform between
SMOOTH_ZEROS: Final = (0.0, 0.3)
THIRD_CLASS: Final = 0.5  # the target of an uncertain label under "multiclass", and its code


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """What the loss sees."""

    values: Targets32  # [N, F] in [0, 1]; 0 where masked
    mask: Targets32  # [N, F] 1 where the target counts
    multiclass: bool = False  # exactly 0.5 then stands for the class "uncertain"
    # by `cxrvision.noise.correction`: the method, and [F] the findings whose values are its numbers
    method: str = ""
    corrected: NDArray[np.bool_] | None = None


def make_targets(
    states: Floats,
    *,
    findings: Sequence[str],
    uncertain: str = "ignore",
    blank: str = "zeros",
    per_finding: Mapping[str, str] | None = None,
    probs: Floats | None = None,
    seed: int = 0,
) -> Targets:
    """Targets and mask under a policy.

    Args:
        states: [N, F] 1, 0, -1 or NaN.
        findings: the F names.
        uncertain, blank: of `UNCERTAIN` and `BLANK`.
        per_finding: finding -> policy for its uncertain labels, in place of `uncertain`.
        probs: [N, F] in [0, 1], what a model trained under "ignore" gives; for "self-train".
        seed: of the smoothed targets. A study's draw depends on its row and on the finding's name.

    Raises:
        InputError: an unknown policy or finding, or "self-train" without `probs`.
        ValueError: shapes that do not fit, or a state of another coding.
    """
    states = np.asarray(states, dtype=np.float32)
    _check_states(states, findings)
    policies = _policies(findings, uncertain, per_finding)
    if blank not in BLANK:
        raise InputError(f"--blank: {blank!r}; expected one of {', '.join(BLANK)}")
    if "self-train" in policies and (probs is None or np.shape(probs) != states.shape):
        raise InputError(
            "--uncertain self-train: needs the predictions of a model trained with --uncertain "
            "ignore, for the same studies and findings"
        )
    values = fill_by_no_finding(states, findings)
    mask = np.ones_like(values)
    unsaid = np.isnan(values)
    if blank == "ignore":
        mask[unsaid] = 0
    values[unsaid] = 0
    for column, policy in enumerate(policies):
        cells = values[:, column] == -1
        found = _uncertain_targets(policy, column, findings[column], len(values), probs, seed)
        values[cells, column] = found[cells]
    mask[np.isnan(values)] = 0
    return Targets(
        np.nan_to_num(values), mask, multiclass=needs_three_classes(uncertain, per_finding)
    )


def make_soft_targets(
    label_probs: Floats,
    *,
    findings: Sequence[str],
    uncertain: str = "ignore",
    blank: str = "zeros",
    per_finding: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Targets:
    """Targets and mask where a labeler gives the probability of each state.

    A target is the mean of what the policy makes of the states, and a cell counts as much as those
    states are likely that the policy does not ignore. A label that is certain is one of
    `make_targets`, but for No Finding, which fills no blanks: a labeler that gives probabilities
    says what it thinks of each finding.

    Args:
        label_probs: [N, F, 4] of each of STATES.
        findings, uncertain, blank, per_finding, seed: as of `make_targets`.

    Raises:
        InputError: an unknown policy or finding, or one that needs the states themselves:
            "self-train" and "multiclass".
        ValueError: shapes that do not fit.
    """
    if label_probs.shape[1:] != (len(findings), len(STATES)):
        raise ValueError(f"label_probs: shape {label_probs.shape}; expected [N, F, 4]")
    policies = _policies(findings, uncertain, per_finding)
    for policy in policies:
        if policy in ("self-train", "multiclass"):
            raise InputError(
                f"--uncertain {policy}: with probabilities of labels; expected another policy"
            )
    if blank not in BLANK:
        raise InputError(f"--blank: {blank!r}; expected one of {', '.join(BLANK)}")
    rows = len(label_probs)
    worth = np.zeros((rows, len(findings), len(STATES)))  # of each state; NaN where it is ignored
    worth[..., STATES.index(POSITIVE)] = 1
    worth[..., STATES.index(BLANK_STATE)] = np.nan if blank == "ignore" else 0
    for column, policy in enumerate(policies):
        found = _uncertain_targets(policy, column, findings[column], rows, None, seed)
        worth[:, column, STATES.index(UNCERTAIN_STATE)] = found
    counted = label_probs * ~np.isnan(worth)
    mask = counted.sum(axis=-1)
    sums = (counted * np.nan_to_num(worth)).sum(axis=-1)
    values = np.divide(sums, mask, out=np.zeros_like(sums), where=mask > 0)
    return Targets(values.astype(np.float32), mask.astype(np.float32))


def fill_by_no_finding(states: Floats, findings: Sequence[str]) -> Targets32:
    """A copy of [N, F] states in which No Finding and its absence have filled blanks."""
    filled: Targets32 = np.array(states, dtype=np.float32)
    if NO_FINDING not in findings:
        return filled
    own = list(findings).index(NO_FINDING)
    others = [i for i, name in enumerate(findings) if name not in (NO_FINDING, SUPPORT_DEVICES)]
    cells = filled[:, others]
    abnormal = ((cells == 1) | (cells == -1)).any(axis=1)
    cells[(filled[:, [own]] == 1) & np.isnan(cells)] = 0
    filled[:, others] = cells
    filled[abnormal & np.isnan(filled[:, own]), own] = 0
    return filled


def any_finding(states: Floats, findings: Sequence[str]) -> Targets32:
    """The states of "an abnormality is there", for a binary model: the reverse of No Finding.

    Returns:
        [N] 1 where an abnormality but Support Devices is positive, -1 where one is uncertain at
        most, 0 where No Finding is 1, or none is positive or uncertain and one is negative; else
        NaN.
    """
    others = [i for i, name in enumerate(findings) if name not in (NO_FINDING, SUPPORT_DEVICES)]
    cells = np.asarray(states, dtype=np.float32)[:, others]
    result = np.where((cells == 0).any(axis=1), np.float32(0), np.float32(np.nan))
    if NO_FINDING in findings:
        result[np.asarray(states)[:, list(findings).index(NO_FINDING)] == 1] = 0
    result[(cells == -1).any(axis=1)] = -1
    result[(cells == 1).any(axis=1)] = 1
    return result


def needs_three_classes(uncertain: str, per_finding: Mapping[str, str] | None = None) -> bool:
    """Whether these policies need a model with the head "multiclass"."""
    return "multiclass" in (uncertain, *(per_finding or {}).values())


def positive_weights(targets: Targets, *, limit: float = 20.0) -> Targets32:
    """[F] negatives for each positive, as a loss weighs positives to balance the classes.

    Args:
        limit: the greatest weight, and the inverse of the smallest; a finding without a positive
            or without a negative has weight 1.
    """
    positives = (targets.values * targets.mask).sum(axis=0)
    negatives = targets.mask.sum(axis=0) - positives
    both = (positives > 0) & (negatives > 0)
    ratio = np.divide(negatives, positives, out=np.ones_like(positives), where=both)
    weights: Targets32 = np.clip(ratio, 1 / limit, limit)
    return weights


def _uncertain_targets(
    policy: str, column: int, finding: str, count: int, probs: Floats | None, seed: int
) -> Targets32:
    """[N] what each cell of a column becomes if it is uncertain; NaN to ignore it."""
    if policy in ("smooth", "smooth-zeros"):
        low, high = SMOOTH_ONES if policy == "smooth" else SMOOTH_ZEROS
        rng = np.random.default_rng([seed, zlib.crc32(finding.encode())])
        return rng.uniform(low, high, count).astype(np.float32)
    if policy == "self-train" and probs is not None:
        return np.asarray(probs, dtype=np.float32)[:, column]
    constants = {"ignore": np.nan, "zeros": 0.0, "ones": 1.0, "multiclass": THIRD_CLASS}
    return np.full(count, constants[policy], dtype=np.float32)


def _policies(
    findings: Sequence[str], uncertain: str, per_finding: Mapping[str, str] | None
) -> list[str]:
    own = dict(per_finding or {})
    for name in own:
        if name not in findings:
            raise InputError(f"--policy {name}: expected one of {', '.join(findings)}")
    policies = [own.get(name, uncertain) for name in findings]
    for policy in (uncertain, *policies):
        if policy not in UNCERTAIN:
            raise InputError(f"--uncertain: {policy!r}; expected one of {', '.join(UNCERTAIN)}")
    return policies


def _check_states(states: Targets32, findings: Collection[str]) -> None:
    if states.ndim != 2 or states.shape[1] != len(findings):
        raise ValueError(f"states: shape {states.shape}; expected [N, {len(findings)}]")
    known = np.isnan(states) | np.isin(states, (-1, 0, 1))
    if not known.all():
        raise ValueError(f"states: {states[~known][0]}; expected 1, 0, -1 or NaN")
