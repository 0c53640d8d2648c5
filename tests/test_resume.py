"""Runs that are killed and resumed: whenever it happens, the files are those of an unbroken run."""

import csv
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from counting import add
from drawn import MENTIONS, WORDS, columns
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import Result

from cxrlabel.chunks import Chunk, ChunkLabeler
from cxrlabel.fingerprint import changes
from cxrlabel.mentiontable import MentionCollector, SentenceMentions
from cxrlabel.parts import pack, unpack
from cxrlabel.stats import StatsCounter, mention_key
from cxrlabel.work import WorkFolder, open_work
from cxrlabel.writers import Column, cells_of

Cxr = Callable[..., Result]

ROOT = Path(__file__).parent.parent
SENTENCES = [
    "No edema.", "Mild edema.", "Small left effusion.", "No effusion.", "Possible pneumonia.",
    "The heart is enlarged.", "Heart size is normal.", "Lungs are clear.", "A left lung nodule.",
]  # fmt: skip
OUTPUTS = ["labels.csv", "m.parquet", "s.json"]
WRITTEN = [*OUTPUTS, "labels.csv.run.json"]
COMMAND = ["label", "r.csv", "-o", "labels.csv", "--mentions", "m.parquet", "--stats", "s.json"]
FEW = 90  # reports: three parts of the size that tests in one process use
WORK = ".labels.csv.cxr"

posix = pytest.mark.skipif(os.name == "nt", reason="kill -9 and fork are POSIX")


def write_reports(path: Path, count: int, seed: int = 1) -> None:
    rng = random.Random(seed)
    rows = [(f"s{i}", " ".join(rng.choices(SENTENCES, k=6))) for i in range(count)]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("uid", "report"), *rows])


