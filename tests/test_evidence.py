"""The drawing: report and mentions on a terminal, and the same as data."""

import io
import json

import pytest
from rich.console import Console

from cxrlabel.evidence import draw_evidence, evidence_dict
from cxrlabel.studies import Mention, StudyLabels

RED, YELLOW, GREEN, DIM = "1;31", "1;33", "32", "2"  # ANSI codes of the four assertions
REPORT = "Small effusion. No edema."
EDEMA = {"finding": "Edema", "assertion": "negative", "reason": "negated"}


def mention(
    report: str = REPORT, text: str = "effusion", cue: str = "", **fields: object
) -> Mention:
    start = report.index(text)
    base = Mention(
        finding="Pleural Effusion",
        assertion="positive",
        reason="asserted",
        section="findings",
        sentence=0,
        start=start,
        end=start + len(text),
        text=text,
        rule="pleural_effusion/effusion",
        cue=cue,
        cue_start=report.index(cue) if cue else None,
        cue_end=report.index(cue) + len(cue) if cue else None,
        laterality="",
        severity="",
        temporality="",
    )
    return base._replace(**fields)


def study(*mentions: Mention, status: str = "labeled", **labels: str) -> StudyLabels:
    states = {"No Finding": "blank", "Pleural Effusion": "blank", "Edema": "blank"}
    states |= {name.replace("_", " "): state for name, state in labels.items()}
    return StudyLabels(status, states, mentions, ("findings",))


def drawn(report: str, result: StudyLabels, *, color: bool = False) -> str:
    file = io.StringIO()
    console = Console(
        file=file,
        width=100,
        force_terminal=color,
        color_system="standard" if color else None,
        highlight=False,
        _environ={},
    )
    console.print(draw_evidence(report, result, result.labels))
    return file.getvalue()


@pytest.mark.parametrize(
    ("assertion", "code"),
    [("positive", RED), ("uncertain", YELLOW), ("negative", GREEN), ("none", DIM)],
)
def test_mention_has_the_color_of_its_assertion(assertion: str, code: str) -> None:
    result = study(mention(assertion=assertion))

    assert f"Small \x1b[{code}meffusion\x1b[0m. No edema." in drawn(REPORT, result, color=True)


def test_cue_is_underlined() -> None:
    result = study(mention(text="edema", cue="No", **EDEMA))

    expected = f"\x1b[4mNo\x1b[0m \x1b[{GREEN}medema\x1b[0m"
    assert expected in drawn(REPORT, result, color=True)


@pytest.mark.parametrize("order", [1, -1])
def test_strongest_assertion_colors_overlapping_mentions(order: int) -> None:
    both = [mention(assertion="positive"), mention(assertion="negative", finding="Edema")]

    assert f"\x1b[{RED}meffusion\x1b[0m" in drawn(REPORT, study(*both[::order]), color=True)


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r", "\f", "\v"])
def test_colors_stand_on_their_words_after_any_line_break(line_break: str) -> None:
    report = f"Clear.{line_break}{line_break}Small effusion."

    text = drawn(report, study(mention(report)), color=True)

    assert f"\x1b[{RED}meffusion\x1b[0m." in text


def test_report_is_no_markup() -> None:
    report = "[bold]Small[/bold] effusion [/red]."

    assert report in drawn(report, study(mention(report)))


def test_terminal_codes_of_a_report_are_not_passed_on() -> None:
    report = "\x1b[2JSmall effusion."

    assert "\x1b" not in drawn(report, study(mention(report)))


def test_labels_name_state_words_and_section() -> None:
    result = study(mention(), Pleural_Effusion="positive")

    last = drawn(REPORT, result).splitlines()[-1]

    assert last.split() == ["Pleural", "Effusion", "positive", "“effusion”", "findings"]


def test_label_says_what_decided_it() -> None:
    result = study(mention(text="edema", cue="No", laterality="left", **EDEMA), Edema="negative")

    assert "“edema”  negated by “No”, left" in drawn(REPORT, result)


def test_label_shows_the_mention_that_made_it() -> None:
    report = "No effusion. Large effusion."
    denied = mention(report, cue="No", assertion="negative", reason="negated")
    start = report.rindex("effusion")
    stated = mention(report, start=start, end=start + 8, severity="severe")

    text = drawn(report, study(denied, stated, Pleural_Effusion="positive"))

    assert "“effusion”  severe" in text
    assert "negated by" not in text


def test_label_without_mention_is_explained() -> None:
    text = drawn("Unremarkable.", study(No_Finding="positive"))

    last = text.splitlines()[-1]
    assert last.split() == ["No", "Finding", "positive", "no", "abnormality", "stated"]


def test_blank_labels_are_not_listed() -> None:
    result = study(mention(), Pleural_Effusion="positive")

    assert "No Finding" not in drawn(REPORT, result)


def test_report_without_labels_tells_its_status() -> None:
    assert "no label (no usable section)" in drawn(REPORT, study(status="no usable section"))


def test_finding_in_brackets_is_no_markup() -> None:
    result = StudyLabels("labeled", {"Line [left]": "positive"}, (), ())

    assert "Line [left]" in drawn(REPORT, result)


def test_only_chosen_findings_are_drawn_and_dumped() -> None:
    result = study(mention(), Pleural_Effusion="positive", Edema="negative")

    assert evidence_dict(result, ["Edema"])["labels"] == {"Edema": "negative"}


def test_evidence_survives_json() -> None:
    result = study(mention(cue="Small"), Pleural_Effusion="positive")

    evidence = json.loads(json.dumps(evidence_dict(result, result.labels)))

    assert evidence["status"] == "labeled"
    assert evidence["sections"] == ["findings"]
    assert evidence["mentions"] == [result.mentions[0]._asdict()]
