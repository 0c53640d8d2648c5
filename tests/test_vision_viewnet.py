import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from vision_cli import run_cxr

from cxrlabel.errors import InputError
from cxrvision.data.cache import build_cache, open_cache
from cxrvision.data.manifest import Manifest, read_manifest
from cxrvision.data.smallimages import read_small
from cxrvision.data.viewnet import (
    ViewModel,
    check_views,
    fill_unknown,
    fit_views,
    load_model,
    orientation_features,
    save_model,
)


def draw(rng: np.random.Generator, view: str) -> np.ndarray:
    """[32, 32] two dark fields beside a bright middle, or one field that is aslant."""
    down, right = np.mgrid[-1:1:32j, -1:1:32j]
    right = right + rng.normal(0, 0.05)
    down = down + rng.normal(0, 0.05)
    body = np.exp(-2 * right**2)
    if view == "frontal":
        fields = [(0.45, 0.0, 0.25, 0.5), (-0.45, 0.0, 0.25, 0.5)]
    else:
        body = np.exp(-6 * (right - 0.4 * down) ** 2)
        fields = [(0.1, -0.1, 0.3, 0.5)]
    for x, y, wide, high in fields:
        body = body - 0.6 * np.exp(-(((right - x) / wide) ** 2) - ((down - y) / high) ** 2)
    image = 0.5 + 0.5 * body + rng.normal(0, 0.05, (32, 32))
    return np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)


