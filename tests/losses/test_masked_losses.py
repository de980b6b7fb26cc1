"""Losses of masked prediction at their edges: flat patches, nothing hidden, half precision."""

from __future__ import annotations

import pytest
import torch

from fallow.losses.masked import (
    average_layers,
    masked_absolute,
    masked_square,
    patch_statistics,
    smooth_absolute,
    standardise,
)


def test_a_flat_patch_becomes_zero_and_comes_back():
    patches = torch.cat([torch.full((1, 12), 0.7), torch.randn(3, 12)])
    made = standardise(patches)
    assert made[0].abs().max() == 0
    torch.testing.assert_close(made[1:].std(1), torch.ones(3), rtol=1e-4, atol=1e-4)
    mean, deviation = patch_statistics(patches)
    torch.testing.assert_close(made * deviation + mean, patches)


def test_nothing_hidden_costs_nothing():
    x = torch.randn(2, 4, 3, requires_grad=True)
    loss = masked_square(x, torch.zeros(2, 4, 3), torch.zeros(2, 4))
    loss.backward()
    assert loss == 0
    assert torch.isfinite(x.grad).all()
    images = torch.randn(2, 3, 8, 8)
    assert masked_absolute(images, images + 1, torch.zeros(2, 2, 2)) == 0
    none = torch.randn(0, 5, requires_grad=True)
    smooth_absolute(none, none.detach()).backward()
    assert none.grad.shape == (0, 5)


def test_visible_patches_do_not_count():
    prediction, target = torch.randn(2, 6, 4), torch.randn(2, 6, 4)
    mask = torch.tensor([[1, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 1]])
    loss = masked_square(prediction, target, mask)
    changed = torch.where(mask[..., None] > 0, prediction, 99.0)
    assert masked_square(changed, target, mask) == loss
    assert loss == pytest.approx(((prediction - target)[mask > 0] ** 2).mean().item(), rel=1e-5)


def test_a_mask_may_cover_a_grid_that_is_not_square():
    images, rebuilt = torch.randn(1, 3, 4, 8), torch.randn(1, 3, 4, 8)
    mask = torch.tensor([[[0, 0, 0, 1], [0, 0, 0, 0]]])
    expected = (images - rebuilt)[:, :, :2, 6:].abs().mean()
    torch.testing.assert_close(masked_absolute(rebuilt, images, mask), expected, rtol=1e-4, atol=0)


def test_half_precision_is_lifted_and_targets_take_no_gradient():
    prediction = torch.randn(3, 4, dtype=torch.bfloat16, requires_grad=True)
    target = torch.randn(3, 4, requires_grad=True)
    loss = smooth_absolute(prediction, target)
    assert loss.dtype == torch.float32
    loss.backward()
    assert target.grad is None
    assert average_layers([torch.randn(2, 3, 4, dtype=torch.bfloat16)]).dtype == torch.float32
