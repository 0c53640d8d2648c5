"""Hybrid and bag-of-words labelers on invented reviews with a convention."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from reviewed_reports import FINDINGS, make_material

from cxrlabel.errors import InputError
from cxrlabel.findings import STATES
from cxrlabel.labeler import Labeler
from cxrlabel.learned.bow import BowLabeler, fit_bow
from cxrlabel.learned.crossval import cross_validate, learning_curve, reviewed_columns
from cxrlabel.learned.features import ReportFeatures, make_vocabulary, ngrams, owner
from cxrlabel.learned.hybrid import HybridLabeler, fit_hybrid
from cxrlabel.learned.kinds import fit_linear
from cxrlabel.learned.material import Material, pooled_table, rules_codes
from cxrlabel.learned.storage import read_facts

POSITIVE = STATES.index("positive")


@pytest.fixture(scope="module")
def seen(labeler: Labeler, tmp_path_factory: pytest.TempPathFactory) -> Material:
    return make_material(labeler, tmp_path_factory.mktemp("seen"), 200, seed=1)


@pytest.fixture(scope="module")
def unseen(labeler: Labeler, tmp_path_factory: pytest.TempPathFactory) -> Material:
    return make_material(labeler, tmp_path_factory.mktemp("unseen"), 150, seed=2)


@pytest.fixture(scope="module")
def hybrid(seen: Material) -> HybridLabeler:
    return fit_hybrid(seen)


@pytest.fixture(scope="module")
def bow(seen: Material) -> BowLabeler:
    return fit_bow(seen, seed=1)


def states(model: HybridLabeler | BowLabeler, material: Material) -> np.ndarray:
    return model.probs(material.readings, material.rules).argmax(axis=-1)


def test_hybrid_learns_what_the_rules_do_not_know(hybrid: HybridLabeler, unseen: Material) -> None:
    truth = unseen.reviewed.shares.argmax(axis=-1)
    rules = unseen.rules[:, reviewed_columns(unseen)]

    assert hybrid.findings == FINDINGS
    assert (rules == truth).mean() < 0.95
    assert (states(hybrid, unseen) == truth).mean() > 0.99


def test_bow_learns_from_words_alone(bow: BowLabeler, unseen: Material) -> None:
    truth = unseen.reviewed.shares.argmax(axis=-1)

    assert (states(bow, unseen) == truth).mean() > 0.9


@pytest.mark.parametrize("fit", [fit_hybrid, partial(fit_bow, seed=1)])
def test_the_same_reports_give_the_same_labeler(
    fit: Callable[[Material], HybridLabeler], seen: Material, unseen: Material
) -> None:
    once, again = (fit(seen).probs(unseen.readings, unseen.rules) for _ in range(2))

    assert np.array_equal(once, again)


def test_a_saved_labeler_gives_the_same_probabilities(
    hybrid: HybridLabeler, bow: BowLabeler, labeler: Labeler, unseen: Material, tmp_path: Path
) -> None:
    for model, kind in ((hybrid, HybridLabeler), (bow, BowLabeler)):
        folder = tmp_path / model.kind
        folder.mkdir()
        facts = model.calibrated(0.9).save(folder)
        read = kind.load(folder, facts, labeler)
        expected = model.calibrated(0.9).probs(unseen.readings, unseen.rules)
        assert read.probs(unseen.readings, unseen.rules) == pytest.approx(expected, abs=1e-9)


def test_codes_of_two_states_leave_the_others_to_the_rules(
    labeler: Labeler, tmp_path: Path
) -> None:
    material = make_material(labeler, tmp_path, 200, seed=3, two_states=True)
    model = fit_hybrid(material)
    column = FINDINGS.index("Pleural Effusion")
    rules = material.rules[:, labeler.findings.index("Pleural Effusion")]

    found = states(model, material)[:, column]

    for state in ("uncertain", "negative", "blank"):
        own = rules == STATES.index(state)
        assert own.any()
        assert (found[own] == rules[own]).all()


def test_findings_with_few_reviewed_positives_are_not_learned(
    labeler: Labeler, tmp_path: Path
) -> None:
    few = make_material(labeler, tmp_path, 12, seed=4)

    assert set(fit_hybrid(few).findings) < set(FINDINGS)


def test_probabilities_of_unseen_reports_are_calibrated(seen: Material, unseen: Material) -> None:
    model = fit_hybrid(seen)
    probs = model.probs(unseen.readings, unseen.rules)[..., POSITIVE].ravel()
    truth = (unseen.reviewed.shares.argmax(axis=-1) == POSITIVE).ravel()

    for low, high in ((0.0, 0.2), (0.8, 1.0)):
        inside = (probs >= low) & (probs <= high)
        assert truth[inside].mean() == pytest.approx(probs[inside].mean(), abs=0.08)


def test_cross_validation_never_sees_a_report_that_it_labels(seen: Material) -> None:
    fitted_on: list[set[str]] = []

    def fit(some: Material) -> HybridLabeler:
        fitted_on.append(set(some.reviewed.texts))
        return fit_hybrid(some)

    cross_validate(seen, fit, folds=3, seed=0)

    everything = set(seen.reviewed.texts)
    held = [everything - own for own in fitted_on]
    assert sum(map(len, held)) == len(everything)


def test_a_learning_curve_judges_all_sizes_on_the_same_reports(seen: Material) -> None:
    fits = {"hybrid": partial(fit_linear, "hybrid", seed=1)}

    points = learning_curve(seen, fits, [20, 100], folds=3, seed=0)

    assert [point.reports for point in points] == [20, 100]
    assert points[1].f1 > points[0].f1
    assert points[0].f1 - points[0].less_rules == pytest.approx(points[1].f1 - points[1].less_rules)
    assert all(point.lo <= point.f1 <= point.hi for point in points)


def test_an_unknown_kind_is_refused(seen: Material) -> None:
    with pytest.raises(InputError, match="--kind"):
        fit_linear("forest", seen, seed=1)


def test_the_pooled_table_says_how_often_reviewers_agree(seen: Material) -> None:
    table = pooled_table(seen)

    assert table.sum(axis=1) == pytest.approx(1)
    assert (table.argmax(axis=1) == np.arange(4)).tolist()[2:] == [True, True]


@pytest.fixture
def features(labeler: Labeler) -> Iterator[ReportFeatures]:
    yield ReportFeatures(labeler, longest=2)


def test_features_name_rules_words_and_cues(labeler: Labeler, features: ReportFeatures) -> None:
    reading = labeler.read("FINDINGS: No focal consolidation.")
    codes = rules_codes(labeler, [reading])[0]

    names = features.names(reading, codes.tolist())

    assert "state | Consolidation | negative" in names
    assert "words | no focal" in names
    assert "words | <s> no" in names
    assert "section | Consolidation | negative | findings" in names
    assert any(name.startswith("cue | Consolidation | negative") for name in names)


def test_sections_that_make_no_label_have_no_words(
    labeler: Labeler, features: ReportFeatures
) -> None:
    reading = labeler.read("INDICATION: cough. FINDINGS: No edema.")
    names = features.names(reading, rules_codes(labeler, [reading])[0].tolist())

    assert "words | edema" in names
    assert "words | cough" not in names


def test_numbers_in_words_are_alike() -> None:
    assert list(ngrams("A 2.3 cm nodule", 1)) == list(ngrams("a 4.5 cm NODULE", 1))


def test_a_vocabulary_counts_groups_not_reports() -> None:
    names = [{"words | a", "words | b"}, {"words | a"}, {"words | b"}]

    assert make_vocabulary(names, [0, 0, 1], least=2) == ("words | b",)


def test_the_owner_of_a_feature_is_its_finding() -> None:
    assert owner("rule | Edema | positive | edema/edema") == "Edema"
    assert owner("words | edema") == ""


def test_a_folder_without_a_labeler_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no labeler here"):
        read_facts(tmp_path)
