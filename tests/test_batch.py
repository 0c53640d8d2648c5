"""Files in, files out: the run record, the counts, and how the work is split never shows."""

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from importlib.metadata import version
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import Result

from cxrlabel.batch import LabelingRun, Outputs, label_files
from cxrlabel.chunks import LabelingOptions
from cxrlabel.errors import InputError
from cxrlabel.findings import load_findings
from cxrlabel.rulefiles import read_rule_files

Cxr = Callable[..., Result]

FINDINGS = [finding.name for finding in load_findings()]
ROWS = [
    ("x1", "No edema. Small left effusion."),
    ("x2", ""),
    ("x3", "INDICATION: cough"),
    ("x4", "Likely pneumonia."),
]
# Every report another one, more of them than two chunks hold.
PARTS = (
    ("No edema.", "Mild edema.", "Possible edema."),
    ("Small left effusion.", "No effusion.", "Effusion is unchanged."),
    ("The heart is enlarged.", "Heart size is normal.", "Borderline heart size."),
)
MANY = 2_500


@pytest.fixture(autouse=True)
def _shared(shared_labelers: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
    with shared_labelers():
        yield


def write(path: Path, rows: list[tuple[str, ...]], header: tuple[str, ...] = ("uid", "report")):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., LabelingRun]:
    """Label the four rows, or others, into the test's folder."""

    def label(
        rows: list[tuple[str, ...]] = ROWS,
        mentions: str | None = None,
        stats: str | None = None,
        **options: object,
    ) -> LabelingRun:
        outputs = Outputs(
            tmp_path / "labels.csv",
            tmp_path / mentions if mentions else None,
            tmp_path / stats if stats else None,
        )
        return label_files([write(tmp_path / "reports.csv", rows)], outputs, **options)

    return label


Run = Callable[..., LabelingRun]

# The run record


def test_record_file_holds_the_record(run: Run, tmp_path: Path) -> None:
    record = run().record

    assert json.loads((tmp_path / "labels.csv.run.json").read_text()) == json.loads(
        json.dumps(record)
    )


def test_record_has_these_keys(run: Run) -> None:
    assert list(run().record) == [
        "version", "rules_hash", "options", "inputs", "id_column", "text_columns",
        "ignored_columns", "columns", "changed", "outputs", "statistics",
    ]  # fmt: skip


def test_record_says_with_what_the_labels_were_made(run: Run) -> None:
    options = LabelingOptions(options={"likely": "uncertain"}, aggregate="chexpert-code")

    record = run(labeling=options, label_set="chexpert").record

    assert record["version"] == version("cxr")
    assert record["rules_hash"] == read_rule_files().hash
    assert record["options"] == {
        "rules": (),
        "sections": (),
        "options": {"likely": "uncertain"},
        "aggregate": "chexpert-code",
        "hierarchy": "none",
        "lang": "en",
        "backend": (),
        "combine": "average",
        "label_set": "chexpert",
        "dialect": "cxr",
        "keep": [],
    }


def test_record_has_the_hash_of_every_input(run: Run, tmp_path: Path) -> None:
    record = run().record

    content = (tmp_path / "reports.csv").read_bytes()
    expected = hashlib.sha256(content).hexdigest()
    assert record["inputs"] == [
        {"path": str(tmp_path / "reports.csv"), "sha256": expected, "bytes": len(content)}
    ]


def test_record_names_the_columns_and_outputs(run: Run, tmp_path: Path) -> None:
    done = run(mentions="m.csv", stats="s.json")

    record = done.record
    assert (record["id_column"], record["text_columns"]) == ("uid", ["report"])
    assert record["columns"] == ["uid", *FINDINGS]
    assert record["outputs"] == [str(tmp_path / n) for n in ("labels.csv", "m.csv", "s.json")]
    assert [str(p) for p in done.written] == [
        *record["outputs"], str(tmp_path / "labels.csv.run.json"),
    ]  # fmt: skip


