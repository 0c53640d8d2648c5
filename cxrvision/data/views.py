"""The view of an image, frontal or lateral, from what its header and its data set say.

Headers lie: of the Open-i images whose View Position (0018,5101) is PA, two in five are laterals
(docs/data.md), as some devices write PA into everything. So sources are compared, contradictions
counted, and a tag that a study repeats where another view is to be expected is not believed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import pandas as pd

FRONTAL: Final = "frontal"
LATERAL: Final = "lateral"
OTHER: Final = "other"  # known to be neither: oblique, decubitus, ribs, a slice of a CT
UNKNOWN: Final = "unknown"
VIEWS: Final = (FRONTAL, LATERAL)  # their places are the codes in tensors: 0 and 1
ALL_VIEWS: Final = (FRONTAL, LATERAL, OTHER, UNKNOWN)

# Sources in order of trust. A table was mostly made by people who looked at the image; a tag was
# set for it by the device, an orientation likewise but often left at a default; a text may speak of
# the whole study.
TRUST: Final = ("table", "position", "orientation", "description")
BY_STUDY: Final = "study"  # the rule of what is left over in a study of two images

# Defined terms of (0018,5101), PS3.3 C.8.1.1, and of CID 4010; with them what devices and data sets
# write. Decubitus films are taken along a horizontal beam and look like neither view.
_OTHER: Final = frozenset(
    ("lld", "rld", "decubitus", "decub", "lao", "rao", "lpo", "rpo", "llo", "rlo", "rfo", "lfo",
     "oblique", "obl", "swimmers", "swimmer", "costal", "rib", "ribs", "exclude", "coronal",
     "sagittal")
)  # fmt: skip
_LATERAL: Final = frozenset(("lateral", "lat"))
_LATERAL_CODES: Final = frozenset(("ll", "rl"))
_FRONTAL: Final = frozenset(
    ("pa", "ap", "frontal", "anteroposterior", "posteroanterior", "lordotic", "apical")
)
_SPELLED: Final = (
    (re.compile(r"\bantero[ -]*posterior\b"), "ap"),
    (re.compile(r"\bpostero[ -]*anterior\b"), "pa"),
    (re.compile(r"\b(a|p)\. ?(p|a)\b\.?"), r"\1\2"),
)
_WORDS: Final = re.compile(r"[a-z]+")


@dataclass(frozen=True, slots=True, eq=False)
class ResolvedViews:
    """The view of each image, and how it is known."""

    view: pd.Series[str]  # one of ALL_VIEWS
    rule: pd.Series[str]  # one of TRUST, "study", or "" where the view is unknown
    contradictions: Mapping[str, int]  # "position PA… says frontal, …" -> images
    doubted: int  # images whose tag was not believed

    def notes(self) -> list[str]:
        """What a user should know of it, a line each."""
        notes = []
        unknown = int((self.view == UNKNOWN).sum())
        if unknown:
            notes.append(
                f"{unknown:,} of {len(self.view):,} images have an unknown view; "
                "`cxr data views` tells it from the pixels"
            )
        if self.doubted:
            notes.append(
                f"{self.doubted:,} images are tagged PA in studies of several frontal tags and no "
                "lateral; that is often a device's default, so their view is unknown"
            )
        notes += [f"{count:,} images: {what}" for what, count in self.contradictions.items()]
        return notes


def view_of_position(text: str) -> str:
    """The view that a view position means: PA, AP supine, LL, "antero-posterior", L."""
    if text.strip().lower() == "l":  # PadChest and covid-chestxray; elsewhere a side marker
        return LATERAL
    return _view_of_words(text, _LATERAL | _LATERAL_CODES)


def view_of_description(text: str) -> str:
    """The view that a series or protocol description names; unknown where it names both."""
    return _view_of_words(text, _LATERAL)


def names_both_views(text: str) -> bool:
    """Whether a study's description promises a frontal and a lateral image."""
    words = _words(text)
    return bool(words & _FRONTAL) and bool(words & _LATERAL)


def view_of_orientation(text: str) -> str:
    r"""The view that a patient orientation (0020,0020) means: L\F frontal, A\F lateral.

    The first value says where a row leads to, the second where a column does (PS3.3 C.7.6.1.1.1).
    A film that lies on its side has them in the other order.
    """
    letters = [part[0] for part in re.findall(r"[A-Z]+", text.upper())]
    if len(letters) != 2 or not set(letters) & {"H", "F"}:
        return UNKNOWN
    across = next((letter for letter in letters if letter not in "HF"), "")
    if across in ("L", "R"):
        return FRONTAL
    return LATERAL if across in ("A", "P") else UNKNOWN


def position_code(text: str) -> str:
    """A view position as the manifest has it: PA or AP where it is one of them, else upper case."""
    codes = _words(text) & {"pa", "ap"}
    if len(codes) == 1 and view_of_position(text) == FRONTAL:
        return codes.pop().upper()
    return " ".join(text.upper().replace("_", " ").split())


