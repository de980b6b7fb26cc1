"""Encoders by name, and what embed accepts."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from fallow.encoders import Preprocessing, encoder
from fallow.encoders.names import _TINY
from fallow.problems import Problem, SettingProblem

RANDOM = np.random.default_rng(0)


def photo(height, width):
    return RANDOM.integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("name", "dimension", "size"),
    [
        ("resnet8/8", 32, 32),
        ("resnet14/8", 32, 32),
        ("resnet18/8", 64, 224),
        ("resnet18/8:small", 64, 32),
        ("vit-nano/8", 128, 64),
        ("vit-tiny/4", 192, 32),
        ("untrained", 1472, 64),
    ],
)
def test_names(name, dimension, size):
    found = encoder(name)
    assert (found.name, found.dimension, found.size) == (name, dimension, size)
    assert found.embed([photo(size, size)]).shape == (1, dimension)
    assert found.patches(found.prepare([photo(30, 40)])).ndim == 4


def test_stem_follows_size():
    assert encoder("resnet18/8", size=64).network.stem == "small"
    assert encoder("resnet18/8", size=96).network.stem == "imagenet"
    assert encoder("resnet18/8", size=64, stem="imagenet").network.stem == "imagenet"


def test_same_seed_same_weights_and_no_trace_in_global_randomness():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    images = [photo(40, 40)]
    first, again = (encoder("resnet8/8", seed=1).embed(images) for _ in range(2))
    assert torch.equal(torch.rand(1), expected)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - encoder("resnet8/8", seed=2).embed(images)).max() > 1e-3


def test_everything_embed_accepts_agrees():
    found = encoder("untrained")
    images = np.stack([photo(70, 90) for _ in range(5)])
    expected = found.embed(images)
    assert expected.dtype == np.float32
    flat = images.reshape(-1)
    pack = SimpleNamespace(
        pixels=flat,
        offsets=np.arange(5) * images[0].size,
        heights=np.full(5, 70),
        widths=np.full(5, 90),
    )
    pack = type("Pack", (SimpleNamespace,), {"__len__": lambda self: 5})(**vars(pack))

    class Collection:
        def __len__(self):
            return 6

        def map(self, function, side=None, threads=2):
            assert side == 64
            for row in range(5):
                yield row if row < 2 else row + 1, function(images[row])
                if row == 1:
                    yield 2, "a problem"

    for given in (list(images), pack):
        np.testing.assert_allclose(found.embed(given, batch=2), expected, atol=1e-5)
    collection = found.embed(Collection(), batch=2)
    assert np.isnan(collection[2]).all()
    np.testing.assert_allclose(np.delete(collection, 2, 0), expected, atol=1e-5)
    assert found.embed([]).shape == (0, 1472)
    mixed = found.embed([images[0], photo(31, 200), images[1]])
    np.testing.assert_allclose(mixed[[0, 2]], expected[:2], atol=1e-5)


def test_fit_agrees_with_pillow():
    image = photo(150, 100)
    ours = Preprocessing(size=40, short=40).fit(image).permute(1, 2, 0).numpy().astype(int)
    theirs = Image.fromarray(image[25:125]).resize((40, 40), Image.Resampling.BILINEAR)
    assert np.abs(ours - np.asarray(theirs)).max() <= 1
    image = photo(256, 256)
    cut = Preprocessing(size=224, short=256).fit(image).permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(cut, image[16:240, 16:240])
    assert Preprocessing(size=8, short=8).fit(photo(1, 5000)).shape == (3, 8, 8)


def test_normalise():
    found = encoder("resnet8/8", mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 1.0), size=4)
    white = found.prepare(np.full((1, 4, 4, 3), 255, np.uint8))
    torch.testing.assert_close(white[0, :, 0, 0], torch.tensor([1.0, 3.0, 1.0]))


def test_embed_leaves_the_network_as_it_was():
    found = encoder("resnet14/8").train()
    found.network.layer1.eval()
    before = {name: module.training for name, module in found.named_modules()}
    state = {key: value.clone() for key, value in found.state_dict().items()}
    found.embed([photo(32, 32)])
    assert {name: module.training for name, module in found.named_modules()} == before
    assert all(torch.equal(state[key], value) for key, value in found.state_dict().items())
    with pytest.raises(Problem):
        found.embed([np.zeros((4, 4), np.uint8)])
    assert found.training


def test_bf16_is_close():
    found = encoder("untrained")
    images = [photo(64, 64)]
    exact, quick = found.embed(images), found.embed(images, bf16=True)
    assert quick.dtype == np.float32
    np.testing.assert_allclose(quick, exact, atol=0.02)


def test_patches_of_chosen_layers():
    found = encoder("vit-nano/4", size=16).eval()
    x = found.prepare([photo(16, 16)])
    first, last = found.patches(x, [0, -1])
    assert first.shape == (1, 4, 4, 128)
    torch.testing.assert_close(found.patches(x), last)
    raw = found.patches(x, [-1], norm=False)[0]
    torch.testing.assert_close(found.network.norm(raw), last)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("resnet81", {}, "did you mean resnet8"),
        ("vit-tny/4", {}, "did you mean vit-tiny"),
        ("zebra", {}, "known:"),
        ("resnet18", {"stme": "small"}, "did you mean stem"),
        ("untrained", {"width": 3}, "no option 'width'"),
        ("resnet8", {"mean": (1.0,)}, "three numbers"),
        ("somewhere/else", {}, "no encoder is called"),
    ],
)
def test_wrong_names_and_options(name, options, says):
    with pytest.raises(SettingProblem, match=says):
        encoder(name, **options)


@pytest.mark.skipif(_TINY.exists(), reason="the weights are there")
def test_tiny_says_that_it_is_not_shipped():
    with pytest.raises(Problem, match="not shipped"):
        encoder("tiny")


@pytest.mark.parametrize(
    "bad", [np.zeros((2, 8, 8, 3), np.float32), [np.zeros((0, 4, 3), np.uint8)]]
)
def test_bad_images(bad):
    with pytest.raises(Problem):
        encoder("resnet8/8").embed(bad)
