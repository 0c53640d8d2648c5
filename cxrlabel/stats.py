"""Statistics of the labels: counted report by report, summed up once, printed as a table.

The table of class imbalance is the one that data-set papers print.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cxrlabel.errors import InputError
from cxrlabel.findings import (
    BLANK,
    NEGATIVE,
    NO_FINDING,
    POSITIVE,
    STATES,
    SUPPORT_DEVICES,
    UNCERTAIN,
)
from cxrlabel.studies import LABELED, NONE, STATUSES

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.table import Table

ATTRIBUTES: Final = ("laterality", "location", "severity", "temporality")
ASSERTIONS: Final = (POSITIVE, UNCERTAIN, NEGATIVE, NONE)
NOT_STATED: Final = "not stated"
OTHER_CUES: Final = "(other cues)"  # parentheses are no part of a cue, so the names cannot meet
# neither a normal study nor a device is an abnormality: left out of the findings per study
NOT_COUNTED: Final = frozenset({NO_FINDING, SUPPORT_DEVICES})

_PENDING: Final = 20_000  # distinct reports or mentions held before they are summed: some 6 MB
_CUES: Final = 5_000  # distinct cues that are counted by name, for each counter
_CUE_CHARACTERS: Final = 60  # a pattern with gaps can span words between those of the rule
_TOP_CUES: Final = 25  # for each assertion
# where the place of a mention decided, its cue did not
_DECIDED_BY_PLACE: Final = frozenset({"section", "corrected"})

_MentionKey = tuple[str, ...]
mention_key = attrgetter("finding", "rule", "assertion", "reason", "cue", *ATTRIBUTES)


@dataclass(frozen=True, slots=True)
class FindingStatistics:
    """One finding over the labeled studies. Values that divide by zero are None."""

    finding: str
    counts: Mapping[str, int]  # state -> studies
    shares: Mapping[str, float | None]  # state -> share of the labeled studies, in [0, 1]
    interval: tuple[float, float] | None  # Wilson 95 % interval of the share of positives
    negatives_per_positive: float | None  # stated negatives only
    others_per_positive: float | None  # negatives, uncertain and blank
    # (P + N) / P and (P + N) / N, N being all that is not positive: Wang et al. 2017, sec. 4.1
    weight_positive: float | None
    weight_negative: float | None


@dataclass(frozen=True, slots=True)
class LabelStatistics:
    """What a set of labels looks like.

    Labels are counted over the studies with the status "labeled"; mentions and sections over all.
    """

    reports: int
    labeled: int
    statuses: Mapping[str, int]
    findings: tuple[FindingStatistics, ...]
    findings_per_study: tuple[int, ...]  # [i]: studies with i positives; see `NOT_COUNTED`
    positives_together: tuple[tuple[int, ...], ...]  # [F, F], the diagonal has all positives
    share_together: tuple[tuple[float | None, ...], ...]  # [F, F], of the row's positives
    mentions: Mapping[str, int]  # assertion -> mentions
    cues: Mapping[str, tuple[tuple[str, int], ...]]  # assertion -> most frequent cues, lower case
    sections: Mapping[str, int]  # section -> reports that have it
    reasons: Mapping[str, int]  # of mentions that made no label
    rules: Mapping[str, Mapping[str, int]]  # finding -> rule -> mentions
    attributes: Mapping[str, Mapping[str, int]]  # laterality ... -> value -> mentions with a label

    def to_dict(self) -> dict[str, Any]:
        """The same as dicts, tuples and numbers, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> LabelStatistics:
        """The statistics that `to_dict` made, from JSON; lists stand in place of tuples."""
        findings = tuple(FindingStatistics(**finding) for finding in content["findings"])
        return cls(**{**content, "findings": findings})


@dataclass(slots=True)
class _Totals:
    """Sums whose sizes are bounded by the rules, not by the reports."""

    statuses: Counter[str] = field(default_factory=Counter)
    sections: Counter[str] = field(default_factory=Counter)
    states: Counter[tuple[int, str]] = field(default_factory=Counter)  # (finding's index, state)
    # two findings that are positive together, the first index not above the second
    pairs: Counter[tuple[int, int]] = field(default_factory=Counter)
    per_study: Counter[int] = field(default_factory=Counter)
    assertions: Counter[str] = field(default_factory=Counter)
    cues: Counter[tuple[str, str]] = field(default_factory=Counter)  # (assertion, cue)
    reasons: Counter[str] = field(default_factory=Counter)
    rules: Counter[tuple[str, str]] = field(default_factory=Counter)  # (finding, rule)
    attributes: Counter[tuple[str, str]] = field(default_factory=Counter)  # (attribute, value)


