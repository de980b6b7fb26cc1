"""Sorting networks: they sort, mix without losing anything, and have the right gradients."""

from __future__ import annotations

import itertools

import pytest
import torch

from fallow.losses import group_ordering, nt_xent_hardest, soft_sort
from fallow.losses.sorting import bitonic, cauchy, odd_even, ordering, similarity_groups, top_shares
from fallow.problems import SettingProblem


def hard(difference, steepness):
    return (difference > 0).to(difference.dtype)


@pytest.mark.parametrize("wires", range(1, 9))
def test_odd_even_sorts_every_sequence_of_zeros_and_ones(wires):
    """Which, for a network of comparators, means that it sorts everything."""
    x = torch.tensor(list(itertools.product([0.0, 1.0], repeat=wires)))
    values, product = soft_sort(x, relaxation=hard)
    assert torch.equal(values, x.sort(1).values)
    assert torch.equal(product.sum(1), torch.ones_like(x))


@pytest.mark.parametrize("wires", [2, 4, 8])
def test_bitonic_sorts_powers_of_two(wires):
    x = torch.tensor(list(itertools.product([0.0, 1.0], repeat=wires)))
    assert torch.equal(soft_sort(x, relaxation=hard, network=bitonic)[0], x.sort(1).values)


@pytest.mark.parametrize("network", [odd_even, bitonic])
@pytest.mark.parametrize("wires", [1, 2, 3, 6, 8])
def test_gradients(network, wires):
    torch.manual_seed(0)
    x = torch.randn(2, wires, dtype=torch.float64, requires_grad=True)

    def both(x):
        return soft_sort(x, 3.0, cauchy, network)

    assert torch.autograd.gradcheck(both, x)
    assert torch.autograd.gradcheck(lambda x: top_shares(x, 1, 3.0, cauchy, network), x)


def test_product_is_doubly_stochastic_and_steepness_hardens_it():
    x = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    soft, steep = (soft_sort(x, steepness)[1] for steepness in (1.0, 1e5))
    for product in (soft, steep):
        torch.testing.assert_close(product.sum(1), torch.ones(5, 7))
        torch.testing.assert_close(product.sum(2), torch.ones(5, 7))
        assert (product >= 0).all()
    assert torch.equal(steep.argmax(1), x.argsort(1))
    assert steep.max(1).values.min() > 0.99
    assert soft.max(1).values.max() < 0.9


def test_input_is_left_alone():
    x = torch.randn(3, 5)
    before = x.clone()
    soft_sort(x)
    top_shares(x, 2)
    assert torch.equal(x, before)


def test_strongest_negative_and_weakest_positive_feel_the_most():
    low = torch.tensor([[-0.2, 0.0, 0.3]], requires_grad=True)
    high = torch.tensor([[0.35, 0.8]], requires_grad=True)
    ordering(low, high).backward()
    assert low.grad[0, -1] == low.grad.abs().max() > 0
    assert high.grad[0, 0] < 0
    assert high.grad[0, 0].abs() == high.grad.abs().max()


def test_groups_are_of_the_same_view_and_without_the_image_itself():
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(3, 6, 4, generator=generator)
    unit = torch.nn.functional.normalize(z, dim=2)
    low, high = similarity_groups(z, 2, negatives=3, positives=2)
    cosines = (unit[2] @ unit[2].T).fill_diagonal_(-9)
    torch.testing.assert_close(low, cosines.sort(1).values[:, -3:])
    wanted = torch.stack([(unit[2] * unit[j]).sum(1) for j in (0, 1)], 1).sort(1).values
    torch.testing.assert_close(high, wanted)  # a local view meets both global ones
    assert similarity_groups(z, 0, negatives=3, positives=2)[1].shape == (6, 1)


def test_too_few_images_are_an_error_with_a_way_out():
    z = torch.randn(2, 10, 4)
    with pytest.raises(SettingProblem, match="at most 9"):
        group_ordering(z, negatives=10)
    assert torch.isfinite(group_ordering(z, negatives=9))


def test_half_precision_is_not_used_inside():
    z = torch.randn(2, 16, 8, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = group_ordering(z)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, group_ordering(z))


def test_stopped_gradient_reaches_only_the_anchor():
    z = torch.randn(2, 12, 4, requires_grad=True)
    low, high = similarity_groups(z, 0)
    (low.sum() + high.sum()).backward()
    assert z.grad[0].any()
    assert not z.grad[1].any()


def test_hardest_negatives_come_from_all_views():
    z = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
    few, all_of_them = (nt_xent_hardest(z, 0.5, negatives=k) for k in (3, 12))
    assert few < all_of_them