def test_record_counts_the_statuses(run: Run) -> None:
    statistics = run().record["statistics"]

    assert (statistics["reports"], statistics["labeled"]) == (4, 2)
    assert statistics["statuses"] == {
        "labeled": 2, "empty": 1, "no usable section": 1, "undecodable": 0, "too long": 0,
    }  # fmt: skip


def test_record_changes_with_the_rules(run: Run, rules_folder: Callable[..., Path]) -> None:
    scar = 'name = "Scar"\nsource = "x"\n[[rules]]\nid = "scar"\nphrases = ["lung scar"]\n'
    rules = rules_folder({"findings/scar.toml": scar})

    record = run(labeling=LabelingOptions(rules=(str(rules),))).record

    assert record["rules_hash"] != read_rule_files().hash
    assert record["options"]["rules"] == (str(rules),)


@pytest.mark.parametrize(
    ("options", "report", "changed"),
    [
        ({}, "Pneumonia.", {}),
        ({"hierarchy": "up"}, "Pneumonia.", {"hierarchy": 2}),
        ({"aggregate": "chexpert-code"}, "Pneumonia.", {"aggregate": 0}),
        (
            {"aggregate": "chexpert-code"},
            "Pneumonia on the right. Possible pneumonia on the left. No pneumonia elsewhere.",
            {"aggregate": 1},
        ),
    ],
)
def test_record_counts_labels_that_an_option_changed(
    run: Run, options: dict[str, str], report: str, changed: dict[str, int]
) -> None:
    assert run([("1", report)], labeling=LabelingOptions(**options)).record["changed"] == changed


# Counts


def test_statistics_are_those_of_the_labels_file(run: Run, tmp_path: Path) -> None:
    statistics = run(many_rows(MANY)).statistics

    for entry in statistics.findings:
        cells = Counter(row[entry.finding] for row in read(tmp_path / "labels.csv"))
        counts = {"positive": "1.0", "uncertain": "-1.0", "negative": "0.0", "blank": ""}
        assert {s: cells[code] for s, code in counts.items()} == dict(entry.counts)


@pytest.mark.parametrize("rows", [[], ROWS])
def test_statistics_are_of_the_findings_in_the_labels_file(
    run: Run, rows: list[tuple[str, ...]]
) -> None:
    statistics = run(rows, label_set="chexpert").statistics

    assert [entry.finding for entry in statistics.findings] == FINDINGS[:14]


def test_hierarchy_is_in_the_statistics_too(run: Run) -> None:
    options = LabelingOptions(hierarchy="up")

    statistics = run([("1", "Pneumonia.")], labeling=options).statistics

    counts = {entry.finding: entry.counts for entry in statistics.findings}
    assert counts["Lung Opacity"]["positive"] == 1


def test_progress_adds_up_to_the_reports(run: Run) -> None:
    seen: list[int] = []

    run(many_rows(MANY), progress=seen.append)

    assert sum(seen) == MANY
    assert len(seen) > 1


# One process or several


