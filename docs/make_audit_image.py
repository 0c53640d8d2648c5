"""Photograph the report of an audit for the README: `uv run python docs/make_audit_image.py`.

Run it after a change of the page. It needs Chromium (Debian: apt-get install chromium). The reports
are invented, those of the bundled sample; so that there is something to see, errors were put into
their labels by chance.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from PIL import Image
from playwright.sync_api import sync_playwright

from cxrlabel.audit.report import write_report
from cxrlabel.audit.report_inputs import Sources
from cxrlabel.demo import EXPECTED

PICTURE: Final = Path(__file__).resolve().parent / "images" / "audit_report.png"
ERROR: Final = 0.08  # share of the labels that get another state
STATES: Final = (1.0, 0.0, -1.0, np.nan)


def main() -> None:
    """Audit labels with errors, photograph what the page says first."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        write_labels(folder / "labels.csv")
        sources = Sources(labels=folder / "labels.csv", manual=EXPECTED, reference="report")
        write_report(sources, folder / "audit")
        opened = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = opened.new_page(viewport={"width": 1000, "height": 700})
        page.goto((folder / "audit" / "index.html").as_uri())
        page.locator("figure").first.screenshot(path=folder / "page.png")
        opened.close()
        Image.open(folder / "page.png").convert(
            "P", palette=Image.Palette.ADAPTIVE, colors=64
        ).save(PICTURE, optimize=True)


def write_labels(path: Path) -> None:
    """The expected labels of the sample, some of them wrong."""
    labels = pd.read_csv(EXPECTED, index_col="study_id")
    rng = np.random.default_rng(1)
    wrong = rng.random(labels.shape) < ERROR
    labels.where(~wrong, rng.choice(STATES, labels.shape)).to_csv(path)


if __name__ == "__main__":
    main()
