import numpy as np
import pandas as pd
import pytest

from cxrlabel.errors import InputError
from cxrvision.noise.dependence import fit_dependence
from cxrvision.noise.label_features import FEATURES, by_state, read_label_features


def simulate(effect: float, *, m: int = 400, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Truth, offset and features; the first feature moves the log odds, two others do not."""
    rng = np.random.default_rng(seed)
    offset = rng.choice([-3.0, 1.5], size=m)
    features = (rng.random((m, 3)) < 0.4) - 0.4
    odds = offset + effect * features[:, 0]
    return rng.random(m) < 1 / (1 + np.exp(-odds)), offset, features


def test_an_effect_is_found_and_has_its_size() -> None:
    truth, offset, features = simulate(2.0, m=4000)

    found = fit_dependence(truth, offset, features)

    assert found.used
    assert found.coefficients == pytest.approx([2, 0, 0], abs=0.4)
    assert found.gain > 0


def test_without_an_effect_the_table_is_kept() -> None:
    used = [fit_dependence(*simulate(0.0, seed=seed)).used for seed in range(100)]

    assert np.mean(used) < 0.2


def test_held_out_likelihood_is_better_where_features_are_used() -> None:
    gains = []
    for seed in range(40):
        truth, offset, features = simulate(1.5, m=300, seed=seed)
        fitted = fit_dependence(truth, offset, features)
        new_truth, new_offset, new = simulate(1.5, m=4000, seed=1000 + seed)
        for logits, sign in ((new_offset + fitted.evidence(new), 1), (new_offset, -1)):
            likelihood = np.where(new_truth, logits, 0) - np.logaddexp(0, logits)
            gains.append(sign * likelihood.mean())

    assert np.mean(gains) > 0


def test_few_events_are_not_fitted() -> None:
    truth = np.zeros(100, dtype=bool)
    truth[:19] = True

    assert not fit_dependence(truth, np.zeros(100), truth[:, None].astype(float)).used


def test_features_come_from_the_mentions_that_made_labels(tmp_path) -> None:  # type: ignore[no-untyped-def]
    columns = [
        "study_id", "finding", "assertion", "reason", "section", "cue", "severity", "temporality",
    ]  # fmt: skip
    rows = [
        ("a", "Edema", "positive", "asserted", "findings", "", "mild", ""),
        ("a", "Edema", "uncertain", "hint", "impression", "may", "", "new"),
        ("a", "Edema", "none", "indication", "indication", "for", "severe", ""),
        ("b", "Mass", "negative", "negated", "findings", "no", "", ""),
        ("z", "Mass", "negative", "negated", "findings", "no", "", ""),
    ]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "m.csv", index=False)

    found = read_label_features(tmp_path / "m.csv", ["a", "b"], ["Edema", "Mass"])

    edema = dict(zip(FEATURES, found[0, 0], strict=True))
    assert edema["mentions"] == pytest.approx(np.log(2))
    flags = ("impression", "cue", "sign", "severity", "change", "disagreement")
    assert all(edema[name] == 1 for name in flags)
    assert found[0, 1].tolist() == [0] * len(FEATURES)
    assert found[1, 1][FEATURES.index("cue")] == 1
    with pytest.raises(InputError, match="no mention is of the 1 studies"):
        read_label_features(tmp_path / "m.csv", ["q"], ["Edema"])


def test_features_are_told_apart_by_what_the_label_says_and_have_mean_zero() -> None:
    features = np.array([[[1.0, 0.0]], [[0.0, 0.0]], [[1.0, 1.0]]])
    sites = np.array(["A", "A", "B"], dtype=object)

    found = by_state(features, np.array([[0], [0], [2]]), sites)

    assert found[:, 0, :2].tolist() == [[0.5, 0], [-0.5, 0], [0, 0]]
    assert found[:, 0, 2:4].tolist() == [[0, 0], [0, 0], [0, 0]]
    assert found.shape == (3, 1, 5)  # and the second site
