import csv
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from cxrlabel.errors import InputError
from cxrlabel.findings import resolve
from cxrlabel.tables import read_labels
from cxrvision.evaluate.confounding import measure_confounding
from cxrvision.evaluate.evaluation import EvaluationOptions, evaluate_files
from cxrvision.evaluate.records import metrics_record, write_metrics

NIH = Path(os.environ.get("CXR_DATA", Path(__file__).parents[2] / "shared/data")) / "nih"
PREDICTIONS = NIH / "chexnet_predictions.csv.gz"
ENTRIES = NIH / "Data_Entry_2017_v2020.csv.gz"


def make_files(folder, n=240, seed=0):
    """A third of the studies is of the split val; half have both views and rows for each alone."""
    rng = np.random.default_rng(seed)
    predictions = ["study_id,patient_id,split,views,view_position,Edema,Mass"]
    labels = ["study_id,site,Edema,Mass"]
    for i in range(n):
        truth = rng.random(2) < 0.4
        split = "val" if i % 3 == 0 else "test"
        position = rng.choice(["PA", "AP"], p=[0.7, 0.3] if truth[0] else [0.3, 0.7])
        both = i % 2 == 0
        for views in ("frontal+lateral", "frontal", "lateral") if both else ("frontal",):
            strength = 2.5 if views == "frontal+lateral" else 1.2
            cells = 1 / (1 + np.exp(-(strength * (truth - 0.5) + rng.standard_normal(2))))
            probs = ",".join(f"{p:.5f}" for p in cells)
            predictions.append(f"s{i:03},p{i // 2},{split},{views},{position},{probs}")
        labels.append(f"s{i:03},{'north' if i < 120 else 'south'},{truth[0]:d},{truth[1]:d}")
    paths = folder / "predictions.csv", folder / "labels.csv"
    for path, lines in zip(paths, (predictions, labels), strict=True):
        path.write_text("\n".join(lines) + "\n")
    return paths


@pytest.fixture
def files(tmp_path):
    return make_files(tmp_path)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return evaluate_files(*make_files(tmp_path_factory.mktemp("evaluation")))


def test_test_split_is_evaluated_with_all_views(found):
    assert (found.split, found.measured.studies) == ("test", 160)
    assert found.cases.known["views"].value_counts().to_dict() == {
        "frontal+lateral": 80,
        "frontal": 80,
    }


def test_thresholds_come_from_the_validation_split(found):
    assert found.threshold_source == "split val"
    assert found.thresholds["Edema"].positives < found.measured.findings["Edema"].positives


@pytest.mark.parametrize("blank", ["ignore", "zeros"])
def test_studies_of_reports_that_were_not_labeled_do_not_count(files, blank):
    predictions, labels = files
    head, *lines = labels.read_text().splitlines()
    silent = {f"s{i:03}": "empty" if i < 20 else "too long" for i in range(30)}  # 20 of 30 in test
    rows = [line.split(",") for line in lines]
    said = [
        f"{study},{site},,,{silent[study]}"
        if study in silent
        else f"{study},{site},{e},{m},labeled"
        for study, site, e, m in rows
    ]
    labels.write_text("\n".join([f"{head},status", *said, "s999,north,,,empty"]) + "\n")

    found = evaluate_files(predictions, labels, EvaluationOptions(blank=blank))

    assert found.measured.studies == 140
    assert found.measured.findings["Edema"].n == 140
    assert (found.only_in_predictions, found.only_in_labels) == (0, 0)
    assert found.notes[:2] == (
        "left out: 20 studies whose report is 'empty'",
        "left out: 10 studies whose report is 'too long'",
    )


def test_studies_are_shown_by_what_is_known_of_them(found):
    parts = {(part.by, part.value): part.measured.studies for part in found.subsets}
    assert {by for by, _ in parts} == {"views", "view_position", "site"}
    assert parts["view_position", "PA"] + parts["view_position", "AP"] == 160
    assert parts["site", "north"] == 80


def test_paired_views_are_the_same_studies(found):
    measured = found.views.measured
    assert list(measured) == ["frontal+lateral", "frontal", "lateral"]
    assert {some.studies for some in measured.values()} == {80}
    gains = {row.reference: row.macro.difference for row in found.views.differences}
    assert gains["frontal"].low > 0
    assert gains["lateral"].low > 0


def test_view_position_alone_tells_what_it_was_made_to_tell(found):
    row = next(row for row in found.confounding if row.by == "view_position")
    assert row.findings["Edema"].alone.low > 0.55
    assert row.findings["Mass"].alone.value < 0.65


