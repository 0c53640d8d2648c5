"""From the features of single images to those of a study, whatever images it has.

What is absent is known from the views of the images given, never from the values of a tensor: there
are no padding images, and a view that is absent cannot touch the result. Several images of one view
are averaged first; attention sees each of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ATTENTION_WIDTH: Final = 256
ATTENTION_HEADS: Final = 4


class Features(NamedTuple):
    """Features of M images of n studies in V views."""

    images: Tensor  # [M, D]
    views: Tensor  # [M] int64 in 0 ... V - 1
    study: Tensor  # [M] int64 in 0 ... n - 1
    by_view: Tensor  # [n, V, D] mean over the images of a view; 0 where there is none
    seen: Tensor  # [n, V] bool: views to fuse


def pool_views(
    features: Tensor, views: Tensor, study: Tensor, n: int, count: int
) -> tuple[Tensor, Tensor]:
    """Average the images of each study and view.

    Args:
        features: [M, D].
        views: [M] int64 in 0 ... count - 1; -1 is left out.
        study: [M] int64 in 0 ... n - 1.

    Returns:
        [n, count, D] float32 means, 0 where there is no image, and [n, count] bool, where there is.
    """
    used = (views >= 0).float()
    cell = study * count + views.clamp(min=0)
    images = used.new_zeros(n * count).index_add(0, cell, used)
    sums = used.new_zeros(n * count, features.shape[1])
    sums = sums.index_add(0, cell, features.float() * used[:, None])
    means = sums / images.clamp(min=1)[:, None]
    return means.view(n, count, -1), (images > 0).view(n, count)


def drop_views(present: Tensor, chance: float, generator: torch.Generator | None = None) -> Tensor:
    """Leave out a view at random, but never the last one of a study (Hashir et al. 2020).

    Args:
        present: [n, V] bool.
        chance: that a study with several views loses one of them; each is as likely.

    Returns:
        [n, V] bool, a part of `present`.
    """
    n, views = present.shape
    draws = torch.rand(n, views + 1, generator=generator, device=present.device)
    order = draws[:, :views].masked_fill(~present, -1.0)
    chosen = order == order.amax(dim=1, keepdim=True)
    loses = (draws[:, views:] < chance) & (present.sum(dim=1, keepdim=True) > 1)
    return present & ~(chosen & loses)


class GatedConcat(nn.Module):
    """Views side by side, a learned vector where one is absent, each number weighed by a gate.

    The concatenation is DualNet's (Rubin et al. 2018). The gate sees all views, as in gated
    multimodal units (Arevalo et al. 2017), through a bottleneck (Hu et al. 2018); it begins at 1,
    so that training begins at the plain concatenation.
    """

    def __init__(self, features: int, views: int) -> None:
        super().__init__()
        self.features = features * views
        self.absent = nn.Parameter(torch.zeros(views, features))
        nn.init.normal_(self.absent, std=0.02)
        self.squeeze = nn.Linear(self.features, max(self.features // 16, 8))
        self.gate = nn.Linear(self.squeeze.out_features, self.features)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def forward(self, parts: Features) -> Tensor:
        """[n, V * D]."""
        joined = torch.where(parts.seen[:, :, None], parts.by_view, self.absent).flatten(1)
        gate = 2 * torch.sigmoid(self.gate(F.relu(self.squeeze(joined))))
        gated: Tensor = joined * gate
        return gated


class Moments(nn.Module):
    """Mean and variance over the views that are there; one view has variance 0.

    HeMIS: Havaei et al. 2016; for chest X-rays Hashir et al. 2020.
    """

    def __init__(self, features: int, views: int) -> None:
        super().__init__()
        self.features = 2 * features

    def forward(self, parts: Features) -> Tensor:
        """[n, 2 D]."""
        seen = parts.seen[:, :, None].float()
        count = seen.sum(dim=1).clamp(min=1)
        mean = (parts.by_view * seen).sum(dim=1) / count
        variance = ((parts.by_view - mean[:, None]).square() * seen).sum(dim=1) / count
        return torch.cat([mean, variance], dim=1)


class Maximum(nn.Module):
    """The greatest value over the views that are there."""

    def __init__(self, features: int, views: int) -> None:
        super().__init__()
        self.features = features

    def forward(self, parts: Features) -> Tensor:
        """[n, D]; 0 for a study without any view."""
        greatest = parts.by_view.masked_fill(~parts.seen[:, :, None], -torch.inf).amax(dim=1)
        return torch.where(parts.seen.any(dim=1, keepdim=True), greatest, 0.0)


class Attention(nn.Module):
    """One transformer layer over the images of a study and a learned token, which is the result.

    As CheXFusion (Kim 2023) joins up to four images; here there may be any number, and instead of
    padding the images of a batch form one sequence in which those of a study see each other.
    """

    def __init__(self, features: int, views: int) -> None:
        super().__init__()
        self.features = ATTENTION_WIDTH
        self.project = nn.Linear(features, ATTENTION_WIDTH)
        self.view_embedding = nn.Parameter(torch.zeros(views, ATTENTION_WIDTH))
        self.token = nn.Parameter(torch.zeros(1, ATTENTION_WIDTH))
        nn.init.normal_(self.view_embedding, std=0.02)
        nn.init.normal_(self.token, std=0.02)
        self.norms = nn.ModuleList(nn.LayerNorm(ATTENTION_WIDTH) for _ in range(3))
        self.queries_keys_values = nn.Linear(ATTENTION_WIDTH, 3 * ATTENTION_WIDTH)
        self.output = nn.Linear(ATTENTION_WIDTH, ATTENTION_WIDTH)
        self.mlp = nn.Sequential(
            nn.Linear(ATTENTION_WIDTH, 2 * ATTENTION_WIDTH),
            nn.GELU(),
            nn.Linear(2 * ATTENTION_WIDTH, ATTENTION_WIDTH),
        )

    def forward(self, parts: Features) -> Tensor:
        """[n, ATTENTION_WIDTH]; what the token alone gives for a study without any view."""
        n, views = len(parts.seen), parts.views.clamp(min=0)
        tokens = torch.cat(
            [
                self.project(parts.images) + self.view_embedding[views],
                self.token.expand(n, -1),
            ]
        )
        owner = torch.cat([parts.study, torch.arange(n, device=parts.study.device)])
        seen = parts.seen[parts.study, views] & (parts.views >= 0)
        seen = torch.cat([seen, seen.new_ones(n)])
        # [M + n, M + n]: of the own study, and seen; a row that is not seen still needs one key
        allowed = (owner[:, None] == owner) & seen
        allowed = allowed | torch.eye(len(owner), dtype=torch.bool, device=owner.device)
        tokens = tokens + self._attend(self.norms[0](tokens), allowed)
        tokens = tokens + self.mlp(self.norms[1](tokens))
        result: Tensor = self.norms[2](tokens[len(views) :])
        return result

    def _attend(self, tokens: Tensor, allowed: Tensor) -> Tensor:
        shape = (len(tokens), 3, ATTENTION_HEADS, ATTENTION_WIDTH // ATTENTION_HEADS)
        q, k, v = self.queries_keys_values(tokens).view(shape).permute(1, 2, 0, 3)
        heads = F.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=allowed)
        attended: Tensor = self.output(heads[0].transpose(0, 1).flatten(1))
        return attended


FUSIONS: Final[Mapping[str, type[GatedConcat | Moments | Maximum | Attention]]] = {
    "gated": GatedConcat,
    "moments": Moments,
    "max": Maximum,
    "attention": Attention,
}


class ViewNorm(nn.Module):
    """Layer norm with a scale and a shift of its own for each view; the shift embeds the view.

    For an encoder that all views share, whose features are else on different scales.
    """

    def __init__(self, features: int, views: int) -> None:
        super().__init__()
        self.features = features
        self.scale = nn.Parameter(torch.ones(views, features))
        self.embedding = nn.Parameter(torch.zeros(views, features))
        nn.init.normal_(self.embedding, std=0.02)

    def forward(self, features: Tensor, views: Tensor) -> Tensor:
        """[M, D] of the views [M]."""
        index = views.clamp(min=0)
        normed = F.layer_norm(features.float(), (self.features,))
        return normed * self.scale[index] + self.embedding[index]
