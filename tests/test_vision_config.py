"""The config file of a run."""

from pathlib import Path

import pytest

from cxrlabel.errors import InputError
from cxrvision.train.config import (
    TrainConfig,
    choose_config,
    make_config,
    read_config,
    write_config,
)

FULL = TrainConfig(
    studies="d/studies.csv",
    labels='d/lab"els\\ü.csv',
    findings=("Edema", "Pleural Effusion"),
    policies=("Edema=ones",),
    lr=3e-5,
    share_encoder=True,
    seed=7,
)


def test_config_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_config(tmp_path / "config.toml", FULL)

    assert read_config(tmp_path / "config.toml") == FULL


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lrr": 1}, "unknown setting 'lrr'"),
        ({"lr": "fast"}, "lr: 'fast'; expected float"),
        ({"epochs": True}, "epochs: True; expected int"),
        ({"views": "frontal"}, "views: 'frontal'; expected a list"),
        ({"views": ["oblique"]}, "--views: 'oblique'; expected frontal, lateral"),
        ({"views": []}, "--views: ''"),
        ({"device": "tpu"}, "--device: 'tpu'; expected one of auto, cpu, cuda"),
        ({"batch_size": 0}, "--batch-size: 0; expected 1 or more"),
        ({"lr": 0}, "--lr: 0.0; expected a number above 0"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        make_config(settings, place="options")

    assert message in str(caught.value)


@pytest.mark.parametrize(("content", "message"), [("lr = ", "not TOML"), (None, "cannot be read")])
def test_bad_files_are_named(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "config.toml"
    if content is not None:
        path.write_text(content)

    with pytest.raises(InputError, match=message):
        read_config(path)


def test_options_go_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    write_config(tmp_path / "config.toml", FULL)

    config = choose_config({"seed": 9}, tmp_path / "config.toml", None)

    assert (config.seed, config.lr, config.epochs) == (9, 3e-5, TrainConfig().epochs)


def test_a_resumed_run_keeps_its_settings(tmp_path: Path) -> None:
    write_config(tmp_path / "config.toml", FULL)

    assert choose_config({}, None, tmp_path) == FULL


@pytest.mark.parametrize("name", ["studies", "labels"])
def test_inputs_are_needed(name: str) -> None:
    other = {"studies": "a", "labels": "b"}
    del other[name]

    with pytest.raises(InputError, match=f"--{name}: expected a file"):
        choose_config(other, None, None)
