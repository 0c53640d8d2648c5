"""The chain: draw phantoms with reports; train without and with the label error; evaluate both.

Between the two halves the reports are labeled and audited (`cxrlabel.demo`), which leaves
`labels.csv`, `sample.csv`, `manual.csv` and `audit/noise.json` in the folder.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cxrlabel.writers import atomic_path, check_target
from cxrvision.data.cache import build_cache
from cxrvision.data.manifest import read_manifest
from cxrvision.phantom import write_phantoms

if TYPE_CHECKING:
    from cxrvision.evaluate.evaluation import Evaluation
    from cxrvision.phantom.files import PhantomSet
    from cxrvision.train.config import TrainConfig
    from cxrvision.train.loop import Progress

FINDINGS: Final = ("Cardiomegaly", "Edema", "Atelectasis", "Pneumothorax", "Pleural Effusion")
SHOWN: Final = ("No Finding", *FINDINGS, "Support Devices")  # what phantoms may have
PREVALENCE: Final = 0.25
STUDIES: Final = 800
REVIEWED: Final = 200  # studies whose images are looked at
STRENGTH: Final = 1.5  # of what is drawn, so that a small network finds it in a minute
EPOCHS: Final = 12
SIZE: Final = 64
SEED: Final = 1

PHANTOMS: Final = "phantoms"
PAGE: Final = "index.html"


@dataclass(frozen=True, slots=True)
class Way:
    """One way of training."""

    name: str
    method: str  # of `--noise-method`
    run: str  # its folder
    evaluation: str  # the folder of its evaluation


WAYS: Final = (
    Way("labels taken as they are", "none", "run", "evaluation"),
    Way("label error in the loss", "forward", "run_noise", "evaluation_noise"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A trained model with what was found of it on the test studies."""

    way: Way
    trained: int  # studies
    found: Evaluation  # against labels and audited studies, as users have them
    truth: Evaluation  # against the truth, which only phantoms have


@dataclass(frozen=True, slots=True, eq=False)
class ImageDemo:
    """What the image half wrote."""

    page: Path
    models: tuple[Model, ...]

    @property
    def summary(self) -> str:
        """What came of it, a line for each model."""
        first = self.models[0]
        lines = [
            f"images: trained on {first.trained} phantom studies, frontal and lateral; on "
            f"{first.truth.measured.studies} others (phantoms say nothing about patients):"
        ]
        for model in self.models:
            auc = model.truth.measured.averages.macro_auc_labels.value
            lines.append(
                f"  {model.way.name}: mean AUC {auc:.3f} against the truth; says "
                f"{predicted(model):.1%} positive on average, true are {prevalence(model):.1%}"
            )
        return "\n".join(lines)


def predicted(model: Model) -> float:
    """The mean probability over test studies and findings."""
    return float(model.truth.cases.probs.mean())


def prevalence(model: Model) -> float:
    """The true share of findings over test studies."""
    return float(model.truth.cases.truth.mean())


def draw_phantoms(
    out: Path,
    *,
    studies: int = STUDIES,
    force: bool = False,
    progress: Callable[[int], None] | None = None,
) -> PhantomSet:
    """Draw phantoms with reports into a folder of the demo's, on all processors.

    Raises:
        InputError: a table of the folder, or the demo's page, exists and `force` is not set.
    """
    check_target(out / PAGE, force=force)
    workers = min(os.cpu_count() or 1, 1 + studies // 100)  # a process takes seconds to start
    return write_phantoms(
        out / PHANTOMS, studies=studies, size=SIZE, seed=SEED, findings=SHOWN,
        prevalence=PREVALENCE, strength=STRENGTH, missing_lateral=0.3, reports=True,
        workers=workers, force=force, progress=progress,
    )  # fmt: skip


def run_image_demo(
    out: Path,
    *,
    epochs: int = EPOCHS,
    force: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> ImageDemo:
    """Train on the labels of the folder's phantoms in both ways, evaluate, and tell the story.

    Raises:
        InputError: a file of the folder exists and `force` is not set, or one of the language half
            is missing.
    """
    from cxrvision.demo.page import demo_page
    from cxrvision.evaluate.folder import check_folder
    from cxrvision.train.training import check_folder as check_run

    check_target(out / PAGE, force=force)
    configs = {way: _config(out, way, epochs) for way in WAYS}
    for way, config in configs.items():
        check_folder(out / way.evaluation, force=force)
        check_run(out / way.run, config, resume=False, force=force)
    phantoms = out / PHANTOMS
    build_cache(read_manifest(phantoms / "studies.csv"), phantoms / "cache", size=SIZE, force=force)
    models = tuple(
        _train(out, way, config, force=force, progress=progress) for way, config in configs.items()
    )
    page = demo_page(out, models)
    with atomic_path(out / PAGE, force=force) as path:
        path.write_text(page, encoding="utf-8")
    return ImageDemo(out / PAGE, models)


def _config(out: Path, way: Way, epochs: int) -> TrainConfig:
    from cxrvision.train.config import TrainConfig

    phantoms = out / PHANTOMS
    return TrainConfig(
        studies=str(phantoms / "studies.csv"),
        labels=str(out / "labels.csv"),
        cache=str(phantoms / "cache"),
        findings=FINDINGS,
        noise="" if way.method == "none" else str(out / "audit" / "noise.json"),
        noise_method=way.method,
        backbone="test_resnet",
        size=SIZE,
        epochs=epochs,
        batch_size=16,
        lr=3e-3,
        device="cpu",
    )


def _train(
    out: Path,
    way: Way,
    config: TrainConfig,
    *,
    force: bool,
    progress: Callable[[Progress], None] | None,
) -> Model:
    from cxrvision.evaluate.evaluation import EvaluationOptions, evaluate_files
    from cxrvision.evaluate.folder import write_evaluation
    from cxrvision.train.runs import PREDICTIONS, open_run
    from cxrvision.train.training import run_training

    run_training(config, out / way.run, force=force, progress=progress)
    predictions = out / way.run / PREDICTIONS
    audited = EvaluationOptions(
        manual=out / "manual.csv",
        sample=out / "sample.csv",
        noise=out / "audit" / "noise.json",
    )
    found = evaluate_files(predictions, out / "labels.csv", audited)
    write_evaluation(found, out / way.evaluation, force=force)
    truth = evaluate_files(predictions, out / PHANTOMS / "truth.csv", EvaluationOptions())
    trained = open_run(out / way.run).record["studies"]["train"]
    return Model(way, trained, found, truth)
