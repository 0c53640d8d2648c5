"""Statistics and checks as tables of the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from cxrlabel.findings import BLANK, NEGATIVE, POSITIVE, UNCERTAIN
from cxrvision.data.stats import NOT_STATED, percent

if TYPE_CHECKING:
    from cxrvision.data.stats import DataStatistics
    from cxrvision.data.viewnet import ViewCheck


def statistics_tables(statistics: DataStatistics) -> Iterator[Table]:
    """Groups with their sizes; then the findings."""
    groups = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    groups.add_column("group", no_wrap=True)
    for heading in ("patients", "studies", "images", "labeled"):
        groups.add_column(heading, justify="right", no_wrap=True)
    for kind, rows in statistics.groups.items():
        if [row.name for row in rows] == [NOT_STATED]:
            continue
        groups.add_section()
        for row in rows:
            numbers = (row.patients, row.studies, row.images, row.labeled)
            name = Text(f"{kind.replace('_', ' ')}: {row.name}")
            groups.add_row(name, *(f"{number:,}" for number in numbers))
    yield groups
    if not statistics.findings:
        return
    title = f"{statistics.labeled:,} labeled studies"
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("finding", no_wrap=True)
    for heading in (POSITIVE, "share", UNCERTAIN, NEGATIVE, BLANK):
        table.add_column(heading, justify="right", no_wrap=True)
    for finding in statistics.findings:
        counts = [f"{finding.counts[s]:,}" for s in (POSITIVE, UNCERTAIN, NEGATIVE, BLANK)]
        share = percent(finding.shares[POSITIVE])
        # Text: a name in brackets is no markup
        table.add_row(Text(finding.finding), counts[0], share, *counts[1:])
    yield table


def confusion_table(check: ViewCheck, threshold: float) -> Table:
    """Known against predicted views."""
    sure = "" if check.accuracy_sure is None else f"{check.accuracy_sure:.1%} of "
    title = (
        f"cross-validated: {check.accuracy:.1%} right, n = {check.images:,}; from {threshold:g} up "
        f"{sure}{check.sure:,}"
    )
    table = Table(title=title, box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("known view")
    for name in check.confusion:
        table.add_column(f"seen as {name}", justify="right")
    for known, row in check.confusion.items():
        table.add_row(known, *(f"{count:,}" for count in row.values()))
    return table
