"""Masks ride along with views: crops, turns, zooms, pairs; and pasting."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fallow.problems import SettingProblem
from fallow.views import Recipe, View, draw, pack_arrays, paired, render, turned
from fallow.views.masks import render_masks
from fallow.views.mixing import block_mask, cutmix_boxes, paste, paste_all
from fallow.views.volumes import Crop, cut


def coded_pictures(count=6, height=40, width=56, seed=0):
    """Pictures in large flat patches whose brightness says their code."""
    random = np.random.default_rng(seed)
    masks = [
        np.kron(random.integers(0, 4, (height // 8, width // 8)), np.ones((8, 8), int)).astype(
            np.uint8
        )
        for _ in range(count)
    ]
    return pack_arrays(
        [np.repeat(mask[..., None] * 60, 3, 2).astype(np.uint8) for mask in masks]
    ), masks


RECIPES = {
    "crop": View(24, area=(0.3, 1.0)),
    "turns": View(24, area=(0.3, 1.0), turns=1.0),
    "rotated": View(24, area=(0.3, 1.0), rotate=20.0, turns=0.5),
    "zoom": View(24, zoom=(0.5, 2.0), flip=0.5),
}


@pytest.mark.parametrize("name", RECIPES)
def test_masks_follow_pictures(name):
    pack, masks = coded_pictures()
    recipe = Recipe((RECIPES[name],), (0.0,) * 3, (1.0,) * 3)
    agreeing = judged = 0
    for epoch in range(4):
        seen = render(pack, np.arange(6), recipe, seed=1, epoch=epoch)
        coded = render_masks(masks, seen.geometry, [24])[0]
        bright = seen.views[0][:, 0] * 255 / 60
        known = coded != 255
        judged += int(known.sum())
        # edges of patches are blurred by resampling
        agreeing += int(((bright - coded).abs() < 0.3)[known].sum())
        assert (bright[~known] < 3.3).all()
    assert judged > 0.3 * 4 * 6 * 24 * 24
    assert agreeing > 0.7 * judged


def test_a_whole_picture_comes_back_exactly_under_turns():
    pack, masks = coded_pictures(3, 40, 40)
    recipe = Recipe((View(40, centre=1.0, turns=1.0),), (0.0,) * 3, (1.0,) * 3)
    seen = render(pack, np.arange(3), recipe, seed=0)
    coded = render_masks(masks, seen.geometry, [40])[0]
    assert torch.equal((seen.views[0][:, 0] * 255 / 60).round().long(), coded)
    assert not torch.equal(coded, torch.from_numpy(np.stack(masks)).long())


def test_strong_views_repeat_the_weak_one():
    pack, _ = coded_pictures()
    recipe = paired(24, strong=2, turns=0.5)
    seen = render(pack, np.arange(6), recipe, seed=0)
    assert seen.roles == ["weak", "strong", "strong"]
    assert torch.equal(seen.geometry[0], seen.geometry[1])
    assert torch.equal(seen.geometry[0], seen.geometry[2])
    assert not torch.equal(seen.views[0], seen.views[1])
    assert not torch.equal(seen.views[1], seen.views[2])


def test_zoom_pads_at_the_right_and_below():
    view = View(32, zoom=(0.5, 0.5), flip=0.0)
    drawn = draw(Recipe((view,)), [20, 40], [20, 40], [0, 1], seed=0)
    mask = np.zeros((20, 20), np.uint8)
    coded = render_masks(
        [mask, np.zeros((40, 40), np.uint8)], torch.from_numpy(drawn.geometry), [32]
    )[0]
    assert (coded[0, :10, :10] == 0).all()
    assert int((coded[0] == 0).sum()) == 100
    assert int((coded[1] == 0).sum()) == 400
    flipped = draw(Recipe((replace(view, flip=1.0),)), [20], [20], [0], seed=0)
    coded = render_masks([mask], torch.from_numpy(flipped.geometry), [32])[0]
    assert (coded[0, :10, :10] == 0).all()


def test_a_quarter_of_the_views_is_not_turned_at_three_quarters_chance():
    recipe = replace(turned(16), views=(replace(turned(16).views[0], turns=0.75, flip=0.0),))
    drawn = draw(recipe, [20] * 4000, [20] * 4000, np.arange(4000), seed=0)
    signs = np.sign(np.round(drawn.geometry[0][:, 0, :2], 9))
    kinds, counts = np.unique(signs, axis=0, return_counts=True)
    assert len(kinds) == 4
    assert (abs(counts / 4000 - 0.25) < 0.03).all()


def test_like_must_name_an_earlier_view_of_the_same_size():
    with pytest.raises(SettingProblem, match="earlier view of its size"):
        Recipe((View(16, like=0),))
    with pytest.raises(SettingProblem, match="earlier view of its size"):
        Recipe((View(16), View(24, like=0)))


def test_paste_is_a_choice_and_never_in_place():
    base, other = torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4)
    where = torch.zeros(2, 4, 4, dtype=torch.bool)
    where[1, :2] = True
    made = paste(base, other, where)
    assert made[0].sum() == 0
    assert made[1].sum() == 3 * 8
    assert base.sum() == 0
    labels = paste_all({"labels": base[:, 0].long()}, {"labels": other[:, 0].long()}, where)
    assert labels["labels"].dtype == torch.int64
    assert int(labels["labels"].sum()) == 8


def test_block_mask_of_a_volume():
    mask = block_mask((96, 96, 96))
    inside = (mask == 0).nonzero()
    assert (inside.amax(0) - inside.amin(0) + 1).tolist() == [64, 64, 64]
    assert len(inside) == 64**3
    with pytest.raises(SettingProblem, match="nothing to mix"):
        block_mask((1, 8))


def test_boxes_have_the_published_areas():
    boxes = cutmix_boxes(400, 81, generator=torch.Generator().manual_seed(0))
    share = boxes.float().mean((1, 2))
    some = share[share > 0]
    assert abs(len(some) / 400 - 0.5) < 0.08
    assert some.min() > 0.01
    assert some.max() <= 0.4


def test_a_crop_larger_than_its_volume_is_padded_and_not_judged():
    volume, mask = np.ones((4, 6, 8), np.float32), np.ones((4, 6, 8), np.uint8)
    draw_ = np.random.default_rng(0)
    for _ in range(20):
        one, coded = cut(volume, mask, Crop((6, 7, 7)), draw_)
        assert one.shape == coded.shape == (6, 7, 7)
        assert int((coded == 1).sum()) == 4 * 6 * 7
        assert np.array_equal(one == 1, coded == 1)
