"""The command line as a user runs it: files in, files out, one line where something is wrong."""

import csv
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import Result

from cxrlabel.findings import load_findings
from cxrlabel.studies import Mention

Cxr = Callable[..., Result]

ROOT = Path(__file__).parent.parent
FINDINGS = [finding.name for finding in load_findings()]
CHEXPERT = FINDINGS[:14]
NIH14 = [
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia",
    "Pneumothorax", "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening",
    "Hernia",
]  # fmt: skip
HEAVY = {"jinja2", "matplotlib", "numpy", "pandas", "pyarrow", "spacy", "thinc", "torch"}

# Ids as people have them, in no order; what each report says.
REPORTS = {
    "b": "Heart size is normal. The lungs are clear.",
    "007": "Small left pleural effusion. No pneumothorax.",
    "12": "Possible pneumonia.",
    "003": "",
}
SAID = {
    "b": {
        "No Finding": "1.0",
        "Cardiomegaly": "0.0",
        "Lung Opacity": "0.0",
        "Consolidation": "0.0",
    },
    "007": {"Pleural Effusion": "1.0", "Pneumothorax": "0.0"},
    "12": {"Pneumonia": "-1.0"},
    "003": {},
}
SECRET = "Zebrafish"  # stands in every bad input's reports and must not come out again
MAX_SECONDS = 10.0  # of CPU time for a report of a megabyte; it takes less than one


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with the reports in it."""
    monkeypatch.chdir(tmp_path)
    write_csv("reports.csv", REPORTS.items())
    return tmp_path


def write_csv(
    path: str, rows: Iterable[Iterable[object]], header: Iterable[str] = ("uid", "report")
) -> str:
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def read_csv(path: str, delimiter: str = ",") -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


def said(row: dict[str, str]) -> dict[str, str]:
    """Finding -> value of the cells that are not blank."""
    return {name: value for name, value in row.items() if name in FINDINGS and value}


def by_id(path: str, id_column: str = "uid") -> dict[str, dict[str, str]]:
    return {row[id_column]: said(row) for row in read_csv(path)}


def label(cxr: Cxr, *args: object) -> list[dict[str, str]]:
    """The rows of the labels file after a run that must succeed."""
    done = cxr("label", *args, "-o", "labels.csv")
    assert done.exit_code == 0, done.stderr
    return read_csv("labels.csv")


def label_text(cxr: Cxr, report: str, *args: object) -> dict[str, str]:
    """The states that are not blank, of one report."""
    done = cxr("label", "--text", report, "--json", *args)
    assert done.exit_code == 0, done.stderr
    labels = json.loads(done.stdout)["labels"]
    return {name: state for name, state in labels.items() if state != "blank"}


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def refused(cxr: Cxr, *args: object) -> str:
    """The one line of a command that must exit with 1 and leave all files as they were."""
    before = tree(Path.cwd())
    done = cxr(*args)
    assert done.exit_code == 1, done.output
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    assert SECRET.lower() not in done.stderr.lower()
    assert tree(Path.cwd()) == before
    return lines[0]


# Inputs


def as_tsv() -> list[str]:
    lines = ["uid\treport", *("\t".join(row) for row in REPORTS.items())]
    Path("a.tsv").write_text("\n".join(lines) + "\n")
    return ["a.tsv"]


def as_gz() -> list[str]:
    Path("a.csv.gz").write_bytes(gzip.compress(Path("reports.csv").read_bytes()))
    return ["a.csv.gz"]


def as_jsonl() -> list[str]:
    rows = ({"uid": uid, "report": report} for uid, report in REPORTS.items())
    Path("a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ["a.jsonl"]


def as_jsonl_gz() -> list[str]:
    as_jsonl()
    Path("a.jsonl.gz").write_bytes(gzip.compress(Path("a.jsonl").read_bytes()))
    return ["a.jsonl.gz"]


def as_parquet() -> list[str]:
    pd.DataFrame(REPORTS.items(), columns=["uid", "report"]).to_parquet("a.parquet")
    return ["a.parquet"]


def in_parts() -> list[str]:
    rows = list(REPORTS.items())
    return [write_csv("part-1.csv", rows[:2]), write_csv("part-2.csv", rows[2:])]


def as_pattern() -> list[str]:
    in_parts()
    return ["part-*.csv"]


INPUTS = [as_tsv, as_gz, as_jsonl, as_jsonl_gz, as_parquet, in_parts, as_pattern]


@pytest.mark.parametrize("write", [lambda: ["reports.csv"], *INPUTS])
def test_every_kind_of_input_gives_its_labels_in_its_order(
    folder: Path, cxr: Cxr, write: Callable[[], list[str]]
) -> None:
    label(cxr, *write())

    assert list(by_id("labels.csv").items()) == list(SAID.items())


@pytest.mark.parametrize("ending", [".txt", ".txt.gz"])
def test_folder_of_texts_is_labeled_by_file_name(folder: Path, cxr: Cxr, ending: str) -> None:
    for uid, report in REPORTS.items():
        path = folder / "texts" / f"{uid}{ending}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(gzip.compress(report.encode()) if ".gz" in ending else report.encode())

    label(cxr, "texts")

    assert by_id("labels.csv", "study_id") == SAID


def test_table_of_one_column_without_header_is_numbered(folder: Path, cxr: Cxr) -> None:
    Path("bare.csv").write_text("".join(f'"{report}"\n' for report in REPORTS.values()))

    label(cxr, "bare.csv")

    assert list(by_id("labels.csv", "row").values()) == list(SAID.values())
    assert list(by_id("labels.csv", "row")) == ["1", "2", "3", "4"]


def test_table_without_rows_gives_a_table_without_rows(folder: Path, cxr: Cxr) -> None:
    write_csv("none.csv", [])

    assert label(cxr, "none.csv", "--mentions", "m.csv", "--stats", "s.html") == []
    assert Path("labels.csv").read_text() == ",".join(["uid", *FINDINGS]) + "\n"


# Outputs


def test_labels_have_the_id_the_findings_and_nothing_else(folder: Path, cxr: Cxr) -> None:
    rows = label(cxr, "reports.csv", "--labelset", "all")

    assert len(FINDINGS) == 21
    assert list(rows[0]) == ["uid", *FINDINGS]


def test_labels_are_coded_one_zero_minus_one_and_blank(folder: Path, cxr: Cxr) -> None:
    rows = label(cxr, "reports.csv")

    values = {value for row in rows for name, value in row.items() if name != "uid"}
    assert values == {"1.0", "0.0", "-1.0", ""}


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("o.tsv", lambda path: pd.read_csv(path, sep="\t", dtype={"uid": str})),
        ("o.csv.gz", lambda path: pd.read_csv(path, dtype={"uid": str})),
        ("o.jsonl", lambda path: pd.read_json(path, lines=True, dtype={"uid": str})),
        ("o.parquet", pd.read_parquet),
    ],
)
def test_other_endings_give_the_same_labels(
    folder: Path, cxr: Cxr, name: str, read: Callable[[str], pd.DataFrame]
) -> None:
    label(cxr, "reports.csv")
    expected = pd.read_csv("labels.csv", dtype={"uid": str})

    assert cxr("label", "reports.csv", "-o", name).exit_code == 0

    assert list(read(name)) == list(expected)
    assert read(name)["uid"].tolist() == list(REPORTS)
    assert read(name).astype(dict.fromkeys(FINDINGS, float)).equals(expected)


def test_folder_of_the_output_is_made(folder: Path, cxr: Cxr) -> None:
    assert cxr("label", "reports.csv", "-o", "new/er/labels.csv").exit_code == 0

    assert by_id("new/er/labels.csv") == SAID


def test_last_line_says_what_was_written(folder: Path, cxr: Cxr) -> None:
    done = cxr("label", "reports.csv", "-o", "labels.csv", "--mentions", "m.csv")

    assert done.stderr.splitlines()[-1] == "labeled 3 studies (1 empty) -> labels.csv"
    assert "wrote m.csv\n" in done.stderr
    assert "wrote labels.csv.run.json\n" in done.stderr


def test_columns_that_were_used_and_ignored_are_named(folder: Path, cxr: Cxr) -> None:
    write_csv("wide.csv", [["1", "No edema.", "CR", "x"]], ["uid", "report", "device", "site"])

    done = cxr("label", "wide.csv", "-o", "labels.csv")

    assert "columns: id uid; text report; ignored device, site\n" in done.stderr


def test_table_of_states_fits_a_terminal_of_80_columns(folder: Path, cxr: Cxr) -> None:
    done = cxr("label", "reports.csv", "-o", "labels.csv")

    assert "3 labeled of 4 reports" in done.stdout
    assert "Enlarged Cardiomediastinum" in done.stdout
    assert "…" not in done.stdout


def test_json_prints_the_run_record(folder: Path, cxr: Cxr) -> None:
    done = cxr("label", "reports.csv", "-o", "labels.csv", "--json")

    assert json.loads(done.stdout) == json.loads(Path("labels.csv.run.json").read_text())


def test_force_replaces_all_outputs(folder: Path, cxr: Cxr) -> None:
    outputs = ["labels.csv", "m.csv", "s.json", "labels.csv.run.json"]
    for name in outputs:
        Path(name).write_text("old")

    label(cxr, "reports.csv", "--mentions", "m.csv", "--stats", "s.json", "--force")

    assert "old" not in [Path(name).read_text() for name in outputs]


@pytest.mark.parametrize("name", ["labels.csv", "m.csv", "s.html", "labels.csv.run.json"])
def test_output_that_exists_is_kept(folder: Path, cxr: Cxr, name: str) -> None:
    Path(name).write_text("old")
    outputs = ["-o", "labels.csv", "--mentions", "m.csv", "--stats", "s.html"]

    line = refused(cxr, "label", "reports.csv", *outputs)

    assert f"{name}: the file exists" in line
    assert "--force" in line


@pytest.mark.parametrize(
    "outputs",
    [
        ["--mentions", "labels.csv"],
        ["--mentions", "labels.csv.run.json"],
        ["--mentions", "x.json", "--stats", "x.json"],
        ["--stats", "labels.csv.run.json"],
    ],
)
def test_two_outputs_in_one_file_are_refused(folder: Path, cxr: Cxr, outputs: list[str]) -> None:
    refused(cxr, "label", "reports.csv", "-o", "labels.csv", *outputs)


def test_output_never_replaces_the_input(folder: Path, cxr: Cxr) -> None:
    refused(cxr, "label", "reports.csv", "-o", "reports.csv", "--force")


# Options


def test_id_column_is_the_one_named(folder: Path, cxr: Cxr) -> None:
    write_csv("two.csv", [["1", "z9", "No edema."]], ["uid", "exam", "report"])

    label(cxr, "two.csv", "--id", "exam")

    assert by_id("labels.csv", "exam") == {"z9": {"No Finding": "1.0", "Edema": "0.0"}}


def test_text_column_is_the_one_named(folder: Path, cxr: Cxr) -> None:
    write_csv("two.csv", [["1", "No edema.", "Edema."]], ["uid", "report", "words"])

    label(cxr, "two.csv", "--text", "words")

    assert by_id("labels.csv") == {"1": {"Edema": "1.0"}}


SECTIONED = ["uid", "indication", "findings", "impression"]
SECTION_ROW = ["1", "Pneumonia?", "Hiatal hernia.", "No pneumothorax."]


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], {"Hernia": "1.0", "Pneumothorax": "0.0"}),
        (["--text", "findings,impression"], {"Hernia": "1.0", "Pneumothorax": "0.0"}),
        (["--text", "findings"], {"Hernia": "1.0"}),
        (["--sections", "findings"], {"Hernia": "1.0"}),
    ],
)
def test_section_columns_make_labels(
    folder: Path, cxr: Cxr, args: list[str], expected: dict[str, str]
) -> None:
    write_csv("sections.csv", [SECTION_ROW], SECTIONED)

    label(cxr, "sections.csv", *args)

    assert by_id("labels.csv") == {"1": expected}


def test_sections_of_a_report_are_chosen_by_their_headings(folder: Path, cxr: Cxr) -> None:
    write_csv("r.csv", [["1", "FINDINGS: Hiatal hernia.\nIMPRESSION: No pneumothorax."]])

    label(cxr, "r.csv", "--sections", "findings")

    assert by_id("labels.csv") == {"1": {"Hernia": "1.0"}}


def test_sections_that_nobody_knows_are_refused(folder: Path, cxr: Cxr) -> None:
    line = refused(cxr, "label", "reports.csv", "-o", "labels.csv", "--sections", "impresion")

    assert "'impresion'" in line
    assert "impression" in line


@pytest.mark.parametrize(
    ("name", "columns"), [("all", FINDINGS), ("chexpert", CHEXPERT), ("nih14", NIH14)]
)
def test_label_set_names_the_columns(folder: Path, cxr: Cxr, name: str, columns: list[str]) -> None:
    rows = label(cxr, "reports.csv", "--labelset", name)

    assert list(rows[0]) == ["uid", *columns]


def test_label_set_of_a_file_orders_and_renames(folder: Path, cxr: Cxr) -> None:
    Path("mine.toml").write_text(
        'findings = ["Pneumothorax", "Pleural Effusion"]\n[rename]\n"Pleural Effusion" = "Fluid"\n'
    )

    rows = label(cxr, "reports.csv", "--labelset", "mine.toml")

    assert rows[1] == {"uid": "007", "Pneumothorax": "0.0", "Fluid": "1.0"}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('findings = ["Edma"]', "did you mean 'Edema'"),
        ("findings = [", "not valid TOML"),
        ("", "key 'findings'"),
        ('findings = ["Edema"]\nrename = "x"', "key 'rename'"),
        ('findings = ["Edema", "Mass"]\n[rename]\nEdema = "x"\nMass = "x"', "'x'"),
        ('findings = ["Edema"]\n[rename]\nEdema = "uid"', "'uid'"),
    ],
)
def test_label_set_file_with_a_mistake_is_refused(
    folder: Path, cxr: Cxr, content: str, expected: str
) -> None:
    Path("mine.toml").write_text(content)

    line = refused(cxr, "label", "reports.csv", "-o", "labels.csv", "--labelset", "mine.toml")

    assert expected in line


def test_dialect_of_chexpert_has_its_fourteen_columns(folder: Path, cxr: Cxr) -> None:
    rows = label(cxr, "reports.csv", "--dialect", "chexpert")

    assert list(rows[0]) == ["uid", *CHEXPERT]


def test_dialect_of_mimic_has_subject_study_and_sorted_findings(folder: Path, cxr: Cxr) -> None:
    write_csv("m.csv", [["p1", "s1", "No edema."]], ["subject_id", "uid", "report"])

    rows = label(cxr, "m.csv", "--dialect", "mimic")

    assert list(rows[0]) == ["subject_id", "study_id", *sorted(CHEXPERT)]
    assert (rows[0]["subject_id"], rows[0]["study_id"], rows[0]["Edema"]) == ("p1", "1", "0.0")


def test_dialect_of_mimic_needs_the_subject(folder: Path, cxr: Cxr) -> None:
    line = refused(cxr, "label", "reports.csv", "-o", "labels.csv", "--dialect", "mimic")

    assert "no column 'subject_id'" in line
    assert "(columns: uid, report)" in line


def test_dialect_of_nih_joins_the_positives(folder: Path, cxr: Cxr) -> None:
    rows = [
        ["1", "Small pleural effusion. A lung nodule. No pneumothorax."],
        ["2", "The lungs are clear."],
        ["3", "Possible pneumonia."],
        ["4", ""],
    ]
    write_csv("r.csv", rows)

    found = label(cxr, "r.csv", "--dialect", "nih")

    cells = ["Effusion|Nodule", "No Finding", "", ""]
    assert [row["Finding Labels"] for row in found] == cells
    assert list(found[0]) == ["uid", "Finding Labels"]


def test_label_set_goes_before_that_of_the_dialect(folder: Path, cxr: Cxr) -> None:
    rows = label(cxr, "reports.csv", "--dialect", "chexpert", "--labelset", "all")

    assert list(rows[0]) == ["uid", *FINDINGS]


def test_kept_columns_follow_the_id_as_they_came(folder: Path, cxr: Cxr) -> None:
    write_csv("r.csv", [["1", "No edema.", "010", "m"]], ["uid", "report", "site", "sex"])

    rows = label(cxr, "r.csv", "--keep", "sex,site")

    assert list(rows[0])[:4] == ["uid", "sex", "site", FINDINGS[0]]
    assert (rows[0]["sex"], rows[0]["site"]) == ("m", "010")


@pytest.mark.parametrize(
    ("column", "args"),
    [
        ("Edema", []),
        ("uid", []),
        ("status", ["--status"]),
        ("Finding Labels", ["--dialect", "nih"]),
    ],
)
def test_kept_column_that_the_labels_have_already_is_refused(
    folder: Path, cxr: Cxr, column: str, args: list[str]
) -> None:
    header = ["uid", "report", *{column} - {"uid"}]
    write_csv("r.csv", [["1", "No edema.", "x"][: len(header)]], header)

    line = refused(cxr, "label", "r.csv", "-o", "labels.csv", "--keep", column, *args)

    assert repr(column) in line


@pytest.mark.parametrize("column", ["Edema", "finding", "assertion"])
def test_id_column_of_any_name_is_labeled_or_refused(folder: Path, cxr: Cxr, column: str) -> None:
    write_csv("r.csv", [["1", "No edema."]], [column, "report"])

    done = cxr("label", "r.csv", "-o", "labels.csv", "--id", column, "--mentions", "m.csv")

    assert done.exit_code == 0 or done.stderr.startswith(f"error: --id: {column!r}")


def test_status_column_tells_what_became_of_each_report(folder: Path, cxr: Cxr) -> None:
    rows = [
        ["1", "No edema."],
        ["2", " \n"],
        ["3", "INDICATION: cough"],
        ["4", "Edema. " * 300_000],
    ]
    write_csv("r.csv", rows)
    with Path("r.csv").open("ab") as file:
        file.write(b"5,No ed\xffema.\n")

    found = label(cxr, "r.csv", "--status")

    statuses = ["labeled", "empty", "no usable section", "too long", "undecodable"]
    assert [row["status"] for row in found] == statuses
    assert [said(row) for row in found[1:]] == [{}, {}, {}, {}]
    assert list(found[0])[-1] == "status"


AGREE = "Pneumonia in the right lung. Possible pneumonia on the left. No pneumonia in the apex."


@pytest.mark.parametrize(
    ("report", "args", "expected"),
    [
        (AGREE, [], {"Pneumonia": "positive"}),
        (AGREE, ["--aggregate", "chexpert-code"], {"Pneumonia": "uncertain"}),
        ("Likely pneumonia.", [], {"Pneumonia": "positive"}),
        ("Likely pneumonia.", ["--option", "likely=uncertain"], {"Pneumonia": "uncertain"}),
        (
            "Likely pneumonia. No new hernia.",
            ["--option", "likely=uncertain", "--option", "no_new=negative"],
            {"Pneumonia": "uncertain", "Hernia": "negative"},
        ),
        (
            "Pneumonia.",
            ["--hierarchy", "up"],
            {"Pneumonia": "positive", "Consolidation": "positive", "Lung Opacity": "positive"},
        ),
    ],
)
def test_conventions_change_the_labels_of_a_report(
    cxr: Cxr, report: str, args: list[str], expected: dict[str, str]
) -> None:
    assert label_text(cxr, report, *args) == expected


@pytest.mark.parametrize(
    ("report", "args", "expected"),
    [
        (AGREE, ["--aggregate", "chexpert-code"], {"Pneumonia": "-1.0"}),
        ("Likely pneumonia.", ["--option", "likely=uncertain"], {"Pneumonia": "-1.0"}),
        (
            "Pneumonia.",
            ["--hierarchy", "up"],
            {"Pneumonia": "1.0", "Consolidation": "1.0", "Lung Opacity": "1.0"},
        ),
        (
            "Possible pneumonia. No consolidation.",
            ["--hierarchy", "up"],
            {"Pneumonia": "-1.0", "Consolidation": "0.0"},
        ),
    ],
)
def test_conventions_change_the_labels_of_a_file(
    folder: Path, cxr: Cxr, report: str, args: list[str], expected: dict[str, str]
) -> None:
    write_csv("r.csv", [["1", report]])

    label(cxr, "r.csv", *args)

    assert by_id("labels.csv") == {"1": expected}


@pytest.mark.parametrize("option", ["--aggregate", "--hierarchy"])
@pytest.mark.parametrize("what", [["reports.csv", "-o", "labels.csv"], ["--text", "No edema."]])
def test_convention_that_nobody_knows_is_refused(
    folder: Path, cxr: Cxr, option: str, what: list[str]
) -> None:
    done = cxr("label", *what, option, "sideways")

    assert done.exit_code in (1, 2)
    assert "sideways" in done.stderr
    assert not Path("labels.csv").exists()


OWN_RULES = """
name = "Azygos Lobe"
source = "a test"
[[rules]]
id = "lobe"
phrases = ["azygos lobe"]
"""


def test_own_rules_add_a_column(folder: Path, cxr: Cxr, rules_folder: Callable[..., Path]) -> None:
    rules = rules_folder({"findings/azygos_lobe.toml": OWN_RULES})
    write_csv("r.csv", [["1", "No azygos lobe."]])

    rows = label(cxr, "r.csv", "--rules", rules)

    assert list(rows[0]) == ["uid", *FINDINGS, "Azygos Lobe"]
    assert rows[0]["Azygos Lobe"] == "0.0"


# Mentions and statistics

MENTION_COLUMNS = ["uid", *Mention._fields]


def test_mentions_slice_back_to_their_reports(folder: Path, cxr: Cxr) -> None:
    label(cxr, "reports.csv", "--mentions", "m.csv")

    rows = read_csv("m.csv")
    assert list(rows[0]) == MENTION_COLUMNS
    assert {row["uid"] for row in rows} == {"b", "007", "12"}
    for row in rows:
        assert REPORTS[row["uid"]][int(row["start"]) : int(row["end"])] == row["text"] != ""


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("m.jsonl", lambda path: pd.read_json(path, lines=True, dtype={"uid": str})),
        ("m.parquet", pd.read_parquet),
    ],
)
def test_mentions_are_the_same_in_other_formats(
    folder: Path, cxr: Cxr, name: str, read: Callable[[str], pd.DataFrame]
) -> None:
    label(cxr, "reports.csv", "--mentions", "m.csv")
    expected = pd.read_csv("m.csv", dtype={"uid": str}, keep_default_na=False, na_values={})

    assert cxr("label", "reports.csv", "-o", "x.csv", "--mentions", name).exit_code == 0

    found = read(name)
    assert list(found) == MENTION_COLUMNS
    for column in ("uid", "finding", "assertion", "reason", "start", "end", "text", "cue", "rule"):
        assert found[column].tolist() == expected[column].tolist()


def test_statistics_as_json_count_the_labels(folder: Path, cxr: Cxr) -> None:
    label(cxr, "reports.csv", "--stats", "s.json")

    stats = json.loads(Path("s.json").read_text())
    counts = {entry["finding"]: entry["counts"] for entry in stats["findings"]}
    assert (stats["reports"], stats["labeled"], stats["statuses"]["empty"]) == (4, 3, 1)
    assert counts["Pneumothorax"] == {"positive": 0, "uncertain": 0, "negative": 1, "blank": 2}


def test_statistics_as_page_need_nothing_else(folder: Path, cxr: Cxr) -> None:
    label(cxr, "reports.csv", "--stats", "s.html")

    page = Path("s.html").read_text()
    assert "<svg" in page
    assert "Pleural Effusion" in page
    assert 'src="http' not in page
    assert 'href="http' not in page


# What is wrong is said in one line, and nothing is written

GOOD = b"uid,report\n1,Zebrafish effusion.\n"

BAD_FILES = {
    "no text column": ("a.csv", b"uid,words,site\n1,Zebrafish.,x\n", "(columns: uid, words, site)"),
    "no id column": ("a.csv", b"nr,report\n1,Zebrafish.\n", "(columns: nr, report)"),
    "unbalanced quote": ("a.csv", GOOD + b'2,"Zebrafish.\n3,No edema.\n', "a.csv:3"),
    "duplicate id": ("a.csv", GOOD + b"2,x\n1,Zebrafish.\n", "a.csv:4: id '1' is also at a.csv:2"),
    "empty id": ("a.csv", GOOD + b",Zebrafish.\n", "a.csv:3"),
    "too many cells": ("a.csv", GOOD + b"2,Zebrafish, effusion.\n", "a.csv:3: 3 cells, expected 2"),
    "too few cells": ("a.csv", GOOD + b"Zebrafish\n", "a.csv:3: 1 cells, expected 2"),
    "column twice": ("a.csv", b"uid,report,report\n1,Zebrafish,x\n", "named 'report'"),
    "empty file": ("a.csv", b"", "a.csv: the file is empty"),
    "utf-16": ("a.csv", GOOD.decode().encode("utf-16"), "UTF-16"),
    "semicolons": ("a.csv", b"uid;report\n1;Zebrafish\n", "separated by ';'"),
    "no header, long text": ("a.csv", b"1," + b"Zebrafish " * 9 + b"\n", "is there a header?"),
    "line break in a header": ("a.csv", b'uid,"a\nb"\n1,Zebrafish.\n', "a.csv: no text column"),
    "not json": ("a.jsonl", b'{"uid": 1, "report": "x"}\n{"Zebrafish\n', "a.jsonl:2: not JSON"),
    "json list": ("a.jsonl", b'["Zebrafish"]\n', "a.jsonl:1: a JSON list"),
    "number for a text": ("a.jsonl", b'{"uid": 1, "report": 3.5}\n', "a.jsonl:1: column 'report'"),
    "not gzip": ("a.csv.gz", GOOD, "a.csv.gz: not a whole gzip file"),
    "half a gzip": ("a.csv.gz", gzip.compress(GOOD * 9)[:-9], "a.csv.gz: not a whole gzip file"),
    "not parquet": ("a.parquet", GOOD, "a.parquet: not a parquet file"),
    "unknown kind": ("a.docx", GOOD, "a.docx: unknown kind of file"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_file_is_refused(folder: Path, cxr: Cxr, case: str) -> None:
    name, content, expected = BAD_FILES[case]
    Path(name).write_bytes(content)

    line = refused(cxr, "label", name, "-o", "labels.csv", "--mentions", "m.csv")

    assert expected in line


BAD_ARGUMENTS = [
    (["nowhere.csv"], "nowhere.csv: no such file"),
    (["no-*.csv"], "no-*.csv: no file matches"),
    (["."], "no .txt or .xml file in this folder"),
    (["reports.csv", "--id", "uuid"], "no column 'uuid'; did you mean 'uid'?"),
    (["reports.csv", "--text", "reprt"], "no column 'reprt'; did you mean 'report'?"),
    (["reports.csv", "--text", "report,impression"], "no column 'impression'"),
    (["reports.csv", "--keep", "sex"], "no column 'sex'; (columns: uid, report)"),
    (["reports.csv", "--labelset", "nih"], "did you mean 'nih14'?"),
    (["reports.csv", "--labelset", "none.toml"], "none.toml: no such file"),
    (["reports.csv", "--dialect", "chexprt"], "did you mean 'chexpert'?"),
    (["reports.csv", "--option", "likly=uncertain"], "unknown option 'likly'"),
    (["reports.csv", "--option", "likely=maybe"], "positive, uncertain"),
    (["reports.csv", "--rules", "nowhere"], "nowhere: no such folder"),
    (["reports.csv", "--mentions", "m.txt"], "m.txt: unknown kind of table"),
    (["reports.csv", "--stats", "s.txt"], "s.txt: unknown kind of statistics file"),
    (["reports.csv", "--mentions", "reports.csv/m.csv"], "cannot write here"),
    (["reports.csv", "--stats", "reports.csv/s.json"], "cannot write here"),
]


@pytest.mark.parametrize(("args", "expected"), BAD_ARGUMENTS, ids=lambda v: str(v)[:40])
def test_bad_argument_is_refused(folder: Path, cxr: Cxr, args: list[str], expected: str) -> None:
    assert expected in refused(cxr, "label", *args, "-o", "labels.csv")


@pytest.mark.parametrize(
    ("out", "expected"),
    [
        ("labels.txt", "labels.txt: unknown kind of table"),
        ("labels", "labels: unknown kind of table"),
        (".", "this is a folder"),
        ("reports.csv/labels.csv", "cannot write here"),
    ],
)
def test_bad_place_for_the_labels_is_refused(
    folder: Path, cxr: Cxr, out: str, expected: str
) -> None:
    assert expected in refused(cxr, "label", "reports.csv", "-o", out)


@pytest.mark.parametrize(
    "content",
    ["name = [", 'name = "Scar"', 'name = "Scar"\nsource = "x"\nrules = ["scar"]',
     'name = "Scar"\nsource = "x"\nrules = "scar"', 'name = "Scar"\nsource = "x"\nanatomy = [1]',
     'name = "Scar"\nsource = "x"\nmisspellings = ["scra"]'],
)  # fmt: skip
@pytest.mark.parametrize("command", [["label", "--text", "No edema."], ["rules", "check"]])
def test_broken_rules_of_the_user_are_refused(
    folder: Path,
    cxr: Cxr,
    rules_folder: Callable[..., Path],
    content: str,
    command: list[str],
) -> None:
    rules = rules_folder({"findings/scar.toml": content})

    assert "findings/scar.toml" in refused(cxr, *command, "--rules", rules)


@pytest.mark.parametrize(
    "args",
    [
        ["label"],
        ["label", "reports.csv"],
        ["label", "reports.csv", "-o", "labels.csv", "--option", "likely"],
        ["label", "reports.csv", "-o", "labels.csv", "--workers", "0"],
        ["label", "reports.csv", "-o", "labels.csv", "--wrokers", "2"],
        ["label", "--text", "No edema.", "-o", "labels.csv"],
        ["lable"],
        ["rules", "show"],
    ],
)
def test_wrong_use_exits_with_2(folder: Path, cxr: Cxr, args: list[str]) -> None:
    before = tree(folder)

    done = cxr(*args)

    assert (done.exit_code, done.stdout) == (2, "")
    assert tree(folder) == before


# Odd rows are counted, and each has its row of labels


@pytest.mark.parametrize("cell", ["", "NA", "nan", "None", "  ", "\t"])
def test_missing_report_is_all_blank(folder: Path, cxr: Cxr, cell: str) -> None:
    write_csv("r.csv", [["1", cell], ["2", "No edema."]])

    rows = label(cxr, "r.csv", "--status")

    assert (said(rows[0]), rows[0]["status"]) == ({}, "empty")
    assert rows[1]["Edema"] == "0.0"


def test_undecodable_report_costs_only_its_own_labels(folder: Path, cxr: Cxr) -> None:
    Path("r.csv").write_bytes(b"uid,report\n1,Ed\xe9ma Zebrafish.\n2,Edema.\n")

    done = cxr("label", "r.csv", "-o", "labels.csv")

    assert by_id("labels.csv") == {"1": {}, "2": {"Edema": "1.0"}}
    assert done.stderr.endswith("labeled 1 studies (1 undecodable) -> labels.csv\n")


def test_nul_bytes_are_spaces(folder: Path, cxr: Cxr) -> None:
    Path("r.csv").write_bytes(b"uid,report\n1,No\0edema.\0\n")

    label(cxr, "r.csv")

    assert by_id("labels.csv") == {"1": {"No Finding": "1.0", "Edema": "0.0"}}


def test_every_odd_row_has_its_row(folder: Path, cxr: Cxr) -> None:
    rows = [b"1,", b"2,NA", b"3,\xff\xfe", b"4,\0", b'5,"\n\n"', b"6,XXXX", b"7,=1+1", b'8,""""']
    Path("r.csv").write_bytes(b"uid,report\n" + b"\n".join(rows) + b"\n")

    assert [row["uid"] for row in label(cxr, "r.csv")] == list("12345678")


