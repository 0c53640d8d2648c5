import csv
import json

import numpy as np
import pandas as pd
import pytest

from cxrlabel.audit.compare import compare
from cxrlabel.audit.consensus import make_consensus
from cxrlabel.audit.design import read_sample, write_sample
from cxrlabel.audit.observation import write_observation
from cxrlabel.audit.observe import observe
from cxrlabel.audit.reviews import read_reviews
from cxrlabel.audit.sampling import draw_sample, state_cells
from cxrlabel.errors import InputError
from cxrlabel.findings import resolve
from cxrvision.evaluate.evaluation import EvaluationOptions, evaluate_files
from cxrvision.evaluate.page import evaluation_page
from cxrvision.evaluate.records import metrics_record, write_metrics


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """2,400 studies with wrong labels, a third of them validation, and an audit of 600."""
    folder = tmp_path_factory.mktemp("audited")
    rng = np.random.default_rng(5)
    n = 2_400
    ids = [f"s{i:04}" for i in range(n)]
    truth = rng.random((n, 2)) < (0.25, 0.15)
    scores = rng.normal(size=(n, 2)) + 1.6 * truth
    right = rng.random((n, 2)) < np.where(truth, 0.8, 0.95)
    labels = pd.DataFrame(
        np.where(right, truth, ~truth).astype(float),
        index=pd.Index(ids, name="study_id"), columns=["Edema", "Mass"],
    )  # fmt: skip
    labels = labels.mask((labels == 0) & (rng.random((n, 2)) < 0.5))
    labels.to_csv(folder / "labels.csv")
    probs = pd.DataFrame(1 / (1 + np.exp(1 - scores)), index=labels.index, columns=labels.columns)
    probs.insert(0, "patient_id", [f"p{i // 2}" for i in range(n)])
    probs.insert(1, "split", ["val" if i < 800 else "test" for i in range(n)])
    probs.round(5).to_csv(folder / "predictions.csv")
    sample = draw_sample(state_cells(labels), n=600, seed=1)
    write_sample(folder / "sample.csv", sample)
    manual = pd.DataFrame(truth[:, :1] * 1, index=labels.index, columns=["Edema"])
    manual.insert(0, "reference", "image")
    manual.loc[sample.table.index].to_csv(folder / "manual.csv")
    return folder


def evaluate(folder, **options):
    chosen = EvaluationOptions(blank="zeros", **options)
    return evaluate_files(folder / "predictions.csv", folder / "labels.csv", chosen)


@pytest.fixture(scope="module")
def found(folder):
    return evaluate(folder, manual=folder / "manual.csv", sample=folder / "sample.csv")


def test_record_has_the_keys_that_are_promised(found):
    record = json.loads(json.dumps(metrics_record(found), allow_nan=False))
    row = record["findings"]["Edema"]
    assert row["audited_reference"] == record["audit"]["reference"] == "image"
    for name in ("auc_audited", "auc_doubly_robust", "auc_corrected", "sensitivity_audited"):
        low, high = row[f"{name}_ci"]
        assert low < row[name] < high
    assert row["auc_audited_positives"] < row["auc_audited_n"] == record["audit"]["studies"]
    assert row["auc_audited_refused"] is row["correction_withheld"] is None
    assert row["prevalence_rogan_gladen"] == pytest.approx(0.25, abs=0.06)
    assert record["audit"]["design"].startswith("stratified sample of 2400 studies")
    assert [file["path"][-10:] for file in record["inputs"][2:]] == ["manual.csv", "sample.csv"]


def test_audited_auc_is_right_where_that_of_labels_is_not(found):
    row = found.audit.findings["Edema"]
    true = 0.871  # of scores 1.6 apart
    assert row.auc_audited.low < true < row.auc_audited.high
    assert row.auc_doubly_robust.low < true < row.auc_doubly_robust.high
    assert row.auc_corrected.low < true < row.auc_corrected.high
    assert found.measured.findings["Edema"].auc_labels.high < true


def test_finding_without_a_review_says_so(found):
    row = metrics_record(found)["findings"]["Mass"]
    assert row["auc_audited"] is None
    assert row["auc_audited_refused"] == "the finding was not reviewed"


