"""MSN: visible patches, balanced targets, even use of prototypes."""

from __future__ import annotations

import torch

from fallow.encoders.vit import vit
from fallow.losses.distillation import balanced, cross_entropy, neglect
from fallow.methods.learn.msn import visible

from .distilled import batch_for, method, now


def test_each_image_misses_other_patches():
    network = vit("vit-nano", patch=4, size=32)
    keep = visible(torch.zeros(6, 3, 32, 32), network, 0.15)
    assert keep.shape == (6, 54)
    assert all(len(row.unique()) == 54 for row in keep)
    assert len({tuple(row.sort().values.tolist()) for row in keep}) == 6
    # the page's arithmetic, where floats would lose a patch
    assert visible(torch.zeros(1, 3, 20, 4), network, 0.8).shape == (1, 1)


def test_only_the_anchor_misses_patches_and_the_teacher_sees_the_first_view(monkeypatch):
    model = method("msn", dropped=0.5)
    batch, seen, whole = batch_for(model, rows=4), [], []
    network = model.encoder.network
    for block in (network.blocks[0],):
        block.register_forward_hook(lambda _, inputs, out: seen.append(tuple(inputs[0].shape[:2])))
    model.teacher.register_forward_hook(lambda _, inputs, out: whole.append(inputs[0]))
    model(batch, now())
    assert seen == [(4, 1 + 8), (4, 1 + 4), (4, 1 + 4)]
    assert len(whole) == 1
    assert torch.equal(whole[0], batch.views[0])


def test_targets_are_shared_out_evenly():
    scores = torch.randn(40, 8, generator=torch.Generator().manual_seed(0)) + torch.arange(8)
    uneven, even = balanced(scores, 0.5, 0), balanced(scores, 0.5, 20)
    torch.testing.assert_close(even.sum(1), torch.ones(40))
    assert uneven.sum(0).max() > 20
    torch.testing.assert_close(even.sum(0), torch.full((8,), 5.0), rtol=0.1, atol=0.1)


def test_extreme_cosines_stay_finite():
    scores = torch.tensor([[1.0, -1.0], [1.0, -1.0]], requires_grad=True)
    targets = balanced(scores, 1e-3)
    loss = cross_entropy(scores, targets, 1e-3).mean() + neglect(scores, 1e-3)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(scores.grad).all()


def test_neglect_is_nothing_for_even_use_and_all_for_one_prototype():
    assert abs(float(neglect(torch.eye(6)))) < 1e-5
    one = torch.zeros(5, 6)
    one[:, 2] = 100.0
    torch.testing.assert_close(neglect(one), torch.tensor(6.0).log())
