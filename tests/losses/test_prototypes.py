"""Sinkhorn and swapped prediction: properties beyond the recorded cases."""

from __future__ import annotations

import math

import pytest
import torch

from fallow.losses import sinkhorn, swapped_prediction


def scores(batch=7, prototypes=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, prototypes, generator=generator, dtype=torch.float64) * 2 - 1


def plain_sinkhorn(values, epsilon, iterations):
    """As the formula is written, in float64."""
    q = (values.double() / epsilon).exp().T  # K B
    q = q / q.sum()
    for _ in range(iterations):
        q = q / q.sum(1, keepdim=True) / q.shape[0]
        q = q / q.sum(0, keepdim=True) / q.shape[1]
    return (q * q.shape[1]).T


@pytest.mark.parametrize(("epsilon", "iterations"), [(0.05, 3), (0.05, 0), (0.5, 50), (0.01, 3)])
def test_sinkhorn_is_the_formula(epsilon, iterations):
    values = scores()
    expected = plain_sinkhorn(values, epsilon, iterations)
    torch.testing.assert_close(sinkhorn(values, epsilon, iterations), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    values = scores().to(dtype)
    codes = sinkhorn(values, 0.01, 3)
    assert codes.dtype == torch.float32
    expected = plain_sinkhorn(values, 0.01, 3).float()
    torch.testing.assert_close(codes, expected, rtol=1e-4, atol=1e-6)


def test_rows_sum_to_one_and_prototypes_are_balanced():
    codes = sinkhorn(scores(64, 4), 0.5, 100)
    torch.testing.assert_close(codes.sum(1), torch.ones(64, dtype=torch.float64))
    torch.testing.assert_close(codes.sum(0), torch.full((4,), 16.0, dtype=torch.float64))


def test_scores_beyond_the_cosine_range_do_not_overflow():
    codes = sinkhorn(torch.tensor([[500.0, -500.0], [400.0, -500.0]]), 0.05, 3)
    assert torch.isfinite(codes).all()


def test_sinkhorn_takes_no_gradient():
    assert not sinkhorn(scores().requires_grad_()).requires_grad


def test_swapped_prediction_never_compares_a_crop_with_itself():
    views = [scores(seed=s).requires_grad_() for s in range(3)]
    codes = {0: sinkhorn(views[0]), 1: sinkhorn(views[1])}
    loss = swapped_prediction(views, codes, 0.1)
    logs = [(v / 0.1).log_softmax(1) for v in views]
    pairs = [(0, 1), (0, 2), (1, 0), (1, 2)]
    expected = -sum((codes[i] * logs[v]).sum(1).mean() for i, v in pairs) / len(pairs)
    torch.testing.assert_close(loss, expected)
    swapped_prediction(views, {0: codes[0]}, 0.1).backward()
    assert views[0].grad is None


def test_uniform_scores_give_the_trivial_value():
    flat = [torch.zeros(4, 10)] * 2
    loss = swapped_prediction(flat, {0: sinkhorn(flat[0])}, 0.1)
    assert loss.item() == pytest.approx(math.log(10))
