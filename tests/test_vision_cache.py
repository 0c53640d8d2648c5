import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from vision_cli import run_cxr
from vision_crash import write_or_die

from cxrlabel.errors import InputError
from cxrvision.data.cache import build_cache, open_cache
from cxrvision.data.decoding import decode_shards
from cxrvision.data.images import read_square
from cxrvision.data.manifest import Manifest
from cxrvision.data.shards import Preparation, read_shard, write_shard
from cxrvision.data.sheet import write_sheet

ROOT = Path(__file__).parent.parent
SIZE = 16


def manifest(folder: Path, names: list[str]) -> Manifest:
    ids = [Path(name).stem for name in names]
    table = pd.DataFrame({"image_id": ids, "study_id": ids, "path": names})
    return Manifest(table, folder, "studies.csv")


def draw(folder: Path, count: int, *, first: int = 0) -> list[str]:
    folder.mkdir(exist_ok=True)
    names = []
    for number in range(first, first + count):
        values = np.random.default_rng(number).integers(0, 256, (20, 24), dtype=np.uint8)
        names.append(f"{number:03d}.png")
        Image.fromarray(values).save(folder / names[-1])
    return names


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return tmp_path / "images"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def build(folder: Path, names: list[str], out: Path, **options: object):
    return build_cache(manifest(folder, names), out, **{"size": SIZE, **options})


def test_cache_gives_the_squares_of_the_files(images: Path, out: Path) -> None:
    names = draw(images, 5)
    build(images, names, out)
    cache = open_cache(out)
    rows = cache.find(["003", "000"])

    expected = [read_square(images / name, SIZE) for name in ("003.png", "000.png")]
    np.testing.assert_array_equal(cache.read(rows), expected)
    assert (cache.size, cache.fit) == (SIZE, "pad")


def test_unknown_image_has_no_row(images: Path, out: Path) -> None:
    build(images, draw(images, 2), out)

    assert open_cache(out).find(["001", "nope"]).tolist() == [1, -1]


def test_row_that_is_not_there_is_a_value_error(images: Path, out: Path) -> None:
    build(images, draw(images, 2), out)

    with pytest.raises(ValueError, match="rows 0 to 1"):
        open_cache(out).read([-1])


def test_all_is_every_row(images: Path, out: Path) -> None:
    build(images, draw(images, 4), out)
    cache = open_cache(out)

    np.testing.assert_array_equal(cache.all(), cache.read(np.arange(4)))


def test_read_fills_a_given_array(images: Path, out: Path) -> None:
    build(images, draw(images, 3), out)
    buffer = np.zeros((2, SIZE, SIZE), np.uint8)

    assert open_cache(out).read([2, 1], out=buffer) is buffer
    assert buffer.any()


def test_broken_and_missing_images_are_listed_and_not_fatal(images: Path, out: Path) -> None:
    names = draw(images, 3)
    (images / "torn.png").write_bytes((images / "000.png").read_bytes()[:200])
    (images / "text.png").write_text("hello")
    summary = build(images, [*names, "torn.png", "text.png", "gone.png"], out)
    failures = open_cache(out).failures()

    assert summary.statuses == {"ok": 3, "broken": 2, "missing": 1}
    assert failures["status"].to_dict() == {"torn": "broken", "text": "broken", "gone": "missing"}
    assert failures.loc["text", "reason"].startswith("not an image that is read")
    assert failures.loc["gone", "reason"] == "No such file or directory"
    assert open_cache(out).find(["torn", "text", "gone"]).tolist() == [-1, -1, -1]


def test_cache_of_nothing_readable_is_one(images: Path, out: Path) -> None:
    images.mkdir()

    assert build(images, ["a.png"], out).statuses == {"missing": 1}
    assert len(open_cache(out)) == 0


def test_second_build_decodes_nothing(images: Path, out: Path) -> None:
    names = draw(images, 3)
    first = build(images, names, out)
    second = build(images, names, out)

    assert (first.decoded, second.decoded) == (3, 0)
    assert first.key == second.key


def test_new_images_are_added_and_rows_stay(images: Path, out: Path) -> None:
    build(images, draw(images, 3), out)
    before = open_cache(out).find(["000", "001", "002"])
    summary = build(images, [*draw(images, 2, first=3), "000.png", "001.png", "002.png"], out)
    cache = open_cache(out)

    assert summary.decoded == 2
    np.testing.assert_array_equal(cache.find(["000", "001", "002"]), before)
    np.testing.assert_array_equal(
        cache.read(cache.find(["004"]))[0], read_square(images / "004.png", SIZE)
    )


def test_repaired_image_is_read_again(images: Path, out: Path) -> None:
    names = draw(images, 2)
    whole = (images / "001.png").read_bytes()
    (images / "001.png").write_bytes(b"")
    build(images, names, out)
    (images / "001.png").write_bytes(whole)

    assert build(images, names, out).statuses == {"ok": 2}
    assert open_cache(out).find(["001"])[0] >= 0


