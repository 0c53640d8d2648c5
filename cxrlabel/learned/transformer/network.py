"""An encoder with a four-way head for each finding, as in CheXbert (Smit et al. 2020).

The parts have CheXbert's names, `bert` and `linear_heads`, whatever the encoder is. It is saved and
read as models of transformers are: config.json, model.safetensors and the tokenizer in one folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from cxrlabel.findings import NO_FINDING, STATES

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

_WEIGHTS: Final = "model.safetensors"
_FINDINGS: Final = "cxr_findings"  # in config.json
_TINY: Final = 1e-7


class StateNetwork(nn.Module):
    """Windows of reports to the states of findings.

    Args:
        encoder: gives [B, L, H]; its first token stands for the window.
        findings: F of them.
    """

    def __init__(self, encoder: PreTrainedModel, findings: Sequence[str]) -> None:
        super().__init__()
        if getattr(encoder, "pooler", None) is not None:
            # the heads read the first token as it is
            encoder.pooler = None  # type: ignore[assignment]
        self.bert = encoder
        self.findings = tuple(findings)
        self.dropout = nn.Dropout(0.1)
        width = encoder.config.hidden_size
        self.linear_heads = nn.ModuleList(nn.Linear(width, len(STATES)) for _ in findings)

    @property
    def config(self) -> PretrainedConfig:
        """Of the encoder."""
        return self.bert.config

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Logits of each window.

        Args:
            tokens: [B, L] ids.
            mask: [B, L] 1 where there is a token.

        Returns:
            [B, F, 4] of STATES.
        """
        hidden = self.bert(input_ids=tokens, attention_mask=mask).last_hidden_state[:, 0]
        pooled = self.dropout(hidden)
        return torch.stack([head(pooled) for head in self.linear_heads], dim=1)

    def save_pretrained(self, folder: Path) -> None:
        """Write config.json and model.safetensors."""
        setattr(self.config, _FINDINGS, list(self.findings))
        self.config.save_pretrained(folder)
        state = {name: value.contiguous() for name, value in self.state_dict().items()}
        save_file(state, folder / _WEIGHTS, metadata={"format": "pt"})

    @classmethod
    def from_pretrained(cls, folder: Path) -> StateNetwork:
        """Read what `save_pretrained` wrote; nothing is downloaded."""
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        network = cls(AutoModel.from_config(config), getattr(config, _FINDINGS))
        network.load_state_dict(load_file(folder / _WEIGHTS))
        return network


def combine_windows(logits: Tensor, owner: Tensor, reports: int, findings: Sequence[str]) -> Tensor:
    """Log probabilities of reports from those of their windows.

    A report is positive unless no window is; else uncertain unless no window is; else negative; and
    blank where all are. Windows are taken as independent. No Finding is positive where all are.

    Args:
        logits: [W, F, 4].
        owner: [W] the report of each window, in [0, `reports`).

    Returns:
        [`reports`, F, 4].
    """
    logs = logits.float().log_softmax(dim=-1)
    often = torch.bincount(owner, minlength=reports)
    if int(often.max()) <= 1:  # one window each, in order
        return logs
    probs = logs.exp()
    # chance that a window is weaker than each state: 1 - P(positive), 1 - P(positive, uncertain) …
    weaker = (1 - probs.cumsum(dim=-1)).clamp_min(_TINY)[..., :-1]
    none = torch.zeros(reports, *weaker.shape[1:], device=logits.device)
    none = none.index_add(0, owner, weaker.log()).exp()
    first = torch.ones_like(none[..., :1])
    stronger = torch.cat([first, none, torch.zeros_like(first)], dim=-1)
    combined = (stronger[..., :-1] - stronger[..., 1:]).clamp_min(_TINY).log()
    if NO_FINDING in findings:
        own = list(findings).index(NO_FINDING)
        healthy = torch.zeros(reports, device=logits.device)
        healthy = healthy.index_add(0, owner, logs[:, own, 0]).clamp_max(-_TINY)
        combined[:, own] = torch.log(torch.tensor(_TINY))
        combined[:, own, 0] = healthy
        combined[:, own, -1] = torch.log(-torch.expm1(healthy))
    alone = torch.zeros_like(combined).index_add(0, owner, logs)
    return torch.where((often == 1)[:, None, None], alone, combined)


def padded(windows: Sequence[Sequence[int]], pad: int, device: Any) -> tuple[Tensor, Tensor]:
    """[B, L] token ids and the mask of windows of different lengths."""
    longest = max(map(len, windows))
    tokens = torch.full((len(windows), longest), pad, dtype=torch.long)
    mask = torch.zeros((len(windows), longest), dtype=torch.long)
    for row, window in enumerate(windows):
        tokens[row, : len(window)] = torch.tensor(window)
        mask[row, : len(window)] = 1
    return tokens.to(device), mask.to(device)
