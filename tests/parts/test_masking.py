"""Masks: counts, shapes, coverage, and where the corrected ones differ from the published."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fallow.parts import masking
from fallow.problems import SettingProblem


def random(seed=0):
    return np.random.default_rng(seed)


def test_a_split_is_a_partition_with_the_same_count_for_every_image():
    split = masking.split_by(torch.rand(5, 12), masking.kept(12, 0.75))
    assert split.keep.shape == (5, 3)
    both = torch.cat([split.keep, split.hide], 1).sort(1).values
    assert torch.equal(both, torch.arange(12).expand(5, -1))


@pytest.mark.parametrize(
    ("length", "ratio", "count"), [(5, 0.8, 1), (196, 0.75, 49), (10, 0.9, 1), (10, 0.99, 1)]
)
def test_the_number_kept_does_not_lose_one_to_rounding(length, ratio, count):
    assert masking.kept(length, ratio) == count


def test_squares_hide_their_share_and_only_whole_squares():
    grid, side = (6, 8), 2
    count, hidden = masking.hidden_squares(grid, side, 0.6)
    assert (count, hidden) == (12, 8)
    order = torch.rand(7, count).argsort(1)
    mask = masking.squares(order, hidden, grid, side).unflatten(1, grid)
    assert (mask.flatten(1).sum(1) == 8 * 4).all()
    cells = mask.unflatten(1, (3, 2)).unflatten(3, (4, 2)).transpose(2, 3)  # B 3 4 2 2
    assert (cells.flatten(3).float().mean(3) % 1 == 0).all()
    assert not torch.equal(mask[0], mask[1])


def test_blocks_never_hide_more_than_asked_and_come_close():
    grid = (8, 8)
    smallest = masking.smallest_block(grid)
    made = np.stack([masking.blocks(grid, 39, random(s), smallest=smallest) for s in range(200)])
    counts = made.sum((1, 2))
    assert counts.max() <= 39
    assert counts.mean() > 37
    assert made.any(0).all()  # every place is hidden at times
    assert not made.all(0).any()


def test_blocks_of_nothing_and_of_almost_nothing():
    assert masking.blocks((4, 4), 0, random()).sum() == 0
    assert masking.blocks((2, 2), 1, random(), smallest=1, aspect=(1, 1)).sum() == 1
    assert masking.blocks((3, 9), 9, random(), smallest=2).shape == (3, 9)


def coverage(draw, grid, **options):
    """How often each patch is in a target, and in a context, over many batches."""
    seen = np.zeros((2, grid[0] * grid[1]))
    for seed in range(40):
        made = draw(grid, 16, random(seed), **options)
        for row, index in enumerate((made.targets, made.context)):
            np.add.at(seen[row], index.numpy().ravel(), 1)
    return (seen / seen.sum(1, keepdims=True) * seen.shape[1]).reshape(2, *grid)


def test_corrected_targets_reach_the_last_row_and_column_and_published_ones_do_not():
    published = coverage(masking.multi_block_as_published, (8, 8), least=4)
    assert published[0, -1].max() == published[0, :, -1].max() == 0
    corrected = coverage(masking.multi_block, (8, 8))
    assert corrected[0, -1].min() > 0.1
    assert corrected[0, :, -1].min() > 0.1


def test_corrected_contexts_do_not_lose_their_bottom():
    published = coverage(masking.multi_block_as_published, (8, 8), least=4)[1]
    corrected = coverage(masking.multi_block, (8, 8))[1]
    assert published[4:].sum() < 0.4 * published[:4].sum()
    assert 0.8 < corrected[4:].sum() / corrected[:4].sum() < 1.25


def test_scale_and_aspect_are_drawn_apart_only_when_corrected():
    def shapes(draw):
        found = set()
        for seed in range(200):
            block = draw((14, 14), 1, random(seed)).targets[0, 0]
            rows = len(set((block // 14).tolist()))
            found.add((rows, len(block) // rows))
        return found

    assert len(shapes(masking.multi_block)) > len(shapes(masking.multi_block_as_published)) > 1


@pytest.mark.parametrize("grid", [(3, 3), (2, 4), (4, 4), (3, 8), (5, 2)])
def test_small_grids_end(grid):
    for draw in (masking.multi_block, masking.multi_block_as_published):
        made = draw(grid, 8, random(), targets=2)
        assert made.targets.min() >= 0
        assert made.targets.max() < grid[0] * grid[1]
    assert masking.multi_block(grid, 8, random(), targets=2).context.shape[2] >= 1


def test_a_grid_with_nothing_left_to_see_is_refused():
    with pytest.raises(SettingProblem, match="fewer targets"):
        masking.multi_block((2, 1), 4, random(), targets=40)


def test_several_contexts_are_stacked():
    made = masking.multi_block((8, 8), 3, random(), contexts=2, targets=3)
    assert made.context.shape[:2] == (2, 3)
    assert made.targets.shape[:2] == (3, 3)


def test_drawing_follows_torch():
    def draw():
        torch.manual_seed(3)
        return masking.multi_block((8, 8), 4, masking.numpy_generator()).targets

    assert torch.equal(draw(), draw())
