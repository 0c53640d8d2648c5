"""The value of a model on a split: what chooses the best epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed

from cxrvision.evaluate.auc import auc
from cxrvision.noise.correction import FORWARD
from cxrvision.train.batches import plan_all
from cxrvision.train.pixels import BatchData, load_batches
from cxrvision.train.steps import as_float

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from cxrvision.targets import Targets
    from cxrvision.train.config import TrainConfig
    from cxrvision.train.fabric import Fabric
    from cxrvision.train.prepare import Part

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Score:
    """How a model does on the studies of a split."""

    loss: float  # mean over the targets, with the error of the labels in it
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
    return score_logits(predict_logits(model, part, config, fabric), part)


def score_logits(logits: Floats, part: Part) -> Score:
    """The score of [N, F] logits.

    A finding with enough reviewed studies is judged by their truths, others by the labels: the
    loss by what the labels are worth as evidence, the AUC by the labels that are 1 or 0.
    """
    losses, weights = cell_losses(logits, part.targets), part.targets.mask.astype(np.float64)
    judged = np.where(part.labels.mask > 0, part.labels.values, np.nan)
    review = part.review
    enough = None if review is None else review.enough
    if review is not None and enough is not None and enough.any():
        known = ~np.isnan(review.truth)
        truth = np.where(known, review.truth, 0)
        losses = np.where(enough, np.logaddexp(0, logits) - logits * truth, losses)
        scale = known.sum(axis=0) / np.maximum(review.weights.sum(axis=0), 1)
        weights = np.where(enough, review.weights * scale, weights)
        judged = np.where(enough, review.truth, judged)
    aucs = [_auc(*column) for column in zip(logits.T, judged.T, weights.T, strict=True)]
    known_aucs = [value for value in aucs if not np.isnan(value)]
    loss = float((losses * weights).sum() / max(weights.sum(), 1))
    return Score(loss, float(np.mean(known_aucs)) if known_aucs else float("nan"))


def cell_losses(logits: Floats, targets: Targets) -> Floats:
    """[N, F] what each label costs: cross-entropy, or the likelihood of its state.

    Args:
        logits: [N, F].
    """
    values = targets.values.astype(np.float64)
    losses: Floats = np.logaddexp(0, logits) - logits * values
    if targets.corrected is None or targets.method != FORWARD:
        return losses
    likelihood = np.logaddexp(0, logits) - np.logaddexp(0, logits + values) + np.maximum(values, 0)
    return np.where(targets.corrected, likelihood, losses)


def _auc(logits: Floats, judged: Floats, weights: Floats) -> float:
    """The AUC of a finding over the studies that are 1 or 0; NaN where all are alike."""
    sure = np.isin(judged, (0, 1))
    if len(np.unique(judged[sure])) < 2:
        return float("nan")
    return auc(logits[sure], judged[sure] == 1, weights[sure])


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
