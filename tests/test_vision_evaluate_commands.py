import csv
import json

import pytest
from test_vision_evaluation import make_files


@pytest.fixture
def files(tmp_path):
    return make_files(tmp_path)


def test_evaluate_writes_its_files_and_says_so(cxr, files, tmp_path):
    out = tmp_path / "eval"
    result = cxr("evaluate", *files, "--id", "study_id", "--patient", "patient_id", "--out", out)
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in out.iterdir()) == ["index.html", "metrics.csv", "metrics.json"]
    assert "Edema" in result.stdout
    assert "macro average" in result.stdout
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("evaluated 160 studies, 2 findings -> ")


def test_evaluate_prints_the_record_as_json(cxr, files, tmp_path):
    result = cxr("evaluate", *files, "--out", tmp_path / "eval", "--json")
    record = json.loads(result.stdout)
    assert record == json.loads((tmp_path / "eval/metrics.json").read_text())
    assert record["findings"]["Edema"]["auc_labels_ci"]


def test_evaluate_replaces_nothing_unasked(cxr, files, tmp_path):
    out = tmp_path / "eval"
    assert cxr("evaluate", *files, "--out", out).exit_code == 0
    again = cxr("evaluate", *files, "--out", out)
    assert again.exit_code == 1
    assert "the file exists; pass --force" in again.stderr
    assert cxr("evaluate", *files, "--out", out, "--force").exit_code == 0


def test_mistake_is_one_line(cxr, files, tmp_path):
    files[0].write_text("study_id,Edema\na,7\n")
    result = cxr("evaluate", *files, "--out", tmp_path / "eval")
    assert result.exit_code == 1
    assert len(result.stderr.strip().splitlines()) == 1
    assert "expected a probability from 0 to 1" in result.stderr
    assert not (tmp_path / "eval").exists()


def test_policy_changes_what_counts(cxr, files, tmp_path):
    text = files[1].read_text().replace("s001,north,0", "s001,north,-1")
    files[1].write_text(text.replace("s001,north,1", "s001,north,-1"))
    counts = {}
    for policy in ("ignore", "ones"):
        out = tmp_path / policy
        result = cxr("evaluate", *files, "--out", out, "--uncertain", policy, "--json")
        counts[policy] = json.loads(result.stdout)["findings"]["Edema"]["n"]
    assert counts == {"ignore": 159, "ones": 160}


def test_compare_writes_its_files_and_baselines(cxr, files, tmp_path):
    predictions, labels = files
    frontal, lateral = tmp_path / "frontal.csv", tmp_path / "lateral.csv"
    head, *rows = predictions.read_text().splitlines()
    for path in (frontal, lateral):
        kept = [row for row in rows if f",{path.stem}," in row]
        path.write_text("\n".join([head, *kept]))
    result = cxr(
        "compare", predictions, frontal, "--labels", labels, "--average", frontal, lateral,
        "--ensemble", frontal, frontal, "--out", tmp_path / "compare", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert [model["kind"] for model in record["models"]] == [
        "model", "model", "average", "ensemble",
    ]  # fmt: skip
    assert record["studies"] == 80  # those that have a lateral too
    row = record["comparisons"][1]["findings"]["Edema"]
    assert row["difference"] == pytest.approx(row["auc"] - row["reference_auc"])
    with (tmp_path / "compare/comparison.csv").open() as file:
        assert {row["finding"] for row in csv.DictReader(file)} == {
            "Edema", "Mass", "macro average",
        }  # fmt: skip
    assert (tmp_path / "compare/index.html").exists()


def test_compare_prints_a_table(cxr, files, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text(files[0].read_text())
    result = cxr(
        "compare", files[0], other, "--labels", files[1], "--out", tmp_path / "c", "--split", "all"
    )
    assert "against other: 240 studies" in result.stdout
    assert result.stderr.strip().splitlines()[-1].startswith("compared 2 models on 240 studies")
