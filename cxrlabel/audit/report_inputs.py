"""What a report is made from, read in: labels, manual review, and what explains differences."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pandas as pd

from cxrlabel.audit.compare import Comparison, compare
from cxrlabel.audit.consensus import Blank, Rule, Uncertain, make_consensus
from cxrlabel.audit.deciding import Mentions
from cxrlabel.audit.design import read_sample, require_id
from cxrlabel.audit.reviews import Reviews, read_reviews
from cxrlabel.columns import listed
from cxrlabel.errors import InputError
from cxrlabel.findings import resolve
from cxrlabel.formats import open_table
from cxrlabel.readers import open_reports, read_id
from cxrlabel.tables import read_labels

if TYPE_CHECKING:
    from cxrlabel.readers import ReportSource
    from cxrlabel.studies import Mention

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The files of an audit.

    Attributes:
        labels: what is audited.
        manual: the manual review, as for `read_reviews`.
        reference: "report" or "image"; None takes what the review's file says.
        id_column: of all files; None takes the first with a usual name in each.
        sample: how the reviewed studies were drawn; None: at random, with equal chances.
        mentions: what the labeling run wrote of these labels.
        reports: files, folders of .txt or patterns.
        text_columns: as for `open_reports`.
        labelers: name -> labels of another labeler for the same studies.
        patient: the column with the patient; "" takes studies as unrelated. It is looked for in the
            labels, the reports and the manual review, in this order.
        by: columns whose values are groups of studies; looked for in the same way.
        rules, lang: as for `load_rulebook`; for findings of one's own and the sections of reports.
    """

    labels: Path
    manual: Path
    reference: str | None = None
    id_column: str | None = None
    sample: Path | None = None
    mentions: Path | None = None
    reports: Sequence[str] = ()
    text_columns: Sequence[str] = ()
    labelers: Mapping[str, Path] = field(default_factory=dict)
    patient: str = ""
    by: Sequence[str] = ()
    rules: Sequence[Path] = ()
    lang: str = "en"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """How readings become a truth, as for `make_consensus`."""

    blank: Blank = "absent"
    uncertain: Uncertain = "open"
    consensus: Rule = "majority"
    drop_ambiguous: bool = False


