"""Discovery accuracy: one matching over everything, and how the legacy measure flatters."""

from __future__ import annotations

import numpy as np
import pytest

from fallow.measure import discovery_accuracy, discovery_accuracy_v1
from fallow.measure.discovery import matching


def test_a_cluster_is_matched_once():
    labels = [0, 0, 0, 1, 1]
    clusters = [0, 0, 0, 0, 0]  # everything in one: only one of the classes can have it
    found = discovery_accuracy(labels, clusters, np.array(labels) == 0)
    assert found == (0.6, 1.0, 0.0)
    assert discovery_accuracy_v1(labels, clusters, np.array(labels) == 0) == (1.0, 1.0, 1.0)


def test_more_clusters_than_classes_and_the_other_way():
    labels, old = [0, 0, 1, 1], np.array([True, True, False, False])
    assert discovery_accuracy(labels, [0, 1, 2, 3], old) == (0.5, 0.5, 0.5)
    assert discovery_accuracy([0, 1, 2, 3], [0, 0, 0, 0], [True] * 4).all == 0.25


def test_nothing_new_is_not_a_number_and_not_zero():
    found = discovery_accuracy([0, 1], [1, 0], [True, True])
    assert found[:2] == (1.0, 1.0)
    assert np.isnan(found.new)


def test_matching_leaves_out_what_stands_for_nothing():
    assert matching([0, 0, 1], [5, 5, 2]) == {2: 1, 5: 0}
    assert matching([0, 0], [0, 1]) in ({0: 0}, {1: 0})


def test_unknown_rows_are_refused():
    with pytest.raises(ValueError, match="leave unknown ones out"):
        discovery_accuracy([-1, 0], [0, 0], [True, True])
    with pytest.raises(ValueError, match="2 labels but 1 clusters"):
        discovery_accuracy([0, 0], [0], [True, True])
