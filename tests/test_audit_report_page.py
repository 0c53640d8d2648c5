"""The page of an audit's report: safe, whole, and of use in a browser."""

import base64
import csv
import hashlib
import re
import shutil
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from cxrlabel.audit import report_page as module
from cxrlabel.audit.report import write_report
from cxrlabel.audit.report_inputs import Sources
from cxrlabel.audit.report_words import listed, p_value, percent
from cxrlabel.studies import Mention

SCRIPT = (Path(module.__file__).parent.parent / "templates/audit.js").read_text(encoding="utf-8")
EVIL = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
TEXT = f"FINDINGS: There is edema {EVIL} today.\n\nIMPRESSION: No effusion."
STUDIES = 30


def write(path: Path, rows: list[list[Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def make_sources(folder: Path) -> Sources:
    """Thirty studies whose reports, ids, reviewers, cues and sites try to break the page."""
    ids = [f"{i:02}{EVIL}" for i in range(STUDIES)]
    labels = [[study, i % 2, "", f"{EVIL}{i % 3}"] for i, study in enumerate(ids)]
    manual = [[study, EVIL, 0, int(i < 10)] for i, study in enumerate(ids)]
    manual += [[study, "b", 0, int(i < 12)] for i, study in enumerate(ids)]
    start = TEXT.index("edema")
    cue = TEXT.index(EVIL)
    edema = Mention(
        "Edema", "positive", EVIL, EVIL, 0, start, start + 5, "edema", EVIL, EVIL, cue,
        cue + len(EVIL), "", "", "",
    )  # fmt: skip
    rows = [[study, *edema] for i, study in enumerate(ids) if i % 2]
    return Sources(
        labels=write(folder / "labels<b>.csv", [["uid", "Edema", "Effusion", "site"], *labels]),
        manual=write(folder / "manual.csv", [["uid", "reviewer", "Edema", "Effusion"], *manual]),
        reference="report",
        mentions=write(folder / "mentions.csv", [["uid", *Mention._fields], *rows]),
        reports=[
            str(write(folder / "reports.csv", [["uid", "report"], *([s, TEXT] for s in ids)]))
        ],
        by=["site"],
        labelers={EVIL[:9]: folder / "labels<b>.csv"},
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    return write_report(make_sources(folder), folder / "audit").written[-1]


@pytest.fixture(scope="module")
def page(path: Path) -> str:
    return path.read_text(encoding="utf-8")


class Tags(HTMLParser):
    """All tags with their attributes, and what is in scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script" and self.get_starttag_text() == "<script>":
            self.scripts.append(data)


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_only_our_script_is_on_the_page(page):
    tags = Tags(page)

    assert [tag for tag, _ in tags.tags].count("script") == 1
    assert page.count("<script>") == 1
    assert page.split("<script>")[1].split("</script>")[0] == SCRIPT


def test_policy_allows_only_our_script(page):
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policies = [
        attrs["content"]
        for tag, attrs in Tags(page).tags
        if tag == "meta" and attrs.get("http-equiv") == "Content-Security-Policy"
    ]

    assert len(policies) == 1
    assert f"script-src 'sha256-{digest}'" in policies[0]
    assert "default-src 'none'" in policies[0]


def test_nothing_of_the_input_becomes_a_tag_or_a_handler(page):
    tags = Tags(page).tags

    assert "img" not in {tag for tag, _ in tags}
    assert [name for _, attrs in tags for name in attrs if name.startswith("on")] == []
    assert "&lt;script&gt;window.hacked" in page


def test_nothing_is_loaded_from_elsewhere(page):
    names = ("src", "href", "xlink:href", "srcset", "data", "action")
    found = [
        value
        for _, attrs in Tags(page).tags
        for name, value in attrs.items()
        if name in names and not (value or "").startswith("#")
    ]

    assert found == []
    assert "@import" not in page
    assert "http:" not in page and "https:" not in page


def test_ids_are_unique_and_links_lead_to_them(page):
    ids = Counter(attrs["id"] for _, attrs in Tags(page).tags if "id" in attrs)

    assert [name for name, count in ids.items() if count > 1] == []
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)


def test_figure_is_well_formed_and_its_text_is_text(page):
    svg = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)

    assert len(svg) == 1
    ElementTree.fromstring(
        svg[0].replace("<svg", '<svg xmlns:xlink="http://www.w3.org/1999/xlink"', 1)
    )
    assert "Pleural Effusion</text>" in svg[0]


def test_mention_and_cue_are_marked_in_the_report(page):
    assert '<mark class="positive">edema</mark>' in page
    assert '<mark class=" cue">&lt;script&gt;' in page


def test_page_says_what_was_compared(page):
    text = text_of(page)

    assert "30 studies that were labeled and reviewed" in text
    assert "2 reviewers" in text
    assert "30 studies read by several: what more than half of them say" in text
    assert "A finding that a reviewer left blank counts as absent" in text


def test_page_has_the_numbers_in_words(page):
    # all 15 positive labels of Edema are wrong, none of 10 effusions is labeled (2 are tied)
    text = text_of(page)

    assert "0% (0% to 20%) of the positive labels are right (0 of 15 reviewed)" in text
    assert "False positives are mostly of Edema (15)." in text
    assert "Missed findings are mostly of Pleural Effusion (10)." in text


def test_page_names_no_folder(page, path):
    assert str(path.parent.parent) not in page
    assert "labels&lt;b&gt;.csv" in page


def test_verdict_of_few_events_is_not_known(page):
    assert re.search(r'Edema</th>\s*<td class="text"><span class="badge unknown">not known', page)


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0%"), (0.0001, "<0.1%"), (0.0312, "3.1%"), (0.5, "50%"), (0.984, "98.4%"),
     (0.9999, ">99.9%"), (1, "100%"), (float("nan"), "–")],
)  # fmt: skip
def test_percent_has_digits_where_they_matter(share, text):
    assert percent(share) == text


def test_small_words():
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert (p_value(0.0004), p_value(0.034), p_value(float("nan"))) == ("p < 0.01", "p = 0.03", "")


@pytest.mark.parametrize("share", [i / 200 for i in range(201)])
def test_text_on_every_shade_can_be_read(share):
    cell = module._cell(share)
    shade, ink = re.findall(r"#[0-9a-f]+", cell.style)
    light = sorted((module._luminance(shade), 1.0 if ink == "#fff" else 0.0))

    assert (light[1] + 0.05) / (light[0] + 0.05) >= 4.5  # WCAG 2.2, 1.4.3


# in a browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright")
    if CHROMIUM is None:
        pytest.skip("no browser (Debian: apt-get install chromium)")
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield opened
        opened.close()


@pytest.fixture
def opened(browser: Any, path: Path) -> Iterator[Any]:
    """The page in a window; a complaint of the browser fails the test."""
    window = browser.new_page(viewport={"width": 820, "height": 1000})
    complaints: list[str] = []
    window.on("pageerror", lambda error: complaints.append(str(error)))
    window.on("console", lambda message: complaints.append(message.text))
    window.goto(path.as_uri())
    yield window
    window.close()
    assert complaints == []


def shown(window: Any) -> int:
    return int(window.locator(".card:visible").count())


def test_script_of_a_report_does_not_run(opened):
    assert opened.evaluate("window.hacked") is None
    assert "<script>window.hacked" in opened.locator(".card .report").first.inner_text()


def test_disagreements_are_filtered(opened):
    assert shown(opened) == 20
    assert opened.locator("#count").inner_text() == "20 of 25 shown"
    opened.get_by_role("button", name="Show all").click()
    assert shown(opened) == 25
    opened.locator("select[name=kind]").select_option("missed")
    assert opened.locator("#count").inner_text() == "10 of 10 shown"
    opened.locator("select[name=finding]").select_option("Edema")
    assert shown(opened) == 0
    opened.get_by_role("button", name="Clear").click()
    opened.get_by_label("Words or id").fill("05<SCRIPT")
    assert shown(opened) == 2


def test_narrow_page_does_not_scroll_sideways(opened):
    for width in (400, 820, 1200):
        opened.set_viewport_size({"width": width, "height": 900})
        assert opened.evaluate("document.documentElement.scrollWidth") <= width


def test_without_script_all_is_there(browser, path):
    context = browser.new_context(java_script_enabled=False)
    window = context.new_page()
    window.goto(path.as_uri())

    assert shown(window) == 25
    assert not window.locator("#filters").is_visible()
    context.close()


def test_printed_page_has_no_controls(opened):
    opened.emulate_media(media="print")

    assert not opened.locator("#filters").is_visible()
    assert not opened.locator("nav").is_visible()
    assert shown(opened) == 20
