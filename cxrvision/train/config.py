"""The settings of a training run, as they are written to and read from `config.toml`."""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_type_hints

from cxrlabel.errors import InputError
from cxrlabel.writers import atomic_path
from cxrvision.noise.correction import BACKWARD, BY_TABLE, FORWARD, SOFT

if TYPE_CHECKING:
    from collections.abc import Mapping

OPTIMIZERS: Final = ("adamw", "sgd", "rmsprop")
METRICS: Final = ("auc", "loss")
PRECISIONS: Final = ("auto", "fp32", "bf16")
NEED_BCE: Final = (FORWARD, BACKWARD, "gce", "co-teaching")
NOISE_METHODS: Final = ("auto", *BY_TABLE, "gce", "co-teaching", "none")
NOISE_SHIFTS: Final = ("auto", "site", "none")

_LEAST: Final = {
    "size": 16, "epochs": 1, "batch_size": 1, "accumulate": 1, "devices": 1, "workers": 0,
    "patience": 0, "save_every": 0, "weight_decay": 0, "warmup": 0, "clip_norm": 0, "ema": 0,
    "seed": 0, "noise_draws": 0,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """All that a run depends on, but the files that it reads.

    Lists are comma-separated on the command line; `policies` are "Finding=policy".
    """

    # what is learned
    studies: str = ""
    labels: str = ""
    label_probs: str = ""  # of each state, by the labeler that made the labels
    cache: str = ""
    views: tuple[str, ...] = ("frontal", "lateral")
    findings: tuple[str, ...] = ()  # none: all of the labels
    uncertain: str = "ignore"
    blank: str = "zeros"
    policies: tuple[str, ...] = ()  # of single findings, in place of `uncertain`
    teacher: str = ""  # predictions for the same studies, for the policy "self-train"
    # the error of the labels
    noise: str = ""  # observation table of an audit of the labels
    noise_report: str = ""  # in its place two: of the labels against the reports, and
    noise_image: str = ""  # of the reports against the images
    noise_method: str = "auto"  # "forward" where there is a table, else "none"
    noise_shift: str = "auto"  # prevalence: of the studies trained on, of each "site", or "none"
    noise_mentions: str = ""  # mentions of the labels, by which their error may differ
    noise_draws: int = 0  # heads for as many draws of the table
    manual: str = ""  # manual review: its studies of the split `val` choose the best epoch
    sample: str = ""  # how the reviewed studies were drawn
    reference: str = ""  # of the review: "report" or "image"; "": what its file says
    # the model
    backbone: str = "densenet121"
    weights: str = "none"
    fusion: str = "gated"
    share_encoder: bool = False
    view_heads: bool = True
    features: tuple[str, ...] = ()
    freeze: bool = False
    dropout: float = 0.0
    # chance that a view of a study that has both is left out: without it the model of both views
    # was below a frontal one where the lateral is missing (docs/evaluation.md)
    view_dropout: float = 0.3
    one_loss_per_step: bool = False  # Hashir et al. 2020: draw one of the heads at each step
    # pixels
    size: int = 320
    fit: str = "pad"
    augment: bool = True
    # the loop
    epochs: int = 10
    batch_size: int = 16
    accumulate: int = 1
    loss: str = "bce"
    optimizer: str = "adamw"
    lr: float = 1e-4
    weight_decay: float = 1e-2
    warmup: float = 0.5  # epochs
    clip_norm: float = 1.0  # 0: not clipped
    ema: float = 0.0  # decay of the averaged weights; 0: none
    metric: str = "auc"  # that the best weights are chosen by, on the split `val`
    patience: int = 0  # epochs without a better value before it stops; 0: never
    save_every: int = 0  # steps between checkpoints within an epoch; 0: at its end only
    # the machine
    device: str = "auto"
    devices: int = 1
    precision: str = "auto"
    compile: bool = False
    deterministic: bool = False
    workers: int = 0
    seed: int = 1

    def __post_init__(self) -> None:
        for name, choices in (
            ("optimizer", OPTIMIZERS),
            ("metric", METRICS),
            ("precision", PRECISIONS),
            ("device", ("auto", "cpu", "cuda")),
            ("fit", ("pad", "crop", "stretch")),
            ("noise_method", NOISE_METHODS),
            ("noise_shift", NOISE_SHIFTS),
        ):
            value = getattr(self, name)
            if value not in choices:
                option = name.replace("_", "-")
                raise InputError(f"--{option}: {value!r}; expected one of {', '.join(choices)}")
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if not (value >= least and math.isfinite(value)):
                raise InputError(f"--{name.replace('_', '-')}: {value}; expected {least} or more")
        if self.ema >= 1:
            raise InputError(f"--ema: {self.ema}; expected 0 or more and less than 1")
        if not self.views or not set(self.views) <= {"frontal", "lateral"}:
            raise InputError(
                f"--views: {','.join(self.views)!r}; expected frontal, lateral or frontal,lateral"
            )
        object.__setattr__(self, "views", tuple(sorted(set(self.views))))  # as in VIEWS
        wrong = [item for item in self.policies if "=" not in item]
        if wrong:
            raise InputError(f"--policy: {wrong[0]!r}; expected FINDING=POLICY")
        if not self.lr > 0:
            raise InputError(f"--lr: {self.lr}; expected a number above 0")
        self._check_noise()

    def _check_noise(self) -> None:
        """Options of label error that do not go together."""
        if bool(self.noise_report) != bool(self.noise_image):
            raise InputError("--noise-report, --noise-image: one alone; expected both, or --noise")
        if self.noise and self.noise_report:
            raise InputError("--noise and --noise-report: both given; expected one of them")
        for option in ("sample", "noise_mentions"):
            if getattr(self, option) and not self.manual:
                name = option.replace("_", "-")
                raise InputError(f"--{name}: without a review; expected --manual with it")
        method = self.chosen_noise_method
        if method in BY_TABLE and not (self.noise or self.noise_report):
            raise InputError(
                f"--noise-method {method}: needs an observation table; expected --noise with the "
                "noise.json of `cxr audit report`"
            )
        if self.noise_draws and method not in BY_TABLE:
            raise InputError(
                f"--noise-draws: there is no table to draw from with --noise-method {method}; "
                f"expected one of {', '.join(BY_TABLE)}"
            )
        if self.noise_draws and self.noise_shift == "site" and method != FORWARD:
            raise InputError(
                f"--noise-draws: with --noise-shift site and --noise-method {method}; expected "
                f"{FORWARD}, which needs no prevalence"
            )
        if method in NEED_BCE and self.loss != "bce":
            raise InputError(
                f"--noise-method {method}: with --loss {self.loss}; expected bce, of which it is "
                "a form"
            )
        if self.noise_mentions and method not in (SOFT, FORWARD):
            raise InputError(
                f"--noise-mentions: with --noise-method {method}; expected {FORWARD} or {SOFT}"
            )
        multiclass = "multiclass" in (self.uncertain, *(p.split("=")[-1] for p in self.policies))
        if method != "none" and multiclass:
            raise InputError(
                f"--uncertain multiclass: with --noise-method {method}; expected another policy, "
                "since the method says what an uncertain label is worth"
            )

    @property
    def chosen_noise_method(self) -> str:
        """What "auto" comes to: "forward" where there is a table, else "none"."""
        if self.noise_method != "auto":
            return self.noise_method
        return FORWARD if self.noise or self.noise_report else "none"


def write_config(path: Path, config: TrainConfig, *, force: bool = False) -> None:
    """Write a config as TOML, one line for each setting."""
    lines = [
        f"{field.name} = {json.dumps(getattr(config, field.name), ensure_ascii=False)}\n"
        for field in dataclasses.fields(config)
    ]
    with atomic_path(path, force=force) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")


def read_config(path: Path) -> TrainConfig:
    """Read a config; settings that it does not have keep their defaults.

    Raises:
        InputError: no such file, not TOML, or a setting that is unknown or of another type.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not TOML: {error}") from error
    return make_config(content, place=str(path))


def make_config(settings: Mapping[str, Any], *, place: str) -> TrainConfig:
    """A config from plain values.

    Raises:
        InputError: a setting that is unknown or of another type.
    """
    kinds = get_type_hints(TrainConfig)
    values = {}
    for name, value in settings.items():
        if name not in kinds:
            raise InputError(f"{place}: unknown setting {name!r}; expected {', '.join(kinds)}")
        values[name] = _checked(value, kinds[name], f"{place}: {name}")
    return TrainConfig(**values)


def _checked(value: Any, kind: Any, place: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind in (bool, int, float, str):
        if type(value) is kind:
            return value
        raise InputError(f"{place}: {value!r}; expected {kind.__name__}")
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise InputError(f"{place}: {value!r}; expected a list of texts")


def choose_config(
    settings: Mapping[str, Any], config_file: Path | None, resumed: Path | None
) -> TrainConfig:
    """The config of a command: options over a config file over the defaults.

    Args:
        resumed: a run folder whose own settings are the base where no file is given.

    Raises:
        InputError: a setting is wrong, or there is no manifest or no labels.
    """
    base = config_file
    if base is None and resumed is not None and (resumed / "config.toml").is_file():
        base = resumed / "config.toml"
    start = TrainConfig() if base is None else read_config(base)
    config = make_config({**dataclasses.asdict(start), **settings}, place="options")
    for option, value in (("--studies", config.studies), ("--labels", config.labels)):
        if not value:
            raise InputError(f"{option}: expected a file")
    return config
