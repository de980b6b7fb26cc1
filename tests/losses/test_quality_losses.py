"""Losses of ratings: what they ignore, what they ask for, and that they have gradients."""

from __future__ import annotations

import pytest
import torch

from fallow.losses.quality import (
    chance_better,
    correlation_loss,
    fidelity,
    norm_in_norm,
    order_loss,
)

RATED = torch.tensor([0.1, 0.4, 0.2, 0.9])


@pytest.mark.parametrize("loss", [correlation_loss, norm_in_norm])
def test_scale_and_offset_cost_nothing(loss):
    assert loss(3 * RATED + 1, RATED).item() == pytest.approx(0, abs=1e-6)
    assert loss(-RATED, RATED).item() == pytest.approx(loss(-2 * RATED + 5, RATED).item(), abs=1e-6)
    assert loss(-RATED, RATED).item() > 0.5


def test_only_the_order_costs():
    assert order_loss(RATED**3, RATED).item() == 0
    swapped = RATED[[1, 0, 2, 3]]
    assert order_loss(swapped, RATED).item() > 0
    ties = torch.tensor([0.5, 0.5])
    assert order_loss(torch.tensor([0.0, 9.0]), ties).item() == 0


def test_columns_count_like_rows():
    for loss in (correlation_loss, order_loss, norm_in_norm):
        one = loss(RATED.flip(0)[:, None], RATED[:, None])
        assert one.item() == pytest.approx(loss(RATED.flip(0), RATED).item())


def test_the_better_one_is_more_likely():
    assert chance_better(torch.tensor(2.0), torch.tensor(1.0)) > 0.8
    one, two = RATED, RATED.roll(1)
    right = fidelity(4 * one, 4 * two, one, two)
    wrong = fidelity(4 * two, 4 * one, one, two)
    assert right < wrong


@pytest.mark.parametrize("loss", [correlation_loss, order_loss, norm_in_norm])
def test_a_step_down_the_gradient_helps_and_equal_predictions_are_no_trap(loss):
    predicted = torch.tensor([0.9, 0.1, 0.3, 0.2], requires_grad=True)
    before = loss(predicted, RATED)
    before.backward()
    assert loss(predicted.detach() - 0.05 * predicted.grad, RATED) < before
    flat = torch.zeros(4, requires_grad=True)
    loss(flat, RATED).backward()
    assert torch.isfinite(flat.grad).all()


def test_certain_chances_have_gradients():
    far = torch.tensor([40.0], requires_grad=True)
    fidelity(far, torch.zeros(1), torch.zeros(1), torch.zeros(1)).backward()
    assert torch.isfinite(far.grad).all()