def test_finding_that_follows_the_site_has_no_auc_within(found):
    """A model that knows the site alone: all of its AUC is between sites."""
    cases = found.cases
    north = (cases.known["site"] == "north").to_numpy()
    rng = np.random.default_rng(0)
    truth = (rng.random(160) < np.where(north, 0.6, 0.1)).astype(float)[:, None]
    probs = (0.5 * north + 0.1 * rng.random(160))[:, None]
    model = replace(cases, findings=("Edema",), truth=truth, probs=probs)
    row = measure_confounding(model, ["site"])[0].findings["Edema"]
    assert row.model.value > 0.7
    assert row.alone.value == pytest.approx(row.model.value, abs=0.08)
    assert row.within.low < 0.5 < row.within.high


def test_record_has_the_keys_that_are_promised(found):
    record = json.loads(json.dumps(metrics_record(found), allow_nan=False))
    row = record["findings"]["Edema"]
    assert row["n"] == 160
    low, high = row["auc_labels_ci"]
    assert low < row["auc_labels"] < high
    assert row["threshold_rule"] == "estimate"  # of 32 positives
    assert record["macro"]["auc_labels"] == pytest.approx(
        found.measured.averages.macro_auc_labels[0]
    )
    assert record["micro"]["n"] == 320
    assert record["subsets"]["view_position"]["PA"]["findings"]["Edema"]["n"] > 0
    assert record["views"]["measured"]["lateral"]["n"] == 80
    assert record["studies"]["patients"] == found.cases.number_of_patients


def test_csv_has_a_row_for_each_finding_and_subset(found, tmp_path):
    write_metrics(found, tmp_path / "metrics.csv")
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    keys = [(row["finding"], row["by"], row["subset"]) for row in rows]
    assert len(set(keys)) == len(keys) == 2 * (1 + 2 + 2 + 2 + 3)
    assert keys[0] == ("Edema", "", "all")
    assert float(rows[0]["auc_labels_lo"]) < float(rows[0]["auc_labels"])


def test_thresholds_of_an_earlier_evaluation_are_kept(files, found, tmp_path):
    earlier = tmp_path / "metrics.json"
    earlier.write_text(json.dumps(metrics_record(found)))
    again = evaluate_files(*files, EvaluationOptions(split="all", threshold_from=earlier))
    assert again.threshold_source == "metrics.json"
    assert again.thresholds["Mass"].value == found.thresholds["Mass"].value


def test_file_without_thresholds_is_refused(files, tmp_path):
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(InputError, match=r"no thresholds; expected a metrics\.json"):
        evaluate_files(*files, EvaluationOptions(threshold_from=tmp_path / "x.json"))


def test_thresholds_are_chosen_on_another_table(files, tmp_path):
    model = make_files_of_validation(files, tmp_path)
    found = evaluate_files(*files, EvaluationOptions(threshold_from=model))
    assert found.threshold_source == "validation.csv, split val"
    assert found.thresholds == evaluate_files(*files).thresholds


def make_files_of_validation(files, folder):
    head, *rows = files[0].read_text().splitlines()
    path = folder / "validation.csv"
    path.write_text("\n".join([head, *(row for row in rows if ",val," in row)]))
    return path


def test_evaluated_studies_choose_the_threshold_for_want_of_others(files):
    found = evaluate_files(*files, EvaluationOptions(split="all"))
    assert found.threshold_source == "the evaluated studies"


def test_column_makes_subsets_on_request(files):
    text = files[1].read_text().replace("site", "ward")
    files[1].write_text(text)
    found = evaluate_files(*files, EvaluationOptions(by=("ward",)))
    assert {part.value for part in found.subsets if part.by == "ward"} == {"north", "south"}
    assert any(row.by == "ward" for row in found.confounding)


def test_column_that_is_not_there_is_refused(files):
    with pytest.raises(InputError, match="no column 'ward', which --by names"):
        evaluate_files(*files, EvaluationOptions(by=("ward",)))


def test_wanted_sensitivity_outside_its_range_is_refused(files):
    with pytest.raises(InputError, match="--target-sensitivity: 90; expected between 0 and 1"):
        evaluate_files(*files, EvaluationOptions(target_sensitivity=90))


@pytest.mark.skipif(not PREDICTIONS.exists(), reason="real data is not here")
def test_real_predictions_give_what_scikit_learn_gives():
    options = EvaluationOptions(id_column="Image Index", patient="Patient ID")
    found = evaluate_files(PREDICTIONS, ENTRIES, options)
    labels = read_labels(ENTRIES, id_column="Image Index", resolve=resolve).table
    truth = labels.loc[list(found.cases.ids)]
    assert found.measured.studies == 10_864
    assert len(found.cases.findings) == 14
    for place, name in enumerate(found.cases.findings):
        row = found.measured.findings[name]
        y, p = truth[name].to_numpy(), found.cases.probs[:, place]
        assert row.n == 10_864
        assert row.auc_labels.value == pytest.approx(roc_auc_score(y, p), abs=1e-12)
        assert row.auprc.value == pytest.approx(average_precision_score(y, p), abs=1e-12)
    assert found.measured.patients == 3151
