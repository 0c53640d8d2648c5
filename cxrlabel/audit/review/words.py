"""How states are said: as words with their keys on the page, as numbers in a table; durations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cxrlabel.findings import BLANK, NEGATIVE, POSITIVE, UNCERTAIN


@dataclass(frozen=True, slots=True)
class Choice:
    """How a state is shown, and the keys that choose it."""

    word: str
    brief: str  # where there is little room
    sign: str
    keys: tuple[str, str]


CHOICES: Final[Mapping[str, Choice]] = {
    POSITIVE: Choice("Present", "Present", "+", ("1", "p")),
    NEGATIVE: Choice("Absent", "Absent", "−", ("2", "a")),
    UNCERTAIN: Choice("Uncertain", "Uncertain", "?", ("3", "u")),
    BLANK: Choice("Not mentioned", "No mention", "○", ("4", "n")),
}

NUMBERS: Final[Mapping[str, int | None]] = {POSITIVE: 1, NEGATIVE: 0, UNCERTAIN: -1, BLANK: None}
STATE_OF: Final[Mapping[float, str]] = {  # without blank, which is NaN in a table
    float(number): state for state, number in NUMBERS.items() if number is not None
}


def duration(seconds: float | None) -> str:
    """Seconds as a person says it: "40 s", "25 min", "2 h 10 min"."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{round(seconds)} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(round(minutes, -1), 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def plural(count: int, noun: str, several: str = "") -> str:
    """A count with its noun: "1 study", "20 studies"."""
    return f"{count:,} {noun if count == 1 else several or noun + 's'}"
