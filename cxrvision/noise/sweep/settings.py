"""The settings of a sweep, its cells, and the file that says what a folder was made with."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cxrlabel.errors import InputError
from cxrlabel.writers import atomic_path
from cxrvision.data.cachefolder import lock
from cxrvision.noise.correction import BACKWARD, FORWARD, SOFT
from cxrvision.noise.rates import Rates

if TYPE_CHECKING:
    from cxrvision.noise.rates import Floats

Report = Callable[[str, int, int], None]  # what is done, how many are done, of how many

CLEAN: Final = "clean"
NONE: Final = "none"
GCE: Final = "gce"
SUBSET: Final = "clean-subset"
BOTH: Final = "forward-truth"
METHODS: Final = (CLEAN, NONE, GCE, SOFT, FORWARD, BACKWARD, SUBSET, BOTH)
AUDITED: Final = (SOFT, FORWARD, BACKWARD, SUBSET, BOTH)  # methods that need an audit

RECORD: Final = "sweep.json"
# may be others when a sweep goes on: cells are added, or done elsewhere, and none changes
_FREE: Final = ("sensitivities", "specificities", "repeats")
_LEAST: Final = {"size": 32, "epochs": 1, "batch_size": 1, "repeats": 1, "seed": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSettings:
    """All that a sweep depends on, but the files that it reads."""

    # the set
    studies: str = "3000"  # how many phantoms, or a manifest
    labels: str = ""  # the truth of a manifest's studies
    cache: str = ""  # of its images; else one is made
    findings: tuple[str, ...] = ()
    size: int = 64  # pixels
    prevalence: float = 0.2  # of phantoms
    # label error
    sensitivities: tuple[float, ...] = (0.6, 0.8, 0.95)
    specificities: tuple[float, ...] = (0.8, 0.9, 0.98)
    uncertain_positive: float = 0.0  # these as in `Rates`
    uncertain_negative: float = 0.0
    blank_positive: float = 0.0
    blank_negative: float = 0.0
    dependence: float = 0.0  # of the errors on the encoder's scores
    # what is done about it
    audits: tuple[int, ...] = (100, 200, 400)
    methods: tuple[str, ...] = METHODS
    uncertain: str = "ignore"  # policies of `none` and `gce`
    blank: str = "zeros"
    repeats: int = 5
    # the model
    backbone: str = "test_resnet"
    epochs: int = 10
    batch_size: int = 16
    lr: float = 3e-3
    encoder_share: float = 0.4  # of the patients that are not tested on
    train_encoder: bool = False  # the whole network in every cell
    penalty: float = 10.0  # of the squared weights, in units of a study's log likelihood
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            if not getattr(self, name) >= least:
                option = f"--{name.replace('_', '-')}"
                raise InputError(f"{option}: {getattr(self, name)}; expected {least} or more")
        if not self.lr > 0 or not self.penalty > 0:
            name = "penalty" if self.lr > 0 else "lr"
            raise InputError(f"--{name}: {getattr(self, name):g}; expected a number above 0")
        if not -1 < self.dependence < 1:
            raise InputError(f"--dependence: {self.dependence:g}; expected between -1 and 1")
        for name in ("encoder_share", "prevalence"):
            if not 0 < getattr(self, name) < 1:
                option = f"--{name.replace('_', '-')}"
                raise InputError(f"{option}: {getattr(self, name):g}; expected between 0 and 1")
        for name in ("sensitivities", "specificities", "audits", "methods"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise InputError(f"{_OPTIONS[name]}: expected one or more, each once")
        for size in self.audits:
            if size < 2:
                raise InputError(f"--audit: {size}; expected 2 or more studies")
        for method in self.methods:
            if method not in METHODS:
                raise InputError(f"--methods: {method!r}; expected some of {', '.join(METHODS)}")
        if NONE not in self.methods:
            raise InputError(f"--methods: expected {NONE!r} among them, which others are held to")
        for sensitivity, specificity in self.levels():
            self.table(sensitivity, specificity)
        if self.phantoms is None and not self.labels:
            raise InputError("--labels: expected the truth of the studies of the manifest")
        if self.phantoms is not None and (self.labels or self.cache):
            raise InputError(
                "--studies: a number asks for phantoms, which have their own labels and images; "
                "expected a manifest with --labels and --cache"
            )

    @property
    def phantoms(self) -> int | None:
        """How many phantoms are drawn; None: the studies are the user's."""
        return int(self.studies) if self.studies.isdigit() else None

    def levels(self) -> Iterator[tuple[float, float]]:
        """Sensitivity and specificity of each level of noise, the worst first."""
        yield from product(sorted(self.sensitivities), sorted(self.specificities))

    def table(self, sensitivity: float, specificity: float) -> Floats:
        """P(state | truth), [2, 4], at a level of noise."""
        return Rates(
            sensitivity=sensitivity,
            specificity=specificity,
            uncertain_positive=self.uncertain_positive,
            uncertain_negative=self.uncertain_negative,
            blank_positive=self.blank_positive,
            blank_negative=self.blank_negative,
        ).table(f"sensitivity {sensitivity:g}, specificity {specificity:g}")

    def cells(self) -> list[Cell]:
        """All cells, those of clean labels first."""
        numbers = range(self.repeats)
        clean = [Cell(None, repeat) for repeat in numbers if CLEAN in self.methods]
        return [*clean, *(Cell(level, repeat) for level in self.levels() for repeat in numbers)]


