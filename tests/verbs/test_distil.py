"""`distil` end to end on small pictures: files, mirrors, verification, and bad input."""

from __future__ import annotations

import csv
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import fallow
from fallow.images.samples import digits, shapes, write
from fallow.outcomes.distilled import Distilled, load_tiny
from fallow.problems import Problem, SettingProblem, SourceProblem
from fallow.verbs.distil import distil

QUICK = {"steps": 3, "width": 8, "size": 16, "real": 8}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    place = tmp_path_factory.mktemp("distil")
    source = write(shapes(160, side=24), place / "shapes")
    told: list[str] = []
    return distil(
        source, per_class=2, verify=True, settings=QUICK, out=place / "run", tell=told.append
    ), place, told  # fmt: skip


def test_what_is_written(run):
    result, place, _ = run
    out = place / "run"
    with open(out / "labels.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 16
    pictures = [np.array(Image.open(out / row["path"])) for row in rows]
    assert np.array_equal(np.stack(pictures), result.pictures)
    assert pq.read_table(out / "table.parquet").num_rows == 16
    recipe = json.loads((out / "recipe.json").read_text())
    assert recipe["classes"] == sorted({row["label"] for row in rows})
    assert recipe["settings"]["copies"] == "mirror"
    assert recipe["train"]["rate"] == 0.01
    page = (out / "report.html").read_text()
    assert page.count("began as") == 1 + 8
    assert "random real" in page


def test_the_folder_is_a_labelled_collection_and_the_arrays_come_back(run):
    result, place, _ = run
    images = fallow.open(place / "run")
    assert len(images) == 16
    assert len(images.labels[1]) == 8
    tiny = load_tiny(place / "run")
    assert torch.equal(tiny.pixels, result.tiny.pixels)
    assert np.array_equal(tiny.space.leave(tiny.pixels), result.pictures)
    assert tiny.names == result.tiny.names
    assert tiny.pixels.dtype == torch.float32


def test_verified_beside_rivals_on_images_nothing_was_trained_on(run):
    result, place, told = run
    assert list(result.verified) == ["distilled", "random real", "k-centre", "herding"]
    assert all(len(scores) == 3 for scores in result.verified.values())
    assert all(0 <= score <= 1 for scores in result.verified.values() for score in scores)
    assert result.findings["counts"]["images"] == 128  # one in five is held out
    began = set(result.table["began_as"].to_pylist())
    assert began <= set(fallow.open(place / "shapes").column("path"))
    assert any("network 3 of 3" in line for line in told)


def test_whitened_space_is_stored_with_the_set(tmp_path):
    result = distil(
        shapes(120, side=16), per_class=1, settings=QUICK | {"whiten": True, "size": 8},
        out=tmp_path / "run",
    )  # fmt: skip
    tiny = load_tiny(tmp_path / "run")
    assert tiny.space.colour is not None
    assert np.array_equal(tiny.space.leave(tiny.pixels), result.pictures)


def test_digits_are_not_mirrored_unless_asked(tmp_path):
    some = digits().sample(600, seed=0)
    quick = {"steps": 2, "width": 8, "real": 8}
    found = distil(some, per_class=1, settings=quick, out=tmp_path / "a")
    assert found.tiny.recipe["settings"]["copies"] == "none"
    assert found.tiny.recipe["settings"]["flip"] == "never"
    assert found.tiny.recipe["train"]["mirror"] is False
    judgement = found.findings["judgement"]
    assert judgement["mirrored"] < judgement["plain"] - 0.2
    assert "Mirror images are not used" in " ".join(found.notes)
    asked = distil(some, per_class=1, fyi=True, settings=quick, out=tmp_path / "b")
    assert asked.tiny.recipe["settings"]["copies"] == "mirror"
    assert "Warning" in " ".join(asked.notes)


def test_every_host_runs_from_the_verb(tmp_path):
    more = {
        "dc": {"matches": 1},
        "dsa": {"matches": 1},
        "mtt": {"experts": 1, "expert_epochs": 2, "walk": 2, "rate": 1.0},
    }
    for host, values in more.items():
        found = distil(
            shapes(80, side=16), per_class=1, host=host, fyi=True, out=tmp_path / host,
            settings=QUICK | {"steps": 1, "size": 8} | values,
        )  # fmt: skip
        assert isinstance(found, Distilled)
        assert found.table.num_rows == 8


def test_bad_input_is_one_sentence(tmp_path):
    some = shapes(80, side=24)
    out = tmp_path / "out"

    def refused(kind, match, source=some, **more):
        with pytest.raises(kind, match=match) as caught:
            distil(source, out=out, **({"settings": QUICK} | more))
        assert "\n" not in str(caught.value)

    unlabelled = fallow.open([np.zeros((16, 16, 3), np.uint8)] * 3)
    refused(SourceProblem, "has no labels", unlabelled)
    refused(SourceProblem, "needs two classes", some.where("label = 'disc'"))
    refused(SourceProblem, "single image", some.select(range(8)))
    refused(SourceProblem, "smaller than size=32 .* use size=24", settings={"size": 32})
    refused(Problem, "8 images to distil from, fewer than per_class=40", per_class=40)
    refused(SettingProblem, "use 1 or more", per_class=0)
    refused(SettingProblem, "did you mean dsa", host="dsaa")
    refused(SettingProblem, "did you mean copies", settings={"copy": "none"})
    refused(SettingProblem, "no preset", preset="papers")
    refused(SettingProblem, "not both", fyi=True, settings=QUICK | {"copies": "none"})
    refused(Problem, "too few to verify", some.sample(40, 1), verify=True, per_class=1)
    tiny = fallow.open([np.zeros((5, 9, 3), np.uint8)] * 8, labels=["a", "b"] * 4)
    refused(SourceProblem, "too little to distil", tiny, settings={})
    with pytest.raises(SourceProblem, match="is not a tiny set"):
        load_tiny(tmp_path)
