import re

import pytest
import safetensors.torch
import timm
import torch
import torchvision

from cxrlabel.errors import InputError
from cxrvision.model.encoders import make_encoder
from cxrvision.model.weights import load_weights, read_state

NET = "test_resnet"
STEM = "conv1.0.weight"


@pytest.fixture
def rgb_state():
    """Weights of the whole network with its classifier, as timm publishes them."""
    torch.manual_seed(0)
    return timm.create_model(NET).state_dict()


def _same(encoder, state, *, but=()):
    own = encoder.net.state_dict()
    return all(torch.equal(own[name], state[name]) for name in own if name not in but)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_files_of_both_kinds_are_read(tmp_path, rgb_state, suffix):
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pt":
        torch.save(rgb_state, path)
    else:
        safetensors.torch.save_file(rgb_state, path)
    encoder = make_encoder(NET, weights=str(path))
    assert _same(encoder, rgb_state, but=[STEM])


def test_first_layer_sums_the_kernel_over_rgb(tmp_path, rgb_state):
    torch.save(rgb_state, tmp_path / "weights.pt")
    encoder = make_encoder(NET, weights=str(tmp_path / "weights.pt")).eval()
    rgb = timm.create_model(NET, num_classes=0).eval()
    rgb.load_state_dict({k: v for k, v in rgb_state.items() if not k.startswith("fc.")})
    grey = torch.rand(2, 1, 48, 48)
    normed = ((grey - encoder.mean) / encoder.std).repeat(1, 3, 1, 1)
    assert torch.allclose(encoder(grey), rgb(normed), atol=1e-5)


def test_one_channel_weights_serve_three_channels(tmp_path):
    grey = make_encoder(NET)
    torch.save(grey.net.state_dict(), tmp_path / "grey.pt")
    rgb = make_encoder(NET, weights=str(tmp_path / "grey.pt"), channels=3)
    kernel = rgb.net.state_dict()[STEM]
    assert torch.allclose(kernel.sum(1, keepdim=True), grey.net.state_dict()[STEM], atol=1e-6)


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "module.encoder."])
def test_wrappers_and_prefixes_do_not_matter(tmp_path, rgb_state, wrapper, prefix):
    content = {wrapper: {prefix + name: value for name, value in rgb_state.items()}, "epoch": 3}
    torch.save(content, tmp_path / "weights.pt")
    assert _same(make_encoder(NET, weights=str(tmp_path / "weights.pt")), rgb_state, but=[STEM])


def _xrv_layout(net):
    """A state_dict as torchxrayvision.models.DenseNet has it, made of torchvision's.

    Both are the network of torchvision 0.2; torchxrayvision has one channel, 18 findings and a
    buffer of operating points (torchxrayvision/models.py).
    """
    state = net.state_dict()
    state["features.conv0.weight"] = state["features.conv0.weight"].sum(1, keepdim=True)
    state["classifier.weight"] = torch.zeros(18, state["classifier.weight"].shape[1])
    state["classifier.bias"] = torch.zeros(18)
    state["op_threshs"] = torch.full((18,), 0.5)
    return state


def test_torchxrayvision_densenet_maps_onto_ours(tmp_path):
    net = torchvision.models.densenet121().eval()
    state = _xrv_layout(net)
    torch.save(state, tmp_path / "xrv.pt")
    encoder = make_encoder("densenet121", weights=str(tmp_path / "xrv.pt")).eval()
    images = torch.rand(2, 1, 32, 32)
    theirs = (2 * images - 1) * 1024  # torchxrayvision.datasets.normalize
    with torch.no_grad():
        features = torch.relu(net.features(theirs.repeat(1, 3, 1, 1))).mean(dim=(2, 3))
        found = encoder(images)
    assert torch.allclose(found, features, rtol=1e-3, atol=1e-3 * float(features.abs().max()))


@pytest.mark.parametrize("drop", ["op_threshs", "classifier.weight"])
def test_torchxrayvision_is_known_by_either_sign(tmp_path, drop):
    state = _xrv_layout(torchvision.models.densenet121())
    del state[drop]
    torch.save(state, tmp_path / "xrv.pt")
    encoder = make_encoder("densenet121", weights=str(tmp_path / "xrv.pt"))
    assert (encoder.mean.item(), encoder.std.item()) == (0.5, 1 / 2048)