_OPTIONS: Final = {
    "sensitivities": "--sensitivity", "specificities": "--specificity", "audits": "--audit",
    "methods": "--methods",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cell:
    """One draw of the labels, with all audits and methods on it."""

    level: tuple[float, float] | None  # sensitivity and specificity; None: clean labels
    repeat: int  # from 0

    @property
    def name(self) -> str:
        """Of the cell's file, without its ending."""
        if self.level is None:
            return f"clean_r{self.repeat}"
        return f"s{self.level[0]:g}_c{self.level[1]:g}_r{self.repeat}"


def no_report(*_: object) -> None:
    """Say nothing of what is done."""


def parse_numbers(text: str, option: str) -> tuple[float, ...]:
    """Numbers that are written with commas.

    Raises:
        InputError: one is none, or not finite.
    """
    numbers = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        try:
            number = float(part)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise InputError(f"{option}: {part!r}; expected numbers with commas")
        numbers.append(number)
    return tuple(numbers)


def parse_sizes(text: str, option: str) -> tuple[int, ...]:
    """Whole numbers that are written with commas.

    Raises:
        InputError: one is none.
    """
    numbers = parse_numbers(text, option)
    for number in numbers:
        if number != int(number):
            raise InputError(f"{option}: {number:g}; expected whole numbers with commas")
    return tuple(map(int, numbers))


@contextmanager
def open_folder(out: Path, settings: SweepSettings, *, force: bool) -> Iterator[None]:
    """Make the folder this sweep's, or go on with it; one process at a time.

    Raises:
        InputError: it holds something else, a sweep with other settings or inputs (`force` drops
            that), or another process is at work in it.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: this is a file, expected a folder")
    record = _record(settings)
    before = _read_record(out)
    if before is None and out.is_dir() and any(_foreign(out)):
        raise InputError(f"{out}: the folder is not empty and holds no sweep")
    changed = [] if before is None else _changes(before, record)
    if changed and not force:
        raise InputError(
            f"{out}: holds a sweep with another {changed[0]}; go on with its own settings, or pass "
            "--force to drop it"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: cannot write here: {error.strerror or error}") from error
    with lock(out):
        if changed:
            _drop(out)
        with atomic_path(out / RECORD, force=True, again="new") as temporary:
            temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        yield


def _record(settings: SweepSettings) -> dict[str, Any]:
    paths = () if settings.phantoms is not None else (settings.studies, settings.labels)
    hashes = {}
    for path in paths:
        try:
            hashes[path] = hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    values = json.loads(json.dumps(asdict(settings)))  # tuples as they will be read
    return {"version": version("cxr"), "settings": values, "inputs": hashes}


def _read_record(out: Path) -> dict[str, Any] | None:
    try:
        content = json.loads((out / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    is_ours = isinstance(content, dict) and isinstance(content.get("settings"), dict)
    return content if is_ours else None


def _changes(before: dict[str, Any], now: dict[str, Any]) -> Sequence[str]:
    """What of settings and inputs differs, by name, but for what may."""
    own, other = before["settings"], now["settings"]
    names = [field.name for field in fields(SweepSettings) if field.name not in _FREE]
    changed = [name for name in names if own.get(name) != other[name]]
    if before.get("inputs") != now["inputs"]:
        changed.append("content of its input files")
    if before.get("version") != now["version"]:
        changed.append("version of cxr")
    return changed


def _foreign(out: Path) -> Iterator[Path]:
    """What is in the folder that no sweep that was killed at its start has left."""
    return (path for path in out.iterdir() if not path.name.startswith((f".{RECORD}.", ".lock")))


def _drop(out: Path) -> None:
    """Remove what a sweep made, the record last."""
    for name in ("phantoms", "encoder", "cache", "cells"):
        shutil.rmtree(out / name, ignore_errors=True)
    for name in ("features.npz", "sweep.csv", "summary.csv", "index.html", RECORD):
        (out / name).unlink(missing_ok=True)
