"""Matching losses: what counts, what does not, and the batched means against a loop."""

from __future__ import annotations

import pytest
import torch

from fallow.losses.matching import (
    grouped_means,
    layerwise_cosine,
    mean_distance,
    trajectory_distance,
    whole_cosine,
    whole_square,
)


def test_biases_count_for_nothing_between_layers():
    weight, bias = torch.randn(4, 3, 2, 2), torch.randn(4)
    assert float(layerwise_cosine([weight, bias], [weight, -bias])) == pytest.approx(0, abs=1e-5)
    assert float(whole_square([weight, bias], [weight, -bias])) > 0.1


def test_length_does_not_count_and_direction_does():
    one, two = torch.randn(3, 5), torch.randn(3, 5)
    near = layerwise_cosine([one], [two])
    torch.testing.assert_close(layerwise_cosine([7 * one], [two]), near, rtol=1e-4, atol=1e-5)
    assert float(layerwise_cosine([-one], [one])) == pytest.approx(6, abs=1e-4)
    torch.testing.assert_close(whole_cosine([3 * one], [two]), whole_cosine([one], [two]))


def test_rows_of_zeros_have_a_gradient():
    ours = torch.tensor([[0.0, 0.0], [1.0, 2.0]], requires_grad=True)
    loss = layerwise_cosine([ours], [torch.tensor([[1.0, 0.0], [0.0, 0.0]])])
    loss.backward()
    assert float(loss.detach()) == pytest.approx(2.0)
    assert torch.isfinite(ours.grad).all()


def test_means_of_all_classes_at_once_are_those_of_a_loop():
    ours, theirs = torch.randn(4 * 3, 6), torch.randn(4 * 5, 6)
    together = mean_distance(grouped_means(ours, 4), grouped_means(theirs, 4))
    apart = sum(
        (theirs[5 * c : 5 * c + 5].mean(0) - ours[3 * c : 3 * c + 3].mean(0)).square().sum()
        for c in range(4)
    )
    torch.testing.assert_close(together, apart)


def test_a_student_at_the_target_has_no_loss_and_one_that_stays_has_one():
    start, target = torch.randn(9), torch.randn(9)
    assert float(trajectory_distance(target, start, target)) == 0
    assert float(trajectory_distance(start, start, target)) == pytest.approx(1)
