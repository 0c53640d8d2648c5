"""The labeler as a spaCy component: `nlp.add_pipe("cxr_labeler")` in any pipeline.

The component reads `doc.text` with the labeler's own tokens and sentences; the pipeline's tokenizer
only decides how far a span reaches to whole tokens. What it found lies in `doc.user_data`, so that
it travels with `Doc.to_bytes`; the extensions `doc._.cxr_…` and `span._.cxr_…` read it from there.
A span's own `user_data` would not do: spaCy keys it by characters, and two findings may share them.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from spacy.language import Language
from spacy.tokens import Doc, Span

from cxrlabel.errors import InputError
from cxrlabel.findings import NEGATIVE, OTHER_ABNORMALITY, POSITIVE, UNCERTAIN, load_findings
from cxrlabel.studies import NONE, Mention, StudyLabels

if TYPE_CHECKING:
    from cxrlabel.labeler import Labeler

SPANS_KEY: Final = "cxr"
COLORS: Final[Mapping[str, str]] = {
    POSITIVE: "#f4a3a3",
    UNCERTAIN: "#f6d77a",
    NEGATIVE: "#a8d8a8",
    NONE: "#d9d9d9",
}

_RESULT: Final = "cxr_result"  # key in doc.user_data: status and labels
_MENTIONS: Final = "cxr_mentions"  # key in doc.user_data: mentions as dicts
_ROW: Final = "cxr:"  # begins the id_ of our spans; its row in the mentions follows
_SPAN_FIELDS: Final = (
    "assertion", "reason", "cue", "rule", "section", "laterality", "location", "severity",
    "temporality",
)  # fmt: skip
_FILE: Final = "labeler.json"  # in the component's folder of a saved pipeline

RuleFolder = Mapping[str, str]  # "findings/edema.toml" -> its content


@dataclass(frozen=True)
class Settings:
    """How a component labels; the fields are the keys of its config."""

    rules: Sequence[str] = ()
    sections: Sequence[str] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    aggregate: str = "positive-first"
    lang: str = "en"
    spans_key: str = SPANS_KEY


class LabelerComponent:
    """Writes `doc.spans`, `doc._.cxr_labels` and `doc._.cxr_status`.

    A saved pipeline holds the content of its rule folders. Their paths need not exist where it is
    loaded: the labeler is made when the content has been read, or at the first report.
    """

    def __init__(self, settings: Settings) -> None:
        register_extensions()
        self._settings = settings
        self._folders: list[RuleFolder] = []
        self._labeler: Labeler | None = None
        if all(Path(folder).is_dir() for folder in settings.rules):
            self._load(settings.rules)  # a wrong rule is told where the component is added

    @property
    def labeler(self) -> Labeler:
        """The labeler.

        Raises:
            InputError: a rule folder is missing, or what `Labeler.load` refuses.
        """
        return self._labeler or self._load(self._settings.rules)

    def __call__(self, doc: Doc) -> Doc:
        """Label one doc."""
        result = self.labeler.label(doc.text)
        write_result(doc, result, spans_key=self._settings.spans_key)
        return doc

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """Settings and the content of the rule folders, as JSON."""
        state = {
            "rules_hash": self.labeler.rulebook.hash,
            "settings": asdict(self._settings),
            "folders": self._folders,
        }
        return json.dumps(state, ensure_ascii=False, indent=1).encode()

    def from_bytes(self, content: bytes, *, exclude: Iterable[str] = ()) -> LabelerComponent:
        """Take over what `to_bytes` gave; warns where cxr's own rules are not the same."""
        state = json.loads(content)
        self._settings = Settings(**state["settings"])
        with TemporaryDirectory(prefix="cxr-rules-") as root:
            labeler = self._load(_write_folders(Path(root), state["folders"]))
        if labeler.rulebook.hash != state["rules_hash"]:
            warnings.warn(
                "cxr_labeler: the pipeline was saved with other rules of cxr; labels may differ",
                stacklevel=2,
            )
        return self

    def to_disk(self, path: Path | str, *, exclude: Iterable[str] = ()) -> None:
        """Write one file into the component's folder."""
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _FILE).write_bytes(self.to_bytes())

    def from_disk(self, path: Path | str, *, exclude: Iterable[str] = ()) -> LabelerComponent:
        """Read what `to_disk` wrote."""
        return self.from_bytes((Path(path) / _FILE).read_bytes())

    def __reduce__(self) -> tuple[Any, ...]:
        """A labeler cannot be pickled; a process that is started anew makes its own."""
        return _restore, (self.to_bytes(),)

    def _load(self, rules: Sequence[Path | str]) -> Labeler:
        # here, because spaCy imports the modules of all factories with any pipeline
        from cxrlabel.labeler import Labeler

        settings = self._settings
        self._labeler = Labeler.load(
            rules=rules,
            sections=settings.sections,
            options=settings.options,
            aggregate=settings.aggregate,
            lang=settings.lang,
        )
        self._folders = [_read_folder(Path(folder)) for folder in rules]
        return self._labeler


