"""Photograph the demo's page for the tutorial: `uv run python docs/make_tutorial_images.py demo/`.

The folder is what `cxr demo` wrote. It needs Chromium (Debian: apt-get install chromium). All that
the pictures show is invented.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.sync_api import Locator, sync_playwright

IMAGES: Final = Path(__file__).resolve().parent / "images"
COLORS: Final = 200  # fewer would be all gray beside the radiographs
# picture -> what is photographed of the page
PARTS: Final = {
    "tutorial-errors": "figure:has(#errors-caption)",
    "tutorial-prevalence": "figure:has(#prevalence-caption)",
    "tutorial-auc": "figure:has(#auc-caption)",
}


def main(demo: Path) -> None:
    """Photograph two studies, and each of the plots."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = opened.new_page(viewport={"width": 960, "height": 700})
        page.goto((demo / "index.html").resolve().as_uri())
        for name, selector in PARTS.items():
            photograph(page.locator(selector), name, Path(folder))
        page.add_style_tag(content=".card:nth-child(n+3) { display: none }")
        photograph(page.locator(".cards"), "tutorial-studies", Path(folder))
        opened.close()


def photograph(part: Locator, name: str, folder: Path) -> None:
    """A small picture of a part of the page."""
    part.screenshot(path=folder / f"{name}.png")
    picture = Image.open(folder / f"{name}.png")
    small = picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=COLORS)
    small.save(IMAGES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo"))
