import tomllib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cxrlabel.errors import InputError
from cxrvision.model.encoders import Encoder
from cxrvision.model.fusion import FUSIONS
from cxrvision.model.study_model import ModelConfig, StudyModel, two_class_logits

FINDINGS = ("Edema", "Pleural Effusion", "No Finding")
SIZE = 32


def make_model(seed=0, **options):
    torch.manual_seed(seed)
    options = {"findings": FINDINGS, "backbone": "test_resnet"} | options
    return StudyModel(ModelConfig(**options))


def make_images(views, study):
    generator = torch.Generator().manual_seed(5)
    images = torch.rand(len(views), 1, SIZE, SIZE, generator=generator)
    return images, torch.tensor(views, dtype=torch.long), torch.tensor(study, dtype=torch.long)


@pytest.fixture
def mixed():
    """Studies 0 with both views, 1 frontal only, 2 lateral only, 3 with two frontals, a lateral."""
    return make_images([0, 1, 0, 1, 0, 1, 0], [0, 0, 1, 2, 3, 3, 3])


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("share_encoder", [False, True])
def test_every_part_of_a_dual_model_learns(mixed, fusion, share_encoder):
    model = make_model(fusion=fusion, share_encoder=share_encoder)
    logits = model(*mixed, 4)
    assert logits.joint.shape == (4, 3)
    assert logits.has_view.tolist() == [[True, True], [True, False], [False, True], [True, True]]
    assert list(logits.by_view) == ["frontal", "lateral"]
    (logits.joint.sum() + sum(own.sum() for own in logits.by_view.values())).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("view", [0, 1])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_single_view_model_is_the_same_code(view, fusion):
    name = ("frontal", "lateral")[view]
    model = make_model(views=(name,), fusion=fusion)
    logits = model(*make_images([view, view, view], [0, 1, 1]), 2)
    assert logits.joint.shape == (2, 3)
    assert logits.by_view == {}
    assert logits.has_view.tolist() == [[True], [True]]
    assert list(model.encoders) == [name]


@pytest.mark.parametrize("share_encoder", [False, True])
@pytest.mark.parametrize("views", [[0, 0], [1, 1]])
def test_dual_model_serves_one_view_alone(share_encoder, views):
    model = make_model(share_encoder=share_encoder).eval()
    assert torch.isfinite(model(*make_images(views, [0, 1]), 2).joint).all()


@pytest.mark.parametrize("counts", [None, (0, 0)])
def test_batch_without_an_image_is_served(counts):
    model = make_model().eval()
    logits = model(*make_images([], []), 2, counts=counts)
    assert not logits.has_view.any()
    assert torch.isfinite(logits.joint).all()


def test_images_of_views_that_a_model_lacks_are_not_encoded(mixed):
    model = make_model(views=("lateral",)).eval()
    images, views, study = mixed
    seen = []
    model.encoders["lateral"].register_forward_hook(lambda m, args, out: seen.append(len(args[0])))
    logits = model(images, views, study, 4)
    assert seen == [3]
    assert logits.has_view.flatten().tolist() == [True, False, True, True]
    lateral = views == 1
    alone = model(images[lateral], views[lateral], study[lateral], 4)
    assert torch.allclose(alone.joint, logits.joint, atol=1e-5)


def test_only_the_images_given_are_encoded(mixed):
    model = make_model().eval()
    seen = {}
    for name, encoder in model.encoders.items():
        encoder.register_forward_hook(
            lambda m, args, out, name=name: seen.update({name: len(args[0])})
        )
    model(*mixed, 4)
    assert seen == {"frontal": 4, "lateral": 3}


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("share_encoder", [False, True])
def test_order_of_images_and_studies_does_not_matter(mixed, fusion, share_encoder):
    model = make_model(fusion=fusion, share_encoder=share_encoder).eval()
    images, views, study = mixed
    order, names = torch.tensor([6, 2, 0, 5, 3, 1, 4]), torch.tensor([2, 0, 3, 1])
    expected = model(images, views, study, 4)
    permuted = model(images[order], views[order], names[study[order]], 4)
    assert torch.allclose(permuted.joint[names], expected.joint, atol=1e-5)
    assert torch.equal(permuted.has_view[names], expected.has_view)
    for view, own in expected.by_view.items():
        assert torch.allclose(permuted.by_view[view][names], own, atol=1e-5)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_other_studies_of_a_batch_change_nothing(mixed, fusion):
    model = make_model(fusion=fusion).eval()
    images, views, study = mixed
    expected = model(images, views, study, 4).joint[1]
    alone = model(images[2:3], views[2:3], torch.tensor([0]), 1).joint[0]
    assert torch.allclose(alone, expected, atol=1e-5)


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("share_encoder", [False, True])
def test_kept_views_are_as_if_there_were_no_others(mixed, fusion, share_encoder):
    model = make_model(fusion=fusion, share_encoder=share_encoder).eval()
    images, views, study = mixed
    keep = torch.tensor([[True, False]]).expand(4, 2)
    hidden = model(images, views, study, 4, keep=keep)
    frontal = views == 0
    absent = model(images[frontal], views[frontal], study[frontal], 4)
    assert torch.allclose(hidden.joint, absent.joint, atol=1e-5)
    assert hidden.has_view[:, 1].any()  # what is there is still told


