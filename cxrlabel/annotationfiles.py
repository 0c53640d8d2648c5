"""Files of annotation tools: reports with marked spans as Label Studio and doccano exchange them.

Both formats carry the same fields of ours beside the text, so that what comes back names its study.
Offsets count characters (code points) of the text; what is written is ASCII, so that no reader
guesses an encoding and no character but a line feed ends a line.

Label Studio: a JSON list of tasks, https://labelstud.io/guide/task_format.html. doccano: JSONL of
sequence labeling, a span's label being "Finding|assertion".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, TextIO
from xml.sax.saxutils import quoteattr

from cxrlabel.columns import require_column
from cxrlabel.errors import InputError
from cxrlabel.files import open_lines
from cxrlabel.findings import NEGATIVE, POSITIVE, UNCERTAIN
from cxrlabel.formats import open_table
from cxrlabel.readers import read_id
from cxrlabel.studies import NONE, STATUSES

ASSERTIONS: Final = (POSITIVE, NEGATIVE, UNCERTAIN, NONE)

_FIELDS: Final = ("text", "report_id", "id_column", "status", "blocks")
_SEPARATOR: Final = "|"  # between finding and assertion in doccano
_SURROGATE: Final = re.compile("[\ud800-\udfff]")  # half a character, which no file can hold
_COLORS: Final = {
    POSITIVE: "#f4a3a3",
    NEGATIVE: "#a8d8a8",
    UNCERTAIN: "#f6d77a",
    NONE: "#d9d9d9",
}


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of a task's text that is one column of the report."""

    section: str  # "" for a whole report
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Region:
    """A marked span; offsets into the task's text."""

    start: int
    end: int
    finding: str
    assertion: str


@dataclass(frozen=True, slots=True)
class Task:
    """One report in an annotation tool."""

    study_id: str
    id_column: str
    status: str
    text: str
    blocks: tuple[Block, ...]
    regions: tuple[Region, ...] | None  # None: nobody has annotated it
    place: str = ""  # for messages
    reviewed: bool = True  # False: the regions are those that were exported


@dataclass(frozen=True, slots=True)
class Form:
    """How a tool's files are written and read."""

    write: Callable[[TextIO, Iterable[Task]], None]
    read: Callable[[Path], Iterator[Task]]
    config_ending: str  # of the file beside the tasks that sets the tool up
    config: Callable[[Sequence[str]], str]  # findings -> its content


# Label Studio


def _write_label_studio(file: TextIO, tasks: Iterable[Task]) -> None:
    model = f"cxr {version('cxr')}"
    before = "["
    for task in tasks:
        result = [item for number, r in enumerate(task.regions or ()) for item in _items(number, r)]
        predictions = [{"model_version": model, "result": result}]
        file.write(f"{before}\n{json.dumps({'data': _fields(task), 'predictions': predictions})}")
        before = ","
    file.write("[]\n" if before == "[" else "\n]\n")


def _items(number: int, region: Region) -> Iterator[dict[str, Any]]:
    """A span and, under the same id, the choice that belongs to it."""
    for name, kind, value in (
        ("finding", "labels", region.finding),
        ("assertion", "choices", region.assertion),
    ):
        yield {
            "id": f"m{number}",
            "from_name": name,
            "to_name": "text",
            "type": kind,
            "value": {"start": region.start, "end": region.end, kind: [value]},
        }


def _label_studio_config(findings: Sequence[str]) -> str:
    labels = "\n".join(
        f'    <Label value={quoteattr(name)} background="{_hue(number, len(findings))}"/>'
        for number, name in enumerate(findings)
    )
    choices = "\n".join(f"    <Choice value={quoteattr(name)}/>" for name in ASSERTIONS)
    return f"""<View>
  <Labels name="finding" toName="text">
{labels}
  </Labels>
  <Text name="text" value="$text"/>
  <Choices name="assertion" toName="text" perRegion="true" required="true" showInline="true">
{choices}
  </Choices>
</View>
"""


def _hue(number: int, count: int) -> str:
    """A color as "#rrggbb", as far from the others' as can be."""
    from colorsys import hls_to_rgb

    channels = hls_to_rgb(number / count, 0.62, 0.6)
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in channels)


def _read_label_studio(path: Path) -> Iterator[Task]:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    with open_lines(path, newline="\n") as file:
        try:
            tasks = json.load(file)
        except json.JSONDecodeError as error:
            raise InputError(f"{path}:{error.lineno}: not JSON: {error.msg}") from error
    if not isinstance(tasks, list):
        raise InputError(f"{path}: expected a list of tasks, Label Studio's export named JSON")
    for number, task in enumerate(tasks, 1):
        place = f"{path}: task {number}"
        if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
            raise InputError(f"{place}: no 'data'; expected Label Studio's export named JSON")
        result, reviewed = _result(task, place)
        yield _task(task["data"], result, place=place, reviewed=reviewed)


def _result(task: Mapping[str, Any], place: str) -> tuple[tuple[Region, ...] | None, bool]:
    """The regions that count, and whether a person made them."""
    try:
        return _chosen(task, place)
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(f"{place}: a region is not as Label Studio exports it") from error


