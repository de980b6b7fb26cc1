"""Budgets are kept to the last 8-bit step, at any size, and PGD goes downhill."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fallow.problems import SettingProblem
from fallow.views import Recipe, View, draw
from fallow.views.perturb import (
    Budget,
    added,
    applied,
    descended,
    random_signs,
    stepped,
    steps,
    steps_at,
    stretched,
)

BUDGETS = [Budget(16), Budget(7.6), Budget(2.5, "l2"), Budget(0.3, "l2")]


def pattern(side=12, seed=0):
    return torch.randn(3, side, side, generator=torch.Generator().manual_seed(seed))


def spent(levels, budget):
    levels = np.abs(levels.astype(np.float64))
    return levels.max() if budget.norm == "linf" else np.sqrt((levels**2).sum()) / 255


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("how", ["nearest", "bilinear"])
@pytest.mark.parametrize("size", [(12, 12), (31, 17), (5, 40)])
def test_eight_bit_copies_keep_the_budget(budget, how, size):
    made = budget.scaled(pattern().tanh()[None])[0]
    own = budget.at(size[0] * size[1] / 144)
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    change = applied(picture, made, budget, how).astype(int) - picture
    assert spent(change, budget) <= own.size + 1e-9
    assert spent(steps_at(made, size, budget, how), budget) > 0.4 * own.size
    assert np.abs(change).max() > 0


def test_rounding_alone_would_break_a_budget():
    halves = torch.full((3, 4, 4), 0.6 / 255)
    budget = Budget(float(halves.norm()), "l2")
    assert spent(np.rint(halves.numpy() * 255), budget) > budget.size
    assert spent(steps(halves, budget), budget) <= budget.size
    assert np.abs(steps(torch.full((3, 1, 1), 1.0), Budget(3.9))).max() == 3


def test_length_grows_with_the_pixels_and_levels_do_not():
    made = Budget(2, "l2").scaled(pattern()[None])[0]
    large = stretched(made, (24, 24))
    assert float(large.norm()) == pytest.approx(Budget(2, "l2").at(4).size, rel=1e-5)
    assert Budget(16).at(4) == Budget(16)


def test_scaling_keeps_gradients_that_clamping_loses():
    raw = (3 * pattern()[None]).tanh().requires_grad_(True)
    weights = pattern(seed=1)
    for change, lost in ((Budget(16).clamped, 0.8), (Budget(16).scaled, 0.0)):
        (slope,) = torch.autograd.grad((change(raw) * weights).sum(), raw)
        assert float((slope == 0).float().mean()) >= lost
    assert not (slope == 0).any()


def test_white_takes_away_half():
    white = np.full((8, 8, 3), 255, np.uint8)
    change = steps_at(random_signs(1, (8, 8), Budget(16), 0)[0], (8, 8), Budget(16))
    lost = np.abs(stepped(white, change).astype(int) - white).sum() / np.abs(change).sum()
    assert 0.3 < lost < 0.7


def test_a_tensor_and_its_pixels_agree():
    made = Budget(16).scaled(pattern().tanh())
    picture = np.random.default_rng(1).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    exact = added(torch.from_numpy(picture).permute(2, 0, 1) / 255, made) * 255
    np.testing.assert_allclose(
        applied(picture, made, Budget(16)), exact.permute(1, 2, 0).numpy(), atol=0.501
    )


@pytest.mark.parametrize("budget", [Budget(8), Budget(0.5, "l2")])
def test_descent_lowers_the_objective_within_the_budget(budget):
    torch.manual_seed(0)
    pictures, weights = torch.rand(3, 3, 6, 6), torch.randn(3, 6, 6)

    def objective(x):
        return (x * weights).sum().square() + (x * weights).square().sum()

    found = descended(objective, pictures, budget, rounds=8)
    assert objective(found) < objective(pictures)
    change = found - pictures
    most = change.abs().amax() if budget.norm == "linf" else change.flatten(1).norm(dim=1).amax()
    assert float(most) <= budget.limit * (1 + 1e-5)
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1


@pytest.mark.parametrize(("size", "norm"), [(0, "linf"), (-1, "l2"), (3, "l1")])
def test_impossible_budgets(size, norm):
    with pytest.raises(SettingProblem, match="budget"):
        Budget(size, norm)


def test_a_square_anywhere_has_its_side_and_lies_within():
    recipe = Recipe((View(28, square=7 / 8, flip=0.0),))
    heights, widths = np.array([32, 40, 90]), np.array([32, 64, 50])
    seen = [
        draw(recipe, heights, widths, [0, 1, 2], seed=0, epoch=e).geometry[0] for e in range(40)
    ]
    geometry = np.stack(seen)  # E B 2 3
    sides = np.rint(np.minimum(heights, widths) * 7 / 8)
    np.testing.assert_allclose(geometry[..., 0, 0], np.broadcast_to(sides / 28, (40, 3)))
    left = geometry[..., 0, 2] - (geometry[..., 0, 0] - 1) / 2
    assert left.min() >= -1e-6
    assert (left + sides <= widths + 1e-6).all()
    assert (left.max(0) - left.min(0) > (widths - sides) / 2).all()
