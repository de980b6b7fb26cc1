"""The generator's options: which norm, which activation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fallow.encoders.generator import ACTIVATIONS, NORMS, Generator

PICTURE = torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(0))


def made(norm="batch", activation="relu"):
    torch.manual_seed(0)
    return Generator(4, 2, norm, activation)


def kinds(generator, kind):
    return sum(isinstance(each, kind) for each in generator.modules())


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("norm", NORMS)
def test_every_combination_makes_a_picture_and_has_gradients(norm, activation):
    generator = made(norm, activation)
    picture = generator(PICTURE)
    assert picture.shape == PICTURE.shape
    assert picture.abs().max() <= 1
    picture.square().sum().backward()
    assert all(torch.isfinite(each.grad).all() for each in generator.parameters())


def test_norms_are_where_they_belong():
    layers = 5 + 2 * 2  # on the ways down and up, and two in each block
    assert kinds(made("batch"), nn.BatchNorm2d) == layers
    assert kinds(made("instance"), nn.InstanceNorm2d) == layers
    assert kinds(made("none"), nn.BatchNorm2d | nn.InstanceNorm2d) == 0


def test_a_bias_is_there_where_no_batch_norm_takes_it_away():
    for norm, biases in (("batch", 1), ("instance", 10), ("none", 10)):
        convolutions = [
            each
            for each in made(norm).modules()
            if isinstance(each, nn.Conv2d | nn.ConvTranspose2d)
        ]
        assert sum(each.bias is not None for each in convolutions) == biases


def test_the_activation_is_that_of_the_ways_down_and_up():
    for activation, kind in (("selu", nn.SELU), ("leaky", nn.LeakyReLU)):
        generator = made("batch", activation)
        assert kinds(generator, kind) == 5
        assert kinds(generator, nn.ReLU) == 2  # one in each block


def test_only_batch_norm_gives_another_picture_afterwards():
    for norm, same in (("batch", False), ("instance", True), ("none", True)):
        generator = made(norm)
        now = generator.train()(PICTURE)
        assert torch.allclose(now, generator.eval()(PICTURE), atol=1e-4) is same
