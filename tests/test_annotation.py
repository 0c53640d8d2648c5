"""Annotation tools: tasks out, corrected tasks in, and what is refused on the way."""

import csv
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import Result

from cxrlabel.annotation import ExportRun, export_annotations
from cxrlabel.annotationfiles import ASSERTIONS
from cxrlabel.batch import Outputs, label_files
from cxrlabel.corrections import import_annotations
from cxrlabel.demo import REPORTS
from cxrlabel.errors import InputError
from cxrlabel.findings import load_findings

Cxr = Callable[..., Result]

Cxr = Callable[..., Result]

FORMS = ("label-studio", "doccano")
ROWS = {
    "007": "Small left effusion. No pneumothorax.",
    "b": "INDICATION: Edema?",
    "c": "",
    "=d": "Clear lungs.\r\nHeart 😀 is normal.",
}
SECRET = "Zebrafish"  # stands in reports and must not come out in a message


@pytest.fixture(autouse=True)
def folder(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shared_labelers: Callable[[], AbstractContextManager[None]],
) -> Iterator[Path]:
    """The working folder."""
    monkeypatch.chdir(tmp_path)
    with shared_labelers():
        yield tmp_path


def write_csv(path: str, header: list[str], rows: list[list[str]]) -> str:
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def label(reports: str, mentions: str = "mentions.csv") -> Path:
    """Label a table into labels.csv and a file of mentions."""
    path = Path(mentions)
    label_files([reports], Outputs(Path("labels.csv"), path, force=True))
    return path


def export(form: str, rows: dict[str, str] | None = None, **options: Any) -> ExportRun:
    """Label some reports and export them to tasks.jsonl."""
    pairs = [[study, text] for study, text in (ROWS if rows is None else rows).items()]
    reports = write_csv("reports.csv", ["uid", "report"], pairs)
    mentions = label(reports)
    return export_annotations(mentions, [reports], Path("tasks.jsonl"), form=form, **options)


def tasks(form: str) -> list[dict[str, Any]]:
    text = Path("tasks.jsonl").read_text()
    return json.loads(text) if form == "label-studio" else list(map(json.loads, text.splitlines()))


def save(form: str, changed: list[dict[str, Any]]) -> Path:
    """What a tool would export."""
    path = Path("changed.jsonl")
    lines = "".join(f"{json.dumps(task)}\n" for task in changed)
    path.write_text(json.dumps(changed) if form == "label-studio" else lines)
    return path


def read(path: str) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def bring_back(path: Path, form: str, **options: Any) -> list[dict[str, str]]:
    """Import a file; the rows of its labels."""
    import_annotations(path, Path("back.csv"), form=form, **options)
    return read("back.csv")


