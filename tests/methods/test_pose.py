"""Methods that find key points: that they learn, ride on geometry, and refuse what they cannot."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch

from fallow.encoders import encoder
from fallow.encoders.pointer import Pointer, load_pointer, save_pointer
from fallow.images import open as open_images
from fallow.methods import find, slugs
from fallow.methods.pose.multiaugs import MultiAugs
from fallow.methods.shared.pose import look, one_way, packed_points, random_turns, turned_alike
from fallow.problems import SettingProblem
from fallow.train import Batch, Facts, Now, fit, make_settings
from fallow.views.heatmaps import gaussians, peaks, refined

QUICK = {"size": 32, "batch": 8, "width": 16, "precision": "32", "compile": "off", "points": 2}


def spots(count, side=32, seed=0, wide=1.0):
    """Pictures with a red and a green spot, whose places are the points."""
    random = np.random.default_rng(seed)
    pictures, cells = [], []
    for _ in range(count):
        height, width = side, round(side * wide)
        pixels = random.integers(90, 120, (height, width, 3)).astype(np.uint8)
        flat = []
        for colour in (0, 1):
            x, y = random.uniform(6, width - 7), random.uniform(6, height - 7)
            down, across = np.mgrid[:height, :width]
            pixels[np.hypot(across - x, down - y) < 2.5] = np.eye(3, dtype=np.uint8)[colour] * 255
            flat += [x, y, 2.0]
        pictures.append(pixels)
        cells.append(flat)
    images = open_images(pictures)
    return images._with(
        images.table.append_column("points", pa.array(cells, pa.list_(pa.float32())))
    )


def bare(images):
    empty = pa.array([None] * len(images), pa.list_(pa.float32()))
    return images._with(images.table.drop_columns(["points"]).append_column("points", empty))


def truth(images):
    return np.array(images.table.column("points").to_pylist()).reshape(len(images), -1, 3)[..., :2]


def trained(slug, epochs, **more):
    kind = find("pose", slug)
    everything = {"unlabelled": bare(spots(16, seed=1)), "labelled": spots(16)}
    return fit(
        kind,
        {name: everything[name] for name in kind.streams},
        encoder=encoder("resnet8/8", size=32),
        settings=make_settings(
            kind.Settings, {**QUICK, "epochs": epochs, "learning_rate": 0.3, **more}
        ),
    )


@pytest.mark.parametrize("slug", slugs("pose"))
def test_they_learn_where_spots_are(slug):
    method = trained(slug, epochs=30, tilt=10.0).method
    test = spots(12, seed=2)
    found = look(method, [test[row] for row in range(12)], tilts=(0.0,))
    assert np.median(np.linalg.norm(found.points - truth(test), axis=2)) < 2.5


def made(**more):
    settings = make_settings(MultiAugs.Settings, QUICK | more)
    return MultiAugs(encoder("resnet8/8", size=32), settings, Facts(8, 32))


def test_points_of_long_pictures_come_back_where_they_were():
    """A network that answers with the truth in its view gives the truth in the picture."""
    images = spots(3, side=40, wide=1.7)
    method = made()
    pack = images.pack(side=20)
    own = packed_points(images, pack)
    np.testing.assert_allclose((own[..., :2] + 0.5) * 2 - 0.5, truth(images), atol=1e-4)

    class Knows(torch.nn.Module):
        weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x):  # the highest red and green of the view
            size = x.shape[-1] // 4
            places = peaks(x[:, :2] - x[:, [1, 0]])[0]
            return gaussians((places - 1.5) / 4, (size, size), 1.5)

    method.predictor = Knows
    found = look(method, [images[row] for row in range(3)])
    assert np.abs(found.points - truth(images)).max() < 6  # within a spot and a view's pixel
    assert found.apart.max() < 8


def labelled_batch(method, images, flip):
    """A batch whose views are the pictures themselves, or mirrored."""
    points = torch.tensor(images.table.column("points").to_pylist()).view(len(images), -1, 3)
    matrix = [[-1.0, 0, 31], [0, 1, 0]] if flip else [[1.0, 0, 0], [0, 1, 0]]
    geometry = torch.tensor(matrix).expand(1, len(images), 2, 3)
    view = torch.zeros(len(images), 3, 32, 32)
    index = torch.arange(len(images))
    return Batch([view], [view], index, index, geometry, beside={"points": points})


def test_left_and_right_change_places_in_a_mirror():
    images = spots(2)
    plain, swapped = made(), made(mirrored=(1, 0))
    straight, _ = plain.targets(labelled_batch(plain, images, flip=False))
    one, _ = plain.targets(labelled_batch(plain, images, flip=True))
    two, _ = swapped.targets(labelled_batch(swapped, images, flip=True))
    torch.testing.assert_close(one, straight.flip(-1))
    torch.testing.assert_close(two, straight.flip(-1).flip(1))


def test_unmarked_points_cost_nothing():
    method = made()
    batch = labelled_batch(method, spots(2), flip=False)
    batch.beside["points"][0, 1] = 0
    maps, weights = method.targets(batch)
    assert weights.tolist() == [[1, 0], [1, 1]]
    assert maps[0, 1].max() == 0


def test_views_and_maps_turn_alike():
    torch.manual_seed(3)
    at = torch.tensor([[[20.0, 24.0]], [[30.0, 20.0]]])
    picture = gaussians(at, (48, 48), 3.0)
    maps = gaussians((at - 1.5) / 4, (12, 12), 1.5)
    (turned,), small = turned_alike([picture], maps)
    large, coarse = refined(turned, peaks(turned)[0]), refined(small, peaks(small)[0])
    assert (large - at).abs().max() > 1
    torch.testing.assert_close(coarse * 4 + 1.5, large, atol=0.6, rtol=0)


def test_no_gradient_reaches_the_teacher_and_all_of_the_student():
    method = made(pretrain=0.0)
    images = torch.randn(4, 3, 32, 32)
    index = torch.arange(4)
    still = torch.eye(2, 3).expand(1, 4, 2, 3)
    batch = {
        "labelled": labelled_batch(method, spots(4), flip=False),
        "unlabelled": Batch([images], [images], index, index, still),
    }
    loss = method.loss(batch, Now(0, 0, 0.5, 1))
    assert loss.total.item() > float(loss.parts["truth"])
    loss.total.backward()
    assert all(parameter.grad is not None for parameter in method.network.parameters())


def test_hard_views_hide_what_they_say():
    torch.manual_seed(0)
    method, images = made(), torch.randn(6, 3, 32, 32)
    joints = torch.full((6, 2, 2), 16.0)
    cut = method.damaged("jc", images, joints)
    gone = (cut == 0).all(1)
    assert gone.any(2).any(1).all()
    assert not gone[:, :4].any()  # all joints lie in the middle
    covered = method.damaged("jo", images, joints)
    assert not (covered == 0).any()
    assert (covered != images).any()
    assert torch.equal(method.damaged("a", images, joints), images)
    assert len(made(hard=("a", "mu", "cm+co")).hard(images, torch.randn(6, 2, 8, 8))) == 3


def test_two_networks_begin_apart():
    method = made(networks=2)
    one, two = (network(torch.ones(2, 3, 32, 32)) for network in method.networks)
    assert not torch.equal(one, two)
    assert torch.allclose(method.predictor()(torch.ones(2, 3, 32, 32)), (one + two) / 2, atol=1e-6)


def test_a_pointer_is_kept_whole(tmp_path):
    one = Pointer(encoder("resnet8/8", size=32), 3, width=16).eval()
    save_pointer(one, tmp_path, {"names": ["a", "b", "c"]})
    two, about = load_pointer(tmp_path)
    x = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(one(x), two(x))
    assert about["names"] == ["a", "b", "c"]


@pytest.mark.parametrize("name", ["vit-tiny/8", "unet/4", "resnet14/8", "untrained"])
def test_any_encoder_points(name):
    assert Pointer(encoder(name, size=64), 3, width=8)(torch.zeros(2, 3, 64, 64)).shape == (
        2,
        3,
        16,
        16,
    )


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(SettingProblem, match="no hard view 'jx'"):
        make_settings(MultiAugs.Settings, {"hard": ["jo+jx"]})
    with pytest.raises(SettingProblem, match="cannot be halved five times"):
        make_settings(MultiAugs.Settings, {"size": 100})


def test_what_lies_any_way_round_is_shown_so():
    shape = np.array([[0.0, 0.0], [9.0, 1.0], [4.0, 6.0]])
    turned = []
    for degrees in (0, 90, 180, 270):
        sine, cosine = np.sin(np.deg2rad(degrees)), np.cos(np.deg2rad(degrees))
        turned.append(shape @ np.array([[cosine, sine], [-sine, cosine]]) + 20)
    assert one_way(np.stack(turned)) == pytest.approx(0, abs=1e-6)
    assert one_way(np.stack([shape, shape * 2 + 5])) == 1.0
    holes = np.stack([shape, shape])
    holes[1, 0] = np.nan
    assert one_way(holes) == 1.0
    assert one_way(np.full((2, 3, 2), np.nan)) == 1.0


def test_turns_are_seeded():
    torch.manual_seed(1)
    one = random_turns(5)
    torch.manual_seed(1)
    assert torch.equal(one[0], random_turns(5)[0])
