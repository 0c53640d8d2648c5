import csv
import gzip
import json
import os
import stat

import numpy as np
import pyarrow.parquet as pq
import pytest
from drawn import columns
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cxrlabel.errors import InputError
from cxrlabel.writers import Coded, atomic_path, cells_of, check_target, neutralise, open_rows

COLUMNS = {"id": str, "start": int, "share": float, "cue": str}
ROWS = [("007", 3, 0.5, "no"), ("8", None, -1.0, '- é, "x"\ny'), ("9", 4, None, "")]


# atomic_path


def test_file_appears_when_the_block_ends(tmp_path):
    target = tmp_path / "new" / "folder" / "labels.csv"
    with atomic_path(target) as temporary:
        temporary.write_text("content")
        assert not target.exists()
        assert temporary.parent == target.parent
    assert target.read_text() == "content"
    assert os.listdir(target.parent) == ["labels.csv"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_error_leaves_the_older_file(tmp_path, error):
    target = tmp_path / "labels.csv"
    target.write_text("old")
    with pytest.raises(error), atomic_path(target, force=True) as temporary:
        temporary.write_text("half")
        raise error
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["labels.csv"]


def test_existing_file_needs_force(tmp_path):
    target = tmp_path / "labels.csv"
    target.write_text("old")
    with pytest.raises(InputError, match="exists; pass --force to replace it"), atomic_path(target):
        pass
    with atomic_path(target, force=True) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "new"


def test_folder_as_target_is_an_error(tmp_path):
    with pytest.raises(InputError, match="this is a folder"):
        check_target(tmp_path, force=True)


def test_file_in_place_of_a_folder_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match="cannot write here"),
        atomic_path(tmp_path / "file" / "labels.csv"),
    ):
        pass


@pytest.mark.skipif(os.name == "nt", reason="no permission bits")
def test_file_has_the_usual_permissions(tmp_path):
    (tmp_path / "usual").write_text("")
    with atomic_path(tmp_path / "labels.csv"):
        pass
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("usual", "labels.csv")}
    assert len(modes) == 1


# neutralise


@pytest.mark.parametrize(
    "cell", ["=1+1", "+cmd", "-small effusion", "@sum", "\tx", "\rx", "-", "--1", "-1.0 cm", "-inf"]
)
def test_formula_gets_an_apostrophe(cell):
    assert neutralise(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["", "no", "-1.0", "+1", "-1e-3", "-.5", "a=b", "'=1", " =1"])
def test_other_cell_stays(cell):
    assert neutralise(cell) == cell


# open_rows


def write_rows(path):
    with open_rows(path, COLUMNS) as writer:
        writer.write(ROWS[:2])
        writer.write([])
        writer.write(ROWS[2:])


@pytest.mark.parametrize(("name", "delimiter"), [("m.csv", ","), ("m.tsv", "\t")])
def test_delimited_rows_are_written(tmp_path, name, delimiter):
    write_rows(tmp_path / name)
    with (tmp_path / name).open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file, delimiter=delimiter)) == [
            ["id", "start", "share", "cue"],
            ["007", "3", "0.5", "no"],
            ["8", "", "-1.0", '\'- é, "x"\ny'],
            ["9", "4", "", ""],
        ]


def test_json_rows_are_written(tmp_path):
    write_rows(tmp_path / "m.jsonl")
    lines = (tmp_path / "m.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [
        dict(zip(COLUMNS, row, strict=True)) for row in ROWS
    ]


def test_parquet_rows_are_written_with_nullable_integers(tmp_path):
    write_rows(tmp_path / "m.parquet")
    table = pq.read_table(tmp_path / "m.parquet")
    assert [str(kind) for kind in table.schema.types] == ["string", "int64", "double", "string"]
    assert [tuple(row.values()) for row in table.to_pylist()] == ROWS


def test_parquet_batches_are_gathered_into_large_row_groups(tmp_path):
    with open_rows(tmp_path / "m.parquet", {"n": int}) as writer:
        for start in range(0, 100_000, 1_000):
            writer.write([(n,) for n in range(start, start + 1_000)])
    file = pq.ParquetFile(tmp_path / "m.parquet")
    assert file.num_row_groups == 3  # 66,000 rows when the first is full: 65,536 and the rest
    assert file.read()["n"].to_pylist() == list(range(100_000))


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_gzipped_rows_are_equal_for_equal_content(tmp_path, kind):
    for name in ("a", "b", "plain"):
        write_rows(tmp_path / (f"{name}.{kind}" if name == "plain" else f"{name}.{kind}.gz"))
    packed = (tmp_path / f"a.{kind}.gz").read_bytes()
    assert packed == (tmp_path / f"b.{kind}.gz").read_bytes()
    assert gzip.decompress(packed) == (tmp_path / f"plain.{kind}").read_bytes()


