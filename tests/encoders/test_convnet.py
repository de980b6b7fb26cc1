"""ConvNet: its sizes, fresh weights from a seed, and means without a graph."""

from __future__ import annotations

import pytest
import torch

from fallow.encoders.convnet import ConvNet, flat, unflat


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("size", "channels", "features"), [(32, 3, 16), (28, 1, 16), (9, 3, 1)])
def test_sizes(size, channels, features):
    net = ConvNet(7, width=4, depth=3, size=size, channels=channels)
    assert net.embed(torch.zeros(2, channels, size, size)).shape == (2, 4 * features)


def test_fresh_weights_come_from_the_generator_alone():
    net = ConvNet(3, width=5, depth=2, size=8)
    first = flat(net.fresh(seeded(1)).parameters())
    other = flat(net.fresh(seeded(2)).parameters())
    again = flat(net.fresh(seeded(1)).parameters())
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    reach = net.features[4].weight.detach().abs().max()
    assert 0.9 < float(reach) * (5 * 9) ** 0.5 <= 1  # as torch draws them
    assert net.features[1].weight.tolist() == [1] * 5


@pytest.mark.parametrize("bf16", [False, True])
def test_means_are_those_of_the_embedding(bf16):
    net = ConvNet(3, width=16, depth=3, size=16).fresh(seeded(0))
    x = torch.randn(50, 3, 16, 16, generator=seeded(3))
    groups = torch.arange(50) * 3 // 50
    found = net.means(x, groups, 3, bf16=bf16)
    expected = torch.stack([net.embed(x[groups == code]).mean(0) for code in range(3)])
    spread = float(expected.std())
    error = float((found - expected).abs().max())
    assert error < (0.05 * spread if bf16 else 1e-5)
    assert found.requires_grad is False


def test_flat_and_back():
    net = ConvNet(3, width=4, depth=1, size=4)
    vector = flat(net.parameters())
    x = torch.randn(2, 3, 4, 4)
    found = torch.func.functional_call(net, unflat(vector, net), (x,))
    torch.testing.assert_close(found, net(x))
