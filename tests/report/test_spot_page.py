"""The report of spot: order, threshold, measures, and names that try to be markup."""

from __future__ import annotations

import io
import json
import re
from html import unescape

import pytest
from PIL import Image
from test_report_browser import BROWSER, browse, said, with_script

from fallow.report import spot_page

PATHS = ["b/<script>alert(1)</script>.png", "b/second.png", "a/third.png", "a/last.png"]


def jpeg(colour: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (60, 40), (colour, 20, 20)).save(file, "JPEG")
    return file.getvalue()


def found(**more):
    scores, odd = [0.9, 0.6, 0.3, 0.1], [1, 0, 1, 0]
    return {
        "source": "plates",
        "threshold": 0.5,
        "flagged": 2,
        "heat": (0.05, 0.95),
        "headlines": ["4 images, 2 stand out (score above 0.500)"],
        "notes": ["4 images are few: below 10, what stands out may be chance."],
        "items": [
            {"path": path, "score": score, "odd": flag, "label": ""}
            for path, score, flag in zip(PATHS, scores, odd, strict=True)
        ],
        "pictures": lambda count, side: [(jpeg(40 * k), jpeg(40 * k + 20)) for k in range(4)],
        "measured": {"image": {"auroc": 0.75, "ap": None, "f1_max": 0.8}},
    } | more


def test_order_threshold_and_names() -> None:
    page = spot_page(found())
    cards = re.findall(r'<article class="(spotted.*?)" data-place="(\d)">(.*?)</article>', page)
    assert [(kind, place) for kind, place, _ in cards] == [
        ("spotted above", "0"), ("spotted above", "1"), ("spotted", "2"), ("spotted", "3"),
    ]  # fmt: skip
    assert "<script>alert" not in page
    assert [re.search(r'title="(.*?)"', card).group(1) for *_, card in cards[1:]] == PATHS[1:]
    held = json.loads(unescape(re.search(r'id="spotted">(.*?)</script>', page).group(1)))
    assert held["scores"] == [0.9, 0.6, 0.3, 0.1]
    assert held["paths"] == PATHS
    assert "undefined" in page
    assert "may be chance" in page


def test_no_images_and_no_measures_are_said() -> None:
    page = spot_page({"items": []})
    assert "There are no images." in page
    assert "Nothing was measured" in page
    assert "Every file could be read." in page


def test_equal_scores_have_a_slider_too() -> None:
    items = [{"path": f"{k}.png", "score": 0.2, "odd": -1, "label": ""} for k in range(3)]
    page = spot_page({"items": items, "threshold": 0.2})
    low, high = (float(re.search(rf'{name}="([-\d.]+)"', page).group(1)) for name in ("min", "max"))
    assert low < 0.2 < high
    assert 'class="spotted above"' not in page


MOVED = """
const before = counted.textContent, first = root.dataset.above;
slider.value = 0.2;
slider.dispatchEvent(new Event("input"));
root.dataset.report = [first, root.dataset.above, all(".spotted.above").length].join(",");
root.dataset.text = counted.textContent;
one("#computed").click();
root.dataset.back = root.dataset.above;
"""


@pytest.mark.skipif(BROWSER is None, reason="needs the Debian package chromium")
def test_the_slider_counts_and_marks(tmp_path) -> None:
    path = tmp_path / "spot.html"
    path.write_text(with_script(spot_page(found()), MOVED), encoding="utf-8")
    state = said(browse(path, tmp_path / "profile", "--dump-dom"))
    assert "error" not in state
    assert state["spot"] == "ready"
    assert state["report"] == "2,3,3"
    assert "2 of 2 labelled odd are among them, 1 are labelled good" in state["text"]
    assert state["back"] == "2"
