"""The documentation says what is so: its commands, code, tables and links are checked."""

import json
import re
import runpy
import shlex
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer

import cli
from cxrlabel.audit.report import write_report
from cxrlabel.audit.report_inputs import Sources
from cxrlabel.columns import ID_NAMES, REPORT_NAMES, SECTION_NAMES
from cxrlabel.demo import EXPECTED
from cxrlabel.findings import load_findings
from cxrlabel.rulefiles import rules_dir
from cxrlabel.studies import STATUSES, Mention

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS.glob("*.md")]

# What is committed: all of the project but environments, caches and outputs.
COMMITTED = [
    *PAGES,
    ROOT / "cli.py",
    ROOT / "pyproject.toml",
    ROOT / ".ci",
    *(ROOT / name for name in ("benchmarks", "cxrlabel", "cxrvision", "docs", "rules", "tests")),
]
TEXT = {"", ".csv", ".css", ".html", ".md", ".py", ".svg", ".toml", ".txt"}
# Hosts that packages come from, and folders of the machine that somebody works on.
FOREIGN = re.compile(r"pypi\.org|pythonhosted|index-url|(?<![\w.~-])/(?:root|work|Users)/\w")

BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")


def page_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def blocks(path: Path, language: str) -> Iterator[tuple[str, str]]:
    """The rest of the fence's line and the content of each block in a language."""
    for info, content in BLOCK.findall(read(path)):
        name, _, rest = info.partition(" ")
        if name == language:
            yield rest, content


def tables(path: Path, header: str) -> Iterator[list[str]]:
    """The cells of every row of the tables with this header."""
    for table in re.findall(
        rf"^{re.escape(header)}\n(?:\|-[-|]*\n)((?:\|.*\n)+)", read(path), re.M
    ):
        for row in table.splitlines():
            yield [cell.strip() for cell in row.strip("|").split("|")]


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as code hosting sites make them."""
    headings = re.findall(r"^#+ (.+)$", read(path), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(path: Path) -> Iterator[list[str]]:
    """The words of every `cxr` command in the page's blocks, over continued lines."""
    for info, content in BLOCK.findall(read(path)):
        if info in ("", "sh"):
            for line in content.replace("\\\n", " ").splitlines():
                if line.startswith("cxr "):
                    yield shlex.split(line, comments=True)


COMMANDS = [
    pytest.param(words, id=f"{page_id(page)}-{' '.join(words)[:60]}")
    for page in PAGES
    for words in commands(page)
]
CONVENTIONS = list(tables(DOCS / "labels.md", "| report | finding | label | because |"))
REMAINING = list(
    tables(DOCS / "accuracy.md", "| cause | report | finding | our label | the code |")
)


def test_cli_page_is_up_to_date() -> None:
    render = runpy.run_path(str(DOCS / "make_cli.py"))["render"]
    assert render() == read(DOCS / "cli.md"), "run `uv run python docs/make_cli.py`"


@pytest.mark.parametrize("command", ["pip install uv && uv run cxr demo", "uv run pytest"])
def test_readme_has_command_as_a_block(command: str) -> None:
    assert ("", f"{command}\n") in list(blocks(ROOT / "README.md", ""))


