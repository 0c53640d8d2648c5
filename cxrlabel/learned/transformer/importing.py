"""A checkpoint of others as a labeler's folder."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from cxrlabel.errors import InputError
from cxrlabel.learned.card import model_card
from cxrlabel.learned.storage import new_folder, write_facts
from cxrlabel.learned.transformer.checkpoint import read_chexbert
from cxrlabel.learned.transformer.encoders import longest_window, open_tokenizer
from cxrlabel.learned.transformer.labeler import KIND, TransformerLabeler


def import_chexbert(
    checkpoint: Path, tokenizer: str, out: Path, *, download: bool = False, force: bool = False
) -> tuple[str, ...]:
    """Write a CheXbert checkpoint as a labeler.

    Args:
        checkpoint: a .pth or .safetensors file.
        tokenizer: of BERT: a folder, or a name on the hub.
        out: the folder to be.
        download: whether the tokenizer may be fetched.

    Returns:
        The findings that it labels.

    Raises:
        InputError: the checkpoint or the tokenizer cannot be read, or do not belong together.
    """
    network = read_chexbert(checkpoint)
    opened = open_tokenizer(tokenizer, download=download)
    if len(opened) > network.config.vocab_size:
        raise InputError(
            f"--tokenizer: {len(opened):,} tokens, and {checkpoint} has "
            f"{network.config.vocab_size:,}; expected the tokenizer that it was trained with"
        )
    longest = longest_window(network.bert, network.config.max_position_embeddings)
    labeler = TransformerLabeler(network, opened, longest=longest, named=False)
    facts = {
        "kind": KIND,
        "version": version("cxr"),
        "imported": checkpoint.name,
        "by_rules": {},
        "labeling": {},
    }
    with new_folder(out, force=force) as folder:
        facts |= labeler.save(folder)
        write_facts(folder, facts, model_card(facts))
    return network.findings