class StatsCounter:
    """Counts results as they come, in memory that does not grow with the number of reports.

    Equal mentions are only counted as they come; what they mean is summed up when many different
    ones have come together. Counters of several processes are pickled and merged; the outcome is
    that of one pass, as long as no more than 5,000 different cues occur (beyond that the rarer
    ones are counted together).
    """

    def __init__(self, findings: Sequence[str]) -> None:
        self.findings = tuple(findings)
        self._totals = _Totals()
        self._reports: Counter[tuple[str, tuple[str, ...]]] = Counter()
        self._mentions: Counter[_MentionKey] = Counter()

    def add(
        self,
        reports: Counter[tuple[str, tuple[str, ...]]],
        labels: NDArray[np.uint8],
        mentions: Counter[_MentionKey],
    ) -> None:
        """Count some reports.

        Args:
            reports: how often a status and sections found occur together.
            labels: [N, F] of those that are labeled, each an index into `STATES`, in the order of
                the counter's findings.
            mentions: how often mentions with the same `mention_key` occur.
        """
        self._reports.update(reports)
        self._mentions.update(mentions)
        self._sum_labels(labels)
        self._bound()

    def merge(self, other: StatsCounter) -> None:
        """Add what another counter, of the same findings, has counted.

        Raises:
            ValueError: it counts other findings.
        """
        if other.findings != self.findings:
            raise ValueError(f"counters of different findings: {other.findings} {self.findings}")
        self._reports.update(other._reports)
        self._mentions.update(other._mentions)
        for name in (f.name for f in fields(_Totals) if f.name != "cues"):
            getattr(self._totals, name).update(getattr(other._totals, name))
        for (assertion, cue), count in other._totals.cues.items():
            self._count_cue(assertion, cue, count)
        self._bound()

    def to_lists(self) -> dict[str, list[tuple[Any, int]]]:
        """All counts as [key, count], ready for JSON; their order matters."""
        return {name: list(counts.items()) for name, counts in self._counters().items()}

    @classmethod
    def from_lists(
        cls, findings: Sequence[str], lists: Mapping[str, Iterable[Sequence[Any]]]
    ) -> StatsCounter:
        """The counter that `to_lists` wrote, from JSON.

        Raises:
            KeyError: a kind of count is missing.
        """
        counter = cls(findings)
        for name, counts in counter._counters().items():
            counts.update({_as_key(key): count for key, count in lists[name]})
        return counter

    def _counters(self) -> dict[str, Counter[Any]]:
        totals = {f.name: getattr(self._totals, f.name) for f in fields(_Totals)}
        pending = {"reports": self._reports, "named": self._mentions}
        return {**totals, **pending}

    def statistics(self) -> LabelStatistics:
        """What has been counted up to now; counting may go on."""
        self._sum_up()
        return _statistics(self.findings, self._totals)

    def _bound(self) -> None:
        if max(len(self._mentions), len(self._reports)) > _PENDING:
            self._sum_up()

    def _sum_up(self) -> None:
        for (status, sections), count in self._reports.items():
            self._totals.statuses[status] += count
            for section in set(sections):
                self._totals.sections[section] += count
        for key, count in self._mentions.items():
            self._sum_mention(key, count)
        self._reports.clear()
        self._mentions.clear()

    def _sum_labels(self, labels: NDArray[np.uint8]) -> None:
        totals = self._totals
        size = len(self.findings)
        for code, state in enumerate(STATES):
            _add(totals.states, [(i, state) for i in range(size)], (labels == code).sum(axis=0))
        positive = labels == STATES.index(POSITIVE)
        together = positive.T.astype(np.int64) @ positive
        rows, columns = np.triu_indices(size)
        _add(
            totals.pairs, zip(rows.tolist(), columns.tolist(), strict=True), together[rows, columns]
        )
        counted = [name not in NOT_COUNTED for name in self.findings]
        _add(totals.per_study, range(size + 1), np.bincount(positive[:, counted].sum(axis=1)))

    def _sum_mention(self, key: _MentionKey, count: int) -> None:
        finding, rule, assertion, reason, cue, *attributes = key
        totals = self._totals
        totals.assertions[assertion] += count
        totals.rules[finding, rule] += count
        if cue and reason not in _DECIDED_BY_PLACE:
            self._count_cue(assertion, _clean_cue(cue), count)
        if assertion == NONE:
            totals.reasons[reason] += count
            return
        for attribute, value in zip(ATTRIBUTES, attributes, strict=True):
            totals.attributes[attribute, value or NOT_STATED] += count

    def _count_cue(self, assertion: str, cue: str, count: int) -> None:
        cues = self._totals.cues
        known = (assertion, cue) in cues or len(cues) < _CUES
        cues[assertion, cue if known else OTHER_CUES] += count


def _add(counter: Counter[Any], keys: Iterable[Any], counts: NDArray[Any]) -> None:
    counter.update({key: n for key, n in zip(keys, counts.tolist(), strict=False) if n})


def _as_key(key: Any) -> Any:
    """A key of a counter: JSON has lists in place of tuples."""
    return tuple(map(_as_key, key)) if isinstance(key, list) else key


