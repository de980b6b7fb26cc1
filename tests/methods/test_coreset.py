"""Rivals of synthetic images, and the training that compares them."""

from __future__ import annotations

import torch

from fallow.encoders.convnet import flat
from fallow.methods.shared.coreset import accuracy_of, herding, k_centre, picked, reference, trained
from fallow.methods.shared.tiny import Real


def stripes(each=20, size=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(2).repeat_interleave(each)
    pixels = torch.randint(0, 100, (2 * each, 3, size, size), generator=generator)
    pixels[labels == 0, :, :2] += 150
    pixels[labels == 1, :, 6:] += 150
    return Real.of(pixels.to(torch.uint8), labels, ["top", "bottom"])


def test_herding_keeps_the_mean_and_k_centre_the_extremes():
    features = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    features[7] = 40.0
    mean = features.mean(0)
    gap = {
        rule: float((features[rows].mean(0) - mean).norm())
        for rule, rows in (("herding", herding(features, 20)), ("k-centre", k_centre(features, 20)))
    }
    assert gap["herding"] < 0.2 * gap["k-centre"]
    assert k_centre(features, 3)[1] == 7
    assert len(set(herding(features, 200))) == 200
    assert len(set(k_centre(features, 50))) == 50


def test_as_many_of_each_class():
    real = stripes()
    features = real.take(torch.arange(len(real))).flatten(1)
    for rule in ("k-centre", "herding"):
        rows = picked(real, features, 3, rule)
        assert real.labels[rows].tolist() == [0, 0, 0, 1, 1, 1]


def test_a_network_learns_what_it_is_given_and_the_seed_decides():
    real, held = stripes(), stripes(seed=1)
    x, labels = real.take(torch.arange(40)), real.labels
    one, two = (trained(x, labels, 2, seed=3, epochs=12, width=8, depth=2) for _ in range(2))
    assert torch.equal(flat(one.parameters()), flat(two.parameters()))
    assert accuracy_of(one, held) > 0.9
    wrong = trained(x, 1 - labels, 2, seed=3, epochs=12, width=8, depth=2)
    assert accuracy_of(wrong, held) < 0.1


def test_the_reference_network_learns_in_a_moment():
    net = reference(stripes(), seed=0, steps=30, width=8, depth=2)
    assert accuracy_of(net, stripes(seed=2)) > 0.9
