import csv
import gzip
import hashlib
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrlabel.errors import InputError
from cxrlabel.formats import open_table
from cxrlabel.readers import InputFile, ReportRow, open_reports

CLEAR = "Lungs are clear."
LARGE = "Heart is large."


def write(path: Path, content: str | bytes) -> str:
    content = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return str(path)


def read(*inputs: str, **options: object) -> list[ReportRow]:
    return list(open_reports(inputs, **options).rows())  # type: ignore[arg-type]


def ids_and_texts(rows: list[ReportRow]) -> list[tuple[str, str]]:
    return [(row.study_id, row.texts[0][1]) for row in rows]


def message(*inputs: str, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        read(*inputs, **options)
    return str(caught.value)


# kinds of files

CSV = f"study_id,report\n007,{CLEAR}\n8,{LARGE}\n"
JSONL = "".join(
    json.dumps(row) + "\n"
    for row in ({"study_id": "007", "report": CLEAR}, {"study_id": 8, "report": LARGE})
)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("reports.csv", CSV),
        ("reports.CSV", CSV),
        ("reports.csv.gz", CSV),
        ("reports.tsv", CSV.replace(",", "\t")),
        ("reports.tsv.gz", CSV.replace(",", "\t")),
        ("reports.jsonl", JSONL),
        ("reports.jsonl.gz", JSONL),
        ("byte order mark.csv", "\ufeff" + CSV),
        ("byte order mark.jsonl", "\ufeff" + JSONL),
        ("carriage returns.csv", CSV.replace("\n", "\r\n")),
        ("no last line break.csv", CSV.rstrip()),
        ("blank lines.csv", CSV.replace("\n", "\n\n")),
        ("blank lines.jsonl", JSONL.replace("\n", "\n\n")),
    ],
)
def test_table_file_gives_ids_and_texts(tmp_path, name, content):
    path = write(tmp_path / name, content)
    assert ids_and_texts(read(path)) == [("007", CLEAR), ("8", LARGE)]


@pytest.mark.parametrize(
    "texts",
    [
        pa.array([CLEAR, None]),
        pa.array([CLEAR, None], pa.large_string()),
        pa.array([CLEAR, None]).dictionary_encode(),
        pa.array([CLEAR.encode(), None], pa.binary()),
    ],
)
def test_parquet_of_any_text_type_gives_texts(tmp_path, texts):
    pq.write_table(pa.table({"study_id": [7, 8], "report": texts}), tmp_path / "reports.parquet")
    rows = read(str(tmp_path / "reports.parquet"))
    assert ids_and_texts(rows) == [("7", CLEAR), ("8", "")]
    assert rows[1].place.endswith("reports.parquet:2")


def test_folder_gives_texts_sorted_with_file_stems_as_ids(tmp_path):
    write(tmp_path / "p11/p11000001/s3.txt", "three")
    write(tmp_path / "p10/p10000032/s2.txt.gz", "two")
    write(tmp_path / "p10/p10000032/s1.txt", "one")
    write(tmp_path / "p10/p10000032/._s1.txt", "left by a file manager")
    write(tmp_path / "p10/index.html", "no report")
    assert ids_and_texts(read(str(tmp_path))) == [("s1", "one"), ("s2", "two"), ("s3", "three")]


def test_single_text_file_is_one_report(tmp_path):
    rows = read(write(tmp_path / "s50.1.txt", "Line one\r\nline two\r\n"))
    assert ids_and_texts(rows) == [("s50.1", "Line one\r\nline two\r\n")]


def test_pattern_and_file_are_read_in_order(tmp_path):
    for name in ("b2", "b1", "a"):
        write(tmp_path / f"{name}.csv", f"id,text\n{name},{CLEAR}\n")
    rows = read(str(tmp_path / "b*.csv"), str(tmp_path / "a.csv"))
    assert [row.study_id for row in rows] == ["b1", "b2", "a"]


def test_file_name_with_brackets_is_no_pattern(tmp_path):
    assert len(read(write(tmp_path / "reports[1].csv", CSV))) == 2


