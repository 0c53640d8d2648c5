import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from html.parser import HTMLParser

import pytest
from counting import add

from cxrlabel.stats import StatsCounter
from cxrlabel.stats_page import stats_page
from cxrlabel.studies import Mention, StudyLabels

FINDINGS = ("No Finding", "Edema", "Pleural Effusion")
EVIL = "<script>alert('x')</script>"
RECORD = {
    "version": "0.1.0",
    "rules_hash": "abc123",
    "options": {"label_set": "all", "sections": [], "options": {"likely": "uncertain"}},
    "inputs": [{"path": "/home/someone/reports.csv", "sha256": "ff00", "bytes": 1234}],
    "statistics": {"reports": 987654321},
}


def mention(cue):
    return Mention(
        finding="Edema",
        assertion="negative",
        reason="negated",
        section="findings",
        sentence=0,
        start=0,
        end=5,
        text="a word of the report",
        rule="edema/edema",
        cue=cue,
        cue_start=0,
        cue_end=2,
        laterality="",
        severity="",
        temporality="",
    )


def statistics(findings=FINDINGS, cue="no"):
    """Three labeled studies and an empty one: 1, 2 and 2 positives."""
    first, second, third = findings
    counter = StatsCounter(findings)
    for states in (("positive", "blank", "negative"), *[("blank", "positive", "positive")] * 2):
        labels = dict(zip((first, second, third), states, strict=True))
        add(counter, StudyLabels("labeled", labels, (mention(cue),), ("findings",)))
    add(counter, StudyLabels("empty", dict.fromkeys(findings, "blank"), (), ()))
    return counter.statistics()


@pytest.fixture(scope="module")
def page():
    return stats_page(statistics(), title="Labels of A & B", record=RECORD)


def cells(html):
    """The text of a page, tags taken out."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_page_has_the_headline_numbers(page):
    text = cells(page)
    assert "labeled, 1 not 3" in text
    assert "of studies with No Finding 33.3%" in text


def test_page_has_the_imbalance_table(page):
    assert "Edema 2 66.7% 20.8% to 93.9% – 1 : 0.50 1.50 3.00" in cells(page)


def test_page_has_three_plots(page):
    assert re.findall(r'aria-labelledby="([a-z-]+)-caption"', page) == [
        "states",
        "per-study",
        "together",
    ]


def test_plots_are_well_formed(page):
    for svg in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL):
        ElementTree.fromstring(
            svg.replace("<svg", '<svg xmlns:xlink="http://www.w3.org/1999/xlink"', 1)
        )


def test_text_of_plots_is_text(page):
    svg = page[page.index("<svg") : page.index("</svg>")]
    assert "Pleural Effusion</text>" in svg


def test_ids_are_unique(page):
    counts = Counter(re.findall(r'\bid="([^"]+)"', page))
    assert [name for name, count in counts.items() if count > 1] == []


def test_references_within_plots_are_to_ids_there(page):
    ids = set(re.findall(r'\bid="([^"]+)"', page))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', page)) <= ids


def test_nothing_is_loaded_from_elsewhere(page):
    class References(HTMLParser):
        found: list[str] = []  # noqa: RUF012

        def handle_starttag(self, tag, attrs):
            self.found += [
                value
                for name, value in attrs
                if name in ("src", "href", "xlink:href", "srcset", "data", "action")
                and not value.startswith("#")
            ]
            if tag in ("link", "script", "iframe", "object", "img"):
                self.found.append(tag)

    parser = References()
    parser.feed(page)
    assert parser.found == []
    assert "@import" not in page
    assert "http" not in page


def test_title_is_escaped():
    html = stats_page(statistics(), title=EVIL, record={})
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_cue_is_escaped():
    html = stats_page(statistics(cue=EVIL), record={})
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_finding_name_is_escaped_in_tables_and_plots():
    html = stats_page(statistics(("No Finding", EVIL, "$x^2$ & $")), record={})
    assert "<script" not in html
    assert "$x^2$ &amp; $</text>" in html


def test_record_is_escaped():
    html = stats_page(statistics(), record={"options": {EVIL: EVIL}, EVIL: EVIL})
    assert "<script" not in html


def test_page_says_how_the_labels_were_made(page):
    text = cells(page)
    assert "version 0.1.0 rules hash abc123" in text
    assert "label set: all options: likely: uncertain" in text
    assert "reports.csv, 1,234 bytes, SHA-256 ff00" in text


def test_page_shows_no_folders_and_no_second_copy_of_the_statistics(page):
    assert "someone" not in page
    assert "987654321" not in page


def test_page_has_no_words_of_reports_but_the_cues(page):
    assert "a word of the report" not in page


def test_equal_statistics_give_equal_pages(page):
    assert stats_page(statistics(), title="Labels of A & B", record=RECORD) == page


def test_page_of_nothing_has_no_plots():
    html = stats_page(StatsCounter(FINDINGS).statistics(), record={})
    assert "<svg" not in html
    assert "labeled, 0 not 0" in cells(html)


def test_many_findings_in_a_study_share_the_last_bar():
    names = tuple(f"Finding {i}" for i in range(20))
    counter = StatsCounter(names)
    for n in (1, 15, 18, 20):
        states = ["positive"] * n + ["blank"] * (20 - n)
        add(counter, StudyLabels("labeled", dict(zip(names, states, strict=True)), (), ()))
    assert "15+</text>" in stats_page(counter.statistics(), record={})
