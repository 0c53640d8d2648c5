from pathlib import Path

import numpy as np
import pytest

from cxrlabel.errors import InputError
from cxrvision.evaluate.comparing import compare_files, measure_differences


def delong_by_pairs(a, b, truth):
    """The difference and its variance from the full tables of pairs (DeLong et al. 1988)."""
    parts = []
    for scores in (a, b):
        kernel = (scores[truth][:, None] > scores[~truth]) + 0.5 * (
            scores[truth][:, None] == scores[~truth]
        )
        parts.append((kernel.mean(1), kernel.mean(0)))
    (x, y), (u, v) = parts
    variance = (x - u).var(ddof=1) / truth.sum() + (y - v).var(ddof=1) / (~truth).sum()
    return x.mean() - u.mean(), variance


def compare_two(a, b, truth, clusters=None):
    who = np.arange(len(truth)) if clusters is None else clusters
    rows, _ = measure_differences(
        a[:, None], b[:, None], truth[:, None].astype(float), who, ["Edema"]
    )
    return rows["Edema"]


def draw(rng, positives, negatives, tied):
    truth = np.arange(positives + negatives) < positives
    shared = rng.standard_normal(len(truth)) + 1.2 * truth
    a, b = shared + 0.8 * rng.standard_normal((2, len(truth)))
    return (np.round(a), np.round(b), truth) if tied else (a, b, truth)


def test_difference_is_that_of_delong():
    rng = np.random.default_rng(0)
    a, b, truth = draw(rng, 60, 200, tied=True)
    value, variance = delong_by_pairs(a, b, truth)
    found = compare_two(a, b, truth)
    assert found.difference.value == pytest.approx(value)
    half = (found.difference.high - found.difference.low) / 2
    assert half == pytest.approx(1.98 * np.sqrt(variance), rel=0.01)


@pytest.mark.parametrize(
    ("positives", "negatives", "tied"),
    [(10, 300, False), (20, 100, True), (60, 300, False), (60, 300, True)],
)
def test_paired_test_keeps_its_level(positives, negatives, tied):
    rng = np.random.default_rng(0)
    rejected = sum(
        compare_two(*draw(rng, positives, negatives, tied)).p < 0.05 for _ in range(1000)
    )
    assert 0.033 <= rejected / 1000 <= 0.067


def test_paired_test_keeps_its_level_with_patients():
    rng = np.random.default_rng(0)
    rejected = {"patients": 0, "studies": 0}
    for run in range(1000):
        who = np.repeat(np.arange(80), 4)
        truth = np.repeat(rng.random(80) < 0.4, 4)
        a, b = np.repeat(rng.standard_normal((2, 80)), 4, axis=1)  # what a patient looks like
        noise = 0.4 * rng.standard_normal((2, 320))
        for name, clusters in (("patients", who), ("studies", None)):
            if name == "patients" or run < 200:
                found = compare_two(a + truth + noise[0], b + truth + noise[1], truth, clusters)
                rejected[name] += found.p < 0.05
    assert 0.033 <= rejected["patients"] / 1000 <= 0.067
    assert rejected["studies"] / 200 > 0.15


def test_equal_models_do_not_differ():
    a, _, truth = draw(np.random.default_rng(0), 20, 50, tied=False)
    found = compare_two(a, a, truth)
    assert (found.difference.value, found.p) == (0, 1)


def test_macro_difference_is_the_mean_and_p_values_are_adjusted():
    rng = np.random.default_rng(0)
    pairs = [draw(rng, 30, 100, tied=False) for _ in range(3)]
    a, b = (np.stack([pair[i] for pair in pairs], axis=1) for i in (0, 1))
    truth = np.stack([pair[2] for pair in pairs], axis=1).astype(float)
    rows, macro = measure_differences(a, b, truth, np.arange(130), ["x", "y", "z"])
    values = [row.difference.value for row in rows.values()]
    assert macro.difference.value == pytest.approx(np.mean(values))
    smallest = min(rows.values(), key=lambda row: row.p)
    assert smallest.p_holm == pytest.approx(min(3 * smallest.p, 1))


@pytest.fixture
def files(tmp_path):
    """A frontal and a lateral model that each see a part, two frontal ones, and a joint one."""
    rng = np.random.default_rng(0)
    n = 400
    truth = rng.random(n) < 0.3
    front, side = 1.0 * truth + rng.standard_normal((2, n))

    def write(name, scores, first=0):
        probs = 1 / (1 + np.exp(-scores))
        rows = [f"s{i},p{i // 2},{probs[i]:.6f}" for i in range(first, n)]
        path = tmp_path / name / "predictions.csv"
        path.parent.mkdir()
        path.write_text("\n".join(["study_id,patient_id,Edema", *rows]))
        return path.parent

    (tmp_path / "labels.csv").write_text(
        "\n".join(["study_id,Edema", *(f"s{i},{int(t)}" for i, t in enumerate(truth))])
    )
    noise = 0.2 * rng.standard_normal((2, n))
    return {
        "labels": tmp_path / "labels.csv",
        "both": write("both", 0.7 * (front + side)),
        "frontal": write("frontal", front),
        "again": write("again", front + noise[0]),
        "lateral": write("lateral", side, first=10),
    }


def test_baselines_expose_a_joint_model_that_only_averages(files):
    found = compare_files(
        [files["both"], files["frontal"]],
        files["labels"],
        average=(files["frontal"], files["lateral"]),
        ensemble=(files["frontal"], files["again"]),
    )
    gains = {row.reference: row.findings["Edema"] for row in found.comparisons}
    assert gains["frontal"].difference.low > 0
    assert gains["ensemble of frontal and again"].difference.low > 0
    assert gains["average of frontal and lateral"].p_holm > 0.05


def test_only_studies_that_all_have_are_compared(files):
    found = compare_files([files["both"], files["lateral"]], files["labels"])
    assert found.studies == 390
    assert found.left_out == {"both": 10, "lateral": 0}
    assert found.comparisons[0].patients == 195


def test_one_model_alone_is_refused(files):
    with pytest.raises(InputError, match="expected two models or more"):
        compare_files([files["both"]], files["labels"])


def test_models_without_a_common_study_are_refused(files, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("study_id,Edema\ns9999,.5\n")
    with pytest.raises(InputError, match="no study that all of them have"):
        compare_files([files["both"], other], files["labels"])


def test_studies_with_both_views_are_shown_apart(files):
    path = Path(files["both"]) / "predictions.csv"
    head, *rows = path.read_text().splitlines()
    views = [f"{row},{'frontal' if i % 4 else 'frontal+lateral'}" for i, row in enumerate(rows)]
    path.write_text("\n".join([f"{head},views", *views]))
    found = compare_files([files["both"], files["frontal"]], files["labels"])
    assert [(row.subset, row.studies) for row in found.comparisons] == [
        ("all", 400),
        ("frontal+lateral", 100),
    ]
