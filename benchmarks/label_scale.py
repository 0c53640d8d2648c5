"""Speed and memory of `cxr label` as the number of reports grows: a line should be flat.

Reports recombine the sentences of a table of reports, as in label_speed.py; a share of the
sentences ends in a number that no other has, so that the sentence cache fills as it does with the
reports of a hospital. Seconds and peak memory are those of whole processes.

    uv run python benchmarks/label_scale.py --reports 10000 100000 --kinds csv parquet
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from itertools import islice
from pathlib import Path

from label_speed import SENTENCES_PER_REPORT, sentences_of

from cxrlabel.demo import REPORTS

LIBRARIES = ("spacy", "negspacy", "pyarrow", "dask")
MEGABYTE = 1 << 20
ROWS = 50_000  # of a parquet file's row group

Row = tuple[str, str]


def main() -> None:
    """Make reports of each size and kind, label them, print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reports", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument(
        "--kinds", nargs="*", choices=["csv", "parquet"], default=["csv", "parquet"]
    )
    parser.add_argument("--fresh", type=float, default=0.0, help="share of sentences never seen")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("options", nargs="*", help="options of cxr label, after --")
    args = parser.parse_args()
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()},")
    print(", ".join(f"{name} {version(name)}" for name in LIBRARIES))
    print(f"{args.fresh:.0%} of the sentences are new; options: {' '.join(args.options) or 'none'}")
    print(f"\n{'reports':>10} {'kind':8}{'seconds':>9}{'reports/s':>11}{'peak MB':>9}", flush=True)
    sentences = sorted(set(sentences_of(str(REPORTS))))
    for count in args.reports:
        for kind in args.kinds:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"reports.{kind}"
                write(path, reports(sentences, count, args.fresh, random.Random(args.seed)))
                seconds, peak = run(path, args.options)
            rate = count / seconds
            print(f"{count:10,} {kind:8}{seconds:9.1f}{rate:11,.0f}{peak:9,.0f}", flush=True)


def reports(sentences: list[str], count: int, fresh: float, rng: random.Random) -> Iterator[Row]:
    """Ids and texts."""
    for number in range(count):
        chosen = rng.choices(sentences, k=rng.randint(*SENTENCES_PER_REPORT))
        for place, sentence in enumerate(chosen):
            if rng.random() < fresh:
                chosen[place] = f"{sentence.rstrip('.')} on image {number}.{place}."
        yield f"s{number}", "FINDINGS: " + " ".join(chosen)


def write(path: Path, rows: Iterator[Row]) -> None:
    """Write reports as csv or parquet, in memory that does not grow."""
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("study_id", "report")])
            csv.writer(file).writerows(rows)
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("study_id", pa.string()), ("report", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        while some := list(islice(rows, ROWS)):
            columns = zip(*some, strict=True)
            writer.write_table(pa.table([pa.array(column) for column in columns], schema=schema))


def run(path: Path, options: list[str]) -> tuple[float, float]:
    """Wall-clock seconds and peak megabytes of `cxr label` with mentions, outputs as the input."""
    kind = path.suffix
    command = [sys.executable, "-m", "cli", "label", str(path), "-o", f"{path.parent}/labels{kind}"]
    command += ["--mentions", f"{path.parent}/mentions{kind}", *options]
    quiet = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_WRONLY, 0) for stream in (1, 2)]
    began = time.perf_counter()
    child = os.posix_spawn(command[0], command, os.environ, file_actions=quiet)
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - began
    if status:
        raise SystemExit(f"failed with status {status}: {' '.join(command)}")
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return seconds, usage.ru_maxrss * unit / MEGABYTE


if __name__ == "__main__":
    main()
