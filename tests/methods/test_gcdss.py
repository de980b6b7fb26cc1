"""GCDSS on regions made of numbers: each pass by hand, the sheet's traps, and digits."""

from __future__ import annotations

import numpy as np
import pytest

from fallow.inventory.nearest import most_similar
from fallow.measure.discovery import discovery_accuracy
from fallow.methods.discover import gcdss
from fallow.methods.discover.gcdss import (
    NULL,
    Settings,
    Sorted,
    by_means,
    by_neighbours,
    calibrated,
    doubt,
    found_groups,
    propagate,
    rank_weights,
)
from fallow.problems import Problem, SettingProblem
from fallow.train.method import make_settings


def plainly(neighbours, labels, weights, threshold, rounds):
    """Region by region, as the paper says."""
    count, k = neighbours.shape
    y = [*labels.tolist(), *[None] * count]
    c = [*[1.0] * len(labels), *[0.0] * count]
    for _ in range(rounds):
        new_y, new_c = list(y), list(c)
        for i in range(count):
            if sum(c[j] for j in neighbours[i]) <= 0:
                continue
            votes = {
                b: sum(weights[r] * c[j] for r, j in enumerate(neighbours[i]) if y[j] == b)
                for b in sorted(set(labels.tolist()))
            }
            best = max(votes, key=lambda b: votes[b])
            if votes[best] >= threshold * k:
                new_y[len(labels) + i], new_c[len(labels) + i] = best, votes[best] / k
        if new_y == y:
            break
        y, c = new_y, new_c
    own = y[len(labels) :]
    return np.array([NULL if one is None else one for one in own]), np.array(c[len(labels) :])


def random_case(seed, count=60, labelled=14, k=6):
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(count, 3))
    known = random.normal(size=(labelled, 3))
    labels = random.choice([2, 5, 9], labelled)
    return most_similar(vectors, k, known).rows, labels


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.3, 0.6])
@pytest.mark.parametrize("rounds", [1, 2, 10])
def test_propagation_region_by_region(threshold, rounds):
    for seed in range(4):
        near, labels = random_case(seed)
        weights = rank_weights(near.shape[1])
        found = propagate(near, labels, weights, threshold=threshold, rounds=rounds)
        expected, sure = plainly(near, labels, weights, threshold, rounds)
        np.testing.assert_array_equal(found.labels, expected)
        np.testing.assert_allclose(found.confidence, sure, atol=1e-12)


def test_all_regions_change_at_once():
    # 1 <- labelled, 2 <- 1: one round reaches only the first, whatever the order of rows
    near = np.array([[2], [0]])
    assert propagate(near, np.array([7]), np.ones(1), rounds=1).labels.tolist() == [NULL, 7]
    assert propagate(near, np.array([7]), np.ones(1), rounds=2).labels.tolist() == [7, 7]


def test_regions_without_a_label_have_no_vote():
    # one labelled neighbour of three, and two that know nothing: the label's votes count alone
    near = np.array([[0, 2, 3], [2, 3, 1], [3, 1, 2]])
    weights = rank_weights(3, 1.0)
    found = propagate(near, np.array([4]), weights, threshold=0.3, rounds=1)
    assert found.labels.tolist() == [4, NULL, NULL]
    assert found.confidence.tolist() == [pytest.approx(1 / 3), 0, 0]


def test_labels_may_flip_and_confidence_changes():
    # region 1 first hears only class 0, then region 2 and 3, which both became class 1
    near = np.array([[0, 3, 4], [1, 2, 1], [1, 2, 1]])
    labels = np.array([0, 1])
    weights = np.array([1.0, 1.0, 1.0])
    one = propagate(near, labels, weights, threshold=0.3, rounds=1)
    many = propagate(near, labels, weights, threshold=0.3, rounds=5)
    assert one.labels.tolist() == [0, 1, 1]
    assert many.labels.tolist() == [1, 1, 1]
    assert many.confidence[0] > one.confidence[0]


def test_a_round_that_changes_no_label_is_not_kept():
    near = np.array([[0, 2], [0, 1]])
    found = propagate(near, np.array([3]), np.ones(2), threshold=0.5, rounds=9)
    # the first round gave both half of the votes; the second would give three quarters
    assert found.labels.tolist() == [3, 3]
    assert found.confidence.tolist() == [0.5, 0.5]


