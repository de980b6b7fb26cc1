"""`grade`: verdicts on enhancers that help, harm and misbehave."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from fallow.images.samples import shapes
from fallow.methods.shared.enhancing import EnhancerProblem
from fallow.problems import SettingProblem, SourceProblem
from fallow.regions.people import Seen
from fallow.verbs.grade import grade

ENCODER = "resnet8/8"


def wiped(pixels):
    return np.full_like(pixels, 128)


def test_one_that_wipes_everything_harms_and_one_that_does_nothing_shows_nothing(tmp_path):
    images = shapes(160, side=32)
    result = grade(wiped, images, encoder=ENCODER, floors=False, out=tmp_path / "out")
    assert "harms" in result.verdict
    assert "wiped" in (tmp_path / "out" / "report.html").read_text()
    rows = result.table.to_pylist()
    assert all(row["after"] <= row["before"] for row in rows if row["measure"] == "LRAP")
    assert grade("none", images, encoder=ENCODER, floors=False).verdict == "no difference shown"


def test_floors_stand_beside_it():
    result = grade("gamma", shapes(64, side=32), encoder=ENCODER, settings={"confidence": 0.8})
    ranked = {row["enhancer"] for row in result.findings["order"]}
    assert {"none", "gamma", "clahe", "retinex"} <= ranked


def test_recognisers_may_learn_from_other_pictures():
    known, asked = shapes(64, seed=1, side=32), shapes(24, seed=2, side=32)
    result = grade("sharpen", asked, known=known, encoder=ENCODER, floors=False)
    assert result.findings["learnt from"] == 64
    assert result.table["pictures"].to_pylist()[0] == 24


class Bright:
    """A detector of what is bright: the frame around it, and how bright it is."""

    name, labels = "bright", ("lamp",)

    def __call__(self, pixels):
        rows, columns = np.nonzero(pixels.mean(2) > 100)
        if not len(rows):
            return []
        box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        return [Seen("lamp", float(pixels.mean() / 255), tuple(map(float, box)))]


@pytest.fixture
def lamps(tmp_path):
    """Twelve dim lamps on black, and where they are."""
    draw, boxes = np.random.default_rng(0), []
    (tmp_path / "dim").mkdir()
    for number in range(12):
        left, top = draw.integers(2, 40, 2).tolist()
        pixels = np.zeros((64, 64, 3), np.uint8)
        pixels[top : top + 20, left : left + 20] = 60 if number % 2 else 180
        Image.fromarray(pixels).save(tmp_path / "dim" / f"{number}.png")
        boxes.append({"id": number, "image_id": number, "category_id": 1, "iscrowd": 0,
                      "bbox": [left, top, 20, 20]})  # fmt: skip
    images = [
        {"id": k, "file_name": f"other/{k}.png", "width": 64, "height": 64} for k in range(12)
    ]
    names = [{"id": 1, "name": "Lamp"}]
    marks = {"images": images, "categories": names, "annotations": boxes}
    (tmp_path / "marks.json").write_text(json.dumps(marks))
    return tmp_path


def test_a_detector_judges_by_marked_boxes(lamps):
    def lit(pixels):
        return np.minimum(pixels.astype(int) * 3, 255).astype(np.uint8)

    result = grade(lit, lamps / "dim", boxes=lamps / "marks.json", detector=Bright(), floors=False)
    row = result.table.to_pylist()[0]
    assert (row["recogniser"], row["measure"], row["pictures"]) == ("bright", "mAP", 12)
    assert row["before"] == pytest.approx(0.5, abs=0.02)  # half of the lamps are too dim to see
    assert row["after"] == 1.0
    assert result.verdict == "helps"
    with pytest.raises(SourceProblem, match=r"no marked box is of a class .*: marked are lamp"):
        grade("gamma", lamps / "dim", boxes=lamps / "marks.json", detector="faces")
    with pytest.raises(SettingProblem, match="did you mean faces"):
        grade("gamma", lamps / "dim", boxes=lamps / "marks.json", detector="face")


def test_what_cannot_be_graded():
    images = shapes(64, side=32)
    with pytest.raises(SettingProblem, match="no enhancer"):
        grade("gama", images, encoder=ENCODER)
    with pytest.raises(SettingProblem, match="ug2"):
        grade("gamma", images, method="ug")
    with pytest.raises(EnhancerProblem):
        grade(lambda pixels: pixels[:5], images, encoder=ENCODER, floors=False)
    with pytest.raises(SourceProblem, match="labels"):
        grade("gamma", np.zeros((8, 32, 32, 3), np.uint8), encoder=ENCODER)
