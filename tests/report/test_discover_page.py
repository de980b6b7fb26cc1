"""The report of discover: groups, doubts, the confusion, and names that try to be markup."""

from __future__ import annotations

import io

from PIL import Image

from fallow.report import discover_page


def jpeg(colour: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 40), (colour, 20, 20)).save(file, "JPEG")
    return file.getvalue()


def found(**more):
    doubt = {"row": 3, "group": "new 1", "confidence": 0.5, "second": "oak",
             "second_confidence": 0.45}  # fmt: skip
    groups = [
        {"name": "oak", "new": False, "images": 5, "labelled": 2, "confidence": 0.9,
         "shown": [0, 1], "doubt": []},
        {"name": "new 1", "new": True, "images": 4, "labelled": 0, "confidence": 0.8,
         "shown": [2], "doubt": [doubt]},
    ]  # fmt: skip
    return {
        "source": "leaves",
        "images": 9,
        "labelled": 2,
        "classes": 2,
        "interval": (2, 4),
        "starts": [2, 4],
        "unsure": 1,
        "groups": groups,
        "either": [doubt],
        "paths": ["a.jpg", "<script>alert(1)</script>.jpg", "c.jpg", "d.jpg"],
        "pictures": lambda rows, side: [jpeg(40 * row) for row in rows],
    } | more


def test_groups_doubts_and_names() -> None:
    page = discover_page(found())
    assert page.count('<article class="group"') == 2
    assert "<script>alert" not in page
    assert "new 1 50%" in page
    assert "or oak 45%" in page
    assert "2 labelled, 3 sorted here" in page
    assert "--accept &quot;new 1=&quot;" in page
    assert "2 to 4" in page
    assert "Nothing was judged" in page


def test_the_confusion_is_drawn_once_per_filled_cell() -> None:
    confusion = {"truth": ["oak", "elm"], "old": 1, "groups": ["oak", "new 1"],
                 "counts": [[3, 1], [0, 3]], "matched": [0, 1]}  # fmt: skip
    page = discover_page(found(accuracy={"all": 6 / 7, "old": 0.75, "new": 1.0}, judged=7,
                               true_classes=2, confusion=confusion))  # fmt: skip
    assert page.count('class="cell"') == 3
    assert "oak in new 1: 1 of 4" in page
    assert "0.8571" in page
    assert "<td>oak</td><td>new 1</td><td>elm</td>" in page


def test_a_group_that_stands_for_nothing_is_named() -> None:
    confusion = {"truth": ["oak"], "old": 1, "groups": ["oak", "new 1"],
                 "counts": [[3, 1]], "matched": [0, None]}  # fmt: skip
    page = discover_page(found(accuracy={"all": 0.75, "old": 0.75, "new": float("nan")}, judged=4,
                               true_classes=1, confusion=confusion))  # fmt: skip
    assert "<td>oak</td><td>new 1</td><td>–</td>" in page


def test_nothing_new_is_said() -> None:
    page = discover_page(found(groups=[], either=[]))
    assert "No new group was found" in page
    assert "Every image clearly belongs" in page
