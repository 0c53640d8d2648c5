"""Reports of phantoms: invented, written from what the images show, and as wrong as asked for.

What a report says of each finding is decided in `cxrvision.phantom.saying`, how it says it is in
`wording.toml`. A study's report depends on its seed and, where it is not the first of its patient,
on what the visit before said; never on how many studies there are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from cxrlabel.findings import (
    BLANK,
    NEGATIVE,
    NO_FINDING,
    POSITIVE,
    SUPPORT_DEVICES,
    UNCERTAIN,
)
from cxrlabel.writers import open_rows
from cxrvision.phantom.findings import DRAWN
from cxrvision.phantom.looks import Look, invent
from cxrvision.phantom.plan import PlannedStudy
from cxrvision.phantom.saying import DEFAULT_RATES, Rates, decide, implied
from cxrvision.phantom.wording import PLACES, Remark, Wording, load_wording

SECTIONS: Final = ("indication", "comparison", "technique", "findings", "impression")
INCIDENTAL: Final = 0.12  # share of reports that mention something that is not drawn

# Shares of reports, invented: what people leave out and how they put things.
_ONLY_IMPRESSION: Final = 0.08
_NO_IMPRESSION: Final = 0.08
_COMPARED: Final = 0.6  # of findings that a prior study can be compared for
_NORMAL: Final = 0.5  # of normal sentences that could be written
_JOINED: Final = 0.3  # of impressions whose first two items become one sentence
_NUMBERED: Final = 0.4
_ADVICE: Final = 0.4
_WORDS, _STATES, _LOOKS = range(3)  # streams of a report


@dataclass(frozen=True, slots=True)
class PhantomReport:
    """An invented report, and what it says."""

    study_id: str
    patient_id: str
    sections: Mapping[str, str]  # of `SECTIONS`; "" where it has none
    said: Mapping[str, str]  # finding -> the state that the report gives it


@dataclass(frozen=True, slots=True)
class _Told:
    """What a reader says of a study, before it is put into words."""

    study: PlannedStudy
    said: Mapping[str, str]
    looks: Mapping[str, Look]

    def speaks_of(self, name: str) -> bool:
        return self.said.get(name) in (POSITIVE, UNCERTAIN)


def make_reports(
    plan: Iterable[PlannedStudy],
    looks: Mapping[str, Mapping[str, Look]],
    *,
    scope: Collection[str],
    rates: Mapping[str, Rates] = DEFAULT_RATES,
    incidental: float = INCIDENTAL,
) -> list[PhantomReport]:
    """Write a report for each study.

    Args:
        plan: studies; those of a patient in order.
        looks: study id -> finding -> how it was drawn; a finding without one gets a look by chance.
        scope: the findings of the set; reports speak of these, of normal parts and of
            incidental things.
        rates: how reports err, by finding.
        incidental: share of reports that mention something that is not drawn.
    """
    earlier: dict[str, _Told] = {}
    reports = []
    for study in plan:
        told = _tell(study, looks.get(study.study_id, {}), scope, rates)
        reports.append(_Writer(told, earlier.get(study.patient_id), incidental).report())
        earlier[study.patient_id] = told
    return reports


def write_reports(path: Path | str, reports: Iterable[PhantomReport], *, force: bool) -> None:
    """Write a row for each report: study_id, patient_id and the sections.

    Raises:
        InputError: as `cxrlabel.writers.open_rows`.
    """
    rows = sorted(
        (report.study_id, report.patient_id, *(report.sections[name] for name in SECTIONS))
        for report in reports
    )
    columns = dict.fromkeys(("study_id", "patient_id", *SECTIONS), str)
    with open_rows(path, columns, force=force) as writer:
        writer.write(rows)


def _tell(
    study: PlannedStudy,
    looks: Mapping[str, Look],
    scope: Collection[str],
    rates: Mapping[str, Rates],
) -> _Told:
    return _Told(
        study=study,
        said=decide(study.drawn, scope, rates, (*study.report, _STATES)),
        looks={
            name: looks[name]
            if name in looks
            else invent(np.random.default_rng([*study.report, _LOOKS, place]), name)
            for place, name in enumerate(DRAWN)
        },
    )


class _Writer:
    """Puts one study into words."""

    def __init__(self, told: _Told, prior: _Told | None, incidental: float) -> None:
        self.told = told
        self.prior = prior
        self.words: Wording = load_wording()
        self.rng = np.random.default_rng([*told.study.report, _WORDS])
        self.incidental = self._chance(incidental)

    def report(self) -> PhantomReport:
        study, part = self.told.study, self.rng.random()
        findings, impression = self._findings(), self._impression()
        if part < _ONLY_IMPRESSION:
            findings, impression = "", findings
        elif part < _ONLY_IMPRESSION + _NO_IMPRESSION:
            impression = ""
        texts = (self._indication(), self._comparison(), self._technique(), findings, impression)
        return PhantomReport(
            study.study_id,
            study.patient_id,
            dict(zip(SECTIONS, texts, strict=True)),
            self._said(),
        )

    def _said(self) -> dict[str, str]:
        said = implied(self.told.said)
        if NO_FINDING in self.told.study.truth:
            abnormal = any(self.told.speaks_of(name) for name in said if name != SUPPORT_DEVICES)
            said[NO_FINDING] = BLANK if abnormal or self.incidental else POSITIVE
        return said

    # what stands before the findings

    def _indication(self) -> str:
        person = self.told.study.person
        bedside = self.told.study.ap and self.told.study.views == ("frontal",)
        text = self._pick(self.words.sections["bedside" if bedside else "indication"])
        complaint = self._pick(self.words.sections["complaints"])
        filled = text.format(
            age=person.age,
            person="woman" if person.sex == "F" else "man",
            complaint=complaint,
            Complaint=_capital(complaint),
        )
        return _capital(filled)

    def _comparison(self) -> str:
        if self.prior is None:
            return self._pick(self.words.sections["no_prior"])
        return self._pick(self.words.sections["prior"]).format(date=self.prior.study.date)

    def _technique(self) -> str:
        study = self.told.study
        views = study.views[0] if len(study.views) == 1 else "both"
        kind = "portable" if study.ap and views == "frontal" else views
        return self._pick(self.words.sections[kind]).format(position="AP" if study.ap else "PA")

    # findings

    def _findings(self) -> str:
        lines: dict[str, list[str]] = {place: [] for place in PLACES}
        for name in self.told.said:
            if self.told.speaks_of(name):
                lines[self.words.findings[name].place] += self._mention(name)
        if self.incidental:
            remark = self.words.incidental[self.rng.integers(len(self.words.incidental))]
            lines[remark.place].append(self._fill(self._pick(remark.texts), "Lung Opacity"))
        left = [name for name, state in self.told.said.items() if state == NEGATIVE]
        left = self._resolved(left, lines)
        left = self._normal(left, lines)
        self._denied(left, lines)
        return _sentences([line for place in PLACES for line in lines[place]])

    def _mention(self, name: str) -> list[str]:
        """The sentences about a finding that is stated or hedged."""
        words, stated = self.words.findings[name], self.told.said[name] == POSITIVE
        if stated and name == SUPPORT_DEVICES:
            kinds = self.told.looks[name].kinds
            return [self._fill(self._pick(self.words.devices[kind]), name) for kind in kinds]
        texts = words.stated if stated else words.hedged
        if "Lung Opacity" not in self.told.said:
            texts += words.opacity_stated if stated else words.opacity_hedged
        return [self._fill(self._pick(texts), name)]

    def _resolved(self, left: list[str], lines: Mapping[str, list[str]]) -> list[str]:
        """Say of what the prior study stated that it is gone; what is left to deny."""
        prior = self.prior
        gone = [
            name
            for name in left
            if prior is not None and prior.said[name] == POSITIVE and self._chance(_COMPARED)
        ]
        for name in gone:
            words = self.words.findings[name]
            look = prior.looks[name] if prior is not None else None
            lines[words.place].append(self._fill(self._pick(words.resolved), name, look))
        return [name for name in left if name not in gone]

    def _normal(self, left: list[str], lines: Mapping[str, list[str]]) -> list[str]:
        """Describe normal parts; what is left to deny."""
        for remark in self.words.normal:
            if self._fits(remark, left) and self._chance(_NORMAL):
                lines[remark.place].append(self._pick(remark.texts))
                left = [name for name in left if name not in remark.denies]
        return left

    def _fits(self, remark: Remark, left: Sequence[str]) -> bool:
        if remark.place in ("bones", "lungs") and self.incidental:
            return False  # "bones are unremarkable" beside a scoliosis
        denies = [name for name in remark.denies if name in self.told.said]
        return set(denies) <= set(left) and not any(map(self.told.speaks_of, remark.unless))

    def _denied(self, left: Sequence[str], lines: Mapping[str, list[str]]) -> None:
        """Deny what is left, in a list where there are several that can be listed."""
        listed = [name for name in left if self.words.findings[name].names]
        if len(listed) < 2:
            listed = []
        for name in left:
            if name not in listed:
                words = self.words.findings[name]
                lines[words.place].append(self._pick(words.denied))
        if listed:
            names = [self._pick(self.words.findings[name].names) for name in listed]
            text = self._pick(self.words.lists).format(names=_either(names))
            lines["pleura"].append(text)

    # impression

    def _impression(self) -> str:
        said, words = self.told.said, self.words
        stated = [
            self._fill(self._pick(words.findings[name].short_stated), name)
            for name in said
            if said[name] == POSITIVE and words.findings[name].short_stated
        ]
        hedged = [
            self._fill(self._pick(words.findings[name].short_hedged), name)
            for name in said
            if said[name] == UNCERTAIN and words.findings[name].short_hedged
        ]
        if len(stated) > 1 and "," not in stated[0] and self._chance(_JOINED):
            stated[:2] = [f"{stated[0]} with {stated[1]}"]
        items = [*stated, *hedged] or [self._pick(words.impression["normal"])]
        if hedged and self._chance(_ADVICE):
            items.append(self._pick(words.impression["advice"]))
        numbered = len(items) > 1 and self._chance(_NUMBERED)
        if numbered:
            items = [f"{place}. {_capital(item)}" for place, item in enumerate(items, 1)]
        return _sentences(items)

    # words

    def _fill(self, text: str, name: str, look: Look | None = None) -> str:
        look = look or self.told.looks[name]
        where = self.words.zones[look.zone].format(side=look.side)
        return text.format(
            side=look.side,
            where=where,
            size=self.words.findings[name].sizes[look.grade],
            cm=f"{look.cm:.1f}",
            change=self._change(name) if "{change}" in text else "",
        )

    def _change(self, name: str) -> str:
        """How a finding compares with the prior study, or "" where nobody says."""
        if self.prior is None or not self._chance(_COMPARED):
            return ""
        if self.prior.said[name] != POSITIVE:
            return self._pick(self.words.changes["new"])
        now, before = self.told.looks[name], self.prior.looks[name]
        if (now.side, now.kinds) != (before.side, before.kinds):
            return ""
        order = (now.grade > before.grade) - (now.grade < before.grade)
        return self._pick(self.words.changes[("same", "more", "less")[order]])

    def _pick(self, texts: Sequence[str]) -> str:
        return texts[int(self.rng.integers(len(texts)))]

    def _chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)


def _either(names: Sequence[str]) -> str:
    """The names as "a, b or c"."""
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _sentences(texts: Sequence[str]) -> str:
    return " ".join(f"{_capital(text)}." for text in texts)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