def _clean_cue(cue: str) -> str:
    """A cue as it is counted: lower case, single spaces, no marks around it, not long."""
    words = " ".join(cue.lower().split()).strip(" :;,.-()[]")
    return words if len(words) <= _CUE_CHARACTERS else f"{words[: _CUE_CHARACTERS - 1]}…"


def _statistics(findings: Sequence[str], totals: _Totals) -> LabelStatistics:
    labeled = totals.statuses[LABELED]
    together = _together(len(findings), totals.pairs)
    per_study = totals.per_study
    return LabelStatistics(
        reports=totals.statuses.total(),
        labeled=labeled,
        statuses={status: totals.statuses[status] for status in STATUSES},
        findings=tuple(
            _finding_statistics(name, {s: totals.states[index, s] for s in STATES}, labeled)
            for index, name in enumerate(findings)
        ),
        findings_per_study=tuple(per_study[i] for i in range(max(per_study, default=-1) + 1)),
        positives_together=together,
        share_together=tuple(
            tuple(_ratio(count, row[index]) for count in row) for index, row in enumerate(together)
        ),
        mentions={assertion: totals.assertions[assertion] for assertion in ASSERTIONS},
        cues={a: tuple(_ranked(_part(totals.cues, a)))[:_TOP_CUES] for a in ASSERTIONS},
        sections=dict(_ranked(totals.sections)),
        reasons=dict(_ranked(totals.reasons)),
        rules={name: dict(_ranked(_part(totals.rules, name))) for name, _ in sorted(totals.rules)},
        attributes={name: dict(_ranked(_part(totals.attributes, name))) for name in ATTRIBUTES},
    )


def _finding_statistics(name: str, counts: Mapping[str, int], n: int) -> FindingStatistics:
    positives = counts[POSITIVE]
    return FindingStatistics(
        finding=name,
        counts=counts,
        shares={state: _ratio(count, n) for state, count in counts.items()},
        interval=wilson_interval(positives, n),
        negatives_per_positive=_ratio(counts[NEGATIVE], positives),
        others_per_positive=_ratio(n - positives, positives),
        weight_positive=_ratio(n, positives),
        weight_negative=_ratio(n, n - positives),
    )


def wilson_interval(count: int, n: int) -> tuple[float, float] | None:
    """The 95 % score interval of a share, or None where n is 0: Wilson 1927."""
    if n == 0:
        return None
    z = 1.959964  # 97.5th percentile of the normal distribution
    share = count / n
    centre = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def _together(size: int, pairs: Counter[tuple[int, int]]) -> tuple[tuple[int, ...], ...]:
    return tuple(
        tuple(pairs[min(row, column), max(row, column)] for column in range(size))
        for row in range(size)
    )


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _part(counts: Counter[tuple[str, str]], first: str) -> dict[str, int]:
    return {second: count for (name, second), count in counts.items() if name == first}


def _ranked(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Most frequent first, equal ones by name, so that the order of reports does not show."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def write_statistics(
    statistics: LabelStatistics, path: Path, record: Mapping[str, Any], *, kind: str
) -> None:
    """Write the statistics as JSON or as the page with plots.

    Args:
        statistics: what was counted.
        path: where to.
        record: how the labels were made; shown on the page.
        kind: ".json" or ".html", see `statistics_kind`.
    """
    from cxrlabel.stats_page import stats_page

    if kind == ".json":
        content = json.dumps(statistics.to_dict(), ensure_ascii=False, indent=2) + "\n"
    else:
        content = stats_page(statistics, record=record)
    path.write_text(content, encoding="utf-8")


def statistics_kind(path: Path | str) -> str:
    """The format that a statistics file's ending asks for: ".json" or ".html"."""
    kind = Path(path).suffix.lower()
    if kind not in (".json", ".html"):
        raise InputError(f"{path}: unknown kind of statistics file; expected .json or .html")
    return kind


def stats_table(statistics: LabelStatistics) -> Table:
    """Counts of the four states and the share of positives; fits 80 columns."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    title = f"{statistics.labeled:,} labeled of {statistics.reports:,} reports"
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("finding", no_wrap=True)
    for heading in (POSITIVE, "share", UNCERTAIN, NEGATIVE, BLANK):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in statistics.findings:
        counts = [f"{row.counts[state]:,}" for state in STATES]
        cells = [counts[0], percent(row.shares[POSITIVE]), *counts[1:]]
        # Text: a name in brackets is no markup
        table.add_row(Text(row.finding), *cells)
    return table


def percent(share: float | None) -> str:
    """A share as "12.3%", or a dash."""
    return "–" if share is None else f"{share:.1%}"


def one_to(ratio: float | None) -> str:
    """A ratio as "1 : 4.2", or a dash where one side is empty."""
    if not ratio:
        return "–"
    return f"1 : {ratio:,.0f}" if ratio >= 100 else f"1 : {ratio:.{1 if ratio >= 1 else 2}f}"
