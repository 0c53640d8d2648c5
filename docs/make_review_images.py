"""Photograph the review for docs/review.md: `uv run python docs/make_review_images.py`.

Run it after a change of the pages. It needs Chromium (Debian: apt-get install chromium). The
reports are invented, those of the bundled sample; the radiographs are drawn here.
"""

from __future__ import annotations

import csv
import io
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any, Final

from PIL import Image, ImageDraw, ImageFilter
from playwright.sync_api import sync_playwright

from cxrlabel.audit.review.creation import create_review
from cxrlabel.audit.review.inputs import Sources
from cxrlabel.audit.review.server import Link, serve
from cxrlabel.batch import Outputs, label_files
from cxrlabel.chunks import LabelingOptions
from cxrlabel.demo import REPORTS
from cxrlabel.learned.fitting import fit_labeler
from cxrlabel.learned.material import read_material
from cxrlabel.learned.reviewed import read_reviewed

IMAGES: Final = Path(__file__).resolve().parent / "images"
STUDIES: Final = ("a002", "a004", "a006", "a008")  # in what order comes from the seed
FIRST: Final = "a002"  # the study that is photographed
LAPTOP: Final = {"width": 1366, "height": 768}
TABLET: Final = {"width": 820, "height": 1180}
COLORS: Final = 160  # of a picture's palette