@Language.factory(
    "cxr_labeler",
    default_config={
        "rules": [],
        "sections": [],
        "options": {},
        "aggregate": "positive-first",
        "lang": "en",
        "spans_key": SPANS_KEY,
    },
    assigns=["doc.spans", "doc._.cxr_labels", "doc._.cxr_status"],
)
def make_labeler(
    nlp: Language,
    name: str,
    rules: list[str],
    sections: list[str],
    options: dict[str, str],
    aggregate: str,
    lang: str,
    spans_key: str,
) -> LabelerComponent:
    """Make the component from its config.

    Args:
        nlp: the pipeline, of any language class and tokenizer.
        name: the component's name in it.
        rules: folders of a user's own rules, laid over the project's.
        sections: names of the sections that make labels; none for the usual ones.
        options: named conventions in place of their defaults.
        aggregate: "positive-first" or "chexpert-code".
        lang: the language of the rules.
        spans_key: the key in `doc.spans`.

    Raises:
        InputError: what `Labeler.load` refuses.
    """
    return LabelerComponent(Settings(rules, sections, options, aggregate, lang, spans_key))


def register_extensions() -> None:
    """Register the extensions; for a program that reads saved docs without the component."""
    # partial, because the getters are pickled for processes that are started anew
    for name in ("labels", "status"):
        Doc.set_extension(f"cxr_{name}", getter=partial(_of_doc, name), force=True)
    for name in _SPAN_FIELDS:
        Span.set_extension(f"cxr_{name}", getter=partial(_of_span, name), force=True)


def write_result(doc: Doc, result: StudyLabels, *, spans_key: str = SPANS_KEY) -> None:
    """Write the labels and mentions of `doc.text` to the doc.

    A span has the finding as its label; a second group, "<spans_key>_assertions", has the same
    spans with the assertion as label, to be drawn.
    """
    rows: list[dict[str, Any]] = doc.user_data.setdefault(_MENTIONS, [])
    ids = [f"{_ROW}{row}" for row in range(len(rows), len(rows) + len(result.mentions))]
    rows += [mention._asdict() for mention in result.mentions]
    doc.user_data[_RESULT] = {"status": result.status, "labels": dict(result.labels)}
    pairs = list(zip(result.mentions, ids, strict=True))
    doc.spans[spans_key] = [_span(doc, mention, mention.finding, id_) for mention, id_ in pairs]
    doc.spans[_assertions(spans_key)] = [_span(doc, m, m.assertion, id_) for m, id_ in pairs]


def displacy_options(*, by: str = "assertion", spans_key: str = SPANS_KEY) -> dict[str, Any]:
    """Options for `displacy.render(doc, style="span", options=...)`.

    Args:
        by: "assertion" labels and colors each span by what it asserts, "finding" by its finding.
        spans_key: the component's setting.

    Raises:
        ValueError: unknown `by`.
    """
    if by == "assertion":
        return {"spans_key": _assertions(spans_key), "colors": dict(COLORS)}
    if by != "finding":
        raise ValueError(f"by={by!r}; expected 'assertion' or 'finding'")
    names = [*(finding.name for finding in load_findings()), OTHER_ABNORMALITY]
    colors = {name: f"hsl({360 * i // len(names)}, 65%, 78%)" for i, name in enumerate(names)}
    return {"spans_key": spans_key, "colors": colors}


def _assertions(spans_key: str) -> str:
    return f"{spans_key}_assertions"


def _span(doc: Doc, mention: Mention, label: str, id_: str) -> Span:
    span = doc.char_span(
        mention.start, mention.end, label=label, span_id=id_, alignment_mode="expand"
    )
    if span is None:
        raise ValueError(f"characters {mention.start} to {mention.end} are outside of the doc")
    return span


def _of_doc(name: str, doc: Doc) -> Any:
    return doc.user_data.get(_RESULT, {}).get(name)


def _of_span(name: str, span: Span) -> Any:
    """A mention's field; None for a span that is not ours, or whose doc lost its user data."""
    rows: Sequence[Mapping[str, Any]] = span.doc.user_data.get(_MENTIONS, ())
    row = span.id_.removeprefix(_ROW)
    if row == span.id_ or int(row) >= len(rows):
        return None
    return rows[int(row)][name]


def _restore(content: bytes) -> LabelerComponent:
    component = LabelerComponent.__new__(LabelerComponent)
    register_extensions()
    return component.from_bytes(content)


def _read_folder(folder: Path) -> RuleFolder:
    paths = sorted(folder.rglob("*.toml"))
    return {p.relative_to(folder).as_posix(): p.read_bytes().decode("utf-8") for p in paths}


def _write_folders(root: Path, folders: Iterable[RuleFolder]) -> list[Path]:
    """Write rule folders below `root`, in order; a saved name may not lead out of it."""
    written: list[Path] = []
    for number, files in enumerate(folders):
        folder = root.resolve() / str(number)
        written.append(folder)
        for name, content in files.items():
            path = (folder / name).resolve()
            if not path.is_relative_to(folder):
                raise InputError(f"cxr_labeler: {name!r} leads out of the folder of rules")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8", newline="")
    return written
