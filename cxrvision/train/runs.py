"""The run folder: config, what went in, the course of training, weights.

config.toml        settings (`cxr train --config` repeats the run)
run.json           versions, hashes of split, labels and cache, counts, findings, best epoch
metrics.csv        one row for each epoch
best.safetensors   the weights to predict with
checkpoint.pt      what `--resume` goes on from: weights, optimizer, where it was
predictions.csv    of the studies of the splits `val` and `test`, by the best weights
tensorboard/       the course of training as scalars
model_card.md      what it is, for people
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from cxrlabel.errors import InputError
from cxrlabel.writers import atomic_path
from cxrvision.train.config import TrainConfig, read_config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

CONFIG: Final = "config.toml"
RECORD: Final = "run.json"
METRICS: Final = "metrics.csv"
BEST: Final = "best.safetensors"
CHECKPOINT: Final = "checkpoint.pt"
LOGS: Final = "tensorboard"
PREDICTIONS: Final = "predictions.csv"
CARD: Final = "model_card.md"

METRIC_COLUMNS: Final = (
    "epoch", "step", "lr", "train_loss", "val_loss", "val_auc", "seconds", "images_per_second",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Run:
    """A finished or stopped run."""

    folder: Path
    config: TrainConfig
    record: Mapping[str, Any]

    @property
    def findings(self) -> tuple[str, ...]:
        """The findings that it predicts, in the order of its outputs."""
        return tuple(self.record["findings"])


def open_run(folder: Path | str) -> Run:
    """Read a run folder.

    Raises:
        InputError: it is no run, or has no weights yet.
    """
    place = Path(folder)
    if not (place / CONFIG).is_file():
        raise InputError(f"{place}: no {CONFIG}; expected a folder that `cxr train` wrote")
    if not (place / BEST).is_file() or not (place / RECORD).is_file():
        raise InputError(f"{place}: no weights yet; let `cxr train --resume` finish an epoch")
    return Run(place, read_config(place / CONFIG), read_record(place))


def read_record(folder: Path) -> dict[str, Any]:
    """Read run.json.

    Raises:
        InputError: it cannot be read, or is none of ours.
    """
    path = folder / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from error
    if not isinstance(record, dict) or not isinstance(record.get("findings"), list):
        raise InputError(f"{path}: no list 'findings'; expected what `cxr train` wrote")
    return record


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: not a safetensors file: {one_line(error)}") from error


def write_weights(path: Path, state: Mapping[str, Tensor]) -> None:
    """Write tensors; what shares memory is written twice."""
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    with atomic_path(path, force=True) as temporary:
        save_file(plain, temporary)


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write run.json."""
    with atomic_path(folder / RECORD, force=True) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def write_checkpoint(folder: Path, content: Mapping[str, Any]) -> None:
    """Write what a run goes on from: tensors and plain values alone."""
    with atomic_path(folder / CHECKPOINT, force=True) as temporary:
        torch.save(dict(content), temporary)


def read_checkpoint(folder: Path) -> dict[str, Any] | None:
    """What `write_checkpoint` wrote, or None.

    Raises:
        InputError: the file is torn.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, UnpicklingError) as error:
        raise InputError(f"{path}: cannot be read: {one_line(error)}") from error
    return content


def one_line(error: Exception) -> str:
    """The beginning of an error's message, for a line that names the file."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def write_metrics(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Write metrics.csv, one row for each epoch."""
    with (
        atomic_path(folder / METRICS, force=True) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.DictWriter(file, METRIC_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_tensorboard(folder: Path, row: Mapping[str, float | None]) -> None:
    """Add a row of metrics.csv to what TensorBoard shows, by step."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(folder / LOGS) as writer:
        for name, value in row.items():
            if name not in ("epoch", "step") and value is not None:
                writer.add_scalar(name, value, row["step"])
