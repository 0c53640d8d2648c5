"""CheXbert checkpoints: what Smit et al. (2020) and others who use their code have published.

A state_dict, alone or under "model_state_dict", of `bert.*` and `linear_heads.*`, each perhaps
behind "module." from training on several GPUs. There are 14 heads in CheXbert's order of conditions
with the classes blank, positive, negative, uncertain; the last, No Finding, has blank and positive.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from safetensors.torch import load_file
from transformers import AutoModel, BertConfig

from cxrlabel.errors import InputError
from cxrlabel.findings import BLANK, NEGATIVE, POSITIVE, STATES, UNCERTAIN
from cxrlabel.learned.transformer.network import StateNetwork

if TYPE_CHECKING:
    from torch import Tensor

# the repository stanfordmlgroup/CheXbert, src/constants.py and src/label.py
CHEXBERT_FINDINGS: Final = (
    "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema",
    "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion",
    "Pleural Other", "Fracture", "Support Devices", "No Finding",
)  # fmt: skip
CHEXBERT_CLASSES: Final = (BLANK, POSITIVE, NEGATIVE, UNCERTAIN)
_NEVER: Final = -1e4  # the bias of a class that a head does not have
_HEAD_WIDTH: Final = 64  # of BERT's attention heads
_LAYER: Final = re.compile(r"encoder\.layer\.(\d+)\.")


def read_chexbert(path: Path) -> StateNetwork:
    """Read a checkpoint.

    Raises:
        InputError: it cannot be read, or is not of this form.
    """
    state = _state_dict(path)
    bert = {name.removeprefix("bert."): v for name, v in state.items() if name.startswith("bert.")}
    heads = sorted({name.split(".")[1] for name in state if name.startswith("linear_heads.")})
    if not bert or len(heads) != len(CHEXBERT_FINDINGS):
        raise InputError(
            f"{path}: {len(bert)} weights of bert.* and {len(heads)} linear_heads; expected a "
            f"CheXbert checkpoint with {len(CHEXBERT_FINDINGS)} heads"
        )
    network = StateNetwork(AutoModel.from_config(_config(bert, path)), CHEXBERT_FINDINGS)
    missing, unknown = network.bert.load_state_dict(bert, strict=False)
    missing = [name for name in missing if not name.startswith("pooler.")]
    unknown = [name for name in unknown if not name.endswith("position_ids")]
    if missing or unknown:
        what = f"no {missing[0]!r}" if missing else f"an unknown {unknown[0]!r}"
        raise InputError(f"{path}: {what} among bert.*; expected the weights of a BERT encoder")
    for number, head in enumerate(network.linear_heads):
        weight, bias = (state[f"linear_heads.{number}.{part}"] for part in ("weight", "bias"))
        rows = {"weight": _in_our_order(weight, 0.0), "bias": _in_our_order(bias, _NEVER)}
        head.load_state_dict(rows)
    return network


def _in_our_order(rows: Tensor, missing: float) -> Tensor:
    """Rows by CheXbert's classes to rows by STATES."""
    found = torch.full((len(STATES), *rows.shape[1:]), missing)
    for number, state in enumerate(CHEXBERT_CLASSES[: len(rows)]):
        found[STATES.index(state)] = rows[number].float()
    return found


def _state_dict(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds, none of its own
        raise InputError(f"{path}: cannot be read as weights: {type(error).__name__}") from error
    if isinstance(content, Mapping) and "model_state_dict" in content:
        content = content["model_state_dict"]
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: holds {type(content).__name__}; expected a state_dict")
    return {
        str(name).removeprefix("module."): value
        for name, value in content.items()
        if isinstance(value, torch.Tensor)
    }


def _config(bert: Mapping[str, Tensor], path: Path) -> BertConfig:
    """The shape of the encoder, as far as the weights tell it."""
    try:
        vocabulary, width = bert["embeddings.word_embeddings.weight"].shape
        positions = len(bert["embeddings.position_embeddings.weight"])
        types = len(bert["embeddings.token_type_embeddings.weight"])
        between = len(bert["encoder.layer.0.intermediate.dense.weight"])
    except KeyError as error:
        raise InputError(f"{path}: no {error.args[0]!r}; expected a BERT encoder") from None
    layers = 1 + max(int(match[1]) for name in bert if (match := _LAYER.match(name)))
    return BertConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=max(width // _HEAD_WIDTH, 1),
        intermediate_size=between,
        max_position_embeddings=positions,
        type_vocab_size=types,
    )
