"""Weights from a file into an encoder: names, first layer, and the pixels that they expect.

Files are safetensors, or state_dicts that torch reads with `weights_only`. A pickle of a whole
model, which would run code, is refused.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import huggingface_hub
import safetensors.torch
import timm
import torch
import torchvision
from safetensors import SafetensorError
from torch import Tensor

from cxrlabel.errors import InputError

if TYPE_CHECKING:
    from cxrvision.model.encoders import Encoder

IMAGENET: Final = "imagenet"
TORCHVISION: Final = "torchvision."  # before a name: that package's network, where timm has it too

_WRAPPERS: Final = ("state_dict", "model_state_dict", "model", "state_dict_ema")
# DenseNet of torchvision before 0.2: denselayer1.norm.1 for norm1, as CheXNet's files have it
_OLD_DENSENET: Final = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.(\d)")
_HEADS: Final = ("classifier.weight", "fc.weight")
_XRV_FINDINGS: Final = 18  # outputs of every classifier of torchxrayvision
# torchxrayvision's pixels are (2 x - 1) * 1024 for x in [0, 1] (datasets.normalize)
_XRV_MEAN: Final = 0.5
_XRV_STD: Final = 1 / 2048


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name.

    Raises:
        InputError: no such file, or not one of tensors alone.
    """
    if not path.is_file():
        raise InputError(f"--weights: {path}: no such file; expected none, imagenet or a file")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise InputError(
            f"--weights: {path}: not a file of tensors alone; expected safetensors, or what "
            "torch.save(model.state_dict(), file) writes (a pickled model can run code)"
        ) from error
    return _tensors(content, path)


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    found = content if isinstance(content, Mapping) else {}
    state = {name: value for name, value in found.items() if isinstance(value, Tensor)}
    if not state:
        raise InputError(f"--weights: {path}: no tensors by name; expected a state_dict")
    return {_OLD_DENSENET.sub(r"\1\2", name): value for name, value in state.items()}


def load_weights(encoder: Encoder, path: Path, *, view: str = "") -> None:
    """Load the weights of an encoder, all of them, from a file that may hold more.

    Known are files of timm and torchvision, of torchxrayvision (its DenseNets and ResNets: the
    normalisation becomes theirs), of a run of ours (with its normalisation; of two encoders that of
    `view`), and these under any prefix, such as "module.". Classifiers are not taken.

    Raises:
        InputError: a weight is missing or has another shape.
    """
    state, own = read_state(path), encoder.net.state_dict()
    prefix = _prefix(state, own, view)
    stem = next(name for name in own if own[name].ndim == 4)
    taken = {}
    for name, value in own.items():
        if prefix + name not in state:
            if name.endswith("num_batches_tracked"):  # absent in old files, and nothing needs it
                taken[name] = value
                continue
            raise InputError(
                f"--weights: {path}: no tensor {name!r}; expected the weights of {encoder.name}"
            )
        taken[name] = state[prefix + name]
        if name == stem:
            taken[name] = _fit_stem(taken[name], value)
        if taken[name].shape != value.shape:
            found, wanted = list(taken[name].shape), list(value.shape)
            raise InputError(
                f"--weights: {path}: {name!r} has shape {found}; {encoder.name} expects {wanted}"
            )
    encoder.net.load_state_dict(taken)
    _set_normalisation(encoder, state, prefix, stem)


def _prefix(state: Mapping[str, Tensor], own: Mapping[str, Tensor], view: str) -> str:
    """What stands before our names in a file: where most of them are found, then the view's."""
    anchor = next(iter(own))
    found = {name.removesuffix(anchor) for name in state if name.endswith(anchor)}
    candidates = sorted(prefix for prefix in found if prefix == "" or prefix.endswith("."))

    def fit(prefix: str) -> tuple[int, bool]:
        return sum(prefix + name in state for name in own), view in prefix.split(".")

    return max(candidates, key=fit, default="")


def _fit_stem(kernel: Tensor, own: Tensor) -> Tensor:
    """A first layer for other channels: grey is the same value in R, G and B, so kernels add up."""
    channels = own.shape[1]
    if kernel.ndim != 4 or kernel.shape[1] == channels:
        return kernel
    return kernel.sum(dim=1, keepdim=True).repeat(1, channels, 1, 1) / channels


def _set_normalisation(
    encoder: Encoder, state: Mapping[str, Tensor], prefix: str, stem: str
) -> None:
    outer = prefix.removesuffix("net.")
    if prefix.endswith("net.") and f"{outer}mean" in state:
        encoder.mean.copy_(state[f"{outer}mean"])
        encoder.std.copy_(state[f"{outer}std"])
    elif state[prefix + stem].shape[1] == 1 and _is_torchxrayvision(state, prefix):
        encoder.mean.fill_(_XRV_MEAN)
        encoder.std.fill_(_XRV_STD)


def _is_torchxrayvision(state: Mapping[str, Tensor], prefix: str) -> bool:
    heads = [state[prefix + name] for name in _HEADS if prefix + name in state]
    return "op_threshs" in state or any(len(head) == _XRV_FINDINGS for head in heads)


def find_imagenet(name: str) -> Path:
    """The file of a network's ImageNet weights in the caches of Hugging Face or torch.

    Raises:
        InputError: it is not there; the message says how to get it. Nothing is downloaded.
    """
    cfg = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    if cfg is not None and cfg.hf_hub_id:
        for file in (cfg.hf_hub_filename, "model.safetensors", "pytorch_model.bin"):
            cached = file and huggingface_hub.try_to_load_from_cache(cfg.hf_hub_id, file)
            if isinstance(cached, str):
                return Path(cached)
        raise _not_cached(name, f"hf download {cfg.hf_hub_id}")
    url = str(cfg.url or "") if cfg is not None else _torchvision_url(name)
    if not url:
        raise InputError(
            f"--weights imagenet: there are none for {name!r}; expected none or a file"
        )
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    if path.is_file():
        return path
    raise _not_cached(name, f"curl -L --create-dirs -o {path} {url}")


def _torchvision_url(name: str) -> str:
    name = name.removeprefix(TORCHVISION)
    if name not in torchvision.models.list_models(module=torchvision.models):
        return ""
    weights = torchvision.models.get_model_weights(name)
    return str(weights["DEFAULT"].url) if len(weights) else ""


def _not_cached(name: str, command: str) -> InputError:
    return InputError(
        f"--weights imagenet: those of {name} are not on this machine, and nothing is downloaded "
        f"unasked; get them by: {command}"
    )
