"""Patterns, planes, levels, white balance and lens shading."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fallow.problems import SettingProblem
from fallow.raw import balanced, gains_of, mosaic_of, mosaicked, normalised, planes
from fallow.raw.levels import numbers, shading_map, shading_of, truncated, whole
from fallow.raw.mosaic import BAYER, ORDERS, flipped, letters, pattern_of, shifted


@pytest.mark.parametrize("order", [*ORDERS, "Gb B R Gr", ("11", "10", "01", "00")])
@pytest.mark.parametrize("pattern", BAYER)
def test_planes_and_back(pattern, order):
    draw = np.random.default_rng(0)
    mosaic = draw.random((2, 6, 8))
    taken = planes(mosaic, pattern, order)
    assert taken.shape == (2, 4, 3, 4)
    assert (mosaic_of(taken, pattern, order) == mosaic).all()
    same = planes(torch.from_numpy(mosaic), pattern, order)
    assert (same.numpy() == taken).all()
    assert (mosaic_of(same, pattern, order).numpy() == mosaic).all()


@pytest.mark.parametrize("pattern", BAYER)
def test_orders_name_colours(pattern):
    rgb = np.stack([np.full((4, 4), colour) for colour in (10, 20, 30)])
    mosaic = mosaicked(rgb, pattern)
    assert planes(mosaic, pattern)[:, 0, 0].tolist() == [10, 20, 20, 30]
    rows = np.arange(4)[:, None] * np.ones((1, 4), int)
    first, second = planes(rows, pattern, "B G0 R G1")[[1, 3], 0, 0]
    assert (first, second) == (0, 1)  # greens of the even rows, of the odd rows


def test_odd_sizes_are_cut_from_the_end():
    mosaic = np.arange(35).reshape(5, 7)
    assert planes(mosaic, "RGGB").shape == (4, 2, 3)
    assert mosaic_of(planes(mosaic, "RGGB"), "RGGB").tolist() == mosaic[:4, :6].tolist()


@pytest.mark.parametrize("axis", [-1, -2])
@pytest.mark.parametrize("pattern", BAYER)
def test_a_flipped_mosaic_keeps_its_pattern(pattern, axis):
    rgb = np.stack([np.full((8, 8), colour) for colour in range(3)])
    mosaic = mosaicked(rgb, pattern)
    mirrored = flipped(mosaic, axis)
    assert (mirrored == mosaicked(rgb, pattern)[: mirrored.shape[0], : mirrored.shape[1]]).all()
    assert (flipped(torch.from_numpy(mosaic), axis).numpy() == mirrored).all()
    assert not (np.flip(mosaic, axis) == mosaic).all()  # a plain mirror image would not


def test_cutting_shifts_the_pattern():
    rgb = np.stack([np.full((8, 8), colour) for colour in range(3)])
    for down, right in np.ndindex(2, 2):
        cut = mosaicked(rgb, "GRBG")[down:, right:]
        cell = shifted(pattern_of("GRBG"), down, right)
        assert (cut == mosaicked(rgb[:, down:, right:], letters(cell))).all()


def test_levels_and_back():
    draw = np.random.default_rng(0)
    mosaic = draw.integers(0, 1024, (9, 7)).astype(np.uint16)
    black = [63, 64, 65, 66]
    light = normalised(mosaic.astype(np.float64), black, 1023)
    assert light.min() < 0  # noise below black stays
    assert normalised(mosaic, black, 1023, low=0).min() == 0
    assert (whole(numbers(light, black, 1023)) == mosaic).all()
    assert np.abs(truncated(numbers(light, black, 1023)).astype(int) - mosaic).max() <= 1
    tensors = normalised(torch.from_numpy(mosaic.astype(np.float64)), black, 1023)
    np.testing.assert_allclose(tensors.numpy(), light)
    np.testing.assert_allclose(numbers(tensors, black, 1023).numpy(), numbers(light, black, 1023))


def test_clipped_highlights_stay_white_under_white_balance():
    saturated = np.ones((4, 4))
    assert (balanced(saturated, [2, 1, 1.5], "RGGB") == 1).all()
    assert balanced(saturated, [2, 1, 1.5], "RGGB", high=None).max() == 2


@pytest.mark.parametrize("bad", [[1, 2], [1, 0, 1], [1, np.nan, 1], [-1, 1, 1]])
def test_an_answer_to_white_is_three_positive_numbers(bad):
    with pytest.raises(SettingProblem, match="three numbers above 0"):
        gains_of(bad)


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda: pattern_of("RGBG"), "no Bayer pattern"),
        (lambda: pattern_of([0, 1, 1]), "names red 0"),
        (lambda: planes(np.zeros((4, 4)), "RGGB", "R Gr Gb"), "four places once"),
        (lambda: planes(np.zeros((4, 4)), "RGGB", "R Gr Gx B"), "no plane"),
        (lambda: planes(np.zeros((6, 6)), np.tile([[1, 1, 0], [1, 1, 2]], (3, 2))), "X-Trans"),
        (lambda: normalised(np.zeros((4, 4)), 64, 64), "does not lie above"),
        (lambda: normalised(np.zeros((4, 4)), [1, 2], 64), "four for 2 x 2"),
    ],
)
def test_one_sentence_for_what_cannot_be(ask, words):
    with pytest.raises(SettingProblem, match=words):
        ask()


def test_shading_is_measured_and_taken_out():
    y, x = np.mgrid[-1:1:60j, -1:1:90j]
    lens = 0.9 - 0.25 * (x**2 + y**2)
    lens[::2, ::2] *= 0.8  # red answers less, which is no shading
    draw = np.random.default_rng(0)
    gains = shading_of(lens + draw.normal(0, 0.01, lens.shape))
    flat = lens * gains
    for row, column in np.ndindex(2, 2):
        part = flat[row::2, column::2]
        assert np.ptp(part) / part.mean() < 0.05
    assert abs(flat[::2, ::2].mean() / flat[1::2, 1::2].mean() - 0.8) < 0.02
    assert gains.min() >= 1 - 1e-9
    with pytest.raises(SettingProblem, match="expose it longer"):
        shading_of(np.zeros((20, 20)))


def test_coarse_gain_maps_of_four_places():
    coarse = np.stack([np.full((3, 4), gain) for gain in (1.0, 2.0, 3.0, 4.0)])
    full = shading_map(coarse, 5, 6)
    assert full[:2, :2].tolist() == [[1, 2], [3, 4]]
    with pytest.raises(SettingProblem):
        shading_map(np.ones((3, 2, 2)), 4, 4)