def test_doubts_by_hand():
    # rows 2..5; 2 is labelled by propagation, and most of its neighbours are not
    near = np.array([[0, 3, 4], [4, 5, 2], [3, 5, 2], [1, 0, 2]])
    labels = np.array([6, 8])
    found = Sorted(np.array([6, NULL, NULL, 8]), np.array([0.4, 0.0, 0.0, 0.7]))
    left = doubt(near, labels, found, np.ones(3), threshold=0.5)
    assert left.labels.tolist() == [NULL, NULL, NULL, 6]
    assert left.confidence.tolist() == [pytest.approx(2 / 3), 1, 1, pytest.approx(1 / 3)]
    assert left.novel.tolist() == [True, True, True, False]
    # with a higher threshold the doubts do not suffice
    kept = doubt(near, labels, found, np.ones(3), threshold=0.7)
    assert kept.novel.tolist() == [False, True, True, False]


def test_propagated_labels_are_silent_in_the_reverse_pass():
    # all neighbours of row 1 were labelled by propagation: nobody speaks, it keeps its label
    near = np.array([[2, 3], [1, 3], [1, 2]])
    found = Sorted(np.array([5, 5, 5]), np.array([0.9, 0.9, 0.9]))
    left = doubt(near, np.array([5]), found, np.ones(2), threshold=0.1)
    assert left.labels.tolist() == [5, 5, 5]
    assert not left.novel.any()
    assert left.confidence.tolist() == [0, 0, 0]


def test_votes_fall_and_sum_to_the_count():
    assert rank_weights(10).sum() == pytest.approx(10)
    assert rank_weights(10)[0] == pytest.approx(1.535, abs=1e-3)
    assert (np.diff(rank_weights(7, 0.5)) < 0).all()


def test_nothing_labelled_is_a_sentence():
    with pytest.raises(Problem, match="label at least one"):
        propagate(np.array([[0]]), np.array([], int), np.ones(1))
    with pytest.raises(Problem, match="neighbours are rows"):
        propagate(np.array([[9]]), np.array([0]), np.ones(1))


def blobs(seed=0, each=40, spread=0.15):
    random = np.random.default_rng(seed)
    centres = np.eye(5)
    truth = np.repeat(np.arange(5), each)
    return centres[truth] + spread * random.normal(size=(len(truth), 5)), truth


@pytest.mark.parametrize("sort", [by_neighbours, by_means])
def test_known_blobs_keep_their_class_and_the_others_are_groups(sort):
    vectors, truth = blobs()
    labelled = (truth < 3) & (np.arange(len(truth)) % 2 == 0)
    free = ~labelled
    areas = np.full(free.sum(), 30.0)
    weights = (np.ones(labelled.sum()),) if sort is by_means else ()
    found = sort(
        vectors[labelled], truth[labelled], *weights, vectors[free], areas,
        Settings(novel=2), known=3,
    )  # fmt: skip
    scores = discovery_accuracy(truth[free], found.labels, truth[free] < 3)
    assert scores.all > 0.97
    assert (found.labels[truth[free] < 3] == truth[free][truth[free] < 3]).mean() > 0.97
    assert found.first == 3
    assert found.groups == 2
    assert found.agreement.mean() > 0.9
    assert ((found.agreement >= 0) & (found.agreement <= 1)).all()


def test_copies_of_a_new_thing_are_new_although_they_are_alike():
    """Self is left out by its number: with a copy at rank 0 a row would vote for itself."""
    vectors = np.concatenate([np.repeat(np.eye(4)[:1], 8, 0), np.repeat(np.eye(4)[3:], 8, 0)])
    found = by_neighbours(
        np.repeat(np.eye(4)[:1], 3, 0), np.zeros(3, int), vectors, np.ones(16),
        Settings(neighbours=5, novel=4), known=1,
    )  # fmt: skip
    assert found.labels.tolist() == [0] * 8 + [1] * 8  # four groups of copies are one
    assert found.groups == 1


def test_no_new_region_is_no_group():
    vectors, _ = blobs(each=8)
    labels = np.zeros(20, int)
    found = by_neighbours(
        vectors[:20], labels, vectors[20:], np.ones(20), Settings(threshold=0.0), known=1
    )
    assert found.groups == 0
    assert (found.labels == 0).all()


def test_fewer_new_regions_than_groups():
    groups = found_groups(np.eye(3), np.ones(3), 10)
    assert sorted(groups.tolist()) == [0, 1, 2]


def test_large_regions_draw_the_centres():
    vectors = np.array([[0.0], [1.0], [10.0]])
    groups = found_groups(vectors, np.array([1.0, 1e6, 1.0]), 2)
    assert groups[0] == groups[1] != groups[2]
    # the same rows and seed, the same groups
    random = np.random.default_rng(0)
    cloud, areas = random.normal(size=(50, 3)), random.integers(1, 99, 50).astype(float)
    np.testing.assert_array_equal(found_groups(cloud, areas, 4), found_groups(cloud, areas, 4))