def test_changed_image_is_decoded_again(images: Path, out: Path) -> None:
    names = draw(images, 2)
    first = build(images, names, out)
    Image.new("L", (20, 20), 255).save(images / "001.png")
    second = build(images, names, out)
    cache = open_cache(out)

    assert (second.decoded, second.unused) == (1, 1)
    assert second.key != first.key
    assert cache.read(cache.find(["001"])).min() == 255


def test_copied_image_is_known_by_its_content(images: Path, out: Path) -> None:
    names = draw(images, 2)
    first = build(images, names, out)
    for name in names:
        os.utime(images / name, (1, 1))
    second = build(images, names, out)

    assert second.decoded == 0
    assert second.key == first.key


def test_key_does_not_depend_on_the_folder(tmp_path: Path, images: Path) -> None:
    names = draw(images, 2)
    shutil.copytree(images, tmp_path / "copy")
    first = build(images, names, tmp_path / "a")
    second = build(tmp_path / "copy", names[::-1], tmp_path / "b")

    assert first.key == second.key


@pytest.mark.parametrize("options", [{"size": 17}, {"fit": "crop"}, {"correct_inverted": True}])
def test_key_depends_on_the_preparation(
    tmp_path: Path, images: Path, options: dict[str, object]
) -> None:
    names = draw(images, 2)

    assert (
        build(images, names, tmp_path / "a").key
        != build(images, names, tmp_path / "b", **options).key
    )


def test_pixels_outlive_their_files(images: Path, out: Path) -> None:
    names = draw(images, 2)
    build(images, names, out)
    (images / "001.png").unlink()
    summary = build(images, names, out)

    assert summary.statuses == {"ok": 2}
    assert summary.notes == {"file gone, pixels of before": 1}


def test_another_preparation_is_refused_without_force(images: Path, out: Path) -> None:
    names = draw(images, 2)
    build(images, names, out)

    with pytest.raises(InputError, match="made with size 16, pad, now size 20, crop"):
        build(images, names, out, size=20, fit="crop")
    build(images, names, out, size=20, fit="crop", force=True)
    assert open_cache(out).all().shape == (2, 20, 20)


def test_folder_of_something_else_is_refused(images: Path) -> None:
    names = draw(images, 2)

    with pytest.raises(InputError, match="not empty and no cache"):
        build(images, names, images, force=True)


def test_folder_that_is_no_cache_is_refused_when_opened(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a cache"):
        open_cache(tmp_path)


def shard_of(out: Path) -> Path:
    return next((out / "shards").glob("*.npy"))


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 100)


def change_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-77] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut_short, change_byte, Path.unlink])
def test_torn_shard_is_refused_in_one_line_and_mended(images: Path, out: Path, damage) -> None:
    names = draw(images, 3)
    first = build(images, names, out)
    damage(shard_of(out))

    with pytest.raises(InputError, match="run `cxr data cache` again") as error:
        open_cache(out)
    assert "\n" not in str(error.value)
    assert build(images, names, out).key == first.key
    open_cache(out)


def test_torn_index_is_refused(images: Path, out: Path) -> None:
    build(images, draw(images, 2), out)
    cut_short(out / "index.parquet")

    with pytest.raises(InputError, match=r"index\.parquet: its content has changed"):
        open_cache(out)


def test_quick_check_finds_a_short_shard(images: Path, out: Path) -> None:
    build(images, draw(images, 2), out)
    cut_short(shard_of(out))

    with pytest.raises(InputError, match="bytes; expected"):
        open_cache(out, verify=False)


def test_shard_without_record_does_not_count(images: Path, out: Path) -> None:
    names = draw(images, 2)
    build(images, names, out)
    shard_of(out).with_suffix(".json").unlink()

    assert build(images, names, out).decoded == 2
    assert len(list((out / "shards").iterdir())) == 2


def test_cache_is_pickled_without_its_pixels(images: Path, out: Path) -> None:
    build(images, draw(images, 3), out)
    cache = open_cache(out)
    sent = pickle.dumps(cache)

    assert len(sent) < 1000
    np.testing.assert_array_equal(pickle.loads(sent).all(), cache.all())


def test_equal_images_have_equal_hashes(images: Path, out: Path) -> None:
    draw(images, 2)
    Image.open(images / "000.png").save(images / "twin.bmp")
    build(images, ["000.png", "001.png", "twin.bmp"], out)
    index = open_cache(out).index

    assert index.loc["000", "pixels"] == index.loc["twin", "pixels"]
    assert index.loc["000", "content"] != index.loc["twin", "content"]
    assert index.loc["000", "pixels"] != index.loc["001", "pixels"]


def test_workers_give_the_same_key_and_pixels(tmp_path: Path, images: Path) -> None:
    names = draw(images, 70)
    one = build(images, names, tmp_path / "a")
    two = build(images, names, tmp_path / "b", workers=2)
    first, second = open_cache(tmp_path / "a"), open_cache(tmp_path / "b")

    assert one.key == two.key
    assert len(second.shards) == 3
    ids = [Path(name).stem for name in names]
    np.testing.assert_array_equal(first.read(first.find(ids)), second.read(second.find(ids)))


