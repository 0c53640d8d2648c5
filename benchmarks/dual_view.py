"""Does a model of both views see more than one of a single view, also where a lateral is missing?

Phantom studies, half of them without a lateral image, are drawn and split by patient. Four runs of
`cxrvision.train.training` differ in nothing but their views and seeds: both views, frontal twice,
lateral. The test studies, which are in equal parts paired and without a lateral, are compared by
`cxrvision.evaluate.comparing`: differences of AUC on the same studies, with intervals, against
each single view and against what two models give without joining anything (the mean of the frontal
and the lateral model, the mean of two frontal models).

Phantoms are cartoons: this shows that the program does what it says, and nothing about patients.

    uv run python benchmarks/dual_view.py --page docs/evaluation.md
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final

import pandas as pd
from pages import renew_part

from cxrvision.data.cache import build_cache
from cxrvision.data.manifest import read_manifest, write_manifest
from cxrvision.data.splits import split_patients
from cxrvision.evaluate.comparing import Comparison, Difference, compare_files
from cxrvision.evaluate.page import measure_text
from cxrvision.evaluate.predictions import BOTH
from cxrvision.phantom import write_phantoms
from cxrvision.train.config import TrainConfig
from cxrvision.train.runs import PREDICTIONS

FINDINGS: Final = (
    "Cardiomegaly", "Atelectasis", "Pleural Effusion", "Pneumothorax", "Consolidation",
)  # fmt: skip
PREVALENCE: Final = 0.2
MISSING: Final = 0.5  # share of the studies without a lateral image
SHARES: Final = (0.55, 0.07, 0.38)  # train, val, test
MODELS: Final[Mapping[str, tuple[tuple[str, ...], int]]] = {  # views, and which seed
    "both": (("frontal", "lateral"), 0),
    "frontal": (("frontal",), 0),
    "frontal again": (("frontal",), 1),
    "lateral": (("lateral",), 0),
}
PACKAGES: Final = ("torch", "timm", "lightning-fabric", "numpy")
MARK: Final = "<!-- made by benchmarks/dual_view.py -->"


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Test studies, and what the model of both views saw of them."""

    name: str
    comparisons: tuple[Comparison, ...]


def main() -> None:
    """Draw, train, compare, print the tables and write them into a page."""
    args = read_options()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        config = prepare(args, folder)
        train_all(config, folder, args.workers)
        groups = compare(folder, folder / "labels.csv")
    minutes = (time.perf_counter() - began) / 60
    text = f"{tables(groups)}\n\n{conditions(args, minutes)}\n"
    print(text)
    if args.page:
        renew_part(args.page, MARK, text)
        note(f"wrote {args.page}")


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--studies", type=int, default=3000, help="to draw; some 38 %% of them are tested on")
    add("--size", type=int, default=64, help="pixels")
    add("--backbone", default="test_resnet", help="of timm; the default is a small ResNet")
    add("--epochs", type=int, default=14)
    add("--batch-size", type=int, default=16, help="studies")
    add("--lr", type=float, default=2e-3)
    add("--view-dropout", type=float, default=0.3, help="of the model of both views")
    add("--share-encoder", action="store_true", help="of the model of both views")
    add("--seed", type=int, default=1, help="of the drawn studies, the split and the training")
    add("--workers", type=int, default=os.cpu_count() or 1, help="processes, of one thread each")
    add("--page", type=Path, help="the page to write the tables into, at its mark")
    return parser.parse_args()


def note(line: str) -> None:
    """Say what is going on."""
    print(line, file=sys.stderr, flush=True)


def prepare(args: argparse.Namespace, folder: Path) -> TrainConfig:
    """Draw the studies, split them, make their cache, and say how to train on them."""
    note(f"drawing {args.studies:,} studies")
    drawn = write_phantoms(
        folder,
        studies=args.studies,
        size=args.size,
        seed=args.seed,
        findings=FINDINGS,
        prevalence=PREVALENCE,
        missing_lateral=MISSING,
        workers=args.workers,
    )
    table = read_manifest(drawn.manifest).table
    table["split"] = split_patients(table["patient_id"], seed=args.seed, shares=SHARES)
    write_manifest(drawn.manifest, table, root=folder, force=True)
    note("making the cache")
    manifest = read_manifest(drawn.manifest)
    build_cache(manifest, folder / "cache", size=args.size, workers=args.workers)
    return TrainConfig(
        studies=str(drawn.manifest),
        labels=str(drawn.labels),
        cache=str(folder / "cache"),
        backbone=args.backbone,
        size=args.size,
        epochs=args.epochs,
        batch_size=args.batch_size,
        lr=args.lr,
        view_dropout=args.view_dropout,
        share_encoder=args.share_encoder,
        device="cpu",
        seed=args.seed,
    )


