"""G-SimCLR: the published order and what ours does better, and k-means."""

from __future__ import annotations

import numpy as np
import pytest

from fallow.measure.cluster import clustering_accuracy
from fallow.train.order import distinct, places, repeats
from fallow.vectors.space import kmeans

from .cases import close, golden


def in_steps(case):
    batch = int(case.number("batch"))
    order = case.outputs["order"]
    steps = len(order) // batch
    return batch, steps, order[: steps * batch].reshape(steps, batch)


@golden("gsimclr", "order")
def test_published_order(case):
    """Images by their place in their cluster; any order within a place: the sort is unstable."""
    labels, ranks, order = case.inputs["labels"], case.outputs["rank"], case.outputs["order"]
    place = places(labels)
    np.testing.assert_array_equal(place + 1, ranks)
    np.testing.assert_array_equal(place[order], np.sort(place))
    assert set(order.tolist()) == set(range(len(labels)))
    _, _, batches = in_steps(case)
    np.testing.assert_array_equal(repeats(labels, batches), case.outputs["repeats_per_batch"])


@golden("gsimclr", "order")
@pytest.mark.parametrize("epoch", range(3))
def test_our_order_repeats_no_more(case, epoch):
    labels, recorded = case.inputs["labels"], case.outputs["repeats_per_batch"]
    batch, steps, published = in_steps(case)
    rows = distinct(labels, batch, seed=0, epoch=epoch)
    assert rows.shape == published.shape
    ours = repeats(labels, rows)
    assert ours.sum() <= recorded.sum()
    assert ours.max() <= recorded.max()

    def pairs(batches):
        met = labels[batches]
        return (met[:, :, None] == met[:, None]).sum() - met.size

    assert pairs(rows) <= pairs(published)
    sizes = np.bincount(labels)
    spare = len(labels) - rows.size
    # the fewest possible: what is beyond one image a batch, less what an epoch leaves out anyway
    assert ours.sum() == max(0, np.maximum(sizes - steps, 0).sum() - spare)


@golden("gsimclr", "kmeans")
def test_kmeans(case):
    vectors, labels = case.inputs["emb"], case.outputs["labels"]
    centres, member = kmeans(vectors, len(np.unique(labels)), seed=0)
    assert clustering_accuracy(labels, member) == 1.0
    close(((vectors - centres[member]) ** 2).sum(), case.outputs["inertia"])
