"""A picture is brought into another's place to a tenth of a pixel; nothing is made up outside."""

import numpy as np
import pytest
from skimage import data
from skimage.transform import resize

from fallow.inventory.registration import normalised, refined, warped

WINDOW = 6


@pytest.fixture(scope="module")
def plane() -> np.ndarray:
    return (resize(data.camera(), (140, 150)) * 255).astype(np.float32)


def moved(map_: np.ndarray, points: np.ndarray) -> np.ndarray:
    places = map_ @ np.vstack([points.T, np.ones(len(points))])
    return (places[:2] / places[2]).T


def test_the_map_that_was_drawn_is_found(plane):
    drawn = np.array([[1.02, 0.03, 2.0], [-0.02, 0.99, 1.5], [1e-4, -1e-4, 1.0]])
    target, seen = warped(plane, (120, 130), drawn)
    assert seen.mean() > 0.95
    start = np.array([[1.0, 0, 3.0], [0, 1.0, 0.5], [0, 0, 1.0]])
    even, spread = normalised(target, WINDOW)
    found = refined(normalised(plane, WINDOW)[0], even, spread, start, 20)
    corners = np.array([[10.0, 10], [110, 10], [110, 100], [10, 100]])
    away = np.abs(moved(found / found[2, 2], corners) - moved(drawn, corners))
    assert away.max() < 0.25


def test_where_the_source_shows_nothing_nothing_is_seen(plane):
    right = np.array([[1.0, 0, 100], [0, 1.0, 0], [0, 0, 1.0]])
    laid, seen = warped(plane, plane.shape, right)
    assert not seen[:, 60:].any()
    assert (laid[~seen] == 0).all()
    assert np.abs(laid[:138, :48] - plane[:138, 100:148]).max() < 1e-3


def test_local_contrast_is_the_same_whatever_the_light(plane):
    one, spread = normalised(plane, WINDOW)
    other, _ = normalised(1.5 * plane + 20, WINDOW)
    lively = spread > 20
    assert np.abs(one - other)[lively].max() < 0.2
    flat, none = normalised(np.full((20, 20), 7, np.float32), WINDOW)
    assert np.abs(flat).max() < 1e-3
    assert none.max() < 1e-2
