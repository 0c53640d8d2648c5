"""Draw docs/images/label.svg: what `cxr label --text` prints for the report beside it.

Run it after a change of the rules or of the drawing: `uv run python docs/make_images.py`. The
report is invented. docs/images/statistics.png is a part of the page that `cxr demo` writes,
photographed in a browser 1,100 pixels wide.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from cxrlabel.evidence import draw_evidence
from cxrlabel.labeler import Labeler

IMAGES: Final = Path(__file__).resolve().parent / "images"
REPORT: Final = IMAGES / "report.txt"
PICTURE: Final = IMAGES / "label.svg"
PROMPT: Final = '$ cxr label --text "$(cat docs/images/report.txt)"'
WIDTH: Final = 96  # columns of the terminal

_THEME: Final = TerminalTheme(
    (24, 28, 34),
    (214, 220, 228),
    [(24, 28, 34), (248, 113, 113), (110, 200, 140), (240, 190, 80)],
)
# Rich's own template loads a font from the network; this one takes what the reader has. Every run
# of text has its length in the file, so that columns align in any font.
_TEMPLATE: Final = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px;
}}
.{unique_id}-title {{ font-family: sans-serif; font-size: 16px; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def render(report: str) -> str:
    """The picture as SVG."""
    labeler = Labeler.load()
    console = Console(
        record=True,
        width=WIDTH,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        highlight=False,
    )
    console.print(Text(PROMPT))
    console.print(draw_evidence(report, labeler.label(report), labeler.findings))
    picture = console.export_svg(
        title="cxr label", theme=_THEME, code_format=_TEMPLATE, unique_id="cxr"
    )
    return "\n".join(line.rstrip() for line in picture.splitlines()) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(render(REPORT.read_text(encoding="utf-8").strip()), encoding="utf-8")
