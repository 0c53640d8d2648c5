import json
import pickle
import random

import pytest
from counting import add
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import cxrlabel.stats as stats
from cxrlabel.errors import InputError
from cxrlabel.findings import STATES
from cxrlabel.stats import (
    LabelStatistics,
    StatsCounter,
    one_to,
    statistics_kind,
    stats_table,
    wilson_interval,
    write_statistics,
)
from cxrlabel.studies import Mention, StudyLabels

FINDINGS = ("No Finding", "Edema", "Pneumonia", "Support Devices")


def mention(finding="Edema", assertion="positive", reason="asserted", cue="", **fields):
    base = Mention(
        finding=finding,
        assertion=assertion,
        reason=reason,
        section="findings",
        sentence=0,
        start=0,
        end=5,
        text="edema",
        rule="edema/edema",
        cue=cue,
        cue_start=None,
        cue_end=None,
        laterality="",
        severity="",
        temporality="",
    )
    return base._replace(**fields)


def study(*states, mentions=(), sections=("findings",), status="labeled"):
    labels = dict(zip(FINDINGS, [*states, *["blank"] * 4], strict=False))
    return StudyLabels(status, labels, tuple(mentions), sections)


def count(*results):
    counter = StatsCounter(FINDINGS)
    for result in results:
        add(counter, result)
    return counter.statistics()


FOUR = (
    study("positive", "negative", "negative", "blank"),
    study("blank", "positive", "positive", "positive"),
    study("blank", "positive", "uncertain", "blank"),
    study("blank", "negative", "blank", "positive"),
)


def test_states_are_counted_with_shares():
    edema = count(*FOUR).findings[1]
    assert edema.finding == "Edema"
    assert edema.counts == {"positive": 2, "uncertain": 0, "negative": 2, "blank": 0}
    assert edema.shares == {"positive": 0.5, "uncertain": 0.0, "negative": 0.5, "blank": 0.0}


def test_imbalance_of_one_positive_in_four():
    pneumonia = count(*FOUR).findings[2]
    assert pneumonia.negatives_per_positive == 1.0
    assert pneumonia.others_per_positive == 3.0
    assert pneumonia.weight_positive == 4.0
    assert pneumonia.weight_negative == pytest.approx(4 / 3)


def test_findings_per_study_leave_out_no_finding_and_devices():
    assert count(*FOUR).findings_per_study == (2, 1, 1)


def test_positives_together_are_symmetric_counts():
    assert count(*FOUR).positives_together == (
        (1, 0, 0, 0),
        (0, 2, 1, 1),
        (0, 1, 1, 1),
        (0, 1, 1, 2),
    )


def test_share_together_is_of_the_row():
    shares = count(*FOUR).share_together
    assert (shares[1][2], shares[2][1]) == (0.5, 1.0)


def test_share_together_of_a_finding_without_positives_is_none():
    assert count(study("blank", "negative")).share_together[1] == (None, None, None, None)


def test_reports_that_were_not_labeled_count_by_status_only():
    result = count(study("positive"), study(status="empty", sections=()))
    assert (result.reports, result.labeled) == (2, 1)
    assert result.statuses["empty"] == 1
    assert result.findings[0].shares["positive"] == 1.0


def test_sections_count_once_for_each_report():
    result = count(study(sections=("findings", "impression", "findings")), study())
    assert result.sections == {"findings": 2, "impression": 1}


def test_cues_are_counted_without_case_space_and_marks():
    cues = ("No evidence of", "no  evidence\nof", ": no evidence of", "No")
    result = count(study(mentions=[mention(assertion="negative", cue=cue) for cue in cues]))
    assert result.cues["negative"] == (("no evidence of", 3), ("no", 1))


@pytest.mark.parametrize("reason", ["section", "corrected"])
def test_cue_that_did_not_decide_is_not_counted(reason):
    result = count(study(mentions=[mention(assertion="none", reason=reason, cue="No")]))
    assert result.cues["none"] == ()
    assert result.reasons == {reason: 1}


def test_long_cue_is_cut():
    result = count(study(mentions=[mention(cue="word " * 100)]))
    assert len(result.cues["positive"][0][0]) == 60


def test_cues_beyond_the_bound_count_together(monkeypatch):
    monkeypatch.setattr(stats, "_CUES", 2)
    result = count(study(mentions=[mention(cue=cue) for cue in ("a", "b", "c", "d", "a")]))
    assert dict(result.cues["positive"]) == {"a": 2, "b": 1, "(other cues)": 2}


def test_rules_are_counted_for_each_finding():
    mentions = [mention(rule="edema/fluid"), mention(), mention(), mention("Pneumonia", rule="p/p")]
    result = count(study(mentions=mentions))
    assert result.rules == {"Edema": {"edema/edema": 2, "edema/fluid": 1}, "Pneumonia": {"p/p": 1}}


def test_attributes_are_counted_over_mentions_that_make_a_label():
    mentions = [
        mention(laterality="left", severity="mild"),
        mention(temporality="new"),
        mention(assertion="none", reason="historical", laterality="right"),
    ]
    assert count(study(mentions=mentions)).attributes == {
        "laterality": {"left": 1, "not stated": 1},
        "location": {"not stated": 2},
        "severity": {"mild": 1, "not stated": 1},
        "temporality": {"new": 1, "not stated": 1},
    }


