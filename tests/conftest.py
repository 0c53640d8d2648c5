import csv
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:  # imported in the fixtures, so that tests of tables run where spaCy is missing
    from typer.testing import Result

    from cxrlabel.assertions import SentenceAnalyzer
    from cxrlabel.labeler import Labeler
    from cxrlabel.rulebook import Rulebook

# Tests run side by side, and threads that wait for each other cost more than they compute here.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Shared machines make wall-clock deadlines flaky; CI draws the same examples every time.
settings.register_profile("cxr", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("cxr")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """No workers for tests that are named, which would wait for them to start."""
    named = config.args_source is pytest.Config.ArgsSource.ARGS
    return 0 if named else None


SAMPLE = Path(__file__).parent.parent / "cxrlabel" / "data"


@pytest.fixture(scope="session")
def rulebook() -> "Rulebook":
    """The project's rules with default options."""
    from cxrlabel.rulebook import load_rulebook

    return load_rulebook()


@pytest.fixture(scope="session")
def analyzer(rulebook: "Rulebook") -> "SentenceAnalyzer":
    """The pipeline over one sentence."""
    from cxrlabel.assertions import SentenceAnalyzer

    return SentenceAnalyzer(rulebook)


@pytest.fixture(scope="session")
def labeler() -> "Labeler":
    """A labeler with the project's rules; it keeps its sentences for the whole session."""
    from cxrlabel.labeler import Labeler

    return Labeler.load()


@pytest.fixture(scope="session")
def shared_labelers(labeler: "Labeler") -> Callable[[], AbstractContextManager[None]]:
    """A context in which runs with equal options share a labeler: loading one takes a second.

    The hierarchy is not a labeler's matter.
    """
    from cxrlabel.chunks import LabelingOptions

    loaded = {repr(LabelingOptions()): labeler}
    load = LabelingOptions.labeler

    def load_once(options: LabelingOptions) -> "Labeler":
        key = repr(replace(options, hierarchy="none"))
        if key not in loaded:
            loaded[key] = load(options)
        return loaded[key]

    @contextmanager
    def sharing() -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(LabelingOptions, "labeler", load_once)
            yield

    return sharing


@pytest.fixture(scope="session")
def cxr(shared_labelers: Callable[[], AbstractContextManager[None]]) -> Callable[..., "Result"]:
    """Run the command line in this process; an exception that is not made a line fails."""
    from typer.testing import CliRunner

    from cli import app

    def run(*args: object) -> "Result":
        with shared_labelers():
            return CliRunner().invoke(app, [str(arg) for arg in args], catch_exceptions=False)

    return run


@pytest.fixture
def state(labeler: "Labeler") -> Callable[[str, str], str]:
    """The state of one finding in one report."""
    return lambda report, finding: labeler.label(report).labels[finding]


@pytest.fixture
def rules_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write a folder of user rules from relative name -> content."""

    def write(files: dict[str, str]) -> Path:
        folder = tmp_path / "rules"
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        return folder

    return write


def _rows(name: str) -> Iterator[dict[str, str]]:
    with (SAMPLE / name).open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


@pytest.fixture(scope="session")
def sample_reports() -> dict[str, str]:
    """Study id -> report of the bundled sample."""
    return {row["study_id"]: row["report"] for row in _rows("demo_reports.csv")}


@pytest.fixture(scope="session")
def sample_expected() -> dict[str, dict[str, str]]:
    """Study id -> finding -> coded label of the bundled sample."""
    rows = {row.pop("study_id"): row for row in _rows("demo_expected.csv")}
    return rows