@pytest.mark.parametrize("name", ["m.csv", "m.csv.gz", "m.jsonl", "m.parquet"])
def test_error_while_writing_leaves_nothing(tmp_path, name):
    with pytest.raises(RuntimeError), open_rows(tmp_path / name, COLUMNS) as writer:
        writer.write(ROWS)
        raise RuntimeError
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["m.csv", "m.jsonl", "m.parquet"])
def test_row_of_another_length_is_an_error(tmp_path, name):
    with pytest.raises(ValueError), open_rows(tmp_path / name, COLUMNS) as writer:
        writer.write([("1", 2)])


@pytest.mark.parametrize("name", ["m.txt", "m", "m.parquet.gz", "m.gz", "m.xlsx"])
def test_unknown_ending_is_an_error(tmp_path, name):
    with (
        pytest.raises(InputError, match=r"expected \.csv, \.tsv or \.jsonl"),
        open_rows(tmp_path / name, COLUMNS),
    ):
        pass


@given(cells=st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_no_csv_cell_begins_like_a_formula_and_none_is_lost(tmp_path_factory, cells):
    path = tmp_path_factory.mktemp("rows") / "m.csv"
    with open_rows(path, {"id": str, "text": str}) as writer:
        writer.write([("x", cell) for cell in cells])
    with path.open(encoding="utf-8", newline="") as file:
        written = [row[1] for row in csv.reader(file)][1:]
    assert written == [neutralise(cell) for cell in cells]


# write_columns


def test_cells_of_a_column_are_plain_values():
    numbers = Coded([1.0, None], np.array([1, 0, 0], np.uint8))
    texts = Coded(["a\0", "b"], np.array([1, 0]))
    masked = np.ma.masked_array([3, 4], [False, True])
    columns = (["a", None], numbers, texts, np.array([1, 2]), masked)

    cells = [cells_of(column) for column in columns]

    assert cells == [["a", None], [None, 1.0, 1.0], ["b", "a\0"], [1, 2], [3, None]]
    assert {type(cell) for cell in (*cells[2], *cells[3], cells[4][0])} == {str, int}


TEXTS = st.one_of(
    st.none(),
    st.sampled_from(["", "=1+1", "-1.0", "- small", "@sum", "\tx", 'a "b", c', "a\r\nb", "é"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
)
INTEGERS = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1))
SHARES = st.one_of(st.none(), st.sampled_from([1.0, 0.0, -1.0]), st.floats(allow_nan=False))
CELLS = {str: TEXTS, int: INTEGERS, float: SHARES, bool: st.one_of(st.none(), st.booleans())}


@st.composite
def tables(draw):
    """Types of columns, and batches of their columns."""
    kinds = draw(st.lists(st.sampled_from(list(CELLS)), min_size=1, max_size=4))
    sizes = draw(st.lists(st.integers(0, 4), max_size=3))
    return kinds, [[draw(columns(CELLS[kind], size)) for kind in kinds] for size in sizes]


CODES = np.array([1, 0, 0], np.uint8)
TABLE = (
    [str, str, int, int, float],
    [
        [
            ["-1.0", None, "=1"],
            Coded(["+x", None], CODES),
            np.array([7, 8, 9]),
            np.ma.masked_array([7, 8, 9], [False, True, False]),
            Coded([-1.0, None], CODES),
        ]
    ],
)


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
@settings(max_examples=30)
@example(table=TABLE)
@given(table=tables())
def test_columns_are_written_as_the_same_rows_are(tmp_path_factory, kind, table):
    kinds, batches = table
    names = {f"={number}": kind for number, kind in enumerate(kinds)}
    folder = tmp_path_factory.getbasetemp()
    by_columns, by_rows = folder / f"columns.{kind}", folder / f"rows.{kind}"
    with (
        open_rows(by_columns, names, force=True) as column_writer,
        open_rows(by_rows, names, force=True) as row_writer,
    ):
        for batch in batches:
            column_writer.write_columns(batch)
            row_writer.write(list(zip(*map(cells_of, batch), strict=True)))

    assert by_columns.read_bytes() == by_rows.read_bytes()


@pytest.mark.parametrize("name", ["m.csv", "m.jsonl", "m.parquet"])
def test_columns_of_another_number_or_length_are_an_error(tmp_path, name):
    for batch in ([["1"]], [["1", "2"], [1]]):
        with (
            pytest.raises(ValueError),
            open_rows(tmp_path / name, {"id": str, "n": int}) as writer,
        ):
            writer.write_columns(batch)
