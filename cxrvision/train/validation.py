"""The value of a model on a split: what chooses the best epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed

from cxrvision.evaluate.auc import auc
from cxrvision.train.batches import plan_all
from cxrvision.train.pixels import BatchData, load_batches
from cxrvision.train.steps import as_float

if TYPE_CHECKING:
    from lightning.fabric import Fabric
    from numpy.typing import NDArray
    from torch import nn

    from cxrvision.train.config import TrainConfig
    from cxrvision.train.prepare import Part


@dataclass(frozen=True, slots=True)
class Score:
    """How a model does on the studies of a split."""

    loss: float  # mean binary cross-entropy over the targets
    auc: float  # mean over the findings that have one

    def value(self, metric: str) -> float:
        """The metric, greater is better; the loss where no finding has an AUC."""
        return -self.loss if metric == "loss" or np.isnan(self.auc) else self.auc


def score_part(
    model: nn.Module, part: Part | None, config: TrainConfig, fabric: Fabric
) -> Score | None:
    """The score on a split over all processes; None where it has no study."""
    if part is None:
        return None
    logits = predict_logits(model, part, config, fabric)
    return score_logits(logits, part.targets.values, part.targets.mask)


def score_logits(
    logits: NDArray[np.float64], targets: NDArray[np.float32], mask: NDArray[np.float32]
) -> Score:
    """The score of [N, F] logits."""
    losses = np.logaddexp(0, logits) - logits * targets
    aucs = [
        auc(logits[keep, f], targets[keep, f] == 1)
        for f in range(logits.shape[1])
        if len(np.unique(targets[keep := (mask[:, f] > 0) & np.isin(targets[:, f], (0, 1)), f])) > 1
    ]
    loss = float((losses * mask).sum() / max(mask.sum(), 1))
    return Score(loss, float(np.mean(aucs)) if aucs else float("nan"))


@torch.inference_mode()
def predict_logits(
    model: nn.Module, part: Part, config: TrainConfig, fabric: Fabric
) -> NDArray[np.float64]:
    """[N, F] joint logits of all studies of a split; each process computes some."""
    data = BatchData(part.studies, part.pixels, part.targets.values, part.targets.mask)
    plans = plan_all(part.studies, batch_size=config.batch_size)
    own = plans[fabric.global_rank :: fabric.world_size]
    logits = np.zeros((len(part.studies), len(part.studies.findings)))
    model.eval()
    for batch in load_batches(data, own, device=fabric.device, workers=config.workers):
        with fabric.autocast():
            found = batch.logits(model, as_float(batch.images), config.views).joint
        logits[batch.index.cpu().numpy()] = found.float().cpu().numpy()
    if fabric.world_size > 1:  # each row is zero in all processes but one
        whole: Any = fabric.all_reduce(torch.from_numpy(logits), reduce_op="sum")
        logits = whole.cpu().numpy()
    return logits