def test_one_column_without_header_is_numbered(tmp_path):
    source = open_reports([write(tmp_path / "r.csv", f'"Clear, no mass."\n{LARGE}\n\n')])
    assert source.id_column == "row"
    assert ids_and_texts(list(source.rows())) == [("1", "Clear, no mass."), ("2", LARGE), ("3", "")]


@pytest.mark.parametrize("header", ["Report Impression", "Reports", "findings", "befund"])
def test_one_column_with_header_is_numbered_from_the_first_report(tmp_path, header):
    path = write(tmp_path / "reports.csv", f"{header}\n{CLEAR}\n")
    text_columns = ["befund"] if header == "befund" else []
    assert ids_and_texts(read(path, text_columns=text_columns)) == [("1", CLEAR)]


def test_numbers_go_on_through_several_files(tmp_path):
    paths = [write(tmp_path / f"{i}.csv", f"{CLEAR}\n{LARGE}\n") for i in range(2)]
    assert [row.study_id for row in read(*paths)] == ["1", "2", "3", "4"]


# columns


@pytest.mark.parametrize(
    ("header", "id_column"),
    [
        ("id,Study_ID,report", "Study_ID"),
        ("UID,report", "UID"),
        ("Accession Number,report", "Accession Number"),
        ("study,report", "study"),
        ("patient,id,report", "id"),
    ],
)
def test_usual_id_column_is_found(tmp_path, header, id_column):
    path = write(tmp_path / "reports.csv", header + "\n")
    assert open_reports([path]).id_column == id_column


def test_whole_report_column_is_preferred_to_sections(tmp_path):
    source = open_reports([write(tmp_path / "r.csv", "uid,findings,Report_Text,age\n1,a,b,c\n")])
    assert source.text_columns == ("Report_Text",)
    assert source.ignored_columns == ("findings", "age")
    assert next(source.rows()).texts == (("", "b"),)


def test_section_columns_carry_canonical_names_in_column_order(tmp_path):
    header = "uid,Reason For Exam,Clinical History,FINDINGS,Conclusion"
    rows = read(write(tmp_path / "reports.csv", f"{header}\n1,a,b,c,\n"))
    assert rows[0].texts == (
        ("indication", "a"),
        ("history", "b"),
        ("findings", "c"),
        ("impression", ""),
    )


def test_named_columns_are_read_in_the_order_given(tmp_path):
    path = write(tmp_path / "reports.csv", "key,befund,impression,id\nx,a,b,1\n")
    rows = read(path, id_column="key", text_columns=["impression", "befund"])
    assert rows[0].study_id == "x"
    assert rows[0].texts == (("impression", "b"), ("", "a"))


def test_kept_columns_come_as_they_are(tmp_path):
    path = write(tmp_path / "reports.csv", "id,report,subject_id,age\n1,a,00012,\n")
    source = open_reports([path], keep=["age", "subject_id"])
    assert next(source.rows()).kept == ("", "00012")
    assert source.ignored_columns == ()


def test_parquet_row_groups_are_let_go_once_read(tmp_path):
    path = tmp_path / "reports.parquet"
    draw = random.Random(0)
    reports = [draw.randbytes(500).hex() for _ in range(40_000)]
    pq.write_table(pa.table({"id": range(40_000), "report": reports}), path, row_group_size=2_000)
    before = pa.total_allocated_bytes()

    held = [
        pa.total_allocated_bytes() - before
        for number, _ in enumerate(open_table(path).read(["id", "report"]))
        if number % 1_000 == 0
    ]

    assert max(held) < path.stat().st_size / 2


def test_kept_parquet_cells_become_text(tmp_path):
    table = pa.table({"id": ["a"], "report": ["b"], "age": [71], "dose": pa.nulls(1, pa.float64())})
    pq.write_table(table, tmp_path / "reports.parquet")
    assert read(str(tmp_path / "reports.parquet"), keep=["age", "dose"])[0].kept == ("71", "")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"id_column": "studyid"}, "no column 'studyid'; did you mean 'study_id'?"),
        ({"text_columns": ["REPROT"]}, "no column 'REPROT'; did you mean 'report'?"),
        ({"keep": ["zzz"]}, "no column 'zzz'; (columns: study_id, report)"),
    ],
)
def test_missing_named_column_suggests_the_near_one(tmp_path, options, expected):
    assert expected in message(write(tmp_path / "reports.csv", CSV), **options)


