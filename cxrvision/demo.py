"""The image side of the demo: a small dual-view model trained and evaluated on phantoms.

Phantoms are invented. The numbers show that the chain works, and say nothing about patients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cxrvision.data.cache import build_cache
from cxrvision.data.manifest import read_manifest
from cxrvision.evaluate.evaluation import EvaluationOptions, evaluate_files
from cxrvision.evaluate.folder import check_folder, write_evaluation
from cxrvision.evaluate.page import measure_text
from cxrvision.phantom import write_phantoms
from cxrvision.train.config import TrainConfig
from cxrvision.train.runs import PREDICTIONS, open_run
from cxrvision.train.training import check_folder as check_run
from cxrvision.train.training import run_training

if TYPE_CHECKING:
    from cxrvision.evaluate.evaluation import Evaluation
    from cxrvision.train.loop import Progress

FINDINGS: Final = ("Cardiomegaly", "Pleural Effusion", "Pneumothorax")
STUDIES: Final = 400
EPOCHS: Final = 8
SIZE: Final = 64


@dataclass(frozen=True, slots=True, eq=False)
class ImageDemo:
    """What the demo wrote."""

    run: Path
    evaluation: Path
    trained: int  # studies
    found: Evaluation

    @property
    def summary(self) -> str:
        """What came of it, in two lines."""
        measured = self.found.measured
        aucs = (
            f"{name} {measure_text(found.auc_labels)}" for name, found in measured.findings.items()
        )
        return (
            f"images: trained on {self.trained} phantom studies, frontal and lateral; AUC on "
            f"{measured.studies} others (phantoms say nothing about patients):\n  {', '.join(aucs)}"
        )


def run_image_demo(
    out: Path,
    *,
    studies: int = STUDIES,
    epochs: int = EPOCHS,
    force: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> ImageDemo:
    """Draw phantoms, train on both views, evaluate on the studies that were held out.

    Args:
        studies: phantoms to draw.

    Raises:
        InputError: a file of the folder exists and `force` is not set.
    """
    phantoms, run, evaluation = out / "phantoms", out / "run", out / "evaluation"
    check_folder(evaluation, force=force)
    config = TrainConfig(
        studies=str(phantoms / "studies.csv"),
        labels=str(phantoms / "labels.csv"),
        cache=str(phantoms / "cache"),
        findings=FINDINGS,
        backbone="resnet10t",
        size=SIZE,
        epochs=epochs,
        batch_size=16,
        lr=2e-3,
        device="cpu",
    )
    check_run(run, config, resume=False, force=force)
    write_phantoms(
        phantoms, studies=studies, size=SIZE, seed=1, prevalence=0.3, missing_lateral=0.3,
        force=force,
    )  # fmt: skip
    build_cache(read_manifest(phantoms / "studies.csv"), phantoms / "cache", size=SIZE, force=force)
    run_training(config, run, force=force, progress=progress)
    found = evaluate_files(run / PREDICTIONS, phantoms / "labels.csv", EvaluationOptions())
    write_evaluation(found, evaluation, force=force)
    return ImageDemo(run, evaluation, open_run(run).record["studies"]["train"], found)
