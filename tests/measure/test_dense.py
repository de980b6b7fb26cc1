"""Measures of maps and masks against slow definitions; what is undefined stays undefined."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import label

from fallow.measure import (
    aupro,
    aupro_in_steps,
    auroc,
    average_precision,
    f1_max,
    image_measures,
    measures,
)
from fallow.measure.dense import best_threshold
from fallow.problems import Problem


def example(seed=0, levels=None, shapes=((9, 12), (14, 7), (8, 8))):
    random = np.random.default_rng(seed)
    masks, maps = [], []
    for height, width in shapes:
        mask = np.zeros((height, width), int)
        mask[1:3, 1:4] = mask[3, 4] = 1  # touches over a corner
        mask[6:8, 5:7] = 1
        scores = random.random((height, width)) + 0.6 * mask
        masks.append(mask)
        maps.append(scores if levels is None else np.round(scores * levels) / levels)
    masks.append(np.zeros((5, 5), int))
    maps.append(random.random((5, 5)))
    return masks, maps


def curve(masks, maps, thresholds, strictly):
    """One threshold at a time, one region at a time."""
    rates, overlaps = [], []
    for threshold in thresholds:
        seen = [m > threshold if strictly else m >= threshold for m in maps]
        shares = []
        for mask, hit in zip(masks, seen, strict=True):
            numbers, count = label(mask, np.ones((3, 3)))
            shares += [hit[numbers == k].mean() for k in range(1, count + 1)]
        normal = np.concatenate([m.ravel() == 0 for m in masks])
        rates.append(np.concatenate([h.ravel() for h in seen])[normal].mean())
        overlaps.append(np.mean(shares))
    return np.array(rates), np.array(overlaps)


@pytest.mark.parametrize("levels", [None, 5])
@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
def test_exact_area_is_that_of_all_thresholds(levels, limit):
    masks, maps = example(levels=levels)
    values = np.unique(np.concatenate([m.ravel() for m in maps]))[::-1]
    rate, overlap = curve(masks, maps, values, strictly=False)
    rate, overlap = np.r_[0, rate], np.r_[0, overlap]
    x = np.linspace(0, limit, 200_001)
    y = np.interp(x, rate, overlap)
    assert aupro(masks, maps, limit) == pytest.approx(np.trapezoid(y, x) / limit, abs=2e-3)


def test_steps_are_the_ones_papers_take():
    masks, maps = example(seed=1)
    low, high = min(m.min() for m in maps), max(m.max() for m in maps)
    thresholds = np.arange(200) * (high - low) / 200 + low
    rate, overlap = curve(masks, maps, thresholds, strictly=True)
    kept = rate < 0.3
    rate, overlap = rate[kept][::-1], overlap[kept][::-1]
    rate = (rate - rate.min()) / (rate.max() - rate.min())
    assert aupro_in_steps(masks, maps) == pytest.approx(np.trapezoid(overlap, rate), abs=1e-9)


def test_a_small_region_weighs_as_much_as_a_large_one():
    mask = np.zeros((10, 10), int)
    mask[0, 0] = 1
    mask[4:9, 4:9] = 1
    only_large = np.where(mask, 1.0, 0.0)
    only_large[0, 0] = -1
    assert aupro([mask], [only_large], 0.3) == pytest.approx(0.5)
    assert auroc(mask, only_large) > 0.95


def test_what_lacks_a_class_is_undefined_and_never_zero():
    none, all_ = np.zeros((4, 4), int), np.ones((4, 4), int)
    scores = np.arange(16.0).reshape(4, 4)
    assert measures([none], [scores]) == dict.fromkeys(("auroc", "ap", "f1_max", "aupro"))
    found = measures([all_], [scores])
    assert found["auroc"] is None
    assert found["aupro"] is None
    assert found["ap"] == found["f1_max"] == 1
    assert aupro_in_steps([none], [scores]) is None
    assert aupro_in_steps([np.eye(4, dtype=int)], [np.ones((4, 4))]) is None
    assert image_measures([0, 0], [1.0, 2.0])["f1_max"] is None


def test_perfect_and_inverted():
    mask = np.eye(4, dtype=int)
    assert list(measures([mask], [mask.astype(float)]).values()) == [1, 1, 1, 1]
    worst = measures([mask], [1.0 - mask])
    assert worst["auroc"] == 0
    assert worst["aupro"] == 0


def test_best_threshold_reaches_the_best_f1():
    truth, scores = [0, 1, 1, 0, 1], [0.1, 0.5, 0.4, 0.45, 0.9]
    best, threshold = best_threshold(truth, scores)
    flagged = np.array(scores) >= threshold
    hits = (flagged & np.array(truth, bool)).sum()
    assert best == f1_max(truth, scores) == pytest.approx(2 * hits / (flagged.sum() + 3))


def test_what_does_not_fit_is_a_sentence():
    with pytest.raises(Problem, match="do not fit"):
        auroc([0, 1], [0.1])
    with pytest.raises(Problem, match="finite"):
        average_precision([0, 1], [0.1, float("nan")])
    with pytest.raises(Problem, match="does not fit a map"):
        aupro([np.eye(3)], [np.eye(4)])
    with pytest.raises(Problem, match="limit"):
        aupro([np.eye(3)], [np.eye(3)], 0)
