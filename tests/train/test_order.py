"""Orders of an epoch: everything once, nothing twice, and no class twice in a batch if possible."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fallow.train.order import distinct, false_negatives, places, repeats, shuffled


@given(
    st.lists(st.integers(0, 6), min_size=2, max_size=60),
    st.integers(2, 12),
    st.integers(0, 3),
)
@settings(max_examples=200, deadline=None)
def test_distinct_repeats_as_little_as_any_order_can(classes, batch, epoch):
    classes = np.array(classes)
    rows = distinct(classes, batch, seed=1, epoch=epoch)
    steps = len(classes) // batch
    assert rows.shape == (steps, batch)
    assert len(np.unique(rows)) == rows.size
    # a class fills at most one place in each batch without repeating; the spare images go first
    excess = np.maximum(np.bincount(classes) - steps, 0).sum()
    found = repeats(classes, rows)
    assert found.sum() == (max(0, excess - (len(classes) - rows.size)) if steps else 0)
    for members in classes[rows]:  # and what repeats is spread evenly
        counts = np.bincount(members, minlength=7)
        every = np.bincount(classes[rows].ravel(), minlength=7) / max(steps, 1)
        assert (np.abs(counts - every) < 1).all()


def test_balanced_classes_never_meet():
    classes = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 20))
    for epoch in range(5):
        rows = distinct(classes, 10, seed=0, epoch=epoch)
        assert repeats(classes, rows).tolist() == [0] * 20


def test_epochs_differ_and_seeds_repeat():
    classes = np.repeat(np.arange(8), 9)
    one = distinct(classes, 8, seed=0, epoch=0)
    assert np.array_equal(one, distinct(classes, 8, seed=0, epoch=0))
    for other in (distinct(classes, 8, seed=0, epoch=1), distinct(classes, 8, seed=1, epoch=0)):
        assert not np.array_equal(one, other)
        together = [{tuple(sorted(row)) for row in rows.tolist()} for rows in (one, other)]
        assert not together[0] & together[1], "the same images met again"


def test_every_image_has_its_turn():
    classes = np.array([0] * 30 + [1] * 5 + [2] * 4)
    seen = set()
    for epoch in range(60):
        seen |= set(distinct(classes, 4, seed=0, epoch=epoch).ravel().tolist())
    assert seen == set(range(39))


def test_images_without_a_class_are_all_different():
    classes = np.array([-1] * 12 + [0] * 4)
    rows = distinct(classes, 4, seed=0, epoch=0)
    assert repeats(classes, rows).sum() == 0
    assert repeats(np.full(8, -1), np.arange(8).reshape(2, 4)).tolist() == [0, 0]


def test_one_class_repeats_everywhere_and_is_counted():
    classes = np.zeros(12, np.int64)
    rows = distinct(classes, 4, seed=0, epoch=0)
    assert np.sort(rows.ravel()).tolist() == list(range(12))
    assert repeats(classes, rows).tolist() == [3, 3, 3]


def test_places_counts_within_each_class():
    classes = np.random.default_rng(0).integers(0, 5, 50)
    seen = [int((classes[:row] == name).sum()) for row, name in enumerate(classes)]
    assert places(classes).tolist() == seen


def test_distinct_lowers_the_false_negatives_of_its_classes():
    classes = np.random.default_rng(0).integers(0, 10, 400)

    def rate(batches):
        return np.mean([float(false_negatives(torch.from_numpy(classes[row]))) for row in batches])

    random = rate(shuffled(400, 10, seed=0, epoch=0))
    guided = rate(distinct(classes, 10, seed=0, epoch=0))
    assert random == pytest.approx(0.1, abs=0.03)
    assert guided < 0.02


def test_false_negatives_of_unlabelled_images_are_unknown():
    assert false_negatives(torch.tensor([-1, -1, -1])) is None
    assert false_negatives(torch.tensor([4, -1])) is None
    assert float(false_negatives(torch.tensor([4, 4, -1]))) == 1.0
