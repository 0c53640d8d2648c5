"""Training images a second: our loader beside synthetic tensors and beside a plain loop.

Each row is a loop of training steps. Synthetic tensors are one batch that stays on the device:
what the step alone allows. The other rows of ours are the same step with a loader before it, of the
cache (memory-mapped, and in the memory of the GPU where it fits) or of the raw files.
The plain loop is what many scripts do: a DataLoader whose workers decode and resize with Pillow,
torchvision's network, float32, AdamW, frontal images, no augmentation.

Machines differ and are shared, so read the ratios: all rows run in turn, `--repeat` times; a rate
is the median of its runs, and a share is the median of the ratios within a turn.

    uv run python benchmarks/train_speed.py --backbone resnet18 --size 128 --batch-size 16

On a GPU:

    python benchmarks/train_speed.py --size 224 --batch-size 128 --steps 32 --studies 1024
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from itertools import islice, product, repeat
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import transforms
from torchvision.models import get_model

from cxrlabel.findings import resolve
from cxrlabel.tables import read_labels
from cxrvision.data.cache import build_cache, open_cache
from cxrvision.data.manifest import read_manifest
from cxrvision.phantom import write_phantoms
from cxrvision.train.augmentation import augment
from cxrvision.train.batches import BatchPlan, plan_epoch
from cxrvision.train.building import make_fabric, make_trainee
from cxrvision.train.config import TrainConfig
from cxrvision.train.losses import masked_bce
from cxrvision.train.pixels import (
    Batch,
    BatchData,
    FilePixels,
    PixelSource,
    cached_pixels,
    load_batches,
    on_device,
)
from cxrvision.train.prepare import make_study_targets
from cxrvision.train.steps import as_float, head_losses, total_loss
from cxrvision.train.studies import Studies, make_studies

if TYPE_CHECKING:
    from cxrvision.train.course import Trainee
    from cxrvision.train.fabric import Fabric

VIEWS = {"frontal": ("frontal",), "frontal + lateral": ("frontal", "lateral")}
MISSING = 0.5  # share of the drawn studies without a lateral image
AHEAD = 2  # batches that a worker of a DataLoader reads ahead
BOUND = {224: 8800, 320: 4300}  # images/s of DenseNet-121 on an H200, eager
PACKAGES = ("torch", "torchvision", "timm", "lightning-fabric", "numpy", "pillow")


@dataclass(slots=True, eq=False)
class Row:
    """A loop that can be run again and again."""

    names: tuple[str, ...]  # views, precision, mode, where images come from
    run: Callable[[int], tuple[int, float]]  # steps -> images and seconds
    base: Row | None = None  # that it is a share of
    rates: list[float] = field(default_factory=list)  # images/s by turn


def main() -> None:
    """Measure, and print one table."""
    args = read_options()
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.images or Path(scratch) / "drawn"
        config = prepare(args, folder, Path(scratch) / "cache")
        compiled = config.device == "cuda" if args.compile is None else args.compile
        rows = [plain_row(config)]
        for mode, precision, views in product((False, True), args.precisions, VIEWS):
            if compiled or not mode:
                changes = {"views": VIEWS[views], "precision": precision, "compile": mode}
                rows += our_rows(replace(config, **changes), (views, precision))
        for turn in range(args.repeat + 1):
            for row in rows:
                note(f"turn {turn} of {args.repeat}: {', '.join(row.names)}")
                images, seconds = row.run(args.steps)
                if turn:  # the first one warms up and compiles
                    row.rates.append(images / seconds)
        print_table(rows, config, args)


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--size", type=int, default=224)
    add("--backbone", default="densenet121")
    add("--batch-size", type=int, default=64, help="studies; of the plain loop images")
    add("--steps", type=int, default=20, help="of each run")
    add("--repeat", type=int, default=5, help="runs of each row, in turn")
    add("--studies", type=int, default=512)
    add("--raw-size", type=int, default=1024, help="pixels of the drawn files (PNG)")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    add("--workers", type=int, default=os.cpu_count() or 1, help="for raw files, ours and plain")
    add("--precisions", nargs="+", choices=("fp32", "bf16"), default=("fp32", "bf16"))
    add("--compile", action=argparse.BooleanOptionalAction, help="also; default: on a GPU")
    add("--images", type=Path, help="has studies.csv and labels.csv; drawn here if it has none")
    return parser.parse_args()


def note(line: str) -> None:
    """Say what is going on."""
    print(line, file=sys.stderr, flush=True)


def prepare(args: argparse.Namespace, folder: Path, cache: Path) -> TrainConfig:
    """Draw the studies if need be, make their cache, and say how to train on them."""
    if not (folder / "studies.csv").is_file():
        note(f"drawing {args.studies} studies of {args.raw_size} px")
        write_phantoms(
            folder,
            studies=args.studies,
            size=args.raw_size,
            missing_lateral=MISSING,
            workers=args.workers,
        )
    note("making the cache")
    manifest = read_manifest(folder / "studies.csv")
    build_cache(manifest, cache, size=args.size, workers=args.workers)
    on_gpu = torch.cuda.is_available() if args.device == "auto" else args.device == "cuda"
    return TrainConfig(
        studies=str(folder / "studies.csv"),
        labels=str(folder / "labels.csv"),
        cache=str(cache),
        backbone=args.backbone,
        size=args.size,
        batch_size=args.batch_size,
        device="cuda" if on_gpu else "cpu",
        workers=args.workers,
    )


def read_studies(config: TrainConfig) -> Studies:
    """The studies of all splits."""
    labels = read_labels(Path(config.labels), resolve=resolve).table
    return make_studies(read_manifest(Path(config.studies)), labels, views=config.views)


# Our loop


def our_rows(config: TrainConfig, names: tuple[str, ...]) -> list[Row]:
    """One model, fed from each source."""
    names = (*names, "compiled" if config.compile else "eager")
    studies = read_studies(config)
    fabric = make_fabric(config)
    trainee = make_trainee(config, studies.findings, fabric)
    targets = make_study_targets(studies, config)

    def data_of(pixels: PixelSource) -> BatchData:
        return BatchData(studies, pixels, targets.values, targets.mask)

    def step(batch: Batch, *, augmented: bool = True) -> int:
        train_step(trainee, batch, replace(config, augment=augmented), fabric)
        return len(batch.images)

    cached = cached_pixels(studies, open_cache(config.cache), place=config.cache)
    plans = plan_steps(studies, config, 1)
    drawn = next(load_batches(data_of(cached), plans, device=fabric.device))
    noise = torch.randint(0, 256, drawn.images.shape, dtype=torch.uint8, device=fabric.device)
    synthetic = replace(drawn, images=noise)

    def add(name: str, steps: Callable[[int], tuple[int, float]], base: Row | None) -> Row:
        return Row((*names, name), steps, base)

    def from_synthetic(augmented: bool) -> Callable[[int], tuple[int, float]]:
        return lambda steps: timed(
            repeat(synthetic), partial(step, augmented=augmented), steps, fabric.device
        )

    def from_pixels(pixels: PixelSource, workers: int = 0) -> Callable[[int], tuple[int, float]]:
        def run(steps: int) -> tuple[int, float]:
            plans = plan_steps(studies, config, all_steps(steps, workers))
            batches = load_batches(data_of(pixels), plans, device=fabric.device, workers=workers)
            return timed(batches, step, steps, fabric.device, workers)

        return run

    base = add("synthetic tensors", from_synthetic(True), None)
    rows = [base, add("the same, not augmented", from_synthetic(False), base)]
    resident = on_device(cached, fabric.device)
    if resident is not cached:
        rows.append(add("cache, in the memory of the GPU", from_pixels(resident), base))
    rows.append(add("cache, memory-mapped", from_pixels(cached), base))
    files = FilePixels(studies.paths, config.size, config.fit)
    rows.append(add("raw files", from_pixels(files, config.workers), base))
    return rows


def plan_steps(studies: Studies, config: TrainConfig, steps: int) -> list[BatchPlan]:
    """As many batches as asked for, epoch after epoch."""
    rng = np.random.default_rng(config.seed)
    plans: list[BatchPlan] = []
    while len(plans) < steps:
        plans += plan_epoch(studies, batch_size=config.batch_size, rng=rng)
    return plans[:steps]


def train_step(trainee: Trainee, batch: Batch, config: TrainConfig, fabric: Fabric) -> None:
    """What `cxrvision.train.loop` does with a batch, in one process."""
    pixels = as_float(batch.images)
    if config.augment:
        generator = torch.Generator(fabric.device)
        generator.manual_seed(config.seed)
        pixels = augment(pixels, generator)
    heads = head_losses(batch.logits(trainee.model, pixels, config.views), batch, masked_bce)
    counts = torch.stack([head.count for head in heads]).clamp(min=1e-6)
    fabric.backward(total_loss(heads, counts))
    fabric.clip_gradients(trainee.model, trainee.optimizer, max_norm=config.clip_norm)
    trainee.optimizer.step()
    trainee.optimizer.zero_grad(set_to_none=True)


# The plain loop


class PlainImages(Dataset[tuple[Tensor, Tensor]]):
    """Frontal images as many scripts read them."""

    def __init__(self, studies: Studies, size: int) -> None:
        first = studies.offsets[:-1]  # of each study
        self.paths, self.targets = studies.paths[first], np.nan_to_num(studies.states)
        self.change = transforms.Compose(
            [
                transforms.Resize((size, size)),
                transforms.ToTensor(),
                transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        """[3, S, S] and [F]."""
        with Image.open(self.paths[number]) as image:
            return self.change(image.convert("RGB")), torch.from_numpy(self.targets[number])


def plain_row(config: TrainConfig) -> Row:
    """The loop of a tutorial."""
    studies = read_studies(replace(config, views=("frontal",)))
    device = torch.device(config.device)
    model = get_model(config.backbone, weights=None, num_classes=len(studies.findings)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr)
    criterion = nn.BCEWithLogitsLoss()
    images = PlainImages(studies, config.size)

    def step(batch: list[Tensor]) -> int:
        pixels, targets = (tensor.to(device, non_blocking=True) for tensor in batch)
        loss = criterion(model(pixels), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return len(pixels)

    def run(steps: int) -> tuple[int, float]:
        loader = DataLoader(
            images,
            batch_size=config.batch_size,
            sampler=RandomSampler(
                images, num_samples=all_steps(steps, config.workers) * config.batch_size
            ),
            num_workers=config.workers,
            pin_memory=device.type == "cuda",
        )
        return timed((batch for batch in loader), step, steps, device, config.workers)

    return Row(("frontal", "fp32", "eager", "plain loop on raw files"), run)


# Measuring


def all_steps(steps: int, workers: int) -> int:
    """Steps of a run with those before its time is taken, and what workers read ahead meanwhile."""
    return warm_steps(workers) + timed_steps(steps, workers) + AHEAD * workers


def warm_steps(workers: int) -> int:
    """Until what the workers had read before the first step is used up."""
    return max(2, AHEAD * workers)


def timed_steps(steps: int, workers: int) -> int:
    """At least so many, and as many for each worker, since their batches come together."""
    return steps if not workers else -(-steps // workers) * workers


def timed(
    batches: Iterator[Any],
    step: Callable[[Any], int],
    steps: int,
    device: torch.device,
    workers: int = 0,
) -> tuple[int, float]:
    """Images and seconds of some steps, in the middle of a run."""
    for batch in islice(batches, warm_steps(workers)):
        step(batch)
    wait(device)
    began = time.perf_counter()
    images = sum(step(batch) for batch in islice(batches, timed_steps(steps, workers)))
    wait(device)
    seconds = time.perf_counter() - began
    if isinstance(batches, Generator):
        batches.close()  # ends its workers
    return images, seconds


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def print_table(rows: list[Row], config: TrainConfig, args: argparse.Namespace) -> None:
    """The machine and one row for each loop."""
    plain, gpu = rows[0], torch.cuda.get_device_name() if config.device == "cuda" else ""
    bound = BOUND.get(config.size) if "H200" in gpu and config.backbone == "densenet121" else None
    print(
        f"{gpu or platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    )
    print(
        f"{config.backbone}, {config.size} px, batches of {config.batch_size} studies, "
        f"{args.steps} steps x {args.repeat} turns, {config.workers} workers for raw files\n"
    )
    heads = ["views", "precision", "mode", "images from", "images/s", "slowest to fastest",
             "share of synthetic", "x plain loop"]  # fmt: skip
    heads += ["share of the bandwidth bound"] if bound else []
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for row in rows:
        cells = [*row.names, f"{median(row.rates):,.1f}"]
        cells += [f"{min(row.rates):,.1f} to {max(row.rates):,.1f}"]
        cells += ["" if row.base is None else f"{ratio(row, row.base):.0%}"]
        cells += [f"{ratio(row, plain):.2f}"]
        cells += [f"{median(row.rates) / bound:.0%}"] if bound else []
        print(f"| {' | '.join(cells)} |")


def ratio(row: Row, other: Row) -> float:
    """Of their speeds in the same turn; the median over turns."""
    return median(a / b for a, b in zip(row.rates, other.rates, strict=True))


if __name__ == "__main__":
    main()
