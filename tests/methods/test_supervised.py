"""Supervised: labels of the stream, images without one, and what it says when there are none."""

from __future__ import annotations

import pytest
import torch
from tests.methods.small_run import (
    batch_of,
    build,
    losses,
    now,
    same_weights,
    stopped_and_resumed,
    train,
)
from torch.nn import functional as F

from fallow.images.samples import shapes
from fallow.problems import Problem


def test_same_seed_gives_the_same_run_and_resumes(tmp_path):
    one, two = train("supervised"), train("supervised")
    assert same_weights(one, two)
    kept = train("supervised", save_minutes=0.0)
    assert same_weights(kept, stopped_and_resumed("supervised", tmp_path))


def test_it_learns_to_name_shapes():
    run = train("supervised", shapes(64, seed=0, side=24), epochs=30, learning_rate=0.5)
    seen = losses(run)
    assert sum(seen[-4:]) < 0.7 * sum(seen[:4])
    accuracy = [line["accuracy"] for line in run.history if "accuracy" in line]
    assert max(accuracy) >= 0.5  # one in eight by chance


def test_unlabelled_images_teach_nothing():
    method = build("supervised", classes=3).eval()
    some, labels = batch_of(6, views=1), [0, 2, 1, -1, -1, -1]
    some.labels = torch.tensor(labels)
    found = method.loss(some, now())
    scores = method.classes(method.projector(method.encoder(some.groups[0][:3])))
    expected = F.cross_entropy(scores, torch.tensor(labels[:3]))
    torch.testing.assert_close(found.total, expected)
    some.labels = torch.full((6,), -1)
    assert method.loss(some, now()).total == 0


def test_missing_labels_are_told():
    with pytest.raises(Problem, match="these images have none: give them with labels"):
        build("supervised", classes=0)
