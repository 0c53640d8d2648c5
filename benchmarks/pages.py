"""The part of a docs page that a benchmark makes, between two equal marks."""

from __future__ import annotations

from pathlib import Path


def renew_part(page: Path, mark: str, text: str) -> None:
    """Write a benchmark's text in the place of the one between the marks."""
    before, _, rest = page.read_text(encoding="utf-8").partition(mark)
    _, _, after = rest.partition(mark)
    page.write_text(f"{before}{mark}\n\n{text}\n{mark}{after}", encoding="utf-8")
    print(f"wrote {page}")
