"""What all data sets share: detection, splits, checks of files, and the command."""

import json

import pandas as pd
import pytest
from typer.testing import CliRunner
from vision_trees import add_images, add_table, png

from cxrlabel.errors import InputError
from cxrlabel.findings import resolve
from cxrlabel.tables import read_labels
from cxrvision.data.commands import data_app, labels_beside
from cxrvision.data.datasets import INDEXERS, detect, indexer
from cxrvision.data.files import find_broken, hash_duplicates
from cxrvision.data.indexing import index_folder
from cxrvision.data.manifest import read_manifest

NIH = "Image Index,Finding Labels,Patient ID,View Position"


def nih_tree(root, *, patients=40):
    names = [f"{number:08d}_000.png" for number in range(patients)]
    add_images(root, *(f"images/{name}" for name in names))
    add_table(root, "Data_Entry_2017.csv", NIH, *(f"{n},Mass,{int(n[:8])},PA" for n in names))
    add_table(root, "train_val_list.txt", *names[: patients // 2])
    add_table(root, "test_list.txt", *names[patients // 2 :])
    return root


def run(*args: object):
    return CliRunner().invoke(data_app, [str(arg) for arg in args], catch_exceptions=False)


def test_two_data_sets_in_a_folder_are_not_guessed(tmp_path):
    nih_tree(tmp_path)
    add_images(tmp_path, "MCUCXR_0001_0.png")

    with pytest.raises(InputError, match="looks like nih and montgomery; choose one with --format"):
        detect(tmp_path)


def test_unknown_format_is_an_error_that_suggests():
    with pytest.raises(InputError, match="unknown format 'chexprt'; did you mean 'chexpert'"):
        indexer("chexprt")


def test_missing_folder_is_an_error(tmp_path):
    for name in INDEXERS:
        with pytest.raises(InputError):
            index_folder(tmp_path / "none", kind=name)


def test_official_split_is_kept_and_val_carved_from_train(tmp_path):
    split = index_folder(nih_tree(tmp_path)).images.set_index("patient_id")["split"]

    assert set(split[[str(n) for n in range(20, 40)]]) == {"test"}
    assert set(split[[str(n) for n in range(20)]]) == {"train", "val"}


def test_split_by_patient_ignores_the_lists(tmp_path):
    root = nih_tree(tmp_path)

    split = index_folder(root, split="patient").images.set_index("patient_id")["split"]

    assert "test" in set(split[[str(n) for n in range(20)]])
    assert set(index_folder(root, split="none").images["split"]) == {""}


def test_copy_of_a_test_file_is_taken_out_of_an_official_train(tmp_path):
    root = nih_tree(tmp_path)
    (root / "images/00000003_000.png").write_bytes((root / "images/00000030_000.png").read_bytes())

    found = index_folder(root)

    split = found.images.set_index("patient_id")["split"]
    assert (split["3"], split["30"]) == ("", "test")
    assert any("1 of 1 such files are of several patients" in note for note in found.notes)
    assert any(
        note.startswith("1 studies of train have a file that is also in") for note in found.notes
    )


def test_files_are_not_looked_into_where_that_is_not_wanted(tmp_path):
    root = nih_tree(tmp_path)
    (root / "images/00000003_000.png").write_bytes(b"")

    assert len(index_folder(root, check=False).images) == 40
    assert len(index_folder(root).images) == 39


def test_table_and_pattern_are_for_folders(tmp_path):
    with pytest.raises(InputError, match="for --format folder, found nih"):
        index_folder(nih_tree(tmp_path), pattern="{study}.png")


@pytest.mark.parametrize(
    ("name", "content", "broken"),
    [
        ("a.png", png(), False),
        ("a.png", png() + b"junk behind the end", False),
        ("a.png", png()[:-5], True),
        ("a.png", b"", True),
        ("a.png", b"GIF89a", True),
        ("a.jpg", b"\xff\xd8\xff\xe0...", False),
        ("a.jpg", b"<html>not found</html>", True),
        ("a.dcm", b"x", False),
    ],
)
def test_broken_files_are_found_by_their_ends(tmp_path, name, content, broken):
    (tmp_path / name).write_bytes(content)

    assert find_broken([tmp_path / name]) == [broken]


def test_only_files_of_equal_content_have_a_hash(tmp_path):
    middle = b"a" * 5_000
    contents = [middle + b"1" + middle, middle + b"2" + middle, middle + b"1" + middle, b"short"]
    files = [tmp_path / str(number) for number in range(4)]
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)

    hashes = hash_duplicates(files, [file.stat().st_size for file in files])

    assert hashes[0] == hashes[2] != ""
    assert (hashes[1], hashes[3]) == ("", "")


def test_command_writes_manifest_and_labels_that_are_read_back(tmp_path):
    nih_tree(tmp_path / "nih")

    done = run("index", tmp_path / "nih", "-o", tmp_path / "studies.csv")

    assert done.exit_code == 0, done.output
    manifest = read_manifest(tmp_path / "studies.csv")
    assert manifest.table["path"].iloc[0] == "nih/images/00000000_000.png"
    assert all(path.exists() for path in manifest.files())
    labels = read_labels(tmp_path / "studies.labels.csv", resolve=resolve).table
    assert labels["Mass"].tolist() == [1.0] * 40
    assert "indexed 40 images of 40 studies, 40 patients (nih; split " in done.stderr


def test_command_writes_labels_where_it_is_told_and_json(tmp_path):
    nih_tree(tmp_path / "nih")
    out, labels = tmp_path / "m.parquet", tmp_path / "l.csv"

    done = run("index", tmp_path / "nih", "-o", out, "--labels", labels, "--json")

    assert json.loads(done.stdout)["images"]["test/frontal"] == 20
    assert out.exists() and labels.exists()


def test_same_seed_gives_the_same_file(tmp_path):
    nih_tree(tmp_path / "nih")
    for name in ("a.csv", "b.csv"):
        run("index", tmp_path / "nih", "-o", tmp_path / name, "--split", "patient", "--seed", 5)

    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_command_replaces_neither_manifest_nor_labels_unasked(tmp_path):
    nih_tree(tmp_path / "nih")
    (tmp_path / "studies.labels.csv").write_text("mine")

    done = run("index", tmp_path / "nih", "-o", tmp_path / "studies.csv")

    assert done.exit_code == 1
    assert "the file exists; pass --force" in done.stderr
    assert not (tmp_path / "studies.csv").exists()


@pytest.mark.parametrize(
    "options",
    [("--split", "mine"), ("--shares", "1,1,1"), ("--format", "dicom"), ("--table", "none.csv")],
)
def test_wrong_option_is_one_line(tmp_path, options):
    add_images(tmp_path, "p/a.png")

    done = run("index", tmp_path, "-o", tmp_path / "m.csv", *options)

    assert done.exit_code == 1
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("manifest", "labels"),
    [
        ("studies.csv", "studies.labels.csv"),
        ("m.csv.gz", "m.labels.csv.gz"),
        ("m.parquet", "m.labels.parquet"),
    ],
)
def test_labels_lie_beside_the_manifest(tmp_path, manifest, labels):
    assert labels_beside(tmp_path / manifest) == tmp_path / labels


def test_indexing_is_a_matter_of_columns_not_rows(tmp_path, monkeypatch):
    """30,000 rows with a file list that is given: the work on tables stays below seconds."""
    import time

    from cxrvision.data.datasets import nih

    n = 30_000
    stems = [f"{number:08d}_000" for number in range(n)]
    lines = (f"{stem}.png,Mass|Nodule,{stem[:8]},PA" for stem in stems)
    add_table(tmp_path, "Data_Entry_2017.csv", NIH, *lines)
    files = pd.DataFrame(
        {"path": [f"i/{s}.png" for s in stems], "name": [f"{s}.png" for s in stems], "stem": stems},
        dtype="str",
    )
    monkeypatch.setattr(nih, "list_images", lambda root: files)

    start = time.process_time()
    found = index_folder(tmp_path, check=False)

    assert len(found.images) == n
    assert (
        time.process_time() - start < 10
    )  # seconds of a slow machine; less than one of a usual one
