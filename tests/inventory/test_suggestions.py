"""Pairs worth comparing: bounded where everything is alike, by neighbours and hashes elsewhere."""

import numpy as np

from fallow.inventory.copies import picture_points
from fallow.inventory.suggestions import ALIKE, MOST, alike_pairs, suggested


def test_suggestions_stay_bounded_where_everything_is_alike():
    draw = np.random.default_rng(0)
    photo = draw.integers(0, 256, (9, 12, 3)).astype(np.uint8).repeat(16, 0).repeat(16, 1)
    points = picture_points(photo)
    pairs = suggested([points] * 60)
    assert 60 <= len(pairs) <= 2 * MOST * 60


def test_neighbours_whose_hashes_are_far_apart_are_no_pair():
    near = np.array([[1, 2], [0, -1], [2, 0]])
    looks = np.array([0, 2**ALIKE - 1, 2 ** (ALIKE + 1) - 1], np.uint64)
    assert alike_pairs(near, None) == {(0, 1), (0, 2)}
    assert alike_pairs(near, looks) == {(0, 1)}
    assert alike_pairs(None, looks) == set()
