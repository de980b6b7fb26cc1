"""Groups, outliers, doubtful labels and the map, on clouds whose truth is known."""

import numpy as np
import pytest

from fallow.inventory.groups import CLEAR, group
from fallow.inventory.layout import graph, layout
from fallow.inventory.outliers import outlier_scores, outliers
from fallow.inventory.suspects import suspects
from fallow.vectors.space import neighbours, unit


def clusters(
    count: int, each: int, noise: float = 0.1, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    middles = unit(draw.normal(size=(count, 16)))
    truth = np.repeat(np.arange(count), each)
    return unit(middles[truth] + draw.normal(0, noise, (count * each, 16))), truth


@pytest.mark.parametrize("count", [3, 6, 9])
def test_the_number_of_clear_groups_is_proposed(count):
    vectors, truth = clusters(count, 80)
    found = group(vectors)
    assert found.count == count
    assert found.separation > CLEAR
    for rows in found.representatives:
        assert len(set(truth[rows])) == 1


def test_a_cloud_is_cut_small_enough_to_look_through():
    vectors = unit(np.random.default_rng(0).normal(size=(1000, 32)))
    found = group(vectors)
    assert found.separation < CLEAR
    assert 10 <= found.count <= 40


def test_a_number_asked_for_is_kept_and_sizes_fall():
    vectors, _ = clusters(4, 50)
    found = group(vectors, count=7)
    sizes = np.bincount(found.member)
    assert found.count == 7
    assert (np.diff(sizes) <= 0).all()
    assert sizes.sum() == 200


@pytest.mark.parametrize("count", [1, 2, 5, 6, 7])
def test_tiny_collections_still_get_everything(count):
    vectors = unit(np.random.default_rng(0).normal(size=(count, 8)))
    near = neighbours(vectors, 15)
    found = group(vectors)
    assert sum(len(rows) for rows in found.representatives) == count
    assert np.isfinite(layout(vectors, near)).all()
    assert len(outlier_scores(vectors, vectors)) == count
    assert len(suspects(near, np.zeros(count, np.int64)).rows) == 0


def test_planted_strays_lead_the_ranking():
    vectors, _ = clusters(5, 100, noise=0.05)
    strays = unit(np.random.default_rng(9).normal(size=(3, 16)))
    both = np.concatenate([vectors, strays])
    scores = outlier_scores(both, np.zeros((503, 4)))
    assert set(np.argsort(-scores)[:3]) == {500, 501, 502}
    assert set(outliers(scores)[:3]) == {500, 501, 502}


def test_strangers_that_are_alike_still_stand_out():
    vectors, _ = clusters(5, 100, noise=0.05)
    middle = unit(np.random.default_rng(9).normal(size=(1, 16)))
    company = unit(middle + np.random.default_rng(1).normal(0, 0.02, (8, 16)))
    scores = outlier_scores(np.concatenate([vectors, company]), np.zeros((508, 4)))
    assert set(np.argsort(-scores)[:8]) == set(range(500, 508))


def test_a_single_stranger_is_flagged_and_nobody_else():
    vectors, _ = clusters(4, 100, noise=0.1)
    stranger = -vectors.mean(axis=0, keepdims=True)
    scores = outlier_scores(np.concatenate([vectors, unit(stranger)]), np.zeros((401, 4)))
    assert outliers(scores).tolist() == [400]


def test_colours_alone_make_a_stranger():
    vectors, _ = clusters(4, 100)
    colours = np.random.default_rng(0).normal(0, 0.05, (400, 6))
    colours[7] += 1
    assert np.argmax(outlier_scores(vectors, colours)) == 7


def test_an_even_cloud_has_hardly_any_strays():
    vectors = unit(np.random.default_rng(0).normal(size=(2000, 24)))
    assert len(outliers(outlier_scores(vectors, np.zeros((2000, 4))))) <= 4


def test_wrong_labels_are_found_and_right_ones_left():
    vectors, truth = clusters(5, 100)
    codes = truth.copy()
    wrong = np.arange(0, 500, 25)
    codes[wrong] = (codes[wrong] + 1) % 5
    found = suspects(neighbours(vectors, 15), codes)
    assert set(found.rows) <= set(wrong)
    assert len(found.rows) >= 19  # of 20
    assert np.array_equal(found.suggested, truth[found.rows])
    assert found.judged
    assert found.agreement == pytest.approx(480 / 500, abs=0.01)
    assert (np.diff(found.confidence) <= 0).all()


def test_labels_that_do_not_follow_from_looks_are_not_doubted():
    vectors, _ = clusters(5, 100)
    codes = np.random.default_rng(0).integers(0, 5, 500)
    found = suspects(neighbours(vectors, 15), codes)
    assert len(found.rows) == 0
    assert not found.judged
    assert found.agreement is not None
    assert found.agreement < 0.4


def test_missing_labels_neither_vote_nor_are_judged():
    vectors, truth = clusters(4, 50)
    codes = truth.copy()
    codes[::2] = -1
    codes[1] = 3
    found = suspects(neighbours(vectors, 15), codes)
    assert found.rows.tolist() == [1]
    assert found.suggested.tolist() == [0]


def test_the_map_keeps_clusters_together_and_repeats():
    vectors, truth = clusters(6, 60)
    near = neighbours(vectors, 15)
    first = layout(vectors, near, seed=4)
    assert np.array_equal(first, layout(vectors, near, seed=4))
    assert np.abs(first).max() < 3
    nearest = neighbours(first, 5).rows
    assert (truth[nearest] == truth[:, None]).mean() > 0.95


def test_graph_weights_are_symmetric_and_at_most_one():
    vectors, _ = clusters(3, 40)
    heads, tails, weights = graph(neighbours(vectors, 8))
    assert weights.max() <= 1 + 1e-9
    forward = {(h, t): w for h, t, w in zip(heads, tails, weights, strict=True)}
    assert all(forward[t, h] == pytest.approx(w) for (h, t), w in forward.items())
