"""The report of sorted pixels: every part, nothing at all, and names that try to be markup."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from fallow.colours import categories
from fallow.report.discover_pixels import discover_pixels_page

EVIL = "<script>alert(1)</script>"


def jpeg(colour: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (60, 40), (colour, 20, 20)).save(file, "JPEG")
    return file.getvalue()


def one(number, name, known, **more):
    return {"number": number, "value": number + 3, "name": name, "known": known, "regions": 1200,
            "pixels": 300, "images": 4, "agreement": 0.75} | more  # fmt: skip


def found(**more):
    ious = {"all": 0.5, "known": 0.625, "new": None}
    return {
        "source": EVIL,
        "headlines": ["4 images cut into 70 regions", "a note"],
        "notes": ["a note"],
        "counts": {"regions": 70},
        "classes": [one(0, EVIL, True), one(1, "new 1", False, agreement=None)],
        "pictures": lambda count, side: [(f"{EVIL}.png", jpeg(10), jpeg(90))],
        "examples": lambda side: [("new 1", [jpeg(40), jpeg(50)]), ("unsure", [jpeg(60)])],
        "measured": {
            "classes": [EVIL, "sky"],
            "confusion": [[75, 25], [0, 8]],
            "matched": {1: 1},
            "maps": {
                "regions": {"dataset": ious, "image": ious, "class": {EVIL: 0.25, "sky": None}}
            },
        },
        "problems": [{"path": EVIL, "reason": "cut short"}],
        "settings": {"neighbours": 10, "side": None},
        "regions": {"name": "superpixels"},
    } | more


def test_every_part_is_there_and_names_are_harmless():
    page = discover_pixels_page(found())
    assert EVIL not in page
    assert page.count("&lt;script&gt;") >= 5
    for text in (
        "50.0%",
        "1,200",
        "0.625",
        "0.25",
        "cut short",
        "regions name",
        "neighbours",
        "75%",
        "matched with",
    ):
        assert text in page
    assert page.count('class="group"') == 1
    assert "<td>sky</td>" in page.split("matched with")[1]
    assert page.count("a note") == 1  # not once more among the findings
    assert "segmenter" not in page


def test_what_is_not_there_is_said():
    page = discover_pixels_page({"classes": []})
    for text in (
        "There are no classes", "No group was formed", "neighbours of every region mostly agree",
        "No image was sorted", "Nothing was measured", "Every file could be read",
    ):  # fmt: skip
        assert text in page


def test_a_segmenter_is_told():
    page = discover_pixels_page(found(segmenter={"steps": 120, "encoder": "unet/16"}))
    assert "segmenter steps" in page
    assert "unet/16" in page


def test_colours_of_classes_differ():
    colours = categories(30)
    assert colours.shape == (30, 3)
    assert len(np.unique(colours, axis=0)) == 30


def test_a_known_class_called_like_a_group_is_not_among_the_new_ones():
    classes = [one(0, "new 1", True), one(1, "new 1", False)]
    assert discover_pixels_page(found(classes=classes)).count('class="group"') == 1
