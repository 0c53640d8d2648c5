import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cxrlabel.errors import InputError
from cxrlabel.findings import resolve
from cxrlabel.tables import read_labels
from cxrvision.data.manifest import read_manifest
from cxrvision.data.splits import find_leaks
from cxrvision.phantom import DRAWN, make_phantom, write_phantoms
from cxrvision.phantom.anatomy import build_chest, draw_person
from cxrvision.phantom.film import frontal_technique, lateral_technique
from cxrvision.phantom.plan import PlanOptions, plan_studies
from cxrvision.phantom.projection import aim, ellipsoid, meet, remainder


def make(seed=0, **options):
    return make_phantom(np.random.default_rng(seed), **{"size": 64, **options})


def change(finding, view, seed=0, **options):
    """What a finding does to a view, without the noise it shares with the normal one."""
    with_it = getattr(make(seed, findings=[finding], **options), view)
    return with_it - getattr(make(seed, **options), view)


def pa_beam(size=33, distance=180.0):
    return aim(
        size, 40, towards=(0, -1, 0), right=(1, 0, 0), middle=(0, 0, 0), behind=14,
        distance=distance,
    )  # fmt: skip


def length(span):
    return span[1] - span[0]


# projection


@given(st.floats(0.5, 9), st.floats(0.5, 9), st.floats(0.5, 9))
def test_central_ray_runs_through_the_whole_ellipsoid(x, y, z):
    beam = pa_beam()
    (span,) = beam.spans([ellipsoid((0, 0, 0), (x, y, z))])
    assert (length(span) * beam.lengths())[16, 16] == pytest.approx(2 * y)


def test_turned_ellipsoid_equals_the_named_axes():
    beam = pa_beam()
    spans = beam.spans(
        [ellipsoid((1, 2, 3), (5, 3, 2), along=(0, 0, 1)), ellipsoid((1, 2, 3), (3, 2, 5))]
    )
    np.testing.assert_allclose(length(spans[0]), length(spans[1]), atol=1e-12)


def test_cut_leaves_half_of_a_ball():
    beam = pa_beam()
    ball = ellipsoid((0, 0, 0), (4, 4, 4))
    whole, back = beam.spans([ball, ball.cut((0, -1, 0), 0)])
    assert length(back)[16, 16] == pytest.approx(length(whole)[16, 16] / 2)


def test_lengths_agree_with_sampling_the_ray():
    beam = lateral_technique(np.random.default_rng(1), 32).beam
    solid = ellipsoid((3, -2, 1), (6, 4, 3), along=(0.3, 0.5, -1)).cut((0.2, 1, 0.5), 0.5)
    (span,) = beam.spans([solid])
    t = np.linspace(0, 1, 20_001)
    for row, column in ((14, 12), (16, 14), (10, 15)):
        step = beam.axes @ (1, beam.places[column], beam.places[row])
        inside = solid.contains(beam.source + t[:, None] * step)
        assert length(span)[row, column] == pytest.approx(inside.mean(), abs=1e-4)


def test_shadow_box_holds_the_shadow():
    beam = lateral_technique(np.random.default_rng(2), 96).beam
    solid = ellipsoid((4, 3, -5), (5, 1, 2), along=(1, 1, 1))
    (box,) = beam.boxes([solid])
    everywhere = (slice(0, 96), slice(0, 96))
    shadow = length(beam.span_in(everywhere, solid)) > 0
    inside = np.zeros_like(shadow)
    inside[box] = True
    assert shadow.any() and not (shadow & ~inside).any()


def test_remainder_counts_overlapping_obstacles_once():
    def span(lo, hi):
        return np.full((1, 1), lo), np.full((1, 1), hi)

    obstacles = [span(4.0, 6.0), span(1.0, 2.0), span(5.0, 7.0), span(4.5, 5.0), span(9.0, 20.0)]
    left = remainder(span(0.0, 10.0), obstacles)
    assert length(left).sum() == pytest.approx(1 + 2 + 2)
    assert length(meet(left, span(1.5, 3.0))).sum() == pytest.approx(1.0)


def test_splat_keeps_the_mass():
    beam = pa_beam(size=64)
    image = beam.splat(np.array([[1.0, 0.0, 2.0], [-3.0, 0.0, 1.0]]), np.array([2.0, 1.0]))
    pixel = beam.pixel * (180 - 14) / 180  # at the points' depth
    assert image.sum() * pixel**2 == pytest.approx(3.0)


def test_near_source_magnifies_what_is_far_from_the_detector():
    def width(ap):
        beam = frontal_technique(np.random.default_rng(0), 256, ap=ap).beam
        heart, wall = beam.spans(
            [ellipsoid((0, -5, -4), (5, 5, 5)), ellipsoid((0, 9, -4), (9, 1, 5))]
        )
        shadows = [(length(span) > 0).any(0).sum() for span in (heart, wall)]
        return shadows[0] / shadows[1]

    assert width(ap=True) > 1.1 * width(ap=False)


