"""Measures against hand-made numbers and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fallow import measure
from fallow.measure import probe
from fallow.problems import Problem
from fallow.vectors import arrays


def blobs(rows=120, classes=4, dimension=16, noise=0.3, seed=0):
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(classes, dimension))
    labels = np.arange(rows) % classes
    return centres[labels] + noise * random.normal(size=(rows, dimension)), labels


def test_knn_is_the_formula_and_blocks_do_not_matter(monkeypatch):
    (bank, labels), (queries, _) = blobs(), blobs(30, seed=1)
    scores = measure.knn_scores(bank, labels, queries, k=7, temperature=0.1)
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (bank, queries)]
    for row, query in enumerate(unit[1]):
        similarity = unit[0] @ query
        nearest = np.argsort(-similarity)[:7]
        expected = np.zeros(4)
        np.add.at(expected, labels[nearest], np.exp(similarity[nearest] / 0.1))
        np.testing.assert_allclose(scores[row], expected, rtol=1e-4)
    monkeypatch.setattr(arrays, "ENTRIES", 300)  # two queries at a time
    np.testing.assert_allclose(measure.knn_scores(bank, labels, queries, 7, 0.1), scores, 1e-5)


def test_knn_clamps_k_and_passes_over_unlabelled_rows():
    bank, labels = np.eye(3), [0, -1, 1]
    scores = measure.knn_scores(bank, labels, [[0.0, 1.0, 0.0]], k=200, temperature=1.0)
    np.testing.assert_allclose(scores, [[1.0, 1.0]])
    with pytest.raises(Problem):
        measure.knn_scores(bank, [-1, -1, -1], bank)
    result = measure.knn_accuracy(bank, labels, bank, [0, -1, 0], k=1)
    assert (result.top1, result.top5) == (0.5, 0.5)


def test_wrong_shapes_are_problems():
    with pytest.raises(Problem, match="3 rows of features need as many labels"):
        measure.knn_scores(np.eye(3), [0, 1], np.eye(3))
    with pytest.raises(Problem, match="table"):
        measure.spread(np.zeros(3))
    with pytest.raises(Problem, match="same label"):
        measure.recall_at_k(np.eye(3), [0, 1, 2])


@pytest.mark.parametrize("name", ["SIMCLR", "SIMCLR_CIFAR", "MOCO", "SWAV", "GROCO", "LIGHTLY"])
def test_every_probe_protocol_runs_and_repeats(name):
    train, test = blobs(), blobs(60, seed=1)
    protocol = getattr(probe, name)
    first = measure.linear_probe(*train, *test, protocol, seed=3)
    assert first == measure.linear_probe(*train, *test, protocol, seed=3)
    assert first.top1 > 0.35  # chance is 0.25, and layer-wise rates move little in 90 steps
    assert first.top5 == 1


def test_probe_learns_what_is_there_and_nothing_else():
    train, test = blobs(), blobs(200, seed=1)
    assert measure.linear_probe(*train, *test).top1 > 0.95
    assert measure.logistic_probe(*train, *test).top1 > 0.95
    random = np.random.default_rng(0)
    noise = (random.normal(size=(400, 16)), random.integers(0, 4, 400))
    assert measure.logistic_probe(train[0], train[1], *noise).top1 < 0.4


def test_logistic_probe_chooses_its_strength_without_the_test_rows():
    random = np.random.default_rng(0)
    labels = np.arange(80) % 2
    train = random.normal(size=(80, 60)) + labels[:, None] * 0.5
    labels_test = np.arange(400) % 2
    test = random.normal(size=(400, 60)) + labels_test[:, None] * 0.5
    chosen = measure.logistic_probe(train, labels, test, labels_test)
    weak = measure.logistic_probe(train, labels, test, labels_test, strengths=(1e4,))
    assert chosen.top1 > weak.top1


def test_ridge_probe_is_scikit_learns_and_chooses_without_the_test_rows():
    from sklearn.linear_model import RidgeClassifier

    train, test = blobs(noise=1.0), blobs(400, noise=1.0, seed=1)
    middle, spread = train[0].mean(0), train[0].std(0) + 1e-6
    scaled = [(part[0] - middle) / spread for part in (train, test)]
    fitted = RidgeClassifier(alpha=0.5 * 16).fit(scaled[0], train[1])
    expected = (fitted.predict(scaled[1]) == test[1]).mean()
    found = measure.ridge_probe(*train, *test, strengths=(0.5,))
    assert found.top1 == pytest.approx(expected)
    assert measure.ridge_probe(*train, *test).top1 > 0.6
    two = [(x[y < 2], y[y < 2]) for x, y in (blobs(), blobs(seed=1))]
    assert measure.ridge_probe(*two[0], *two[1]).top1 == 1
    few = measure.few_shot(*train, *test, shots=5, seeds=[0], probe=measure.ridge_probe)
    assert 0.3 < few.mean < 1
    with pytest.raises(Problem, match="two classes"):
        measure.ridge_probe(two[0][0], np.zeros(len(two[0][1]), int), *two[1])


def test_few_shot_draws_n_per_class_and_reports_every_seed():
    train, test = blobs(noise=1.0), blobs(400, noise=1.0, seed=1)
    one = measure.few_shot(*train, *test, shots=1, seeds=range(6))
    ten = measure.few_shot(*train, *test, shots=10, seeds=range(6))
    assert len(one.scores) == 6
    assert one.mean == pytest.approx(np.mean(one.scores))
    assert one.deviation == pytest.approx(np.std(one.scores, ddof=1))
    assert len(set(one.scores)) > 1
    assert ten.mean > one.mean > 0.3


def test_probe_passes_over_unlabelled_rows():
    x, y = blobs()
    hidden = np.where(np.arange(len(y)) < 60, y, -1)
    shown = measure.logistic_probe(x[:60], y[:60], x, y)
    assert measure.logistic_probe(x, hidden, x, y) == shown


def test_held_out_rows_leave_every_class_one():
    labels = np.array([0, 0, 0, 0, 0, 1, 1, 2])
    kept, out = probe._hold_out(labels, 0.2, 0)
    assert sorted([*kept, *out]) == list(range(8))
    assert set(labels[kept]) == {0, 1, 2}
    assert sorted(labels[out]) == [0, 1]


def test_clustering_accuracy_with_more_and_fewer_clusters():
    labels = [0, 0, 0, 1, 1, 1]
    assert measure.clustering_accuracy(labels, [5, 5, 5, 2, 2, 2]) == 1
    assert measure.clustering_accuracy(labels, [0, 0, 1, 2, 2, 3]) == pytest.approx(4 / 6)
    assert measure.clustering_accuracy(labels, [0] * 6) == 0.5
    # greedy matching would take 3 + 0; the best matching is 2 + 2
    assert measure.clustering_accuracy([0] * 5 + [1] * 2, [0] * 3 + [1] * 2 + [0] * 2) == 4 / 7


def test_nmi_and_ari_ignore_names():
    random = np.random.default_rng(0)
    labels, other = random.integers(0, 5, 2000), random.integers(0, 5, 2000)
    assert measure.nmi(labels, (labels + 2) % 5) == pytest.approx(1)
    assert measure.ari(labels, (labels + 2) % 5) == pytest.approx(1)
    assert abs(measure.ari(labels, other)) < 0.01
    assert measure.nmi(labels, other) < 0.02


def test_retrieval_with_gallery_and_lonely_queries(monkeypatch):
    gallery, names = np.eye(3), [0, 1, 1]
    queries = [[1.0, 0.1, 0.0], [0.2, 0.1, 1.0], [1.0, 0.0, 0.2], [0.0, 1.0, 0.0]]
    wanted = [0, 1, 1, 9]  # the last has no partner, the third finds its own second
    found = measure.recall_at_k(queries, wanted, (1, 2), gallery=gallery, gallery_labels=names)
    assert found == {1: pytest.approx(2 / 3), 2: 1.0}
    precision = measure.mean_average_precision(
        queries, wanted, gallery=gallery, gallery_labels=names
    )
    expected = (1 + (1 + 2 / 3) / 2 + (1 / 2 + 2 / 3) / 2) / 3
    assert precision == pytest.approx(expected)
    monkeypatch.setattr(arrays, "ENTRIES", 3)
    again = measure.recall_at_k(queries, wanted, (1, 2), gallery=gallery, gallery_labels=names)
    assert again == found


def test_map_equals_scikit_learn():
    from sklearn.metrics import average_precision_score

    x, y = blobs(60, noise=2.0)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    similarity = unit @ unit.T
    keep = ~np.eye(60, dtype=bool)
    expected = np.mean(
        [average_precision_score((y == y[i])[keep[i]], similarity[i][keep[i]]) for i in range(60)]
    )
    assert measure.mean_average_precision(x, y) == pytest.approx(expected, rel=1e-5)


def test_collapse_meters_tell_collapse_from_health():
    random = torch.Generator().manual_seed(0)
    healthy = torch.randn(500, 32, generator=random)
    flat = healthy[:, :2] @ torch.randn(2, 32, generator=random)
    same = torch.ones(500, 32) + 1e-7 * healthy
    assert measure.spread(healthy) == pytest.approx(1, abs=0.02)
    assert measure.spread(same) < 1e-5
    assert measure.effective_rank(healthy) > 30
    assert measure.effective_rank(flat) == pytest.approx(2, abs=0.05)
    assert measure.effective_rank(same) == 0
    assert measure.uniformity(healthy) < measure.uniformity(flat) < measure.uniformity(same)
    assert measure.uniformity(same) == pytest.approx(0, abs=1e-4)
    assert measure.alignment(healthy, 3 * healthy) == pytest.approx(0, abs=1e-6)
    assert measure.alignment(healthy, -healthy) == pytest.approx(4)


def test_uniformity_is_the_formula():
    x = torch.randn(40, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    unit = torch.nn.functional.normalize(x)
    expected = torch.pdist(unit).square().mul(-2).exp().mean().log()
    assert measure.uniformity(x) == pytest.approx(expected.item(), abs=1e-5)
    assert not math.isnan(measure.uniformity(x[:2]))
