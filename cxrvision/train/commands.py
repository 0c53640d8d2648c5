"""The commands `cxr train` and `cxr predict`."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cxrlabel.terminal import ForceOption, console, errors_as_lines, note, split_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cxrvision.train.loop import Progress

StudiesOption = Annotated[
    Path | None,
    typer.Option("--studies", metavar="FILE", help="Manifest that `cxr data index` wrote."),
]
CacheOption = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Images that `cxr data cache` made; else files.")
]
DeviceOption = Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where to compute.")]

_LISTS: Final = ("views", "findings", "features", "policies")


@contextmanager
def training_bar() -> Iterator[Callable[[Progress], None] | None]:
    """A bar for each epoch on stderr, with loss, rate and time left; None off a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TextColumn("{task.fields[rate]:,.0f} images/s"),
        TimeRemainingColumn(),
    )
    bars = Bars(*columns, console=console(stderr=True))
    tasks: dict[int, Any] = {}

    def show(at: Progress) -> None:
        bars.start()  # only in the process that is told of progress
        if at.epoch not in tasks:
            tasks[at.epoch] = bars.add_task(f"epoch {at.epoch}", total=at.steps, loss=0, rate=0)
        bars.update(tasks[at.epoch], completed=at.step, loss=at.loss, rate=at.images_per_second)

    try:
        yield show
    finally:
        bars.stop()


def train_command(
    *,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Run folder.")],
    studies: StudiesOption = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Labels by study, as `cxr label` writes.")
    ] = None,
    label_probs: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Of `cxr label --probabilities`: labels count as likely they are."
        ),
    ] = None,
    config_file: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="Settings of a run; options go over them."),
    ] = None,
    views: Annotated[
        str | None, typer.Option("--views", metavar="NAMES", help="frontal,lateral or one of them.")
    ] = None,
    cache: CacheOption = None,
    findings: Annotated[
        str | None, typer.Option(metavar="NAMES", help="With commas; by default all labels.")
    ] = None,
    uncertain: Annotated[
        str | None,
        typer.Option(
            metavar="POLICY",
            help="ignore, zeros, ones, smooth, smooth-zeros, self-train, multiclass.",
        ),
    ] = None,
    blank: Annotated[
        str | None, typer.Option(metavar="POLICY", help="Not mentioned: zeros or ignore.")
    ] = None,
    policies: Annotated[
        str | None,
        typer.Option("--policy", metavar="NAME=POLICY", help="Of single findings, with commas."),
    ] = None,
    teacher: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Predictions to self-train on.")
    ] = None,
    noise: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Label error, the noise.json of `cxr audit report`."),
    ] = None,
    noise_method: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="auto (forward with a table), forward, soft, backward, gce, co-teaching, none.",
        ),
    ] = None,
    noise_report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="In place of --noise: labels against reports,"),
    ] = None,
    noise_image: Annotated[
        Path | None, typer.Option(metavar="FILE", help="and reports against images; composed.")
    ] = None,
    noise_shift: Annotated[
        str | None,
        typer.Option(
            metavar="auto|site|none", help="Adapt to the prevalence of the studies, or of sites."
        ),
    ] = None,
    noise_mentions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Mentions of the labels: error by cue and section; with --manual."
        ),
    ] = None,
    noise_draws: Annotated[
        int | None, typer.Option(help="Heads for draws of the table: predictions with an error.")
    ] = None,
    manual: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Manual review: truths to learn from and to choose by."),
    ] = None,
    sample: Annotated[
        Path | None, typer.Option(metavar="FILE", help="How the reviewed studies were drawn.")
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(metavar="report|image", help="What the review looked at, if it says not."),
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(metavar="NAME", help="Encoder of timm or torchvision.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(metavar="none|imagenet|FILE", help="First weights.")
    ] = None,
    fusion: Annotated[
        str | None, typer.Option(metavar="NAME", help="gated, moments, max or attention.")
    ] = None,
    share_encoder: Annotated[
        bool | None, typer.Option("--share-encoder", help="One encoder for both views.")
    ] = None,
    view_heads: Annotated[
        bool | None, typer.Option("--view-heads/--no-view-heads", help="A loss for each view too.")
    ] = None,
    features: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Also use age, sex, view_position.")
    ] = None,
    freeze: Annotated[
        bool | None, typer.Option("--freeze", help="Train the head alone (transfer).")
    ] = None,
    dropout: Annotated[float | None, typer.Option(help="Of pooled features.")] = None,
    view_dropout: Annotated[
        float | None, typer.Option(help="Chance to hide a view of a study that has both.")
    ] = None,
    one_loss_per_step: Annotated[
        bool | None, typer.Option("--one-loss-per-step", help="Train one head at a time.")
    ] = None,
    size: Annotated[int | None, typer.Option(help="Pixels of a side.")] = None,
    fit: Annotated[
        str | None, typer.Option(metavar="pad|crop|stretch", help="To a square.")
    ] = None,
    augment: Annotated[
        bool | None, typer.Option("--augment/--no-augment", help="Vary the images.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the studies.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Studies of a step, all devices.")] = None,
    accumulate: Annotated[int | None, typer.Option(help="Steps for one update.")] = None,
    loss: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="bce, weighted, focal, asymmetric, auc-margin."),
    ] = None,
    optimizer: Annotated[
        str | None, typer.Option(metavar="NAME", help="adamw, sgd or rmsprop.")
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate at its highest.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Of weights, not of norms.")] = None,
    warmup: Annotated[float | None, typer.Option(help="Epochs of the warm-up.")] = None,
    ema: Annotated[float | None, typer.Option(help="Decay of averaged weights; 0: none.")] = None,
    metric: Annotated[
        str | None, typer.Option(metavar="auc|loss", help="Chooses the best epoch, on val.")
    ] = None,
    patience: Annotated[
        int | None, typer.Option(help="Epochs without a better one before it stops.")
    ] = None,
    save_every: Annotated[int | None, typer.Option(help="Steps between checkpoints.")] = None,
    device: Annotated[
        str | None, typer.Option(metavar="auto|cpu|cuda", help="To train on.")
    ] = None,
    devices: Annotated[int | None, typer.Option(help="GPUs; torchrun sets its own.")] = None,
    precision: Annotated[
        str | None, typer.Option(metavar="auto|fp32|bf16", help="auto: bf16 on a GPU.")
    ] = None,
    compile_model: Annotated[
        bool | None, typer.Option("--compile", help="Compile the model; for GPUs.")
    ] = None,
    deterministic: Annotated[
        bool | None, typer.Option("--deterministic", help="The same bits again; slower.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that read images.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, order and augmentation.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out where it stopped.")
    ] = False,
    force: ForceOption = False,
) -> None:
    """Train an image model on studies with one or both views."""
    given = {
        "studies": studies and str(studies), "labels": labels and str(labels),
        "label_probs": label_probs and str(label_probs),
        "cache": cache and str(cache), "views": views, "findings": findings,
        "uncertain": uncertain, "blank": blank, "policies": policies,
        "teacher": teacher and str(teacher), "noise": noise and str(noise),
        "noise_method": noise_method, "noise_report": noise_report and str(noise_report),
        "noise_image": noise_image and str(noise_image), "noise_shift": noise_shift,
        "noise_mentions": noise_mentions and str(noise_mentions), "noise_draws": noise_draws,
        "manual": manual and str(manual), "sample": sample and str(sample),
        "reference": reference, "backbone": backbone, "weights": weights,
        "fusion": fusion, "share_encoder": share_encoder,
        "view_heads": view_heads, "features": features, "freeze": freeze, "dropout": dropout,
        "view_dropout": view_dropout, "one_loss_per_step": one_loss_per_step, "size": size,
        "fit": fit, "augment": augment, "epochs": epochs, "batch_size": batch_size,
        "accumulate": accumulate, "loss": loss, "optimizer": optimizer, "lr": lr,
        "weight_decay": weight_decay, "warmup": warmup, "ema": ema, "metric": metric,
        "patience": patience, "save_every": save_every, "device": device, "devices": devices,
        "precision": precision, "compile": compile_model, "deterministic": deterministic,
        "workers": workers, "seed": seed,
    }  # fmt: skip
    settings: dict[str, Any] = {
        name: split_names(str(value)) if name in _LISTS else value
        for name, value in given.items()
        if value is not None
    }
    with errors_as_lines("stopped: pass --resume to go on from the last checkpoint"):
        from cxrvision.train.config import choose_config
        from cxrvision.train.training import run_training

        config = choose_config(settings, config_file, out if resume else None)
        with training_bar() as show:
            done = run_training(config, out, resume=resume, force=force, progress=show)
        if not done.first:
            return
        for line in done.left_out:
            note(f"left out: {line}")
        for line in done.notes:
            note(line)
        best = done.course
        value = "" if best.best_epoch < 0 else f", best epoch {best.best_epoch + 1}"
        typer.echo(f"trained {best.epoch} epochs{value} -> {out}")


