"""`cxr train` and `cxr predict` as they are called."""

import json
from pathlib import Path

import pandas as pd
import pytest
from drawn_studies import BACKBONE, FINDINGS, draw_studies
from vision_cli import run_cxr

from cxrvision.train import runs
from cxrvision.train.building import make_model
from cxrvision.train.config import TrainConfig, read_config, write_config


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with weights that were never trained."""
    folder = tmp_path_factory.mktemp("run")
    config = TrainConfig(studies="s.csv", labels="l.csv", backbone=BACKBONE, size=32)
    write_config(folder / runs.CONFIG, config)
    runs.write_record(folder, {"findings": FINDINGS})
    runs.write_weights(folder / runs.BEST, make_model(config, FINDINGS).state_dict())
    return folder


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    """Ten studies, all with both views but one, of which the second has a broken file."""
    manifest, _ = draw_studies(tmp_path / "data", studies=10, lateral=1.0)
    table = pd.read_csv(manifest)
    table[table["image_id"] != "s001_lateral"].to_csv(manifest, index=False)
    (tmp_path / "data/images/s001_frontal.png").write_bytes(b"no image")
    return manifest


def test_predict_writes_a_row_for_each_study(run: Path, studies: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.csv"

    done = run_cxr("predict", "--run", run, "--studies", studies, "-o", out, "--device", "cpu")

    assert done.exit_code == 0, done.output
    table = pd.read_csv(out)
    assert list(table.columns[:5]) == ["study_id", "patient_id", "split", "views", "view_position"]
    assert list(table.columns[5:]) == list(FINDINGS)
    assert table["study_id"].tolist() == [f"s{n:03}" for n in range(10) if n != 1]
    assert done.stderr.splitlines() == [
        "1 images that cannot be read: s001_frontal",
        "1 studies without a usable image: s001",
    ]
    assert done.stdout == f"predicted 9 studies -> {out}\n"


def test_predict_of_a_split_by_view_as_json(run: Path, studies: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.parquet"

    done = run_cxr(
        "predict", "--run", run, "--run", run, "--studies", studies, "-o", out, "--split", "val",
        "--per-view", "--device", "cpu", "--json",
    )  # fmt: skip

    assert json.loads(done.stdout) == {"without_image": [], "broken": []}
    counts = pd.read_parquet(out)["views"].value_counts()
    assert counts.to_dict() == {"frontal+lateral": 2, "frontal": 2, "lateral": 2}


def test_per_view_without_a_pair_is_one_row_a_study(run: Path, tmp_path: Path) -> None:
    manifest, _ = draw_studies(tmp_path / "data", studies=4, lateral=0.0)
    out = tmp_path / "p.csv"

    done = run_cxr(
        "predict", "--run", run, "--studies", manifest, "-o", out, "--per-view", "--device", "cpu"
    )

    assert done.exit_code == 0, done.output
    assert pd.read_csv(out)["views"].tolist() == ["frontal"] * 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-o", "p.txt"], "p.txt: unknown kind of table"),
        (["-o", "p.csv", "--split", "dev"], "no study of the split 'dev'"),
        (["-o", "p.csv", "--device", "tpu"], "--device: 'tpu'; expected one of auto, cpu, cuda"),
        (["-o", "p.csv", "--run", "nowhere"], "nowhere: no config.toml"),
    ],
)
def test_wrong_options_of_predict_are_one_line(
    run: Path,
    studies: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)

    done = run_cxr("predict", "--run", run, "--studies", studies, *options)

    assert done.exit_code == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "p.csv").exists()


def train(folder: Path, *options: object) -> list[object]:
    return [
        "train", "--studies", folder / "studies.csv", "--labels", folder / "labels.csv",
        "--backbone", BACKBONE, "--size", 32, "--epochs", 1, "--device", "cpu", *options,
    ]  # fmt: skip


def test_train_takes_its_labels_from_a_teacher(tmp_path: Path) -> None:
    _, labels = draw_studies(tmp_path / "data", studies=20)
    table = pd.read_csv(labels)
    table.assign(Edema=0.8, Nodule=0.1).to_csv(tmp_path / "teacher.csv", index=False)
    table.loc[::5, "Edema"] = -1
    table.to_csv(labels, index=False)
    teacher = ["--uncertain", "self-train", "--teacher", tmp_path / "teacher.csv"]

    done = run_cxr(*train(tmp_path / "data", *teacher, "--out", tmp_path / "run"))

    assert done.exit_code == 0, done.output
    assert read_config(tmp_path / "run/config.toml").teacher == str(tmp_path / "teacher.csv")
    assert done.stdout == f"trained 1 epochs, best epoch 1 -> {tmp_path / 'run'}\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ema", 1], "--ema: 1.0; expected 0 or more and less than 1"),
        (["--workers", -1], "--workers: -1; expected 0 or more"),
        (["--warmup", "nan"], "--warmup: nan; expected 0 or more"),
        (["--backbone", "resnet5o"], "resnet5o"),
        (["--loss", "bxe"], "--loss: 'bxe'; expected one of bce"),
        (["--uncertain", "multiclass", "--loss", "focal"], "expected 'bce'"),
        (["--batch-size", 1, "--devices", 2], "--batch-size: 1 studies for 2 processes"),
    ],
    ids=str,
)
def test_wrong_options_of_train_are_one_line_and_leave_no_run(
    tmp_path: Path, options: list[object], message: str
) -> None:
    draw_studies(tmp_path / "data", studies=12)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.toml").write_text("")
    (tmp_path / "run/best.safetensors").write_text("of an older run")

    done = run_cxr(*train(tmp_path / "data", *options, "--out", tmp_path / "run", "--force"))

    assert done.exit_code == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert (tmp_path / "run/best.safetensors").read_text() == "of an older run"
