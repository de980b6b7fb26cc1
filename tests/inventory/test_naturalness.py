"""Natural statistics: strips make no difference, flat blocks are skipped, damage shows."""

from __future__ import annotations

import numpy as np
import pytest
from tests.methods.spoilt import photo, spoilt

from fallow.inventory.naturalness import (
    FEATURES,
    Half,
    Luma,
    blocks,
    brisque,
    brisque_18,
    halved,
    mscn,
    natural,
    niqe,
    sums_of,
    unnatural,
)
from fallow.problems import Problem


@pytest.mark.parametrize(("height", "width"), [(300, 61), (129, 64), (128, 50), (17, 16)])
def test_strips_make_no_difference(height, width):
    pixels = photo(0, height, width)
    luma = Luma(pixels).rows(0, height)
    whole = [brisque_18(sums_of(mscn(plane, "zero"))) for plane in (luma, halved(luma))]
    np.testing.assert_allclose(brisque(pixels), np.concatenate(whole), rtol=1e-9)
    half = Half(Luma(pixels))
    rows = half.rows(0, half.height)
    for first in range(0, half.height, 7):
        part = half.rows(first, min(first + 7, half.height))
        np.testing.assert_array_equal(part, rows[first : first + 7])


def test_luma_is_that_of_the_standard_in_whole_numbers():
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8)
    assert Luma(colours).rows(0, 1).tolist() == [[76, 150, 29, 255]]


def test_flat_blocks_are_skipped_and_the_rest_counts():
    pixels = photo()
    pixels[:96, :96] = 127
    found = blocks(pixels)
    assert found.shape == (2, 2)
    assert np.isnan(found.features[0]).any()
    assert np.isfinite(found.features[1:]).all()
    model = natural([blocks(photo(seed=k)) for k in range(1, 20)])
    assert np.isfinite(niqe(found, model))
    assert np.isnan(unnatural(found, model)[0, 0])
    assert np.isnan(niqe(blocks(np.full((192, 192, 3), 9, np.uint8)), model))


def test_damage_leads_away_from_what_is_natural():
    model = natural([blocks(photo(seed=k)) for k in range(1, 20)])
    clean = photo(seed=50)
    start = niqe(blocks(clean), model)
    for name in ("gaussian_blur", "white_noise", "jpeg", "pixelated"):
        grades = [niqe(blocks(spoilt(clean, name, grade)), model) for grade in (1, 5)]
        assert start < grades[1]
        assert grades[0] < grades[1]


def test_a_damaged_block_is_the_least_natural():
    model = natural([blocks(photo(seed=k)) for k in range(1, 20)])
    pixels = photo(seed=60)
    pixels[96:, 96:192] = spoilt(pixels, "gaussian_blur", 5)[96:, 96:192]
    away = unnatural(blocks(pixels), model)
    assert np.unravel_index(away.argmax(), away.shape) == (1, 1)


def test_only_sharp_blocks_make_a_model():
    sharp = [blocks(photo(seed=k)) for k in range(1, 20)]
    model = natural(sharp)
    blurred = blocks(spoilt(photo(seed=70), "gaussian_blur", 4))
    mixed = blocks(np.concatenate([photo(seed=1), spoilt(photo(seed=70), "gaussian_blur", 5)]))
    assert (mixed.sharpness > 0.75 * mixed.sharpness.max()).sum() <= 4
    assert niqe(blurred, model) > niqe(sharp[0], model)
    assert model.mean.shape == (FEATURES,)


def test_too_little_is_said_plainly():
    with pytest.raises(Problem, match="too small for blocks of 96"):
        blocks(photo(0, 64, 64))
    with pytest.raises(Problem, match="too small for blocks of 16"):
        brisque(photo(0, 8, 64))
    with pytest.raises(Problem, match="sharp blocks say too little"):
        natural([blocks(photo())])
    with pytest.raises(Problem, match="use an even number"):
        blocks(photo(), 33)