def test_workers_end_with_a_killed_parent(images: Path) -> None:
    program = (
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from multiprocessing import get_context\n"
        "import os, signal\n"
        "from cxrvision.data.decoding import _start_worker\n"
        "if __name__ == '__main__':\n"
        "    pool = ProcessPoolExecutor(1, get_context('spawn'), initializer=_start_worker)\n"
        "    print(pool.submit(os.getpid).result(), flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    script = images.with_suffix(".py")
    script.write_text(program)
    path = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, script], env=path, stdout=subprocess.PIPE, text=True)
    worker = int(done.stdout)
    for _ in range(1000):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)
    os.kill(worker, signal.SIGKILL)
    pytest.fail("the worker waits for a parent that is gone")


def test_image_that_ends_its_process_is_found_and_recorded(
    images: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxrvision.data.decoding._LEAST_ROWS", 2)
    monkeypatch.setattr("cxrvision.data.decoding._SHARDS_PER_WORKER", 1)
    files = [(name[:3], images / name) for name in draw(images, 4)]
    out.mkdir()
    shards = list(decode_shards(out, files, Preparation(8, "pad"), [], 2, write=write_or_die))
    statuses = {entry.image_id: entry.status for shard in shards for entry in shard.entries}

    assert statuses == {"000": "ok", "001": "broken", "002": "ok", "003": "ok"}


def test_progress_counts_every_image_once(images: Path, out: Path) -> None:
    steps: list[int] = []
    build(images, draw(images, 40), out, progress=steps.append)

    assert sum(steps) == 40


def test_two_builds_at_once_are_refused(images: Path, out: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    names = draw(images, 2)
    build(images, names, out)
    with (out / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another build is at work"):
            build(images, names, out)


def test_unexpected_failure_of_one_image_is_recorded(
    images: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise ArithmeticError("something private")

    names = draw(images, 1)
    monkeypatch.setattr("cxrvision.data.shards.square_of", fail)
    summary = build(images, names, out)

    assert summary.failures == (("000", "cannot be decoded (ArithmeticError)"),)


def test_shard_record_is_read_as_it_was_written(images: Path, tmp_path: Path) -> None:
    draw(images, 1)
    shard = write_shard(tmp_path, "s", [("000", images / "000.png")], Preparation(8, "pad"))

    assert read_shard(tmp_path / "s.json") == shard


def test_sheet_is_drawn_from_the_whole_cache(images: Path, out: Path, tmp_path: Path) -> None:
    build(images, draw(images, 10), out)
    ids = write_sheet(tmp_path / "sheet.png", open_cache(out), most=4)

    assert ids == ["000", "003", "006", "009"]
    assert Image.open(tmp_path / "sheet.png").mode == "L"


def test_killed_build_is_finished_by_the_next(images: Path, out: Path) -> None:
    names = draw(images, 100)
    studies = images / "studies.csv"
    rows = "".join(f"{Path(name).stem},{name},frontal\n" for name in names)
    studies.write_text("study_id,path,view\n" + rows)
    # slow enough to be killed between the first and the last shard
    program = (
        "import time, cxrvision.data.shards as shards\n"
        "from cxrvision.data.cache import build_cache\n"
        "from cxrvision.data.manifest import read_manifest\n"
        "slow = shards.square_of\n"
        "def square_of(*args, **options):\n"
        "    time.sleep(0.01)\n"
        "    return slow(*args, **options)\n"
        "shards.square_of = square_of\n"
        f"build_cache(read_manifest({str(studies)!r}), {str(out)!r}, size={SIZE})\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    while not list(out.glob("shards/0*.json")):  # "*" would match temporary files, too
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    done = sum(len(read_shard(path).entries) for path in out.glob("shards/0*.json"))
    assert 0 < done < 100

    with pytest.raises(InputError, match="not finished"):
        open_cache(out)
    result = run_cxr("data", "cache", studies, "-o", out, "--size", SIZE, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["decoded"] == 100 - done
    assert not list(out.glob("shards/.*"))
    assert len(open_cache(out)) == 100
    whole = build(images, names, out.with_name("whole"))
    assert len(open_cache(whole.path)) == 100
    first, second = open_cache(out), open_cache(whole.path)
    np.testing.assert_array_equal(first.all(), second.all())


def test_command_says_what_it_could_not_read(images: Path, out: Path) -> None:
    draw(images, 1)
    studies = images / "studies.csv"
    studies.write_text("study_id,path,view\na,000.png,frontal\nb,gone.png,lateral\n")
    sheet = out.with_suffix(".png")
    result = run_cxr("data", "cache", studies, "-o", out, "--size", SIZE, "--sheet", sheet)

    assert result.exit_code == 0
    assert "not read: gone.png: No such file or directory" in result.stderr
    assert "cached 1 of 2 images (1 decoded now" in result.stderr
    assert sheet.is_file()


def test_command_refuses_bad_options_in_one_line(images: Path, out: Path) -> None:
    draw(images, 1)
    studies = images / "studies.csv"
    studies.write_text("study_id,patient_id,path,view\na,p,000.png,frontal\n")
    result = run_cxr("data", "cache", studies, "-o", out, "--fit", "fill")

    assert result.exit_code == 1
    assert result.stderr == "error: fit 'fill': expected one of pad, crop, stretch\n"
