"""The commands `cxr noise simulate` and `cxr noise sweep`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrlabel.terminal import ForceOption, console, errors_as_lines, note, split_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from cxrvision.noise.rates import Floats, Rates
    from cxrvision.noise.simulation import Simulated

noise_app = typer.Typer(
    no_args_is_help=True, help="Label error as an experiment: simulate it, and see what helps."
)

UncertainPositive = Annotated[
    float, typer.Option(metavar="P", help="Labeled uncertain, of studies with the finding.")
]
UncertainNegative = Annotated[
    float, typer.Option(metavar="P", help="Labeled uncertain, of studies without it.")
]
BlankPositive = Annotated[
    float, typer.Option(metavar="P", help="Not mentioned, of studies with the finding.")
]
BlankNegative = Annotated[
    float, typer.Option(metavar="P", help="Not mentioned, of studies without it.")
]


@noise_app.command("simulate")
def simulate_command(
    truth: Annotated[
        Path, typer.Argument(metavar="TRUTH", help="Labels that are true: 1 and 0 by study.")
    ],
    *,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="Labels: .csv, .jsonl, .parquet.")
    ],
    noise: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="noise.json of an audit: its P(state | truth)."),
    ] = None,
    sensitivity: Annotated[
        float | None,
        typer.Option(metavar="P", help="Labeled positive, of studies with the finding."),
    ] = None,
    specificity: Annotated[
        float | None,
        typer.Option(metavar="P", help="Not labeled positive, of studies without it."),
    ] = None,
    uncertain_positive: UncertainPositive = 0.0,
    uncertain_negative: UncertainNegative = 0.0,
    blank_positive: BlankPositive = 0.0,
    blank_negative: BlankNegative = 0.0,
    finding: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME:RATES",
            help='Own rates of a finding: "Edema:sensitivity=.7,blank-negative=.5".',
        ),
    ] = None,
    findings: Annotated[
        str, typer.Option(metavar="NAMES", help="With commas; by default all of the truth.")
    ] = "",
    scores: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Predictions that errors depend on (--dependence)."),
    ] = None,
    dependence: Annotated[
        float,
        typer.Option(
            metavar="X", help="Of the errors on the scores given truth, from -1 to 1; 0: none."
        ),
    ] = 0.0,
    id_column: Annotated[
        str | None, typer.Option("--id", metavar="COLUMN", help="Id column of the truth.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Another seed, other errors.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the run record.")] = False,
    force: ForceOption = False,
) -> None:
    """Draw labels from truth: a clean set becomes a test bench.

    Rates come from an audit (--noise) or from numbers. A study's labels depend on the seed, its id
    and the finding alone. FILE.run.json beside the labels has the rates that came of it.
    """
    with errors_as_lines():
        from cxrlabel.writers import check_target, table_kind
        from cxrvision.noise.rates import Rates
        from cxrvision.noise.simulation import (
            read_scores,
            read_truth,
            record_path,
            simulate,
            write_simulated,
        )

        table_kind(out)
        for path in (out, record_path(out)):
            check_target(path, force=force)
        given = {
            name: value
            for name, value in (("sensitivity", sensitivity), ("specificity", specificity))
            if value is not None
        }
        base = Rates(
            **given,
            uncertain_positive=uncertain_positive,
            uncertain_negative=uncertain_negative,
            blank_positive=blank_positive,
            blank_negative=blank_negative,
        )
        if noise is not None and (base != Rates() or finding):
            raise typer.BadParameter("expected either an audit or rates", param_hint="--noise")
        if noise is None and not given and not finding:
            raise typer.BadParameter(
                "expected --noise, or --sensitivity and --specificity", param_hint="--noise"
            )
        if (scores is None) == bool(dependence):
            raise typer.BadParameter(
                "expected --scores with a --dependence other than 0", param_hint="--scores"
            )
        found = read_truth(truth, id_column=id_column, findings=split_names(findings))
        tables = _tables(noise, base, finding or [], list(map(str, found.table.columns)))
        inputs = {"truth": truth}
        table: pd.DataFrame | None = None
        if noise is not None:
            inputs["noise"] = noise
        if scores is not None:
            table, inputs["scores"] = read_scores(scores, found.table)
        made = simulate(
            found, tables, seed=seed, scores=table, dependence=dependence, inputs=inputs
        )
        write_simulated(out, made, force=force)
        if as_json:
            typer.echo(json.dumps(made.record, indent=2))
        else:
            console().print(_rates_table(made))
        note(f"drew labels of {len(made.labels):,} studies -> {out}, {record_path(out)}")


@noise_app.command("sweep")
def sweep_command(
    *,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where the files go.")],
    studies: Annotated[
        str,
        typer.Option(metavar="N|FILE", help="Phantoms to draw, or a manifest with --labels."),
    ] = "3000",
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The truth of the manifest's studies.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Their images; else one is made.")
    ] = None,
    findings: Annotated[
        str, typer.Option(metavar="NAMES", help="With commas; by default all, of phantoms four.")
    ] = "",
    size: Annotated[int, typer.Option(metavar="PIXELS", help="Side of an image.")] = 64,
    prevalence: Annotated[float, typer.Option(metavar="P", help="Of phantoms' findings.")] = 0.2,
    sensitivity: Annotated[
        str, typer.Option(metavar="LIST", help="Of the labels, with commas.")
    ] = "0.6,0.8,0.95",
    specificity: Annotated[
        str, typer.Option(metavar="LIST", help="Of the labels, with commas.")
    ] = "0.8,0.9,0.98",
    uncertain_positive: UncertainPositive = 0.0,
    uncertain_negative: UncertainNegative = 0.0,
    blank_positive: BlankPositive = 0.0,
    blank_negative: BlankNegative = 0.0,
    dependence: Annotated[
        float,
        typer.Option(metavar="X", help="Of the errors on the encoder's scores given truth."),
    ] = 0.0,
    audit: Annotated[
        str, typer.Option(metavar="LIST", help="Studies that are read, with commas.")
    ] = "100,200,400",
    methods: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="clean, none, gce, soft, forward, backward, clean-subset, forward-truth.",
            show_default=False,
        ),
    ] = "",
    repeats: Annotated[int, typer.Option(metavar="N", help="Draws of labels and audit.")] = 5,
    uncertain: Annotated[str, typer.Option(metavar="POLICY", help="Of none and gce.")] = "ignore",
    blank: Annotated[str, typer.Option(metavar="POLICY", help="Of none and gce.")] = "zeros",
    backbone: Annotated[
        str, typer.Option(metavar="NAME", help="Encoder of timm or torchvision.")
    ] = "test_resnet",
    epochs: Annotated[int, typer.Option(metavar="N", help="Of training networks.")] = 10,
    batch_size: Annotated[int, typer.Option(metavar="N", help="Of training networks.")] = 16,
    lr: Annotated[float, typer.Option(metavar="X", help="Of training networks.")] = 3e-3,
    encoder_share: Annotated[
        float, typer.Option(metavar="P", help="Patients that the encoder is trained on alone.")
    ] = 0.4,
    train_encoder: Annotated[
        bool, typer.Option("--train-encoder", help="Train the whole network in every cell.")
    ] = False,
    penalty: Annotated[
        float, typer.Option(metavar="X", help="Of the last layer's squared weights.")
    ] = 10.0,
    device: Annotated[
        str, typer.Option(metavar="auto|cpu|cuda", help="Where networks are trained.")
    ] = "cpu",
    workers: Annotated[int, typer.Option(min=1, help="Cells that are done at a time.")] = 1,
    seed: Annotated[int, typer.Option(metavar="N", help="Of everything.")] = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Drop a sweep with other settings.")
    ] = False,
) -> None:
    """Train under label error, with and without what an audit knows, over a grid of noise.

    Writes sweep.csv, summary.csv and index.html into --out. A sweep that was stopped goes on when
    it is run again; more --repeats, sensitivities or specificities add to one that is done.
    """
    with errors_as_lines("stopped; finished cells are kept, run it again to go on"):
        from cxrvision.noise.sweep.running import PAGE, SUMMARY, TABLE, run_sweep
        from cxrvision.noise.sweep.settings import (
            METHODS,
            SweepSettings,
            parse_numbers,
            parse_sizes,
        )

        settings = SweepSettings(
            studies=studies,
            labels=str(labels or ""),
            cache=str(cache or ""),
            findings=split_names(findings),
            size=size,
            prevalence=prevalence,
            sensitivities=parse_numbers(sensitivity, "--sensitivity"),
            specificities=parse_numbers(specificity, "--specificity"),
            uncertain_positive=uncertain_positive,
            uncertain_negative=uncertain_negative,
            blank_positive=blank_positive,
            blank_negative=blank_negative,
            dependence=dependence,
            audits=parse_sizes(audit, "--audit"),
            methods=split_names(methods) or METHODS,
            repeats=repeats,
            uncertain=uncertain,
            blank=blank,
            backbone=backbone,
            epochs=epochs,
            batch_size=batch_size,
            lr=lr,
            encoder_share=encoder_share,
            train_encoder=train_encoder,
            penalty=penalty,
            seed=seed,
        )
        with _bars() as progress:
            done = run_sweep(
                settings,
                out,
                workers=workers,
                device=device,
                force=force,
                say=note,
                progress=progress,
            )
        before = f" ({done.done_before:,} were there)" if done.done_before else ""
        note(
            f"swept {done.cells:,} cells{before}: {done.studies:,} studies to learn from, "
            f"{done.tested:,} tested -> {out / PAGE}, {TABLE}, {SUMMARY}"
        )


def _tables(
    noise: Path | None, base: Rates, own: Sequence[str], findings: Sequence[str]
) -> dict[str, Floats]:
    """P(state | truth) of each finding, from an audit or from rates."""
    from cxrlabel.audit.observation import read_observation
    from cxrvision.noise.rates import parse_rates, tables_from_audit, tables_from_rates

    if noise is None:
        return tables_from_rates(findings, base, parse_rates(own, base))
    observation = read_observation(noise)
    few = [name for name in findings if name in observation.findings]
    few = [name for name in few if not observation.findings[name].enough]
    if few:
        note(f"{noise}: rates that rest on few events or on other findings: {', '.join(few)}")
    return tables_from_audit(observation, findings, place=str(noise))


def _rates_table(made: Simulated) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("finding", no_wrap=True)
    for name in ("with", "without", "sens", "spec", "PPV"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, row in made.record["findings"].items():
        counts = (f"{row['given_truth'][truth]['studies']:,}" for truth in ("1", "0"))
        rates = (row[key] for key in ("sensitivity", "specificity", "ppv"))
        table.add_row(name, *counts, *("–" if x is None else f"{x:.3f}" for x in rates))
    return table


@contextmanager
def _bars() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr for each kind of work; off a terminal nothing."""
    if not sys.stderr.isatty():
        yield lambda _what, _done, _total: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeLeft())
    tasks: dict[str, Any] = {}
    with Progress(*columns, console=console(stderr=True), transient=True) as bars:

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done)

        yield show
