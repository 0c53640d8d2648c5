"""Two networks of one kind that are trained on the same batches (co-teaching: Han et al. 2018)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from cxrvision.model.study_model import StudyLogits, StudyModel


class TwinModel(nn.Module):
    """Two study models; their mean logits predict."""

    def __init__(self, first: StudyModel, second: StudyModel) -> None:
        super().__init__()
        self.first, self.second = first, second
        self.config = first.config

    def forward(self, images: Tensor, *parts: Any, **more: Any) -> StudyLogits:
        """Logits as of `StudyModel`; in training [2, n, F], of the two networks apart."""
        one, two = (model(images, *parts, **more) for model in (self.first, self.second))

        def joined(own: Tensor, other: Tensor) -> Tensor:
            both = torch.stack([own, other])
            return both if self.training else both.mean(dim=0)

        by_view = {view: joined(own, two.by_view[view]) for view, own in one.by_view.items()}
        return StudyLogits(joined(one.joint, two.joint), by_view, one.has_view)
