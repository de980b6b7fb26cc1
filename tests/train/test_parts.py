"""The loop's parts: order, prefetch, streams that go round, watch, the quick choice."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import torch

from fallow.train.loader import ahead, other_rows
from fallow.train.method import Loss
from fallow.train.order import shuffled
from fallow.train.tune import Choice, choices, fastest
from fallow.train.watch import Watch


def test_an_epoch_visits_every_image_once():
    rows = shuffled(103, 10, seed=3, epoch=5)
    assert rows.shape == (10, 10)
    assert len(np.unique(rows)) == 100
    assert not np.array_equal(rows, shuffled(103, 10, seed=3, epoch=6))


def test_an_accompanying_stream_visits_all_rows_before_any_twice():
    rows = np.concatenate([other_rows(10, 4, step, seed=1)[0] for step in range(5)])
    assert sorted(rows[:10]) == list(range(10))
    assert sorted(rows[10:]) == list(range(10))


def test_a_batch_larger_than_the_stream_wraps():
    rows, _ = other_rows(3, 8, step=0, seed=1)
    assert len(rows) == 8
    assert set(rows) == {0, 1, 2}


def test_ahead_raises_what_its_thread_raised():
    def broken():
        yield 1
        raise ValueError("no")

    got = ahead(broken)
    assert next(got) == 1
    with pytest.raises(ValueError, match="no"):
        next(got)


def test_ahead_stays_at_most_its_depth_ahead_and_stops():
    made = []

    def numbers():
        for number in range(1000):
            made.append(number)
            yield number

    got = ahead(numbers, depth=2)
    assert next(got) == 0
    time.sleep(0.2)
    assert len(made) <= 5
    got.close()
    seen = len(made)
    time.sleep(0.2)
    assert len(made) == seen


def test_watch_tells_collapse_from_health():
    generator = torch.Generator().manual_seed(0)
    healthy, collapsed = Watch(patience=5), Watch(patience=5)
    one = torch.ones(16, 8)
    for _ in range(20):
        fine = torch.randn(16, 8, generator=generator)
        assert healthy.see(Loss(torch.zeros(()), embedding=fine), 1.0) is None
    said = [collapsed.see(Loss(torch.zeros(()), embedding=one), 1.0) for _ in range(20)]
    assert [k for k, text in enumerate(said) if text] == [4]
    assert "collapsing" in said[4]


def test_watch_notices_a_loss_at_its_trivial_value():
    watch = Watch(patience=5)
    loss = Loss(torch.zeros(()), embedding=torch.eye(8), trivial=math.log(100))
    said = [watch.see(loss, math.log(100)) for _ in range(30)]
    assert sum(text is not None for text in said) == 1
    assert "trivial" in watch.warnings[0]


def test_choices_respect_what_was_asked():
    cpu = torch.device("cpu")
    assert {c.precision for c in choices("32", "off", True, cpu)} == {"32"}
    assert all(c.compile for c in choices("32", "on", False, cpu))
    assert not any(c.compile for c in choices("auto", "auto", False, cpu))


def test_a_later_choice_must_win_by_a_margin():
    pace = {False: 0.020, True: 0.0199}
    best, seen = fastest(
        [Choice("32", False), Choice("32", True)], lambda c: time.sleep(pace[c.channels_last])
    )
    assert best == Choice("32", False)
    assert len(seen) == 2
