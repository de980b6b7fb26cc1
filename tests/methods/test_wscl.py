"""WSCL: made sets, weak labels, streams that teach each other, tiles, a short run that learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import fallow
from fallow.encoders.residues import Prediction, prediction_weights
from fallow.images.collection import Images
from fallow.measure.dense import auroc
from fallow.methods.spot.wscl import (
    AUTHENTIC,
    TAMPERED,
    WSCL,
    at_best,
    judged,
    made,
    ramp,
    tiled,
)
from fallow.parts.pooling import split_by_hill, split_globally, top_mean, upper_mean
from fallow.problems import Problem
from fallow.train import Facts, fit, make_settings
from fallow.views.forgery import KINDS, forged


def grainy(count, seed=0, side=64):
    """Soft pictures with a fine grain, as sensors leave it."""
    draw = np.random.default_rng(seed)
    for _ in range(count):
        soft = np.asarray(
            Image.fromarray(draw.integers(60, 200, (4, 4, 3), np.uint8)).resize(
                (side, side), Image.Resampling.BICUBIC
            ),
            np.float64,
        )
        yield np.clip(soft + draw.normal(0, 6, soft.shape), 0, 255).astype(np.uint8)


def stored(place, pictures, labels=None):
    lines = ["path,label"]
    for number, pixels in enumerate(pictures):
        name = f"{number:03d}.png"
        Image.fromarray(pixels).save(place / name)
        lines.append(f"{name},{labels[number] if labels else ''}")
    if labels is None:
        return fallow.open(place)
    (place / "labels.csv").write_text("\n".join(lines) + "\n")
    return fallow.open(place, labels=place / "labels.csv")


def smoothed(pixels, draw):
    """A patch from which the grain was wiped: seen in residues, hardly in colours."""
    out, mask = pixels.copy(), np.zeros(pixels.shape[:2], bool)
    top, left = draw.integers(4, pixels.shape[0] - 32, 2)
    part = Image.fromarray(pixels[top : top + 28, left : left + 28])
    small = part.resize((4, 4), Image.Resampling.BOX).resize((28, 28), Image.Resampling.BICUBIC)
    out[top : top + 28, left : left + 28] = np.asarray(small)
    mask[top : top + 28, left : left + 28] = True
    return out, mask


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    draw = np.random.default_rng(1)
    pictures, labels, masks = [], [], []
    for number, pixels in enumerate(grainy(96)):
        mask = np.zeros(pixels.shape[:2], bool)
        if number % 2:
            pixels, mask = smoothed(pixels, draw)
        pictures.append(pixels)
        labels.append(TAMPERED if number % 2 else AUTHENTIC)
        masks.append(mask)
    images = stored(tmp_path_factory.mktemp("grain"), pictures, labels)
    teach = images.select(range(64))
    settings = {
        "size": 48, "side": 64, "epochs": 14, "batch": 16, "precision": "32", "hidden": 16,
        "grid": 8, "learning_rate": 0.03, "jpeg": 0.0,
    }  # fmt: skip
    found = fit(
        WSCL,
        teach,
        encoder=fallow.encoder("resnet14/8", seed=0, size=48),
        settings=make_settings(WSCL.Settings, settings),
        seed=0,
    )
    return found, images.select(range(64, 96)), labels[64:], masks[64:]


def test_it_tells_which_and_shows_where(run):
    found, asked, labels, masks = run
    answers = dict(judged(found.method, asked))
    truth = [label == TAMPERED for label in labels]
    assert auroc(truth, [answers[row].score for row in range(32)]) > 0.9
    inside = [auroc(mask, answers[row].map) for row, mask in enumerate(masks) if mask.any()]
    assert np.mean(inside) > 0.75
    assert answers[0].map.shape == masks[0].shape


def test_masks_are_not_read_unless_asked_for():
    assert WSCL.Settings().labels == "picture"
    assert WSCL.presets["paper"]["labels"] == "crop"


def test_labels_come_first_and_maps_teach_one_another_later():
    assert ramp(0) < 0.01 < ramp(0.5) < 0.3 < ramp(1)


def test_made_pictures_are_half_tampered_and_stored_alike(tmp_path):
    images = stored(tmp_path, list(grainy(5)))
    found = list(made(images, 12, seed=3))
    labels = [label for _, label, _ in found]
    assert labels.count(TAMPERED) == labels.count(AUTHENTIC) == 6
    for _, label, mask in found:
        assert mask.any() == (label == TAMPERED)
    again = list(made(images, 12, seed=3))
    np.testing.assert_array_equal(found[7][0], again[7][0])


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_masked_part_is_changed(kind):
    pixels, donor = grainy(2, seed=5)
    for seed in range(5):
        change = forged(pixels, donor, kind, np.random.default_rng(seed))
        away = np.abs(change.pixels.astype(int) - pixels).max(2)
        far = np.pad(change.mask, 6, mode="constant")
        near = np.zeros_like(change.mask)
        for dy in range(-5, 6):
            for dx in range(-5, 6):
                near |= far[6 + dy : 6 + dy + 64, 6 + dx : 6 + dx + 64]
        assert away[~near].max() == 0
        assert away[change.mask].mean() > 1


def test_learnt_filters_keep_their_parameters_and_survive_sums_near_zero():
    filters = Prediction()
    before = filters.weight.clone()
    with torch.no_grad():
        filters.weight[0, 0] -= filters.weight[0, 0].mean() - 1e-6
    changed = filters.weight.clone()
    out = filters(torch.randn(2, 3, 9, 9))
    assert torch.equal(filters.weight, changed)
    assert not torch.equal(before, changed)
    assert torch.isfinite(out).all()
    assert prediction_weights(filters.weight, 0.1).abs().max() < 50


def test_splits_of_few_and_of_equal_values():
    assert [split_by_hill(torch.zeros(n)) for n in (1, 2, 7)] == [0, 1, 1]
    assert split_globally(torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0])) == 3
    assert upper_mean(torch.zeros(2, 9)).tolist() == [0, 0]
    assert top_mean(torch.tensor([[0.1, 0.9, 0.5]])).item() == pytest.approx(0.9)


def test_tiles_meet_without_gaps():
    draw = torch.Generator().manual_seed(0)
    for height, width in ((3, 40), (17, 17), (8, 8), (1, 1), (9, 100)):
        picture = torch.rand(1, 3, height, width, generator=draw)
        found = tiled(lambda x: x.mean(1, keepdim=True), picture, tile=8, overlap=0.25)
        torch.testing.assert_close(found, picture.mean(1, keepdim=True))


def test_what_it_cannot_learn_from_is_one_sentence(tmp_path):
    encoder = fallow.encoder("resnet14/8", seed=0, size=48)
    settings = make_settings(WSCL.Settings, {"size": 48})
    with pytest.raises(Problem, match="the labels tampered and authentic, and these"):
        WSCL(encoder, settings, Facts(count=4, side=64, classes=2, names=("cat", "dog")))
    names = (AUTHENTIC, TAMPERED)
    with pytest.raises(Problem, match="use size 40 or less"):
        WSCL(encoder, settings, Facts(count=4, side=40, classes=2, names=names))
    one: Images = stored(tmp_path, list(grainy(1)))
    with pytest.raises(Problem, match="two readable pictures"):
        next(made(one, 4))


def test_thresholds_come_from_pictures_kept_aside():
    assert at_best([0.3, 0.4], [True, True]) < 0.3
    assert at_best([0.3, 0.4], [False, False]) > 0.4
