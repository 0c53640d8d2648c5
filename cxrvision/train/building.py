"""From a config to the parts of a training: device, model, optimizer."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cxrlabel.errors import InputError
from cxrvision.model.study_model import ModelConfig, StudyModel
from cxrvision.model.twin import TwinModel
from cxrvision.noise.correction import UNKNOWN_ERROR, wrong_shares
from cxrvision.targets import needs_three_classes, positive_weights
from cxrvision.train.course import Course, Trainee
from cxrvision.train.fabric import Fabric
from cxrvision.train.losses import Loss, make_loss
from cxrvision.train.noise_losses import (
    CO_TEACHING,
    GCE,
    co_teaching_loss,
    corrected_loss,
    generalized_cross_entropy,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cxrvision.train.config import TrainConfig
    from cxrvision.train.label_error import LabelError
    from cxrvision.train.prepare import Part

DEVICES: Final = ("auto", "cpu", "cuda")

_PRECISIONS: Final = {"fp32": "32-true", "bf16": "bf16-mixed"}


def make_fabric(config: TrainConfig) -> Fabric:
    """The devices of a run; under torchrun or Slurm those of all its processes.

    Raises:
        InputError: a GPU is wanted and there is none.
    """
    on_gpu = choose_device(config.device).type == "cuda"
    wanted = config.precision if config.precision != "auto" else ("bf16" if on_gpu else "fp32")
    devices, nodes = count_devices(os.environ, config.devices)
    if config.batch_size < devices * nodes:
        raise InputError(
            f"--batch-size: {config.batch_size} studies for {devices * nodes} processes; "
            "expected at least one for each"
        )
    fabric = Fabric(
        accelerator="cuda" if on_gpu else "cpu",
        # a batch of one process may have no lateral image, so that its encoder gets no gradient
        strategy="ddp_find_unused_parameters_true" if devices * nodes > 1 else "auto",
        devices=devices,
        num_nodes=nodes,
        precision=_PRECISIONS[wanted],  # type: ignore[arg-type]
    )
    fabric.launch()
    torch.use_deterministic_algorithms(config.deterministic, warn_only=True)
    if on_gpu:
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = not config.deterministic
    return fabric


def choose_device(name: str) -> torch.device:
    """The device for "auto", "cpu" or "cuda".

    Raises:
        InputError: another name, or a GPU is wanted and there is none.
    """
    if name not in DEVICES:
        raise InputError(f"--device: {name!r}; expected one of {', '.join(DEVICES)}")
    has_gpu = torch.cuda.is_available()
    if name == "cuda" and not has_gpu:
        raise InputError("--device cuda: torch sees no GPU here; expected one, or --device cpu")
    return torch.device("cuda" if has_gpu and name != "cpu" else "cpu")


def count_devices(environment: Mapping[str, str], wanted: int) -> tuple[int, int]:
    """Devices of a machine and machines: as torchrun or srun started the processes.

    Args:
        wanted: devices where neither did.
    """
    if "LOCAL_WORLD_SIZE" in environment:  # torchrun
        devices = int(environment["LOCAL_WORLD_SIZE"])
        return devices, int(environment.get("WORLD_SIZE", devices)) // devices
    by_hand = environment.get("SLURM_JOB_NAME") in ("bash", "interactive")
    if "SLURM_NTASKS_PER_NODE" in environment and not by_hand:  # srun
        return int(environment["SLURM_NTASKS_PER_NODE"]), int(environment.get("SLURM_NNODES", 1))
    return wanted, 1


def make_model(config: TrainConfig, findings: Sequence[str]) -> StudyModel | TwinModel:
    """The model of a config, its first weights from the config's seed."""
    per_finding = dict(item.split("=", 1) for item in config.policies)
    made = ModelConfig(
        backbone=config.backbone,
        views=config.views,
        findings=tuple(findings),
        fusion=config.fusion,
        share_encoder=config.share_encoder,
        weights=config.weights,
        view_heads=config.view_heads,
        head="multiclass" if needs_three_classes(config.uncertain, per_finding) else "sigmoid",
        dropout=config.dropout,
        view_dropout=config.view_dropout,
        features=config.features,
        freeze=config.freeze,
        size=config.size,
    )
    torch.manual_seed(config.seed)
    if config.chosen_noise_method == CO_TEACHING:
        return TwinModel(StudyModel(made), StudyModel(made))
    return StudyModel(made)


def make_criterion(
    config: TrainConfig, part: Part, error: LabelError, device: torch.device, *, trainee: Trainee
) -> Loss:
    """The loss of a config, which weighs positives as the targets of training ask for.

    Args:
        part: what is trained on.
        trainee: whose epoch a loss that changes with it asks for.
    """
    method = config.chosen_noise_method
    if method == GCE:
        return generalized_cross_entropy
    if method == CO_TEACHING:
        wrong = np.full((2, len(part.studies.findings)), UNKNOWN_ERROR)
        if error.tables is not None:
            wrong = wrong_shares(error.tables)
        shares = torch.from_numpy(wrong).to(device)
        return partial(co_teaching_loss, wrong=shares, epoch=lambda: trainee.course.epoch)
    loss = make_loss(
        config.loss,
        pos_weight=torch.from_numpy(positive_weights(part.targets)).to(device),
        multiclass=part.targets.multiclass,
    )
    return corrected_loss(part.targets, loss, device)


def make_trainee(config: TrainConfig, findings: Sequence[str], fabric: Fabric) -> Trainee:
    """Model and optimizer on the device, before the first step."""
    model: nn.Module = make_model(config, findings).to(fabric.device)
    on_gpu = fabric.device.type == "cuda"
    if on_gpu:
        model = model.to(memory_format=torch.channels_last)
        if fabric.world_size > 1:
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    average = None
    if config.ema:
        decay = get_ema_multi_avg_fn(config.ema)
        average = AveragedModel(model, multi_avg_fn=decay, use_buffers=True)
    optimizer = make_optimizer(model, config, fused=on_gpu)
    compiled: Any = torch.compile(model) if config.compile else model
    wrapped, optimizer = fabric.setup(compiled, optimizer)
    return Trainee(wrapped, optimizer, average, Course())


def make_optimizer(
    model: nn.Module, config: TrainConfig, *, fused: bool = False
) -> torch.optim.Optimizer:
    """The optimizer over what learns; norms and biases are not decayed."""
    learning = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in learning if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=0.9, nesterov=True, fused=fused)
    if config.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, lr=config.lr, momentum=0.9)
    return torch.optim.AdamW(groups, lr=config.lr, fused=fused)
