"""Flattening and filling against plain loops, and every pixel gets a region."""

from __future__ import annotations

import numpy as np
import pytest

from fallow.regions import fill, flatten, numbered


def discs(seed, count=12, shape=(40, 50)):
    random = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    places = zip(
        random.integers(0, shape[0], count),
        random.integers(0, shape[1], count),
        random.integers(2, 14, count),
        strict=True,
    )
    return np.stack([(y - a) ** 2 + (x - b) ** 2 < r * r for a, b, r in places])


def plainly(proposals):
    """Pixel by pixel, as the definition says."""
    painted, number = np.zeros(proposals.shape[1:], int), 0
    for mask in sorted(proposals, key=lambda one: -int(one.sum())):
        places = np.argwhere(mask)
        if any(painted[tuple(place)] == 0 for place in places):
            number += 1
            for place in places:
                painted[tuple(place)] = number
    return painted


@pytest.mark.parametrize("seed", range(4))
def test_small_proposals_lie_over_large_ones(seed):
    proposals = discs(seed)
    np.testing.assert_array_equal(flatten(proposals), plainly(proposals))


def test_a_proposal_that_adds_nothing_is_left_out():
    whole = np.ones((6, 6), bool)
    inner = np.zeros((6, 6), bool)
    inner[2:4, 2:4] = True
    assert np.unique(flatten(np.stack([inner, whole]))).tolist() == [1]


def test_no_proposal_is_one_empty_map():
    assert flatten(np.zeros((0, 3, 4), bool)).tolist() == [[0] * 4] * 3


@pytest.mark.parametrize("seed", range(4))
def test_after_filling_no_pixel_is_left(seed):
    regions = flatten(discs(seed))
    filled = fill(regions, leftover=60)
    assert (regions == 0).any()
    assert (filled > 0).all()
    np.testing.assert_array_equal(filled[regions > 0], regions[regions > 0])


def test_large_pieces_become_regions_and_small_ones_join_the_most_frequent():
    regions = np.ones((30, 40), np.int32)
    regions[:, 25:] = 2
    regions[3:6, 3:6] = 0  # nine pixels deep in 1
    regions[10:20, 28:38] = 0  # a hundred pixels in 2
    filled = fill(regions, leftover=50)
    assert (filled[3:6, 3:6] == 1).all()
    assert (filled[10:20, 28:38] == 3).all()
    assert (fill(regions, leftover=100)[10:20, 28:38] == 2).all()  # not more than: it joins


def test_pieces_touch_over_corners():
    regions = np.ones((8, 8), np.int32)
    regions[2, 2] = regions[3, 3] = 0
    assert len(np.unique(fill(regions, leftover=1))) == 2


def test_a_small_piece_with_nothing_near_is_a_region():
    assert fill(np.zeros((3, 3), np.int32)).tolist() == [[1] * 3] * 3


def test_numbers_without_gaps():
    regions = np.array([[5, 5], [9, 2]])
    assert numbered(regions).tolist() == [[1, 1], [2, 0]]
    assert numbered(regions).dtype == np.int32