# pictures


@pytest.mark.parametrize("ap", [False, True])
def test_equal_generators_give_equal_pictures(ap):
    first, second = (make(3, findings=["Edema", "Nodule"], ap=ap) for _ in range(2))
    assert np.array_equal(first.frontal, second.frontal)
    assert np.array_equal(first.lateral, second.lateral)
    assert not np.array_equal(first.frontal, make(4, findings=["Edema", "Nodule"], ap=ap).frontal)


@pytest.mark.parametrize("size", [32, 65])
def test_pictures_are_float32_from_0_to_1(size):
    phantom = make(findings=DRAWN, size=size)
    for image in (phantom.frontal, phantom.lateral):
        assert image.shape == (size, size) and image.dtype == np.float32
        assert image.min() >= 0 and image.max() <= 1 and image.std() > 0.1


@pytest.mark.parametrize("finding", DRAWN)
@pytest.mark.parametrize("ap", [False, True])
def test_every_finding_shows_in_some_view(finding, ap):
    changes = [np.abs(change(finding, view, 5, ap=ap)).max() for view in ("frontal", "lateral")]
    assert max(changes) > 0.04


def test_stronger_findings_show_more():
    faint, plain = (
        np.abs(change("Consolidation", "lateral", 2, strength=s)).sum() for s in (0.4, 1)
    )
    assert plain > 1.5 * faint


def test_findings_do_not_move_each_other():
    alone, both = make(6, findings=["Nodule"]), make(6, findings=["Nodule", "Support Devices"])
    assert alone.boxes["lateral"]["Nodule"] == both.boxes["lateral"]["Nodule"]


def test_heart_is_wide_only_with_cardiomegaly():
    ratios = [make(s).heart_ratio for s in range(4)]
    wide = [make(s, findings=["Cardiomegaly"]).heart_ratio for s in range(4)]
    assert max(ratios) < 0.5 < min(wide)


def test_heart_lies_to_the_left_and_to_the_front():
    frontal = change("Cardiomegaly", "frontal").sum(0)
    assert frontal[34:].sum() > 1.5 * frontal[:30].sum()  # the patient's left is at the right
    person = draw_person(np.random.default_rng(0))
    assert all(part.center[1] < 0 for part in build_chest(person, 0.0).heart)


def test_small_effusion_shows_behind_the_dome_in_the_lateral():
    frontal, lateral = (change("Pleural Effusion", view, 5) for view in ("frontal", "lateral"))
    assert lateral.max() > 2 * frontal.max() > 0
    rows, columns = np.nonzero(lateral > 0.5 * lateral.max())
    assert columns.mean() > 38  # the back is at the right
    assert rows.mean() > 40


def test_hidden_nodule_lies_over_the_heart_or_dome_and_behind_both():
    boxes = [make(s, findings=["Nodule"]).boxes for s in range(10)]
    middles = [(b["lateral"]["Nodule"][1] + b["lateral"]["Nodule"][3]) / 2 for b in boxes]
    assert np.mean(np.array(middles) > 32) > 0.6


def test_pneumothorax_is_darker_beside_the_lung():
    assert change("Pneumothorax", "frontal", 3).min() < -0.1


def test_same_person_has_the_same_heart_on_two_days():
    person = draw_person(np.random.default_rng(9))
    first, second = make(1, person=person), make(2, person=person)
    assert first.heart_ratio == second.heart_ratio
    assert not np.array_equal(first.frontal, second.frontal)


