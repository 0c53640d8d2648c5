from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrlabel.audit.design import (
    FLOOR,
    allocate,
    inclusion_rates,
    make_sample,
    make_strata,
    partition,
    read_sample,
    strata_from_bounds,
    strata_from_sizes,
    whole_numbers,
    write_sample,
)
from cxrlabel.errors import InputError


def cells(**columns: str) -> pd.DataFrame:
    """A letter per study: p, u, n or b."""
    words = {"p": "positive", "u": "uncertain", "n": "negative", "b": "blank"}
    table = pd.DataFrame({name: [words[c] for c in row] for name, row in columns.items()})
    return table.set_axis([f"s{number:03}" for number in range(len(table))])


def sample_frame(rows: list[tuple[str, str, float]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["uid", "stratum", "inclusion_probability"])
    return table.set_index("uid")


# the partition

TWO = cells(Edema="bbbbbbpp", Mass="bbbbuppp")


def test_study_counts_with_the_rarest_of_its_cells():
    parts = partition(TWO)

    rarest = [parts.names[cell] for cell in parts.rarest]
    assert (
        rarest == ["Mass blank"] * 4 + ["Mass uncertain", "Mass positive"] + ["Edema positive"] * 2
    )


def test_cells_are_sorted_by_size_then_by_name():
    parts = partition(cells(Mass="pb", Edema="bp"))

    assert parts.names == ("Edema blank", "Edema positive", "Mass blank", "Mass positive")


def test_studies_of_a_cell_are_counted_by_their_rarest_cell():
    parts = partition(TWO)
    column = parts.together[:, parts.names.index("Mass positive")]

    assert dict(zip(parts.names, column, strict=True)) == {
        "Mass uncertain": 0,
        "Edema positive": 2,
        "Mass positive": 1,
        "Mass blank": 0,
        "Edema blank": 0,
    }


def test_partition_does_not_depend_on_the_order_of_rows_or_findings():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.choice(list("punb"), (50, 4)), columns=list("ABCD"))
    shuffled = table.sample(frac=1, random_state=1)[list("DBAC")]

    first, second = partition(table), partition(shuffled)
    assert second.cells == first.cells
    np.testing.assert_array_equal(second.rarest, first.rarest[shuffled.index])
    np.testing.assert_array_equal(second.together, first.together)


def test_table_without_findings_is_one_cell():
    parts = partition(pd.DataFrame(index=range(7)))

    assert parts.names == ("all studies",)
    assert parts.sizes.tolist() == [7]


# inclusion rates


@pytest.mark.parametrize("floor", [0, 0.25, FLOOR, 1])
@pytest.mark.parametrize("n", [2, 3, 5, 8, 20])
def test_rates_add_up_to_the_size_of_the_sample(n, floor):
    parts = partition(TWO)

    assert inclusion_rates(parts, n, floor=floor)[parts.rarest].sum() == pytest.approx(min(n, 8))


def rates_by_name(table: pd.DataFrame, n: int) -> dict[str, float]:
    parts = partition(table)
    return dict(zip(parts.names, inclusion_rates(parts, n, floor=0.5), strict=True))


def test_rate_is_a_quota_over_the_size_of_the_cell():
    # the 2 for certain, then 9 of each of the two others
    assert rates_by_name(cells(Edema="p" * 2 + "u" * 18 + "b" * 80), 20) == pytest.approx(
        {"Edema positive": 1, "Edema uncertain": 9 / 18, "Edema blank": 9 / 80}
    )


def test_no_rate_is_below_the_floor():
    # half of 20 / 1000 for the common state, which takes 9.8 of the 18 that the rarest leaves
    assert rates_by_name(cells(Edema="p" * 2 + "u" * 18 + "b" * 980), 20) == pytest.approx(
        {"Edema positive": 1, "Edema uncertain": 8.2 / 18, "Edema blank": 0.01}
    )


def test_floor_of_one_gives_all_studies_the_same_rate():
    parts = partition(TWO)

    np.testing.assert_allclose(inclusion_rates(parts, 3, floor=1), 3 / 8)


