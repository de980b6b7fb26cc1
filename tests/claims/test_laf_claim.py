"""The claim of LAF: what is compared, and which images a task forgets."""

from __future__ import annotations

import numpy as np
import pytest
from claims.laf import Plan, closeness, doomed_rows, secrecy

from fallow.images.samples import shapes

ROW = {"kept": 0.9, "forgotten": 0.2, "test": 0.7, "test_kept": 0.8, "test_forgotten": 0.1}


def test_closeness_uses_both_parts_of_the_test_when_a_class_is_gone():
    again = ROW | {"forgotten": 0.0, "test": 0.0, "test_forgotten": 0.0}
    assert closeness(ROW, again) == pytest.approx(1 - (0.2 + 0.1) / 4)
    whole = ROW | {"test_kept": None, "test_forgotten": None}
    assert closeness(whole, again) == pytest.approx(1 - (0.2 + 0.7) / 3)


def test_secrecy_falls_on_both_sides_of_retraining():
    rows = [{"membership_auroc": value} for value in (0.4, 0.6, 0.5)]
    assert secrecy(rows[0], rows[2]) == pytest.approx(secrecy(rows[1], rows[2])) == 0.9


def test_tasks_forget_a_class_or_a_share_of_half_of_them():
    images, plan = shapes(80, seed=0, side=24), Plan(share=0.4)
    codes, _ = images.labels
    assert set(codes[doomed_rows(images, "class", plan, 0)]) == {0}
    scattered = doomed_rows(images, "random", plan, 0)
    assert np.bincount(codes[scattered], minlength=8).tolist() == [0, 0, 0, 0, 4, 4, 4, 4]
    assert scattered.tolist() == doomed_rows(images, "random", plan, 0).tolist()
    assert scattered.tolist() != doomed_rows(images, "random", plan, 1).tolist()