def contents(folder: Path) -> dict[str, bytes]:
    """All files that are no input, hidden ones too."""
    names = (p for p in folder.rglob("*") if p.is_file() and p.name not in ("r.csv", "own.toml"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in names}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder with a few reports; chunks are small."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cxrlabel.chunks.CHUNK_SIZE", FEW // 3)
    monkeypatch.setattr("cxrlabel.fingerprint.CHUNK_SIZE", FEW // 3)
    write_reports(tmp_path / "r.csv", FEW)
    return tmp_path


def label(cxr: Cxr, *options: object) -> Result:
    done = cxr(*COMMAND, *options)
    assert done.exit_code == 0, done.stderr
    return done


def refused(cxr: Cxr, *options: object) -> str:
    """The one line of a run that must end with 1 and leave all files as they were."""
    before = contents(Path.cwd())
    done = cxr(*COMMAND, *options)
    assert (done.exit_code, done.stdout) == (1, "")
    assert contents(Path.cwd()) == before
    return done.stderr


def stop(cxr: Cxr, *options: object, parts: int = 1) -> Result:
    """Run with --resume until some parts are there, then press Ctrl-C."""
    write = WorkFolder.write

    def write_some(work: WorkFolder, part: object) -> None:
        if len(work.finished()) == parts:
            raise KeyboardInterrupt
        write(work, part)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WorkFolder, "write", write_some)
        return cxr(*COMMAND, "--resume", *options)


@pytest.fixture
def unbroken(folder: Path, cxr: Cxr) -> dict[str, bytes]:
    """What a plain run writes; its files are gone."""
    label(cxr)
    files = contents(folder)
    for name in files:
        (folder / name).unlink()
    return files


# Killed


PROGRAM = """
import os, signal, sys
from pathlib import Path
import pyarrow.parquet
import cxrlabel.chunks, cxrlabel.fingerprint, cxrlabel.stats_page
from cxrlabel.batch import Outputs, label_files
from cxrlabel.chunks import LabelingOptions
from cxrlabel.startup import import_spacy_alone

import_spacy_alone()
labeler = LabelingOptions().labeler()
LabelingOptions.labeler = lambda options: labeler
cxrlabel.chunks.CHUNK_SIZE = cxrlabel.fingerprint.CHUNK_SIZE = int(sys.argv[1])
outputs = ["labels.csv", "m.parquet", "s.json"]
os.fsync = lambda file: None  # matters when the power fails, not when a process is killed


def run(folder, kill_at, **options):
    child = os.fork()
    if child == 0:
        steps = 0
        def counted(step):
            def call(*args, **named):
                nonlocal steps
                steps += 1
                if steps == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)
                return step(*args, **named)
            return call
        for name in ("replace", "unlink", "rmdir"):
            setattr(os, name, counted(getattr(os, name)))
        folder.mkdir(exist_ok=True)
        os.chdir(folder)
        label_files(["../r.csv"], Outputs(*map(Path, outputs)), **options)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


# in this process, so that the others find everything loaded
label_files(["r.csv"], Outputs(*(Path(f"first-{name}") for name in outputs)))
assert run(Path("whole"), 0) == 0
expected = files(Path("whole"))
for step in range(1, 1000):
    folder = Path(f"kill{step}")
    code = run(folder, step, resume=True)
    assert code in (0, -signal.SIGKILL), code
    assert run(folder, 0, resume=True) == 0, step
    assert files(folder) == expected, step
    assert len(os.listdir(folder)) == 4, (step, os.listdir(folder))
    if code == 0:
        break
print(step)
"""


@posix
def test_run_killed_at_any_change_of_its_files_is_resumed(tmp_path: Path) -> None:
    write_reports(tmp_path / "r.csv", FEW)

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(FEW // 2)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    # manifest, two parts, "complete", four outputs: named one by one, then the parts removed
    assert int(done.stdout) > 20


def start(folder: Path, *options: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "cli", *COMMAND, *map(str, options)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """The folder of an unbroken run, and how many seconds it took."""
    folder = tmp_path_factory.mktemp("whole")
    write_reports(folder / "r.csv", 5_000)
    began = time.perf_counter()
    assert start(folder).wait(120) == 0
    return folder, time.perf_counter() - began


@posix
@pytest.mark.parametrize(("seed", "workers", "kills"), [(1, 1, 2), (2, 2, 1)])
def test_run_killed_again_and_again_is_resumed(
    tmp_path: Path, whole: tuple[Path, float], seed: int, workers: int, kills: int
) -> None:
    folder, seconds = whole
    (tmp_path / "r.csv").write_bytes((folder / "r.csv").read_bytes())
    rng = random.Random(seed)
    for _ in range(kills):
        process = start(tmp_path, "--resume", "--workers", workers)
        time.sleep(rng.uniform(0.4, 1) * seconds)
        process.kill()
        process.wait(30)
        wait_for_end_of(process.pid)  # workers do not stay behind

    assert start(tmp_path, "--resume", "--workers", workers).wait(120) == 0

    assert contents(tmp_path) == contents(folder)


def wait_for_end_of(group: int) -> None:
    deadline = time.monotonic() + 30
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(0.05)


# Stopped and resumed


def test_resumed_run_writes_what_an_unbroken_one_writes(
    folder: Path, cxr: Cxr, unbroken: dict[str, bytes]
) -> None:
    stop(cxr)

    label(cxr, "--resume")

    assert contents(folder) == unbroken


def test_run_that_was_not_stopped_leaves_its_outputs_alone(
    folder: Path, cxr: Cxr, unbroken: dict[str, bytes]
) -> None:
    label(cxr, "--resume")

    assert contents(folder) == unbroken
    assert sorted(p.name for p in folder.iterdir()) == sorted([*WRITTEN, "r.csv"])


def test_stopped_run_says_how_to_go_on_and_keeps_its_parts(folder: Path, cxr: Cxr) -> None:
    done = stop(cxr, parts=2)

    assert (done.exit_code, done.stderr) == (130, "stopped; run it again with --resume\n")
    assert WorkFolder(folder / WORK).finished() == {0, 1}
    assert not any(Path(name).exists() for name in WRITTEN)


def test_finished_parts_are_not_labeled_again(
    folder: Path, cxr: Cxr, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop(cxr, parts=2)
    labeled = []
    work = ChunkLabeler.__call__
    monkeypatch.setattr(
        ChunkLabeler, "__call__", lambda self, b: labeled.append(b.number) or work(self, b)
    )

    label(cxr, "--resume")

    assert labeled == [2]


def test_run_stopped_before_its_first_part_leaves_nothing(folder: Path, cxr: Cxr) -> None:
    stop(cxr, parts=0)

    assert contents(folder) == {}
    assert not (folder / WORK).exists()


def test_finished_run_is_not_made_again(
    folder: Path, cxr: Cxr, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = label(cxr, "--resume", "--json")
    before = contents(folder)
    monkeypatch.setattr(ChunkLabeler, "__call__", None)

    again = label(cxr, "--resume", "--json")

    assert contents(folder) == before
    assert again.output == first.output
    assert "90 labeled of 90 reports" in label(cxr, "--resume").stdout


def test_finished_run_is_made_again_by_force(
    folder: Path, cxr: Cxr, unbroken: dict[str, bytes]
) -> None:
    label(cxr, "--resume")
    Path("labels.csv").write_text("changed by hand")

    label(cxr, "--resume", "--force")

    assert contents(folder) == unbroken


def test_progress_counts_finished_parts_as_well(folder: Path, cxr: Cxr) -> None:
    from cxrlabel.batch import Outputs, label_files

    stop(cxr, parts=2)
    seen: list[int] = []

    outputs = Outputs(Path("labels.csv"), Path("m.parquet"), Path("s.json"))
    label_files(["r.csv"], outputs, resume=True, progress=seen.append)

    assert sum(seen) == FEW


def test_statistics_may_be_asked_for_on_the_second_try(folder: Path, cxr: Cxr) -> None:
    command = [*COMMAND[:-2], "--resume"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cxrlabel.batch._write_rows", interrupt)
        assert cxr(*command).exit_code == 130

    label(cxr, "--resume")

    assert Path("s.json").exists()


def interrupt(*args: object) -> None:
    raise KeyboardInterrupt


# Refused


def change_input() -> list[str]:
    write_reports(Path("r.csv"), FEW, seed=2)
    return []


def change_rules() -> list[str]:
    Path("own").mkdir()
    Path("own/options.toml").write_text("")
    return ["--rules", "own"]


CHANGES = [
    (change_input, "inputs (r.csv)"),
    (lambda: ["--hierarchy", "up"], "options (hierarchy)"),
    (lambda: ["--option", "likely=uncertain"], "options (options)"),
    (lambda: ["--labelset", "nih14"], "options (label_set), columns"),
    (lambda: ["--keep", "report"], "options (keep), columns"),
    (lambda: ["--id", "report"], "id_column, "),
]


@pytest.mark.parametrize(("change", "expected"), CHANGES)
def test_parts_of_another_run_are_refused(
    folder: Path, cxr: Cxr, change: Callable[[], list[str]], expected: str
) -> None:
    stop(cxr)

    line = refused(cxr, "--resume", *change())

    assert line.startswith(f"error: {WORK}: these parts were made with other {expected}")
    assert "without --resume, with --force" in line


@pytest.mark.parametrize("mark", ["version", "rules_hash", "code"])
def test_parts_of_another_cxr_are_refused(mark: str) -> None:
    assert changes({"version": "1", "rules_hash": "a", "code": "x", mark: "old"}, {
        "version": "1", "rules_hash": "a", "code": "x",
    }) == [mark]  # fmt: skip


def test_mentions_that_were_not_kept_are_refused(folder: Path, cxr: Cxr) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cxrlabel.batch._write_rows", interrupt)
        cxr("label", "r.csv", "-o", "labels.csv", "--resume")

    assert "made with other mentions" in refused(cxr, "--resume")


def test_plain_run_does_not_pass_over_finished_parts(folder: Path, cxr: Cxr) -> None:
    stop(cxr)

    line = refused(cxr)

    assert WORK in line
    assert "--resume to go on" in line
    assert "--force to drop" in line


def test_plain_run_drops_finished_parts_by_force(
    folder: Path, cxr: Cxr, unbroken: dict[str, bytes]
) -> None:
    stop(cxr)
    write_reports(Path("r.csv"), FEW, seed=2)

    label(cxr, "--force")

    assert contents(folder).keys() == unbroken.keys()
    assert contents(folder) != unbroken


def test_other_output_that_exists_is_kept(folder: Path, cxr: Cxr) -> None:
    stop(cxr)
    Path("m.parquet").write_text("another's")

    assert "m.parquet: the file exists" in refused(cxr, "--resume")


def test_damaged_part_is_refused(folder: Path, cxr: Cxr) -> None:
    stop(cxr)
    part = next((folder / WORK).glob("*.json.gz"))
    part.write_bytes(part.read_bytes()[:-9])

    done = cxr(*COMMAND, "--resume")

    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert f"{part.name}: damaged" in done.stderr
    assert not any(Path(name).exists() for name in WRITTEN)


@posix
def test_second_run_at_the_same_time_is_refused(folder: Path, cxr: Cxr) -> None:
    stop(cxr)
    (folder / WORK / "manifest.json").unlink()
    with open_work(folder / WORK, {}, resume=False):
        line = refused(cxr, "--resume")

    assert "another run is at work here" in line


@pytest.mark.parametrize("option", [["--resume"], ["--resume", "--option", "likely=maybe"]])
def test_mistake_leaves_no_parts(folder: Path, cxr: Cxr, option: list[str]) -> None:
    with Path("r.csv").open("a") as file:
        file.write(",No edema.\n")

    assert cxr(*COMMAND, *option).exit_code == 1

    assert contents(folder) == {}
    assert not (folder / WORK).exists()


def test_work_folder_is_for_its_owner_only(folder: Path, cxr: Cxr) -> None:
    stop(cxr)

    assert (folder / WORK).stat().st_mode & 0o077 == 0 or os.name == "nt"


# Parts


CELL = st.one_of(st.none(), st.sampled_from([1.0, 0.0, -1.0]), WORDS)
NUMBER = st.one_of(st.none(), st.integers(-(2**62), 2**62))
KINDS = st.lists(st.sampled_from([CELL, NUMBER, st.integers(0, 99)]), max_size=4)


@st.composite
def chunks(draw: st.DrawFn) -> Chunk:
    reports = draw(st.integers(0, 4))
    labels = [draw(columns(cells, reports)) for cells in draw(KINDS)]
    collector = MentionCollector()
    for number in range(reports):
        sentence = SentenceMentions(tuple(draw(st.lists(MENTIONS, max_size=2))))
        collector.add(f"s{number}", [(sentence, draw(WORDS), number)])
    mentions = draw(st.sampled_from([None, collector.table()]))
    return Chunk(3, reports, labels, mentions, StatsCounter(("Edema",)), Counter(hierarchy=2))


@settings(max_examples=50)
@given(chunks())
def test_part_holds_its_chunk_exactly(chunk: Chunk) -> None:
    part = pack(chunk)
    found = unpack(3, part.content)

    assert (part.number, part.reports) == (found.number, found.reports) == (3, chunk.reports)
    assert cells(found.labels) == cells(chunk.labels)
    assert (found.mentions is None) is (chunk.mentions is None)
    if chunk.mentions is not None:
        assert cells(found.mentions.columns()) == cells(chunk.mentions.columns())
        assert found.mentions.counts(mention_key) == chunk.mentions.counts(mention_key)
    assert (found.changed, found.counter.findings) == (chunk.changed, ("Edema",))
    assert found.counter.statistics() == chunk.counter.statistics()
    assert pack(found) == part


def cells(columns: list[Column]) -> str:
    """All cells with their types: 1 is not 1.0."""
    return repr(list(map(cells_of, columns)))


@pytest.mark.parametrize("pending", [0, 20_000])
def test_counter_comes_back_with_its_counts(
    monkeypatch: pytest.MonkeyPatch, labeler: object, pending: int
) -> None:
    monkeypatch.setattr("cxrlabel.stats._PENDING", pending)
    counter = StatsCounter(("Edema", "Pneumonia"))
    for sentence in SENTENCES:
        add(counter, labeler.label(sentence))

    found = StatsCounter.from_lists(counter.findings, unpack_lists(counter))

    assert found.statistics() == counter.statistics()


def unpack_lists(counter: StatsCounter) -> dict[str, list[list[object]]]:
    import json

    return json.loads(json.dumps(counter.to_lists()))


@pytest.fixture(autouse=True)
def _shared(shared_labelers: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
    with shared_labelers():
        yield
