"""Schedules: ends, monotony, and units."""

from __future__ import annotations

import pytest

from fallow.train.schedules import (
    cosine_momentum,
    cosine_restarts,
    half_cosine,
    ramp,
    scaled_rate,
    staircase,
    warm_up_cosine,
    warm_up_cosine_from,
)


def test_warm_up_cosine_is_the_same_in_any_unit():
    steps = [warm_up_cosine(t, 1000, 0.3, 100) for t in range(1000)]
    progress = [warm_up_cosine(t / 1000, 1.0, 0.3, 0.1) for t in range(1000)]
    assert steps == pytest.approx(progress)
    assert max(steps) == steps[100] == 0.3
    assert steps[0] == 0
    assert steps[99] < steps[100] > steps[101]


def test_warm_up_from_reaches_its_peak_twice():
    rates = [warm_up_cosine_from(t, 20, 4.8, 5, 0.3, 0.0048) for t in range(20)]
    assert rates[0] == 0.3
    assert rates[4] == pytest.approx(4.8)
    assert rates[5] == pytest.approx(4.8)
    assert rates[-1] > 0.0048
    assert warm_up_cosine_from(0, 10, 1.0, 1, 0.2) == 0.2


def test_momentum_rises_to_one():
    values = [cosine_momentum(t, 100, 0.99) for t in range(101)]
    assert values[0] == pytest.approx(0.99)
    assert values[-1] == 1
    assert values == sorted(values)


def test_restarts_lengthen():
    peaks = [t for t in range(1, 700) if cosine_restarts(t, 1.0, 100) == 1.0]
    assert peaks == [100, 300]
    assert cosine_restarts(100, 1.0, 100, shrink=0.5) == 0.5
    assert cosine_restarts(99.999, 1.0, 100, end_ratio=0.1) == pytest.approx(0.1, abs=1e-4)


def test_staircase_ramp_and_scaling():
    assert staircase(70, 30.0, (60, 80)) == pytest.approx(3.0)
    assert ramp(0, 0.04, 0.07, 0) == 0.07
    assert half_cosine(0, 1, 2.0, 1.0) == 2.0
    assert scaled_rate(0.1, 512) == pytest.approx(0.2)
