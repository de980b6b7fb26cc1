"""The page of `pose`, and points drawn over pictures."""

from __future__ import annotations

import numpy as np

from fallow.colours import categories
from fallow.outcomes.pictures import thumbnail
from fallow.outcomes.skeletons import close_up, skeleton_over
from fallow.report.pose import pose_page


def test_the_page_says_what_to_mark_and_how_sure_it_is():
    picture = thumbnail(np.zeros((20, 30, 3), np.uint8), 20)
    page = pose_page(
        {
            "source": "mice",
            "headlines": ["4 points"],
            "items": [
                {"path": "a<b.png", "given": False, "doubt": 2.25},
                {"path": "c.png", "given": True, "doubt": 0.5},
            ],
            "pictures": [[picture, picture]] * 2,
            "points": [
                {"name": "nose", "marked": 2, "hit": 0.5, "confidence": 0.875, "moves": 3.0},
                {"name": "tail", "marked": 0, "hit": None, "confidence": 0.1, "moves": 9.0},
            ],
            "tracks": [
                {"name": "a.mp4", "seconds": [0, 1], "confidence": [0.5, 0.75], "notes": []}
            ],
            "metrics": [{"step": 1, "loss": 1.0, "peak": 0.5}, {"step": 2, "loss": 0.5}],
        }
    )
    assert "a&lt;b.png" in page
    assert "a<b.png" not in page
    for said in ("2.2 %", "50%", "0.88", "a.mp4", "Loss", "must not fade"):
        assert said in page
    assert page.count('class="spotted') == 1  # what is marked already is not suggested


def test_a_page_of_nothing_says_so():
    page = pose_page({})
    assert "Every picture is marked by hand." in page
    assert "No points were recorded." in page


def test_sure_points_are_dots_and_others_rings_without_a_line():
    plain = np.full((90, 90, 3), 128, np.uint8)
    points = np.array([[20.0, 20.0], [60.0, 20.0], [20.0, 60.0], [np.nan, np.nan]])
    drawn = skeleton_over(plain, points, np.array([0.9, 0.9, 0.1, 0.9]), [(0, 1), (0, 2), (1, 3)])
    assert drawn[20, 20].tolist() == categories(4)[0].tolist()
    assert drawn[60, 20].tolist() == [128, 128, 128]  # the middle of a ring
    assert drawn[60, 18].tolist() != [128, 128, 128]
    assert drawn[20, 40].tolist() != [128, 128, 128]  # on the line between two sure points
    assert drawn[40, 20].tolist() == [128, 128, 128]
    assert (plain == 128).all()


def test_a_close_up_lies_inside_its_picture():
    pixels = np.zeros((60, 100, 3), np.uint8)
    pixels[2, 97] = 255
    part, points = close_up(pixels, np.array([[97.0, 2.0], [90.0, 10.0]]))
    assert part.shape == (30, 30, 3)
    x, y = points[0].astype(int)
    assert part[y, x, 0] == 255
    whole, _ = close_up(pixels, np.array([[0.0, 0.0], [99.0, 59.0]]))
    assert whole.shape == (60, 60, 3)