@pytest.mark.parametrize("words", COMMANDS)
def test_command_of_a_page_is_one_that_there_is(words: list[str]) -> None:
    command = typer.main.get_command(cli.app)
    words = words[1:]
    while hasattr(command, "commands") and words and words[0] in command.commands:
        command, words = command.commands[words[0]], words[1:]
    known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
    used = {word.partition("=")[0] for word in words if word.startswith("-")}
    assert not hasattr(command, "commands") or words in ([], ["--help"]), "no such command"
    assert used <= known | {"--help"}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "audit/noise.json" in read(page):
        write_report(
            Sources(labels=EXPECTED, manual=EXPECTED, reference="report"), tmp_path / "audit"
        )
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for _, program in blocks(page, "python"):
        exec(compile(program, page_id(page), "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(read(page)):
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{target} is missing"
        assert not anchor or anchor in anchors(path), f"{target} has no heading #{anchor}"


@pytest.mark.parametrize(
    ("report", "finding", "label"),
    [row[:3] for row in CONVENTIONS],
    ids=lambda cell: str(cell)[:40],
)
def test_convention_is_kept(
    report: str, finding: str, label: str, state: Callable[[str, str], str]
) -> None:
    assert state(report, finding) == label


@pytest.mark.parametrize(
    ("report", "finding", "label"),
    [row[1:4] for row in REMAINING],
    ids=lambda cell: str(cell)[:40],
)
def test_error_that_is_said_to_remain_does(
    report: str, finding: str, label: str, state: Callable[[str, str], str]
) -> None:
    assert state(report, finding) == label, "remove its row from the template and the page"


def test_every_option_is_described() -> None:
    options = tomllib.loads(read(rules_dir() / "options.toml"))
    rows = {cells[1]: cells[-2] for cells in tables(
        DOCS / "labels.md", "| text | option | CheXpert | NIH | our default | why |"
    )}  # fmt: skip
    assert rows == {
        f"`{name}` = {', '.join(f'`{choice}`' for choice in option['choices'])}": (
            f"`{option['default']}`"
        )
        for name, option in options.items()
    }


def test_every_finding_is_described() -> None:
    rows = tables(DOCS / "labels.md", "| finding | includes | uncertain | not included |")
    assert [cells[0] for cells in rows] == [finding.name for finding in load_findings()]


def test_every_mentions_column_is_described() -> None:
    rows = tables(DOCS / "files.md", "| column | content |")
    assert [cells[0].strip("`") for cells in rows] == list(Mention._fields)


def test_every_reason_of_a_cue_is_described() -> None:
    described = {
        cells[0].strip("`")
        for cells in tables(DOCS / "files.md", "| reason | assertion | meaning |")
    }
    cues = [tomllib.loads(read(path)) for path in (rules_dir() / "cues").glob("*.toml")]
    assert {cue["reason"] for cue in cues if "reason" in cue} <= described


@pytest.mark.parametrize("name", [*ID_NAMES, *REPORT_NAMES, *SECTION_NAMES])
def test_every_usual_column_name_is_listed(name: str) -> None:
    assert f"`{name}`" in read(DOCS / "files.md")


def test_every_status_is_described() -> None:
    rows = tables(DOCS / "errors.md", "| status | meaning | labels |")
    assert tuple(cells[0].strip("`") for cells in rows) == STATUSES


def test_every_rule_file_has_a_place_in_the_overview() -> None:
    page = read(DOCS / "rules.md")
    names = (f"{p.name}/" if p.is_dir() else p.name for p in rules_dir().iterdir())
    assert [name for name in names if f"`{name}" not in page] == []


def test_run_record_is_described(tmp_path: Path) -> None:
    from cxrlabel.batch import Outputs, label_files

    reports = tmp_path / "reports.csv"
    reports.write_text("id,report\n1,Clear lungs.\n")
    outputs = Outputs(tmp_path / "labels.csv")
    label_files([str(reports)], outputs)
    rows = tables(DOCS / "files.md", "| key | content |")
    assert [cells[0].strip("`") for cells in rows] == list(json.loads(read(outputs.record)))


def test_worked_example_of_rules_passes(
    tmp_path: Path, rules_folder: Callable[[dict[str, str]], Path]
) -> None:
    from cxrlabel.findings import load_label_set
    from cxrlabel.rulecheck import check_rules

    files = dict(blocks(DOCS / "rules.md", "toml"))
    label_set = tmp_path / "chest_pain.toml"
    label_set.write_text(files.pop("chest_pain.toml"))
    folder = rules_folder({name.removeprefix("my_rules/"): text for name, text in files.items()})
    assert check_rules([folder]).failures == ()
    assert check_rules([folder], lang="es").failures == ()
    assert "Effusion" in load_label_set(str(label_set)).columns.values()


@pytest.mark.parametrize("picture", sorted(DOCS.rglob("*.svg")), ids=page_id)
def test_picture_loads_nothing(picture: Path) -> None:
    text = read(picture).replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert re.search(r"https?:|@import|@font-face|<script|href=|url\((?!#)", text) is None


def test_picture_of_the_terminal_shows_what_is_printed_today() -> None:
    module = runpy.run_path(str(DOCS / "make_images.py"))
    drawn = module["render"](read(module["REPORT"]).strip())
    texts = [re.sub(r"<[^>]*>", "", svg) for svg in (drawn, read(module["PICTURE"]))]
    assert texts[0] == texts[1], "run `uv run python docs/make_images.py`"


@pytest.mark.parametrize("picture", sorted(DOCS.rglob("*.png")), ids=page_id)
def test_picture_is_small(picture: Path) -> None:
    assert picture.stat().st_size < 200_000


def committed_texts() -> Iterator[Path]:
    for start in COMMITTED:
        paths = sorted(start.rglob("*")) if start.is_dir() else [start]
        yield from (path for path in paths if path.is_file() and path.suffix in TEXT)


def test_no_file_names_a_package_host_or_a_machine() -> None:
    named = [
        f"{page_id(path)}: {match.group()}"
        for path in committed_texts()
        if path != Path(__file__) and (match := FOREIGN.search(read(path)))
    ]
    assert named == []
