"""The image encoder: a timm or torchvision network, by name, from one-channel pixels to features.

The classifier of the network is left out. Normalisation of the pixels belongs to the encoder, so
that weights never meet pixels of another range than those that they were trained on.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import timm
import torch
import torchvision
from torch import Tensor, nn

from cxrlabel.errors import InputError
from cxrvision.model.weights import IMAGENET, TORCHVISION, find_imagenet, load_weights

# Names of the literature -> the network of timm that is meant
ALIASES: Final[Mapping[str, str]] = {
    "xception": "legacy_xception",  # Chollet 2017; timm's own xception41 ... are other networks
    "mobilenetv3": "mobilenetv3_large_100",
    "efficientnet": "efficientnet_b0",
    "convnext": "convnext_tiny",
    "vit": "vit_small_patch16_224",
    "swin": "swin_tiny_patch4_window7_224",
}
_GREY: Final = (0.5, 0.25)  # mean and standard deviation where a network states none


class Encoder(nn.Module):
    """A network without its classifier.

    Attributes:
        features: length of a feature vector.
        mean, std: [C, 1, 1] of the pixels that the network expects, on the scale of [0, 1].
    """

    net: Any  # nn.Module
    mean: Tensor
    std: Tensor

    def __init__(self, name: str, net: nn.Module, features: int, *, mean: Tensor, std: Tensor):
        super().__init__()
        self.name = name
        self.net = net
        self.features = features
        self.frozen = False
        self.register_buffer("mean", mean.reshape(-1, 1, 1))
        self.register_buffer("std", std.reshape(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Pooled features.

        Args:
            images: [M, C, H, W] in [0, 1].

        Returns:
            [M, D].
        """
        features: Tensor = self.net((images - self.mean) / self.std)
        return features

    def feature_map(self, images: Tensor) -> Tensor:
        """[M, D', h, w] before pooling ([M, tokens, D'] of a vision transformer).

        Raises:
            ValueError: the network is of torchvision, which has no common way to ask for it.
        """
        if not hasattr(self.net, "forward_features"):
            raise ValueError(f"{self.name}: only the networks of timm give their feature map")
        found: Tensor = self.net.forward_features((images - self.mean) / self.std)
        return found

    def freeze(self) -> None:
        """Stop learning: no gradients, and batch norm keeps its averages from here on."""
        self.requires_grad_(False)
        self.frozen = True
        self.eval()

    def train(self, mode: bool = True) -> Encoder:
        """Set the mode, which a frozen encoder does not leave again."""
        super().train(mode and not self.frozen)
        return self


def make_encoder(
    name: str, *, weights: str = "none", channels: int = 1, size: int = 0, view: str = ""
) -> Encoder:
    """A network of timm, or else of torchvision, without its classifier.

    Args:
        name: as timm or torchvision has it, or one of `ALIASES`.
        weights: "none" (random, from torch's global generator), "imagenet" (from the local caches
            of timm and torchvision; nothing is downloaded) or a file, as `load_weights` reads it.
        channels: of the images; pretrained kernels for RGB are summed for one channel.
        size: of the images in pixels, for networks that are built for one; 0 takes theirs. The
            ViTs of timm take images of any size in either case.
        view: whose encoder to take from a file that holds several.

    Raises:
        InputError: an unknown name, or weights that are not there or do not fit.
    """
    known = ALIASES.get(name, name)
    imagenet = find_imagenet(known) if weights == IMAGENET else None
    if timm.is_model(known):
        encoder = _timm_encoder(known, channels, size, imagenet)
    else:
        encoder = _torchvision_encoder(known, channels)
        if imagenet is not None:
            load_weights(encoder, imagenet)
    if weights not in ("none", IMAGENET):
        load_weights(encoder, Path(weights), view=view)
    return encoder


def _timm_encoder(name: str, channels: int, size: int, imagenet: Path | None) -> Encoder:
    cfg = timm.get_pretrained_cfg(name)
    options: dict[str, Any] = {"num_classes": 0, "in_chans": channels}
    if imagenet is not None:  # timm sums the kernel of the first layer over RGB
        options |= {"pretrained": True, "pretrained_cfg_overlay": {"file": str(imagenet)}}
    if cfg is not None and cfg.fixed_input_size and size:
        options["img_size"] = size
    net = _create(name, options, any_size=cfg is not None and cfg.fixed_input_size)
    if hasattr(net, "pre_logits") and name.startswith("vgg"):
        # The two layers of 4,096 units hold 9 of 10 parameters of a VGG and tie it to 224 pixels;
        # like the other networks it gives the mean of its last feature map.
        net.pre_logits = nn.Identity()
        features = int(net.num_features)
    else:
        features = int(net.head_hidden_size)
    mean, std = (cfg.mean, cfg.std) if cfg is not None else ((_GREY[0],), (_GREY[1],))
    return Encoder(name, net, features, mean=_grey(mean, channels), std=_grey(std, channels))


def _create(name: str, options: dict[str, Any], *, any_size: bool) -> Any:
    if any_size:
        try:  # only the families of ViT know these options
            return timm.create_model(name, **options, dynamic_img_size=True, dynamic_img_pad=True)
        except TypeError:
            pass
    try:
        return timm.create_model(name, **options)
    except (AssertionError, ValueError, RuntimeError) as error:
        raise InputError(f"--backbone: {name!r} cannot be built: {error}") from error


def _torchvision_encoder(name: str, channels: int) -> Encoder:
    own = name.removeprefix(TORCHVISION)
    if own not in torchvision.models.list_models(module=torchvision.models):
        raise InputError(f"--backbone: {_unknown(name)}")
    options = {"aux_logits": False, "init_weights": False} if own == "googlenet" else {}
    net = torchvision.models.get_model(own, weights=None, **options)
    linear = [path for path, module in net.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise InputError(f"--backbone: {name!r} ends in no linear layer; expected another network")
    features = net.get_submodule(linear[-1]).in_features
    net.set_submodule(linear[-1], nn.Identity())
    if channels != 3:
        stem = next(path for path, m in net.named_modules() if isinstance(m, nn.Conv2d))
        net.set_submodule(stem, _with_channels(net.get_submodule(stem), channels))
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # torchvision, all its weights
    return Encoder(name, net, int(features), mean=_grey(mean, channels), std=_grey(std, channels))


def _with_channels(conv: Any, channels: int) -> nn.Conv2d:
    return nn.Conv2d(
        channels,
        conv.out_channels,
        conv.kernel_size,
        stride=conv.stride,
        padding=conv.padding,
        bias=conv.bias is not None,
    )


def _grey(values: tuple[float, ...], channels: int) -> Tensor:
    """[C] of RGB, or their mean for each channel of other images."""
    rgb = torch.tensor(values)
    return rgb if channels == len(values) else rgb.mean().repeat(channels)


def _unknown(name: str) -> str:
    known = [*ALIASES, *timm.list_models(), *torchvision.models.list_models()]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}?" if near else "such as densenet121, resnet50 or convnext"
    return f"{name!r} is no network of timm or torchvision; {hint}"
