"""The structure filter: its algebra, and that it is the method and not a mere area opening."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from skimage.morphology import max_tree

from fallow.problems import SettingProblem
from fallow.views.structure import (
    area_filter,
    count_regions,
    structure_filter,
    structure_view,
    unit_range,
)

TREES = ("max", "min")
# few levels make plateaus and ties, many make long chains
LEVELS = st.sampled_from([1, 3, 20, 255])


@st.composite
def cases(draw):
    """An image of two or three axes, a tree, an area and a connectivity."""
    dimensions = draw(st.sampled_from([2, 3]))
    side = 12 if dimensions == 2 else 6
    shape = draw(arrays.array_shapes(min_dims=dimensions, max_dims=dimensions, max_side=side))
    values = st.integers(0, draw(LEVELS))
    image = draw(arrays.arrays(np.uint8, shape, elements=values))
    connectivity = draw(st.sampled_from([4, 8] if dimensions == 2 else [6, 26]))
    how = {"tree": draw(st.sampled_from(TREES)), "area": draw(st.integers(0, 30))}
    return image, how | {"connectivity": connectivity}


@given(cases())
@settings(deadline=None, max_examples=150)
def test_filtering_twice_is_filtering_once(case):
    image, how = case
    once = structure_filter(image, **how)
    np.testing.assert_array_equal(structure_filter(once, **how), once)
    area = area_filter(image, **how)
    np.testing.assert_array_equal(area_filter(area, **how), area)


@given(cases())
@settings(deadline=None, max_examples=150)
def test_bright_regions_are_lowered_and_dark_ones_raised(case):
    image, how = case
    area, flat = area_filter(image, **how), structure_filter(image, **how)
    chain = [flat, area, image] if how["tree"] == "max" else [image, area, flat]
    for low, high in pairwise(chain):
        assert (low <= high).all()
    assert set(np.unique(flat)) <= set(np.unique(image))


@given(cases())
@settings(deadline=None, max_examples=150)
def test_the_trees_are_dual(case):
    image, how = case
    other = how | {"tree": "min" if how["tree"] == "max" else "max"}
    for one in (structure_filter, area_filter):
        np.testing.assert_array_equal(one(image, **other), 255 - one(255 - image, **how))


@given(cases(), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=150)
def test_increasing_maps_commute(case, seed):
    """Contrast does not matter: only which of two pixels is brighter does."""
    image, how = case
    image = image // 2  # leaves room for a map that is strictly increasing
    steps = np.random.default_rng(seed).permutation(255)[:127]
    increasing = np.zeros(128, np.uint8)
    increasing[1:] = np.sort(steps) + 1
    assert (np.diff(increasing.astype(int)) > 0).all()
    for one in (structure_filter, area_filter):
        np.testing.assert_array_equal(increasing[one(image, **how)], one(increasing[image], **how))


@given(cases())
@settings(deadline=None, max_examples=150)
def test_no_region_is_left_with_one_child(case):
    """The regions of the result, counted anew, are those kept; and none of them is alone."""
    image, how = case
    every, large, branching = count_regions(image, **how)
    assert every >= large >= branching >= 1
    flat = structure_filter(image, **how)
    again = count_regions(flat, **how)
    assert again == (branching, branching, branching)
    parent, pixels = regions(flat if how["tree"] == "max" else 255 - flat, how["connectivity"])
    assert len(parent) == branching
    children = np.bincount(parent[1:], minlength=branching)  # the root comes first
    assert (children != 1).all()
    assert (pixels[1:] >= how["area"]).all()


def regions(image, connectivity):
    """Parents and sizes of the max-tree's nodes by scikit-image, which refuses short sides."""
    wide = np.pad(image, [(0, max(0, 3 - side)) for side in image.shape], mode="edge")
    reach = {4: 1, 8: 2, 6: 1, 26: 3}[connectivity]
    parent, order = max_tree(wide, connectivity=reach)
    flat, parent = wide.reshape(-1), parent.reshape(-1)
    number, up, count = {}, [], []
    inside = np.zeros(wide.shape, bool)
    inside[tuple(slice(side) for side in image.shape)] = True
    node = np.empty(len(flat), int)
    for pixel in order:
        above = parent[pixel]
        if pixel == above or flat[above] != flat[pixel]:
            number[pixel] = len(up)
            up.append(number.get(above, 0) if pixel != above else 0)
            count.append(0)
            node[pixel] = number[pixel]
        else:
            node[pixel] = node[above]
        count[node[pixel]] += int(inside.reshape(-1)[pixel])
    for place in range(len(up) - 1, 0, -1):
        count[up[place]] += count[place]
    return np.array(up), np.array(count)


@given(cases())
@settings(deadline=None, max_examples=100)
def test_turning_the_image_turns_the_result(case):
    image, how = case
    for one in (structure_filter, area_filter):
        turned = one(np.rot90(image, axes=(-2, -1)), **how)
        np.testing.assert_array_equal(turned, np.rot90(one(image, **how), axes=(-2, -1)))


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (5, 5), (1, 1, 4), (3, 3, 3)])
@pytest.mark.parametrize("tree", TREES)
def test_one_colour_stays_even_below_the_area(shape, tree):
    image = np.full(shape, 77, np.uint8)
    np.testing.assert_array_equal(structure_filter(image, tree, area=1000), image)
    assert count_regions(image, tree, area=1000) == (1, 1, 1)


