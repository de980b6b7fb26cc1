"""Earlier selves: the oldest goes first, they are saved, and logits are mixed."""

import pytest
import torch
from torch import nn

from fallow.parts.copies import Copies, mixed_logits


def numbered(value):
    network = nn.Linear(1, 1, bias=False)
    network.weight.data.fill_(value)
    return network


def values(copies):
    return [float(model.weight) for model in copies.models]


def test_the_oldest_is_dropped():
    copies = Copies(numbered(0.0), most=3)
    for value in range(1, 6):
        copies.add(numbered(float(value)))
    assert len(copies) == 3
    assert sorted(values(copies)) == [3.0, 4.0, 5.0]


def test_copies_do_not_follow_and_take_no_gradient():
    network = numbered(1.0)
    copies = Copies(network, most=2)
    copies.add(network)
    network.weight.data.fill_(9.0)
    assert values(copies)[0] == 1.0
    assert not any(parameter.requires_grad for parameter in copies.parameters())


def test_copies_live_in_the_state():
    copies, other = Copies(numbered(0.0), most=2), Copies(numbered(0.0), most=2)
    copies.add(numbered(7.0))
    other.load_state_dict(copies.state_dict())
    assert len(other) == 1
    assert values(other) == values(copies)


def test_draws_are_distinct_and_weights_add_to_one():
    copies = Copies(numbered(0.0), most=5)
    for value in range(4):
        copies.add(numbered(float(value)))
    torch.manual_seed(0)
    sizes = set()
    for _ in range(50):
        which, weights = copies.draw(3)
        assert len(set(which)) == len(which) == len(weights)
        assert set(which) <= {0, 1, 2, 3}
        assert float(weights.sum()) == pytest.approx(1.0)
        sizes.add(len(which))
    assert sizes == {1, 2, 3}


def test_logits_not_probabilities_are_mixed():
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    found = mixed_logits([lambda x: 5 * x, lambda x: -x], x, [0.25, 0.75])
    torch.testing.assert_close(found, 0.5 * x)
    copies = Copies(numbered(0.0), most=2)
    copies.add(numbered(2.0))
    copies.add(numbered(4.0))
    found = copies.logits(torch.ones(1, 1), [0, 1], torch.tensor([0.5, 0.5]))
    assert float(found) == pytest.approx(3.0)
