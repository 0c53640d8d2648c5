"""The terminal: what the commands share to speak with their user.

Light at import, so that `cxr --help` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer

RulesOption = Annotated[
    list[Path] | None,
    typer.Option("--rules", metavar="DIR", help="Folder of your own rules, laid over ours."),
]
LangOption = Annotated[
    str, typer.Option("--lang", metavar="CODE", help="Language of the reports: en, es.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace files that exist.")]
NOTHING_WRITTEN: Final = "stopped; nothing was written"


def split_names(names: str) -> tuple[str, ...]:
    """Names that are written with commas."""
    return tuple(name.strip() for name in names.split(",") if name.strip())


def note(message: str) -> None:
    """A line on stderr."""
    typer.echo(message, err=True)


def console(*, stderr: bool = False) -> Any:
    """A console that colors nothing by itself."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


@contextmanager
def errors_as_lines(stopped: str = NOTHING_WRITTEN) -> Iterator[None]:
    """The user's mistakes as one line on stderr and exit code 1; `stopped` where Ctrl-C ends it."""
    from cxrlabel.errors import InputError, WorkerError

    try:
        yield
    except (InputError, WorkerError) as error:
        note(f"error: {error}")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        note(stopped)
        raise typer.Exit(130) from None


@contextmanager
def progress_line(what: str, unit: str = "reports") -> Iterator[Callable[[int], None] | None]:
    """A line on stderr with count and rate; None where stderr is not a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TextColumn(f"{{task.completed:,.0f}} {unit}"),
        TextColumn("{task.speed:,.0f}/s", justify="right"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done: bar.advance(task, done)
