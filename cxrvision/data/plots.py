"""Plots as svg elements of a page: text stays text, nothing is loaded, equal data, equal files.

The look is that of the page of label statistics (`cxrlabel.stats_page`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from io import StringIO
from typing import TYPE_CHECKING, Any, Final

from cxrlabel.findings import BLANK, NEGATIVE, POSITIVE, UNCERTAIN

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Blue and amber differ for every kind of colour vision, and the four differ in lightness for print
COLORS: Final[Mapping[str, str]] = {
    POSITIVE: "#1f4e79",
    UNCERTAIN: "#e0a030",
    NEGATIVE: "#8fb3cf",
    BLANK: "#e7eaed",
}
INK: Final = "#1a1f24"
MUTED: Final = "#4d5761"  # 7.4 : 1 on white

_RULE: Final = "#cfd5da"
_STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",  # text stays text: it can be searched and read aloud
    "svg.hashsalt": "cxr",
    "text.parse_math": False,  # a "$" in a finding's name is a "$"
    "font.size": 8.5,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": _RULE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "xtick.color": MUTED,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}
_NO_METADATA: Final = dict.fromkeys(("Creator", "Date", "Format", "Type"))
_WIDTH: Final = 10.0  # inches of 72 units; the page scales it to the width of the column


def svg(name: str, height: float, draw: Callable[[Axes], None]) -> str:
    """A plot as an svg element that fits the page and shares no ids with other plots of it.

    Args:
        name: of the plot; the element "<name>-caption" describes it.
        height: in inches, for a width of 10.
        draw: puts the plot on its axes.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    buffer = StringIO()
    with rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        figure.patch.set_visible(False)
        draw(figure.add_subplot())
        figure.savefig(buffer, format="svg", metadata=_NO_METADATA)
    text = buffer.getvalue()
    body = text[text.index(">", text.index("<svg")) + 1 :]  # without the declaration of a document
    body = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", body)
    # the height that matplotlib writes is fixed; the view box alone lets the page scale it
    box = f"0 0 {72 * _WIDTH:g} {72 * height:g}"
    return f'<svg viewBox="{box}" role="img" aria-labelledby="{name}-caption">{body}'
