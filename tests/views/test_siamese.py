"""Siamese transforms: drawn once, applied alike, differentiable, and per image when asked."""

from __future__ import annotations

import pytest
import torch

from fallow.views import siamese
from fallow.views.siamese import ITEMS, Draw, Numbers, draw, one

NAMES = sorted(siamese.APPLIED)


def images(count=5, height=9, width=7, seed=0):
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def numbers(seed=0, count=1):
    return Numbers(torch.Generator().manual_seed(seed), count)


@pytest.mark.parametrize("name", NAMES)
def test_one_draw_does_the_same_to_every_batch(name):
    x = images()
    drawn = Draw((one(name, numbers(3), (9, 7)),))
    together = drawn(x)
    torch.testing.assert_close(together[:2], drawn(x[:2]))
    torch.testing.assert_close(together[2:], drawn(x[2:]))


@pytest.mark.parametrize("name", NAMES)
def test_numbers_for_each_image_do_what_they_do_alone(name):
    x = images()
    step = one(name, numbers(4, count=len(x)), (9, 7))
    together = Draw((step,))(x)
    apart = [
        Draw(((name, tuple(value[k : k + 1] for value in step[1])),))(x[k : k + 1])
        for k in range(len(x))
    ]
    torch.testing.assert_close(together, torch.cat(apart), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [1, 3])
def test_gradients_reach_the_pixels(name, count):
    x = images(3, 5, 4).double().requires_grad_()
    step = one(name, numbers(1, count), (5, 4))
    drawn = Draw(((name, tuple(v.double() if v.is_floating_point() else v for v in step[1])),))
    assert torch.autograd.gradcheck(drawn, (x,))


def test_the_list_is_drawn_from_evenly_and_flips_go_first():
    drawn = numbers(0)
    counts = dict.fromkeys(ITEMS, 0)
    for _ in range(600):
        first = draw(drawn, (8, 8), flip="drawn").steps[0][0]
        counts["color" if first == "brightness" else first] += 1
    assert min(counts.values()) > 70
    for _ in range(50):
        steps = [name for name, _ in draw(drawn, (8, 8), flip="always").steps]
        assert steps[0] == "flip"
        assert steps.count("flip") == 1
        assert "flip" not in [name for name, _ in draw(drawn, (8, 8), flip="never").steps]


def test_the_same_generator_gives_the_same_draw_whatever_the_clock_says():
    x = images()
    one, two = (draw(numbers(7), (9, 7))(x) for _ in range(2))
    assert torch.equal(one, two)
    assert not torch.equal(one, draw(numbers(8), (9, 7))(x))


def test_known_transforms():
    x = torch.arange(6.0).view(1, 1, 2, 3)
    shifted = siamese.crop(x, torch.tensor([1]), torch.tensor([-1]))
    assert shifted.tolist() == [[[[0, 3, 4], [0, 0, 0]]]]
    cut = siamese.cutout(torch.ones(1, 1, 4, 4), torch.tensor([0]), torch.tensor([2]))
    assert cut[0, 0].tolist() == [[1, 0, 0, 1], [1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]]
    same = siamese.scale(x, torch.ones(1), torch.ones(1))
    torch.testing.assert_close(same, x)
    assert siamese.flip(x, torch.tensor([0.2]))[0, 0, 0].tolist() == [2, 1, 0]
    assert torch.equal(siamese.flip(x, torch.tensor([0.7])), x)