def test_no_text_column_lists_the_columns(tmp_path):
    path = write(tmp_path / "reports.csv", "study_id,age\n1,2\n")
    assert message(path) == (
        f"{path}: no text column found; name it with --text (columns: study_id, age)"
    )


def test_no_id_column_lists_the_columns(tmp_path):
    assert "no id column" in message(write(tmp_path / "reports.csv", "patient,report\n1,2\n"))


def test_table_without_header_does_not_show_its_text(tmp_path):
    text = "The cardiac silhouette is mildly enlarged today."
    assert "cardiac" not in message(write(tmp_path / "reports.csv", f"1,{text}\n2,{text}\n"))


def test_column_named_twice_is_an_error(tmp_path):
    path = write(tmp_path / "reports.csv", "id,report,report,,\n1,a,b,,\n")
    assert "2 columns are named 'report'" in message(path)


def test_files_with_different_columns_are_an_error(tmp_path):
    first = write(tmp_path / "a.csv", "id,report\n1,a\n")
    second = write(tmp_path / "b.csv", "id,findings\n2,b\n")
    assert f"{second}: id 'id', text 'findings', but {first}" in message(first, second)


# what the run record says


def test_files_carry_hash_and_size(tmp_path):
    path = write(tmp_path / "a.csv", CSV)
    sha256 = hashlib.sha256(CSV.encode()).hexdigest()
    assert open_reports([path]).files == (InputFile(path, sha256, len(CSV)),)


def test_folder_hash_changes_with_a_text(tmp_path):
    write(tmp_path / "a.txt", "one")
    before = open_reports([str(tmp_path)]).files
    write(tmp_path / "a.txt", "two")
    assert open_reports([str(tmp_path)]).files != before
    assert before[0].bytes == 3


# bad files


def test_missing_file_is_named(tmp_path):
    assert message(f"{tmp_path}/none.csv") == f"{tmp_path}/none.csv: no such file"


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", b"", "the file is empty"),
        ("a.csv", b"\n\n", "the file is empty"),
        ("a.jsonl", b"", "the file is empty"),
        ("a.jsonl", b"\n", "the file is empty"),
        ("a.parquet", b"", "the file is empty"),
        ("a.csv.gz", b"", "the file is empty"),
        ("a.parquet", b"PAR1 but not more", "not a parquet file"),
        ("a.xlsx", b"PK", "unknown kind of file; expected .csv"),
        ("a.csv", CSV.encode("utf-16"), "the file is UTF-16; save it as UTF-8"),
        ("a.csv", b"study_id;report\n1;a\n", "cells are separated by ';', expected ','"),
    ],
)
def test_unreadable_file_is_an_error(tmp_path, name, content, expected):
    assert expected in message(write(tmp_path / name, content))


@pytest.mark.parametrize(
    "content",
    [b"no gzip", gzip.compress(CSV.encode() * 99)[:-9]],
    ids=["no gzip", "cut off"],  # the bytes have the time in them
)
def test_broken_gzip_is_an_error(tmp_path, content):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(content)
    assert "not a whole gzip file" in message(str(path))


def test_folder_without_texts_is_an_error(tmp_path):
    assert f"'{tmp_path}/*.csv'" in message(str(tmp_path))


def test_pattern_without_match_is_an_error(tmp_path):
    assert "no file matches" in message(f"{tmp_path}/*.csv")


# bad rows


@pytest.mark.parametrize("cell", ["", " ", "NA", "n/a", "NaN", "nan", "None", "null", "<NA>"])
def test_missing_cell_is_an_empty_text(tmp_path, cell):
    assert ids_and_texts(read(write(tmp_path / "a.csv", f"id,report\n1,{cell}\n"))) == [("1", "")]


def test_undecodable_byte_marks_only_its_row(tmp_path):
    content = b"id,report,age\n1,fine \xc3\xa9,a\n2,caf\xe9 au lait,b\n3,fine,caf\xe9\n"
    rows = read(write(tmp_path / "a.csv", content), keep=["age"])
    assert [row.status for row in rows] == ["", "undecodable", ""]
    assert [row.texts[0][1] for row in rows] == ["fine é", "caf\ufffd au lait", "fine"]
    assert rows[2].kept == ("caf\\udce9",)


