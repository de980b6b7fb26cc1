"""How well two aligned pictures agree, and how fine each is."""

import numpy as np
import pytest
from skimage import data
from skimage.transform import resize

from fallow.inventory.agreement import agreement, finer, passes
from fallow.inventory.keypoints import smooth

BLOCK = 12


@pytest.fixture(scope="module")
def plane() -> np.ndarray:
    return (resize(data.camera(), (144, 144)) * 235 + 10).astype(np.float32)


@pytest.fixture(scope="module")
def seen(plane) -> np.ndarray:
    return np.ones(plane.shape, bool)


def test_a_picture_agrees_with_itself_in_any_light(plane, seen):
    correlation, beside, held = agreement(plane, 0.5 * plane + 40, seen, BLOCK)
    assert correlation > 0.98
    assert beside < 0.02
    assert held > 30


def test_a_step_aside_is_seen_and_another_picture_does_not_agree(plane, seen):
    aside = agreement(plane, np.roll(plane, 1, axis=1), seen, BLOCK)
    assert aside[1] > 0.3
    assert agreement(plane, np.ascontiguousarray(plane[::-1]), seen, BLOCK)[0] < 0.5


def test_the_finer_one_is_smoothed(plane, seen):
    soft = smooth(smooth(smooth(plane)))
    assert finer(plane, soft, seen, BLOCK) > 1.5
    first, second = passes(plane, soft, seen, BLOCK)
    assert first >= 2
    assert second == 0
