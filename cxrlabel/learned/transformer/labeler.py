"""The transformer as a labeler: readings in, probabilities of states out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import AutoTokenizer

from cxrlabel.errors import InputError
from cxrlabel.findings import STATES
from cxrlabel.learned.transformer.network import StateNetwork, combine_windows, padded
from cxrlabel.learned.transformer.windows import Windows

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

    from cxrlabel.reading import Reading

    Floats = NDArray[np.float64]

KIND: Final = "transformer"
_BATCH_TOKENS: Final = 16_384  # of one pass, padding included
_BATCH_WINDOWS: Final = 256


class TransformerLabeler:
    """An encoder with heads.

    Args:
        network: the weights.
        tokenizer: of the encoder.
        longest: tokens of a window.
        named: whether sections begin with their names.
        slope: of all log odds; below 1 where they were too sure of themselves.
    """

    kind = KIND

    def __init__(
        self,
        network: StateNetwork,
        tokenizer: PreTrainedTokenizerBase,
        *,
        longest: int,
        named: bool,
        slope: float = 1.0,
    ) -> None:
        self.network = network
        self.tokenizer = tokenizer
        self.longest = longest
        self.named = named
        self.slope = slope
        self.windows = make_windows(tokenizer, longest=longest, named=named)

    @property
    def findings(self) -> tuple[str, ...]:
        """The findings that it has learned."""
        return self.network.findings

    @property
    def pad(self) -> int:
        """The id that fills short windows."""
        return int(self.tokenizer.pad_token_id or 0)

    def calibrated(self, slope: float) -> TransformerLabeler:
        """The same with all log odds times a number."""
        return TransformerLabeler(
            self.network, self.tokenizer, longest=self.longest, named=self.named, slope=slope
        )

    def probs(self, readings: Sequence[Reading], rules: NDArray[np.uint8]) -> Floats:
        """[N, findings, 4] probability of each of STATES; what the rules found does not count."""
        return self.predict([self.windows(reading) for reading in readings])

    def predict(self, windows: Sequence[Sequence[Sequence[int]]]) -> Floats:
        """[N, findings, 4] of the windows of N reports."""
        flat = [window for own in windows for window in own]
        owner = np.repeat(np.arange(len(windows)), [len(own) for own in windows])
        logits = torch.zeros(len(flat), len(self.findings), len(STATES))
        order = np.argsort([len(window) for window in flat], kind="stable")
        device = next(self.network.parameters()).device
        self.network.eval()
        with torch.inference_mode(), autocast(device):
            for rows in length_batches([len(flat[i]) for i in order]):
                places = order[rows]
                tokens, mask = padded([flat[i] for i in places], self.pad, device)
                logits[places] = self.network(tokens, mask).float().cpu()
        logs = combine_windows(
            self.slope * logits, torch.from_numpy(owner), len(windows), self.findings
        )
        return logs.exp().double().numpy()

    def save(self, folder: Path) -> dict[str, Any]:
        """Write its files; returns what belongs to the facts."""
        self.network.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        return {
            "findings": {
                name: {"classes": list(STATES), "of_state": list(range(len(STATES)))}
                for name in self.findings
            },
            "slope": self.slope,
            "longest": self.longest,
            "named": self.named,
        }

    @classmethod
    def load(cls, folder: Path, facts: Mapping[str, Any]) -> TransformerLabeler:
        """Read what `save` wrote, onto a GPU where there is one.

        Raises:
            InputError: files are missing or damaged.
        """
        try:
            network = StateNetwork.from_pretrained(folder)
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise InputError(
                f"{folder}: missing or damaged weights or tokenizer; expected what a fit wrote"
            ) from error
        network.to("cuda" if torch.cuda.is_available() else "cpu")
        return cls(
            network,
            tokenizer,
            longest=facts["longest"],
            named=facts["named"],
            slope=float(facts["slope"]),
        )


def make_windows(tokenizer: PreTrainedTokenizerBase, *, longest: int, named: bool) -> Windows:
    """What cuts readings into windows for a tokenizer."""

    def tokenize(text: str) -> list[int]:
        found: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return found

    start, end = tokenizer.cls_token_id, tokenizer.sep_token_id
    if start is None or end is None:  # of the RoBERTa family
        start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    if start is None or end is None:
        raise InputError("--encoder: its tokenizer has no tokens for start and end; expected both")
    return Windows(tokenize, start=start, end=end, longest=longest, named=named)


def length_batches(lengths: Sequence[int]) -> list[slice]:
    """Runs of windows, sorted by length, that fit one pass: of alike lengths, so little padding."""
    batches = []
    start = 0
    for end, length in enumerate(lengths):
        full = (end - start + 1) * length > _BATCH_TOKENS or end - start == _BATCH_WINDOWS
        if full and end > start:
            batches.append(slice(start, end))
            start = end
    return [*batches, slice(start, len(lengths))] if len(lengths) > start else batches


def autocast(device: torch.device) -> Any:
    """bfloat16 on a GPU, float32 elsewhere."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")