def many_rows(count: int) -> list[tuple[str, ...]]:
    return [
        (f"{count - i:05d}", " ".join(part[i // 3**place % 3] for place, part in enumerate(PARTS)))
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory, cxr: Cxr) -> dict[int, Path]:
    """Workers -> the folder of what one and two of them wrote, from the command line."""
    folders = {}
    reports = write(tmp_path_factory.mktemp("split") / "reports.csv", many_rows(MANY))
    for workers in (1, 2):
        folder = folders[workers] = tmp_path_factory.mktemp(f"workers{workers}")
        outputs = ["-o", folder / "l.csv", "--mentions", folder / "m.parquet"]
        outputs += ["--stats", folder / "s.json"]
        done = cxr("label", reports, *outputs, "--workers", workers)
        assert done.exit_code == 0, done.stderr
    return folders


@pytest.mark.parametrize("name", ["l.csv", "m.parquet", "s.json"])
def test_two_workers_write_what_one_writes(split: dict[int, Path], name: str) -> None:
    assert (split[1] / name).read_bytes() == (split[2] / name).read_bytes()


def test_rows_are_in_the_order_of_the_input(split: dict[int, Path]) -> None:
    ids = [row["uid"] for row in read(split[2] / "l.csv")]

    assert ids == [row[0] for row in many_rows(MANY)]


def test_mistake_in_the_input_is_one_line_from_two_workers(
    tmp_path: Path,
    cxr: Cxr,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cxrlabel.chunks._start_worker", start_without_labeler)
    path = write(tmp_path / "twice.csv", [("1", "No edema."), ("1", "Zebrafish.")])

    done = cxr("label", path, "-o", tmp_path / "labels.csv", "--workers", 2)

    assert done.exit_code == 1
    assert done.stderr.startswith(f"error: {path}:3: id '1' is also at {path}:2")
    assert done.stderr.count("\n") == 1
    assert capfd.readouterr().err == ""  # what the workers print goes past the command
    assert [p.name for p in tmp_path.iterdir()] == ["twice.csv"]


def start_without_labeler(*args: object) -> None:
    """Start a worker that never gets a row to label; loading a labeler takes seconds."""


# Every row has its row


@pytest.fixture(scope="module")
def drawn_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("drawn")


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60)


@settings(max_examples=25)
@given(reports=st.lists(st.one_of(TEXT, st.sampled_from(["NA", "No edema.", "Mass.\n\n"]))))
def test_every_report_has_its_row_in_order(drawn_folder: Path, reports: list[str]) -> None:
    rows = [(f"s{number}", report) for number, report in enumerate(reports)]
    path = write(drawn_folder / "reports.csv", rows)

    label_files([path], Outputs(drawn_folder / "labels.csv", force=True), status=True)

    found = read(drawn_folder / "labels.csv")
    assert [row["uid"] for row in found] == [row[0] for row in rows]
    for row in found:
        assert {row[name] for name in FINDINGS} <= {"1.0", "0.0", "-1.0", ""}
        assert row["status"] == "labeled" or not any(row[name] for name in FINDINGS)


def test_every_id_comes_back_as_it_was(run: Run, tmp_path: Path) -> None:
    ids = ["007", "1e5", "1.0", "0x1F", " 5 ", "é", "a,b", 'a"b', "a\nb", "None", "true", "-3"]

    run([(study_id, "No edema.") for study_id in ids])

    assert [row["uid"] for row in read(tmp_path / "labels.csv")] == ids


# Nothing is written


@pytest.mark.parametrize(
    "options",
    [
        {"label_set": "chexprt"},
        {"dialect": "mimc"},
        {"keep": ["site"]},
        {"text_columns": ["words"]},
        {"labeling": LabelingOptions(options={"likely": "maybe"})},
        {"labeling": LabelingOptions(sections=("impresion",))},
        {"labeling": LabelingOptions(aggregate="sideways")},
        {"labeling": LabelingOptions(hierarchy="sideways")},
        {"mentions": "m.docx"},
        {"stats": "s.docx"},
    ],
    ids=str,
)
def test_mistake_raises_before_anything_is_written(
    run: Run, tmp_path: Path, options: dict[str, object]
) -> None:
    with pytest.raises(InputError):
        run(**options)

    assert [path.name for path in tmp_path.iterdir()] == ["reports.csv"]


def test_mistake_in_the_last_row_leaves_nothing(run: Run, tmp_path: Path) -> None:
    rows = [*many_rows(MANY), ("", "No edema.")]

    with pytest.raises(InputError, match=r"reports\.csv:2502: the id is empty"):
        run(rows, mentions="m.parquet", stats="s.html")

    assert [path.name for path in tmp_path.iterdir()] == ["reports.csv"]


@pytest.mark.parametrize(
    "labeling",
    [
        LabelingOptions(options={"likely": "maybe"}),
        LabelingOptions(sections=("impresion",)),
        LabelingOptions(aggregate="sideways"),
        LabelingOptions(hierarchy="sideways"),
    ],
)
def test_mistake_in_an_option_is_named_before_a_labeler_is_made(
    labeling: LabelingOptions,
) -> None:
    with pytest.raises(InputError, match=r"^--"):
        labeling.check()
