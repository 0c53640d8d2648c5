"""Write docs/cli.md: the help of every `cxr` command, as plain text.

Run it after a change of the command line: `uv run python docs/make_cli.py`. A test compares the
file with what this script would write.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import typer

from cli import app

PAGE: Final = Path(__file__).resolve().parent / "cli.md"
WIDTH: Final = 100  # characters, whatever the terminal that runs this

_HEAD: Final = """\
# Command line

What `--help` prints for each command; the file is written by `uv run python docs/make_cli.py`.

Exit status: 0 done; 1 something in the input is wrong, said in one line on stderr; 2 the command
was called wrongly. Results go to stdout or to the files you name, progress and notes to stderr. A
file that exists is replaced only with `--force`.
"""


def render() -> str:
    """The page as it has to be."""
    command = typer.main.get_command(app)
    parts = [_HEAD]
    for name, text in _helps(command, "cxr", None):
        parts.append(f"## {name}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def _helps(command: Any, name: str, parent: Any) -> Iterator[tuple[str, str]]:
    """Full name and help text of a command and of all below it."""
    command.rich_markup_mode = None  # Typer draws no boxes, so that no terminal setting matters
    context = command.context_class(
        command, info_name=name, parent=parent, terminal_width=WIDTH, max_content_width=WIDTH
    )
    lines = command.get_help(context).splitlines()
    yield context.command_path, "\n".join(line.rstrip() for line in lines).strip()
    for child, below in getattr(command, "commands", {}).items():
        yield from _helps(below, child, context)


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
