"""The model of a study: encode the images that are there, fuse them, one logit per finding.

Frontal alone, lateral alone and both are the same code with another list of views. Two encoders, or
one that the views share; a joint head, and one for each view as an auxiliary loss (Hashir et al.
2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from cxrlabel.errors import InputError
from cxrvision.data.views import VIEWS
from cxrvision.model.encoders import make_encoder
from cxrvision.model.fusion import FUSIONS, Features, ViewNorm, drop_views, pool_views

HEADS: Final = ("sigmoid", "multiclass")
FEATURES: Final = ("age", "sex", "view_position")
SHARED: Final = "shared"  # the name of the encoder that all views share
_METADATA_WIDTH: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """What a model is made of; every value can stand in a TOML file."""

    findings: tuple[str, ...]
    backbone: str = "densenet121"
    views: tuple[str, ...] = VIEWS
    fusion: str = "gated"
    share_encoder: bool = False
    weights: str = "none"  # "none", "imagenet" or a file
    view_heads: bool = True  # of each view, where there are several
    head: str = "sigmoid"  # "multiclass": negative, positive, uncertain, for U-MultiClass
    dropout: float = 0.0  # of the fused features
    view_dropout: float = 0.0  # chance that a study with both views loses one in training
    features: tuple[str, ...] = ()  # of the patient: some of FEATURES
    freeze: bool = False  # only what follows the encoders learns
    size: int = 0  # of the images in pixels, for networks built for one; 0: their own

    def __post_init__(self) -> None:
        for name in ("findings", "views", "features"):  # TOML has lists
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not self.findings:
            raise InputError("--findings: none; expected at least one")
        _check_choices("--views", self.views, VIEWS, least=1)
        _check_choices("--features", self.features, FEATURES)
        _check_choices("--fusion", (self.fusion,), tuple(FUSIONS))
        _check_choices("head", (self.head,), HEADS)
        for option in ("dropout", "view_dropout"):
            value = getattr(self, option)
            if not 0 <= value < 1:
                raise InputError(
                    f"--{option.replace('_', '-')}: {value}; expected 0 or more and less than 1"
                )


def _check_choices(
    place: str, found: Sequence[str], known: Sequence[str], *, least: int = 0
) -> None:
    unknown = [name for name in found if name not in known]
    if unknown or len(set(found)) < max(len(found), least):
        wrong = repr(unknown[0]) if unknown else repr(",".join(found))
        raise InputError(f"{place}: {wrong}; expected of {', '.join(known)}, each once at most")


class StudyLogits(NamedTuple):
    """Logits of n studies for F findings.

    In training with the head "multiclass" each is [n, F, 3]: negative, positive, uncertain.
    """

    joint: Tensor  # [n, F]
    by_view: dict[str, Tensor]  # [n, F]; means nothing where the study lacks the view
    has_view: Tensor  # [n, V] bool, in the order of the config's views


class StudyModel(nn.Module):
    """From images and their views to logits by study."""

    slots: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.classes = 3 if config.head == "multiclass" else 1
        names = (SHARED,) if config.share_encoder else config.views
        self.encoders = nn.ModuleDict(
            {
                name: make_encoder(
                    config.backbone, weights=config.weights, size=config.size, view=name
                )
                for name in names
            }
        )
        width = int(self.encoders[names[0]].features)  # type: ignore[arg-type]
        if config.freeze:
            for encoder in self.encoders.values():
                encoder.freeze()  # type: ignore[operator]
        views = len(config.views)
        self.norm = ViewNorm(width, views) if config.share_encoder else None
        self.fusion = FUSIONS[config.fusion](width, views)
        self.metadata = Metadata(len(config.features)) if config.features else None
        self.dropout = nn.Dropout(config.dropout)
        outputs = len(config.findings) * self.classes
        joint = self.fusion.features + (_METADATA_WIDTH if config.features else 0)
        self.head = nn.Linear(joint, outputs)
        has_heads = config.view_heads and views > 1
        self.view_heads = nn.ModuleDict(
            {view: nn.Linear(width, outputs) for view in config.views if has_heads}
        )
        places = [config.views.index(view) if view in config.views else -1 for view in VIEWS]
        self.register_buffer("slots", torch.tensor(places), persistent=False)

    def forward(
        self,
        images: Tensor,
        views: Tensor,
        study: Tensor,
        n: int,
        features: Tensor | None = None,
        *,
        counts: Sequence[int] | None = None,
        keep: Tensor | None = None,
    ) -> StudyLogits:
        """Logits of n studies; only the images given are encoded.

        Args:
            images: [M, 1, H, W] in [0, 1].
            views: [M] int64, index in VIEWS; images of a view that the model lacks are not used.
            study: [M] int64 in 0 ... n - 1.
            features: [n, K] of the patients, in the config's order, scaled to [0, 1] (age by 100
                years, sex 0 F and 1 M, view position 0 PA and 1 AP); NaN where unknown.
            counts: images of each view of the config, which promises that the images are sorted by
                these views: nothing then depends on values of a tensor, so that two encoders run
                without waiting for the device and compile as one graph.
            keep: [n, V] bool, views that fusion may see; what `drop_views` draws in training if not
                given. Views alone and together can so be read from the same images.
        """
        fused, by_view, has_view = self.fuse(
            images, views, study, n, features, counts=counts, keep=keep
        )
        single = {
            view: self._shape(head(self.dropout(by_view[:, self.config.views.index(view)])))
            for view, head in self.view_heads.items()
        }
        return StudyLogits(self._shape(self.head(self.dropout(fused))), single, has_view)

    def fuse(
        self,
        images: Tensor,
        views: Tensor,
        study: Tensor,
        n: int,
        features: Tensor | None = None,
        *,
        counts: Sequence[int] | None = None,
        keep: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What the joint head reads, [n, D], the features of each view, and which views there are.

        Arguments as of `forward`.
        """
        slots = self.slots[views]
        encoded = self._encode(images, slots, counts)
        if self.norm is not None:
            encoded = self.norm(encoded, slots)
        by_view, has_view = pool_views(encoded, slots, study, n, len(self.config.views))
        seen = has_view
        if keep is not None:
            seen = has_view & keep
        elif self.training and self.config.view_dropout:
            seen = drop_views(has_view, self.config.view_dropout)
        fused = self.fusion(Features(encoded, slots, study, by_view, seen))
        if self.metadata is not None:
            if features is None:
                raise ValueError(f"features: None; expected [{n}, {len(self.config.features)}]")
            fused = torch.cat([fused, self.metadata(features)], dim=1)
        return fused, by_view, has_view

    def _encode(self, images: Tensor, slots: Tensor, counts: Sequence[int] | None) -> Tensor:
        """[M, D]; zeros for images of other views."""
        if self.config.share_encoder:
            shared: Tensor = self.encoders[SHARED](images)
            return shared
        encoders = list(self.encoders.values())
        if counts is None:
            rows = [torch.nonzero(slots == slot).flatten() for slot in range(len(encoders))]
            chunks = [images[own] for own in rows]
        else:
            rows, chunks = None, list(torch.split(images, list(counts)))
        pairs = zip(encoders, chunks, strict=True)
        found = [encoder(own) for encoder, own in pairs if len(own)]
        if not found:
            return images.new_zeros(len(images), int(encoders[0].features))  # type: ignore[arg-type]
        encoded = torch.cat(found)
        if rows is None:
            return encoded
        empty = encoded.new_zeros(len(images), encoded.shape[1])
        return empty.index_copy(0, torch.cat(rows), encoded)

    def _shape(self, outputs: Tensor) -> Tensor:
        """[n, F], or in training [n, F, 3] of three classes."""
        if self.classes == 1:
            return outputs
        classes = outputs.view(len(outputs), -1, self.classes)
        return classes if self.training else two_class_logits(classes)


class Metadata(nn.Module):
    """What is known of the patient, with a learned value and a flag where it is not."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.missing = nn.Parameter(torch.zeros(features))
        self.layer = nn.Sequential(nn.Linear(2 * features, _METADATA_WIDTH), nn.ReLU())

    def forward(self, features: Tensor) -> Tensor:
        """[n, 32] from [n, K] in [0, 1] or NaN."""
        unknown = torch.isnan(features)
        values = torch.where(unknown, self.missing, 2 * features.nan_to_num() - 1)
        embedded: Tensor = self.layer(torch.cat([values, unknown.to(values.dtype)], dim=1))
        return embedded


def two_class_logits(classes: Tensor) -> Tensor:
    """[n, F] logits of p1 / (p0 + p1), which U-MultiClass scores (Irvin et al. 2019, sec. 3.1).

    Args:
        classes: [n, F, 3] negative, positive, uncertain.
    """
    return classes[..., 1] - classes[..., 0]
