"""iBOT: what is hidden from whom, and that nothing hidden gives nothing."""

from __future__ import annotations

import math

import pytest
import torch

from fallow.losses.distillation import masked_distillation

from .distilled import batch_for, method, now


def test_only_global_views_of_the_student_are_masked(monkeypatch):
    model = method("ibot", mask_probability=1.0)
    seen = []
    kind = type(model.teacher)
    original = kind.forward_tokens

    def spy(self, x, keep=None, mask=None, mask_token=None):
        hidden = None if mask is None else int(mask.sum())
        seen.append(("teacher" if self is model.teacher else "student", tuple(x.shape), hidden))
        return original(self, x, keep, mask, mask_token)

    monkeypatch.setattr(kind, "forward_tokens", spy)
    model(batch_for(model, rows=4), now())
    large, *rest = seen
    assert large[:2] == ("student", (8, 3, 16, 16))
    assert 0 < large[2] < 8 * 16
    assert [entry for entry in rest if entry[0] == "teacher"] == [("teacher", (8, 3, 16, 16), None)]
    local = [entry for entry in rest if entry[0] == "student"]
    assert local
    assert all(entry[2] is None for entry in local)


def test_nothing_hidden_gives_zero_and_a_finite_gradient():
    model = method("ibot", mask_probability=0.0)
    loss = model(batch_for(model), now())
    assert float(loss.parts["patches"]) == 0.0
    assert loss.trivial == pytest.approx(math.log(32))
    loss.total.backward()
    assert model.mask_token.grad is not None
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_patches_have_a_centre_of_their_own():
    model = method("ibot")
    model(batch_for(model), now())
    model.after_step(now())
    assert model.centre.value.any()
    assert model.patch_centre.value.any()
    assert not torch.allclose(model.centre.value, model.patch_centre.value)


def test_every_image_counts_the_same_however_much_it_hides():
    mask = torch.zeros(2, 6, dtype=torch.bool)
    mask[0, :5] = mask[1, 0] = True
    teacher = torch.full((6, 4), 0.25)
    student = torch.zeros(6, 4)
    student[5] = torch.tensor([1.0, 0.0, 0.0, 0.0])  # the second image's only patch
    own = -(0.25 * torch.log_softmax(student[5] / 0.1, 0)).sum()
    expected = (math.log(4) + own) / 2
    torch.testing.assert_close(masked_distillation(student, teacher, mask), expected)


def test_masks_differ_by_view_and_keep_to_their_shares():
    model = method("ibot", mask_probability=0.5, mask_share=0.3, mask_spread=0.2)
    torch.manual_seed(0)
    masks = model.masks(400, (8, 8))
    again = model.masks(400, (8, 8))
    shares = masks.float().mean(1)
    assert masks.shape == (400, 64)
    assert not torch.equal(masks, again)
    assert 0.4 < (shares > 0).float().mean() < 0.6
    assert shares.max() <= 0.5
    assert 0.2 < shares[shares > 0].mean() < 0.3
    torch.manual_seed(0)
    assert torch.equal(masks, model.masks(400, (8, 8)))


@pytest.mark.parametrize("size", [8, 16, 40])
def test_every_grid_can_be_masked(size):
    model = method("ibot", size=size, mask_probability=1.0, mask_share=0.9, mask_spread=0.09)
    assert torch.isfinite(model(batch_for(model), now()).total)
