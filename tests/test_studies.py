import pytest

from cxrlabel.studies import Mention, blank_labels, correct, study_labels

FINDINGS = ("No Finding", "Edema", "Support Devices", "Pneumonia")
RANKS = {"preliminary": 0, "findings": 1, "addendum": 2}

MENTION = Mention(
    finding="Edema",
    assertion="positive",
    reason="asserted",
    section="findings",
    sentence=0,
    start=0,
    end=5,
    text="Edema",
    rule="edema/edema",
    cue="",
    cue_start=None,
    cue_end=None,
    laterality="",
    severity="",
    temporality="",
)


def mentions(*assertions: str, finding: str = "Edema") -> list[Mention]:
    return [MENTION._replace(finding=finding, assertion=assertion) for assertion in assertions]


@pytest.mark.parametrize(
    ("assertions", "state"),
    [
        ([], "blank"),
        (["none"], "blank"),
        (["negative"], "negative"),
        (["negative", "none"], "negative"),
        (["negative", "uncertain"], "uncertain"),
        (["uncertain", "positive"], "positive"),
        (["positive", "negative", "uncertain"], "positive"),
    ],
)
def test_positive_comes_before_uncertain_before_negative(assertions: list[str], state: str) -> None:
    assert study_labels(mentions(*assertions), FINDINGS)["Edema"] == state


@pytest.mark.parametrize(
    ("assertions", "state"),
    [
        (["positive", "negative", "uncertain"], "uncertain"),
        (["positive", "negative"], "positive"),
        (["positive", "uncertain"], "positive"),
        (["negative"], "negative"),
    ],
)
def test_chexpert_code_tests_negative_and_uncertain_first(
    assertions: list[str], state: str
) -> None:
    labels = study_labels(mentions(*assertions), FINDINGS, aggregate="chexpert-code")

    assert labels["Edema"] == state


def test_unknown_order_of_states_is_refused() -> None:
    with pytest.raises(ValueError, match="newest-first"):
        study_labels(mentions("positive"), FINDINGS, aggregate="newest-first")


@pytest.mark.parametrize(
    ("found", "state"),
    [
        ([], "positive"),
        (mentions("negative"), "positive"),
        (mentions("none"), "positive"),
        (mentions("positive", finding="Support Devices"), "positive"),
        (mentions("positive"), "blank"),
        (mentions("uncertain"), "blank"),
        (mentions("positive", finding="Other Abnormality"), "blank"),
        (mentions("negative", finding="Other Abnormality"), "positive"),
    ],
)
def test_no_finding_is_positive_where_nothing_is_abnormal(found: list[Mention], state: str) -> None:
    assert study_labels(found, FINDINGS)["No Finding"] == state


def test_labels_stand_in_the_order_of_the_findings() -> None:
    assert tuple(study_labels(mentions("positive"), FINDINGS)) == FINDINGS


def test_other_abnormality_is_no_label() -> None:
    labels = study_labels(mentions("positive", finding="Other Abnormality"), FINDINGS)

    assert "Other Abnormality" not in labels


def test_blank_labels_are_blank_for_no_finding_too() -> None:
    assert blank_labels(FINDINGS) == dict.fromkeys(FINDINGS, "blank")


@pytest.mark.parametrize(
    ("sections", "kept"),
    [
        (("findings", "addendum"), [False, True]),
        (("preliminary", "findings"), [False, True]),
        (("preliminary", "addendum"), [False, True]),
        (("addendum", "findings"), [True, False]),
        (("findings", "findings"), [True, True]),
        (("preliminary",), [True]),
    ],
)
def test_reading_of_the_highest_rank_is_kept(sections: tuple[str, ...], kept: list[bool]) -> None:
    found = [MENTION._replace(section=section) for section in sections]

    corrected = correct(found, RANKS)

    assert [m.assertion == "positive" for m in corrected] == kept
    assert all(m.reason == "corrected" for m in corrected if m.assertion == "none")


def test_correction_leaves_other_findings_alone() -> None:
    found = [
        MENTION._replace(finding="Pneumonia"),
        MENTION._replace(section="addendum", assertion="negative"),
    ]

    assert correct(found, RANKS) == found


def test_mention_that_makes_no_label_corrects_nothing() -> None:
    found = [MENTION, MENTION._replace(section="addendum", assertion="none", reason="historical")]

    assert correct(found, RANKS) == found
