"""Plots of the pages: one style, one palette, svg that stands inside html."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from io import StringIO
from typing import TYPE_CHECKING, Any, Final

from cxrlabel.findings import BLANK, NEGATIVE, POSITIVE, UNCERTAIN
from cxrlabel.studies import NONE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Blue and amber differ for every kind of colour vision, and the four differ in lightness for print
COLORS: Final[Mapping[str, str]] = {
    POSITIVE: "#1f4e79",
    UNCERTAIN: "#e0a030",
    NEGATIVE: "#8fb3cf",
    BLANK: "#e7eaed",
    NONE: "#7b858f",
}
INK: Final = "#1a1f24"
MUTED: Final = "#4d5761"  # 7.4 : 1 on white
RULE: Final = "#cfd5da"
WIDTH: Final = 10.0  # inches of 72 units; the page scales it to the width of the column

_STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",  # text stays text: it can be searched and read aloud
    "svg.hashsalt": "cxr",  # equal statistics give equal files
    "text.parse_math": False,  # a "$" in a finding's name is a "$"
    "font.size": 8.5,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": RULE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "xtick.color": MUTED,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}
_NO_METADATA: Final = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def svg(name: str, height: float, draw: Callable[[Figure], None]) -> str:
    """A plot as an svg element that fits the page and shares no ids with other plots of it.

    Args:
        name: goes before its ids; the element with the id `<name>-caption` describes it.
        height: in inches.
        draw: puts axes and what is in them on an empty figure.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    buffer = StringIO()
    with rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        figure.patch.set_visible(False)
        draw(figure)
        figure.savefig(buffer, format="svg", metadata=_NO_METADATA)
    text = buffer.getvalue()
    body = text[text.index(">", text.index("<svg")) + 1 :]  # without the declaration of a document
    body = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", body)
    # the height that matplotlib writes is fixed; the view box alone lets the page scale it
    box = f"0 0 {72 * WIDTH:g} {72 * height:g}"
    return f'<svg viewBox="{box}" role="img" aria-labelledby="{name}-caption">{body}'
