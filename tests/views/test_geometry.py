"""Points, boxes, masks and heat maps go into views and back again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fallow.views import (
    Recipe,
    View,
    at_resolution,
    between,
    compose,
    draw,
    identity,
    inverse,
    map_boxes,
    map_heat,
    map_mask,
    map_points,
    pack_arrays,
    render,
    turning,
    unmap_boxes,
    unmap_map,
    unmap_mask,
    unmap_points,
)

ANY = Recipe((View(48, 2, rotate=40.0, shear=15.0),))


def geometries(seed, recipe=ANY, height=80, width=120):
    return torch.from_numpy(draw(recipe, [height], [width], [0], seed=seed).geometry[:, 0])


@settings(deadline=None)  # the first call compiles
@given(
    st.integers(0, 10**6),
    st.lists(st.tuples(st.floats(-500, 500), st.floats(-500, 500)), min_size=1, max_size=5),
)
def test_mapping_there_and_back(seed, points):
    geometry = geometries(seed)
    there = torch.tensor(points, dtype=torch.float64)
    for matrix in geometry:
        back = unmap_points(matrix, map_points(matrix, there))
        assert (back - there).abs().max() < 1e-6
    across = unmap_points(between(geometry[0], geometry[1]), map_points(geometry[0], there))
    assert (across - map_points(geometry[1], there)).abs().max() < 1e-6


@settings(deadline=None)  # the first call compiles
@given(st.integers(0, 10**6))
def test_composing_with_the_inverse_is_nothing(seed):
    geometry = geometries(seed)
    nothing = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], dtype=torch.float64)
    assert (compose(geometry, inverse(geometry)) - nothing).abs().max() < 1e-9


def test_geometry_says_where_pixels_come_from():
    """A picture whose colours are its coordinates shows the geometry itself."""
    y, x = np.mgrid[0:200, 0:250]
    pack = pack_arrays([np.stack([x, y, 0 * x], -1).astype(np.uint8)])
    for rotate in (0.0, 30.0):
        recipe = Recipe((View(64, 4, rotate=rotate),), (0, 0, 0), (1, 1, 1))
        result = render(pack, [0], recipe, seed=3)
        rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
        for view, geometry in zip(result.views, result.geometry[:, 0], strict=True):
            places = unmap_points(
                geometry, torch.stack([columns, rows], -1).reshape(-1, 2).double()
            )
            seen = (view[0, :2] * 255).permute(1, 2, 0).reshape(-1, 2)
            inside = ((places > 6) & (places < torch.tensor([243.0, 193.0]))).all(1)
            assert inside.float().mean() > 0.3
            assert (places - seen)[inside].abs().max() < 0.15  # what a sampled triangle allows


def test_flip_carries_points_and_masks():
    recipe = Recipe((View(10, centre=1.0, flip=1.0),))
    (geometry,) = geometries(0, recipe, 10, 10)
    assert map_points(geometry, torch.tensor([[0.0, 3.0], [9.0, 4.0]])).tolist() == [[9, 3], [0, 4]]
    mask = torch.arange(100).view(10, 10)
    assert torch.equal(map_mask(mask, geometry, 10), mask.flip(1))
    assert torch.equal(unmap_mask(mask.flip(1), geometry, (10, 10)), mask)
    box = torch.tensor([[0.0, 0.0, 3.0, 10.0]])
    assert map_boxes(geometry, box).tolist() == [[7, 0, 10, 10]]


def test_leading_dimensions_broadcast():
    geometry = torch.from_numpy(draw(ANY, [80] * 3, [120] * 3, [0, 1, 2], seed=0).geometry)
    points = torch.rand(3, 5, 2, dtype=torch.float64) * 80
    mapped = map_points(geometry, points)
    assert mapped.shape == (2, 3, 5, 2)
    assert torch.allclose(mapped[1, 2], map_points(geometry[1, 2], points[2]))
    boxes = torch.cat([points, points + 5], -1)
    assert map_boxes(geometry, boxes).shape == (2, 3, 5, 4)


def test_boxes_survive_upright_views():
    (geometry,) = geometries(5, Recipe((View(32),)))
    boxes = torch.tensor([[3.0, 4.0, 30.0, 44.0]], dtype=torch.float64)
    assert torch.allclose(unmap_boxes(geometry, map_boxes(geometry, boxes)), boxes)


def test_mask_follows_the_picture():
    """The nearest mask of a crop is the crop of the picture drawn from the same mask."""
    mask = torch.zeros(90, 70, dtype=torch.uint8)
    mask[20:60, 10:50] = 1
    pack = pack_arrays([(mask * 255).numpy()])
    for rotate in (0.0, 35.0):
        recipe = Recipe((View(64, 3, rotate=rotate, area=(0.5, 1.0)),), (0, 0, 0), (1, 1, 1))
        result = render(pack, [0], recipe, seed=1)
        for view, geometry in zip(result.views, result.geometry[:, 0], strict=True):
            moved = map_mask(mask, geometry, 64)
            sure = (view[0, 0] < 0.05) | (view[0, 0] > 0.95)
            assert sure.float().mean() > 0.8
            assert torch.equal(moved[sure].bool(), (view[0, 0] > 0.5)[sure])
            assert moved.dtype == torch.uint8


def test_outside_of_masks_and_heat():
    shifted = torch.tensor([[1.0, 0.0, 3.0], [0.0, 1.0, 0.0]])
    mask = torch.ones(4, 4, dtype=torch.int64)
    assert map_mask(mask, shifted, 4, outside=255)[0].tolist() == [1, 255, 255, 255]
    assert map_heat(mask.float(), shifted, 4)[0].tolist() == [1, 0, 0, 0]


def test_heat_peak_goes_there_and_back():
    y, x = torch.meshgrid(torch.arange(80.0), torch.arange(120.0), indexing="ij")
    heat = torch.exp(-((x - 60) ** 2 + (y - 40) ** 2) / 50)
    crop = torch.tensor([[1.5, 0.0, 30.0], [0.0, 1.2, 5.0]], dtype=torch.float64)
    geometry = compose(crop, turning(25.0, 48))
    seen = map_heat(heat, geometry, 48)
    row, column = divmod(int(seen.argmax()), 48)
    peak = map_points(geometry, torch.tensor([[60.0, 40.0]], dtype=torch.float64))[0]
    assert (peak - torch.tensor([column, row])).abs().max() < 1.0
    back = unmap_map(seen, geometry, (80, 120))
    shown = unmap_map(torch.ones(48, 48), geometry, (80, 120)) > 0
    assert shown.float().mean() > 0.05
    assert (back - heat)[shown].abs().max() < 0.1


def test_coarse_maps_cover_the_view():
    geometry = torch.tensor([[0.5, 0.0, 1.75], [0.0, 0.5, 3.75]], dtype=torch.float64)
    coarse = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    laid = unmap_map(coarse, geometry, (16, 16), view_size=16)  # shows x 2..10, y 4..12
    assert laid[4:12, 2:10].min() == 1
    assert laid.count_nonzero() == 64
    assert laid[11, 9] == 4
    grid = at_resolution(geometry, 16, 2)
    assert unmap_points(grid, torch.tensor([[0.0, 0.0]])).tolist() == [[3.5, 5.5]]


def test_turning_about_the_centre():
    quarter = turning(90.0, 4)
    picture = torch.arange(16).view(4, 4)
    assert torch.equal(map_mask(picture, quarter, 4), picture.rot90(1))
    batch = turning(torch.tensor([0.0, 30.0]), 5, scale=torch.tensor([2.0, 1.0]))
    assert batch.shape == (2, 2, 3)
    middle = torch.tensor([[2.0, 2.0]], dtype=torch.float64)
    assert torch.allclose(unmap_points(batch, middle), middle.expand(2, 1, 2))
    moved = turning(0.0, 5, shift=torch.tensor([1.0, 0.0]))
    assert map_points(moved, middle).tolist() == [[3.0, 2.0]]


def test_identity_geometry_with_other_sizes_is_centred():
    (geometry,) = geometries(0, identity(40), 80, 120)
    centre = torch.tensor([[19.5, 19.5]], dtype=torch.float64)
    assert unmap_points(geometry, centre).tolist() == [[59.5, 39.5]]


def test_one_geometry_at_a_time_for_masks():
    with pytest.raises(ValueError, match="one geometry"):
        map_mask(torch.zeros(3, 3), torch.zeros(2, 2, 3), 3)