def test_reverse_pass_and_uniform_votes_change_the_result():
    vectors, truth = blobs(spread=0.4)
    labelled = (truth < 3) & (np.arange(len(truth)) % 2 == 0)
    parts = vectors[labelled], truth[labelled], vectors[~labelled], np.ones((~labelled).sum())

    def new(**changes):
        settings = Settings(**{"threshold": 0.3, **changes})
        return (by_neighbours(*parts, settings, known=3).labels >= 3).sum()

    assert new() > new(reverse=False)
    assert new(threshold=0.6) > new() > new(threshold=0.05)


def test_digits_neighbours_beat_means():
    """The sheet's mechanism: 7 known classes, 40 % labelled, 3 new ones."""
    from sklearn.datasets import load_digits

    data = load_digits()
    vectors = data.data / np.linalg.norm(data.data, axis=1, keepdims=True)
    random = np.random.default_rng(0)
    labelled = (data.target < 7) & (random.random(len(vectors)) < 0.4)
    free, truth = ~labelled, data.target[~labelled]
    settings = Settings(threshold=0.3, novel=3)
    ones = np.ones(free.sum())
    ours = by_neighbours(
        vectors[labelled], data.target[labelled], vectors[free], ones, settings, known=7
    )
    means = by_means(
        vectors[labelled], data.target[labelled], np.ones(labelled.sum()), vectors[free], ones,
        settings, known=7,
    )  # fmt: skip
    old = truth < 7
    assert discovery_accuracy(truth, ours.labels, old).all > 0.9
    assert (
        discovery_accuracy(truth, ours.labels, old).all
        > discovery_accuracy(truth, means.labels, old).all + 0.05
    )


def test_the_threshold_is_chosen_on_known_classes():
    vectors, truth = blobs(each=60, spread=0.3)
    known = truth < 4
    images = np.arange(len(truth)) % 10
    chosen = calibrated(vectors[known], truth[known], Settings(), images=images[known])
    assert chosen in gcdss.THRESHOLDS
    again = calibrated(vectors[known], truth[known], Settings(), images=images[known])
    assert chosen == again
    # it sorts the class that was never labelled better than thresholds far from it
    labelled = known & (images < 5)
    free = ~labelled

    def score(threshold):
        found = by_neighbours(
            vectors[labelled], truth[labelled], vectors[free], np.ones(free.sum()),
            Settings(threshold=threshold, novel=1), known=4,
        )  # fmt: skip
        return (found.labels == truth[free]).mean()

    assert score(chosen) > max(score(0.02), score(0.9))
    found = by_neighbours(
        vectors[labelled], truth[labelled], vectors[free], np.ones(free.sum()),
        Settings(novel=1), known=4, images=images[labelled],
    )  # fmt: skip
    assert found.threshold in gcdss.THRESHOLDS


def test_a_threshold_that_cannot_be_chosen_is_the_usual_one():
    vectors, truth = blobs(each=20)
    one = truth == 0
    assert calibrated(vectors[one], truth[one], Settings()) == gcdss.UNTRIED
    single = np.zeros(len(truth), int)  # all of one image: nothing is left to sort
    assert calibrated(vectors, truth, Settings(), images=single) == gcdss.UNTRIED


def test_new_groups_are_counted_where_nobody_tells():
    vectors, truth = blobs(each=60, spread=0.3)
    labelled = (truth < 4) & (np.arange(len(truth)) % 2 == 0)
    free, new = ~labelled, len(np.unique(truth)) - 4
    number, (low, high) = gcdss.counted_groups(
        vectors[labelled], truth[labelled], vectors[free], Settings()
    )
    assert low <= new <= high
    assert number <= 2 * new
    found = by_neighbours(
        vectors[labelled], truth[labelled], vectors[free], np.ones(free.sum()),
        Settings(threshold=0.3), known=4,
    )  # fmt: skip
    assert 1 <= found.groups <= number
    assert found.likely == (low, high)


def test_a_number_that_is_told_or_cannot_be_counted():
    vectors, truth = blobs(each=20)
    some, rest = truth == 0, truth > 0
    ask = (vectors[some], truth[some], vectors[rest])
    assert gcdss.counted_groups(*ask, Settings(novel=3)) == (3, None)
    assert gcdss.counted_groups(*ask, Settings()) == (gcdss.UNCOUNTED, None)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"threshold": 2}, "threshold"),
        ({"neighbour": 3}, "did you mean neighbours"),
        ({"novel": 0}, "novel"),
        ({"surroundings": "black"}, "surroundings"),
    ],
)
def test_settings_say_what_is_wrong(settings, text):
    with pytest.raises(SettingProblem, match=text):
        make_settings(Settings, settings)


def test_presets_are_valid():
    for values in gcdss.PRESETS.values():
        make_settings(Settings, values)