def test_every_cell_is_worth_as_many_studies_as_the_quota_says():
    """The claim of the design: as good as m studies of the cell drawn at random."""
    rng = np.random.default_rng(3)
    columns = {f: rng.choice(list("punb"), 3000, p=p) for f, p in CELL_SHARES.items()}
    parts = partition(pd.DataFrame(columns))
    rates = inclusion_rates(parts, 200)
    above = rates[(rates < 1) & (rates > 1.001 * FLOOR * 200 / 3000)]
    quota = float((rates * parts.sizes)[: len(above)].max())

    # the variance of a mean with weights 1 / p is that of this many equal ones
    effective = parts.sizes**2 / ((1 / rates) @ parts.together)

    assert quota > 5
    assert (effective >= np.minimum(quota, parts.sizes) - 1e-6).all()


CELL_SHARES = {
    "A": [0.02, 0.01, 0.5, 0.47],
    "B": [0.2, 0.005, 0.1, 0.695],
    "C": [0.05, 0.02, 0.03, 0.9],
}


# strata


def test_rare_cells_are_one_stratum_that_is_taken_whole():
    parts = partition(cells(Edema="p" + "u" * 2 + "b" * 97))
    rates = inclusion_rates(parts, 20)
    strata = make_strata(parts, rates)

    assert strata.titles == ("Edema positive to Edema uncertain", "Edema blank")
    assert allocate(parts, strata, rates, 20).tolist() == [3, 17]


def test_names_of_strata_tell_no_label_and_their_titles_do():
    strata = strata_from_bounds(partition(TWO), [0, 1, 4])

    assert strata.names == ("s1", "s2", "s3")
    assert strata.titles == ("Mass uncertain", "Edema positive", "Mass positive to Mass blank")


def test_names_of_strata_sort_from_the_rarest():
    table = pd.DataFrame({"Edema": [f"bin {size}" for size in range(1, 13) for _ in range(size)]})
    strata = strata_from_bounds(partition(table), range(12))

    assert strata.sizes.tolist() == list(range(1, 13))
    assert strata.names[0] == "s01"
    assert list(strata.names) == sorted(strata.names)


def test_strata_are_found_by_their_sizes():
    parts = partition(TWO)
    made = strata_from_bounds(parts, [0, 1, 4])

    found = strata_from_sizes(parts, made.sizes.tolist())

    assert found is not None
    assert found.titles == made.titles
    np.testing.assert_array_equal(found.members, made.members)


@pytest.mark.parametrize("sizes", [[8, 1], [7], [2, 6], [1, 2, 4], [1, 2, 5, 1]])
def test_other_sizes_are_no_strata(sizes):
    assert strata_from_sizes(partition(TWO), sizes) is None


tables = st.integers(1, 40).flatmap(
    lambda rows: st.integers(0, 4).flatmap(
        lambda columns: st.lists(
            st.lists(st.sampled_from("punbbbbb"), min_size=rows, max_size=rows),
            min_size=columns,
            max_size=columns,
        ).map(lambda values: pd.DataFrame(dict(enumerate(values)), index=range(rows)))
    )
)


@given(tables, st.integers(2, 60), st.sampled_from([0, 0.25, 0.5, 1]))
def test_every_table_gives_strata_that_estimates_can_be_made_from(table, n, floor):
    parts = partition(table)
    rates = inclusion_rates(parts, n, floor=floor)
    strata = make_strata(parts, rates)
    drawn = allocate(parts, strata, rates, n)
    studies = len(table)

    assert drawn.sum() == min(n, studies)
    assert strata.sizes.sum() == studies
    assert (drawn <= strata.sizes).all()
    # nobody is left out, and a variance can be estimated or is zero
    assert ((drawn >= 2) | (drawn == strata.sizes)).all()
    assert (drawn >= 1).all()
    # rounding 2.99 down to 2 costs at most a third
    if floor:
        assert (strata.sizes / drawn <= 1.5 / floor * studies / min(n, studies) + 1e-9).all()


@pytest.mark.parametrize(
    ("shares", "total", "expected"),
    [
        ([2.5, 2.5, 5], 10, [3, 2, 5]),
        ([2.2, 2.7, 2.1], 7, [2, 3, 2]),
        ([3 - 1e-12, 4 + 1e-12], 7, [3, 4]),
        ([4.0], 4, [4]),
    ],
)
def test_shares_are_rounded_to_their_sum(shares, total, expected):
    assert whole_numbers(np.array(shares), total).tolist() == expected


