"""The shared space, its neighbours, k-means."""

import numpy as np

from fallow.vectors.space import fit, kmeans, neighbours, squared, unit


def test_place_returns_unit_vectors_and_the_same_for_one_row():
    draw = np.random.default_rng(0)
    first, second = draw.normal(size=(50, 20)), draw.normal(size=(50, 6)) * 100
    place = fit(first, second)
    vectors = place.place(first, second)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.allclose(place.place(first[7:8], second[7:8])[0], vectors[7], atol=1e-5)


def test_blocks_weigh_the_same_whatever_their_units():
    draw = np.random.default_rng(0)
    first, second = draw.normal(size=(200, 8)), draw.normal(size=(200, 8))
    plain = fit(first, second).place(first, second)
    scaled = fit(first, second * 1000).place(first, second * 1000)
    assert np.allclose(plain @ plain.T, scaled @ scaled.T, atol=1e-3)


def test_constant_vectors_and_a_single_row_are_fine():
    for count in (1, 2, 5):
        place = fit(np.ones((count, 4), np.float32))
        assert np.isfinite(place.place(np.ones((count, 4), np.float32))).all()


def test_neighbours_are_exact_when_few():
    vectors = unit(np.random.default_rng(0).normal(size=(700, 16)).astype(np.float32))
    near = neighbours(vectors, 5)
    distance = np.sqrt(squared(vectors, vectors))
    np.fill_diagonal(distance, np.inf)
    assert np.array_equal(near.rows, np.argsort(distance, axis=1)[:, :5])
    assert (np.diff(near.distances, axis=1) >= 0).all()


def test_neighbours_by_cells_miss_few():
    draw = np.random.default_rng(0)
    centres = draw.normal(size=(30, 12))
    vectors = unit(centres[draw.integers(30, size=7000)] + draw.normal(0, 0.4, (7000, 12)))
    near = neighbours(vectors, 10)
    asked = np.arange(0, 7000, 35)
    distance = squared(vectors[asked], vectors)
    distance[np.arange(len(asked)), asked] = np.inf
    exact = np.argpartition(distance, 9, axis=1)[:, :10]
    pairs = zip(near.rows[asked], exact, strict=True)
    found = np.mean([len(set(a) & set(b)) / 10 for a, b in pairs])
    assert found > 0.97
    assert not (near.rows == np.arange(7000)[:, None]).any()


def test_neighbours_of_too_few_rows():
    assert neighbours(np.zeros((1, 3), np.float32), 5).rows.shape == (1, 0)
    assert neighbours(np.zeros((3, 3), np.float32), 5).rows.shape == (3, 2)


def test_kmeans_finds_far_clusters_and_repeats():
    draw = np.random.default_rng(0)
    truth = np.repeat(np.arange(5), 60)
    vectors = (np.eye(5)[truth] * 10 + draw.normal(0, 0.3, (300, 5))).astype(np.float32)
    _, member = kmeans(vectors, 5, seed=3)
    assert all(len(set(member[truth == each])) == 1 for each in range(5))
    assert len(set(member)) == 5
    assert np.array_equal(member, kmeans(vectors, 5, seed=3)[1])


def test_kmeans_with_identical_rows():
    centres, member = kmeans(np.ones((10, 2), np.float32), 3)
    assert np.isfinite(centres).all()
    assert len(member) == 10