MEGABYTE = {
    "words": "effusion " * 112_000,
    "sentences": "No effusion is seen. " * 48_000,
    "without spaces": "x" * 1_000_000,
    "findings without spaces": "effusion" * 125_000,
}


@pytest.mark.parametrize("shape", MEGABYTE)
def test_report_of_a_megabyte_is_labeled_in_time(folder: Path, cxr: Cxr, shape: str) -> None:
    write_csv("r.csv", [["1", MEGABYTE[shape]], ["2", "No edema."]])
    began = time.process_time()

    rows = label(cxr, "r.csv", "--mentions", "m.csv", "--status")

    assert time.process_time() - began < MAX_SECONDS
    assert [row["status"] for row in rows] == ["labeled", "labeled"]


def test_report_text_stays_out_of_everything_but_the_mentions(
    folder: Path, cxr: Cxr, caplog: pytest.LogCaptureFixture
) -> None:
    write_csv("r.csv", [["1", "Zebrafish effusion in Zebrafish. No Zebrafish edema, Zebrafish."]])

    with caplog.at_level("DEBUG"):
        done = cxr("label", "r.csv", "-o", "labels.csv", "--stats", "s.html", "--status")

    outputs = [done.output, caplog.text, *map(Path.read_text, map(Path, ["labels.csv", "s.html"]))]
    outputs.append(Path("labels.csv.run.json").read_text())
    assert [text for text in outputs if SECRET.lower() in text.lower()] == []