def test_thresholds_are_chosen_on_audited_validation_studies(found):
    assert found.threshold_source == "split val"
    assert found.thresholds["Edema"].on == "audited studies"
    assert found.thresholds["Mass"].on == "labels"


def test_without_a_review_nothing_is_new(folder, tmp_path):
    plain = evaluate(folder)
    record = metrics_record(plain)
    assert "audit" not in record
    assert "manual" not in record["options"]
    assert not [key for key in record["findings"]["Edema"] if "audited" in key]
    write_metrics(plain, tmp_path / "metrics.csv")
    assert "auc_audited" not in (tmp_path / "metrics.csv").read_text().splitlines()[0]
    assert "audited" not in evaluation_page(plain)


def test_csv_has_columns_of_the_audit(found, tmp_path):
    write_metrics(found, tmp_path / "metrics.csv")
    with (tmp_path / "metrics.csv").open() as file:
        rows = {row["finding"]: row for row in csv.DictReader(file) if row["subset"] == "all"}
    assert float(rows["Edema"]["auc_audited_lo"]) < float(rows["Edema"]["auc_audited"])
    assert rows["Mass"]["correction_withheld"] == "the finding was not reviewed"


def test_page_says_the_reference_and_what_each_number_means(found):
    page = evaluation_page(found)
    assert page.count("Reference: ") >= 2
    assert 'aria-labelledby="audit-caption"' in page
    for words in ("assumes nothing about the labels", "not reviewed", "mean AUC, audited (image)"):
        assert words in page


def test_report_reference_says_what_it_leaves_out(folder):
    manual = folder / "report.csv"
    manual.write_text((folder / "manual.csv").read_text().replace("image", "report"))
    record = metrics_record(evaluate(folder, manual=manual, reference="report"))
    assert "what the report misses of the image is left out" in record["audit"]["reference_note"]
    assert "--sample" in record["findings"]["Edema"]["doubly_robust_refused"]
    assert record["audit"]["design"] == "the audited studies only, unweighted"


def make_noise(folder, name, reference):
    reviews = read_reviews(folder / "manual.csv", reference=None, resolve=resolve)
    labels = pd.read_csv(folder / "labels.csv", index_col=0)
    sample = read_sample(folder / "sample.csv")
    table = observe(compare(labels, make_consensus(reviews), sample=sample), draws=500)
    path = folder / name
    write_observation(path, table, force=True)
    path.write_text(path.read_text().replace('"image"', f'"{reference}"'))
    return path


def test_observation_table_gives_the_rates(folder, found):
    noise = make_noise(folder, "noise.json", "image")
    manual, sample = folder / "manual.csv", folder / "sample.csv"
    again = evaluate(folder, manual=manual, sample=sample, noise=noise)
    assert again.audit.rates_from == "observation table"
    row, before = (some.audit.findings["Edema"] for some in (again, found))
    assert row.auc_corrected.value == pytest.approx(before.auc_corrected.value, abs=0.03)
    assert row.prevalence_rogan_gladen.value == pytest.approx(
        before.prevalence_rogan_gladen.value, abs=0.03
    )


def test_observation_table_of_the_other_reference_is_refused(folder):
    noise = make_noise(folder, "other.json", "report")
    with pytest.raises(
        InputError, match="errors against the report; expected those against the im"
    ):
        evaluate(folder, manual=folder / "manual.csv", noise=noise)


def test_option_of_an_audit_needs_the_review(folder):
    with pytest.raises(InputError, match="--sample: expected --manual with it"):
        evaluate(folder, sample=folder / "sample.csv")


def test_review_of_other_studies_is_refused(folder, tmp_path):
    manual = tmp_path / "manual.csv"
    manual.write_text("study_id,reference,Edema\nz,image,1\n")
    with pytest.raises(InputError, match="none of its 1 studies is evaluated"):
        evaluate(folder, manual=manual)


def test_command_prints_the_audit_first(cxr, folder, tmp_path):
    result = cxr(
        "evaluate", folder / "predictions.csv", folder / "labels.csv", "--blank", "zeros",
        "--manual", folder / "manual.csv", "--sample", folder / "sample.csv",
        "--reference", "image", "--out", tmp_path / "eval",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert result.stdout.index("AUC audited") < result.stdout.index("AUPRC")
    assert "reference image: truth is what the reviewers saw in the image" in result.stderr
