"""When an adapted model may be called better, and when not."""

from __future__ import annotations

import numpy as np

from fallow.measure.adapted import Check, checked, condition_accuracy, lost, verdict


def check(low, high, counts=True, truth=False):
    return Check("it", 0.5, 0.5, low, high, counts=counts, truth=truth)


def test_nothing_shown_means_the_old_one():
    assert verdict([]).keep_old
    assert verdict([check(-0.1, 0.1)]).keep_old
    assert verdict([check(0.1, 0.2, counts=False)]).keep_old  # what does not count
    assert verdict([check(0.1, 0.2)]).keep_old  # one sign may be what training brought about
    assert not verdict([check(0.1, 0.2)] * 2).keep_old


def test_one_that_got_worse_or_a_class_that_is_gone_outweighs_the_rest():
    assert verdict([check(0.1, 0.2)] * 2 + [check(-0.2, -0.1)]).keep_old
    assert verdict([check(0.1, 0.2)] * 2, gone=["car"]).keep_old
    assert "car" in verdict([check(0.1, 0.2)], gone=["car"]).reason


def test_labels_decide_alone():
    better, worse = check(0.1, 0.2, truth=True), check(-0.2, -0.1, truth=True)
    assert not verdict([better, check(-0.2, -0.1)], gone=["car"]).keep_old
    found = verdict([worse, check(0.1, 0.2)])
    assert found.keep_old
    assert found.sure
    assert verdict([check(-0.1, 0.1, truth=True), check(0.1, 0.2)]).keep_old
    assert verdict([check(0.1, 0.2, counts=False, truth=True)]).keep_old  # too few pictures


def test_a_difference_between_pictures_needs_enough_of_them():
    assert not checked("it", [0.1] * 3, [0.9] * 3, counts=True).counts
    found = checked("it", [0.1] * 9 + [np.nan], [0.9] * 10, counts=True)
    assert found.counts
    assert found.change == "better"
    assert round(found.before, 6) == 0.1
    fewer = checked("it", [0.9] * 9, [0.1] * 9, counts=True, more=False)
    assert fewer.change == "better"
    assert np.isnan(checked("it", [np.nan], [0.5], counts=True).low)


def test_conditions_that_cannot_be_told_apart_give_a_half():
    draw = np.random.default_rng(0)
    alike, apart = draw.normal(size=(200, 8)), draw.normal(size=(50, 8))
    assert abs(condition_accuracy(alike, apart).mean() - 0.5) < 0.15
    assert condition_accuracy(alike + 9 * np.eye(8)[0], apart).mean() > 0.9


def test_a_class_that_all_but_vanished():
    assert lost([0.5, 0.49, 0.01], [0.6, 0.4, 0.0], list("abc")) == ["c"]
    assert lost([0.5, 0.498, 0.002], [0.6, 0.4, 0.0], list("abc")) == []  # it hardly was there