# One report


def test_text_alone_is_drawn_with_its_evidence(cxr: Cxr) -> None:
    report = "FINDINGS: Small left effusion. No pneumothorax."

    done = cxr("label", "--text", report)

    assert done.exit_code == 0
    assert report in done.stdout
    assert [line.split() for line in done.stdout.splitlines()[-2:]] == [
        ["Pneumothorax", "negative", "“pneumothorax”", "negated", "by", "“No”", "findings"],
        ["Pleural", "Effusion", "positive", "“effusion”", "mild,", "left", "findings"],
    ]


def test_text_alone_as_json_has_labels_and_mentions(cxr: Cxr) -> None:
    report = "FINDINGS: No pneumothorax."

    evidence = json.loads(cxr("label", "--text", report, "--json").stdout)

    (mention,) = evidence["mentions"]
    assert list(evidence) == ["status", "labels", "sections", "mentions"]
    assert list(evidence["labels"]) == FINDINGS
    assert evidence["labels"]["Pneumothorax"] == "negative"
    assert evidence["sections"] == ["findings"]
    assert report[mention["start"] : mention["end"]] == mention["text"] == "pneumothorax"
    assert report[mention["cue_start"] : mention["cue_end"]] == mention["cue"] == "No"


@pytest.mark.parametrize("report", ["", "  \n "])
def test_empty_text_has_no_label(cxr: Cxr, report: str) -> None:
    assert label_text(cxr, report) == {}
    assert "no label (empty)" in cxr("label", "--text", report).stdout


