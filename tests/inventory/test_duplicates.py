"""Copies by hash, and look-alikes where hash and vectors agree."""

import numpy as np

from fallow.inventory.duplicates import (
    RADIUS,
    _buckets,
    _flips,
    distance,
    exact_groups,
    near_groups,
)
from fallow.vectors.space import unit


def flipped(value: int, bits: list[int]) -> int:
    for bit in bits:
        value ^= 1 << bit
    return value


def scene(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    hashes = draw.integers(0, 2**63, count, dtype=np.uint64)
    vectors = unit(draw.normal(size=(count, 32)).astype(np.float32))
    return hashes, vectors, np.ones((count, 1))


def test_every_planted_copy_is_found_at_every_distance():
    hashes, vectors, worth = scene(3000)
    draw = np.random.default_rng(1)
    for copy in range(RADIUS + 1):
        hashes[copy] = flipped(int(hashes[1000 + copy]), draw.choice(64, copy, False).tolist())
        vectors[copy] = vectors[1000 + copy]
    found = near_groups(hashes, vectors, worth)
    assert [group.items for group in found] == [[c, 1000 + c] for c in range(RADIUS + 1)]
    assert [max(group.distances) for group in found] == list(range(RADIUS + 1))


def test_the_search_finds_what_comparing_all_pairs_finds():
    draw = np.random.default_rng(2)
    base = draw.integers(0, 2**63, 40, dtype=np.uint64)
    hashes = np.array(
        [flipped(int(base[i % 40]), draw.choice(64, 6, False).tolist()) for i in range(400)],
        np.uint64,
    )
    vectors = np.tile(np.float32([1, 0]), (400, 1))
    near = np.stack([distance(hashes, key) for key in hashes]) <= RADIUS
    np.fill_diagonal(near, False)
    alone = ~near.any(axis=1)
    grouped = np.zeros(400, bool)
    for group in near_groups(hashes, vectors, np.ones((400, 1))):
        grouped[group.items] = True
    assert not grouped[alone].any()
    assert grouped.sum() > 0.9 * (~alone).sum()


def test_equal_hashes_with_other_content_are_not_copies():
    hashes, vectors, worth = scene(10)
    hashes[:2] = hashes[0]
    vectors[:2] = np.eye(32, dtype=np.float32)[:2]
    assert near_groups(hashes, vectors, worth) == []


def test_the_best_copy_is_largest_then_heaviest_then_sharpest():
    hashes, vectors, _ = scene(4)
    hashes[:], vectors[:] = hashes[0], vectors[0]
    worth = np.array([[10, 5, 1], [20, 5, 1], [20, 5, 3], [20, 4, 9]], float)
    (group,) = near_groups(hashes, vectors, worth)
    assert (group.items, group.keep) == ([0, 1, 2, 3], 2)


def test_a_chain_of_small_steps_does_not_tie_its_ends():
    hashes, vectors, worth = scene(8)
    for step in range(8):
        hashes[step] = flipped(0, list(range(8 * step)))
        vectors[step] = vectors[0]
    found = near_groups(hashes, vectors, worth)
    assert len(found) > 1
    for group in found:
        assert max(distance(hashes[group.items], hashes[group.keep])) <= RADIUS


def test_exact_groups_keep_order():
    assert exact_groups(["x", "y", "x", "z", "y"]) == [[0, 2], [1, 4]]


def test_few_pairs_are_compared_however_many_images_there_are():
    def compared(count):
        keys = scene(count)[0]
        flips = _flips(RADIUS // 4)
        total = 0
        for block in range(4):
            _, start = _buckets(keys, block)
            sizes = np.diff(start)
            here = np.flatnonzero(sizes)
            total += sum(int((sizes[here] * sizes[here ^ flip]).sum()) for flip in flips)
        return total / count

    for count in (10_000, 40_000):
        assert compared(count) < 0.02 * count
