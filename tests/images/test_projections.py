"""Metres of maps as degrees, beside places worked out by PROJ."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from fallow.images import opened
from fallow.images.footprints import footprints
from fallow.images.projections import degrees

PLACES = [
    (32633, 16.3730, 48.2085, 602005.1775538932, 5340385.875828166),
    (32756, 151.2153, -33.8568, 334900.56965226424, 6252288.752888294),
    (3857, -73.9857, 40.7484, -8236050.4499839, 4975301.253789809),
    (25832, 6.9583, 50.9413, 356560.2600038033, 5645282.1359179225),
    (32601, -179.2, 60.1, 377674.7355749278, 6664584.309365293),
    (4326, 5.0, 6.0, 5.0, 6.0),
]


@pytest.mark.parametrize(("code", "lon", "lat", "x", "y"), PLACES)
def test_places_of_the_world(code, lon, lat, x, y):
    found = degrees(code, x, y)
    assert found[0] == pytest.approx(lon, abs=1e-8)  # a millimetre
    assert found[1] == pytest.approx(lat, abs=1e-8)


def test_what_is_not_known_is_not_guessed():
    assert degrees(2154, 0, 0) is None
    assert degrees(32661, 0, 0) is None  # there are sixty zones


def geotiff(path, code):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[33550], tags.tagtype[33550] = (10.0, 10.0, 0.0), 12
    tags[33922], tags.tagtype[33922] = (0.0, 0.0, 0.0, 602005.0, 5340386.0, 0.0), 12
    tags[34735], tags.tagtype[34735] = (1, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, code), 3
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(path, tiffinfo=tags)


def test_a_geotiff_in_metres_has_a_box_in_degrees_and_its_own_metres_a_pixel(tmp_path):
    geotiff(tmp_path / "a.tif", 32633)
    geotiff(tmp_path / "b.tif", 2154)  # a system of one country, not known here
    boxes, metres = footprints(opened(tmp_path))
    west, south, east, north = boxes[0]
    assert west == pytest.approx(16.373, abs=1e-4)
    assert north == pytest.approx(48.2085, abs=2e-4)
    assert north - south == pytest.approx(400 / 111_200, rel=0.03)
    assert east - west == pytest.approx(600 / (111_320 * np.cos(np.radians(48.2))), rel=0.03)
    assert metres[0] == pytest.approx(10, rel=0.03)
    assert np.isnan(boxes[1]).all()
