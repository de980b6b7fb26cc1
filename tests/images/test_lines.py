"""Lines drawn quickly are those drawn pixel by pixel, at borders, beyond them and out of order."""

from __future__ import annotations

import numpy as np
import pytest

from fallow.images.lines import drawn


def plainly(stroke, size, first, reach):
    plane = np.zeros(size, np.uint8)
    pairs = zip(stroke[:1].tolist() + stroke[:-1].tolist(), stroke.tolist(), strict=True)
    for (x0, y0), (x1, y1) in pairs:
        wide, high = abs(x1 - x0), abs(y1 - y0)
        steep = high >= wide
        long, short = max(wide, high), min(wide, high)
        error, aside = 2 * short - long, 0
        for step in range(long + 1):
            along = np.array([x1 - x0, y1 - y0])
            sign = np.where(along > 0, 1, -1)
            away = np.array([aside, step] if steep else [step, aside])
            x, y = np.array([x0, y0]) + sign * away
            if first <= x < size[1] and first <= y < size[0]:
                cross = [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)] if reach else [(0, 0)]
                for down, right in cross:
                    row, column = np.clip((y + down, x + right), 0, np.array(size) - 1)
                    plane[row, column] = 1
            if error >= 0:
                aside += 1
                error -= 2 * long
            error += 2 * short
    return plane


@pytest.mark.parametrize("reach", [0, 1])
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("reaching", [(3, 16), (-6, 30)], ids=["inside", "beyond"])
def test_lines_are_those_drawn_pixel_by_pixel(reaching, first, reach):
    draw = np.random.default_rng(3)
    for _ in range(40):
        stroke = draw.integers(*reaching, (int(draw.integers(1, 6)), 2))
        found = drawn([stroke], (20, 24), first=first, reach=reach)[0]
        np.testing.assert_array_equal(found, plainly(stroke, (20, 24), first, reach))


def test_planes_get_their_own_lines_in_whatever_order_they_come():
    draw = np.random.default_rng(5)
    strokes = [draw.integers(0, 12, (3, 2)) for _ in range(5)] + [np.zeros((0, 2), np.int64)]
    owners = [3, 0, 3, 1, 0, 4]
    found = drawn(strokes, (12, 12), owners, 6)
    for plane in range(6):
        own = [one for one, owner in zip(strokes, owners, strict=True) if owner == plane]
        np.testing.assert_array_equal(found[plane], drawn(own, (12, 12))[0])
    assert not found[[2, 4, 5]].any()
