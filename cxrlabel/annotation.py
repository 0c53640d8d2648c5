"""Annotation: reports with their mentions out to a tool in which people correct them.

Each report becomes one text. Of section columns each is a block of it, under a line with the
column's name, and the offsets of its mentions move along; the task remembers where each block lies.
`corrections` reads back what people made of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cxrlabel.annotationfiles import FORMS, Block, Form, Region, Task, check_assertion, short
from cxrlabel.checks import one_of
from cxrlabel.columns import require_column
from cxrlabel.errors import InputError
from cxrlabel.findings import NO_FINDING, OTHER_ABNORMALITY, load_dialect, load_findings
from cxrlabel.formats import open_table
from cxrlabel.outline import Outliner, Sentence
from cxrlabel.readers import ReportRow, open_reports, read_id
from cxrlabel.rulebook import load_rulebook
from cxrlabel.studies import EMPTY, LABELED, LEARNED, MAX_CHARACTERS, NO_SECTION, TOO_LONG, Mention
from cxrlabel.writers import atomic_path, check_target, neutralise

_NO_TEXT: Final = "(no text)"  # doccano takes no empty text
_INTEGERS: Final = ("sentence", "start", "end")
_BLANKABLE: Final = ("cue_start", "cue_end")


@dataclass(frozen=True, slots=True)
class ExportRun:
    """What an export did."""

    reports: int
    mentions: int
    left_out: int  # mentions of reports that were not given
    written: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class PlacedMention:
    """A mention with its place in the mentions file."""

    mention: Mention
    place: str


def export_annotations(
    mentions: Path,
    reports: Sequence[str],
    out: Path,
    *,
    form: str,
    id_column: str | None = None,
    text_columns: Sequence[str] = (),
    rules: Sequence[Path | str] = (),
    sections: Sequence[str] = (),
    dialect: str = "cxr",
    lang: str = "en",
    force: bool = False,
) -> ExportRun:
    """Write reports with their mentions as tasks, and the tool's configuration beside them.

    Args:
        mentions: what `label_files` wrote for these reports, or for more than these.
        reports: files, folders of .txt or patterns.
        out: the tasks; the configuration has the same name and an ending more.
        form: "label-studio" or "doccano".
        id_column: as for `label_files`, like `text_columns`, `rules`, `sections`, `dialect` (it
            may rename the ids) and `lang`.

    Raises:
        InputError: a file is wrong, or the mentions are not of these reports.
    """
    chosen = choose_form(form)
    config = out.with_name(out.name + chosen.config_ending)
    layout = load_dialect(dialect, rules=rules)
    source = open_reports(
        reports,
        id_column=id_column,
        text_columns=text_columns,
        first_id=layout.id_name,
        id_prefix=layout.id_prefix,
    )
    id_name = layout.id_name or source.id_column
    check_targets((out, config), (mentions, *source.paths), force=force)
    findings = span_labels(rules)
    outliner = Outliner(load_rulebook(rules, lang=lang), sections=sections)
    by_study = {
        study: [placed for placed in own if placed.mention.reason != LEARNED]  # names nothing
        for study, own in read_mentions(mentions, id_name, findings).items()
    }
    texts = source.text_columns
    tasks = [
        _export(row, by_study.pop(row.study_id, []), outliner, id_name=id_name, columns=texts)
        for row in source.rows()
    ]
    count = sum(len(task.regions or ()) for task in tasks)
    if by_study and not count:
        raise InputError(
            f"{mentions}: no mention is of a report in {', '.join(reports)}; "
            "expected the reports that were labeled, with the same --id and --dialect"
        )
    with ExitStack() as stack:
        path = stack.enter_context(atomic_path(config, force=force))
        path.write_text(chosen.config(findings), encoding="utf-8")
        path = stack.enter_context(atomic_path(out, force=force))
        with path.open("w", encoding="utf-8", newline="") as file:
            chosen.write(file, tasks)
    return ExportRun(len(tasks), count, sum(map(len, by_study.values())), (out, config))


def choose_form(name: str) -> Form:
    """The form of a tool's files by name."""
    one_of("--format", "value", name, tuple(FORMS))
    return FORMS[name]


def span_labels(rules: Sequence[Path | str]) -> list[str]:
    """What a span can be labeled with: No Finding follows from the others."""
    names = [finding.name for finding in load_findings(rules) if finding.name != NO_FINDING]
    return [*names, OTHER_ABNORMALITY]


def check_targets(targets: Iterable[Path], inputs: Iterable[Path], *, force: bool) -> None:
    """Refuse before the work begins what could not be written after it."""
    taken = {path.resolve() for path in inputs}
    for path in targets:
        check_target(path, force=force)
        if path.resolve() in taken:
            raise InputError(f"{path}: is read or written already; expected a file of its own")
        taken.add(path.resolve())


