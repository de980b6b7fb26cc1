"""Pictures and texts pulled together: against the plain form, in little memory, at the edges."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from fallow.losses import alignment
from fallow.losses.alignment import pair_contrast, pair_sigmoid, target_contrast
from fallow.problems import SettingProblem

COUNT = 13


@pytest.fixture(params=[20, 1 << 20])
def blocks(request, monkeypatch):
    monkeypatch.setattr(alignment, "ENTRIES", request.param)


def sides(count=COUNT, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.randn(count, 5, dtype=torch.double, generator=generator) for _ in range(2)]
    return [F.normalize(side, dim=1).requires_grad_() for side in rows]


def scalar(value):
    return torch.tensor(value, dtype=torch.double, requires_grad=True)


NAMES = torch.tensor([0, 1, 2, 0, 3, 3, 3, 4, 5, 1, 6, 7, 8])
USED = torch.tensor([1, 1, 0, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1]).bool()


def plain(image, text, scale, names, used, softness):
    """The same loss with the whole table of scores."""
    image, text, names = image[used], text[used], names[used]
    count = len(image)
    together = (names[:, None] == names[None]).double()
    alike = together.sum(1, keepdim=True)
    target = together * (1 - softness) / alike + (1 - together) * softness / (count - alike)
    scores = scale * image @ text.T
    both = ((target * table.log_softmax(1)).sum(1).mean() for table in (scores, scores.T))
    return -sum(both) / 2


@pytest.mark.parametrize("softness", [0.0, 0.3])
@pytest.mark.parametrize("used", [torch.ones(COUNT).bool(), USED])
@pytest.mark.parametrize("names", [torch.arange(COUNT), NAMES])
def test_contrast_is_that_of_the_whole_table(blocks, softness, used, names):
    image, text = sides()
    scale = scalar(7.0)
    expected = plain(image, text, scale, names, used, softness)
    found = pair_contrast(image, text, scale, names=names, used=used, softness=softness)
    wanted = torch.autograd.grad(expected, (image, text, scale))
    for ours, theirs in zip(torch.autograd.grad(found, (image, text, scale)), wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_gradients_are_those_of_differences(blocks):
    image, text = sides(5)
    targets = torch.rand(5, 5, dtype=torch.double, generator=torch.Generator().manual_seed(1))
    scale, bias = scalar(3.0), scalar(-1.0)
    assert torch.autograd.gradcheck(
        lambda i, t, s: target_contrast(i, t, s, targets), (image, text, scale)
    )
    assert torch.autograd.gradcheck(
        lambda i, t, s, b: pair_sigmoid(i, t, s, b, names=torch.tensor([0, 1, 1, 2, 3])),
        (image, text, scale, bias),
    )


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that any operation made."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for one in made if isinstance(made, (tuple, list)) else (made,):
            if isinstance(one, torch.Tensor):
                self.numbers = max(self.numbers, one.numel())
        return made


@pytest.mark.parametrize("names", [None, torch.arange(300) // 2])
def test_no_table_of_all_scores_is_ever_made(monkeypatch, names):
    monkeypatch.setattr(alignment, "ENTRIES", 3000)
    for loss in (
        lambda i, t: pair_contrast(i, t, 5.0, names=names, softness=0.1),
        lambda i, t: pair_sigmoid(i, t, 5.0, -1.0, names=names),
    ):
        image, text = sides(300)
        with Largest() as seen:
            loss(image, text).backward()
        assert seen.numbers <= 3000 < 300 * 300


def test_a_single_pair_and_no_pair_have_no_loss_and_no_gradient():
    for softness in (0.0, 0.2):
        for literal in (False, True):
            image, text = sides(1)
            loss = pair_contrast(image, text, 9.0, softness=softness, literal=literal)
            loss.backward()
            assert loss == 0
            assert not image.grad.any()
    image, text = sides(3)
    loss = pair_contrast(image, text, 9.0, used=torch.zeros(3).bool())
    loss = loss + pair_sigmoid(image, text, 9.0, -1.0, used=torch.zeros(3).bool())
    loss.backward()
    assert loss == 0
    assert not text.grad.any()


def test_half_precision_is_computed_in_single():
    image, text = (side.detach().bfloat16().requires_grad_() for side in sides())
    with torch.autocast("cpu", torch.bfloat16):
        loss = pair_contrast(image, text, 20.0)
    assert loss.dtype == torch.float32
    loss.backward()
    assert image.grad.dtype == torch.bfloat16


def test_frozen_sides_need_no_gradient():
    image, text = sides()
    pair_contrast(image, text.detach(), 5.0).backward()
    assert image.grad.any()
    assert text.grad is None


def test_tables_that_do_not_fit():
    image, text = sides()
    with pytest.raises(SettingProblem, match="equal tables"):
        pair_contrast(image, text[:3], 1.0)
    with pytest.raises(SettingProblem, match="have that shape"):
        target_contrast(image, text, 1.0, torch.eye(3))
