"""The claim about encoders, and the recipe that chose lite's vector, on a set of a moment."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
from claims.encoders import FLOORS, MEASURES, Plan, one_set
from PIL import Image
from recipes import vectors

from fallow.encoders import lite
from fallow.images.samples import shapes


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of archives, one set of 96 pictures in it."""
    folder = tmp_path_factory.mktemp("archives")
    images = shapes(96, seed=0, side=40)
    codes, names = images.labels
    rows = ["path,label,split"]
    with zipfile.ZipFile(folder / "some.zip", "w") as archive:
        for row, pixels in images.map(np.asarray):
            path = f"images/{row}.png"
            with archive.open(path, "w") as file:
                Image.fromarray(pixels).save(file, "png")
            rows.append(f"{path},{names[codes[row]]},{'test' if row % 3 == 0 else 'train'}")
        archive.writestr("labels.csv", "\n".join(rows))
    return folder


def test_every_side_is_measured_on_the_same_draws(data):
    plan = Plan(encoders=("tiny", "resnet8/8"), images=90)
    entries = one_set(data, "some", 1.0, plan)
    assert len(entries) == len(MEASURES) + 2
    by_nearest = next(one for one in entries if one.claim.endswith("by k-NN"))
    scores = by_nearest.observed["scores"]
    assert set(FLOORS) < set(scores)
    assert {"tiny", "tiny, whitened", "resnet8/8", "resnet8/8, whitened"} < set(scores)
    assert all(len(values) == 3 for values in scores.values())
    assert by_nearest.seeds == list(zip(scores["tiny"], scores["resnet8/8"], strict=True))
    assert np.mean(scores["tiny"]) > np.mean(scores["colour histogram"])
    assert set(by_nearest.observed["milliseconds"]) == {"tiny", "resnet8/8", "untrained"}
    whitening = [one for one in entries if one.method.endswith("whitened")]
    assert [one.baseline for one in whitening] == ["tiny", "resnet8/8"]


@pytest.mark.skipif(not lite.installed("lite"), reason="the weights of lite are not installed")
def test_the_recipe_scores_every_candidate(data):
    images = vectors.teach(data, "some", 48)
    assert set(images.column("split")) == {"train"}
    parts, codes = vectors.seen(images), images.labels[0]
    for candidate in vectors.CANDIDATES:
        found = vectors.scores(vectors.vector(parts, candidate), codes)
        assert set(found) == {"k-NN", "probe", "whitened k-NN"}
        assert all(0 <= value <= 1 for value in found.values())
    # what was chosen is what the encoder makes
    made = vectors.vector(parts, vectors.LAST_TWO)
    again = vectors.fallow.encoder("lite").embed(images)
    for part in vectors.LAST_TWO:
        width = parts[part].shape[1]
        assert width in (1280, 1008)
    assert made.shape == again.shape
    order = np.r_[1280 : 1280 + 1008, :1280]  # the encoder puts the finer map first
    np.testing.assert_allclose(made[:, order], again, atol=0.02)


def test_what_the_others_choose_is_judged_on_the_one_left_out():
    plain, other = vectors.told(vectors.PLAIN), "other"
    table = {
        plain: {"a": {"x": 0.9}, "b": {"x": 0.2}, "c": {"x": 0.2}},
        other: {"a": {"x": 0.5}, "b": {"x": 0.4}, "c": {"x": 0.4}},
    }
    rows = {row["set"]: row for row in vectors.left_out(table)}
    assert (rows["a"]["chosen"], rows["a"]["score"], rows["a"]["plain"]) == (other, 0.5, 0.9)
    assert rows["a"]["best"] == 0.9
    assert rows["b"]["chosen"] == plain


def test_a_look_tells_drawings_and_small_pictures(data):
    import fallow

    white = [np.full((100, 80, 3), 255, np.uint8)] * 3
    grey = [np.full((30, 40, 3), 128, np.uint8)] * 3
    assert vectors.kind(fallow.open(white)) == {"drawings": True, "small": False}
    assert vectors.kind(fallow.open(grey)) == {"drawings": False, "small": True}
