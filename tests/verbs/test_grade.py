"""`grade`: verdicts on enhancers that help, harm and misbehave."""

from __future__ import annotations

import numpy as np
import pytest

from fallow.images.samples import shapes
from fallow.methods.shared.enhancing import EnhancerProblem
from fallow.problems import SettingProblem, SourceProblem
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
