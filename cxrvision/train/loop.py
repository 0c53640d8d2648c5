"""The training loop, from top to bottom.

Nothing random is carried from step to step: each step seeds its own generators (`schedule`), so
that a run that was killed goes on from its checkpoint as if it had not been, bit for bit on a CPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from cxrlabel.errors import InputError
from cxrvision.train import runs
from cxrvision.train.augmentation import augment
from cxrvision.train.batches import plan_epoch
from cxrvision.train.course import Course, Trainee
from cxrvision.train.pixels import BatchData, load_batches, on_device
from cxrvision.train.schedule import learning_rate, step_seed
from cxrvision.train.steps import as_float, draw_head, head_losses, total_loss
from cxrvision.train.validation import Score, score_part

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from cxrvision.train.config import TrainConfig
    from cxrvision.train.fabric import Fabric
    from cxrvision.train.losses import Loss
    from cxrvision.train.prepare import Inputs

CHECK_EVERY: Final = 20  # steps between looks at the loss, which wait for a GPU


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training is."""

    epoch: int  # from 1
    step: int  # steps done of the epoch
    steps: int
    loss: float  # mean of the epoch so far
    images_per_second: float


def train(
    config: TrainConfig,
    inputs: Inputs,
    trainee: Trainee,
    loss_of: Loss,
    folder: Path,
    *,
    fabric: Fabric,
    progress: Callable[[Progress], None] | None = None,
) -> Course:
    """Train into a run folder, from its checkpoint where it has one.

    Args:
        trainee: before its first step.
        fabric: launched; there may be several processes.
        progress: called in the first of them.

    Raises:
        InputError: the loss is not finite, a batch does not fit in memory, or the checkpoint is of
            another model.
    """
    part = inputs.parts["train"]
    studies, targets = part.studies, part.targets
    data = BatchData(studies, on_device(part.pixels, fabric.device), targets.values, targets.mask)
    look_every = CHECK_EVERY if fabric.device.type == "cuda" else 1
    trainee.restore(folder)
    course, model, optimizer = trainee.course, trainee.model, trainee.optimizer

    while not course.is_over(epochs=config.epochs, patience=config.patience):
        plans = plan_epoch(
            studies,
            batch_size=config.batch_size,
            rng=np.random.default_rng(step_seed(config.seed, course.epoch)),
            rank=fabric.global_rank,
            world_size=fabric.world_size,
        )
        steps, images, began = len(plans), 0, time.perf_counter()
        watch = LossWatch(studies.ids, fabric)
        model.train()
        batches = load_batches(
            data, plans[course.step :], device=fabric.device, workers=config.workers
        )
        for batch in batches:
            seed = step_seed(config.seed, course.epoch, course.step)
            torch.manual_seed(seed + fabric.global_rank)
            rate = config.lr * learning_rate(
                course.epoch * steps + course.step,
                steps=config.epochs * steps,
                warmup=round(config.warmup * steps),
            )
            for group in optimizer.param_groups:
                group["lr"] = rate
            updates = (course.step + 1) % config.accumulate == 0 or course.step + 1 == steps
            begun = course.step - course.step % config.accumulate
            together = min(config.accumulate, steps - begun)  # steps of this update

            with advice_on_memory(config), fabric.no_backward_sync(model, enabled=not updates):
                pixels = as_float(batch.images)
                if config.augment:
                    generator = torch.Generator(fabric.device)
                    generator.manual_seed(seed + fabric.global_rank)
                    pixels = augment(pixels, generator)
                heads = head_losses(batch.logits(model, pixels, config.views), batch, loss_of)
                counts = over_processes(torch.stack([head.count for head in heads]), fabric)
                counts = counts.clamp(min=1e-6)
                only = draw_head(len(heads), seed) if config.one_loss_per_step else None
                loss = total_loss(heads, counts, only=only)
                fabric.backward(loss / together)
            if updates:
                if config.clip_norm:
                    fabric.clip_gradients(model, optimizer, max_norm=config.clip_norm)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                if trainee.average is not None:
                    trainee.average.update_parameters(model.module)

            course.step += 1
            images += len(batch.images) * fabric.world_size
            watch.note(loss.detach(), batch.index)
            save = updates and config.save_every > 0 and course.step % config.save_every == 0
            if save or course.step % look_every == 0 or course.step == steps:
                course.loss_sum += watch.collect()
                if progress is not None and fabric.is_global_zero:
                    speed = images / (time.perf_counter() - began)
                    mean = course.loss_sum / course.step
                    progress(Progress(course.epoch + 1, course.step, steps, mean, speed))
            if save and course.step < steps:
                trainee.save(folder, fabric)

        seconds = time.perf_counter() - began
        score = score_part(trainee.judged, inputs.parts.get("val"), config, fabric)
        row = {
            "epoch": course.epoch + 1,
            "step": (course.epoch + 1) * steps,
            "lr": rate,
            "train_loss": course.loss_sum / steps,
            "val_loss": None if score is None else score.loss,
            "val_auc": None if score is None else score.auc,
            "seconds": round(seconds, 3),
            "images_per_second": round(images / seconds, 1),
        }
        end_epoch(trainee, row, score, config, folder, fabric)
    return course