def test_mentions_are_counted_by_assertion():
    mentions = [mention(), mention(assertion="none", reason="historical")]
    result = count(study(mentions=mentions))
    assert result.mentions == {"positive": 1, "uncertain": 0, "negative": 0, "none": 1}


def test_nothing_counted_has_no_shares():
    result = count()
    assert (result.reports, result.findings_per_study) == (0, ())
    assert result.findings[0].interval is None
    assert result.findings[0].shares["positive"] is None


studies = st.builds(
    lambda states, mentions, status: study(*states, mentions=mentions, status=status),
    st.lists(st.sampled_from(STATES), min_size=4, max_size=4),
    st.lists(
        st.builds(
            mention,
            finding=st.sampled_from(FINDINGS),
            assertion=st.sampled_from(["positive", "negative", "none"]),
            cue=st.sampled_from(["", "no", "No", "may be"]),
        ),
        max_size=4,
    ),
    st.sampled_from(["labeled", "labeled", "empty"]),
)


@given(st.lists(studies, max_size=12), st.integers(0, 12))
def test_merge_of_pickled_counters_equals_one_pass(results, cut):
    merged = StatsCounter(FINDINGS)
    for part in (results[:cut], results[cut:]):
        counter = StatsCounter(FINDINGS)
        add(counter, *part)
        merged.merge(pickle.loads(pickle.dumps(counter)))
    assert merged.statistics() == count(*results)


@given(st.lists(studies, max_size=12))
def test_studies_counted_at_once_equal_those_counted_one_by_one(results):
    together = StatsCounter(FINDINGS)
    add(together, *results)
    assert together.statistics() == count(*results)


def test_merge_after_summing_up_equals_one_pass():
    first, second = StatsCounter(FINDINGS), StatsCounter(FINDINGS)
    cued = study("blank", "negative", mentions=[mention(assertion="negative", cue="no")])
    for counter in (first, second):
        add(counter, cued)
        counter.statistics()
    first.merge(second)
    assert first.statistics() == count(cued, cued)


def test_merge_of_other_findings_is_an_error():
    with pytest.raises(ValueError, match="different findings"):
        StatsCounter(FINDINGS).merge(StatsCounter(("Edema",)))


def test_summing_up_early_changes_nothing(monkeypatch):
    results = [study("blank", state, mentions=[mention(cue=state)]) for state in STATES]
    expected = count(*results)
    monkeypatch.setattr(stats, "_PENDING", 1)
    assert count(*results) == expected


def test_order_of_reports_does_not_show():
    shuffled = list(FOUR)
    random.Random(1).shuffle(shuffled)
    assert json.dumps(count(*shuffled).to_dict()) == json.dumps(count(*FOUR).to_dict())


def test_memory_is_bounded_by_distinct_content(monkeypatch):
    monkeypatch.setattr(stats, "_PENDING", 50)
    monkeypatch.setattr(stats, "_CUES", 50)
    counter = StatsCounter(FINDINGS)
    for i in range(500):
        add(counter, study(mentions=[mention(cue=f"cue {i}")], sections=("findings",) * (i % 99)))
    assert len(pickle.dumps(counter)) < 20_000


def test_wilson_interval_of_ten_in_a_hundred():
    # Newcombe 1998's method 3, by hand
    assert wilson_interval(10, 100) == pytest.approx((0.0552, 0.1744), abs=5e-5)


@pytest.mark.parametrize(("positives", "bound", "value"), [(0, 0, 0.0), (20, 1, 1.0)])
def test_wilson_interval_stays_between_zero_and_one(positives, bound, value):
    assert wilson_interval(positives, 20)[bound] == pytest.approx(value)


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(None, "–"), (0.0, "–"), (0.25, "1 : 0.25"), (4.21, "1 : 4.2"), (1234.5, "1 : 1,234")],
)
def test_one_to_rounds_by_size(ratio, text):
    assert one_to(ratio) == text


def printed(statistics: LabelStatistics, width: int = 100) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(stats_table(statistics))
    return capture.get()


def test_table_has_counts_and_the_share_of_positives():
    row = next(line for line in printed(count(*FOUR)).splitlines() if "Pneumonia" in line)
    assert " ".join(row.split()) == "Pneumonia 1 25.0% 1 1 1"


def test_table_of_a_million_studies_fits_eighty_columns():
    counter = StatsCounter(("Enlarged Cardiomediastinum",))
    labels = {"Enlarged Cardiomediastinum": "positive"}
    add(counter, StudyLabels("labeled", labels, (), ()))
    for _ in range(20):
        counter.merge(pickle.loads(pickle.dumps(counter)))
    table = printed(counter.statistics())
    assert "1,048,576  100.0%" in table
    assert max(map(len, table.splitlines())) <= 80


def test_table_shows_a_name_in_brackets():
    counter = StatsCounter(("[red]x",))
    assert "[red]x" in printed(counter.statistics())


def test_statistics_file_is_json(tmp_path):
    write_statistics(count(*FOUR), tmp_path / "s", {}, kind=".json")
    read = json.loads((tmp_path / "s").read_text("utf-8"))
    assert read["findings"][1]["counts"]["positive"] == 2


def test_statistics_file_of_unknown_kind_is_an_error():
    with pytest.raises(InputError, match=r"stats\.txt: unknown kind"):
        statistics_kind("stats.txt")
