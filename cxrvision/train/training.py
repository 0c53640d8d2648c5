"""A run from its config to its folder."""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from cxrlabel.errors import InputError
from cxrvision.data.manifest import read_manifest
from cxrvision.train import runs
from cxrvision.train.building import make_criterion, make_fabric, make_trainee
from cxrvision.train.config import METRICS, TrainConfig, read_config, write_config
from cxrvision.train.heads import HEADS, fit_draws, write_heads
from cxrvision.train.loop import Progress, train
from cxrvision.train.model_card import write_model_card
from cxrvision.train.predicting import PredictOptions, load_model, predict, write_predictions
from cxrvision.train.prepare import Inputs, read_inputs

if TYPE_CHECKING:
    from cxrvision.train.course import Course
    from cxrvision.train.fabric import Fabric

# settings that may differ when a run goes on: they do not change what is computed
_FREE: Final = ("workers", "device", "devices", "save_every")


@dataclass(frozen=True, slots=True)
class TrainedRun:
    """What a training came to."""

    folder: Path
    course: Course
    left_out: tuple[str, ...]
    notes: tuple[str, ...]  # of the labels' error
    first: bool  # whether this is the first of several processes, which speaks for all


def run_training(
    config: TrainConfig,
    folder: Path,
    *,
    resume: bool = False,
    force: bool = False,
    progress: Callable[[Progress], None] | None = None,
    started: Callable[[Inputs], None] | None = None,
) -> TrainedRun:
    """Train, and write the whole run folder.

    Args:
        resume: go on from the checkpoint of the folder, where there is one.
        force: replace a run that is there.
        progress: called every some steps.
        started: called once the inputs are read.

    Raises:
        InputError: an input is wrong, the folder holds a run and neither `resume` nor `force` is
            set, or the config differs from that of the run that is resumed.
    """
    check_folder(folder, config, resume=resume, force=force)
    fabric = make_fabric(config)
    inputs = read_inputs(config)
    if started is not None:
        started(inputs)
    if resume:
        _check_inputs(folder, inputs)
    # whatever may be wrong with the settings is found before an old run is replaced
    trainee = make_trainee(config, inputs.findings, fabric)
    loss = make_criterion(
        config, inputs.parts["train"], inputs.error, fabric.device, trainee=trainee
    )
    if fabric.is_global_zero:
        _begin(folder, config, inputs, keep=resume)
    fabric.barrier()
    course = train(config, inputs, trainee, loss, folder, fabric=fabric, progress=progress)
    if fabric.is_global_zero:  # the others need not wait, and collectives do not wait for long
        _finish(folder, config, inputs, course, fabric)
    return TrainedRun(folder, course, inputs.left_out, inputs.notes, fabric.is_global_zero)


def check_folder(folder: Path, config: TrainConfig, *, resume: bool, force: bool) -> None:
    """Raise where a run folder cannot be written to."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: this is a file, expected a folder")
    if not (folder / runs.CONFIG).exists():
        if folder.is_dir() and any(folder.iterdir()) and not resume:
            raise InputError(f"{folder}: the folder is not empty and holds no run")
        return
    if resume:
        before = read_config(folder / runs.CONFIG)
        for field in dataclasses.fields(TrainConfig):
            old, new = getattr(before, field.name), getattr(config, field.name)
            if old != new and field.name not in _FREE:
                raise InputError(
                    f"{folder}: the run has {field.name} = {old!r}, not {new!r}; "
                    "resume it with its own settings (--config), or train into another folder"
                )
    elif not force:
        raise InputError(
            f"{folder}: holds a run; pass --resume to go on with it or --force to replace it"
        )


def _check_inputs(folder: Path, inputs: Inputs) -> None:
    """Raise where a run is resumed on other studies, labels or images than it began with."""
    if not (folder / runs.CHECKPOINT).is_file():
        return
    before = runs.read_record(folder)
    for what in ("labels", "split", "cache", "studies", "images", "noise"):
        if before.get(what) != inputs.record[what]:
            raise InputError(
                f"{folder}: the {what} changed since the run began; restore them, or train into "
                "another folder"
            )


def _begin(folder: Path, config: TrainConfig, inputs: Inputs, *, keep: bool) -> None:
    """Write what is known before the first step."""
    if not keep:
        for name in (
            runs.CHECKPOINT, runs.BEST, runs.METRICS, runs.PREDICTIONS, runs.CARD, HEADS,
        ):  # fmt: skip
            (folder / name).unlink(missing_ok=True)
        shutil.rmtree(folder / runs.LOGS, ignore_errors=True)
    write_config(folder / runs.CONFIG, config, force=True)
    runs.write_record(folder, _record(inputs))


def _record(inputs: Inputs, **more: Any) -> dict[str, Any]:
    return {
        "version": version("cxr"),
        "torch": torch.__version__,
        "findings": list(inputs.findings),
        **inputs.record,
        "left_out": list(inputs.left_out),
        "notes": list(inputs.notes),
        **more,
    }


def _finish(
    folder: Path, config: TrainConfig, inputs: Inputs, course: Course, fabric: Fabric
) -> None:
    """Write what is known after the last step."""
    more = {} if not config.noise_draws else {"draws": _fit_heads(folder, config, inputs, fabric)}
    record = _record(
        inputs,
        **more,
        epochs=course.epoch,
        best_epoch=course.best_epoch + 1,
        best=_best_values(course),
        device=str(fabric.device),
        processes=fabric.world_size,
    )
    runs.write_record(folder, record)
    _predict_splits(folder, config, inputs)
    write_model_card(folder, config, record)


def _fit_heads(folder: Path, config: TrainConfig, inputs: Inputs, fabric: Fabric) -> dict[str, Any]:
    """Write the heads for draws of the error tables; what they say of the variance."""
    model = load_model(runs.open_run(folder)).to(fabric.device)
    spread = fit_draws(model, inputs, config, fabric.device)
    write_heads(folder, spread.heads)
    return {
        "heads": config.noise_draws,
        "penalty": spread.penalty,
        "logit_variance": {name: dict(parts) for name, parts in spread.variance.items()},
    }


def _best_values(course: Course) -> dict[str, float]:
    """AUC and loss on the split `val` in the best epoch, where they are known."""
    row = course.rows[course.best_epoch]
    values = {name: row[f"val_{name}"] for name in METRICS}
    return {name: x for name, x in values.items() if x is not None and math.isfinite(x)}


def _predict_splits(folder: Path, config: TrainConfig, inputs: Inputs) -> None:
    """The probabilities of the studies that were not trained on."""
    import pandas as pd

    manifest = read_manifest(Path(config.studies))
    options = PredictOptions(
        per_view=True,
        batch_size=config.batch_size,
        workers=max(config.workers, 1),
        device=config.device,
    )
    cache = Path(config.cache) if config.cache else None
    found = [
        predict(
            [runs.open_run(folder)],
            manifest,
            cache=cache,
            options=dataclasses.replace(options, split=split),
        )
        for split in inputs.parts
        if split != "train"
    ]
    if found:
        table = pd.concat([part.table for part in found], ignore_index=True)
        whole = dataclasses.replace(found[0], table=table)
        write_predictions(folder / runs.PREDICTIONS, whole, force=True)
