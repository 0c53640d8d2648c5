"""The table of mentions: rows in order, with the places that their sentences have."""

import numpy as np
import pytest
from drawn import MENTIONS, mention
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrlabel.mentiontable import MentionCollector, MentionTable, SentenceMentions
from cxrlabel.stats import mention_key
from cxrlabel.studies import Mention
from cxrlabel.writers import cells_of

NO_EDEMA = mention(
    assertion="negative", start=3, end=8, text="edema", cue="No", cue_start=0, cue_end=2
)
EDEMA = mention(location="basal")
MASS = mention("Mass", start=10, end=14, text="mass")

SAID = SentenceMentions((NO_EDEMA,))
TWO = SentenceMentions((EDEMA, MASS))
NOTHING = SentenceMentions(())


def rows(table: MentionTable) -> list[tuple[object, ...]]:
    return list(zip(*map(cells_of, table.columns()), strict=True))


def placed(m: Mention, section: str, sentence: int, begins: int) -> Mention:
    cue = (None, None) if m.cue_start is None else (m.cue_start + begins, m.cue_end + begins)
    return m._replace(
        section=section,
        sentence=sentence,
        start=m.start + begins,
        end=m.end + begins,
        cue_start=cue[0],
        cue_end=cue[1],
    )


def test_columns_are_the_id_and_the_fields_of_a_mention() -> None:
    assert len(MentionCollector().table().columns()) == 1 + len(Mention._fields)


def test_row_has_the_place_of_its_sentence() -> None:
    collector = MentionCollector()
    collector.add("s1", [(NOTHING, "findings", 0), (SAID, "impression", 40)])

    [(study, *cells)] = rows(collector.table())

    assert study == "s1"
    assert Mention(*cells) == placed(NO_EDEMA, "impression", 1, 40)


def test_rows_are_in_the_order_of_studies_sentences_and_mentions() -> None:
    collector = MentionCollector()
    collector.add("b", [(TWO, "findings", 0), (SAID, "findings", 20)])
    collector.add("a", [(SAID, "report", 0), (TWO, "report", 9)])

    found = [(study, cells[0], cells[4]) for study, *cells in rows(collector.table())]

    assert found == [
        ("b", "Edema", 0), ("b", "Mass", 0), ("b", "Edema", 1),
        ("a", "Edema", 0), ("a", "Edema", 1), ("a", "Mass", 1),
    ]  # fmt: skip


def test_mention_of_an_equal_sentence_is_kept_once() -> None:
    collector = MentionCollector()
    for study in range(9):
        collector.add(f"s{study}", [(TWO, "findings", study)])

    table = collector.table()

    assert len(rows(table)) == 18
    assert table.distinct["finding"] == ["Edema", "Mass"]


def test_missing_cue_has_no_offsets_beside_one_that_is_there() -> None:
    collector = MentionCollector()
    collector.add("s1", [(TWO, "report", 5), (SAID, "report", 30)])

    cues = [cells[10:12] for _, *cells in rows(collector.table())]

    assert cues == [[None, None], [None, None], [30, 32]]


def test_offsets_are_plain_integers_where_no_cue_is_missing() -> None:
    collector = MentionCollector()
    collector.add("s1", [(SAID, "report", 7)])

    columns = dict(zip(["id", *Mention._fields], collector.table().columns(), strict=True))

    for name in ("sentence", "start", "end", "cue_start", "cue_end"):
        assert type(columns[name]) is np.ndarray
        assert columns[name].dtype == np.int64


def test_study_without_mentions_has_no_row_and_keeps_its_place() -> None:
    collector = MentionCollector()
    collector.add("s1", [(NOTHING, "findings", 0)])
    collector.add("s2", [])
    collector.add("s3", [(SAID, "findings", 0)])

    assert collector.studies == ["s1", "s2", "s3"]
    assert [row[0] for row in rows(collector.table())] == ["s3"]


@pytest.mark.parametrize("studies", [[], ["s1", "s2"]])
def test_table_without_mentions_has_columns_without_rows(studies: list[str]) -> None:
    collector = MentionCollector()
    for study in studies:
        collector.add(study, [(NOTHING, "findings", 0)])

    table = collector.table()

    assert [cells_of(column) for column in table.columns()] == [[]] * (1 + len(Mention._fields))
    assert not table.counts(mention_key)


PLACED = st.builds(
    Mention._replace,
    MENTIONS,
    section=st.sampled_from(["findings", "impression"]),
    sentence=st.integers(0, 99),
)
SENTENCES = st.tuples(
    st.sampled_from([SAID, TWO, NOTHING]),
    st.sampled_from(["findings", "impression"]),
    st.integers(0, 10**6),
)
# of each study: its sentences, or its mentions in their places
STUDIES = st.lists(
    st.one_of(
        st.tuples(st.just(True), st.lists(SENTENCES, max_size=4)),
        st.tuples(st.just(False), st.lists(PLACED, max_size=4)),
    ),
    max_size=5,
)


@settings(max_examples=40)
@given(STUDIES)
def test_rows_are_the_mentions_of_every_study(studies: list[tuple[bool, list]]) -> None:
    collector = MentionCollector()
    expected: list[tuple[str, Mention]] = []
    for number, (in_sentences, content) in enumerate(studies):
        study = f"s{number}"
        if in_sentences:
            collector.add(study, content)
            expected += [
                (study, placed(m, section, index, begins))
                for index, (said, section, begins) in enumerate(content)
                for m in said.mentions
            ]
        else:
            collector.add_mentions(study, content)
            expected += [(study, m) for m in content]

    table = collector.table()

    assert [(study, Mention(*cells)) for study, *cells in rows(table)] == expected
    counts = table.counts(mention_key)
    assert sorted(counts.elements()) == sorted(mention_key(m) for _, m in expected)
