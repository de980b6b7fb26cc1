"""The report of distil: classes, pictures, scores, and names that try to be markup."""

from __future__ import annotations

import numpy as np

from fallow.report import distil_page


def found(**more):
    pictures = np.zeros((4, 8, 8, 3), np.uint8)
    return {
        "name": "dm on <b>photos</b>",
        "counts": {"images": 40, "classes": 2, "kept": 4},
        "headlines": ["40 images of 2 classes distilled into 4"],
        "notes": ["Mirroring keeps what they mean."],
        "classes": ["<script>alert(1)</script>", "dog"],
        "per_class": 2,
        "pictures": {"start": pictures, "end": pictures},
        "metrics": [{"step": 1, "loss": 3.0}, {"step": 2, "loss": 1.5}],
        "verified": {"distilled": [0.5, 0.6], "random real": [0.3, 0.4]},
        "asymmetry": {"at start": 1.0, "at the end": 2.0},
        "settings": {"width": 8},
    } | more


def test_everything_is_shown_and_nothing_runs():
    page = distil_page(found())
    assert "<script>alert" not in page
    assert "<b>photos" not in page
    assert page.count("data:image/jpeg") == 4
    assert "0.55" in page
    assert "Loss. loss from 3 to 1.5" in page


def test_what_is_missing_is_said():
    page = distil_page({"name": "x"})
    for sentence in ("There are no pictures.", "No network was trained", "Nothing was recorded."):
        assert sentence in page


def test_many_classes_are_cut_and_counted():
    names = [f"c{k}" for k in range(70)]
    pictures = np.zeros((140, 4, 4, 3), np.uint8)
    page = distil_page(found(classes=names, pictures={"start": pictures, "end": pictures}))
    assert page.count("data:image/jpeg") == 120
    assert "10 more classes" in page
