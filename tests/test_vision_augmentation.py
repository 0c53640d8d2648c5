import pytest
import torch

from cxrvision.train.augmentation import Augmentation, affine_maps, augment, change_intensity

STILL = {
    "rotation": 0.0, "scale": 0.0, "shear": 0.0, "translation": 0.0, "crop": 0.0,
    "gamma": 0.0, "contrast": 0.0, "brightness": 0.0, "noise": 0.0,
}  # fmt: skip


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def only(**options):
    return Augmentation(**(STILL | options))


@pytest.fixture
def images():
    """Four times one smooth image with a bright spot on its left side."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 48), torch.linspace(-1, 1, 48), indexing="ij")
    spot = torch.exp(-((x + 0.5) ** 2 + y**2) * 12)
    return (0.2 + 0.7 * spot).expand(4, 1, 48, 48).clone()


def test_same_seed_gives_the_same_images(images):
    assert torch.equal(augment(images, seeded(3)), augment(images, seeded(3)))
    assert not torch.equal(augment(images, seeded(3)), augment(images, seeded(4)))


def test_each_image_draws_for_itself(images):
    changed = augment(images, seeded(), Augmentation(noise=0.0))
    differences = [(changed[0] - other).abs().max().item() for other in changed[1:]]
    assert min(differences) > 0.05


def test_shape_range_and_type_stay(images):
    changed = augment(images.double(), seeded())
    assert changed.shape == images.shape and changed.dtype == torch.float32
    assert changed.min() >= 0 and changed.max() <= 1
    assert not changed.requires_grad


def test_global_generators_are_left_alone(images):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    augment(images, seeded())
    assert torch.equal(before, torch.get_rng_state())


def test_without_options_nothing_changes(images):
    assert torch.allclose(augment(images, seeded(), only()), images, atol=1e-5)
    assert torch.equal(images[0], images[3])  # nor in place


@pytest.mark.parametrize(
    "option",
    ["rotation", "scale", "shear", "translation", "crop", "gamma", "contrast", "brightness",
     "noise"],
)  # fmt: skip
def test_each_option_changes_something(images, option):
    size = 20.0 if option in ("rotation", "shear") else 0.2
    changed = augment(images, seeded(), only(**{option: size}))
    assert (changed - images).abs().amax(dim=(1, 2, 3)).gt(0.01).sum() >= 3


def test_sides_are_never_swapped_by_default():
    maps = affine_maps(5000, seeded(), Augmentation())
    assert torch.linalg.det(maps[:, :, :2]).min() > 0.5


def test_flip_mirrors_as_often_as_asked(images):
    maps = affine_maps(5000, seeded(), only(flip=0.25))
    share = (torch.linalg.det(maps[:, :, :2]) < 0).float().mean().item()
    assert share == pytest.approx(0.25, abs=0.02)
    mirrored = augment(images, seeded(), only(flip=1.0))
    assert torch.allclose(mirrored, images.flip(-1), atol=1e-5)


def test_draws_stay_within_their_limits():
    options = only(rotation=10, translation=0.05)
    maps = affine_maps(5000, seeded(), options)
    angles = torch.rad2deg(torch.atan2(maps[:, 1, 0], maps[:, 0, 0]))
    assert angles.abs().max().item() == pytest.approx(10, abs=0.1)
    assert maps[:, :, 2].abs().max().item() == pytest.approx(0.1, abs=0.001)  # of 2 sides


def test_crop_stays_inside_the_image():
    maps = affine_maps(2000, seeded(), only(crop=0.3))
    corners = torch.tensor([[-1.0, -1, 1], [1, -1, 1], [-1, 1, 1], [1, 1, 1]]).T
    assert (maps @ corners).abs().max().item() <= 1 + 1e-5
    assert maps[:, 0, 0].min().item() == pytest.approx(0.7, abs=0.01)


def test_rotation_keeps_lengths_of_square_images(images):
    maps = affine_maps(100, seeded(), only(rotation=30))
    linear = maps[:, :, :2]
    assert torch.allclose(linear @ linear.mT, torch.eye(2).expand(100, 2, 2), atol=1e-5)


def test_black_stays_black_where_the_image_does_not_reach(images):
    moved = augment(torch.ones(64, 1, 16, 16), seeded(), only(translation=0.3))
    assert moved.amin(dim=(1, 2, 3)).eq(0).float().mean() > 0.8


def test_intensity_leaves_geometry_alone(images):
    changed = change_intensity(images, seeded(), Augmentation(noise=0.0))
    spots = changed.flatten(1).argmax(dim=1)
    assert torch.equal(spots, images.flatten(1).argmax(dim=1))


def test_no_image_is_no_error():
    assert augment(torch.zeros(0, 1, 8, 8), seeded()).shape == (0, 1, 8, 8)