def test_no_finding_draws_nothing():
    assert np.array_equal(make(findings=["No Finding"]).frontal, make().frontal)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"findings": ["Hernia"]}, "cannot draw 'Hernia'"), ({"size": 8}, "size 8")],
)
def test_wrong_call_is_a_value_error(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


# sets


def plan(count=300, **options):
    findings = ("No Finding", "Cardiomegaly", "Lung Opacity", "Edema", "Support Devices")
    prevalence = dict.fromkeys(findings[1:], 0.2)
    return plan_studies(PlanOptions(findings, prevalence, **options), count)


def test_smaller_set_is_the_beginning_of_a_larger_one():
    assert plan(40) == plan(300)[:40]


def test_options_change_only_what_they_are_about():
    plain, noisy = plan(100), plan(100, wrong=0.3, missing_lateral=0.0)
    assert [s.drawn for s in plain] == [s.drawn for s in noisy]
    assert [s.truth for s in plain] == [s.truth for s in noisy]
    assert any(a.label != b.label for a, b in zip(plain, noisy, strict=True))
    assert all(s.views == ("frontal", "lateral") for s in noisy)


def test_shares_are_kept():
    studies = plan(700, missing_lateral=0.4, missing_frontal=0.1, ap_share=0.3)
    assert np.mean([s.ap for s in studies]) == pytest.approx(0.3, abs=0.05)
    assert np.mean(["frontal" in s.views for s in studies]) == pytest.approx(0.9, abs=0.03)
    assert np.mean(["lateral" in s.views for s in studies]) == pytest.approx(0.64, abs=0.05)
    assert np.mean(["Edema" in s.drawn for s in studies]) == pytest.approx(0.2, abs=0.05)


def test_truth_follows_the_tree():
    for study in plan():
        assert study.truth["Lung Opacity"] == float(
            bool({"Edema", "Lung Opacity"} & set(study.drawn))
        )
        assert study.truth["No Finding"] == float(not set(study.drawn) - {"Support Devices"})


def test_label_errors_come_in_the_shares_asked_for():
    studies = plan(500, uncertain=0.1, blank=0.3, wrong=0.05)
    label = pd.DataFrame([s.label for s in studies])["Edema"]
    truth = pd.DataFrame([s.truth for s in studies])["Edema"]
    assert (label == -1).mean() == pytest.approx(0.1, abs=0.04)
    assert label.isna().sum() / (truth == 0).sum() == pytest.approx(0.26, abs=0.05)
    assert ((label == 1) & (truth == 0)).sum() > 10


def test_confounded_sets_tell_the_sick_by_their_machine():
    studies = plan(700, confounded=True)
    sick = np.array([study.truth["No Finding"] == 0 for study in studies])
    ap = np.array([s.ap for s in studies])
    paired = np.array(["lateral" in s.views for s in studies])
    assert ap[sick].mean() > ap[~sick].mean() + 0.1
    assert paired[ap].mean() < 0.1
    assert ap.mean() == pytest.approx(0.3, abs=0.05)
    assert paired.mean() == pytest.approx(0.5, abs=0.06)


def test_written_set_is_a_manifest_with_labels(tmp_path):
    made = write_phantoms(tmp_path, studies=12, size=32, seed=2, uncertain=0.2)
    manifest = read_manifest(made.manifest)
    labels = read_labels(made.labels, resolve=resolve).table
    assert len(manifest.table) == made.images == len(list((tmp_path / "images").iterdir()))
    assert set(manifest.table["study_id"]) == set(labels.index) and len(labels) == 12
    assert not find_leaks(manifest.table)
    truth = read_labels(tmp_path / "truth.csv", resolve=resolve).table
    assert (labels.fillna(-2) != truth).to_numpy().any() and set(truth.to_numpy().ravel()) == {0, 1}
    with Image.open(manifest.files()[0]) as image:
        assert image.size == (32, 32) and image.mode == "L"


def test_workers_write_the_same_bytes(tmp_path):
    for workers in (1, 2):
        write_phantoms(tmp_path / str(workers), studies=5, size=32, workers=workers)
    files = sorted(p.relative_to(tmp_path / "1") for p in (tmp_path / "1").rglob("*.*"))
    assert files and all(
        (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()
        for name in files
    )


def test_tables_are_not_overwritten(tmp_path):
    write_phantoms(tmp_path, studies=1, size=32)
    with pytest.raises(InputError, match="--force"):
        write_phantoms(tmp_path, studies=1, size=32)
    write_phantoms(tmp_path, studies=2, size=32, force=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"studies": 0}, "studies: 0; expected 1"),
        ({"size": 16}, "size: 16; expected 32"),
        ({"missing_lateral": 1.5}, "missing lateral: 1.5; expected 0 to 1"),
        ({"findings": ["Fracture"]}, "'Fracture' cannot be drawn"),
        ({"findings": ["Edemma"]}, "unknown finding 'Edemma'"),
        ({"prevalence": {"Nodule": 0.2}}, "'Nodule' is not drawn"),
    ],
)
def test_wrong_option_is_an_input_error(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        write_phantoms(tmp_path / "set", **options)
    assert not (tmp_path / "set").exists()


def test_sheet_is_written(tmp_path):
    from typer import Typer
    from typer.testing import CliRunner

    from cxrvision.data.phantom_command import data_phantoms

    app = Typer()
    app.command()(data_phantoms)
    result = CliRunner().invoke(app, ["--sheet", str(tmp_path / "sheet.png"), "--size", "32"])
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size[0] == 8 * 32


def test_command_writes_a_set_and_says_so(tmp_path):
    from typer import Typer
    from typer.testing import CliRunner

    from cxrvision.data.phantom_command import data_phantoms

    app = Typer()
    app.command()(data_phantoms)
    options = ["-o", str(tmp_path / "set"), "--studies", "3", "--size", "32"]
    result = CliRunner().invoke(app, [*options, "--findings", "effusion,No Finding"])
    assert result.exit_code == 0, result.output
    assert "of 3 studies" in result.output.splitlines()[-1]
    header = (tmp_path / "set" / "labels.csv").read_text().splitlines()[0]
    assert header == "study_id,Pleural Effusion,No Finding"
    again = CliRunner().invoke(app, options)
    assert again.exit_code == 1 and "--force" in again.output
