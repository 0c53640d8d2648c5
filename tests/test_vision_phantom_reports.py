"""The reports of phantoms: what they say, how often it is wrong, and that draws are permanent."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cxrlabel.errors import InputError
from cxrvision.phantom import DRAWN, write_phantoms
from cxrvision.phantom.anatomy import build_chest, draw_person
from cxrvision.phantom.files import FINDINGS
from cxrvision.phantom.findings import DRAWINGS
from cxrvision.phantom.looks import Look, describe
from cxrvision.phantom.plan import PlanOptions, plan_studies
from cxrvision.phantom.reports import SECTIONS, make_reports
from cxrvision.phantom.saying import DEFAULT_RATES, Rates, decide, scale_rates
from cxrvision.phantom.wording import load_wording

TRUE = scale_rates(0)
STATES = {"positive", "uncertain", "negative", "blank"}


def plan(count=300, findings=FINDINGS, **options):
    shown = [name for name in findings if name != "No Finding"]
    return plan_studies(PlanOptions(findings, dict.fromkeys(shown, 0.25), **options), count)


def write(studies, looks=None, findings=FINDINGS, **options):
    scope = [name for name in findings if name != "No Finding"]
    return make_reports(studies, looks or {}, scope=scope, **options)


def text(report):
    return "\n".join(f"{name.upper()}: {report.sections[name]}" for name in SECTIONS)


# what is said


@pytest.mark.parametrize("findings", [FINDINGS, ("No Finding", *DRAWN)], ids=["nine", "all"])
def test_labels_of_a_report_are_what_it_says(findings, labeler):
    for report in write(plan(150, findings, seed=4), findings=findings):
        labels = labeler.label(text(report)).labels
        assert {name: labels[name] for name in report.said} == report.said, text(report)


def test_reports_without_errors_are_labeled_with_the_truth(labeler):
    studies = plan(120, seed=2)
    for study, report in zip(studies, write(studies, rates=TRUE, incidental=0), strict=True):
        labels = labeler.label(text(report)).labels
        for name, there in study.truth.items():
            assert labels[name] in (("positive",) if there else ("negative", "blank"))


SHARES = Rates(missed=0.3, hedged=0.2, overcalled=0.05, suspected=0.1, denied=0.6)


@pytest.mark.parametrize(
    ("there", "state", "share"),
    [
        (True, "positive", 0.7 * 0.8),
        (True, "uncertain", 0.7 * 0.2),
        (True, "negative", 0.3 * 0.6),
        (True, "blank", 0.3 * 0.4),
        (False, "positive", 0.05),
        (False, "uncertain", 0.95 * 0.1),
        (False, "negative", 0.95 * 0.9 * 0.6),
    ],
)
def test_states_come_at_the_rates_asked_for(there, state, share):
    drawn, rates = (["Edema"] if there else []), {"Edema": SHARES}
    said = [decide(drawn, ["Edema"], rates, (7, k))["Edema"] for k in range(4000)]
    assert np.mean([found == state for found in said]) == pytest.approx(share, abs=0.025)


def test_another_rate_changes_only_what_it_is_about():
    more = {**DEFAULT_RATES, "Edema": replace(DEFAULT_RATES["Edema"], missed=0.9)}
    pairs = [
        [decide(["Edema", "Nodule"], DRAWN, rates, (1, k)) for rates in (DEFAULT_RATES, more)]
        for k in range(200)
    ]
    assert any(a["Edema"] != b["Edema"] for a, b in pairs)
    for first, second in pairs:
        assert {n: s for n, s in first.items() if n not in ("Edema", "Lung Opacity")} == {
            n: s for n, s in second.items() if n not in ("Edema", "Lung Opacity")
        }


def test_default_errors_are_of_the_size_that_labels_have():
    studies = plan(1500)
    reports = write(studies)
    for name in FINDINGS[1:]:
        truth = np.array([study.truth[name] for study in studies]) == 1
        positive = np.array([report.said[name] == "positive" for report in reports])
        assert 0.6 < positive[truth].mean() < 0.92
        assert 0.75 < truth[positive].mean() < 0.995


def test_a_parent_is_not_denied_beside_its_child():
    denied = {name: replace(rates, denied=1.0) for name, rates in TRUE.items()}
    said = decide(["Mass"], DRAWN, denied, (0,))
    assert said["Mass"] == "positive"
    assert said["Lung Opacity"] == said["Lung Lesion"] == "blank"
    assert said["Edema"] == "negative"


@pytest.mark.parametrize(("factor", "missed"), [(0, 0.0), (0.5, 0.11), (10, 1.0)])
def test_scaled_errors_stay_shares_and_denials_stay(factor, missed):
    scaled = scale_rates(factor)["Lung Lesion"]
    assert scaled.missed == missed
    assert scaled.denied == DEFAULT_RATES["Lung Lesion"].denied


# the text


def test_smaller_set_is_the_beginning_of_a_larger_one():
    assert write(plan(40)) == write(plan(300))[:40]


def test_reports_of_another_seed_are_others():
    first, second = write(plan(40)), write(plan(40, seed=1))
    assert sum(a.sections == b.sections for a, b in zip(first, second, strict=True)) == 0


def test_every_text_is_used_and_no_placeholder_is_left():
    findings = ("No Finding", *DRAWN)
    studies = plan(1500, findings, studies_per_patient=2.5)
    corpus = "\n".join(
        text(report).lower()
        for reports in (write(studies, findings=findings), write(studies[:900]))
        for report in reports
    )
    words = load_wording()
    assert "{" not in corpus
    for finding in words.findings.values():
        for texts in (
            finding.stated, finding.hedged, finding.denied, finding.resolved, finding.names,
            finding.short_stated, finding.short_hedged, finding.opacity_stated,
            finding.opacity_hedged,
        ):  # fmt: skip
            for line in texts:
                longest = max(pieces(line), key=len)
                assert longest.lower() in corpus, line
    remarks = (*words.normal, *words.incidental)
    for line in [t for remark in remarks for t in remark.texts]:
        assert max(pieces(line), key=len).lower() in corpus, line


def pieces(line):
    """What stands between the placeholders."""
    return "".join("\0" if c == "{" else c for c in line.replace("}", "{")).split("\0")[::2]


def test_sections_are_those_of_a_report():
    studies = plan(400, missing_frontal=0.1)
    for study, report in zip(studies, write(studies), strict=True):
        assert tuple(report.sections) == SECTIONS
        assert report.sections["findings"] or report.sections["impression"]
        technique = report.sections["technique"].lower()
        assert ("lateral" in technique) == ("lateral" in study.views)
        if "frontal" in study.views:
            assert ("AP" if study.ap else "PA") in report.sections["technique"]


def test_later_visit_names_the_date_of_the_one_before():
    studies = plan(200, studies_per_patient=2.0)
    reports = {report.study_id: report for report in write(studies)}
    dates = {study.study_id: study.date for study in studies}
    for study in studies:
        patient, _, visit = study.study_id.rpartition("_")
        before = f"{patient}_{int(visit) - 1}"
        comparison = reports[study.study_id].sections["comparison"]
        assert (dates[before] in comparison) if before in dates else ("200" not in comparison)


def test_report_says_where_and_how_large_the_finding_was_drawn():
    looks = {
        study.study_id: {"Pleural Effusion": Look("left", "lower", 2, 9.0)}
        for study in plan(60, ("Pleural Effusion",))
    }
    studies = plan(60, ("Pleural Effusion",))
    for report in write(studies, looks, ("Pleural Effusion",), rates=TRUE, incidental=0):
        if report.said["Pleural Effusion"] == "positive":
            assert "left" in text(report) and "right" not in text(report)
            assert "large" in text(report).lower()


# looks


def look(name, seed, recline=0.0):
    person = draw_person(np.random.default_rng(seed))
    chest = build_chest(person, 1.0)
    chest.recline = recline
    place = DRAWINGS[name](np.random.default_rng(seed), chest, 1.0)
    return chest, place, describe(chest, {name: place})[name]


@pytest.mark.parametrize("name", [name for name in DRAWN if name not in ("Edema",)])
def test_look_has_the_side_of_the_drawing(name):
    for seed in range(12):
        _, place, found = look(name, seed)
        assert found.side == ("right" if place.center[0] < 0 else "left")
        assert found.grade in (0, 1, 2)


def test_wider_hearts_are_graded_higher():
    found = sorted((chest.heart_ratio(), look.grade) for chest, _, look in
                   (look("Cardiomegaly", seed) for seed in range(40)))  # fmt: skip
    grades = [grade for _, grade in found]
    assert grades == sorted(grades) and set(grades) == {0, 1, 2}


def test_devices_are_named_by_their_kind():
    kinds = {look("Support Devices", seed)[2].kinds for seed in range(30)}
    leaning = {look("Support Devices", seed, recline=0.5)[2].kinds for seed in range(30)}
    assert kinds == {("pacemaker",), ("wires",), ("port",)}
    assert leaning == {("tube",), ("line",), ("tube", "line")}


# files


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_written_reports_have_a_row_for_each_study(tmp_path):
    made = write_phantoms(tmp_path, studies=9, size=32, reports=True)
    rows = read(made.reports)
    assert list(rows[0]) == ["study_id", "patient_id", *SECTIONS]
    assert [row["study_id"] for row in rows] == [row["study_id"] for row in read(made.labels)]
    assert read(tmp_path / "truth.csv") == read(made.labels)


def test_reports_are_written_only_when_asked_for(tmp_path):
    assert write_phantoms(tmp_path, studies=1, size=32).reports is None
    assert not (tmp_path / "reports.csv").exists()


def test_workers_write_the_same_reports(tmp_path):
    texts = [
        write_phantoms(tmp_path / str(n), studies=4, size=32, reports=True, workers=n).reports
        for n in (1, 2)
    ]
    assert texts[0].read_bytes() == texts[1].read_bytes()


def test_reports_are_not_overwritten(tmp_path):
    (tmp_path / "reports.csv").write_text("mine")
    with pytest.raises(InputError, match="--force"):
        write_phantoms(tmp_path, studies=1, size=32, reports=True)


def test_command_writes_reports(tmp_path, cxr):
    out = tmp_path / "set"
    done = cxr("data", "phantoms", "-o", out, "--studies", 3, "--size", 32, "--reports")
    assert done.exit_code == 0, done.output
    assert f"reports of 3 studies -> {out}/reports.csv" in done.stderr
    wrong = cxr("data", "phantoms", "-o", out, "--report-errors", -1, "--force")
    assert wrong.exit_code == 1 and "report errors: -1; expected 0 to 100" in wrong.stderr


def test_page_has_the_default_rates():
    page = (Path(__file__).parent.parent / "docs/phantoms.md").read_text(encoding="utf-8")
    for name, rates in DEFAULT_RATES.items():
        numbers = (rates.missed, rates.hedged, rates.overcalled, rates.suspected, rates.denied)
        assert f"| {name} | {' | '.join(f'{share:g}' for share in numbers)} |" in page