def end_epoch(
    trainee: Trainee,
    row: dict[str, float | None],
    score: Score | None,
    config: TrainConfig,
    folder: Path,
    fabric: Fabric,
) -> None:
    """Note an epoch, keep its weights where they are the best, and write the checkpoint."""
    course = trainee.course
    course.rows.append(row)
    value = float(course.epoch) if score is None else score.value(config.metric)
    best = course.best_epoch < 0 or value > course.best or np.isnan(course.best)
    if best:
        course.best, course.best_epoch = value, course.epoch
    course.epoch, course.step, course.loss_sum = course.epoch + 1, 0, 0.0
    if fabric.is_global_zero:
        if best:
            runs.write_weights(folder / runs.BEST, trainee.judged.state_dict())
        runs.write_metrics(folder, course.rows)
        runs.write_tensorboard(folder, row)
    trainee.save(folder, fabric)


class LossWatch:
    """Keeps losses on the device until they are asked for, with the studies that they are of."""

    def __init__(self, ids: NDArray[np.object_], fabric: Fabric) -> None:
        self._ids, self._fabric = ids, fabric
        self._waiting: list[tuple[Tensor, Tensor]] = []

    def note(self, loss: Tensor, index: Tensor) -> None:
        """Keep a loss, and the studies of its batch."""
        self._waiting.append((loss, index))

    def collect(self) -> float:
        """The sum of the losses since the last time, each the mean over processes.

        Raises:
            InputError: one is not finite.
        """
        values = over_processes(torch.stack([loss for loss, _ in self._waiting]), self._fabric)
        values = values.double().cpu()
        bad = torch.nonzero(~torch.isfinite(values)).flatten().tolist()
        if bad:
            index = self._waiting[bad[0]][1].cpu().numpy()
            names = ", ".join(map(str, self._ids[index[:8]]))
            raise InputError(
                f"training: the loss is {values[bad[0]]:g} in the batch of the studies {names}"
                f"{' …' if len(index) > 8 else ''}; look at their images, or lower --lr"
            )
        self._waiting.clear()
        return float(values.sum())


def over_processes(values: Tensor, fabric: Fabric) -> Tensor:
    """The mean of each value over all processes."""
    mean: Any = values.float()
    if fabric.world_size > 1:
        mean = fabric.all_reduce(mean, reduce_op="mean")
    whole: Tensor = mean
    return whole


@contextmanager
def advice_on_memory(config: TrainConfig) -> Iterator[None]:
    """Turn an error for want of GPU memory into a line that helps."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        half = max(config.batch_size // 2, 1)
        raise InputError(
            f"training: {config.batch_size} studies of {config.size} pixels do not fit in the "
            f"memory of the GPU; try --batch-size {half} --accumulate {config.accumulate * 2}, "
            "a smaller --size, or --precision bf16"
        ) from error
