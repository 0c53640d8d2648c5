"""Encoders to start from: a folder, a name on the hub where downloading is asked for, or a new one.

A new one is small: a BERT of two layers with a WordPiece vocabulary of the reports themselves. It
knows no language but theirs, and is trained in minutes on a CPU.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tokenizers import BertWordPieceTokenizer
from transformers import AutoConfig, AutoModel, AutoTokenizer, BertConfig, BertModel
from transformers import PreTrainedTokenizerFast as FastTokenizer

from cxrlabel.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SMALL: Final = "small"
_VOCABULARY: Final = 4_000
_WIDTH: Final = 128
_LAYERS: Final = 2
_HEADS: Final = 4
_POSITIONS: Final = 512


def open_encoder(
    name: str, texts: Iterable[str], *, download: bool
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """An encoder and its tokenizer.

    Args:
        name: "small", a folder, or a name on the hub.
        texts: sentences of reports, for the vocabulary of a small one.
        download: whether a name that is no folder may be fetched.

    Raises:
        InputError: it is not there, or not an encoder.
    """
    if name == SMALL:
        return _small(texts)
    if not Path(name).is_dir() and not download:
        raise InputError(
            f"--encoder: {name!r} is no folder; expected one, {SMALL!r}, or --download to fetch it "
            "from the hub"
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, local_files_only=not download)
        encoder = AutoModel.from_pretrained(
            name, local_files_only=not download, use_safetensors=True
        )
    except (OSError, ValueError) as error:
        raise InputError(
            f"--encoder: {name!r} cannot be read ({type(error).__name__}); expected config.json, "
            "model.safetensors and a tokenizer"
        ) from error
    return encoder, tokenizer


def open_tokenizer(name: str, *, download: bool) -> PreTrainedTokenizerBase:
    """A tokenizer alone.

    Raises:
        InputError: as of `open_encoder`.
    """
    if not Path(name).is_dir() and not download:
        raise InputError(
            f"--tokenizer: {name!r} is no folder; expected one, or --download to fetch it"
        )
    try:
        return AutoTokenizer.from_pretrained(name, local_files_only=not download)
    except (OSError, ValueError) as error:
        raise InputError(
            f"--tokenizer: {name!r} cannot be read ({type(error).__name__}); expected tokenizer "
            "files of transformers"
        ) from error


def longest_window(encoder: PreTrainedModel, wanted: int) -> int:
    """The tokens of a window: as wanted, and no more than the encoder has positions for."""
    config = AutoConfig.for_model(encoder.config.model_type)
    positions = getattr(encoder.config, "max_position_embeddings", wanted)
    reserved = 2 if config.model_type in ("roberta", "xlm-roberta", "camembert") else 0
    return min(wanted, int(positions) - reserved)


def _small(texts: Iterable[str]) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    wordpiece = BertWordPieceTokenizer(lowercase=True)
    wordpiece.train_from_iterator(texts, vocab_size=_VOCABULARY, min_frequency=2)
    tokenizer = FastTokenizer(
        tokenizer_object=wordpiece._tokenizer,
        unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        pad_token="[PAD]", mask_token="[MASK]", model_max_length=_POSITIONS,
    )  # fmt: skip
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=_WIDTH,
        num_hidden_layers=_LAYERS,
        num_attention_heads=_HEADS,
        intermediate_size=4 * _WIDTH,
        max_position_embeddings=_POSITIONS,
        pad_token_id=tokenizer.pad_token_id,
    )
    return BertModel(config, add_pooling_layer=False), tokenizer
