"""Speed of learned labelers as whole processes, beside the rules.

The labelers are fitted on the bundled sample, or on reports and reviews of yours; reports are made
as in `label_speed.py`. Every run is a process of its own, start included, several times in turn;
the fastest counts. The transformer is the small one, untrained, since its speed is the same.

    uv run python benchmarks/labeler_speed.py --reports 60000
"""

from __future__ import annotations

import argparse
import platform
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from label_speed import timed, write_reports

from cxrlabel.demo import REPORTS

MANUAL = REPORTS.with_name("demo_expected.csv")
SLOW = {"transformer": 20, "hybrid, with reasons": 5}  # they get one report in so many


def main() -> None:
    """Fit the labelers, make the reports, time everyone, print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reports", type=int, default=60_000)
    parser.add_argument("--source", default=str(REPORTS), help="reports to fit on and draw from")
    parser.add_argument("--manual", default=str(MANUAL), help="their reviews")
    parser.add_argument("--id", default="study_id", help="id column of both")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=3, help="runs in turn; the fastest counts")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        fit_labelers(args, folder)
        kinds = ("rules", "rules, with mentions", "hybrid", "hybrid, with reasons", "bow",
                 "transformer")  # fmt: skip
        counts = {kind: args.reports // SLOW.get(kind, 1) for kind in kinds}
        for count in sorted(set(counts.values())):
            write_reports(folder / f"{count}.csv", args.source, count, random.Random(args.seed))
        commands = {kind: label_command(folder, kind, count) for kind, count in counts.items()}
        runs = [[timed(command) for command in commands.values()] for _ in range(args.repeat)]
        seconds = dict(zip(commands, map(min, zip(*runs, strict=True)), strict=True))
        rates = {kind: counts[kind] / least for kind, least in seconds.items()}
        print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
        print(f"\n{'one worker':28}{'reports':>9}{'seconds':>9}{'reports/s':>11}{'x rules':>9}")
        for kind, rate in rates.items():
            share = rate / rates["rules"]
            print(f"{kind:28}{counts[kind]:9,}{seconds[kind]:9.1f}{rate:11,.0f}{share:9.2f}")


def fit_labelers(args: argparse.Namespace, folder: Path) -> None:
    """One folder for each kind."""
    fit = [sys.executable, "-m", "cli", "labeler", "fit", args.source, "--id", args.id]
    quick = ["--epochs", "0", "--recombined", "0"]
    for kind, more in (("hybrid", [args.manual]), ("bow", [args.manual]), ("transformer", quick)):
        command = [*fit, *more, "--kind", kind, "--folds", "2", "-o", str(folder / kind)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def label_command(folder: Path, kind: str, count: int) -> list[str]:
    """`cxr label` by one kind."""
    out = folder / f"{kind.replace(', ', '-').replace(' ', '-')}.csv"
    command = [sys.executable, "-m", "cli", "label", str(folder / f"{count}.csv"), "-o", str(out)]
    name = kind.split(",")[0]
    if name != "rules":
        command += ["--backend", str(folder / name)]
    if "with" in kind:
        command += ["--mentions", str(out.with_suffix(".parquet"))]
    return [*command, "--force"]


if __name__ == "__main__":
    main()