def test_undecodable_id_is_escaped(tmp_path):
    rows = read(write(tmp_path / "a.csv", b"id,report\ncaf\xe9,a\ncaf\xe8,b\n"))
    assert [row.study_id for row in rows] == ["caf\\udce9", "caf\\udce8"]


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_undecodable_text_file_is_marked(tmp_path, name):
    assert read(write(tmp_path / name, b"caf\xe9"))[0].status == "undecodable"


def test_lone_surrogate_in_json_is_marked(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"id": 1, "report": "a \\ud800 b"}\n')
    assert read(path)[0].status == "undecodable"


def test_undecodable_parquet_text_marks_only_its_row(tmp_path):
    texts = pa.array([b"fine", b"caf\xe9", None], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"id": ["1", "2", "3"], "report": texts}), tmp_path / "a.parquet")
    rows = read(str(tmp_path / "a.parquet"))
    assert [row.status for row in rows] == ["", "undecodable", ""]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "id,report\n1,no\0mass\n2,b\n"),
        ("a.jsonl", '{"id": 1, "report": "no\0mass"}\n{"id": 2, "report": "b"}\n'),
    ],
)
def test_nul_becomes_a_space(tmp_path, name, content):
    assert ids_and_texts(read(write(tmp_path / name, content))) == [("1", "no mass"), ("2", "b")]


def test_quoted_cell_spans_lines_and_keeps_them(tmp_path):
    rows = read(write(tmp_path / "a.csv", 'id,report\n1,"one\r\ntwo ""x"", three"\n2,b\n'))
    assert rows[0].texts[0][1] == 'one\r\ntwo "x", three'
    assert rows[1].place.endswith("a.csv:4")


def test_quote_within_an_unquoted_cell_is_text(tmp_path):
    assert read(write(tmp_path / "a.csv", 'id,report\n1,a 6" tube\n'))[0].texts[0][1] == 'a 6" tube'


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        (['1,"open', "2,b", "3,c"], 2),
        (["1,a", '2,"open', '3,"closed"'], 3),
        (["1,a", '2,"two', 'lines"', '3,"open', '4,"closed"'], 5),
        (['1,"a "quoted" word"'], 2),
        (['"two', 'lines","open', '2,"closed"'], 3),
        (['"1","a"', '"2","open', "3,c"], 3),
    ],
)
def test_unbalanced_quote_names_the_line_where_it_opens(tmp_path, lines, line):
    path = write(tmp_path / "a.csv", "\n".join(["id,report", *lines]) + "\n")
    assert message(path).startswith(f"{path}:{line}: the quote that opens on this line")


def test_unbalanced_quote_keeps_the_rows_before_it(tmp_path):
    rows = open_reports([write(tmp_path / "a.csv", 'id,report\n1,a\n2,"open\n3,c\n')]).rows()
    assert next(rows).study_id == "1"
    with pytest.raises(InputError):
        next(rows)


@pytest.mark.parametrize(
    ("line", "expected"),
    [("2", "1 cells, expected 2"), ("2,b,c", "3 cells, expected 2; quote a cell")],
)
def test_wrong_number_of_cells_names_the_line(tmp_path, line, expected):
    path = write(tmp_path / "a.csv", f'id,report\n1,"a\nb"\n{line}\n')
    assert message(path).startswith(f"{path}:4: {expected}")


def test_duplicate_id_names_both_places(tmp_path):
    first = write(tmp_path / "a.csv", "id,report\n1,a\n2,b\n")
    second = write(tmp_path / "b.csv", "id,report\n3,c\n2,d\n")
    assert message(first, second) == (
        f"{second}:3: id '2' is also at {first}:3; expected distinct ids"
    )


def test_duplicate_ids_can_be_allowed(tmp_path):
    source = open_reports([write(tmp_path / "a.csv", "id,report\n1,a\n1,b\n")])
    assert len(list(source.rows(allow_duplicates=True))) == 2


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "id,report\n ,a\n"),
        ("a.jsonl", '\n{"id": null, "report": "a"}\n'),
        ("a.jsonl", '\n{"id": "", "report": "a"}\n'),
    ],
)
def test_empty_id_names_the_line(tmp_path, name, content):
    path = write(tmp_path / name, content)
    assert message(path) == f"{path}:2: the id is empty"


