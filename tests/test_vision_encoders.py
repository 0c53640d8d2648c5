import pytest
import timm
import torch

from cxrlabel.errors import InputError
from cxrvision.model.encoders import make_encoder


@pytest.mark.parametrize(
    ("name", "size", "features", "millions"),
    [  # parameters without the classifier
        ("densenet121", 32, 1024, 6.95),
        ("resnet50", 32, 2048, 23.50),
        ("vgg16", 32, 512, 14.71),  # without the layers of 4,096 units
        ("inception_resnet_v2", 75, 1536, 54.31),
        ("xception", 64, 2048, 20.81),
        ("mobilenetv3", 32, 1280, 4.20),
        ("convnext", 32, 768, 27.82),
        ("vit", 32, 384, 21.47),
        ("googlenet", 32, 1024, 5.59),  # torchvision's
        ("torchvision.resnet18", 32, 512, 11.17),
    ],
)
def test_encoder_learns_from_one_channel(name, size, features, millions):
    encoder = make_encoder(name)
    pooled = encoder(torch.rand(2, 1, size, size))
    pooled.square().sum().backward()
    assert pooled.shape == (2, encoder.features) == (2, features)
    assert sum(p.numel() for p in encoder.parameters()) / 1e6 == pytest.approx(millions, abs=0.01)
    assert all(p.grad is not None for p in encoder.parameters())


def test_encoder_normalises_pixels_itself():
    encoder = make_encoder("test_resnet").eval()
    images = torch.rand(2, 1, 32, 32)
    expected = encoder.net((images - encoder.mean) / encoder.std)
    assert torch.equal(encoder(images), expected)
    assert encoder.mean.shape == encoder.std.shape == (1, 1, 1)
    assert {"mean", "std"} <= set(encoder.state_dict())


def test_transformer_takes_images_of_any_size():
    encoder = make_encoder("test_vit").eval()
    assert encoder(torch.rand(1, 1, 50, 34)).shape == (1, encoder.features)


def test_network_for_one_size_is_built_for_that_of_the_images():
    encoder = make_encoder("swin_tiny_patch4_window7_224", size=56).eval()
    assert encoder(torch.rand(1, 1, 56, 56)).shape == (1, 768)


def test_three_channels_keep_their_own_normalisation():
    encoder = make_encoder("resnet10t", channels=3)
    assert encoder.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert encoder(torch.rand(2, 3, 32, 32)).shape == (2, 512)


def test_feature_map_is_what_is_pooled():
    encoder = make_encoder("test_resnet").eval()
    images = torch.rand(2, 1, 64, 64)
    found = encoder.feature_map(images)
    assert found.ndim == 4
    assert torch.allclose(found.mean(dim=(2, 3)), encoder(images), atol=1e-5)


def test_feature_map_of_torchvision_is_refused():
    with pytest.raises(ValueError, match="only the networks of timm"):
        make_encoder("torchvision.shufflenet_v2_x0_5").feature_map(torch.rand(1, 1, 32, 32))


def test_frozen_encoder_neither_learns_nor_moves_its_averages():
    encoder = make_encoder("test_resnet")
    encoder.freeze()
    encoder.train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    pooled = encoder(torch.rand(4, 1, 32, 32))
    assert not pooled.requires_grad
    assert not any(module.training for module in encoder.modules())
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())


def test_learning_encoder_moves_its_averages():
    encoder = make_encoder("test_resnet")
    before = encoder.state_dict()["net.bn1.running_mean"].clone()
    encoder.train()(torch.rand(4, 1, 32, 32))
    assert not torch.equal(before, encoder.state_dict()["net.bn1.running_mean"])


def test_unknown_network_names_the_nearest():
    with pytest.raises(InputError, match=r"'densnet121'.*did you mean 'densenet121'\?"):
        make_encoder("densnet121")


def test_network_without_a_linear_layer_is_refused():
    with pytest.raises(InputError, match="ends in no linear layer"):
        make_encoder("squeezenet1_0")


def test_first_weights_come_from_torchs_generator():
    torch.manual_seed(3)
    first = make_encoder("test_resnet").state_dict()
    torch.manual_seed(3)
    second = make_encoder("test_resnet").state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_aliases_are_networks_of_timm():
    from cxrvision.model.encoders import ALIASES

    assert all(timm.is_model(name) for name in ALIASES.values())
