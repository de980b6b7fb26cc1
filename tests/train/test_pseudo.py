"""Pseudo-classes: the autoencoder restores, its clusters say something, bad input is survived."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fallow
from fallow.encoders.autoencoder import Autoencoder
from fallow.images.samples import shapes
from fallow.measure.cluster import nmi
from fallow.train.pseudo import denoising_autoencoder, embedded, pseudo_classes

HOW = {"side": 16, "width": 8, "noise": 0.1, "patience": 2}


@pytest.fixture(scope="module")
def pictures():
    """Two plain colours: what every embedding must tell apart."""
    draw = np.random.default_rng(0)
    colours = np.where(np.arange(60)[:, None] % 2, [200, 40, 40], [40, 40, 200])
    noise = draw.integers(-20, 21, (60, 20, 20, 3))
    return fallow.open((colours[:, None, None] + noise).astype(np.uint8)).pack(32)


def test_sizes_of_the_published_network():
    network = Autoencoder(32)

    def numbers(module):
        floats = (value for value in module.state_dict().values() if value.is_floating_point())
        return sum(value.numel() for value in floats)

    assert numbers(network) == 335_747
    assert numbers(network.down) == 94_144
    pixels = torch.rand(2, 3, 32, 32)
    assert network.down(pixels).shape == (2, 128, 4, 4)
    assert network(pixels).shape == pixels.shape
    assert network.embed(pixels).shape == (2, 128)


def test_training_restores_better(pictures):
    def error(epochs):
        network = denoising_autoencoder(pictures, epochs=epochs, seed=0, **HOW)
        pixels = torch.from_numpy(np.stack([pictures[i] for i in range(60)])).permute(0, 3, 1, 2)
        pixels = torch.nn.functional.interpolate(pixels / 255, (16, 16), mode="area")
        with torch.no_grad():
            return float((network(pixels) - pixels).square().mean())

    assert error(30) < 0.5 * error(1)


def test_clusters_follow_what_is_there(pictures):
    classes = pseudo_classes(pictures, 2, epochs=5, seed=0, **HOW)
    assert nmi(np.arange(60) % 2, classes) == pytest.approx(1.0)


def test_repeats_itself_and_leaves_the_random_state_alone(pictures):
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    one = pseudo_classes(pictures, 6, epochs=1, seed=3, **HOW)
    assert torch.equal(torch.rand(1), expected)
    assert np.array_equal(one, pseudo_classes(pictures, 6, epochs=1, seed=3, **HOW))
    assert len(np.unique(one)) == 6


def test_few_images_get_fewer_classes():
    pack = shapes(10, seed=0, side=24).pack(32)
    assert len(np.unique(pseudo_classes(pack, 64, epochs=1, **HOW))) <= 5


def test_equal_images_are_survived():
    pack = fallow.open(np.full((20, 16, 16, 3), 90, np.uint8)).pack(32)
    classes = pseudo_classes(pack, 8, epochs=1, **HOW)
    assert len(classes) == 20


def test_patience_and_time_end_it_early(pictures):
    network = denoising_autoencoder(pictures, epochs=10_000, seconds=0.0, seed=0, **HOW)
    once = denoising_autoencoder(pictures, epochs=1, seed=0, **HOW)
    np.testing.assert_array_equal(
        embedded(network, pictures, side=16), embedded(once, pictures, side=16)
    )