def test_missing_parquet_id_is_an_error(tmp_path):
    pq.write_table(pa.table({"id": ["1", None], "report": ["a", "b"]}), tmp_path / "a.parquet")
    assert "a.parquet:2: the id is empty" in message(str(tmp_path / "a.parquet"))


@pytest.mark.parametrize("text", ["x" * 1_000_000, "no mass. " * 111_112])
def test_report_of_a_megabyte_is_read_whole(tmp_path, text):
    assert read(write(tmp_path / "a.csv", f"id,report\n1,{text}\n"))[0].texts[0][1] == text


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"id": 2, "report"', "not JSON: Expecting ':' delimiter"),
        ("[1, 2]", "a JSON list, expected an object"),
        ('{"id": 2, "report": 3}', "column 'report' holds int, expected text"),
        ('{"id": 2, "report": ["a"]}', "column 'report' holds list, expected text"),
        ('{"id": 2.5, "report": "a"}', "the id is float, expected text or a whole number"),
        ('{"id": true, "report": "a"}', "the id is bool, expected text or a whole number"),
        ("[" * 100_000, "JSON that cannot be read"),
    ],
)
def test_bad_json_line_is_named(tmp_path, line, expected):
    path = write(tmp_path / "a.jsonl", f'{{"id": 1, "report": "a"}}\n{line}\n')
    assert message(path).startswith(f"{path}:2: {expected}")


def test_json_keys_may_be_left_out(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"id": 1, "findings": "a"}\n{"id": 2, "impression": "b"}\n')
    assert [row.texts for row in read(path)] == [
        (("findings", "a"), ("impression", "")),
        (("findings", ""), ("impression", "b")),
    ]


def test_json_text_key_that_comes_late_is_an_error(tmp_path):
    lines = [f'{{"id": {i}, "findings": "a"}}\n' for i in range(1_000)]
    path = write(tmp_path / "a.jsonl", "".join(lines) + '{"id": -1, "impression": "b"}\n')
    assert "a.jsonl:1001: key 'impression'" in message(path)


def test_no_report_text_in_messages_of_bad_rows(tmp_path):
    path = write(tmp_path / "a.csv", 'id,report\n1,"secret\n')
    assert "secret" not in message(path)


# properties

# longer than any spelling of a missing cell; NUL and surrogates do not come back as they were
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=8)


@given(reports=st.lists(texts))
def test_every_row_that_csv_writes_comes_back_in_order(tmp_path_factory, reports):
    path = tmp_path_factory.mktemp("reports") / "reports.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("id", "report"), *enumerate(reports)])
    assert ids_and_texts(read(str(path))) == [(str(i), text) for i, text in enumerate(reports)]


def without_a_quote(path, reports, lost):
    rows = [f'{i},"{text.replace(chr(34), "")}"' for i, text in enumerate(reports)]
    rows[lost] = rows[lost][:-1]
    path.write_text("id,report\n" + "\n".join(rows), encoding="utf-8", newline="")
    return path


@given(reports=st.lists(texts, min_size=1), line=st.data())
def test_a_lost_quote_is_never_silent(tmp_path_factory, reports, line):
    lost = line.draw(st.integers(0, len(reports) - 1))
    path = without_a_quote(tmp_path_factory.mktemp("reports") / "reports.csv", reports, lost)
    assert message(str(path)).startswith(f"{path}:")


# no comma and no line break, with which a cell or a row could end where the quote is missing
plain_texts = st.text(
    st.characters(exclude_characters="\0\r\n,", exclude_categories=["Cs"]), min_size=8
)


@given(reports=st.lists(plain_texts, min_size=1), line=st.data())
def test_a_lost_quote_is_named_by_its_line(tmp_path_factory, reports, line):
    lost = line.draw(st.integers(0, len(reports) - 1))
    path = without_a_quote(tmp_path_factory.mktemp("reports") / "reports.csv", reports, lost)
    assert message(str(path)).startswith(f"{path}:{lost + 2}: the quote")
