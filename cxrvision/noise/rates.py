"""How often labels are wrong: P(state | truth) of each finding, from an audit or from numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cxrlabel.audit.observation import given_truth
from cxrlabel.errors import InputError
from cxrlabel.findings import require

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxrlabel.audit.observation import Observation

    Floats = NDArray[np.float64]

_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Shares of studies with the finding (`positive`) and without it (`negative`).

    What is neither positive, uncertain nor blank is labeled negative.
    """

    sensitivity: float = math.nan  # labeled positive, of those with the finding
    specificity: float = math.nan  # not labeled positive, of those without
    uncertain_positive: float = 0.0  # labeled uncertain, of those with the finding
    uncertain_negative: float = 0.0
    blank_positive: float = 0.0  # not mentioned, of those with the finding
    blank_negative: float = 0.0

    def table(self, place: str) -> Floats:
        """P(state | truth) as [2, 4]: truth 1 and 0, states in the order of `STATES`.

        Args:
            place: what the rates are of, for messages.

        Raises:
            InputError: a rate is missing or no share, or those of one truth exceed 1.
        """
        for field in fields(self):
            share, option = getattr(self, field.name), f"--{field.name.replace('_', '-')}"
            if math.isnan(share):
                raise InputError(f"{place}: no {option}; expected a share from 0 to 1")
            if not 0 <= share <= 1:
                raise InputError(f"{place}: {option} {share:g}; expected a share from 0 to 1")
        rows = (
            (self.sensitivity, self.uncertain_positive, self.blank_positive),
            (1 - self.specificity, self.uncertain_negative, self.blank_negative),
        )
        for (positive, uncertain, blank), truth in zip(rows, ("with", "without"), strict=True):
            if positive + uncertain + blank > 1 + _ROUNDING:
                raise InputError(
                    f"{place}: of the studies {truth} the finding {positive:g} are positive, "
                    f"{uncertain:g} uncertain and {blank:g} blank; expected a sum of at most 1"
                )
        return np.array([[p, u, max(1 - p - u - b, 0.0), b] for p, u, b in rows])


def tables_from_rates(
    findings: Sequence[str], base: Rates, own: Mapping[str, Rates]
) -> dict[str, Floats]:
    """P(state | truth) of each finding: its own rates, or those of all.

    Raises:
        InputError: own rates of a finding that is not there, or as `Rates.table`.
    """
    for name in own:
        if name not in findings:
            raise InputError(f"--finding {name}: expected one of {', '.join(findings)}")
    return {name: own.get(name, base).table(name) for name in findings}


def tables_from_audit(
    observation: Observation, findings: Sequence[str], *, place: str
) -> dict[str, Floats]:
    """P(state | truth) of each finding, as an audit estimates it.

    Raises:
        InputError: the audit has no table of a finding.
    """
    tables = {}
    for name in findings:
        if name not in observation.findings:
            raise InputError(
                f"{place}: no table of {name!r}; expected one of each finding of the truth "
                "(--findings chooses some)"
            )
        table = given_truth(observation.findings[name])
        tables[name] = table / table.sum(axis=1, keepdims=True)  # the file has eight digits
    return tables


def parse_rates(texts: Sequence[str], base: Rates) -> dict[str, Rates]:
    """Own rates of findings from "Edema:sensitivity=.7,uncertain-positive=.1".

    Args:
        base: of all findings, which the given rates go over.

    Raises:
        InputError: an unknown finding or rate, one that comes twice, or a value that is no number.
    """
    own: dict[str, Rates] = {}
    for text in texts:
        name, colon, settings = text.partition(":")
        if not colon or not settings.strip():
            raise InputError(f"--finding {text!r}: expected NAME:RATE=VALUE,RATE=VALUE")
        finding = require(name.strip(), place="--finding")
        if finding in own:
            raise InputError(f"--finding {finding}: it comes twice; expected all rates in one")
        own[finding] = _over(base, settings, f"--finding {finding}")
    return own


def _over(base: Rates, settings: str, place: str) -> Rates:
    known = [field.name for field in fields(Rates)]
    values: dict[str, Any] = {name: getattr(base, name) for name in known}
    for setting in filter(None, (part.strip() for part in settings.split(","))):
        name, _, text = setting.partition("=")
        key = name.strip().replace("-", "_")
        if key not in known:
            names = ", ".join(one.replace("_", "-") for one in known)
            raise InputError(f"{place}: unknown rate {name.strip()!r}; expected some of {names}")
        try:
            values[key] = float(text)
        except ValueError:
            raise InputError(f"{place}: {setting!r}; expected {name.strip()}=NUMBER") from None
    return Rates(**values)
