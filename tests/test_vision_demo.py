"""The image half of the demo, at a tiny size: the chain, its page, and what the page says."""

import re
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from cxrlabel.demo import Material, run_demo
from cxrlabel.errors import InputError
from cxrvision.demo.chain import FINDINGS, WAYS, ImageDemo, draw_phantoms, run_image_demo
from cxrvision.demo.story import coverage, error_rows, make_cards, read_tables


@dataclass(frozen=True)
class Done:
    """A folder that a small demo was written into, and what came of it."""

    out: Path
    demo: ImageDemo


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, shared_labelers) -> Done:
    out = tmp_path_factory.mktemp("demo")
    made = draw_phantoms(out, studies=64)
    material = Material(
        reports=made.reports,
        truth=made.truth,
        reference="image",
        reviewed=56,
        findings=FINDINGS,
        patient="patient_id",
    )
    with shared_labelers():
        run_demo(out, material)
    return Done(out, run_image_demo(out, epochs=1))


@pytest.fixture(scope="module")
def page(done: Done) -> str:
    return done.demo.page.read_text(encoding="utf-8")


def test_both_ways_are_trained_and_evaluated(done: Done) -> None:
    for way in WAYS:
        predicted = pd.read_csv(done.out / way.run / "predictions.csv")
        metrics = pd.read_csv(done.out / way.evaluation / "metrics.csv")
        assert set(predicted["views"]) == {"frontal", "lateral", "frontal+lateral"}
        assert set(metrics["finding"]) >= set(FINDINGS)
        assert (done.out / way.evaluation / "index.html").is_file()
    assert [model.trained for model in done.demo.models] == [done.demo.models[0].trained] * 2


def test_only_the_second_knows_the_error(done: Done) -> None:
    configs = [(done.out / way.run / "config.toml").read_text() for way in WAYS]
    assert 'noise_method = "none"' in configs[0] and 'noise = ""' in configs[0]
    assert 'noise_method = "forward"' in configs[1] and "audit/noise.json" in configs[1]


def test_review_is_of_the_images(done: Done) -> None:
    manual = pd.read_csv(done.out / "manual.csv").set_index("study_id")
    truth = pd.read_csv(done.out / "phantoms/truth.csv").set_index("study_id")
    assert set(manual["reference"]) == {"image"} and len(manual) == 56
    assert manual[list(FINDINGS)].equals(truth.loc[manual.index, list(FINDINGS)])


def test_models_are_held_against_the_truth(done: Done) -> None:
    truth = pd.read_csv(done.out / "phantoms/truth.csv").set_index("study_id")
    cases = done.demo.models[0].truth.cases
    assert (truth.loc[list(cases.ids), list(cases.findings)].to_numpy() == cases.truth).all()
    assert "against the truth" in done.demo.summary


def test_models_are_held_against_the_audited_studies_too(done: Done, page: str) -> None:
    for model in done.demo.models:
        assert model.found.audit is not None
        assert model.found.audit.reference == "image"
        assert model.found.audit.studies == len(
            set(pd.read_csv(done.out / "manual.csv")["study_id"]) & set(model.found.cases.ids)
        )
    assert f"the {model.found.audit.studies} audited ones of the test studies" in page
    assert "audited + labels" in page


def test_cards_show_what_their_headings_say(done: Done) -> None:
    tables = read_tables(done.out, done.out / "phantoms")
    cards = make_cards(tables, done.demo.models)
    assert len({card.study_id for card in cards}) == len(cards) > 0
    for card in cards:
        (row,) = [row for row in card.rows if row.told]
        assert card.heading.endswith(f"{row.finding}.")
        assert row.there == bool(tables.truth.at[card.study_id, row.finding])
        assert row.state == tables.states.at[card.study_id, row.finding]
        assert ("and there" in card.heading or "There," in card.heading) == row.there
        assert {view for view, _ in card.images} == {"frontal", "lateral"}


def test_errors_are_those_of_the_table_and_of_all_studies(done: Done) -> None:
    tables = read_tables(done.out, done.out / "phantoms")
    (row,) = error_rows(done.out / "audit/noise.json", tables, ["Edema"])
    stated = tables.states["Edema"] == "positive"
    assert row.true["positive"] == (tables.truth["Edema"][stated] == 1).mean()
    assert row.true_sensitivity == stated[tables.truth["Edema"] == 1].mean()
    assert row.estimated["positive"].low < row.estimated["positive"].value
    held, of = coverage([row])
    assert 0 <= held <= of <= 4


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.found += [value or "" for name, value in attrs if name in ("href", "src")]


def test_page_loads_nothing_and_leads_to_the_others(done: Done, page: str) -> None:
    parser = Links()
    parser.feed(page)
    assert "script" not in parser.tags
    for target in parser.found:
        assert target.startswith(("data:image/png;base64,", "#")) or (done.out / target).is_file()
    assert re.search(r"https?://(?!www\.w3\.org)", page) is None
    assert {"audit/index.html", "stats.html"} <= set(parser.found)


def test_page_describes_its_pictures(page: str) -> None:
    for caption in re.findall(r'aria-labelledby="([^"]+)"', page):
        assert f'id="{caption}"' in page
    assert all('alt="' in tag for tag in re.findall(r"<img[^>]*>", page))


def test_page_tells_reports_and_both_models(done: Done, page: str) -> None:
    reports = pd.read_csv(done.out / "phantoms/reports.csv", dtype=str, keep_default_na=False)
    assert any(text and text in page for text in reports["findings"])
    assert all(way.name in page for way in WAYS)
    assert "nan" not in re.sub(r"base64,[^\"]*", "", page).lower().split()


def test_it_asks_before_it_replaces(done: Done) -> None:
    before = done.demo.page.read_bytes()
    with pytest.raises(InputError, match="--force"):
        run_image_demo(done.out, epochs=1)
    with pytest.raises(InputError, match="--force"):
        draw_phantoms(done.out, studies=3)
    assert done.demo.page.read_bytes() == before
