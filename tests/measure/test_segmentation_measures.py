"""Dice, Jaccard, IoU and border distances on masks whose values are known."""

from __future__ import annotations

import numpy as np
import pytest

from fallow.measure.segmentation import asd, confusion, dice, hd95, jaccard, mean_iou
from fallow.problems import Problem


def squares(shift):
    one = np.zeros((20, 20), int)
    one[4:12, 4:12] = 1
    return one, np.roll(one, shift, axis=1)


def test_dice_and_jaccard_of_shifted_squares():
    one, other = squares(2)
    assert dice(one, other)[1] == pytest.approx(2 * 48 / 128)
    assert jaccard(one, other)[1] == pytest.approx(48 / 80)
    both = jaccard(one, other)[1]
    assert dice(one, other)[1] == pytest.approx(2 * both / (1 + both))


def test_ignored_pixels_do_not_count():
    one, other = squares(2)
    truth = other.copy()
    truth[one != other] = 255
    assert dice(one, truth).tolist() == [1.0, 1.0]


def test_an_absent_class_is_agreed_upon():
    empty = np.zeros((3, 3), int)
    assert dice(empty, empty, 3).tolist() == [1.0, 1.0, 1.0]
    counts = confusion(empty, empty, 3)
    assert mean_iou(counts) == 1.0
    assert mean_iou(counts, absent="zero") == pytest.approx(1 / 3)


def test_a_class_too_many_is_refused():
    with pytest.raises(Problem, match="class 2, but there are 2"):
        confusion([2], [1], 2)
    with pytest.raises(Problem, match="does not fit"):
        dice(np.zeros((2, 2), int), np.zeros((3, 2), int))


def test_border_distances():
    one, other = squares(3)
    assert asd(one, one) == 0.0
    assert hd95(one, other) == pytest.approx(3.0)
    assert hd95(one, other, spacing=(1.0, 0.5)) == pytest.approx(1.5)
    assert 0 < asd(one, other) < 3
    assert hd95(one, np.zeros_like(one)) is None


def test_asd_is_one_way():
    small, large = np.zeros((30, 30), int), np.zeros((30, 30), int)
    small[10:12, 10:12] = 1
    large[2:28, 2:28] = 1
    assert asd(small, large) != pytest.approx(asd(large, small))


def test_distances_in_volumes():
    one = np.zeros((10, 10, 10), int)
    one[2:6, 2:6, 2:6] = 1
    assert hd95(one, np.roll(one, 2, axis=0)) == pytest.approx(2.0)
