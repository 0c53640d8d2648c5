"""Sweeps over label error: methods, audits, cells, and a folder that survives being killed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from drawn_studies import BACKBONE, FINDINGS, draw_studies
from vision_cli import run_cxr

from cxrlabel.errors import InputError
from cxrvision.data.cache import build_cache
from cxrvision.data.manifest import read_manifest
from cxrvision.evaluate.estimates import Measure
from cxrvision.noise.simulation import draw_labels
from cxrvision.noise.sweep.auditing import simulate_audit
from cxrvision.noise.sweep.head import fit_head, predict_head
from cxrvision.noise.sweep.material import read_material
from cxrvision.noise.sweep.methods import Labeled, learn
from cxrvision.noise.sweep.page import verdicts
from cxrvision.noise.sweep.running import run_sweep
from cxrvision.noise.sweep.settings import METHODS, Cell, SweepSettings
from cxrvision.noise.sweep.summary import Summary, mean_measure, student

ROOT = Path(__file__).parent.parent
OUTPUTS = ("sweep.csv", "summary.csv", "index.html")
TABLE = np.array([[0.5, 0.1, 0.2, 0.2], [0.05, 0.05, 0.4, 0.5]])  # P(state | truth)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# what is learned


class Bench:
    """Studies with features, truth and labels by `TABLE`."""

    def __init__(self, n: int = 4_000) -> None:
        rng = np.random.default_rng(5)
        self.features = rng.normal(size=(n, 6))
        slopes = np.array([2.0, -1.0, 0.5, 0, 0, 0])
        p = 1 / (1 + np.exp(1.5 - self.features @ slopes))
        ids = pd.Index([f"s{number:05}" for number in range(n)], name="study_id", dtype=object)
        self.truth = pd.DataFrame({"Edema": (rng.random(n) < p).astype(float)}, index=ids)
        self.labels = draw_labels(self.truth, {"Edema": TABLE}, seed=2)
        patients = pd.Series(ids, index=ids)
        self.audit = simulate_audit(self.labels, self.truth, patients, n=1_000, seed=3)
        self.labeled = Labeled(("Edema",), self.labels.to_numpy(), self.truth.to_numpy())

    def probs(self, method: str) -> np.ndarray:
        learning = learn(method, self.labeled, self.audit)
        return predict_head(self.features, *fit_head(self.features, learning, penalty=1.0))[:, 0]


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize("method", ["soft", "forward", "backward", "forward-truth", "clean-subset"])
def test_corrections_find_the_prevalence_that_labels_hide(bench: Bench, method: str) -> None:
    truth = bench.truth["Edema"].mean()

    assert bench.probs(method).mean() == pytest.approx(truth, abs=0.03)
    assert abs(bench.probs("none").mean() - truth) > 0.05


@pytest.mark.parametrize("method", ["forward", "backward", "forward-truth"])
def test_corrections_find_the_probabilities_of_clean_labels(bench: Bench, method: str) -> None:
    clean = bench.probs("clean")

    near, far = (np.abs(bench.probs(name) - clean).mean() for name in (method, "none"))
    assert near < 0.035
    assert far > 0.08


def test_audited_truths_stand_in_the_place_of_labels(bench: Bench) -> None:
    seen = bench.audit.weights > 0
    learning = learn("forward-truth", bench.labeled, bench.audit)

    assert seen.sum() == 1_000
    assert np.array_equal(learning.values[seen] > 0, bench.labeled.truth[seen] == 1)
    assert np.array_equal(
        learning.values[~seen], learn("forward", bench.labeled, bench.audit).values[~seen]
    )


def test_the_clean_subset_is_weighed_by_the_design(bench: Bench) -> None:
    learning = learn("clean-subset", bench.labeled, bench.audit)

    weights = learning.mask[:, 0]
    assert (weights > 0).sum() == 1_000
    assert weights.sum() == pytest.approx(1_000)
    assert np.average(bench.labels["Edema"] == 1, weights=weights) == pytest.approx(
        (bench.labels["Edema"] == 1).mean(), abs=1e-9
    )  # a stratum by the design, so exact


def test_an_audit_with_few_events_is_refused_and_the_policy_stands() -> None:
    truth = Bench(400).truth * 0.0
    truth.iloc[:3] = 1.0
    labels = draw_labels(truth, {"Edema": TABLE}, seed=2)
    audit = simulate_audit(labels, truth, pd.Series(truth.index, index=truth.index), n=50, seed=1)
    labeled = Labeled(("Edema",), labels.to_numpy(), truth.to_numpy())

    refused, plain = learn("forward", labeled, audit), learn("none", labeled)

    assert refused.refused.tolist() == [True]
    assert np.array_equal(refused.values, plain.values)
    assert np.array_equal(refused.mask, plain.mask)
    logits, values, mask = (torch.zeros(400, 1), *map(torch.from_numpy, (plain.values, plain.mask)))
    assert torch.equal(refused.loss(logits, values, mask), plain.loss(logits, values, mask))


def test_student_is_that_of_the_tables() -> None:
    assert student(4) == 2.7764
    assert student(25) == pytest.approx(2.0595, abs=2e-4)
    assert student(1_000) == pytest.approx(1.9623, abs=1e-4)
    found = mean_measure([1.0, 2.0, 3.0, float("nan")])
    assert found.value == 2
    assert found.high - 2 == pytest.approx(4.3027 / np.sqrt(3))


def summary(level: tuple[float, float], method: str, gain: Measure, audit: int = 0) -> Summary:
    unknown = Measure(float("nan"), float("nan"), float("nan"))
    auc = Measure(0.8 + gain.value, 0.8, 0.9)
    return Summary(*level, audit, method, "mean", 3, 0.0, auc, auc, auc, auc, gain, unknown)


def test_sentences_say_where_a_method_helps_and_where_none_does() -> None:
    low, high = (0.6, 0.8), (0.95, 0.98)
    found = verdicts(
        [
            summary(low, "none", Measure(0, 0, 0)),
            summary(low, "forward", Measure(0.03, 0.01, 0.05), audit=100),
            summary(high, "none", Measure(0, 0, 0)),
            summary(high, "forward", Measure(0.001, -0.002, 0.004), audit=100),
        ]
    )

    assert found[0] == (
        "AUC: at 1 of 2 levels of noise some method is better than labels as they are, by an "
        "interval over the repeats that excludes 0; none is at sensitivity 0.95 and specificity "
        "0.98. The largest gain is 0.030, of forward with 100 audited studies at sensitivity 0.6 "
        "and specificity 0.8."
    )
    assert found[1].startswith("Brier score: one repeat")


# the folder


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    draw_studies(folder, studies=120)
    build_cache(read_manifest(folder / "studies.csv"), folder / "cache", size=32)
    return folder


@pytest.fixture(scope="module")
def settings(drawn: Path) -> SweepSettings:
    return SweepSettings(
        studies=str(drawn / "studies.csv"),
        labels=str(drawn / "labels.csv"),
        cache=str(drawn / "cache"),
        size=32,
        sensitivities=(0.6, 0.9),
        specificities=(0.8,),
        audits=(20, 40),
        dependence=0.3,
        repeats=3,
        epochs=1,
        backbone=BACKBONE,
        encoder_share=0.3,
    )


@pytest.fixture(scope="module")
def swept(settings: SweepSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unbroken sweep by one process."""
    out = tmp_path_factory.mktemp("swept") / "sweep"
    run_sweep(settings, out)
    return out


