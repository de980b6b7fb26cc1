"""Matching of new groups and overlap of classes against slow definitions."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from fallow.measure.novel import (
    UNMATCHED,
    confusion,
    dataset_iou,
    image_iou,
    match_freely,
    match_novel,
    means,
    overlap,
)
from fallow.problems import Problem


def example(seed, known=3, classes=6, clusters=4, count=80):
    random = np.random.default_rng(seed)
    return (
        random.integers(0, classes, count),
        random.integers(0, known + clusters, count),
        random.integers(1, 90, count).astype(float),
    )


def score(matched, truth, found, weights, known, classes):
    """What the matching is to make as large as possible: shares of new classes, summed."""
    total = 0.0
    for cluster, one in enumerate(matched):
        if cluster >= known and one >= known:
            right = (found == cluster) & (truth == one)
            total += weights[right].sum() / weights[truth == one].sum()
    return total


@pytest.mark.parametrize("clusters", [2, 3, 5])
@pytest.mark.parametrize("seed", range(3))
def test_the_best_matching_of_all(seed, clusters):
    known, classes = 3, 6
    truth, found, weights = example(seed, clusters=clusters)
    matched = match_novel(truth, found, weights, known=known, classes=classes, clusters=clusters)
    assert matched[:known].tolist() == [0, 1, 2]
    used = matched[known:][matched[known:] != UNMATCHED]
    assert len(set(used.tolist())) == len(used) == min(clusters, classes - known)
    assert ((used >= known) & (used < classes)).all()
    size = max(clusters, classes - known)
    best = max(
        score(
            [*range(known), *(known + c if c < classes - known else -1 for c in order[:clusters])],
            truth, found, weights, known, classes,
        )
        for order in permutations(range(size))
    )  # fmt: skip
    assert score(matched, truth, found, weights, known, classes) == pytest.approx(best)


def test_known_classes_never_take_part():
    # group 2 lies mostly on the known class 0, yet stands for the new class it shares with
    truth, found = [0] * 9 + [2], [2] * 9 + [2]
    matched = match_novel(truth, found, [1] * 10, known=2, classes=3, clusters=1)
    assert matched.tolist() == [0, 1, 2]


def test_a_group_without_a_new_class_is_unmatched_and_not_class_0():
    matched = match_novel([0, 1], [2, 1], [1, 1], known=1, classes=2, clusters=3)
    assert matched.tolist() == [0, 1, UNMATCHED, UNMATCHED]


def test_each_new_class_weighs_the_same():
    # by pixels group 1 belongs to class 1, by shares to class 2
    truth, found = np.array([1, 1, 2]), np.array([1, 2, 1])
    weights = np.array([60.0, 40.0, 10.0])
    matched = match_novel(truth, found, weights, known=1, classes=3, clusters=2)
    assert matched.tolist() == [0, 2, 1]


def test_free_matching_flatters():
    truth, found = np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0])
    assert match_freely(truth, found, np.ones(4), classes=2, numbers=2).tolist() == [1, 0]


def test_columns_of_unlike_length_are_a_sentence():
    with pytest.raises(Problem, match="do not belong together"):
        match_novel([0, 1], [0], [1], known=1, classes=2, clusters=1)


def test_overlap_pixel_by_pixel():
    random = np.random.default_rng(0)
    truth = random.integers(0, 4, (12, 15))
    truth[truth == 3] = 255
    found = random.integers(-1, 4, (12, 15))
    counts = confusion(truth, found, 4)
    assert counts.sum() == (truth < 4).sum()
    for one in range(3):
        valid = truth != 255
        both = ((truth == one) & (found == one)).sum()
        either = (valid & ((truth == one) | (found == one))).sum()
        assert overlap(counts)[one] == pytest.approx(both / either)
    assert np.isnan(overlap(counts)[3])


def test_images_are_averaged_where_they_hold_a_class():
    first = confusion(np.array([[0, 0, 1]]), np.array([[0, 1, 1]]), 3)
    second = confusion(np.array([[0, 0, 0]]), np.array([[0, 0, 2]]), 3)
    counts = np.stack([first, second])
    np.testing.assert_allclose(image_iou(counts)[:2], [(1 / 2 + 2 / 3) / 2, 1 / 2])
    np.testing.assert_allclose(dataset_iou(counts)[:2], [3 / 5, 1 / 2])
    assert np.isnan(image_iou(counts)[2])  # found, but never there
    assert means(dataset_iou(counts), 1) == {
        "all": pytest.approx(0.55), "known": pytest.approx(0.6), "new": pytest.approx(0.5),
    }  # fmt: skip
    assert means(np.array([0.5, np.nan]), 1)["new"] is None


def test_what_is_unmatched_covers_its_truth_in_vain():
    truth = np.zeros((1, 4), int)
    assert dataset_iou(confusion(truth, np.array([[0, 0, UNMATCHED, 9]]), 1)[None]).tolist() == [
        0.5
    ]