# the file


SAMPLE = [("b", "rare", 1.0), ("a", "rest", 2 / 7), ("c", "rest", 2 / 7), ("d", "rare", 1.0)]


def test_sample_knows_its_strata_and_weights():
    sample = make_sample(sample_frame(SAMPLE))

    assert sample.id_name == "uid"
    assert sample.table.index.tolist() == ["a", "b", "c", "d"]
    assert sample.table["weight"].tolist() == pytest.approx([3.5, 1, 3.5, 1])
    assert sample.strata["size"].to_dict() == {"rare": 2, "rest": 7}
    assert sample.strata["n"].to_dict() == {"rare": 2, "rest": 2}
    assert sample.studies == 9


@pytest.mark.parametrize("name", ["s.csv", "s.tsv", "s.jsonl", "s.parquet", "s.csv.gz"])
def test_sample_is_read_as_it_was_written(tmp_path, name):
    sample = make_sample(sample_frame(SAMPLE))
    write_sample(tmp_path / name, sample)

    read = read_sample(tmp_path / name)

    assert read.id_name == "uid"
    pd.testing.assert_frame_equal(read.table, sample.table)
    pd.testing.assert_frame_equal(read.strata, sample.strata)


def test_sample_file_has_three_columns_sorted_by_id(tmp_path):
    write_sample(tmp_path / "s.csv", make_sample(sample_frame([("b", "x", 0.5), ("a", "x", 0.5)])))

    assert (tmp_path / "s.csv").read_text() == (
        "uid,stratum,inclusion_probability\na,x,0.5\nb,x,0.5\n"
    )


@given(st.integers(1, 40), st.integers(1, 10**7))
def test_size_of_a_stratum_survives_the_probability(n, size):
    size = max(n, size)
    text = [float(repr(n / size))] * n

    sample = make_sample(sample_frame([(str(i), "x", p) for i, p in enumerate(text)]))

    assert sample.strata["size"].tolist() == [size]


def test_sample_file_is_not_overwritten(tmp_path):
    sample = make_sample(sample_frame(SAMPLE))
    write_sample(tmp_path / "s.csv", sample)

    with pytest.raises(InputError, match="--force"):
        write_sample(tmp_path / "s.csv", sample)


def test_other_columns_and_another_id_are_read(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("note,exam,inclusion_probability,stratum\nx,007,0.333,a\n")

    sample = read_sample(path, id_column="exam")

    assert sample.table.index.tolist() == ["007"]
    assert sample.strata["size"].tolist() == [3]  # 3.003: somebody wrote three digits


HEADER = "uid,stratum,inclusion_probability\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("uid,stratum\n1,a\n", "no column 'inclusion_probability'"),
        ("uid,inclusion_probability\n1,1\n", "no column 'stratum'"),
        ("name,stratum,inclusion_probability\n1,a,1\n", "no id column found"),
        (HEADER, "no rows"),
        (HEADER + "1,a,1\n1,a,1\n", "s.csv:3: id '1' comes twice"),
        (HEADER + "1,,1\n", "s.csv:2: the stratum is empty"),
        (HEADER + ",a,1\n", "s.csv:2: the id is empty"),
        (HEADER + "1,a,0\n", "s.csv:2: column 'inclusion_probability': '0'"),
        (HEADER + "1,a,-0.5\n", "expected a number above 0, at most 1"),
        (HEADER + "1,a,1.01\n", "expected a number above 0, at most 1"),
        (HEADER + "1,a,\n", "expected a number above 0, at most 1"),
        (HEADER + "1,a,nan\n", "expected a number above 0, at most 1"),
        (HEADER + "1,a,half\n", "'half'; expected a number"),
        (HEADER + "1,a,0.5\n2,a,0.25\n", "stratum 'a' has different inclusion probabilities"),
        # two of the three rows that 3 / 10 was written for
        (HEADER + "1,a,0.3\n2,a,0.3\n", "stratum 'a' has 2 rows of probability 0.3"),
    ],
)
def test_bad_sample_is_an_error_with_its_place(tmp_path, content, message):
    path = Path(tmp_path / "s.csv")
    path.write_text(content)

    with pytest.raises(InputError, match=message):
        read_sample(path)