def contents(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in OUTPUTS}


def begun(swept: Path, out: Path) -> Path:
    """A copy of a sweep before its first cell."""
    out.mkdir()
    for name in ("sweep.json", "features.npz"):
        shutil.copy(swept / name, out / name)
    return out


def command(settings: SweepSettings, out: Path) -> list[object]:
    return [
        "noise", "sweep", "--out", out, "--studies", settings.studies,
        "--labels", settings.labels, "--cache", settings.cache, "--size", 32,
        "--sensitivity", "0.6,0.9", "--specificity", 0.8, "--audit", "20,40",
        "--dependence", 0.3, "--repeats", 3, "--epochs", 1, "--backbone", BACKBONE,
        "--encoder-share", 0.3,
    ]  # fmt: skip


def test_a_sweep_has_a_row_for_each_cell_method_and_finding(swept: Path) -> None:
    table = pd.read_csv(swept / "sweep.csv")

    audited = {"soft", "forward", "backward", "clean-subset", "forward-truth"}
    assert set(table["method"]) == set(METHODS)
    assert set(table["finding"]) == {*FINDINGS, "mean"}
    counts = table.groupby(["method", "audit"]).size()
    for (method, audit), count in counts.items():
        levels = 1 if method == "clean" else 2
        assert (audit > 0) == (method in audited)
        assert count == levels * 3 * (len(FINDINGS) + 1)
    assert table["auc"].between(0, 1).all()


def test_the_mean_is_that_of_the_findings_and_the_summary_that_of_repeats(swept: Path) -> None:
    table, summary = (pd.read_csv(swept / name) for name in ("sweep.csv", "summary.csv"))
    keys = ["sensitivity", "specificity", "audit", "method", "repeat"]

    single = table[table["finding"] != "mean"].groupby(keys, dropna=False)["auc"].mean()
    means = table[table["finding"] == "mean"].set_index(keys)["auc"]
    np.testing.assert_allclose(single.sort_index(), means.sort_index())
    own = table[(table["finding"] == "mean") & (table["method"] == "none")]
    by_level = own.groupby("sensitivity")["auc"].mean()
    rows = summary[(summary["finding"] == "mean") & (summary["method"] == "none")]
    np.testing.assert_allclose(rows["auc"], by_level, atol=1e-6)
    assert (rows["auc_gain"] == 0).all()


