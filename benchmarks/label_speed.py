"""Speed of `cxr label` as a whole process, against a bare keyword loop and plain negspacy.

Reports are made by recombining the sentences of a table of reports, the bundled sample by default.
Machines differ and are shared, so read the ratios: every competitor runs in the same call, several
times in turn, and the fastest run of each counts.

    uv run python benchmarks/label_speed.py --reports 60000
"""

from __future__ import annotations

import argparse
import csv
import platform
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from cxrlabel.demo import REPORTS
from cxrlabel.readers import open_reports
from cxrlabel.rulebook import load_rulebook
from cxrlabel.sections import SectionSplitter, SentenceSplitter

SENTENCES_PER_REPORT = (4, 11)  # a chest report's usual length
KEYWORDS = 6  # for each finding
NEGSPACY_REPORTS = 3000  # plain negspacy has no cache: a part is timed and its rate reported


def main() -> None:
    """Make the reports, time everyone, print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reports", type=int, default=60_000)
    parser.add_argument("--source", default=str(REPORTS), help="reports to take sentences from")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--repeat", type=int, default=3, help="runs in turn; the fastest counts")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "reports.csv"
        distinct = write_reports(path, args.source, args.reports, random.Random(args.seed))
        print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
        print(f"{args.reports:,} reports from {distinct:,} distinct sentences\n")
        commands = {
            "keyword loop (regex, no negation)": [sys.executable, __file__, "--loop", str(path)]
        }
        for workers in args.workers:
            name = f"cxr label, mentions written, {workers} worker(s)"
            commands[name] = label_command(path, Path(folder) / f"labels{workers}.csv", workers)
        runs = [[timed(command) for command in commands.values()] for _ in range(args.repeat)]
        seconds = dict(zip(commands, map(min, zip(*runs, strict=True)), strict=True))
        rates = {name: args.reports / least for name, least in seconds.items()}
        rates["plain negspacy, same lexicon"] = max(negspacy_rate(path) for _ in runs)
        loop = next(iter(rates.values()))
        print(f"{'':44}{'reports/s':>10}{'x loop':>8}")
        for name, rate in rates.items():
            print(f"{name:44}{rate:10,.0f}{rate / loop:8.2f}")


def write_reports(path: Path, source: str, count: int, rng: random.Random) -> int:
    """Write `count` reports of random sentences; returns how many distinct sentences there are."""
    sentences = sorted(set(sentences_of(source)))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["study_id", "report"])
        for number in range(count):
            chosen = rng.choices(sentences, k=rng.randint(*SENTENCES_PER_REPORT))
            writer.writerow([f"s{number}", "FINDINGS: " + " ".join(chosen)])
    return len(sentences)


def sentences_of(source: str) -> Iterator[str]:
    """All sentences of label-making sections."""
    book = load_rulebook()
    sections, split = SectionSplitter(book.sections), SentenceSplitter(book.text)
    for row in open_reports([source]).rows():
        for column, text in row.texts:
            for part in sections(text, sections.section(column)):
                if part.section.labels:
                    for start, end in split(text, part.start, part.end):
                        yield " ".join(text[start:end].split()).rstrip(".") + "."


def timed(command: Sequence[str]) -> float:
    """Wall-clock seconds of a whole process."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def label_command(path: Path, out: Path, workers: int) -> list[str]:
    """`cxr label` with mentions."""
    mentions = out.with_suffix(".parquet")
    command = [sys.executable, "-m", "cli", "label", str(path), "-o", str(out)]
    return [*command, "--mentions", str(mentions), "--workers", str(workers), "--force"]


def keyword_loop(path: str) -> None:
    """What many scripts do: one regular expression per finding over the whole report."""
    patterns = {
        name: re.compile(r"\b(" + "|".join(map(re.escape, words)) + r")", re.IGNORECASE)
        for name, words in lexicon().items()
    }
    with open(path, newline="", encoding="utf-8") as file, tempfile.TemporaryFile("w") as out:
        writer = csv.writer(out)
        for row in csv.DictReader(file):
            found = [1 if p.search(row["report"]) else "" for p in patterns.values()]
            writer.writerow([row["study_id"], *found])


def lexicon() -> dict[str, list[str]]:
    """The most common phrases of our rules by finding, as a script would list them."""
    return {
        name: [p for rule in entry.rules for p in rule.phrases if isinstance(p, str)][:KEYWORDS]
        for name, entry in load_rulebook().findings.items()
        if any(entry.rules)
    }


def negspacy_rate(path: Path) -> float:
    """Reports per second of negspacy out of the box: sentencizer, entity ruler, negex."""
    import spacy
    from negspacy.negation import Negex  # noqa: F401  registers "negex"

    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    ruler = nlp.add_pipe("entity_ruler", config={"phrase_matcher_attr": "LOWER"})
    patterns = [{"label": n, "pattern": p} for n, words in lexicon().items() for p in words]
    ruler.add_patterns(patterns)  # type: ignore[attr-defined]
    nlp.add_pipe("negex")
    with path.open(newline="", encoding="utf-8") as file:
        texts = [row["report"] for row in islice(csv.DictReader(file), NEGSPACY_REPORTS)]
    began = time.perf_counter()
    for doc in nlp.pipe(texts):
        [(entity.label_, entity._.negex) for entity in doc.ents]
    return len(texts) / (time.perf_counter() - began)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--loop"]:
        keyword_loop(sys.argv[2])
    else:
        main()
