import re
import xml.etree.ElementTree as ElementTree
from collections import Counter

import pytest
from test_vision_evaluation import make_files

from cxrvision.evaluate.comparing import compare_files
from cxrvision.evaluate.evaluation import EvaluationOptions, evaluate_files
from cxrvision.evaluate.page import comparison_page, evaluation_page

EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("someone")
    predictions, labels = make_files(folder)
    labels.write_text(labels.read_text().replace("north", EVIL))
    return evaluate_files(predictions, labels)


@pytest.fixture(scope="module")
def page(found):
    return evaluation_page(found, title="A & B")


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparison")
    predictions, labels = make_files(folder)
    other = folder / f"{EVIL.replace('/', '')}.csv"
    other.write_text(make_files(folder, seed=1)[0].read_text())
    make_files(folder)
    found = compare_files([predictions, other], labels, average=(predictions, other))
    return comparison_page(found)


def cells(html):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_page_has_its_plots(page):
    assert re.findall(r'aria-labelledby="([a-z-]+)-caption"', page) == [
        "auc", "roc", "precision", "calibration",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["page", "comparison"])
def test_plots_are_well_formed_and_share_no_ids(name, request):
    html = request.getfixturevalue(name)
    for svg in re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL):
        ElementTree.fromstring(
            svg.replace("<svg", '<svg xmlns:xlink="http://www.w3.org/1999/xlink"', 1)
        )
    ids = Counter(re.findall(r'\bid="([^"]+)"', html))
    assert [i for i, count in ids.items() if count > 1] == []


@pytest.mark.parametrize("name", ["page", "comparison"])
def test_nothing_is_loaded_and_everything_is_escaped(name, request):
    html = request.getfixturevalue(name)
    assert "<script" not in html
    assert "http" not in html
    assert "@import" not in html
    assert "&lt;script&gt;" in html


def test_page_shows_no_folder(page):
    assert "someone" not in page


def test_page_has_the_numbers(page, found):
    row = found.measured.findings["Edema"]
    text = cells(page)
    assert f"Edema 160 {row.positives} {row.prevalence:.3f} {row.auc_labels.value:.3f} [" in text
    assert "Chosen on split val" in text


def test_page_warns_of_thresholds_chosen_on_the_same_studies(found, tmp_path):
    assert "chosen on the studies that are evaluated" not in cells(evaluation_page(found))
    files = make_files(tmp_path)
    again = evaluate_files(*files, EvaluationOptions(split="all"))
    assert "chosen on the studies that are evaluated" in cells(evaluation_page(again))


def test_page_without_any_auc_is_written(tmp_path):
    (tmp_path / "p.csv").write_text("study_id,Edema\na,.5\nb,.6\n")
    (tmp_path / "l.csv").write_text("study_id,Edema\na,1\nb,1\n")
    html = evaluation_page(evaluate_files(tmp_path / "p.csv", tmp_path / "l.csv"))
    assert "<svg" not in html
    assert "no negative label" in html


def test_comparison_says_how_many_findings_differ(comparison):
    assert "of 2 findings." in cells(comparison)
