"""The whole network, trained anew in every cell: what `train_encoder` asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from cxrvision.data.cache import open_cache
from cxrvision.noise.sweep.preparing import encoder_config, pool_and_test
from cxrvision.train.augmentation import augment
from cxrvision.train.batches import plan_all, plan_epoch
from cxrvision.train.building import choose_device, make_model, make_optimizer
from cxrvision.train.pixels import BatchData, cached_pixels, load_batches
from cxrvision.train.schedule import learning_rate, step_seed
from cxrvision.train.steps import as_float, head_losses, total_loss

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from cxrvision.noise.sweep.material import Material
    from cxrvision.noise.sweep.methods import Learning
    from cxrvision.noise.sweep.preparing import Source
    from cxrvision.noise.sweep.settings import SweepSettings
    from cxrvision.train.config import TrainConfig
    from cxrvision.train.studies import Studies

    Floats = NDArray[np.float64]
    AnyFloats = NDArray[np.floating]


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """The images of the studies that cells use."""

    studies: Studies
    config: TrainConfig
    cache: Path
    device: torch.device


def open_images(source: Source, settings: SweepSettings, device: str) -> Images:
    """The images of a sweep, and how its networks are trained."""
    config = encoder_config(source, settings, source.labels, device)
    return Images(
        pool_and_test(source, settings), config, source.cache, choose_device(config.device)
    )


def fit_network(images: Images, material: Material, learning: Learning, *, seed: int) -> Floats:
    """Train a network from its first weights; [M, F] probabilities of the studies of the test.

    No part of the data chooses an epoch: the last weights are taken.
    """
    model: Any = make_model(images.config, images.studies.findings).to(images.device)
    own = _take(images.studies, material.truth.index.to_numpy(dtype=object))
    _train(model, own, images, learning, seed)
    tested = _take(images.studies, np.array(material.test_ids, dtype=object))
    return _predict(model, tested, images)


def _train(model: Any, studies: Studies, images: Images, learning: Learning, seed: int) -> None:
    """The loop of `cxrvision.train.loop` in small: no checkpoints, no validation."""
    config, device = images.config, images.device
    optimizer = make_optimizer(model, config)
    data = _data(studies, images, learning.values, learning.mask)
    model.train()
    for epoch in range(config.epochs):
        rng = np.random.default_rng(step_seed(seed, epoch))
        plans = plan_epoch(studies, batch_size=config.batch_size, rng=rng)
        steps = len(plans)
        for step, batch in enumerate(load_batches(data, plans, device=device)):
            own_seed = step_seed(seed, epoch, step)
            torch.manual_seed(own_seed)
            rate = config.lr * learning_rate(
                epoch * steps + step,
                steps=config.epochs * steps,
                warmup=round(config.warmup * steps),
            )
            for group in optimizer.param_groups:
                group["lr"] = rate
            generator = torch.Generator(device).manual_seed(own_seed)
            pixels = augment(as_float(batch.images), generator)
            heads = head_losses(batch.logits(model, pixels, config.views), batch, learning.loss)
            counts = torch.stack([head.count for head in heads]).clamp(min=1e-6)
            total_loss(heads, counts).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)


@torch.inference_mode()
def _predict(model: Any, studies: Studies, images: Images) -> Floats:
    model.eval()
    empty = np.zeros((len(studies), len(studies.findings)))
    data = _data(studies, images, empty, empty)
    found = [
        torch.sigmoid(
            batch.logits(model, as_float(batch.images), images.config.views).joint.double()
        ).cpu()
        for batch in load_batches(data, plan_all(studies, batch_size=64), device=images.device)
    ]
    probs: Floats = torch.cat(found).numpy()
    return probs


def _data(studies: Studies, images: Images, values: AnyFloats, mask: AnyFloats) -> BatchData:
    cache = open_cache(images.cache, verify=False)
    pixels = cached_pixels(studies, cache, place=str(images.cache))
    return BatchData(studies, pixels, values.astype(np.float32), mask.astype(np.float32))


def _take(studies: Studies, ids: NDArray[np.object_]) -> Studies:
    """These studies, in this order."""
    places = {study: place for place, study in enumerate(studies.ids)}
    return studies.take(np.array([places[study] for study in ids], dtype=np.int64))
