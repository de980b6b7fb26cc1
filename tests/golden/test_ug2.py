"""UG2: the official scoring on a small and on the public table of classes, and label ranking."""

from __future__ import annotations

import numpy as np
import pytest

from fallow.measure.labels import hits, label_ranking
from fallow.methods.grade.ug2 import answers, classes_of, columns_of

from .arrays import arrays, matching
from .cases import DOUBLE, close

A = arrays("ug2")
EXACT = {"rtol": DOUBLE}


def small_table():
    return classes_of(zip(A["tax_synset"].tolist(), A["tax_superclass"].tolist(), strict=True))


def public_table():
    pairs = zip(
        A["ug2tax_synset_wnid"].tolist(), A["ug2tax_superclass_index"].tolist(), strict=True
    )
    return classes_of(pairs)


@pytest.mark.parametrize("key", [m[1] for m in matching(A, r"(m\d+)_in_top5")])
def test_official_scores(key):
    one, every = hits(A[f"{key}_in_top5"], A[f"{key}_in_truth"].tolist(), small_table())
    close([one.mean(), every.mean()], A[f"{key}_out_M1_M2"], **EXACT)


def test_official_scores_on_the_public_table():
    table = public_table()
    assert set(table) == set(range(len(A["ug2tax_superclass_names"])))
    one, every = hits(A["real_in_top5_wnid"], A["real_in_truth"].tolist(), table)
    close([one.mean(), every.mean()], A["real_out_M1_M2"], **EXACT)


def test_scores_of_a_recogniser_lead_to_the_same():
    table = public_table()
    labels = sorted({label for known in table.values() for label in known})
    columns = columns_of(table, labels)
    best, truth = A["real_in_top5_wnid"], A["real_in_truth"].tolist()
    place = {label: column for column, label in enumerate(labels)}
    known = [k for k, row in enumerate(best.tolist()) if set(row) <= set(labels)]
    scores = np.zeros((len(known), len(labels)))
    for row, k in enumerate(known):
        scores[row, [place[label] for label in best[k].tolist()]] = [5, 4, 3, 2, 1]
    found = answers(scores, [truth[k] for k in known], columns, best.shape[1])
    one, every = hits(best[known], [truth[k] for k in known], table)
    assert (found.m1 == one).all()
    assert (found.m2 == every).all()


@pytest.mark.parametrize("key", [m[1] for m in matching(A, r"(lrap\d+)_in_scores")])
def test_label_ranking(key):
    found = label_ranking(A[f"{key}_in_scores"], A[f"{key}_in_labels"])
    close(found, A[f"{key}_out_per_sample"], **EXACT)
    close(found.mean(), A[f"{key}_out"], **EXACT)


def test_every_key_is_known():
    known = ("tax_", "ug2tax_", "real_", "lrap")
    assert not [key for key in A if not key.startswith(known) and not key.startswith("m")]