@dataclass(frozen=True, slots=True)
class Reports:
    """The reports of the studies compared."""

    columns: tuple[str, ...]  # that the texts come from
    texts: Mapping[str, tuple[tuple[str, str], ...]]  # by study: (section, text) in column order


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What the files say."""

    comparison: Comparison
    reviews: Reviews
    labelers: Mapping[str, pd.DataFrame]
    mentions: Mentions | None
    reports: Reports | None
    groups: Mapping[str, pd.Series]  # column -> its value for each study compared
    paths: tuple[Path, ...]  # of all inputs
    places: Mapping[str, str]  # column of --patient and --by -> the file that it was found in


def read_material(sources: Sources, choices: Choices) -> Material:
    """Read all files and join them by study.

    Raises:
        InputError: a file is wrong, or they do not belong together.
    """
    find = partial(resolve, rules=tuple(sources.rules))
    id_column = sources.id_column
    labels = read_labels(sources.labels, id_column=id_column, resolve=find).table
    reviews = read_reviews(
        sources.manual, id_column=id_column, reference=sources.reference, resolve=find
    )
    if not reviews.reference:
        raise InputError(
            f"{sources.manual}: no column 'reference'; say by --reference report|image what was "
            "looked at"
        )
    consensus = make_consensus(
        reviews,
        rule=choices.consensus,
        blank=choices.blank,
        uncertain=choices.uncertain,
        open_ambiguous=choices.drop_ambiguous,
    )
    sample = None if sources.sample is None else read_sample(sources.sample, id_column=id_column)
    ids = labels.index.intersection(consensus.truth.index)
    names = tuple(dict.fromkeys([*([sources.patient] if sources.patient else []), *sources.by]))
    opened = _open_reports(sources) if sources.reports else None
    columns = _Columns(sources, opened, names)
    reports = None if opened is None else _read_reports(opened, columns, ids)
    values = {name: columns.read(name, ids) for name in names}
    comparison = compare(
        labels,
        consensus,
        sample=sample,
        patients=_patients(values[sources.patient]) if sources.patient else None,
        place=str(sources.labels),
    )
    return Material(
        comparison=comparison,
        reviews=reviews,
        labelers={
            name: read_labels(path, id_column=id_column, resolve=find).table
            for name, path in sources.labelers.items()
        },
        mentions=_read_mentions(sources, str(labels.index.name), comparison.labels.index)
        if sources.mentions
        else None,
        reports=reports,
        groups={name: values[name].reindex(comparison.labels.index) for name in sources.by},
        paths=_paths(sources, opened),
        places=columns.places,
    )


def _paths(sources: Sources, opened: ReportSource | None) -> tuple[Path, ...]:
    optional = (sources.sample, sources.mentions)
    reports = () if opened is None else opened.paths
    files = [sources.labels, sources.manual, *filter(None, optional), *reports]
    return (*files, *sources.labelers.values())


def _open_reports(sources: Sources) -> ReportSource:
    open_them = partial(
        open_reports,
        sources.reports,
        id_column=sources.id_column,
        text_columns=sources.text_columns,
    )
    opened = open_them()
    wanted = [sources.patient, *sources.by]
    keep = [
        name
        for name in dict.fromkeys(wanted)
        if name and all(name in table.columns for table in opened.tables)
    ]
    return open_them(keep=keep)


def _read_reports(opened: ReportSource, columns: _Columns, ids: pd.Index) -> Reports:
    wanted = frozenset(ids)
    texts = {}
    for row in opened.rows():
        if row.study_id in wanted:
            texts[row.study_id] = row.texts
            columns.keep(row.study_id, row.kept)
    if not texts:
        raise InputError(
            f"{opened.paths[0]}: no report of the {len(ids)} labeled and reviewed studies; "
            "expected the same ids"
        )
    return Reports(opened.text_columns, texts)


def _read_mentions(sources: Sources, id_name: str, ids: pd.Index) -> Mentions:
    from cxrlabel.annotation import read_mentions, span_labels

    if sources.mentions is None:
        return {}
    findings = span_labels(tuple(sources.rules))
    placed = read_mentions(sources.mentions, id_name, findings, only=frozenset(ids))
    if not placed:
        raise InputError(
            f"{sources.mentions}: no mention is of the {len(ids)} labeled and reviewed studies; "
            "expected what `cxr label --mentions` wrote with these labels"
        )
    return {study: [_encodable(item.mention) for item in row] for study, row in placed.items()}


def _encodable(mention: Mention) -> Mention:
    """A mention without the lone surrogates of bytes that were not UTF-8, as in its report."""
    text, cue = (_SURROGATE.sub("\ufffd", words) for words in (mention.text, mention.cue))
    return mention._replace(text=text, cue=cue)


def _patients(values: pd.Series) -> pd.Series:
    """Studies whose patient is named."""
    return values[values != ""]


class _Columns:
    """Columns that may be in the labels, the reports or the manual review."""

    def __init__(self, sources: Sources, opened: ReportSource | None, names: Sequence[str]) -> None:
        self._sources = sources
        self._kept: dict[str, tuple[str, ...]] = {}
        self._kept_names = () if opened is None else opened.kept_columns
        self._tables = {path: _columns(path, sources) for path in (sources.labels, sources.manual)}
        self.places = {name: self._place(name) for name in names}

    def keep(self, study_id: str, cells: tuple[str, ...]) -> None:
        """Take the cells of a report's row."""
        self._kept[study_id] = cells

    def read(self, name: str, ids: pd.Index) -> pd.Series:
        """The column's text by study; "" where there is none."""
        place = self.places[name]
        if place != "reports":
            found = _read_column(Path(place), name, self._sources.id_column, frozenset(ids))
        else:
            index = self._kept_names.index(name)
            found = {study: cells[index] for study, cells in self._kept.items()}
        return pd.Series([found.get(study, "") for study in ids], index=ids, dtype=object)

    def _place(self, name: str) -> str:
        """The labels, the reports or the review: the first that has the column."""
        if name in self._tables[self._sources.labels]:
            return str(self._sources.labels)
        if name in self._kept_names:
            return "reports"
        if name in self._tables[self._sources.manual]:
            return str(self._sources.manual)
        known = sorted({column for columns in self._tables.values() for column in columns})
        raise InputError(
            f"no column {name!r} in the labels, the reports or the manual review "
            f"(columns of the tables: {listed(known)})"
        )


def _columns(path: Path, sources: Sources) -> tuple[str, ...]:
    names = () if sources.id_column is None else (sources.id_column,)
    return open_table(path, names=names).columns


def _read_column(
    path: Path, name: str, id_column: str | None, wanted: frozenset[str]
) -> dict[str, str]:
    table = open_table(path, names=() if id_column is None else (id_column,))
    found: dict[str, str] = {}
    for place, (cell, value) in table.read([require_id(table, id_column), name]):
        study = read_id(cell, place)
        text = "" if value is None else _SURROGATE.sub("\ufffd", str(value).strip())
        if study in wanted and text and found.setdefault(study, text) != text:
            raise InputError(
                f"{place}: column {name!r} differs from another row of study {study!r}; "
                "expected one value for each study"
            )
    return found
