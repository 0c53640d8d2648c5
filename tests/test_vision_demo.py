"""The image part of the demo."""

from pathlib import Path

import pandas as pd
import pytest

from cxrlabel.errors import InputError
from cxrvision.demo import FINDINGS, run_image_demo


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that a small demo was written into."""
    out = tmp_path_factory.mktemp("demo")
    run_image_demo(out, studies=40, epochs=1)
    return out


def test_it_trains_on_both_views_and_evaluates_the_others(folder: Path) -> None:
    metrics = pd.read_csv(folder / "evaluation/metrics.csv")
    predicted = pd.read_csv(folder / "run/predictions.csv")

    assert set(predicted["views"]) == {"frontal", "lateral", "frontal+lateral"}
    assert set(metrics["finding"]) >= set(FINDINGS)
    assert (folder / "run/model_card.md").is_file()
    assert (folder / "evaluation/index.html").is_file()


def test_it_asks_before_it_replaces(folder: Path) -> None:
    before = (folder / "run/best.safetensors").read_bytes()

    with pytest.raises(InputError, match="--force"):
        run_image_demo(folder, studies=40, epochs=1)

    assert (folder / "run/best.safetensors").read_bytes() == before
