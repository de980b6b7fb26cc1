"""How near predicted landmarks come, with unmarked ones left out."""

import numpy as np
import pytest

from fallow.measure.landmarks import pck


def test_unmarked_points_count_nowhere():
    truth = np.array([[[0.0, 0.0], [np.nan, np.nan]], [[10.0, 10.0], [np.nan, np.nan]]])
    found = np.nan_to_num(truth) + np.array([3.0, 4.0])
    assert pck(found, truth, 5.0)[0] == 1.0
    assert pck(found, truth, 5.0, strict=True)[0] == 0.0
    assert np.isnan(pck(found, truth, 5.0)[1])


def test_reach_goes_by_picture_and_by_axis():
    truth = np.zeros((2, 1, 2))
    found = np.array([[[3.0, 0.0]], [[0.0, 3.0]]])
    assert pck(found, truth, np.array([4.0, 2.0])).tolist() == [0.5]
    assert pck(found, truth, np.array([[4.0, 1.0], [1.0, 4.0]])).tolist() == [1.0]
    assert pck(found, truth, np.array([[2.0, 9.0], [9.0, 2.0]])).tolist() == [0.0]


def test_a_picture_without_size_is_not_judged():
    truth = np.zeros((2, 1, 2))
    found = np.array([[[9.0, 0.0]], [[1.0, 0.0]]])
    assert pck(found, truth, np.array([0.0, 2.0])).tolist() == [1.0]


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_distance_alone_is_a_reach(value):
    assert pck(np.full((1, 1, 2), value), np.zeros((1, 1, 2)), 1.0)[0] == float(value == 0)