def annotated(task: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A Label Studio task whose prediction somebody accepted."""
    (prediction,) = task["predictions"]
    return {"id": 1, "data": task["data"], "annotations": [{"result": prediction["result"]} | more]}


# round trips


@pytest.mark.parametrize("form", FORMS)
def test_sample_comes_back_with_equal_labels(form: str, folder: Path) -> None:
    mentions = label(str(REPORTS))
    export_annotations(mentions, [str(REPORTS)], Path("tasks.jsonl"), form=form)
    import_annotations(Path("tasks.jsonl"), Path("back.csv"), form=form)

    assert Path("back.csv").read_bytes() == Path("labels.csv").read_bytes()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mentions", ["mentions.csv", "mentions.jsonl.gz", "mentions.parquet"])
def test_mentions_come_back_whole_with_the_original(form: str, mentions: str) -> None:
    reports = write_csv("reports.csv", ["uid", "report"], [[k, v] for k, v in ROWS.items()])
    original = label(reports, mentions)
    export_annotations(original, [reports], Path("tasks.jsonl"), form=form)
    back = Path(f"back.{mentions}")
    options = {"mentions": back, "original": original}
    import_annotations(Path("tasks.jsonl"), Path("back.csv"), form=form, **options)

    assert sorted(table(back)) == sorted(table(original))


@pytest.mark.parametrize("form", FORMS)
def test_mimic_tree_keeps_the_ids_of_its_dialect(form: str, cxr: Cxr, folder: Path) -> None:
    for subject, study in (("10000032", "50414267"), ("10000764", "57375967")):
        path = folder / "files" / f"p{subject[:2]}" / f"p{subject}" / f"s{study}.txt"
        path.parent.mkdir(parents=True)
        path.write_text("FINDINGS: Small left effusion.\n")
    made = ("labels.csv", "--mentions", "mentions.csv", "--dialect", "mimic")
    shown = ("--reports", "files", "--format", form, "-o", "tasks.jsonl")

    cxr("label", "files", "-o", *made)
    refused = cxr("annotate", "export", "mentions.csv", *shown)
    exported = cxr("annotate", "export", "mentions.csv", *shown, "--dialect", "mimic")

    assert "with the same --id and --dialect" in refused.stderr
    assert "exported 2 mentions of 2 reports" in exported.stderr
    back = bring_back(Path("tasks.jsonl"), form, original=Path("mentions.csv"))
    assert [row["study_id"] for row in back] == ["50414267", "57375967"]
    assert [row["study_id"] for row in back] == [row["study_id"] for row in read("labels.csv")]


def test_dialect_renames_the_id_column(folder: Path) -> None:
    header = ["uid", "subject_id", "report"]
    reports = write_csv("reports.csv", header, [["s1", "7", "Small left effusion."]])
    label_files([reports], Outputs(Path("labels.csv"), Path("mentions.csv")), dialect="mimic")

    options: dict[str, Any] = {"form": "doccano", "dialect": "mimic"}
    run = export_annotations(Path("mentions.csv"), [reports], Path("tasks.jsonl"), **options)

    (task,) = tasks("doccano")
    assert (run.mentions, task["report_id"], task["id_column"]) == (1, "1", "study_id")


def test_unknown_dialect_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match=r"^--dialect: unknown dialect 'mimick'"):
        export("doccano", dialect="mimick")


def table(path: Path) -> list[str]:
    readers = {".csv": pd.read_csv, ".gz": pd.read_json, ".parquet": pd.read_parquet}
    options = {"lines": True, "dtype": False} if path.suffix == ".gz" else {}
    return [str(row) for row in readers[path.suffix](path, **options).itertuples(index=False)]


@pytest.mark.parametrize("form", FORMS)
def test_ids_and_labels_of_awkward_reports_come_back(form: str) -> None:
    export(form)

    assert bring_back(Path("tasks.jsonl"), form) == read("labels.csv")


@pytest.mark.parametrize("form", FORMS)
def test_section_columns_come_back(form: str) -> None:
    header = ["study_id", "findings", "impression", "history", "clinical_history"]
    rows = [
        ["1", "Small effusion.", "No effusion.\r\nNo edema.", "effusion", "Prior effusion."],
        ["2", "", "Edema. Edema.", "", ""],
        ["3", "", "", "Edema.", ""],
        ["4", "Same words: edema.", "Same words: edema.", "", ""],
    ]
    reports = write_csv("reports.csv", header, rows)
    original = label(reports)
    export_annotations(original, [reports], Path("tasks.jsonl"), form=form)
    options = {"mentions": Path("m.csv"), "original": original}

    assert bring_back(Path("tasks.jsonl"), form, **options) == read("labels.csv")
    assert sorted(map(str, read("m.csv"))) == sorted(map(str, read("mentions.csv")))


def test_section_columns_are_blocks_of_the_text() -> None:
    rows = [["1", "Small effusion.", "", "No edema."]]
    reports = write_csv("reports.csv", ["uid", "findings", "history", "impression"], rows)
    export_annotations(label(reports), [reports], Path("tasks.jsonl"), form="doccano")
    (task,) = tasks("doccano")

    assert task["text"] == "FINDINGS:\nSmall effusion.\n\nIMPRESSION:\nNo edema."
    assert task["blocks"] == [["findings", 10, 25], ["impression", 39, 48]]
    assert [task["text"][start:end] for start, end, _ in task["label"]] == ["effusion", "edema"]


# what is written


def test_label_studio_task_has_spans_with_their_choice() -> None:
    export("label-studio", {"7": "No edema."})
    (task,) = tasks("label-studio")
    place = {"start": 3, "end": 8}

    assert task["data"] == {
        "text": "No edema.",
        "report_id": "7",
        "id_column": "uid",
        "status": "labeled",
        "blocks": [["", 0, 9]],
    }
    assert task["predictions"][0]["result"] == [
        {
            "id": "m0",
            "from_name": name,
            "to_name": "text",
            "type": kind,
            "value": {**place, kind: [value]},
        }
        for name, kind, value in (
            ("finding", "labels", "Edema"),
            ("assertion", "choices", "negative"),
        )
    ]


def test_label_studio_config_has_what_the_tasks_name() -> None:
    export("label-studio")
    view = ET.parse("tasks.jsonl.config.xml").getroot()
    names = {tag.get("value") for tag in view.iter("Label")}

    assert names == {f.name for f in load_findings() if f.name != "No Finding"} | {
        "Other Abnormality"
    }
    assert [tag.get("value") for tag in view.iter("Choice")] == list(ASSERTIONS)
    assert [view.find(tag).get("name") for tag in ("Labels", "Text", "Choices")] == [
        "finding",
        "text",
        "assertion",
    ]


def test_doccano_row_has_one_label_for_finding_and_assertion() -> None:
    export("doccano", {"7": "No edema."})
    (task,) = tasks("doccano")

    assert task["label"] == [[3, 8, "Edema|negative"]]
    assert task["report_id"] == "7"


def test_doccano_label_types_cover_the_labels() -> None:
    export("doccano")
    types = {entry["text"] for entry in json.loads(Path("tasks.jsonl.labels.json").read_text())}

    assert {label for task in tasks("doccano") for _, _, label in task["label"]} <= types


@pytest.mark.parametrize("form", FORMS)
def test_tasks_are_ascii_and_offsets_count_characters(form: str) -> None:
    rows = {"1": "😀\u2028 Kein\u0085 edema."}
    export(form, rows)
    task = tasks(form)[0]
    start, end = (
        task["label"][0][:2]
        if form == "doccano"
        else (task["predictions"][0]["result"][0]["value"][name] for name in ("start", "end"))
    )

    assert Path("tasks.jsonl").read_bytes().isascii()
    assert rows["1"][start:end] == "edema"


def test_mentions_of_other_reports_are_left_out_and_counted() -> None:
    export("doccano")
    some = write_csv("some.csv", ["uid", "report"], [["007", ROWS["007"]]])
    run = export_annotations(
        Path("mentions.csv"), [some], Path("some.jsonl"), form="doccano", force=True
    )

    assert (run.reports, run.mentions, run.left_out) == (1, 2, 4)


# corrections


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([[11, 19, "Pleural Effusion|negative"]], {"Pleural Effusion": "0.0", "No Finding": "1.0"}),
        ([[11, 19, "Effusion|uncertain"]], {"Pleural Effusion": "-1.0"}),
        ([[0, 5, "Mass|positive"], [0, 5, "Edema|none"]], {"Mass": "1.0"}),
        ([[0, 5, "Other Abnormality|positive"]], {}),
        ([], {"No Finding": "1.0"}),
    ],
)
def test_labels_follow_from_the_corrected_spans(
    labels: list[Any], expected: dict[str, str]
) -> None:
    export("doccano", {"7": ROWS["007"]})
    (task,) = tasks("doccano")
    (row,) = bring_back(save("doccano", [task | {"label": labels}]), "doccano")

    assert {name: value for name, value in row.items() if value and name != "uid"} == expected


def test_changed_mention_keeps_what_is_not_the_cue() -> None:
    export("doccano", {"7": "No new small left effusion."})
    (task,) = tasks("doccano")
    ((start, end, _),) = task["label"]
    changed = save("doccano", [task | {"label": [[start, end, "Pleural Effusion|negative"]]}])
    options = {"mentions": Path("m.csv"), "original": Path("mentions.csv")}
    bring_back(changed, "doccano", **options)
    (mention,) = read("m.csv")

    assert (mention["reason"], mention["cue"]) == ("reviewed", "")
    assert (mention["laterality"], mention["rule"]) == ("left", "pleural_effusion/effusion")


def test_new_mention_gets_its_section_and_sentence() -> None:
    export("doccano", {"7": "FINDINGS: Clear. Wide hilum.\nIMPRESSION: Mass?"})
    (task,) = tasks("doccano")
    changed = save("doccano", [task | {"label": [[22, 27, "Lung Lesion|uncertain"]]}])
    bring_back(changed, "doccano", mentions=Path("m.csv"))
    (mention,) = read("m.csv")

    assert (mention["section"], mention["sentence"], mention["text"]) == ("findings", "1", "hilum")


def test_report_without_a_usable_section_stays_blank_until_somebody_labels_it() -> None:
    export("doccano", {"1": "INDICATION: Edema?", "2": "INDICATION: Edema?"})
    first, second = tasks("doccano")
    second["label"] = [[12, 17, "Edema|positive"]]
    rows = bring_back(save("doccano", [first, second]), "doccano")

    assert [row["Edema"] for row in rows] == ["", "1.0"]
    assert [row["No Finding"] for row in rows] == ["", ""]


def test_aggregate_and_label_set_are_options() -> None:
    export("doccano", {"1": "Edema. Possible edema. No edema."})
    options = {"aggregate": "chexpert-code", "label_set": "chexpert"}
    (row,) = bring_back(Path("tasks.jsonl"), "doccano", **options)

    assert row["Edema"] == "-1.0"
    assert len(row) == 15


def test_annotation_counts_and_not_the_prediction() -> None:
    export("label-studio", {"1": "Edema."})
    (task,) = tasks("label-studio")
    task["annotations"] = [{"result": []}]

    assert bring_back(save("label-studio", [task]), "label-studio")[0]["Edema"] == ""


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        ({"annotations": []}, (1, 1, 0)),
        ({"annotations": [{"was_cancelled": True, "result": []}]}, (1, 1, 0)),
        ({"annotations": [], "predictions": [12]}, (0, 0, 1)),
    ],
    ids=["none", "skipped", "predictions not exported"],
)
def test_tasks_that_nobody_annotated_are_counted(
    change: dict[str, Any], counts: tuple[int, int, int]
) -> None:
    export("label-studio", {"1": "Edema.", "2": "No edema."})
    first, second = tasks("label-studio")
    changed = save("label-studio", [annotated(first), second | change])
    run = import_annotations(changed, Path("back.csv"), form="label-studio")

    assert (run.studies - 1, run.unreviewed, run.left_out) == counts


def test_annotation_marked_as_ground_truth_is_taken() -> None:
    export("label-studio", {"1": "Edema."})
    task = annotated(tasks("label-studio")[0], ground_truth=True)
    task["annotations"].append({"result": []})

    assert bring_back(save("label-studio", [task]), "label-studio")[0]["Edema"] == "1.0"


# what is refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": [[0, 5, "Oedeme|positive"]]}, ":1: span 0 to 5: unknown label 'Oedeme'"),
        ({"label": [[0, 5, "Edema|maybe"]]}, ":1: span 0 to 5: unknown assertion 'maybe'"),
        ({"label": [[0, 5, "No Finding|positive"]]}, "follows from the others"),
        ({"label": [[0, 5, "Edema"]]}, "Finding|assertion"),
        ({"label": [[0, 99, "Edema|positive"]]}, ":1: span 0 to 99: outside of the text"),
        ({"label": [[-1, 5, "Edema|positive"]]}, "outside of the text"),
        ({"label": [[5, 5, "Edema|positive"]]}, "outside of the text"),
        ({"label": [["0", 5, "Edema|positive"]]}, "whole offsets"),
        ({"label": [[0, 5, "Edema|positive"], [0, 5, "Edema|negative"]]}, "marked twice"),
        ({"label": None}, "'label' is NoneType"),
        ({"report_id": ""}, ":1: the id is empty"),
        ({"report_id": None}, ":1: the id is empty"),
        ({"blocks": [["", 0, 99]]}, "was the text changed"),
        ({"status": "fine"}, "unknown status"),
        ({"text": 3}, "'text' is not a text"),
    ],
)
def test_wrong_doccano_row_is_refused_with_its_place(change: dict[str, Any], message: str) -> None:
    export("doccano", {"1": f"{SECRET}. Edema."})
    changed = save("doccano", [task | change for task in tasks("doccano")])

    with pytest.raises(InputError) as caught:
        bring_back(changed, "doccano")
    assert "changed.jsonl" in str(caught.value)
    assert message in str(caught.value)
    assert SECRET not in str(caught.value)
    assert not Path("back.csv").exists()


def change_region(**value: Any) -> Callable[[dict[str, Any]], None]:
    def change(task: dict[str, Any]) -> None:
        task["annotations"][0]["result"][0]["value"].update(value)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_region(labels=["Oedeme"]), "task 1: span 11 to 16: unknown label 'Oedeme'"),
        (change_region(end=99), "task 1: span 11 to 99: outside of the text"),
        (change_region(start="x"), "task 1: a span needs whole offsets"),
        (change_region(labels=None), "task 1: a region is not as Label Studio exports it"),
        (lambda task: task["annotations"][0]["result"].pop(), "region m0: 0 assertions chosen"),
        (lambda task: task["annotations"].append({"result": []}), "several annotations"),
        (lambda task: task["data"].pop("report_id"), "task 1: no 'report_id'"),
        (lambda task: task.pop("data"), "task 1: no 'data'"),
        (lambda task: task.pop("annotations"), "no task has an annotation"),
    ],
)
def test_wrong_label_studio_task_is_refused_with_its_place(
    change: Callable[[dict[str, Any]], object], message: str
) -> None:
    export("label-studio", {"1": f"{SECRET}. Edema."})
    task = annotated(tasks("label-studio")[0])
    change(task)

    with pytest.raises(InputError) as caught:
        bring_back(save("label-studio", [task]), "label-studio")
    assert message in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("form", FORMS)
def test_id_that_comes_twice_is_refused(form: str) -> None:
    export(form, {"1": "Edema."})

    with pytest.raises(InputError, match=r"id '1' is also at .*expected distinct ids"):
        bring_back(save(form, tasks(form) * 2), form)


def test_span_over_two_columns_is_refused() -> None:
    rows = [["1", "Edema.", "Edema."]]
    reports = write_csv("reports.csv", ["uid", "findings", "impression"], rows)
    export_annotations(label(reports), [reports], Path("tasks.jsonl"), form="doccano")
    (task,) = tasks("doccano")

    with pytest.raises(InputError, match="span 2 to 12: not inside one column"):
        bring_back(save("doccano", [task | {"label": [[2, 12, "Edema|positive"]]}]), "doccano")


@pytest.mark.parametrize("content", ["", "{", "{}", "[1]", '[{"data": 1}]', "[]"])
def test_file_that_is_not_label_studios_is_refused(content: str) -> None:
    Path("other.json").write_text(content)

    with pytest.raises(InputError, match=r"other\.json"):
        bring_back(Path("other.json"), "label-studio")


def test_reports_that_are_not_the_mentions_are_refused() -> None:
    export("doccano", {"1": "Edema."})
    other = write_csv("other.csv", ["uid", "report"], [["1", f"{SECRET} and nothing else."]])

    with pytest.raises(InputError, match=r"mentions\.csv:2: report '1' has not") as caught:
        export_annotations(Path("mentions.csv"), [other], Path("o.jsonl"), form="doccano")
    assert SECRET not in str(caught.value)


def test_reports_with_other_ids_are_refused() -> None:
    export("doccano", {"1": "Edema."})
    other = write_csv("other.csv", ["uid", "report"], [["2", "Edema."]])

    with pytest.raises(InputError, match="no mention is of a report in"):
        export_annotations(Path("mentions.csv"), [other], Path("o.jsonl"), form="doccano")


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("start", "x", ":2: column 'start': expected a whole number"),
        ("assertion", "maybe", ":2: unknown assertion 'maybe'"),
        ("finding", f"{SECRET} " * 9, ":2: unknown finding of 90 characters"),
    ],
)
def test_wrong_mentions_row_is_refused(column: str, value: str, message: str) -> None:
    export("doccano", {"1": "Edema."})
    (row,) = read("mentions.csv")
    changed = row | {column: value}
    write_csv("mentions.csv", list(changed), [list(changed.values())])

    with pytest.raises(InputError) as caught:
        export_annotations(Path("mentions.csv"), ["reports.csv"], Path("o.jsonl"), form="doccano")
    assert message in str(caught.value)


# the command line


@pytest.mark.parametrize("form", FORMS)
def test_commands_take_mentions_there_and_back(cxr: Cxr, form: str) -> None:
    export(form, force=True)
    out = cxr("annotate", "export", "mentions.csv", "--reports", "reports.csv", "--id", "uid",
              "--text", "report", "--format", form, "-o", "t.jsonl")  # fmt: skip
    back = cxr("annotate", "import", "t.jsonl", "--format", form, "-o", "l.csv",
               "--mentions", "m.csv", "--original", "mentions.csv")  # fmt: skip

    assert (out.exit_code, back.exit_code) == (0, 0), out.stderr + back.stderr
    assert out.stderr.splitlines()[-1] == "exported 6 mentions of 4 reports -> t.jsonl"
    assert back.stderr.splitlines()[-1] == "imported 6 mentions of 4 studies -> l.csv"
    assert read("l.csv") == read("labels.csv")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["import", "tasks.jsonl", "--format", "brat", "-o", "l.csv"], "--format"),
        (["import", "gone.jsonl", "--format", "doccano", "-o", "l.csv"], "no such file"),
        (["import", "tasks.jsonl", "--format", "doccano", "-o", "l.txt"], "unknown kind of table"),
        (["import", "tasks.jsonl", "--format", "doccano", "-o", "labels.csv"], "pass --force"),
        (["import", "tasks.jsonl", "--format", "doccano", "-o", "tasks.jsonl", "--force"],
         "file of its own"),
        (["import", "tasks.jsonl", "--format", "doccano", "-o", "l.csv", "--aggregate", "best"],
         "--aggregate"),
        (["export", "mentions.csv", "--reports", "reports.csv", "--format", "doccano", "-o",
          "tasks.jsonl"], "pass --force"),
        (["export", "reports.csv", "--reports", "reports.csv", "--format", "doccano", "-o",
          "o.jsonl"], "no column 'finding'"),
    ],
)  # fmt: skip
def test_wrong_call_is_one_line(cxr: Cxr, arguments: list[str], message: str) -> None:
    export("doccano", {"1": f"{SECRET}. Edema."})
    result = cxr("annotate", *arguments)

    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert message in result.stderr
    assert SECRET not in result.stderr