def test_text_alone_obeys_the_label_set_and_sections(cxr: Cxr) -> None:
    report = "FINDINGS: Hernia. Fracture.\nIMPRESSION: No mass."

    found = label_text(cxr, report, "--labelset", "nih14", "--sections", "findings")

    assert found == {"Hernia": "positive"}


def test_unknown_label_set_of_a_text_suggests_the_near_one(folder: Path, cxr: Cxr) -> None:
    line = refused(cxr, "label", "--text", "Zebrafish effusion.", "--labelset", "chexprt")

    assert "did you mean 'chexpert'?" in line


# Help and the process


def test_version_is_printed(cxr: Cxr) -> None:
    assert cxr("--version").stdout.startswith("cxr 0.")


@pytest.mark.parametrize("args", [["--help"], ["label", "--help"], ["rules", "--help"]])
def test_help_loads_nothing_heavy(args: list[str]) -> None:
    program = (
        "import sys, cli\n"
        f"try: cli.app({args!r})\n"
        "except SystemExit as stop: code = stop.code\n"
        "print('LOADED', *sys.modules) if code == 0 else sys.exit(code)"
    )

    printed = run_process([sys.executable, "-c", program], cwd=ROOT).stdout

    loaded = printed.rpartition("LOADED")[2].split()
    assert "typer" in loaded
    assert HEAVY.isdisjoint(loaded)