def resolve_views(
    *,
    table: pd.Series[str] | None = None,
    position: pd.Series[str] | None = None,
    orientation: pd.Series[str] | None = None,
    description: pd.Series[str] | None = None,
    study: pd.Series[str] | None = None,
    study_description: pd.Series[str] | None = None,
    doubt_repeats: bool = False,
) -> ResolvedViews:
    """The view of each image by the most trusted source that knows it.

    Args:
        table: what the data set's own table says ("Frontal", "PA", "L" …).
        position, orientation: (0018,5101) or the meaning of (0054,0220); (0020,0020).
        description: text of series or protocol.
        study: study ids.
        study_description: text of study or procedure. It says nothing of one image, but where it
            names both views, an image of unknown view in a study of two has the view that the
            other has not. Needs `study`.
        doubt_repeats: the tags are as devices wrote them: of a study with two or more frontal tags
            and no lateral image, a PA is not believed (AP is set by hand more often). Not for
            positions that people looked at. Needs `study`.

    All are text, "" where nothing is known, of the same index.
    """
    import pandas as pd

    given = {
        "table": (table, view_of_position),
        "position": (position, view_of_position),
        "orientation": (orientation, view_of_orientation),
        "description": (description, view_of_description),
    }
    says = {
        name: map_texts(texts, read) for name, (texts, read) in given.items() if texts is not None
    }
    if not says:
        raise ValueError("expected a source of views, found none")
    index = next(iter(says.values())).index
    view = pd.Series(UNKNOWN, index, dtype="str")
    rule = pd.Series("", index, dtype="str")
    for name in TRUST:
        if name in says:
            new = (view == UNKNOWN) & (says[name] != UNKNOWN)
            view, rule = view.mask(new, says[name]), rule.mask(new, name)
    doubt = pd.Series(False, index)
    if doubt_repeats and position is not None and study is not None:
        doubt = _repeated(view, rule, position, study)
        turned = says.get("orientation", view) == LATERAL
        view = view.mask(doubt, LATERAL).where(turned | ~doubt, UNKNOWN)
        rule = rule.mask(doubt, "orientation").where(turned | ~doubt, "")
        doubt &= ~turned
    if study is not None and study_description is not None:
        left = _left_over(view, study_description, study) & ~doubt
        view = view.mask(left, _opposite_of_other(view, study))
        rule = rule.mask(left, BY_STUDY)
    return ResolvedViews(view, rule, _contradictions(says), int(doubt.sum()))


def map_texts(texts: pd.Series[str], read: Callable[[str], str]) -> pd.Series[str]:
    """`read` of each text, called once for each distinct one."""
    views = {text: read(text) for text in texts.unique()}
    return texts.map(views).astype("str")


def _repeated(
    view: pd.Series[str], rule: pd.Series[str], position: pd.Series[str], study: pd.Series[str]
) -> pd.Series[bool]:
    is_tagged = (rule == "position") & (view == FRONTAL)
    is_pa = is_tagged & (map_texts(position, position_code) == "PA")
    tagged = is_tagged.groupby(study).transform("sum")
    with_lateral = (view == LATERAL).groupby(study).transform("any")
    return is_pa & (tagged >= 2) & ~with_lateral


def _left_over(
    view: pd.Series[str], description: pd.Series[str], study: pd.Series[str]
) -> pd.Series[bool]:
    both = description.map({text: names_both_views(text) for text in description.unique()})
    size = view.groupby(study).transform("size")
    known = view.isin(VIEWS).groupby(study).transform("sum")
    return (view == UNKNOWN) & both.astype(bool) & (size == 2) & (known == 1)


def _opposite_of_other(view: pd.Series[str], study: pd.Series[str]) -> pd.Series[str]:
    has_frontal = (view == FRONTAL).groupby(study).transform("any")
    return has_frontal.map({True: LATERAL, False: FRONTAL}).astype("str")


def _contradictions(says: Mapping[str, pd.Series[str]]) -> dict[str, int]:
    found: dict[str, int] = {}
    names = [name for name in TRUST if name in says]
    for place, first in enumerate(names):
        for second in names[place + 1 :]:
            one, two = says[first], says[second]
            differ = (one != two) & (one != UNKNOWN) & (two != UNKNOWN)
            pairs = (first + " says " + one + ", " + second + " " + two)[differ]
            found |= {str(what): int(n) for what, n in pairs.value_counts().items()}
    return found


def _words(text: str) -> set[str]:
    text = text.lower().replace("_", " ")
    for spelled, code in _SPELLED:
        text = spelled.sub(code, text)
    return set(_WORDS.findall(text))


def _view_of_words(text: str, lateral: frozenset[str]) -> str:
    words = _words(text)
    if words & _OTHER or words == {"axial"}:  # AP axial is a lordotic frontal; axial alone a CT's
        return OTHER
    is_frontal, is_lateral = bool(words & _FRONTAL), bool(words & lateral)
    if is_frontal == is_lateral:
        return UNKNOWN
    return FRONTAL if is_frontal else LATERAL