@pytest.mark.parametrize("share_encoder", [False, True])
def test_counts_of_sorted_images_change_nothing(mixed, share_encoder):
    model = make_model(share_encoder=share_encoder).eval()
    images, views, study = mixed
    order = torch.argsort(views, stable=True)
    given_counts = model(images[order], views[order], study[order], 4, counts=(4, 3))
    assert torch.allclose(given_counts.joint, model(images, views, study, 4).joint, atol=1e-5)


@pytest.mark.parametrize(("fusion", "share_encoder"), [("gated", False), ("attention", True)])
def test_model_is_one_graph(mixed, monkeypatch, fusion, share_encoder):
    def small(*args, **kwargs):  # a network of timm takes ten seconds to trace
        net = nn.Sequential(nn.Conv2d(1, 8, 3, stride=4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return Encoder("small", net, 8, mean=torch.zeros(1), std=torch.ones(1))

    monkeypatch.setattr("cxrvision.model.study_model.make_encoder", small)
    model = make_model(
        fusion=fusion, share_encoder=share_encoder, features=("age",), view_dropout=0.5
    )
    images, views, study = mixed
    order = torch.argsort(views, stable=True)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    ages = torch.tensor([[0.5], [0.6], [float("nan")], [0.1]])
    logits = compiled(images[order], views[order], study[order], 4, ages, counts=(4, 3))
    assert logits.joint.shape == (4, 3)


def test_absent_vector_has_no_gradient_where_all_views_are_there():
    model = make_model(backbone="test_convnext")  # without batch norm, which needs two images
    model(*make_images([0, 1, 0, 1], [0, 0, 1, 1]), 2).joint.sum().backward()
    assert model.fusion.absent.grad.eq(0).all()
    model.zero_grad()
    model(*make_images([0, 0, 1], [0, 1, 1]), 2).joint.sum().backward()
    assert model.fusion.absent.grad.ne(0).any(dim=1).tolist() == [False, True]


def test_dropped_view_does_not_teach_its_encoder():
    model = make_model(view_dropout=0.999, view_heads=False, backbone="test_convnext")
    images, views, study = make_images([0, 1], [0, 0])
    torch.manual_seed(0)
    model(images, views, study, 1).joint.sum().backward()
    learned = [
        any(p.grad is not None and p.grad.ne(0).any() for p in model.encoders[view].parameters())
        for view in ("frontal", "lateral")
    ]
    assert sorted(learned) == [False, True]


def test_view_dropout_is_for_training_only(mixed):
    model = make_model(view_dropout=0.9).eval()
    assert torch.equal(model(*mixed, 4).joint, model(*mixed, 4).joint)


def test_frozen_encoders_leave_the_heads_to_learn(mixed):
    model = make_model(freeze=True).train()
    before = {k: v.clone() for k, v in model.encoders.state_dict().items()}
    model(*mixed, 4).joint.sum().backward()
    assert not any(p.requires_grad for p in model.encoders.parameters())
    assert all(torch.equal(before[k], v) for k, v in model.encoders.state_dict().items())
    assert model.head.weight.grad is not None


def test_shared_encoder_tells_the_views_apart():
    model = make_model(share_encoder=True, fusion="max").eval()
    images, views, study = make_images([0, 1], [0, 1])
    images[1] = images[0]
    logits = model(images, views, study, 2).joint
    assert not torch.allclose(logits[0], logits[1], atol=1e-3)
    assert len(model.encoders) == 1


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 2 * 372_400 + (192 * 12 + 12) + (12 * 192 + 192) + 192 + (192 + 1) * 3 + 2 * 97 * 3),
        ({"views": ("frontal",)}, 372_400 + (96 * 8 + 8) + (8 * 96 + 96) + 96 + 97 * 3),
        ({"fusion": "max", "view_heads": False}, 2 * 372_400 + 97 * 3),
        ({"fusion": "moments", "view_heads": False}, 2 * 372_400 + 193 * 3),
        ({"fusion": "max", "share_encoder": True}, 372_400 + 4 * 96 + 3 * 97 * 3),
    ],
)
def test_number_of_parameters(options, expected):
    assert sum(p.numel() for p in make_model(**options).parameters()) == expected


