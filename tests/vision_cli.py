"""The command line in this process, without the labeler that `conftest.cxr` loads."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typer.testing import Result


def run_cxr(*args: object) -> "Result":
    """Run a command; an exception that is not made a line fails."""
    from typer.testing import CliRunner

    from cli import app

    return CliRunner().invoke(app, [str(arg) for arg in args], catch_exceptions=False)
