"""Photograph the plots of a sweep: `uv run python docs/make_sweep_image.py sweep/`.

Run it after a change of the plots, on the folder that `cxr noise sweep --out sweep/` wrote. It
needs Chromium (Debian: apt-get install chromium).
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.sync_api import sync_playwright

IMAGES: Final = Path(__file__).resolve().parent / "images"
PICTURES: Final = ("sweep-noise.png", "sweep.png")  # of the page's figures, in their order
COLORS: Final = 64


def main(folder: Path) -> None:
    """Write a picture of each figure of the page."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = opened.new_page(viewport={"width": 1040, "height": 800})
        page.goto((folder / "index.html").resolve().as_uri())
        for place, picture in enumerate(PICTURES):
            taken = Path(name) / picture
            page.locator("figure svg").nth(place).screenshot(path=taken)
            with Image.open(taken) as image:
                image.convert("RGB").quantize(COLORS).save(IMAGES / picture, optimize=True)
        opened.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