def _chosen(task: Mapping[str, Any], place: str) -> tuple[tuple[Region, ...] | None, bool]:
    annotations = [a for a in task.get("annotations") or [] if not a.get("was_cancelled")]
    if len(annotations) > 1:
        annotations = [a for a in annotations if a.get("ground_truth")]
        if len(annotations) != 1:
            raise InputError(
                f"{place}: several annotations; expected one, or one marked as ground truth"
            )
    if annotations:
        return _regions(annotations[0].get("result") or [], place), True
    # an export may name predictions by number only
    predictions = [p for p in task.get("predictions") or [] if isinstance(p, dict)]
    if len(predictions) == 1:
        return _regions(predictions[0].get("result") or [], place), False
    return None, False


def _regions(result: Sequence[Mapping[str, Any]], place: str) -> tuple[Region, ...]:
    """Spans with their choices; an item of another type is of other tags and is left alone."""
    choices = {r.get("id"): r["value"]["choices"] for r in result if r.get("type") == "choices"}
    regions: list[Region] = []
    for item in result:
        if item.get("type") != "labels":
            continue
        chosen = choices.get(item.get("id"), [])
        if len(chosen) != 1:
            raise InputError(
                f"{place}, region {item.get('id')}: {len(chosen)} assertions chosen, expected one"
            )
        value = item["value"]
        regions += [
            _region(value["start"], value["end"], finding, chosen[0], place)
            for finding in value["labels"]
        ]
    return tuple(regions)


# doccano


def _write_doccano(file: TextIO, tasks: Iterable[Task]) -> None:
    for task in tasks:
        label = [
            [r.start, r.end, f"{r.finding}{_SEPARATOR}{r.assertion}"] for r in task.regions or ()
        ]
        file.write(json.dumps(_fields(task) | {"label": label}) + "\n")


def _doccano_config(findings: Sequence[str]) -> str:
    types = [
        {
            "text": f"{finding}{_SEPARATOR}{assertion}",
            "backgroundColor": _COLORS[assertion],
            "textColor": "#000000",
        }
        for finding in findings
        for assertion in ASSERTIONS
    ]
    return json.dumps(types, indent=1) + "\n"


def _read_doccano(path: Path) -> Iterator[Task]:
    table = open_table(path)
    label = "labels" if "labels" in table.columns else "label"  # doccano 1.0 and later versions
    for name in (*_FIELDS, label):
        require_column(name, table.columns, place=str(path))
    for place, (spans, *cells) in table.read([label, *_FIELDS]):
        regions = tuple(_doccano_region(span, place) for span in _listed(spans, place, label))
        yield _task(dict(zip(_FIELDS, cells, strict=True)), regions, place=place)


def _doccano_region(span: object, place: str) -> Region:
    match span:
        case [start, end, str() as label] if _SEPARATOR in label:
            finding, _, assertion = label.rpartition(_SEPARATOR)
            return _region(start, end, finding, assertion, place)
        case _:
            raise InputError(f"{place}: expected spans as [start, end, 'Finding|assertion']")


# both


def check_assertion(name: str, place: str) -> None:
    """Refuse what is no assertion of a mention."""
    if name not in ASSERTIONS:
        raise InputError(
            f"{place}: unknown assertion {short(name)}; expected one of {', '.join(ASSERTIONS)}"
        )


def short(value: str) -> str:
    """A value for a message; a long one may be report text and is not shown."""
    return repr(value) if len(value) <= 30 else f"of {len(value)} characters"


def _region(start: object, end: object, finding: object, assertion: object, place: str) -> Region:
    match (start, end, finding, assertion):
        case (int() as first, int() as last, str() as name, str() as said):
            return Region(first, last, name, said)
        case _:
            raise InputError(f"{place}: a span needs whole offsets, a finding and an assertion")


def _fields(task: Task) -> dict[str, Any]:
    blocks = [[block.section, block.start, block.end] for block in task.blocks]
    values = (task.text, task.study_id, task.id_column, task.status, blocks)
    return dict(zip(_FIELDS, values, strict=True))


def _task(
    fields: Mapping[str, Any],
    regions: tuple[Region, ...] | None,
    *,
    place: str,
    reviewed: bool = True,
) -> Task:
    missing = [name for name in _FIELDS if name not in fields]
    if missing:
        raise InputError(
            f"{place}: no {missing[0]!r}; expected tasks made by `cxr annotate export`"
        )
    text, status = fields["text"], fields["status"]
    if not isinstance(text, str) or _SURROGATE.search(text):
        raise InputError(f"{place}: 'text' is not a text")
    if status not in STATUSES:
        raise InputError(f"{place}: unknown status; expected one of {', '.join(STATUSES)}")
    study_id = read_id(fields["report_id"], place)
    blocks = tuple(_block(b, text, place) for b in _listed(fields["blocks"], place, "blocks"))
    return Task(study_id, str(fields["id_column"]), status, text, blocks, regions, place, reviewed)


def _block(cell: object, text: str, place: str) -> Block:
    match cell:
        case [str() as section, int() as start, int() as end] if 0 <= start <= end <= len(text):
            return Block(section, start, end)
        case _:
            raise InputError(f"{place}: 'blocks' do not fit the text; was the text changed?")


def _listed(cell: object, place: str, name: str) -> list[Any]:
    if not isinstance(cell, list):
        raise InputError(f"{place}: {name!r} is {type(cell).__name__}, expected a list")
    return cell


FORMS: Final = {
    "label-studio": Form(
        _write_label_studio, _read_label_studio, ".config.xml", _label_studio_config
    ),
    "doccano": Form(_write_doccano, _read_doccano, ".labels.json", _doccano_config),
}
