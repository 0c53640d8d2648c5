"""Reviews in Label Studio: a task for each study, a choice for each finding.

https://labelstud.io/guide/task_format.html. An annotation names its reviewer in a field of ours,
since Label Studio refuses a `completed_by` whom it does not know; what comes back has both.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import quoteattr

from sqlalchemy import select

from cxrlabel.audit.review.document import Block
from cxrlabel.audit.review.export import read_back
from cxrlabel.audit.review.models import IMAGE, Review, Study
from cxrlabel.audit.review.reading import rest_of, states_of
from cxrlabel.audit.review.store import open_store, the_review
from cxrlabel.audit.review.words import CHOICES
from cxrlabel.errors import InputError
from cxrlabel.files import open_lines
from cxrlabel.readers import read_id
from cxrlabel.writers import atomic_path, check_target

CONFIG_ENDING: Final = ".config.xml"  # of the file beside the tasks that sets Label Studio up

_NO_TEXT: Final = "(no text)"
_STATES: Final = {choice.word.casefold(): state for state, choice in CHOICES.items()}


@dataclass(frozen=True, slots=True)
class TaskExport:
    """What an export wrote."""

    tasks: int
    annotations: int
    written: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class GivenReading:
    """A reading that comes from outside."""

    study_id: str
    reviewer: str
    states: Mapping[str, str]  # finding key -> state, of the findings that it answers
    place: str  # for messages


def export_tasks(
    db: str | Path, out: Path, *, readings: bool = False, force: bool = False
) -> TaskExport:
    """Write the studies of a review as tasks, and Label Studio's configuration beside them.

    Args:
        db: a file or a URL.
        out: a .json file; the configuration is called the same with ".config.xml" behind it.
        readings: write the committed readings as annotations.

    Raises:
        InputError: no review, a review of images, or a file exists and `force` is not set.
    """
    config = out.with_name(out.name + CONFIG_ENDING)
    for path in (out, config):
        check_target(path, force=force)
    store = open_store(db)
    try:
        with store.read() as session:
            review = the_review(session)
            if review.reference == IMAGE:
                raise InputError(f"{store.place}: a review of images; tasks hold reports")
            studies = {s.study_id: s for s in session.scalars(select(Study))}
            tasks = [
                _task(review, studies[item.study_id], item.readings if readings else ())
                for item in read_back(session, review)
            ]
            setup = _config(review)
    finally:
        store.close()
    with ExitStack() as stack:
        path = stack.enter_context(atomic_path(config, force=force))
        path.write_text(setup, encoding="utf-8")
        path = stack.enter_context(atomic_path(out, force=force))
        path.write_text(json.dumps(tasks, indent=1) + "\n", encoding="ascii")
    count = sum(len(task["annotations"]) for task in tasks)
    return TaskExport(len(tasks), count, (out, config))


def read_tasks(path: Path, review: Review) -> Iterator[GivenReading]:
    """The annotations of tasks that Label Studio exported as JSON; those cancelled are left out.

    Raises:
        InputError: not such a file, a task that is not of a review, an unknown choice.
    """
    with open_lines(path, newline="\n") as file:
        try:
            tasks = json.load(file)
        except json.JSONDecodeError as error:
            raise InputError(f"{path}:{error.lineno}: not JSON: {error.msg}") from error
    if not isinstance(tasks, list):
        raise InputError(f"{path}: expected a list of tasks, Label Studio's export named JSON")
    keys = {key for _, key in review.findings}
    for number, task in enumerate(tasks, 1):
        place = f"{path}: task {number}"
        try:
            study_id = read_id(task["data"]["report_id"], place)
            for annotation in task.get("annotations") or ():
                if not annotation.get("was_cancelled"):
                    states = _states(annotation, keys, place)
                    yield GivenReading(study_id, _reviewer(annotation), states, place)
        except (AttributeError, KeyError, TypeError) as error:
            raise InputError(
                f"{place}: not as Label Studio exports it; expected tasks of a review, as JSON"
            ) from error


def shown_text(study: Study) -> str:
    """A report as one text, every section under its heading."""
    blocks = [Block(*block) for block in study.blocks]
    return "\n\n".join(f"{b.title.upper()}:\n{b.shown}" if b.title else b.shown for b in blocks)


def _task(
    review: Review, study: Study, readings: tuple[tuple[str, Mapping[str, str]], ...]
) -> dict[str, Any]:
    return {
        "data": {
            "text": shown_text(study) or _NO_TEXT,
            "report_id": study.study_id,
            "id_column": review.id_column,
            "reference": review.reference,
        },
        "annotations": [
            {
                "reviewer": name,
                "result": [
                    {
                        "from_name": key,
                        "to_name": "text",
                        "type": "choices",
                        "value": {"choices": [CHOICES[state].word]},
                    }
                    for key, state in states.items()
                ],
            }
            for name, states in readings
        ],
    }


def _config(review: Review) -> str:
    """One choice a finding; what is left out is chosen from the start."""
    choices = ""
    for state in states_of(review):
        chosen = ' selected="true"' if state == rest_of(review) else ""
        choices += f"    <Choice value={quoteattr(CHOICES[state].word)}{chosen}/>\n"
    findings = "".join(
        f'  <Header value={quoteattr(name)} size="5"/>\n'
        f'  <Choices name={quoteattr(key)} toName="text" choice="single-radio" '
        f'showInline="true" required="true">\n{choices}  </Choices>\n'
        for name, key in review.findings
    )
    return f'<View>\n  <Text name="text" value="$text"/>\n{findings}</View>\n'


def _states(annotation: Mapping[str, Any], keys: set[str], place: str) -> dict[str, str]:
    states: dict[str, str] = {}
    for item in annotation["result"]:
        if item.get("type") != "choices" or item["from_name"] not in keys:
            continue
        (word,) = item["value"]["choices"] or ("",)
        state = _STATES.get(str(word).casefold())
        if state is None:
            raise InputError(
                f"{place}: {item['from_name']}: unknown choice; "
                f"expected one of {', '.join(choice.word for choice in CHOICES.values())}"
            )
        states[item["from_name"]] = state
    return states


def _reviewer(annotation: Mapping[str, Any]) -> str:
    """Our own name, else what Label Studio says: a number, or a person with an address."""
    given = annotation.get("reviewer") or annotation.get("completed_by")
    if isinstance(given, dict):
        given = given.get("email") or given.get("id")
    return str(given) if isinstance(given, str | int) else ""