def test_old_names_of_densenet_are_translated(tmp_path):
    state = timm.create_model("densenet121", num_classes=14).state_dict()
    pattern = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))(\d)")
    old = {
        "module.densenet121." + pattern.sub(r"\1.\2", name): value
        for name, value in state.items()
        if not name.endswith("num_batches_tracked")
    }
    assert "module.densenet121.features.denseblock1.denselayer1.norm.1.weight" in old
    torch.save({"state_dict": old}, tmp_path / "chexnet.pth.tar")
    encoder = make_encoder("densenet121", weights=str(tmp_path / "chexnet.pth.tar"))
    assert _same(encoder, state, but=["features.conv0.weight"])
    assert encoder.std.item() != 1 / 2048  # 3 channels: not torchxrayvision's


@pytest.mark.parametrize("view", ["frontal", "lateral"])
def test_run_of_ours_gives_each_view_its_own_encoder(tmp_path, view):
    from cxrvision.model.study_model import ModelConfig, StudyModel

    model = StudyModel(ModelConfig(findings=("Edema",), backbone=NET))
    model.encoders[view].mean.fill_(0.125)
    safetensors.torch.save_file(model.state_dict(), tmp_path / "best.safetensors")
    encoder = make_encoder(NET, weights=str(tmp_path / "best.safetensors"), view=view)
    assert _same(encoder, model.encoders[view].net.state_dict())
    assert encoder.mean.item() == 0.125


def test_pickled_model_is_refused(tmp_path):
    torch.save(timm.create_model(NET), tmp_path / "model.pt")
    with pytest.raises(InputError, match=r"model.pt: not a file of tensors alone.*can run code"):
        read_state(tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("w.safetensors", b"nonsense", "not a file of tensors alone"),
        ("w.pt", b"nonsense", "not a file of tensors alone"),
        ("w.pt", b"", "not a file of tensors alone"),
    ],
)
def test_broken_file_is_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_state(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nothing.pt: no such file"):
        read_state(tmp_path / "nothing.pt")


def test_file_without_tensors_is_refused(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "w.pt")
    with pytest.raises(InputError, match="no tensors by name"):
        read_state(tmp_path / "w.pt")


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save(timm.create_model("test_convnext").state_dict(), tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"no tensor 'conv1.0.weight'; expected .* test_resnet"):
        make_encoder(NET, weights=str(tmp_path / "w.pt"))


def test_weights_of_another_width_are_refused(tmp_path, rgb_state):
    name = next(reversed([k for k in rgb_state if k.startswith("layer4") and "conv" in k]))
    rgb_state[name] = rgb_state[name][:-1]
    torch.save(rgb_state, tmp_path / "w.pt")
    with pytest.raises(InputError, match=rf"{name}.* has shape"):
        make_encoder(NET, weights=str(tmp_path / "w.pt"))


def test_refused_weights_leave_the_encoder_alone(tmp_path, rgb_state):
    encoder = make_encoder(NET)
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    del rgb_state["layer4.0.conv1.weight"]
    torch.save(rgb_state, tmp_path / "w.pt")
    with pytest.raises(InputError):
        load_weights(encoder, tmp_path / "w.pt")
    assert all(torch.equal(before[k], v) for k, v in encoder.state_dict().items())


@pytest.fixture
def empty_caches(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    def no_network(*args, **kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.socket.connect", no_network)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("densenet121", "hf download timm/densenet121"),
        ("xception", "curl -L --create-dirs -o .*xception.*pth https://"),
        ("torchvision.densenet121", "curl -L --create-dirs -o .*densenet121.*pth https://"),
    ],
)
def test_imagenet_is_not_downloaded_unasked(empty_caches, name, command):
    with pytest.raises(InputError, match=command) as caught:
        make_encoder(name, weights="imagenet")
    assert "\n" not in str(caught.value)


def test_imagenet_is_taken_from_the_hub_cache(empty_caches, rgb_state):
    repository = empty_caches / "hub" / "models--timm--test_resnet.r160_in1k"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    safetensors.torch.save_file(rgb_state, snapshot / "model.safetensors")
    encoder = make_encoder(NET, weights="imagenet")
    assert _same(encoder, rgb_state, but=[STEM])
    assert torch.allclose(encoder.net.state_dict()[STEM], rgb_state[STEM].sum(1, keepdim=True))


def test_imagenet_of_torchvision_is_taken_from_the_torch_cache(empty_caches):
    url = torchvision.models.ShuffleNet_V2_X0_5_Weights.DEFAULT.url
    folder = empty_caches / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    state = torchvision.models.shufflenet_v2_x0_5().state_dict()
    torch.save(state, folder / url.rsplit("/", 1)[-1])
    encoder = make_encoder("shufflenet_v2_x0_5", weights="imagenet")
    assert _same(encoder, state, but=["conv1.0.weight"])
