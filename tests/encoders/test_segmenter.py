"""Networks that give every pixel a class: shapes, joins, saving, windows."""

from __future__ import annotations

import pytest
import torch

import fallow
from fallow.encoders.base import Encoder, Preprocessing
from fallow.encoders.lite import Lite
from fallow.encoders.segmenter import (
    LEARNING,
    Segmenter,
    load_segmenter,
    save_segmenter,
    sibling,
)
from fallow.encoders.windows import places, sliding
from fallow.problems import SettingProblem, SourceProblem


@pytest.mark.parametrize("name", ["unet/4", "vnet/4", "resnet8/8", "vit-nano/8", "tiny"])
def test_every_encoder_gives_logits_at_the_size_of_its_input(name):
    network = Segmenter(fallow.encoder(name, size=64, **_options(name)), 3).eval()
    x = torch.randn(2, 3, 32, 40)
    logits = network(x)
    assert logits.shape == (2, 3, 32, 40)
    assert torch.equal(network.decode(network.features(x), (32, 40)), logits)


def _options(name):
    return {"dimensions": 2, "inputs": 3} if name.startswith("vnet") else {}


@pytest.mark.parametrize("name", ["unet/4", "vnet/4"])
@pytest.mark.parametrize("size", [(16, 16, 16), (17, 20, 33)])
def test_volumes_of_odd_sides(name, size):
    network = Segmenter(fallow.encoder(name, dimensions=3, inputs=1), 2)
    assert network(torch.randn(2, 1, *size)).shape == (2, 2, *size)


@pytest.mark.parametrize("name", ["unet/4", "vnet/4"])
def test_every_weight_learns(name):
    encoder = fallow.encoder(name, dimensions=2, inputs=3)
    network = Segmenter(encoder, 2)
    network(torch.randn(2, 3, 32, 32)).square().mean().backward()
    still = [key for key, p in network.named_parameters() if p.grad is None]
    assert still == []


def test_lite_goes_on_gently_below_a_pyramid():
    encoder = Encoder(Lite("lite"), name="lite", preprocessing=Preprocessing(64, 64))
    network = Segmenter(encoder, 3).train()
    x = torch.randn(2, 3, 64, 72)
    features = network.features(x)
    sides = [(32, 36), (16, 18), (8, 9), (4, 5), (2, 3)]
    assert [tuple(each.shape[2:]) for each in features] == sides
    assert network.decode(features, (64, 72)).shape == (2, 3, 64, 72)
    assert not encoder.network.bn1.training
    network(x).square().mean().backward()
    learnt = {name for name, one in network.named_parameters() if one.grad is not None}
    still = {name for name, one in network.named_parameters() if not one.requires_grad}
    assert learnt | still == {name for name, _ in network.named_parameters()}
    frozen = ("conv_stem", "bn1", *(f"blocks.{number}" for number in range(7 - LEARNING)))
    assert all(name.removeprefix("encoder.network.").startswith(frozen) for name in still)
    assert any("blocks.6" in name for name in learnt)


def test_published_widths():
    assert fallow.encoder("unet").network.channels == (16, 32, 64, 128, 256)
    drop = [m.p for m in fallow.encoder("unet").network.modules() if type(m).__name__ == "Dropout"]
    assert drop == [0.05, 0.1, 0.2, 0.3, 0.5]


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    for name in ("unet/4", "vnet/4"):
        network = Segmenter(fallow.encoder(name, dimensions=2, inputs=3), 2).eval()
        x = torch.randn(2, 3, 32, 32)
        assert torch.equal(network(x), network(x))
        network.train()
        assert not torch.equal(network(x), network(x))


def test_a_sibling_has_other_random_weights_and_leaves_the_generator_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    one = fallow.encoder("unet/4")
    two, three = sibling(one, 1), sibling(one, 1)
    assert torch.equal(torch.rand(1), expected)
    weights = [e.network.blocks[0][0].weight for e in (one, two, three)]
    assert torch.equal(weights[1], weights[2])
    assert not torch.equal(weights[0], weights[1])


def test_a_sibling_begins_where_the_learnt_one_does():
    one = fallow.encoder("tiny")
    two = sibling(one, 1)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert two.network is not one.network


@pytest.mark.parametrize(("name", "side"), [("tiny", 32), ("vit-nano/8", 32), ("resnet8/8", 64)])
def test_the_closer_look_is_finer_than_what_encoders_see(name, side):
    encoder = fallow.encoder(name, size=64)
    fine, low, _ = Segmenter(encoder, 2).features(torch.randn(2, 3, 64, 64))
    assert fine.shape == (2, 16, side, side)
    assert low.shape[2] <= side


@pytest.mark.parametrize("name", ["unet/4", "tiny"])
def test_saved_and_loaded(tmp_path, name):
    network = Segmenter(fallow.encoder(name), 3).eval()
    save_segmenter(network, tmp_path / "net", {"names": ["a", "b", "c"]})
    again, about = load_segmenter(tmp_path / "net")
    x = torch.randn(1, 3, 32, 32)
    assert torch.equal(again(x), network(x))
    assert about == {"names": ["a", "b", "c"]}
    with pytest.raises(SourceProblem, match="holds no saved segmenter"):
        load_segmenter(tmp_path)


def test_one_class_is_refused():
    with pytest.raises(SettingProblem, match="at least two classes"):
        Segmenter(fallow.encoder("unet/4"), 1)


def test_an_encoder_that_sees_a_single_place_is_refused():
    with pytest.raises(SettingProblem, match="tiny sees a picture of 32 pixels as a single place"):
        Segmenter(fallow.encoder("tiny", size=32), 2)


def test_windows_cover_everything_and_end_at_the_end():
    for length in range(1, 40):
        for window in (1, 4, 7):
            starts = places(length, window, max(1, window // 2))
            covered = {at + k for at in starts for k in range(window)}
            assert set(range(length)) <= covered
            assert max(starts) == max(0, length - window)


def test_overlaps_are_averaged():
    def place_dependent(x):  # a logit that depends on where in its window a pixel lies
        ramp = torch.arange(x.shape[-1], dtype=torch.float32).expand_as(x)
        return torch.cat([ramp, torch.zeros_like(ramp)], 1)

    found = sliding(place_dependent, torch.zeros(1, 1, 1, 6), (1, 4), (1, 2))
    soft = [torch.tensor([float(k), 0.0]).softmax(0)[0].item() for k in range(4)]
    expected = [soft[0], soft[1], (soft[2] + soft[0]) / 2, (soft[3] + soft[1]) / 2, *soft[2:]]
    assert found[0, 0, 0].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("size", [(5, 7), (20, 9), (4, 6, 9)])
def test_a_pointwise_network_does_not_notice_windows(size):
    x = torch.randn(2, 1, *size)
    network = lambda part: torch.cat([part, 1 - part, part * 0], 1)  # noqa: E731
    found = sliding(network, x, (4,) * len(size), batch=3)
    torch.testing.assert_close(found, network(x).softmax(1))