def main() -> None:
    """Make a review, read a study as two people, photograph the pages."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        urls = _serve(_review(Path(name)))
        opened = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        ada = _visit(opened, urls["Ada"], LAPTOP)
        _go_to(ada, FIRST)
        _press(ada, "2", "n", "1", "n", "n", "1")
        _save(ada, "review-study.png")
        _press(ada, "Shift+Enter")
        ben = _visit(opened, urls["Ben"], TABLET, color_scheme="dark", has_touch=True)
        _go_to(ben, FIRST)
        _press(ben, "2", "n", "1", "n", "n", "3")
        _save(ben, "review-tablet.png")
        _press(ben, "Shift+Enter")
        cleo = _visit(opened, urls["Cleo"], LAPTOP)
        _save(cleo, "review-adjudication.png")
        _go_to(ada, FIRST)
        _press(ada, "v", "Enter")
        ada.wait_for_selector("mark")
        _save(ada, "review-labels.png")
        learned = Path(name) / "learned"
        ada = _visit(opened, _serve(_learned_review(learned))["Ada"], LAPTOP)
        _press(ada, "2", "1", "Shift+Enter")
        _go_to(ada, "s1")
        _press(ada, "v", "Enter")
        ada.wait_for_selector("mark.learned")
        _save(ada, "review-learned.png", height=330)
        opened.close()


def _review(folder: Path) -> Path:
    labels, mentions = folder / "labels.csv", folder / "mentions.csv"
    label_files([str(REPORTS)], Outputs(labels, mentions))
    _frontal().save(folder / "frontal.png")
    _lateral().save(folder / "lateral.png")
    rows = [(study, view) for study in STUDIES for view in ("frontal", "lateral")]
    manifest = [("study_id", "path", "view"), *((s, f"{view}.png", view) for s, view in rows)]
    sources = Sources(
        sample=_table(folder / "sample.csv", [("study_id",), *((study,) for study in STUDIES)]),
        reports=[str(REPORTS)],
        images=_table(folder / "studies.csv", manifest),
        labels=labels,
        mentions=mentions,
    )
    db = folder / "review.sqlite"
    people = {"reviewers": ["Ada", "Ben"], "adjudicators": ["Cleo"]}
    create_review(db, sources, **people, double=1, title="Label audit")
    return db


def _learned_review(folder: Path) -> Path:
    """A review of one report, with labels of a labeler that others have taught a convention."""
    folder.mkdir()
    sayings = [("A calcified nodule in the left lung.", 0), ("A nodule in the left lung.", 1),
               ("No nodule.", 0)]  # fmt: skip
    hearts = [("The heart is borderline in size.", 1), ("Heart size is normal.", 0)]
    both = [(a, b) for a in sayings for b in hearts] * 20
    reports = [(f"r{n}", f"{a[0]} {b[0]} Film {n}.") for n, (a, b) in enumerate(both)]
    reviews = [(f"r{n}", str(a[1]), str(b[1])) for n, (a, b) in enumerate(both)]
    taught = _table(folder / "taught.csv", [("study_id", "report"), *reports])
    manual = _table(folder / "manual.csv", [("study_id", "Nodule", "Cardiomegaly"), *reviews])
    labeling = LabelingOptions()
    material = read_material(
        read_reviewed([str(taught)], manual), labeling.labeler(), place=str(manual)
    )
    fit_labeler(material, "hybrid", labeling).save(folder / "model")
    text = (
        "FINDINGS: A calcified nodule projects over the left lung. The heart is borderline in size."
    )
    report = _table(folder / "reports.csv", [("study_id", "report"), ("s1", text)])
    labels, mentions = folder / "labels.csv", folder / "mentions.csv"
    learned = LabelingOptions(backend=(str(folder / "model"),))
    label_files([str(report)], Outputs(labels, mentions), labeling=learned)
    sources = Sources(
        sample=_table(folder / "sample.csv", [("study_id",), ("s1",)]),
        reports=[str(report)],
        labels=labels,
        mentions=mentions,
    )
    create_review(
        folder / "review.sqlite", sources, findings=["Nodule", "Cardiomegaly"], reviewers=["Ada"],
        title="Label audit",
    )  # fmt: skip
    return folder / "review.sqlite"


def _table(path: Path, rows: Sequence[Sequence[str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def _serve(db: Path) -> dict[str, str]:
    """Serve until this process ends; name -> link."""
    announced: Queue[Sequence[Link]] = Queue()
    options = {"announce": announced.put, "port": 0}
    Thread(target=serve, args=(db,), kwargs=options, daemon=True).start()
    return {link.name: link.url for link in announced.get(timeout=60)}


def _frontal() -> Image.Image:
    picture = Image.new("L", (500, 600), 20)
    draw = ImageDraw.Draw(picture)
    draw.rounded_rectangle((40, 30, 460, 680), 110, fill=150)  # the chest
    for left, right in ((95, 232), (268, 415)):  # the lungs
        draw.ellipse((left, 90, right, 490), fill=48)
    draw.ellipse((195, 250, 370, 480), fill=190)  # a large heart
    draw.rectangle((232, 0, 268, 600), fill=200)  # the spine
    for rib in range(8):
        top = 110 + 44 * rib
        for left in (60, 260):
            draw.arc((left, top, left + 180, top + 80), 180, 360, fill=120, width=6)
    return picture.filter(ImageFilter.GaussianBlur(7))


def _lateral() -> Image.Image:
    picture = Image.new("L", (500, 600), 20)
    draw = ImageDraw.Draw(picture)
    draw.rounded_rectangle((80, 30, 430, 680), 120, fill=150)
    draw.ellipse((120, 85, 375, 500), fill=52)
    draw.ellipse((125, 270, 270, 470), fill=185)
    draw.rectangle((375, 30, 415, 600), fill=205)
    return picture.filter(ImageFilter.GaussianBlur(7))


def _visit(browser: Any, url: str, size: dict[str, int], **options: Any) -> Any:
    page = browser.new_context(viewport=size, reduced_motion="reduce", **options).new_page()
    page.goto(url)
    return page


def _go_to(page: Any, study: str) -> None:
    """Open a study by its id."""
    page.goto(page.url.partition("/study")[0].partition("/done")[0] + "/studies")
    page.click(f"text={study}")
    page.wait_for_selector("#findings")


def _press(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)
    page.wait_for_timeout(600)  # saved, or the next page is there


def _save(page: Any, name: str, *, height: int | None = None) -> None:
    """Photograph a page, or what is above a height in pixels."""
    page.wait_for_load_state("networkidle")
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture = picture.crop((0, 0, picture.width, height or picture.height))
    picture.quantize(COLORS, dither=Image.Dither.NONE).save(IMAGES / name, optimize=True)


if __name__ == "__main__":
    main()
