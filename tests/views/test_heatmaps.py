"""Heat maps of points and back, batches of warps, and boxes over places."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fallow.problems import SettingProblem
from fallow.views import (
    draw,
    map_heat,
    map_points,
    pack_arrays,
    render,
    seen_through,
    turning,
    unnormalised,
    whole,
)
from fallow.views.heatmaps import drawn, gaussians, peaks, refined, shifted
from fallow.views.mixing import boxes_around, cover
from fallow.views.recipe import View


def test_the_top_of_a_gaussian_is_found_to_parts_of_a_pixel():
    places = 6 + 20 * torch.rand(200, 2, generator=torch.Generator().manual_seed(0))
    maps = gaussians(places, (32, 32), sigma=1.5)
    rough = peaks(maps)[0]
    error, quarter, fine = (
        float((found - places).abs().mean())
        for found in (rough, shifted(maps, rough), refined(maps, rough))
    )
    assert 0.2 < error < 0.3  # a whole pixel's rounding
    assert quarter < 0.15
    assert fine < 0.02


def test_maps_without_a_top_stay_finite():
    for maps in (torch.zeros(1, 9, 9), -torch.ones(1, 9, 9), torch.ones(1, 9, 9)):
        found = refined(maps, torch.tensor([[4.0, 4.0]]))
        assert found.isfinite().all()


def test_points_at_the_rim_stay():
    at = torch.tensor([[0.0, 5.0], [11.0, 11.0], [1.0, 1.0]])
    maps = gaussians(at, (12, 12), sigma=1.0)
    assert torch.equal(refined(maps, peaks(maps)[0]), at)
    assert drawn(at, (12, 12), 1.0).all()
    assert not drawn(torch.tensor([[16.0, 4.0]]), (12, 12), 1.0).any()


def test_many_views_are_those_of_one():
    maps = torch.rand(3, 2, 20, 20, generator=torch.Generator().manual_seed(1))
    turns = turning(torch.tensor([10.0, 80.0, -30.0]), 20, scale=torch.tensor([1.0, 1.2, 0.9]))
    many = seen_through(maps, turns)
    for row in range(3):
        one = map_heat(maps[row], turns[row], 20)
        inner = (slice(None), slice(6, 14), slice(6, 14))  # the rim fades in one of them alone
        torch.testing.assert_close(many[row][inner], one[inner], atol=1e-5, rtol=0)


def test_a_warp_may_change_the_size_and_passes_gradients():
    maps = torch.rand(1, 1, 8, 8, requires_grad=True)
    half = torch.tensor([[[2.0, 0.0, 0.5], [0.0, 2.0, 0.5]]])
    found = seen_through(maps, half, (4, 4))
    torch.testing.assert_close(found, torch.nn.functional.avg_pool2d(maps, 2))
    found.sum().backward()
    torch.testing.assert_close(maps.grad, torch.full_like(maps, 0.25))


def test_fewer_digits_elsewhere_do_not_move_a_view():
    maps, turns = torch.rand(2, 1, 64, 64), turning(33.0, 64).expand(2, 2, 3)
    with torch.autocast("cpu", torch.bfloat16):
        few = seen_through(maps, turns)
    torch.testing.assert_close(few, seen_through(maps, turns))


def test_normalised_turns_move_points_as_pictures():
    theta = turning(25.0, 1)[None]
    at = torch.tensor([[9.0, 14.0]])
    for height, width in ((24, 24), (32, 20)):
        geometry = unnormalised(theta, height, width)
        seen = seen_through(gaussians(at, (height, width), 1.5)[None].double(), geometry)
        place = refined(seen[0], peaks(seen[0])[0])
        torch.testing.assert_close(place, map_points(geometry[0], at.double()), atol=0.15, rtol=0)


def test_a_whole_view_shows_all_of_a_picture():
    pixels = np.full((30, 60, 3), 255, np.uint8)
    pixels[:, 0] = pixels[:, -1] = 128  # both ends
    seen = render(pack_arrays([pixels]), [0], whole(60), seed=0)
    view, geometry = seen.views[0][0], seen.geometry[0, 0]
    assert geometry.tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, -15.0]]
    assert view[0, 30, 0] < view[0, 30, 1]
    assert view[0, 30, 59] < view[0, 30, 58]
    assert view[0, 5, 30] < view[0, 30, 0]  # black above it


def test_whole_views_turn_swell_and_flip_as_asked():
    count = 2000
    sides = np.full(count, 100)
    rows = np.arange(count)
    found = draw(whole(100, tilt=30, swell=0.25, flip=0.5), sides, sides, rows, seed=0).geometry[0]
    matrix = found[:, :, :2]
    scale = 1 / np.sqrt(np.abs(np.linalg.det(matrix)))
    degrees = np.rad2deg(np.arctan2(matrix[:, 1, 0], matrix[:, 1, 1]))
    mirrored = np.linalg.det(matrix) < 0
    assert 0.45 < mirrored.mean() < 0.55
    assert scale.min() == pytest.approx(0.75)
    assert scale.max() == pytest.approx(1.25)
    assert np.abs(degrees).max() == pytest.approx(60)
    assert 0.35 < (np.abs(degrees) < 1e-9).mean() < 0.45
    middle = matrix @ np.array([49.5, 49.5]) + found[:, :, 2]
    np.testing.assert_allclose(middle, 49.5, atol=1e-9)


def test_views_that_cannot_be_are_refused():
    with pytest.raises(SettingProblem, match="tilt is degrees and a chance"):
        View(32, whole=True, tilt=(30.0, 1.5))


def test_boxes_are_cut_at_the_rim():
    inside = boxes_around(
        torch.tensor([[[0, 9], [5, 5]]]), torch.tensor([[[2, 3], [1, 1]]]), (10, 8)
    )
    assert int(inside.sum()) == 2 * 4 + 2 * 2
    assert inside[0, 6:, :2].all()
    nowhere = boxes_around(torch.tensor([[[-9, 4]]]), torch.tensor([[[2, 2]]]), (10, 8))
    assert not nowhere.any()


def test_patches_keep_their_place_about_the_joint():
    donor = torch.arange(100.0).view(1, 1, 10, 10)
    at, there = torch.tensor([[[7, 2]]]), torch.tensor([[[4, 5]]])
    made = cover(torch.full((1, 1, 10, 10), -1.0), at, donor, there, torch.tensor([[[2, 2]]]))
    assert made[0, 0, 2, 7] == donor[0, 0, 5, 4]
    assert made[0, 0, 1, 6] == donor[0, 0, 4, 3]
    assert int((made >= 0).sum()) == 16
    far = cover(donor, torch.tensor([[[30, 2]]]), donor + 1, there, torch.tensor([[[2, 2]]]))
    assert torch.equal(far, donor)
