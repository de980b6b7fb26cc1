"""The report of protect: measured or not, and names that try to be markup."""

from __future__ import annotations

import numpy as np

from fallow.report import protect_page


def found(**more):
    grey = np.full((8, 8, 3), 100, np.uint8)
    items = [
        {"path": f"<b>{n}.jpg", "copy": f"{n}.png", "cluster": n, "psnr": 30.0 - n, "ssim": 0.9}
        for n in range(3)
    ]
    return {
        "source": "photos", "items": items, "clusters": [1, 1, 1], "psnr": 29.0, "ssim": 0.9,
        "patterns": [grey] * 3, "examples": [(grey, grey + 16)], "notes": ["Keep it to yourself."],
    } | more  # fmt: skip


def test_untested_is_said():
    page = protect_page(found())
    assert page.count("Not tested.") == 2
    assert "<b>0.jpg" not in page
    assert page.index("2.png") < page.index("0.png")  # the most changed first


def test_measured_table():
    scores = {
        row: {"as published": [value], "JPEG 90": [value + 0.1], "crop + flip": [value]}
        for row, value in (("clean", 0.8), ("random signs", 0.6), ("protected", 0.25))
    }
    one = {"name": "classes", "groups": 10, "chance": 0.1, "scores": scores}
    page = protect_page(found(measured={"maps": [one]}, verdict=["Protection was measured."]))
    assert "Not tested." not in page
    assert "-0.55" in page
    assert "classes (10)" in page
    assert "JPEG 90" in page


def test_nothing_at_all():
    page = protect_page({})
    assert "There are no copies." in page
    assert "Every file could be read." in page
