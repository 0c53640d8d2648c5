"""Mentions and columns for tests: made by hand or drawn by hypothesis."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

from cxrlabel.studies import Mention
from cxrlabel.writers import Coded, Column

ASSERTIONS = ("positive", "uncertain", "negative", "none")
WORDS = st.text(st.characters(codec="utf-8"), max_size=8)
OFFSETS = st.integers(0, 2**40)


def mention(finding: str = "Edema", assertion: str = "positive", **fields: Any) -> Mention:
    """A mention of "Edema" at the start of its sentence, or one with other fields."""
    made = Mention(
        finding=finding,
        assertion=assertion,
        reason="asserted",
        section="",
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
    return made._replace(**fields)


MENTIONS = st.one_of(
    st.builds(mention, assertion=st.sampled_from(ASSERTIONS), start=OFFSETS, text=WORDS),
    st.builds(mention, cue=WORDS, cue_start=OFFSETS, cue_end=OFFSETS, location=WORDS),
)


@st.composite
def columns(draw: st.DrawFn, cells: st.SearchStrategy[Any], rows: int) -> Column:
    """A column of some rows: its cells one by one, or those that repeat coded.

    Integers come as an array too, and as a masked one where a cell is None.
    """
    if draw(st.booleans()):
        values = draw(st.lists(cells, min_size=1, max_size=4))
        codes = draw(st.lists(st.integers(0, len(values) - 1), min_size=rows, max_size=rows))
        return Coded(values, np.array(codes, draw(st.sampled_from([np.uint8, np.int64]))))
    found = draw(st.lists(cells, min_size=rows, max_size=rows))
    kinds = {type(cell) for cell in found}
    if int not in kinds or kinds - {int, type(None)} or draw(st.booleans()):
        return found
    masked = [cell is None for cell in found]
    array = np.array([cell or 0 for cell in found], np.int64)
    return np.ma.masked_array(array, masked) if any(masked) else array