def test_features_of_the_patient_move_the_joint_head_only(mixed):
    model = make_model(features=("age", "sex")).eval()
    torch.nn.init.normal_(model.metadata.missing)
    young = torch.tensor([[0.2, 0.0]]).expand(4, 2)
    old = torch.tensor([[0.9, 0.0]]).expand(4, 2)
    unknown = torch.tensor([[float("nan"), 0.0]]).expand(4, 2)
    found = [model(*mixed, 4, values) for values in (young, old, unknown)]
    joints = [logits.joint for logits in found]
    assert torch.isfinite(joints[2]).all()
    assert not torch.allclose(joints[0], joints[1]) and not torch.allclose(joints[0], joints[2])
    assert torch.equal(found[0].by_view["frontal"], found[1].by_view["frontal"])


def test_value_for_missing_features_learns_only_where_one_is_missing(mixed):
    model = make_model(features=("age", "sex"))
    values = torch.tensor([[0.2, 1.0], [0.3, 0.0], [float("nan"), 1.0], [0.5, 0.0]])
    model(*mixed, 4, values).joint.sum().backward()
    grad = model.metadata.missing.grad
    assert torch.isfinite(grad).all()
    assert grad.ne(0).tolist() == [True, False]


def test_missing_features_argument_is_an_error(mixed):
    with pytest.raises(ValueError, match=r"features: None; expected \[4, 1\]"):
        make_model(features=("age",))(*mixed, 4)


def test_model_without_features_takes_an_empty_table(mixed):
    assert make_model()(*mixed, 4, torch.empty(4, 0)).joint.shape == (4, 3)


def test_binary_model_has_one_logit(mixed):
    assert make_model(findings=("No Finding",))(*mixed, 4).joint.shape == (4, 1)


def test_three_classes_train_as_such_and_predict_as_two(mixed):
    model = make_model(head="multiclass")
    logits = model(*mixed, 4)
    assert logits.joint.shape == logits.by_view["frontal"].shape == (4, 3, 3)
    model.eval()
    assert model(*mixed, 4).joint.shape == (4, 3)


@given(st.lists(st.floats(-20, 20), min_size=3, max_size=3))
@settings(max_examples=25)
def test_two_class_logits_score_p1_over_p0_and_p1(values):
    classes = torch.tensor([[values]], dtype=torch.float64)
    p0, p1, _ = classes.softmax(-1)[0, 0]
    found = torch.sigmoid(two_class_logits(classes))[0, 0]
    assert found.item() == pytest.approx((p1 / (p0 + p1)).item(), rel=1e-6)


def test_bfloat16_gives_finite_logits_near_those_of_float32(mixed):
    model = make_model().eval()
    expected = model(*mixed, 4).joint
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model(*mixed, 4).joint
    assert torch.allclose(found.float(), expected, atol=0.05)


def test_config_survives_toml():
    text = 'findings = ["Edema"]\nviews = ["lateral"]\nfeatures = ["age"]\ndropout = 0.5\n'
    config = ModelConfig(**tomllib.loads(text))
    assert config == ModelConfig(
        findings=("Edema",), views=("lateral",), features=("age",), dropout=0.5
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fusion": "sum"}, "--fusion: 'sum'; expected of gated, moments, max, attention"),
        ({"views": ("oblique",)}, "--views: 'oblique'; expected of frontal, lateral"),
        ({"views": ()}, "--views: ''"),
        ({"views": ("frontal", "frontal")}, "--views: 'frontal,frontal'"),
        ({"features": ("weight",)}, "--features: 'weight'"),
        ({"findings": ()}, "--findings: none"),
        ({"dropout": 1.0}, "--dropout: 1.0"),
        ({"view_dropout": -0.1}, "--view-dropout: -0.1"),
        ({"head": "softmax"}, "head: 'softmax'"),
    ],
)
def test_wrong_config_is_one_line(options, message):
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        ModelConfig(**({"findings": ("Edema",)} | options))