def run_process(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, text=True, check=True, timeout=60
    )


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `cxr label` over many reports, and come back when it has written some labels."""
    with (tmp_path / "many.csv").open("w") as file:
        file.write("uid,report\n")
        file.writelines(f"{number},No effusion. Edema.\n" for number in range(60_000))
    processes = []

    def start(*args: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", "label", "many.csv", "-o", "labels.csv", *args],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # a group of its own, to be interrupted as a terminal does it
        )
        processes.append(process)
        wait_for_labels(tmp_path, process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_for_labels(folder: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not any(part.stat().st_size for part in folder.glob(".labels.csv.*")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


Started = Callable[..., subprocess.Popen[str]]


def test_killed_run_leaves_no_labels(tmp_path: Path, started: Started) -> None:
    process = started()

    process.kill()

    assert process.wait(30) == -signal.SIGKILL
    assert not (tmp_path / "labels.csv").exists()
    assert not (tmp_path / "labels.csv.run.json").exists()


def test_terminated_run_keeps_the_older_labels(tmp_path: Path, started: Started) -> None:
    (tmp_path / "labels.csv").write_text("old")
    process = started("--force")

    process.terminate()

    assert process.wait(30) != 0
    assert (tmp_path / "labels.csv").read_text() == "old"


def test_interrupted_run_says_one_line_and_leaves_nothing(tmp_path: Path, started: Started) -> None:
    process = started("--workers", "2", "--mentions", "m.csv")

    os.killpg(process.pid, signal.SIGINT)

    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "stopped; nothing was written\n")
    assert [path.name for path in tmp_path.iterdir()] == ["many.csv"]


def test_interrupt_while_labeling_writes_nothing(
    folder: Path, cxr: Cxr, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(folder)
    monkeypatch.setattr("cxrlabel.chunks.ChunkLabeler.__call__", interrupt)

    done = cxr("label", "reports.csv", "-o", "labels.csv", "--mentions", "m.csv")

    assert (done.exit_code, done.stderr) == (130, "stopped; nothing was written\n")
    assert tree(folder) == before


def test_interrupt_while_writing_statistics_tells_the_truth(
    folder: Path, cxr: Cxr, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(folder)
    monkeypatch.setattr("cxrlabel.batch.write_statistics", interrupt)

    done = cxr("label", "reports.csv", "-o", "labels.csv", "--stats", "s.json")

    assert done.exit_code == 130
    assert (tree(folder) == before) == ("nothing was written" in done.stderr)


def interrupt(*args: object, **kwargs: object) -> None:
    raise KeyboardInterrupt
