"""The model card of a run: what it learned from, how, and what to mind (Mitchell et al. 2019)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from cxrlabel.writers import atomic_path
from cxrvision.train.runs import CARD

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cxrvision.train.config import TrainConfig

_TEMPLATE = Path(__file__).with_suffix(".md.jinja")


def write_model_card(folder: Path, config: TrainConfig, record: Mapping[str, Any]) -> None:
    """Write model_card.md from the config and what run.json holds."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    text = template.render(config=config, record=record)
    with atomic_path(folder / CARD, force=True) as temporary:
        temporary.write_text(text, encoding="utf-8")
