"""Pairs judged by similarity: against scikit-learn's curve, at the edges, with intervals."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from fallow.measure.pairs import accepted_at, accepted_near, best_accuracy, curve, equal_error
from fallow.problems import Problem


def drawn(seed=0, count=400):
    draw = np.random.default_rng(seed)
    same = draw.random(count) < 0.3
    return np.round(draw.normal(size=count) + 1.5 * same, 2), same


def test_corners_are_those_of_scikit_learn():
    similarities, same = drawn()
    wrong, right, _ = roc_curve(same, similarities)
    rates = [0.001, 0.01, 0.1, 0.5]
    expected = [right[::-1][np.abs(wrong[::-1] - rate).argmin()] for rate in rates]
    np.testing.assert_allclose(accepted_near(curve(similarities, same), rates), expected)


def test_no_more_is_let_in_than_was_allowed():
    similarities, same = drawn()
    found = curve(similarities, same)
    for allowed in (0.0, 0.01, 0.1, 1.0):
        rate = accepted_at(found, allowed)
        threshold = np.sort(similarities[~same])[::-1]
        most = int(allowed * (~same).sum())
        bar = threshold[most] if most < len(threshold) else -np.inf
        assert rate.share == pytest.approx((similarities[same] > bar).mean())
        assert rate.low <= rate.share <= rate.high


def test_equal_error_lies_where_both_mistakes_are_equal():
    similarities, same = drawn(3, 2000)
    rate = equal_error(curve(similarities, same))
    bars = np.linspace(-4, 5, 4001)
    gaps = [abs((similarities[~same] >= bar).mean() - (similarities[same] < bar).mean())
            for bar in bars]  # fmt: skip
    bar = bars[int(np.argmin(gaps))]
    assert rate == pytest.approx((similarities[same] < bar).mean(), abs=0.01)
    assert equal_error(curve(np.array([2.0, 1.0]), np.array([1, 0]))) == 0


def test_best_accuracy_is_reached_at_its_threshold():
    similarities, same = drawn(1)
    accuracy, threshold = best_accuracy(curve(similarities, same))
    assert accuracy == pytest.approx(((similarities >= threshold) == same).mean())
    assert accuracy >= 0.7


def test_pairs_of_one_kind_cannot_be_judged():
    with pytest.raises(Problem, match="both needed"):
        curve(np.array([0.1, 0.2]), np.array([1, 1]))
