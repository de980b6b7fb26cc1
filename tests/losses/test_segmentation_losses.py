"""Dense losses: what each denominator counts, and the two Dice forms by hand."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from fallow.losses.segmentation import dice_plain, dice_squared, masked_cross_entropy


def example(size=(5, 6), classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, classes, *size, generator=generator, dtype=torch.float64)
    target = torch.randint(0, classes, (2, *size), generator=generator)
    weight = torch.rand(2, *size, generator=generator, dtype=torch.float64)
    return logits, target, weight


@pytest.mark.parametrize("size", [(5, 6), (3, 4, 5)])
def test_denominators(size):
    logits, target, weight = example(size)
    target[0, 0] = 255
    each = F.cross_entropy(logits, target.where(target != 255, 0), reduction="none")
    valid = (target != 255).double()
    total = (each * valid * weight).sum()
    found = {
        over: masked_cross_entropy(logits, target, weight, over=over).item()
        for over in ("weight", "valid", "all")
    }
    assert found["weight"] == pytest.approx((total / (valid * weight).sum()).item())
    assert found["valid"] == pytest.approx((total / valid.sum()).item())
    assert found["all"] == pytest.approx((total / target.numel()).item())


@pytest.mark.parametrize("over", ["weight", "valid", "all"])
def test_nothing_to_count_is_zero_and_has_a_gradient(over):
    logits, target, _ = example()
    logits.requires_grad_()
    loss = masked_cross_entropy(logits, torch.full_like(target, 255), over=over)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_ignored_pixels_move_nothing():
    logits, target, _ = example()
    target[:, 0] = 255
    logits.requires_grad_()
    probabilities = logits.softmax(1)
    loss = dice_squared(probabilities, target) + dice_plain(probabilities, target)
    loss = loss + masked_cross_entropy(logits, target, over="weight")
    loss.backward()
    assert torch.equal(logits.grad[:, :, 0], torch.zeros_like(logits[:, :, 0]))
    assert (logits.grad[:, :, 1:] != 0).all()


def test_dice_forms_by_hand():
    logits, target, mask = example()
    p = logits.softmax(1)
    squared, plain = [], []
    for c in range(3):
        g = (target == c).double()
        both = (p[:, c] * g * mask).sum()
        squared.append(1 - 2 * both / ((p[:, c] ** 2 * mask).sum() + (g * mask).sum()))
        for b in range(2):
            both = 2 * (p[b, c] * g[b] * mask[b]).sum() + 1e-5
            plain.append(1 - both / ((p[b, c] * mask[b]).sum() + (g[b] * mask[b]).sum() + 1e-5))
    assert dice_squared(p, target, mask).item() == pytest.approx(sum(squared).item() / 3)
    assert dice_plain(p, target, mask).item() == pytest.approx(sum(plain).item() / 6)


def test_half_precision_is_judged_in_float32():
    logits, target, _ = example()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = logits.bfloat16()
        assert masked_cross_entropy(half, target, over="all").dtype == torch.float32
        assert dice_squared(half.softmax(1), target).dtype == torch.float32