def predict_command(
    *,
    run: Annotated[
        list[Path], typer.Option("--run", metavar="DIR", help="Run folder; several are averaged.")
    ],
    studies: Annotated[
        Path, typer.Option("--studies", metavar="FILE", help="Manifest of the studies.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help=".csv or .parquet.")],
    cache: CacheOption = None,
    split: Annotated[str, typer.Option(metavar="NAME", help="Only train, val or test.")] = "",
    per_view: Annotated[
        bool, typer.Option("--per-view", help="Also each view alone, of studies with both.")
    ] = False,
    tta: Annotated[int, typer.Option(min=0, help="Varied copies of each image to average.")] = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Studies at a time.")] = 16,
    workers: Annotated[int, typer.Option(min=1, help="Processes that read images.")] = 1,
    device: DeviceOption = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print what was left out.")] = False,
    force: ForceOption = False,
) -> None:
    """Predict the findings of studies; with several runs the mean of their probabilities."""
    with errors_as_lines():
        from cxrlabel.writers import check_target, table_kind
        from cxrvision.data.manifest import read_manifest
        from cxrvision.train.predicting import PredictOptions, predict, write_predictions
        from cxrvision.train.runs import open_run

        check_target(out, force=force)
        table_kind(out)
        options = PredictOptions(
            split=split, per_view=per_view, tta=tta, batch_size=batch_size, workers=workers,
            device=device,
        )  # fmt: skip
        opened = [open_run(folder) for folder in run]
        found = predict(opened, read_manifest(studies), cache=cache, options=options)
        write_predictions(out, found, force=force)
        if as_json:
            left_out = {"without_image": found.without_image, "broken": found.broken}
            typer.echo(json.dumps(left_out, indent=2))
            return
        for what, names in (
            ("images that cannot be read", found.broken),
            ("studies without a usable image", found.without_image),
        ):
            if names:
                note(f"{len(names):,} {what}: {', '.join(names[:5])}{' …' * (len(names) > 5)}")
        if found.seed_share is not None:
            note(
                f"variance of a run's probabilities: {found.seed_share:.0%} from its seed, "
                f"{1 - found.seed_share:.0%} from the audit"
            )
        typer.echo(f"predicted {found.table['study_id'].nunique():,} studies -> {out}")