def test_a_region_of_exactly_the_area_stays():
    image = np.zeros((6, 9), np.uint8)
    image[1:3, 1:3] = 50
    image[1:3, 5:7] = 90
    np.testing.assert_array_equal(structure_filter(image, area=4), image)
    assert not structure_filter(image, area=5).any()


def test_a_chain_keeps_its_outermost_region_and_the_root():
    """Rings within rings vanish into the root; beside a sibling the outermost ring stays."""
    rings = np.zeros((9, 9), np.uint8)
    for level, inset in ((10, 1), (20, 2), (30, 3)):
        rings[inset : 9 - inset, inset : 9 - inset] = level
    assert not structure_filter(rings, area=1).any()
    beside = np.zeros((9, 14), np.uint8)
    beside[:, :9], beside[4, 12] = rings, 200
    flat = structure_filter(beside, area=1)
    assert set(np.unique(flat[:, :9])) == {0, 10}
    assert (flat[1:8, 1:8] == 10).all()
    assert flat[4, 12] == 200


def test_siblings_are_counted_after_small_regions_are_gone():
    """9 and 7 are siblings in 5 until 7, too small, has gone: then 9 is alone."""
    image = np.zeros((5, 12), np.uint8)
    image[1:4, 1:8] = 5
    image[2, 2:5], image[2, 6] = 9, 7
    image[2, 10] = 30
    image[3, 10] = 30
    assert structure_filter(image, area=1)[2, 3] == 9
    assert structure_filter(image, area=2)[2, 3] == 5


def test_diagonal_neighbours_meet_only_where_they_may():
    image = np.eye(5, dtype=np.uint8) * 9
    image[0, 4] = 9
    assert count_regions(image, area=0, connectivity=8)[0] == 3
    assert count_regions(image, area=0, connectivity=4)[0] == 7
    assert count_regions(np.eye(3, dtype=np.uint8)[None], area=0, connectivity=26)[0] == 2
    assert count_regions(np.eye(3, dtype=np.uint8)[None], area=0, connectivity=6)[0] == 4


def test_only_children_are_spared_by_chance():
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (64, 64)).astype(np.uint8)
    area = area_filter(image, area=3)
    np.testing.assert_array_equal(structure_filter(image, area=3, keep=1.0), area)
    some = [structure_filter(image, area=3, keep=0.5, seed=seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(some[0], some[1])
    assert (some[0] != some[2]).any()
    none = structure_filter(image, area=3)
    assert none.mean() < some[0].mean() < area.mean()


def test_images_that_are_no_block_of_memory():
    random = np.random.default_rng(1)
    image = random.integers(0, 9, (20, 30, 3)).astype(np.uint8)
    expected = structure_filter(np.ascontiguousarray(image[::2, :, 1]), area=3)
    np.testing.assert_array_equal(structure_filter(image[::2, :, 1], area=3), expected)
    image.flags.writeable = False
    before = image.copy()
    structure_filter(image, "min")
    np.testing.assert_array_equal(image, before)


def test_a_photograph_loses_most_of_its_regions():
    from skimage.data import camera

    image = camera()[:256, :256]
    every, large, branching = count_regions(image, area=6)
    assert every > 2 * large > 4 * branching
    assert len(np.unique(structure_filter(image, area=6))) < len(np.unique(image))


def test_the_view_turns_and_bends_before_it_filters():
    random = np.random.default_rng(2)
    unit = random.random((16, 16))
    plain = structure_filter((unit * 255).astype(np.uint8), area=3) / 255
    np.testing.assert_allclose(structure_view(unit, area=3), plain)
    turned = structure_view(unit, area=3, turns=3)
    np.testing.assert_allclose(np.rot90(turned, 1), plain)  # filtering does not mind the turn
    bent = structure_filter((unit**1.4 * 255).astype(np.uint8), area=3) / 255
    np.testing.assert_allclose(structure_view(unit, area=3, gamma=1.4), bent)


def test_unit_range_of_one_colour_is_zero():
    unit, least, extent = unit_range(np.full((3, 3), -4.0))
    assert (unit == 0).all()
    assert (least, extent) == (-4.0, 0.0)


@pytest.mark.parametrize(
    ("image", "how", "words"),
    [
        (np.zeros((4, 4)), {}, "uint8"),
        (np.zeros((4, 4), np.uint16), {}, "scale other values"),
        (np.zeros(4, np.uint8), {}, "two or three axes"),
        (np.zeros((0, 4), np.uint8), {}, "8-bit image"),
        (np.zeros((4, 4), np.uint8), {"connectivity": 26}, "4 or 8"),
        (np.zeros((4, 4, 4), np.uint8), {"connectivity": 8}, "6 or 26"),
        (np.zeros((4, 4), np.uint8), {"tree": "maxtree"}, "max"),
        (np.zeros((4, 4), np.uint8), {"area": -1}, "area"),
        (np.zeros((4, 4), np.uint8), {"keep": 2.0}, "probability"),
    ],
)
def test_a_sentence_for_what_cannot_be_filtered(image, how, words):
    with pytest.raises(SettingProblem, match=words):
        structure_filter(image, **how)
