"""Semi-supervised k-means: pinned rows, empty clusters, weights, and the sample."""

from __future__ import annotations

import numpy as np
import pytest

from fallow.inventory.semi import nearest, semi_kmeans
from fallow.problems import Problem


def blobs(classes=6, each=40, width=8, spread=0.3, seed=0):
    draw = np.random.default_rng(seed)
    truth = np.arange(classes).repeat(each)
    centres = draw.normal(size=(classes, width)) * 3
    return centres[truth] + spread * draw.normal(size=(len(truth), width)), truth


def some_known(truth, old, seed=0):
    draw = np.random.default_rng(seed)
    return np.where((truth < old) & (draw.random(len(truth)) < 0.5), truth, -1)


def same_partition(one, two):
    pairs = set(zip(one.tolist(), two.tolist(), strict=True))
    return len(pairs) == len(set(one.tolist())) == len(set(two.tolist()))


def test_finds_new_groups_beside_known_classes():
    vectors, truth = blobs()
    found = semi_kmeans(vectors, some_known(truth, 3), 6)
    assert same_partition(found.member, truth)
    assert (found.member[truth < 3] == truth[truth < 3]).all()
    own = [vectors[found.member == k].mean(0) for k in range(6)]
    np.testing.assert_allclose(found.centres, own, atol=1e-9)
    away = ((vectors - found.centres[found.member]) ** 2).sum()
    assert found.inertia == pytest.approx(away, rel=1e-9)


def test_known_rows_stay_with_their_class_however_far():
    vectors, truth = blobs()
    known = some_known(truth, 3)
    rows = np.flatnonzero(known == 0)[:3]
    vectors[rows] = vectors[truth == 5][:3]  # they look like class 5 and are not
    found = semi_kmeans(vectors, known, 6)
    assert (found.member[rows] == 0).all()


def test_class_ids_need_not_be_contiguous():
    vectors, truth = blobs()
    known = some_known(truth, 3)
    ids = np.where(known >= 0, np.array([70, 3, 11])[known], -1)
    found = semi_kmeans(vectors, ids, 6)
    assert found.classes.tolist() == [3, 11, 70]
    for rank, name in enumerate(found.classes):
        assert set(found.member[ids == name]) == {rank}


def test_more_centres_than_different_rows():
    vectors = np.repeat(np.array([[0.0], [1.0], [5.0]]), 4, axis=0)
    known = np.r_[0, 0, np.full(10, -1)]
    found = semi_kmeans(vectors, known, 7)
    assert np.isfinite(found.centres).all()
    assert found.inertia == pytest.approx(0, abs=1e-12)


def test_an_empty_cluster_begins_again():
    vectors, truth = blobs(classes=3)
    start = np.concatenate([blobs(classes=3)[0][[0, 50]], [np.full(8, 1e3)]])
    found = semi_kmeans(vectors, np.full(len(vectors), -1), 3, start=start)
    assert same_partition(found.member, truth)


def test_weights_pull_centres_and_not_the_inertia():
    vectors = np.array([[0.0], [1.0], [10.0], [11.0]])
    known = np.array([0, -1, -1, -1])
    found = semi_kmeans(vectors, known, 2, weights=np.array([1.0, 3.0, 1.0, 1.0]))
    np.testing.assert_allclose(found.centres.ravel(), [0.75, 10.5])
    assert found.inertia == pytest.approx(0.75**2 + 0.25**2 + 0.5)


def test_without_known_rows_it_is_k_means():
    vectors, truth = blobs()
    found = semi_kmeans(vectors, np.full(len(vectors), -1), 6)
    assert same_partition(found.member, truth)


def test_beginnings_on_a_sample_end_on_everything():
    vectors, truth = blobs(each=200)
    found = semi_kmeans(vectors, some_known(truth, 3), 6, sample=100)
    assert same_partition(found.member, truth)
    whole = semi_kmeans(vectors, some_known(truth, 3), 6)
    assert found.inertia == pytest.approx(whole.inertia, rel=1e-6)


def test_same_seed_same_result_and_float32_agrees():
    vectors, truth = blobs(spread=1.5)
    known = some_known(truth, 3)
    one, two = (semi_kmeans(vectors, known, 8, seed=4) for _ in range(2))
    assert (one.member == two.member).all()
    single = semi_kmeans(vectors.astype(np.float32), known, 8, start=one.centres)
    assert (single.member == one.member).mean() > 0.99


def test_against_the_plain_formulation():
    """One start, written out with all pairwise distances."""
    vectors, truth = blobs(spread=2.0)
    known = some_known(truth, 3)
    draw = np.random.default_rng(0)
    start = np.stack([*(vectors[known == k].mean(0) for k in range(3)),
                      *vectors[draw.choice(np.flatnonzero(known < 0), 4, False)]])  # fmt: skip
    centres = start.copy()
    for _ in range(100):
        away = ((vectors[:, None] - centres[None]) ** 2).sum(2)
        member = np.where(known >= 0, known, away.argmin(1))
        new = np.stack([vectors[member == k].mean(0) for k in range(7)])
        done = np.abs(new - centres).max() < 1e-12
        centres = new
        if done:
            break
    found = semi_kmeans(vectors, known, 7, start=start, tolerance=0.0)
    np.testing.assert_allclose(found.centres, centres, atol=1e-9)
    assert (found.member == member).all()
    assert (nearest(vectors, centres)[known < 0] == member[known < 0]).all()


@pytest.mark.parametrize(
    ("known", "count", "text"),
    [
        ([0, 1, -1, -1], 1, "cannot hold 2 known classes"),
        ([0, 1, -1, -1], 5, "3 new clusters of 2 unlabelled"),
        ([0, 1, -1], 2, "do not fit"),
    ],
)
def test_what_cannot_be_is_said(known, count, text):
    with pytest.raises(Problem, match=text):
        semi_kmeans(np.zeros((4, 2)), np.array(known), count)


def test_numbers_that_are_none():
    with pytest.raises(Problem, match="not finite"):
        semi_kmeans(np.array([[np.nan], [0.0]]), np.array([0, -1]), 1)
