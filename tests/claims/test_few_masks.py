"""Which pictures keep their masks."""

from __future__ import annotations

import numpy as np
from claims.masks import spread


def test_masks_are_spread_over_groups():
    groups = np.repeat(["a", "b", "c"], 9)
    rows = spread(groups, 3, seed=0)
    assert sorted(rows) == [4, 13, 22]  # the middle one of each
    assert sorted(groups[spread(groups, 7, seed=1)].tolist().count(g) for g in "abc") == [2, 2, 3]


def test_other_seeds_draw_other_groups_and_no_picture_twice():
    groups = np.arange(40)
    drawn = [tuple(spread(groups, 5, seed)) for seed in range(4)]
    assert len(set(drawn)) == 4
    assert all(len(set(rows)) == 5 for rows in drawn)


def test_all_are_kept_where_there_are_fewer():
    assert sorted(spread(np.array(["a", "a", "b"]), 5, seed=0)) == [0, 1, 2]
