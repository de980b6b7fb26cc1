"""Strokes become steps that fit and pixels that keep their aspect; nothing drawn is refused."""

from __future__ import annotations

import numpy as np
import pytest

from fallow.images.sketch_forms import sketch_pixels, steps_of
from fallow.images.sketches import EmptySketch, of_strokes, raster, stretched


def test_steps_are_simplified_until_they_fit_and_never_dropped():
    wild = [np.random.default_rng(k).uniform(0, 90, (40, 2)) for k in range(5)]
    for most in (2, 10, 80):
        assert 1 <= len(steps_of(wild, most)) <= most
    assert len(steps_of([np.array([[5.0, 5.0]])], 4)) == 1  # a dot


def test_an_empty_sketch_is_refused():
    with pytest.raises(EmptySketch, match="nothing is drawn"):
        steps_of([], 10)


def test_a_straight_line_is_drawn_though_it_has_no_height():
    line = of_strokes([np.array([[0.0, 5.0], [9.0, 5.0]])])
    points = stretched(line[:, :2])
    assert raster(np.concatenate([points, line[:, 2:]], 1)).sum() > 3 * 190


def test_whole_keeps_the_aspect_and_stretched_does_not():
    wide = [np.array([[0.0, 0.0], [40.0, 10.0]])]
    heights = [np.flatnonzero(sketch_pixels(wide, how, 64).any(1)).size
               for how in ("whole", "stretched")]  # fmt: skip
    assert heights[0] * 3 < heights[1]
