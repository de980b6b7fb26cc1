"""Pictures with an up and a down, told from their masks."""

from __future__ import annotations

import numpy as np
import pytest

from fallow.parts.upright import shares, upright


def scenes(count: int, turned: bool, seed: int = 0) -> list[np.ndarray]:
    """Sky, a horizon at some height, ground, and something standing on it somewhere."""
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        mask = np.zeros((60, 80), np.uint8)
        horizon, left = int(draw.integers(20, 40)), int(draw.integers(0, 60))
        mask[horizon:] = 1
        mask[horizon - 10 : horizon + 5, left : left + 12] = 2
        found.append(np.rot90(mask, int(draw.integers(0, 4))) if turned else mask)
    return found


@pytest.mark.parametrize("count", [2, 5, 40])
def test_scenes_are_upright_and_scenes_seen_from_any_side_are_not(count):
    assert upright(scenes(count, turned=False))
    assert not upright(scenes(count, turned=True))


def test_round_things_anywhere_have_no_up():
    draw = np.random.default_rng(0)
    rows, columns = np.mgrid[:64, :64]
    places = draw.uniform(8, 56, (10, 5, 2))
    cells = [
        np.max([np.hypot(rows - y, columns - x) < 7 for y, x in some], 0).astype(np.uint8)
        for some in places
    ]
    assert not upright(cells)


def test_what_is_not_judged_says_nothing():
    mask = np.zeros((64, 64), np.uint8)
    mask[:32], mask[32:, :32] = 1, 255
    found = shares([mask])
    assert found.shape == (1, 2, 8, 8)
    assert found[0, 1, :4].min() == 1.0
    assert found[0, :, 4:, :4].max() == 0.0
    assert found[0, 0, 4:, 4:].min() == 1.0
    assert not upright([np.full((64, 64), 255, np.uint8)] * 3)