def test_the_page_loads_nothing(swept: Path) -> None:
    page = (swept / "index.html").read_text(encoding="utf-8")

    assert "<script" not in page and "src=" not in page
    assert page.count("<svg") == 2
    assert "Pleural Effusion" not in page and "Edema" in page


def test_parts_share_no_patient_and_the_official_test_is_kept(swept: Path, drawn: Path) -> None:
    table = read_manifest(drawn / "studies.csv").table
    encoder = set(read_manifest(swept / "encoder" / "studies.csv").table["patient_id"])
    material = read_material(swept / "features.npz")

    tested = table[table["split"] == "test"]
    assert set(material.test_ids) == set(tested["study_id"])
    pool = set(material.patients)
    assert not encoder & pool and not (encoder | pool) & set(tested["patient_id"])
    assert encoder | pool | set(tested["patient_id"]) == set(table["patient_id"])


def test_a_killed_sweep_goes_on_to_the_same_bytes(
    settings: SweepSettings, swept: Path, tmp_path: Path
) -> None:
    out = begun(swept, tmp_path / "sweep")
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "cli.py"), *map(str, command(settings, out))],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    cells = out / "cells"
    while not list(cells.glob("s*.csv")) and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = len(list(cells.glob("[!.]*.csv")))
    assert 0 < before < 9
    assert not (out / "sweep.csv").exists()

    done = run_sweep(settings, out)

    assert (done.done_before, done.cells) == (before, 9)
    assert contents(out) == contents(swept)
    assert not list(cells.glob(".*"))


def test_workers_change_nothing(settings: SweepSettings, swept: Path, tmp_path: Path) -> None:
    out = begun(swept, tmp_path / "sweep")

    run_sweep(settings, out, workers=2)

    assert contents(out) == contents(swept)


def test_the_command_adds_repeats_to_a_finished_sweep(
    settings: SweepSettings, swept: Path, tmp_path: Path
) -> None:
    out = tmp_path / "sweep"
    shutil.copytree(swept, out)
    arguments = command(settings, out)
    arguments[arguments.index("--repeats") + 1] = 4

    done = run_cxr(*arguments)

    assert done.exit_code == 0, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("swept 12 cells (9 were there): ")
    assert last.endswith(f"tested -> {out}/index.html, sweep.csv, summary.csv")
    old, new = (pd.read_csv(folder / "sweep.csv") for folder in (swept, out))
    pd.testing.assert_frame_equal(new[new["repeat"] < 3].reset_index(drop=True), old)


def test_other_settings_need_force(settings: SweepSettings, swept: Path, tmp_path: Path) -> None:
    out = begun(swept, tmp_path / "sweep")
    other = replace(settings, penalty=3.0)

    with pytest.raises(InputError, match=r"another penalty.*--force"):
        run_sweep(other, out)

    assert (out / "features.npz").exists()


def test_whole_networks_can_be_trained_in_every_cell(
    settings: SweepSettings, tmp_path: Path
) -> None:
    whole = replace(
        settings, train_encoder=True, sensitivities=(0.9,), audits=(40,), repeats=1,
        methods=("none", "forward", "clean-subset"),
    )  # fmt: skip
    out = tmp_path / "sweep"

    run_sweep(whole, out)

    table = pd.read_csv(out / "sweep.csv")
    assert set(table["method"]) == {"none", "forward", "clean-subset"}
    assert table["auc"].notna().all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sensitivities": (1.2,)}, "--sensitivity 1.2"),
        ({"audits": (1,)}, "--audit: 1"),
        ({"audits": ()}, "--audit: expected one or more"),
        ({"methods": ("none", "magic")}, "'magic'"),
        ({"methods": ("forward",)}, "'none' among them"),
        ({"uncertain_positive": 0.5, "sensitivities": (0.6,)}, "sum of at most 1"),
        ({"dependence": 1.0}, "--dependence"),
        ({"studies": "studies.csv"}, "--labels"),
        ({"labels": "truth.csv"}, "a number asks for phantoms"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SweepSettings(**changes)  # type: ignore[arg-type]


def test_an_audit_of_more_studies_than_there_are_is_refused(
    settings: SweepSettings, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"--audit: 500; there are \d+ studies to learn from"):
        run_sweep(replace(settings, audits=(500,)), tmp_path / "sweep")


def test_a_folder_of_something_else_is_refused(settings: SweepSettings, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")

    with pytest.raises(InputError, match="holds no sweep"):
        run_sweep(settings, tmp_path)


def test_cells_come_with_the_worst_noise_first() -> None:
    cells = SweepSettings(repeats=2, sensitivities=(0.9, 0.6), specificities=(0.8,)).cells()

    assert cells[:3] == [Cell(None, 0), Cell(None, 1), Cell((0.6, 0.8), 0)]
    assert [cell.name for cell in cells[-2:]] == ["s0.9_c0.8_r0", "s0.9_c0.8_r1"]
