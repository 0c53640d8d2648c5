"""Labeling on Dask: real processes, one of them killed in mid-run; nothing is lost or doubled."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from cxrlabel import cluster
from cxrlabel.batch import Outputs, label_files
from cxrlabel.chunks import Batch, Job, LabelingOptions
from cxrlabel.errors import InputError, WorkerError
from cxrlabel.findings import load_dialect, load_label_set
from cxrlabel.layout import Layout

distributed = pytest.importorskip("distributed", reason="needs the extra 'cluster'")
psutil = pytest.importorskip("psutil", reason="needs the extra 'cluster'")

Cxr = Callable[..., Result]

ROOT = Path(__file__).parent.parent
COUNT = 6_000
PARTS = ["No edema.", "Mild edema.", "Small left effusion.", "Possible pneumonia.", "Clear lungs."]
OUTPUTS = ["labels.csv", "m.parquet", "s.json"]

posix = pytest.mark.skipif(os.name == "nt", reason="kill -9 is POSIX")


@pytest.fixture(scope="module")
def plain(
    tmp_path_factory: pytest.TempPathFactory,
    shared_labelers: Callable[[], AbstractContextManager[None]],
) -> Path:
    """A folder with the reports and what a plain run makes of them."""
    folder = tmp_path_factory.mktemp("plain")
    rows = (f"s{i},{PARTS[i % 5]} {PARTS[i % 4]} {PARTS[i % 3]}\n" for i in range(COUNT))
    (folder / "r.csv").write_text("uid,report\n" + "".join(rows))
    with shared_labelers():
        label_files([str(folder / "r.csv")], outputs(folder))
    return folder


def outputs(folder: Path) -> Outputs:
    return Outputs(*(folder / name for name in OUTPUTS))


def assert_equal_outputs(folder: Path, plain: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*OUTPUTS, "labels.csv.run.json"]
    )
    for name in OUTPUTS:
        assert (folder / name).read_bytes() == (plain / name).read_bytes()
    record, expected = ((f / "labels.csv.run.json").read_text() for f in (folder, plain))
    assert record.replace(str(folder), str(plain)) == expected


@pytest.fixture(scope="module")
def scheduler() -> Iterator[Any]:
    """A cluster that is running already: two processes of two threads."""
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=2,
        processes=True,
        host="127.0.0.1",
        dashboard_address=None,
        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
        silence_logs=50,
    ) as running:
        yield running


@posix
def test_stopped_run_goes_on_on_a_running_cluster_of_which_a_worker_is_killed(
    tmp_path: Path,
    plain: Path,
    scheduler: Any,
    shared_labelers: Callable[[], AbstractContextManager[None]],
) -> None:
    def stop(reports: int) -> None:
        raise KeyboardInterrupt

    killed: list[int] = []
    seen: list[int] = []

    def kill_one(reports: int) -> None:
        seen.append(reports)
        if len(seen) == 2:  # the first part was there
            with distributed.Client(scheduler.scheduler_address, set_as_default=False) as client:
                killed.append(next(iter(client.run(os.getpid).values())))
            os.kill(killed[0], signal.SIGKILL)

    reports = [str(plain / "r.csv")]
    with shared_labelers(), pytest.raises(KeyboardInterrupt):
        label_files(reports, outputs(tmp_path), resume=True, progress=stop)
    address = scheduler.scheduler_address
    label_files(reports, outputs(tmp_path), resume=True, cluster=address, progress=kill_one)

    assert len(killed) == 1
    assert sum(seen) == COUNT
    assert_equal_outputs(tmp_path, plain)


@posix
def test_worker_of_a_local_cluster_that_is_killed_loses_and_doubles_nothing(
    tmp_path: Path, plain: Path
) -> None:
    command = ["label", plain / "r.csv", "-o", "labels.csv", "--mentions", "m.parquet"]
    command += ["--stats", "s.json", "--cluster", "local", "--workers", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", *map(str, command)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    family = wait_for_workers(process, tmp_path)
    addresses = {c.laddr.ip for p in family for c in p.net_connections() if c.status == "LISTEN"}
    os.kill(family[-1].pid, signal.SIGKILL)
    done = len(list((tmp_path / ".labels.csv.cxr").glob("*.json.gz")))

    errors = process.communicate(timeout=120)[1]

    assert process.returncode == 0, errors
    assert done < COUNT // 1000
    assert addresses == {"127.0.0.1"}
    assert errors.splitlines()[-1] == f"labeled {COUNT:,} studies -> labels.csv"
    named = (tmp_path / "labels.csv.run.json").read_text()
    (tmp_path / "labels.csv.run.json").write_text(
        named.replace('"labels.csv"', f'"{tmp_path}/labels.csv"')
        .replace('"m.parquet"', f'"{tmp_path}/m.parquet"')
        .replace('"s.json"', f'"{tmp_path}/s.json"')
    )
    assert_equal_outputs(tmp_path, plain)


def wait_for_workers(process: "subprocess.Popen[str]", folder: Path) -> list[Any]:
    """The process and its two workers, when the first part is written."""
    deadline = time.monotonic() + 60
    while not list(folder.glob(".labels.csv.cxr/*.json.gz")):
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    parent = psutil.Process(process.pid)
    workers = [p for p in parent.children() if any("spawn_main" in part for part in p.cmdline())]
    assert len(workers) == 2
    return [parent, *workers]


def test_bad_row_is_the_users_mistake_on_a_cluster_too(tmp_path: Path, scheduler: Any) -> None:
    (tmp_path / "r.csv").write_text("uid,report\n1,No edema.\n1,Zebrafish.\n")

    with pytest.raises(InputError, match=r"r\.csv:3: id '1' is also at") as caught:
        label_files(
            [str(tmp_path / "r.csv")], outputs(tmp_path), cluster=scheduler.scheduler_address
        )

    assert "Zebrafish" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["r.csv"]


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nobody://x", "localhost"])
def test_address_that_does_not_answer_is_refused(
    tmp_path: Path, plain: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setattr(cluster, "_SECONDS", 0.5)

    with pytest.raises(InputError, match=r"--cluster: no scheduler answers at .*; expected"):
        label_files([str(plain / "r.csv")], outputs(tmp_path), cluster=address)

    assert list(tmp_path.iterdir()) == []


def test_missing_dask_is_one_line(
    tmp_path: Path, plain: Path, cxr: Cxr, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)

    done = cxr("label", plain / "r.csv", "-o", tmp_path / "l.csv", "--cluster", "local")

    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert "extra 'cluster'" in done.stderr


@pytest.fixture
def job() -> Job:
    layout = Layout(load_label_set("all"), load_dialect("cxr"), "uid", (), status=False)
    return Job(LabelingOptions(), layout, mentions=True)


@pytest.mark.parametrize("mark", ["version", "rules_hash", "code"])
def test_worker_with_another_cxr_is_refused(job: Job, mark: str) -> None:
    run = cluster._Run("a run", job, cluster._installed(job) | {mark: "other"})

    with pytest.raises(WorkerError, match=f"has another {mark}; expected the same"):
        cluster._label_part(run, Batch(0, []))


def test_task_shows_no_report_text(job: Job) -> None:
    from cxrlabel.readers import ReportRow

    batch = Batch(0, [ReportRow("1", (("", "Zebrafish."),), "", (), "r.csv:2")])

    assert "Zebrafish" not in repr(batch)
    assert "Zebrafish" not in repr(replace(batch, number=1))


@pytest.mark.parametrize("workers", [{}, {"tcp://a": 1}])
def test_lost_cluster_is_told_and_a_slow_one_waited_for(workers: dict[str, int]) -> None:
    class Slow:
        asked = 0

        def nthreads(self) -> dict[str, int]:
            return workers

        def result(self, timeout: float) -> str:
            self.asked += 1
            if self.asked == 1:
                raise TimeoutError
            return "part"

    task = cluster._Task(Slow(), Slow())
    if workers:
        assert task.result() == "part"
    else:
        with pytest.raises(WorkerError, match="no workers left"):
            task.result()
