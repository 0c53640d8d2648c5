"""Random changes of a batch of images, on their device, in floating point.

Each image draws for itself, so the views of a study change independently. There is no flip unless
asked for: the heart has a side. Geometry is one affine map and one resampling, whatever it is of.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """The largest change of each kind; draws are uniform up to it, to both sides."""

    rotation: float = 10.0  # degrees
    scale: float = 0.1  # a share of the size
    shear: float = 3.0  # degrees
    translation: float = 0.05  # a share of the side
    crop: float = 0.15  # a share of the side that is cut away, at a random place
    gamma: float = 0.25  # logarithm of the exponent
    contrast: float = 0.2  # a share of it
    brightness: float = 0.1  # of the range [0, 1]
    noise: float = 0.02  # standard deviation, of the range [0, 1]
    flip: float = 0.0  # chance to mirror left and right


DEFAULT: Final = Augmentation()


@torch.no_grad()
def augment(images: Tensor, generator: torch.Generator, options: Augmentation = DEFAULT) -> Tensor:
    """Change each image at random.

    Args:
        images: [M, 1, H, W] in [0, 1]; the same seed gives the same result for the same shape.
        generator: on the device of the images.

    Returns:
        float32 of the same shape in [0, 1]; black where the image does not reach.
    """
    images = images.float()
    if not len(images):
        return images
    grid = F.affine_grid(
        affine_maps(len(images), generator, options), list(images.shape), align_corners=False
    )
    moved = F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)
    return change_intensity(moved, generator, options)


def affine_maps(count: int, generator: torch.Generator, options: Augmentation) -> Tensor:
    """[M, 2, 3] maps from places in the result to places in the image, both in [-1, 1]."""
    draws = _draws(count, 9, generator)
    turn, shear = (math.radians(x) for x in (options.rotation, options.shear))
    angle, slant = draws[:, 0] * turn, draws[:, 1] * shear
    kept = 1 - options.crop * (draws[:, 2] + 1) / 2  # share of the side that a crop leaves
    zoom = (1 + options.scale * draws[:, 3]) * kept
    side = torch.where(draws[:, 8] < 2 * options.flip - 1, -1.0, 1.0)
    cos, sin, tan = angle.cos(), angle.sin(), slant.tan()
    rows = torch.stack([cos * side, cos * tan - sin, sin * side, sin * tan + cos], dim=1)
    linear = rows.view(count, 2, 2) * zoom[:, None, None]
    # [-1, 1] is two sides long; a crop lies anywhere inside the image
    shift = 2 * options.translation * draws[:, 4:6] + (1 - kept)[:, None] * draws[:, 6:8]
    return torch.cat([linear, shift[:, :, None]], dim=2)


def change_intensity(
    images: Tensor, generator: torch.Generator, options: Augmentation = DEFAULT
) -> Tensor:
    """Change exposure as another device or another patient would.

    Args:
        images: [M, 1, H, W] float in [0, 1].

    Returns:
        The same shape and range.
    """
    draws = _draws(len(images), 4, generator)[:, :, None, None, None]
    images = images.clamp(0, 1) ** torch.exp(options.gamma * draws[:, 0])
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = mean + (images - mean) * (1 + options.contrast * draws[:, 1])
    images = images + options.brightness * draws[:, 2]
    if options.noise:
        grain = torch.randn(images.shape, generator=generator, device=images.device)
        images = images + options.noise * (draws[:, 3] + 1) / 2 * grain
    return images.clamp(0, 1)


def _draws(count: int, kinds: int, generator: torch.Generator) -> Tensor:
    """[M, kinds] uniform in [-1, 1]."""
    return 2 * torch.rand(count, kinds, generator=generator, device=generator.device) - 1
