"""Points of a picture find themselves again; most of them agree on one map."""

import numpy as np
import pytest
from skimage import data
from skimage.transform import resize

from fallow.inventory.keypoints import Keypoints, keypoints
from fallow.inventory.matching import aligned, bits
from fallow.inventory.registration import warped


@pytest.fixture(scope="module")
def plane() -> np.ndarray:
    return (resize(data.camera(), (144, 144)) * 255).astype(np.float32)


def test_bits_are_counted():
    draw = np.random.default_rng(0)
    values = draw.integers(0, 2**63, 50, dtype=np.uint64)
    assert [bits(value) for value in values] == [int(value).bit_count() for value in values]


def test_a_turned_picture_lies_where_it_was_turned_to(plane):
    angle = np.radians(8)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    back = np.eye(3)
    back[:2, :2] = turn
    back[:2, 2] = 72 - turn @ [72, 72]
    other, _ = warped(plane, plane.shape, back)  # from the other's places to the plane's
    number, affine = aligned(keypoints(plane), keypoints(other), 144, False)
    assert number >= 20
    there = affine @ [72, 40, 1]
    assert np.abs(back @ [*there, 1] - [72, 40, 1]).max() < 1.5


def test_a_mirrored_picture_is_found_when_it_is_asked_for(plane):
    mirrored = keypoints(np.ascontiguousarray(plane[:, ::-1]))
    number, affine = aligned(keypoints(plane), mirrored, 144, True)
    assert number >= 20
    assert np.abs(affine - [[1, 0, 0], [0, 1, 0]]).max() < 1


def test_without_points_nothing_agrees():
    none = Keypoints(
        np.zeros((0, 2), np.float32), np.zeros(0, np.int8), np.zeros((0, 2), np.uint64)
    )
    assert aligned(none, none, 10, False)[0] == 0
