"""What a run is at a moment: model, optimizer and how far it came, kept in a checkpoint."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from torch import nn

from cxrlabel.errors import InputError
from cxrvision.train.runs import read_checkpoint, write_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

    from torch.optim.swa_utils import AveragedModel

    from cxrvision.train.fabric import Fabric


@dataclass(slots=True)
class Course:
    """How far a run came."""

    epoch: int = 0  # epochs done
    step: int = 0  # steps done of the epoch under way
    loss_sum: float = 0.0  # of these steps
    best: float = math.nan  # value of the metric, greater is better
    best_epoch: int = -1
    rows: list[dict[str, Any]] = field(default_factory=list)  # of metrics.csv

    def is_over(self, *, epochs: int, patience: int) -> bool:
        """Whether all epochs are done, or the best one is `patience` epochs ago."""
        stale = patience > 0 and self.epoch - 1 - self.best_epoch >= patience
        return self.epoch >= epochs or (self.epoch > 0 and stale)


@dataclass(slots=True, eq=False)
class Trainee:
    """A model that learns, with all that goes into its checkpoint."""

    model: Any  # as Fabric wraps it
    optimizer: Any
    average: AveragedModel | None  # of the weights over steps
    course: Course

    @property
    def judged(self) -> nn.Module:
        """The weights to predict with."""
        module: nn.Module = self.model.module if self.average is None else self.average.module
        return module

    def save(self, folder: Path, fabric: Fabric) -> None:
        """Write the checkpoint; the first process does."""
        if fabric.is_global_zero:
            content = {
                "model": self.model.module.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "average": None if self.average is None else self.average.state_dict(),
                "course": asdict(self.course),
            }
            write_checkpoint(folder, content)
        fabric.barrier()

    def restore(self, folder: Path) -> None:
        """Go on from the checkpoint of a folder, where it has one.

        Raises:
            InputError: the checkpoint is of another model.
        """
        content = read_checkpoint(folder)
        if content is None:
            return
        try:
            self.model.module.load_state_dict(content["model"])
            self.optimizer.load_state_dict(content["optimizer"])
            if self.average is not None:
                self.average.load_state_dict(content["average"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise InputError(f"{folder}: the checkpoint does not fit this model") from error
        self.course = Course(**content["course"])