def train_all(config: TrainConfig, folder: Path, workers: int) -> None:
    """Train all models, as many at a time as there are workers."""
    # not forked: torch has threads
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        for line in pool.map(partial(train_one, config, folder), MODELS):
            note(line)


def train_one(config: TrainConfig, folder: Path, name: str) -> str:
    """Train one model into a run folder of its name."""
    import torch

    from cxrvision.train.training import run_training

    torch.set_num_threads(1)
    views, again = MODELS[name]
    if len(views) == 1:
        config = replace(config, view_dropout=0.0, share_encoder=False)
    began = time.perf_counter()
    run = run_training(replace(config, views=views, seed=config.seed + 1000 * again), folder / name)
    auc = run.course.rows[run.course.best_epoch]["val_auc"]
    seconds = time.perf_counter() - began
    best = f"epoch {run.course.best_epoch + 1} of {run.course.epoch}"
    return f"trained {name}: {best}, AUC on val {auc:.3f}, {seconds:.0f} s"


# Which studies, and what was seen of them


def compare(folder: Path, labels: Path) -> list[Group]:
    """The model of both views against the others, by what there is to see."""
    tables = {name: test_rows(folder / name / PREDICTIONS) for name in MODELS}
    rows = tables["both"]
    paired = set(rows.loc[rows["views"] == BOTH, "study_id"])
    without = set(rows["study_id"]) - paired
    withheld = rows[(rows["views"] == "frontal") & rows["study_id"].isin(paired)]
    seen = {
        "paired": rows[rows["study_id"].isin(paired)],
        "without a lateral": rows[rows["study_id"].isin(without)],
        "paired, its lateral withheld": withheld,
    }
    groups = []
    for group, own in seen.items():
        place = folder / "compared" / group
        place.mkdir(parents=True)
        kept = {
            name: tables[name][tables[name]["study_id"].isin(own["study_id"])] for name in tables
        }
        kept["both"] = own
        for name, table in kept.items():
            table.to_csv(place / f"{name}.csv", index=False)
        paths = {name: place / f"{name}.csv" for name, table in kept.items() if len(table)}
        # the lateral model sees what the withheld image shows; it is no rival of a frontal one
        lateral = group == "paired"
        found = compare_files(
            [paths["both"], paths["frontal"], *([paths["lateral"]] if lateral else [])],
            labels,
            average=(paths["frontal"], paths["lateral"]) if lateral else None,
            ensemble=(paths["frontal"], paths["frontal again"]),
        )
        groups.append(Group(group, found.comparisons))
    return groups


def test_rows(path: Path) -> pd.DataFrame:
    """The predictions of the split `test`, whole and by view."""
    table = pd.read_csv(path, dtype={"study_id": str, "patient_id": str})
    return table[table["split"] == "test"]


# What is printed


def tables(groups: Sequence[Group]) -> str:
    """One table of AUCs and one of differences, in Markdown."""
    heads = ["AUC", "studies", *FINDINGS, "mean"]
    values, differences = [], []
    for group in groups:
        first = group.comparisons[0]
        rows = {"both": [side.auc for side in sides(first)]}
        rows |= {
            found.reference: [side.reference_auc for side in sides(found)]
            for found in group.comparisons
        }
        for name, aucs in rows.items():
            cells = [f"{auc:.3f}" for auc in aucs]
            values.append([f"{group.name}: {name}", f"{first.studies:,}", *cells])
        for found in group.comparisons:
            cells = [change(side) for side in sides(found)]
            differences.append([f"{group.name}: {found.reference}", *cells])
    return "\n\n".join(
        (
            markdown(heads, values),
            "Differences, the model of both views less the named one, with 95 % intervals; bold "
            "where p < .05 (of findings: by Holm).",
            markdown(["both less", *FINDINGS, "mean"], differences),
        )
    )


def sides(found: Comparison) -> list[Difference]:
    """All findings, then their mean."""
    return [*(found.findings[name] for name in FINDINGS), found.macro]


def change(side: Difference) -> str:
    """A difference with its interval."""
    p = side.p_holm if side.p_holm == side.p_holm else side.p
    text = measure_text(side.difference)
    return f"**{text}**" if p < 0.05 else text


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def conditions(args: argparse.Namespace, minutes: float) -> str:
    """How it was measured, and on what."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{args.studies:,} phantom studies of {args.size} px, split "
        f"{' / '.join(f'{share:.0%}' for share in SHARES)} by patient; {args.backbone}, "
        f"{args.epochs} epochs, batches of {args.batch_size} studies, view dropout "
        f"{args.view_dropout:g}, {'one encoder' if args.share_encoder else 'an encoder a view'}, "
        f"seed {args.seed}; "
        f"{minutes:.0f} min with {args.workers} process(es) on {os.cpu_count()} cores "
        f"({platform.processor() or platform.machine()}, load {os.getloadavg()[0]:.1f}); "
        f"Python {platform.python_version()}, {packages}."
    )


if __name__ == "__main__":
    main()