def drawn(count: int, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    views = ["frontal", "lateral", "frontal"] * (count // 3)
    return np.stack([draw(rng, view) for view in views]), views


@pytest.fixture(scope="module")
def model():
    return fit_views(*drawn(60))


def test_views_of_new_images_are_told_apart(model) -> None:
    squares, views = drawn(60, seed=1)
    probs = model.predict(orientation_features(squares))

    np.testing.assert_allclose(probs.sum(axis=1), 1)
    assert [model.views[i] for i in probs.argmax(axis=1)] == views


@pytest.mark.parametrize("change", [lambda s: 255 - s, lambda s: s[:, :, ::-1]])
def test_inverted_and_mirrored_images_are_told_apart(model, change) -> None:
    squares, views = drawn(30, seed=2)
    probs = model.predict(orientation_features(change(squares)))

    assert [model.views[i] for i in probs.argmax(axis=1)] == views


def test_features_do_not_see_inversion_and_contrast() -> None:
    squares, _ = drawn(3)
    features = orientation_features(squares)

    np.testing.assert_allclose(orientation_features(255 - squares), features, atol=1e-6)
    np.testing.assert_allclose(orientation_features(squares // 2), features, atol=0.1)


def test_features_of_a_flat_image_are_zero() -> None:
    assert not orientation_features(np.full((1, 32, 32), 9, np.uint8)).any()


def test_edge_is_counted_at_its_angle() -> None:
    step = np.zeros((1, 32, 32), np.uint8)
    step[:, :, 16:] = 200
    by_angle = orientation_features(step).reshape(8, 8, 6)

    # the gradient of an upright edge points right: angle 0
    assert by_angle[:, 3:5, 0].min() > 0
    assert by_angle[..., 1:].max() == 0


def test_cross_validation_holds_patients_out() -> None:
    squares, views = drawn(60)
    check = check_views(squares, views, [f"p{i // 2}" for i in range(60)], threshold=0.9)

    assert check.images == 60
    assert check.accuracy == 1
    assert check.confusion["lateral"] == {"frontal": 0, "lateral": 20}


def test_cross_validation_is_at_chance_without_a_signal() -> None:
    squares, views = drawn(120)
    shuffled = np.random.default_rng(0).permutation(views).tolist()
    check = check_views(squares, shuffled, [f"p{i}" for i in range(120)], threshold=0.9)

    assert 0.35 < check.accuracy < 0.75


def test_contradicted_views_are_named() -> None:
    squares, views = drawn(90)
    views[4] = "frontal"  # a lateral that its header calls a frontal
    check = check_views(squares, views, [f"p{i}" for i in range(90)], threshold=0.9)

    assert check.doubted == (4,)


def test_only_unknown_views_that_are_sure_are_filled(model) -> None:
    probs = np.array([[0.99, 0.01], [0.6, 0.4], [0.02, 0.98]])
    views = ["unknown", "unknown", "frontal", "lateral"]
    filled, sources, probability = fill_unknown(views, probs, np.array([0, 1, 2]), model, 0.95)

    assert filled == ["frontal", "unknown", "frontal", "lateral"]
    assert sources == ["pixels", "", "", ""]
    np.testing.assert_array_equal(probability, [0.99, 0.6, 0.98, np.nan])


def test_other_views_are_learned_too() -> None:
    squares, views = drawn(60)
    noise = np.random.default_rng(0).integers(0, 256, (20, 32, 32), dtype=np.uint8)
    model = fit_views(np.concatenate([squares, noise[:15]]), views + ["other"] * 15)
    probs = model.predict(orientation_features(noise[15:]))

    assert model.views == ("frontal", "lateral", "other")
    assert (probs.argmax(axis=1) == 2).all()


@pytest.mark.parametrize("views", [["frontal"] * 20, ["frontal"] * 15 + ["lateral"] * 5, []])
def test_too_few_known_views_are_refused(views: list[str]) -> None:
    with pytest.raises(InputError, match="expected at least 10 of each of two views"):
        fit_views(np.zeros((len(views), 32, 32), np.uint8), views)


def test_saved_model_predicts_the_same(model, tmp_path: Path) -> None:
    save_model(model, tmp_path / "views.npz")
    features = orientation_features(drawn(6)[0])
    loaded = load_model(tmp_path / "views.npz")

    assert loaded.views == model.views
    np.testing.assert_array_equal(loaded.predict(features), model.predict(features))


def test_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_text("hello")
    np.savez(tmp_path / "b.npz", views=np.array(["a"]), mean=[1.0], scale=[1.0], weights=[[1.0]])
    np.savez(tmp_path / "c.npz", views=np.array([{}], dtype=object))

    for name, message in (("a", "not a view model"), ("b", "another version"), ("c", "not a view")):
        with pytest.raises(InputError, match=message):
            load_model(tmp_path / f"{name}.npz")


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    squares, views = drawn(45)
    rows = []
    for number, (square, view) in enumerate(zip(squares, views, strict=True)):
        Image.fromarray(square).save(tmp_path / f"{number:02}.png")
        rows.append((f"s{number}", f"p{number}", f"{number:02}.png", view))
    rows[3:6] = [(*row[:3], "unknown") for row in rows[3:6]]
    rows.append(("s99", "p99", "gone.png", "unknown"))
    names = ["study_id", "patient_id", "path", "view"]
    pd.DataFrame(rows, columns=names).to_csv(tmp_path / "studies.csv", index=False)
    return tmp_path / "studies.csv"


def test_command_fills_unknown_views_and_says_where_from(studies: Path) -> None:
    out = studies.parent / "studies2.csv"
    result = run_cxr("data", "views", studies, "-o", out, "--threshold", "0.8")
    written = pd.read_csv(out, keep_default_na=False).set_index("image_id")

    assert result.exit_code == 0, result.output
    assert "cross-validated: 100.0% right, n = 42" in " ".join(result.stdout.split())
    assert (
        "filled 3 of 4 unknown views (2 frontal, 1 lateral; 1 images not readable)" in result.stderr
    )
    assert written.loc[["03.png", "04.png"], "view"].tolist() == ["frontal", "lateral"]
    assert written["view_source"].value_counts().to_dict() == {"": 43, "pixels": 3}
    assert written.loc["gone.png", "view"] == "unknown"
    assert (
        read_manifest(out).table["path"].tolist() == read_manifest(studies).table["path"].tolist()
    )


def test_command_uses_a_saved_model(studies: Path, tmp_path: Path) -> None:
    model = tmp_path / "views.npz"
    common = ("--threshold", "0.8")
    run_cxr("data", "views", studies, "-o", tmp_path / "a.csv", "--save", model, *common)
    result = run_cxr(
        "data", "views", studies, "-o", tmp_path / "b.csv", "--model", model, *common, "--json"
    )

    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["check"] is None
    assert json.loads(result.stdout)["filled"] == {"frontal": 2, "lateral": 1}
    assert (tmp_path / "a.csv").read_text().count(",pixels,") == 3


def test_manifest_without_unknown_views_stays_as_it_is(
    studies: Path, tmp_path: Path, model: ViewModel
) -> None:
    save_model(model, tmp_path / "views.npz")
    table = pd.read_csv(studies)
    table[table["view"] != "unknown"].to_csv(studies, index=False)
    result = run_cxr(
        "data", "views", studies, "-o", tmp_path / "b.csv", "--model", tmp_path / "views.npz"
    )

    assert result.exit_code == 0, result.output
    assert "filled 0 of 0 unknown views (none; 0 images not readable)" in result.stderr


def test_cache_gives_the_same_small_images(studies: Path, tmp_path: Path) -> None:
    manifest = read_manifest(studies)
    build_cache(manifest, tmp_path / "cache", size=32)
    rows = np.arange(len(manifest.table))
    from_files = read_small(manifest, rows)
    from_cache = read_small(manifest, rows, cache=open_cache(tmp_path / "cache"))

    np.testing.assert_array_equal(from_files[0], from_cache[0])
    np.testing.assert_array_equal(from_files[1], from_cache[1])
    assert from_files[1].sum() == 45


def test_cache_of_another_fit_is_refused(studies: Path, tmp_path: Path) -> None:
    manifest = read_manifest(studies)
    build_cache(manifest, tmp_path / "cache", size=32, fit="crop")

    with pytest.raises(InputError, match="made with fit 'crop'"):
        read_small(manifest, np.arange(1), cache=open_cache(tmp_path / "cache"))


def test_manifest_in_another_folder_finds_the_images(studies: Path, tmp_path: Path) -> None:
    folder = tmp_path / "deeper"
    folder.mkdir()
    run_cxr("data", "views", studies, "-o", folder / "new.csv")
    manifest: Manifest = read_manifest(folder / "new.csv")

    assert sum(path.is_file() for path in manifest.files()) == 45
