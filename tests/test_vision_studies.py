"""Studies from manifest and labels: order, features, what is left out, wrong names."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxrlabel.errors import InputError
from cxrvision.data.manifest import Manifest, read_manifest, write_manifest
from cxrvision.train.studies import make_studies

FRONTAL, LATERAL = 0, 1

IMAGES = pd.DataFrame(
    [
        # study, patient, image, view, position, split, age, sex
        ("s2", "p2", "s2f", "frontal", "AP", "val", 70.0, "M"),
        ("s1", "p1", "s1l", "lateral", "LATERAL", "train", 30.0, "F"),
        ("s1", "p1", "s1f", "frontal", "PA", "train", 30.0, "F"),
        ("s3", "p3", "s3l", "lateral", "LL", "train", np.nan, ""),
        ("s4", "p4", "s4x", "other", "", "train", 50.0, "F"),
        ("s1", "p1", "s1g", "frontal", "AP", "train", 30.0, "F"),
    ],
    columns=["study_id", "patient_id", "image_id", "view", "view_position", "split", "age", "sex"],
)
LABELS = pd.DataFrame(
    {"Edema": [1.0, 0.0, -1.0, np.nan], "Nodule": [0.0, np.nan, 1.0, 1.0]},
    index=["s1", "s2", "s3", "s9"],
)


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    table = IMAGES.assign(path=IMAGES["image_id"] + ".png")
    write_manifest(tmp_path / "studies.csv", table, root=tmp_path)
    return read_manifest(tmp_path / "studies.csv")


def test_images_lie_beside_each_other_by_study(manifest: Manifest) -> None:
    studies = make_studies(manifest, LABELS)

    assert studies.ids.tolist() == ["s1", "s2", "s3"]
    assert studies.offsets.tolist() == [0, 3, 4, 5]
    assert studies.images.tolist() == ["s1f", "s1g", "s1l", "s2f", "s3l"]
    assert studies.views.tolist() == [FRONTAL, FRONTAL, LATERAL, FRONTAL, LATERAL]
    assert studies.counts.tolist() == [[2, 1], [1, 0], [0, 1]]
    assert studies.patients.tolist() == ["p1", "p2", "p3"]
    assert studies.paths[0] == str(manifest.root / "s1f.png")


def test_labels_go_by_study_and_by_the_order_of_findings(manifest: Manifest) -> None:
    studies = make_studies(manifest, LABELS, findings=("Nodule", "Edema"))

    np.testing.assert_array_equal(studies.states, [[0, 1], [np.nan, 0], [1, -1]])


def test_features_are_scaled_and_unknown_ones_are_nan(manifest: Manifest) -> None:
    studies = make_studies(manifest, LABELS, features=("view_position", "age", "sex"))

    np.testing.assert_allclose(
        studies.features, [[0, 0.3, 0], [1, 0.7, 1], [np.nan, np.nan, np.nan]]
    )
    assert studies.positions.tolist() == ["PA", "AP", ""]


def test_studies_of_silent_reports_are_left_out_and_counted_by_status(manifest: Manifest) -> None:
    silent = {"s1": "too long", "s2": "empty", "s9": "empty"}

    studies = make_studies(manifest, LABELS, silent=silent)

    assert studies.ids.tolist() == ["s3"]
    assert studies.left_out == (
        "1 studies without a frontal or lateral",
        "1 images of another or an unknown view",
        "1 studies whose report is 'empty'",
        "1 studies whose report is 'too long'",
        "1 labels without a study",
    )


def test_what_is_left_out_is_counted(manifest: Manifest) -> None:
    usable = (manifest.table["image_id"] != "s3l").to_numpy()

    studies = make_studies(manifest, LABELS.drop("s2"), usable=usable)

    assert studies.ids.tolist() == ["s1"]
    assert studies.left_out == (
        "1 studies without a frontal or lateral",
        "1 images of another or an unknown view",
        "1 images that cannot be read",
        "1 studies whose images cannot be read",
        "1 studies without a label",
        "1 labels without a study",
    )


def test_nothing_left_out_is_no_line(manifest: Manifest) -> None:
    kept = manifest.table["study_id"] != "s4"
    whole = Manifest(manifest.table[kept], manifest.root, manifest.place)

    assert make_studies(whole, LABELS.drop("s9")).left_out == ()


def test_one_view_leaves_the_images_of_the_other(manifest: Manifest) -> None:
    studies = make_studies(manifest, LABELS, views=("lateral",))

    assert studies.images.tolist() == ["s1l", "s3l"]
    assert studies.positions.tolist() == ["", ""]
    assert "1 studies without a label" not in studies.left_out


def test_without_labels_all_states_are_blank(manifest: Manifest) -> None:
    studies = make_studies(manifest, findings=("Edema",))

    assert np.isnan(studies.states).all()
    assert studies.states.shape == (3, 1)


def test_a_part_has_its_own_images(manifest: Manifest) -> None:
    studies = make_studies(manifest, LABELS, features=("age",))

    part = studies.take(np.array([2, 0]))

    assert part.ids.tolist() == ["s3", "s1"]
    assert part.images.tolist() == ["s3l", "s1f", "s1g", "s1l"]
    assert part.offsets.tolist() == [0, 1, 4]
    assert studies.of_split("val").ids.tolist() == ["s2"]
    assert len(studies.of_split("test")) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"findings": ("Edema", "Mass")},
            "labels: no column 'Mass'; expected one of Edema, Nodule",
        ),
        ({"features": ("weight",)}, "--features: 'weight'; expected some of age, sex"),
        ({"usable": np.zeros(6, dtype=bool)}, "no study with a usable image of frontal or lateral"),
    ],
)
def test_wrong_names_are_said(
    manifest: Manifest, options: dict[str, tuple[str, ...]], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        make_studies(manifest, LABELS, **options)  # type: ignore[arg-type]
