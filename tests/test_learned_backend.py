from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from cxrlabel.errors import InputError
from cxrlabel.findings import STATES
from cxrlabel.labeler import Labeler
from cxrlabel.learned.backend import Backend, Model, states_of
from cxrlabel.learned.material import rules_codes
from cxrlabel.learned.reasons import find_reasons
from cxrlabel.reading import Reading

SURE = np.full((4, 4), 0.04) + 0.84 * np.eye(4)


class Fixed:
    """Says the same of every report."""

    kind = "fixed"

    def __init__(self, **probs: Sequence[float]) -> None:
        self.values = {name.replace("_", " "): value for name, value in probs.items()}

    @property
    def findings(self) -> tuple[str, ...]:
        return tuple(self.values)

    def probs(self, readings: Sequence[Reading], rules: NDArray[np.uint8]) -> NDArray[np.float64]:
        return np.tile(np.array(list(self.values.values())), (len(readings), 1, 1))


class Keyword:
    """Calls edema positive where a sentence has a word."""

    kind = "keyword"
    findings = ("Edema",)

    def probs(self, readings: Sequence[Reading], rules: NDArray[np.uint8]) -> NDArray[np.float64]:
        said = [any("water" in s.text for s, _, _ in r.sentences) for r in readings]
        return np.array([[[0.9, 0, 0.1, 0] if s else [0.1, 0, 0.2, 0.7]] for s in said])


def label(
    labeler: Labeler, report: str, *models: Model, rules: bool = False, combine: str = "average"
) -> dict[str, str]:
    backend = Backend(labeler, models, rules, combine, SURE)
    readings = [labeler.read(report)]
    codes = states_of(backend.probs(readings, rules_codes(labeler, readings)))[0]
    return {name: STATES[code] for name, code in zip(labeler.findings, codes, strict=True)}


def test_a_finding_that_no_model_knows_is_labeled_by_the_rules(labeler: Labeler) -> None:
    found = label(labeler, "No edema. Large effusion.", Fixed(Edema=(0.9, 0.1, 0, 0)))

    assert found["Edema"] == "positive"
    assert found["Pleural Effusion"] == "positive"
    assert found["Mass"] == "blank"


def test_the_average_weighs_how_sure_each_is(labeler: Labeler) -> None:
    sure, unsure = Fixed(Edema=(0.95, 0, 0.05, 0)), Fixed(Edema=(0.4, 0, 0.6, 0))

    assert label(labeler, "Lungs.", sure, unsure, unsure)["Edema"] == "positive"
    assert label(labeler, "Lungs.", sure, unsure, unsure, combine="vote")["Edema"] == "negative"


def test_the_rules_may_be_one_of_several(labeler: Labeler) -> None:
    against = Fixed(Edema=(0.3, 0, 0.7, 0))

    assert label(labeler, "Mild edema.", against)["Edema"] == "negative"
    assert label(labeler, "Mild edema.", against, rules=True)["Edema"] == "positive"


def test_a_tie_of_votes_goes_by_the_probability(labeler: Labeler) -> None:
    one, other = Fixed(Edema=(0.6, 0, 0.4, 0)), Fixed(Edema=(0.1, 0, 0.9, 0))

    assert label(labeler, "Lungs.", one, other, combine="vote")["Edema"] == "negative"


@pytest.mark.parametrize("report", ["", "INDICATION: cough."])
def test_a_report_that_says_nothing_is_blank(labeler: Labeler, report: str) -> None:
    found = label(labeler, report, Fixed(Edema=(1, 0, 0, 0), No_Finding=(1, 0, 0, 0)))

    assert set(found.values()) == {"blank"}


def test_no_finding_is_blank_where_a_model_finds_something(labeler: Labeler) -> None:
    healthy = {"No_Finding": (1.0, 0, 0, 0)}

    assert label(labeler, "Lungs.", Fixed(**healthy))["No Finding"] == "positive"
    sick = Fixed(Edema=(0.9, 0.1, 0, 0), **healthy)
    assert label(labeler, "Lungs.", sick)["No Finding"] == "blank"
    devices = Fixed(Support_Devices=(0.9, 0.1, 0, 0), **healthy)
    assert label(labeler, "Lungs.", devices)["No Finding"] == "positive"


def test_an_unknown_combination_is_refused(labeler: Labeler) -> None:
    with pytest.raises(InputError, match="--combine: 'mean'; expected one of average, vote"):
        Backend(labeler, (), True, "mean", SURE)


def test_the_reason_of_a_label_is_the_sentence_that_moves_it(labeler: Labeler) -> None:
    report = "FINDINGS: Heart size is normal. There is water in the lungs. No nodule."
    backend = Backend(labeler, (Keyword(),), False, "average", SURE)
    readings = [labeler.read(report), labeler.read("No nodule.")]
    rules = rules_codes(labeler, readings)

    found = find_reasons(backend, readings, rules, backend.probs(readings, rules))

    assert [(m.finding, m.assertion, m.text) for m in found[0]] == [
        ("Edema", "positive", "There is water in the lungs.")
    ]
    reason = found[0][0]
    assert report[reason.start : reason.end] == reason.text
    assert reason.rule == "keyword/+4.4"
    assert found[1] == []
