"""Training the transformer: on silver labels of the rules, then on what reviewers said.

The loss is the negative log-likelihood of the states. Where reviews do not tell states apart (0 is
"not positive"), it is that of the class, the sum over its states, so that a review never teaches
which of them it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor

from cxrlabel.errors import InputError
from cxrlabel.findings import STATES
from cxrlabel.learned.transformer.labeler import autocast
from cxrlabel.learned.transformer.network import combine_windows, padded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxrlabel.learned.classes import Classes
    from cxrlabel.learned.transformer.labeler import TransformerLabeler

    Floats = NDArray[np.float64]
    Windows = Sequence[Sequence[Sequence[int]]]  # of each report

_BUCKETS: Final = 50  # batches whose reports are sorted by length together
_WARM: Final = 0.1  # share of the steps in which the learning rate rises
_CLIP: Final = 1.0


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How the network is trained."""

    epochs: int = 4
    batch_size: int = 32
    lr: float = 5e-4
    weight_decay: float = 0.01


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Lesson:
    """What a stage of training teaches: N reports with the shares of their states.

    Equal states of a finding are one class: `classes[f][state]` is its number.
    """

    windows: Windows
    shares: Floats  # [N, F, 4] of STATES; zeros where a report teaches nothing of a finding
    classes: NDArray[np.int64]  # [F, 4]


def one_hot(codes: NDArray[np.uint8]) -> Floats:
    """[N, F] states as [N, F, 4] shares."""
    return np.eye(len(STATES))[codes]


def four_classes(findings: int) -> NDArray[np.int64]:
    """[F, 4] each state a class of its own."""
    return np.tile(np.arange(len(STATES)), (findings, 1))


def class_table(classes: Sequence[Classes | None]) -> NDArray[np.int64]:
    """[F, 4] the class of each state; findings without classes have zero, so that none differ."""
    return np.array([[0] * len(STATES) if own is None else own.of_state for own in classes])


def train(
    labeler: TransformerLabeler,
    lesson: Lesson,
    settings: TrainingSettings,
    *,
    rng: np.random.Generator,
    renew: Callable[[int], Lesson] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> None:
    """Train in place.

    Args:
        rng: of the order of reports; torch's own seed decides about dropout.
        renew: the lesson of each later epoch, where it changes.
        progress: called after each epoch.

    Raises:
        InputError: the loss is no longer a number.
    """
    network = labeler.network
    device = next(network.parameters()).device
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings.lr, weight_decay=settings.weight_decay
    )
    steps = settings.epochs * math.ceil(len(lesson.windows) / settings.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps))
    for epoch in range(settings.epochs):
        if renew is not None and epoch:
            lesson = renew(epoch)
        network.train()
        total = torch.zeros((), device=device)
        count = 0
        for rows in bucketed(lesson.windows, settings.batch_size, rng):
            loss = _loss(labeler, lesson, rows, device)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), _CLIP)
            optimizer.step()
            schedule.step()
            total += loss.detach()
            count += 1
        mean = float(total) / max(count, 1)
        if not math.isfinite(mean):
            raise InputError(
                f"--lr {settings.lr:g}: the loss became {mean}; expected a smaller one"
            )
        progress(f"epoch {epoch + 1} of {settings.epochs}: loss {mean:.4f}")


def bucketed(windows: Windows, size: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Batches of places in random order, of reports that are about equally long."""
    lengths = np.array([sum(map(len, own)) for own in windows])
    order = rng.permutation(len(windows))
    batches = []
    for start in range(0, len(order), size * _BUCKETS):
        bucket = order[start : start + size * _BUCKETS]
        bucket = bucket[np.argsort(lengths[bucket], kind="stable")]
        batches += [bucket[i : i + size] for i in range(0, len(bucket), size)]
    for place in rng.permutation(len(batches)):
        yield batches[place]


def _loss(
    labeler: TransformerLabeler, lesson: Lesson, rows: NDArray[np.int64], device: torch.device
) -> Tensor:
    some = [lesson.windows[row] for row in rows]
    owner = torch.repeat_interleave(
        torch.arange(len(some)), torch.tensor([len(own) for own in some])
    ).to(device)
    tokens, mask = padded([window for own in some for window in own], labeler.pad, device)
    with autocast(device):
        logits = labeler.network(tokens, mask)
    logs = combine_windows(logits, owner, len(some), labeler.findings)
    shares = torch.from_numpy(lesson.shares[rows]).to(device, torch.float32)
    return class_loss(logs, shares, torch.from_numpy(lesson.classes).to(device))


def class_loss(logs: Tensor, shares: Tensor, classes: Tensor) -> Tensor:
    """Negative log-likelihood of classes of states, per report and finding that teach something.

    Args:
        logs: [N, F, 4] log probabilities of the states.
        shares: [N, F, 4]; zeros leave a cell out.
        classes: [F, 4] class of each state.
    """
    same = classes[:, :, None] == classes[:, None, :]  # [F, 4, 4]
    spread = logs[:, :, None, :].expand(*logs.shape, logs.shape[-1])
    of_class = spread.masked_fill(~same, -torch.inf).logsumexp(dim=-1)
    counted = shares.sum(dim=-1).sum().clamp_min(1)
    return -(shares * of_class).sum() / counted


def _rate(step: int, steps: int) -> float:
    """Rises for a tenth of the steps, then falls to 0."""
    warm = max(int(_WARM * steps), 1)
    if step < warm:
        return (step + 1) / warm
    return max((steps - step) / max(steps - warm, 1), 0.0)