# out


def _export(
    row: ReportRow,
    placed: Sequence[PlacedMention],
    outliner: Outliner,
    *,
    id_name: str,
    columns: Sequence[str],
) -> Task:
    outline = outliner(row.texts)
    text, blocks = _compose(row.texts, columns)
    regions: dict[Region, None] = {}  # a span that is there twice says nothing more
    for item in placed:
        index = _column(row, item, outline)
        offset = blocks[index].start
        m = item.mention
        regions[Region(offset + m.start, offset + m.end, m.finding, m.assertion)] = None
    return Task(
        row.study_id,
        id_name,
        _status(row, outline),
        text or _NO_TEXT,
        tuple(block for block in blocks if block.end > block.start),
        tuple(regions),
    )


def _compose(texts: Sequence[tuple[str, str]], columns: Sequence[str]) -> tuple[str, list[Block]]:
    """The text of a task, and where each column lies in it; a blank column is an empty block."""
    shown = [without_returns(text) for _, text in texts]
    if len(texts) == 1:
        return shown[0], [Block(texts[0][0], 0, len(shown[0]))]
    composed = ""
    blocks: list[Block] = []
    for (section, _), column, text in zip(texts, columns, shown, strict=True):
        if text.strip():
            composed += f"{chr(10) * 2 if composed else ''}{column.upper()}:\n"
        start = len(composed)
        composed += text if text.strip() else ""
        blocks.append(Block(section, start, len(composed)))
    return composed, blocks


def without_returns(text: str) -> str:
    """A text without carriage returns, which tools count differently; offsets stay."""
    return text.replace("\r\n", " \n").replace("\r", "\n")


def _column(row: ReportRow, placed: PlacedMention, outline: Sequence[Sentence]) -> int:
    """The text that a mention's offsets refer to: the one that has its words there.

    Where several have, its sentence's number decides.
    """
    mention = placed.mention
    candidates = [
        index
        for index, (_, text) in enumerate(row.texts)
        if mention.text in (words := text[mention.start : mention.end], neutralise(words))
        and words.strip()
    ]
    if not candidates:
        raise InputError(
            f"{placed.place}: report {row.study_id!r} has not the mention's words at "
            f"{mention.start} to {mention.end}; expected the reports that the mentions are of"
        )
    if len(candidates) == 1 or mention.sentence >= len(outline):
        return candidates[0]
    index = outline[mention.sentence].text
    return index if index in candidates else candidates[0]


def _status(row: ReportRow, outline: Sequence[Sentence]) -> str:
    if row.status:
        return row.status
    if sum(len(text) for _, text in row.texts) > MAX_CHARACTERS:
        return TOO_LONG
    if not any(text.strip() for _, text in row.texts):
        return EMPTY
    return LABELED if any(sentence.labels for sentence in outline) else NO_SECTION


def read_mentions(
    path: Path, id_column: str, findings: Sequence[str], *, only: Collection[str] | None = None
) -> dict[str, list[PlacedMention]]:
    """The mentions by study.

    Args:
        only: ids of the studies that are wanted; None: all.
    """
    table = open_table(path, names=(id_column,))
    for name in (id_column, *Mention._fields):
        require_column(name, table.columns, place=str(path))
    by_study: dict[str, list[PlacedMention]] = {}
    for place, (cell, *cells) in table.read([id_column, *Mention._fields]):
        study = _without_apostrophe(read_id(cell, place))
        if only is not None and study not in only:
            continue
        mention = _mention_of_row(dict(zip(Mention._fields, cells, strict=True)), place)
        if mention.finding not in findings:
            raise InputError(
                f"{place}: unknown finding {short(mention.finding)}; "
                "name the --rules that it is defined in"
            )
        by_study.setdefault(study, []).append(PlacedMention(mention, place))
    return by_study


def _without_apostrophe(study_id: str) -> str:
    """An id as it was before `neutralise`."""
    bare = study_id.removeprefix("'")
    return bare if neutralise(bare) == study_id else study_id


def _mention_of_row(cells: Mapping[str, Any], place: str) -> Mention:
    values: dict[str, Any] = {k: "" if cell is None else cell for k, cell in cells.items()}
    for name in (*_INTEGERS, *_BLANKABLE):
        cell = values[name]
        if cell == "" and name in _BLANKABLE:
            values[name] = None
            continue
        try:
            values[name] = int(cell)
        except (TypeError, ValueError):
            raise InputError(f"{place}: column {name!r}: expected a whole number") from None
    check_assertion(values["assertion"], place)
    return Mention(**values)
