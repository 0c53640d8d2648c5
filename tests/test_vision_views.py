import os
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest

from cxrvision.data.views import (
    names_both_views,
    position_code,
    resolve_views,
    view_of_description,
    view_of_orientation,
    view_of_position,
)


def text(*cells: str) -> pd.Series:
    return pd.Series(list(cells), dtype="str")


@pytest.mark.parametrize(
    ("position", "view"),
    [
        ("PA", "frontal"),
        ("ap", "frontal"),
        ("AP Supine", "frontal"),
        ("AP_horizontal", "frontal"),
        ("AP AXIAL", "frontal"),
        ("antero-posterior", "frontal"),
        ("P.A.", "frontal"),
        ("LL", "lateral"),
        ("L", "lateral"),
        ("LARGE LATERAL", "lateral"),
        ("XTABLE LATERAL", "lateral"),
        ("LEFT LATERAL DECUBITUS", "other"),
        ("AP LLD", "other"),
        ("LAO", "other"),
        ("COSTAL", "other"),
        ("Axial", "other"),
        ("", "unknown"),
        ("PORTABLE", "unknown"),
        ("R", "unknown"),
        ("UNK", "unknown"),
    ],
)
def test_position_means_view(position, view):
    assert view_of_position(position) == view


@pytest.mark.parametrize(
    ("description", "view"),
    [
        ("W Chest Lat.", "lateral"),
        ("Chest PA", "frontal"),
        ("CHEST 2V FRONTAL/LATERAL", "unknown"),
        ("bilateral effusions", "unknown"),
        ("L", "unknown"),  # a side marker
        ("Chest Oblique Portable", "other"),
    ],
)
def test_description_names_view_unless_it_names_both(description, view):
    assert view_of_description(description) == view


@pytest.mark.parametrize(
    ("orientation", "view"),
    [
        ("L\\F", "frontal"),
        ("['L', 'F']", "frontal"),
        ("A\\F", "lateral"),
        ("P\\F", "lateral"),
        ("F\\A", "lateral"),  # the film lies on its side
        ("RH\\FL", "frontal"),
        ("L\\P", "unknown"),  # an axial slice
        ("F", "unknown"),
        ("", "unknown"),
    ],
)
def test_orientation_means_view(orientation, view):
    assert view_of_orientation(orientation) == view


@pytest.mark.parametrize(
    ("given", "code"),
    [("AP Supine", "AP"), ("pa", "PA"), ("AP LLD", "AP LLD"), ("ll", "LL"), ("", "")],
)
def test_position_is_written_as_pa_or_ap_where_it_is_one(given, code):
    assert position_code(given) == code


def test_study_description_that_names_both_views_is_recognised():
    assert names_both_views("Xray Chest PA and Lateral")
    assert not names_both_views("Xray Chest Lateral")


def test_more_trusted_source_wins_and_contradiction_is_counted():
    found = resolve_views(table=text("Lateral", ""), position=text("PA", "PA"))

    assert list(found.view) == ["lateral", "frontal"]
    assert list(found.rule) == ["table", "position"]
    assert found.contradictions == {"table says lateral, position frontal": 1}


def test_what_no_source_knows_is_unknown_and_counted():
    found = resolve_views(position=text("", "PA"), orientation=text("", ""))

    assert list(found.view) == ["unknown", "frontal"]
    assert list(found.rule) == ["", "position"]
    assert found.notes()[0].startswith("1 of 2 images have an unknown view")


REPEATS: Mapping[str, tuple[list[str], list[str], list[str]]] = {
    "two PA": (["PA", "PA"], ["", ""], ["unknown", "unknown"]),
    "PA and lateral": (["PA", "LL"], ["", ""], ["frontal", "lateral"]),
    "two PA and lateral": (["PA", "PA", "LL"], ["", "", ""], ["frontal", "frontal", "lateral"]),
    "two AP": (["AP", "AP"], ["", ""], ["frontal", "frontal"]),
    "one PA": (["PA"], [""], ["frontal"]),
    "orientation says": (["PA", "PA"], ["L\\F", "A\\F"], ["unknown", "lateral"]),
}


@pytest.mark.parametrize("case", REPEATS)
def test_pa_that_a_study_without_lateral_repeats_is_not_believed(case):
    positions, orientations, views = REPEATS[case]

    found = resolve_views(
        position=text(*positions),
        orientation=text(*orientations),
        study=text(*["s"] * len(positions)),
        doubt_repeats=True,
    )

    assert list(found.view) == views
    assert found.doubted == views.count("unknown")


def test_other_image_of_a_study_of_both_views_is_the_opposite():
    both, silent = "PA and lateral", "chest"
    found = resolve_views(
        position=text("PA", "", "LL", "", "PA", "", "", ""),
        study_description=text(both, both, both, both, silent, silent, both, both),
        study=text("a", "a", "b", "b", "c", "c", "d", "d"),
    )

    assert list(found.view) == [
        "frontal", "lateral", "lateral", "frontal", "frontal", "unknown", "unknown", "unknown",
    ]  # fmt: skip
    assert list(found.rule)[1] == "study"


def test_no_source_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="source of views"):
        resolve_views(study=text("a"))


OPENI = Path(os.environ.get("CXR_DATA", Path(__file__).parents[2] / "shared" / "data")) / "openi"


@pytest.mark.skipif(not OPENI.is_dir(), reason="no real data here")
def test_real_headers_resolve_as_documented():
    """The numbers of docs/data.md; the reference is the projections table, itself not perfect."""
    from cxrvision.data.datasets.openi import image_key

    options = {"dtype": str, "keep_default_na": False}
    headers = pd.read_csv(OPENI / "dicom_headers.csv.gz", **options)
    table = pd.read_csv(OPENI / "indiana_projections.csv", **options)
    images = headers.assign(key=image_key(headers["imageid"])).merge(
        table.assign(key=image_key(table["filename"])), on="key"
    )
    sources = {
        "position": images["View Position"],
        "orientation": images["Patient Orientation"],
    }
    truth = images["projection"].str.lower()

    believed = resolve_views(**sources)
    doubted = resolve_views(
        **sources,
        study=images["uid"],
        study_description=images["Code Meaning"],
        doubt_repeats=True,
    )

    counts = []
    for found in (believed, doubted):
        known = found.view.isin(["frontal", "lateral"])
        counts.append((len(images), int(known.sum()), int((found.view == truth)[known].sum())))
    assert counts == [(7465, 4880, 3498), (7465, 2428, 2372)]
    assert resolve_views(table=images["projection"], **sources).contradictions[
        "table says lateral, position frontal"
    ] == 1381  # fmt: skip
