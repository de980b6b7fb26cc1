"""Masks drawn and masks found: both losses, pixel by pixel, and what is not to be judged."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from fallow.encoders import encoder
from fallow.methods.shared.selftraining import SelfTraining
from fallow.train.method import Batch, Facts, make_settings


def made(**changes):
    torch.manual_seed(0)
    settings = make_settings(SelfTraining.Settings, {"classes": 3, "size": 32, **changes})
    method = SelfTraining(encoder("unet/8"), settings, Facts(8, 32, 0))
    return method.eval()


def batch(seed, ignored=False):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 3, 32, 32, generator=generator)
    mask = torch.randint(0, 3, (2, 32, 32), generator=generator)
    mask[:, :9] = 255
    if ignored:
        mask[:] = 255
    rows = torch.arange(2)
    return Batch([x], [x], rows, torch.full((2,), -1), torch.zeros(1, 2, 2, 3), ["weak"], [mask])


def plainly(method, one):
    logits, mask = method.student(one.views[0]), one.masks[0]
    return F.cross_entropy(logits, mask, ignore_index=255)


def test_both_losses_count_and_unjudged_pixels_do_not():
    method = made(found=0.5)
    drawn, found = batch(1), batch(2)
    loss = method.loss({"labelled": drawn, "unlabelled": found}, None)
    expected = plainly(method, drawn) + 0.5 * plainly(method, found)
    torch.testing.assert_close(loss.total, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(loss.parts["drawn"], plainly(method, drawn), atol=1e-5, rtol=1e-5)


def test_a_batch_in_which_nothing_was_found_teaches_only_what_was_drawn():
    method = made()
    drawn = batch(1)
    loss = method.loss({"labelled": drawn, "unlabelled": batch(2, ignored=True)}, None)
    torch.testing.assert_close(loss.total, plainly(method, drawn), atol=1e-5, rtol=1e-5)
    loss.total.backward()
    assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)


def test_the_student_writes_the_maps():
    method = made()
    assert method.predictor() is method.student
    assert method.opinions() == [method.student]
    assert set(method.recipe()) == {"labelled", "unlabelled"}
