"""SupCon: labels of the stream, images without one, and what it says when there are none."""

from __future__ import annotations

import numpy as np
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

import fallow
from fallow.images.samples import shapes
from fallow.losses import nt_xent, supcon
from fallow.problems import Problem


def test_same_seed_gives_the_same_run_and_resumes(tmp_path):
    one, two = train("supcon"), train("supcon")
    assert one.steps == 6
    assert same_weights(one, two)
    assert same_weights(train("supcon", save_minutes=0.0), stopped_and_resumed("supcon", tmp_path))


def test_loss_falls():
    seen = losses(train("supcon", shapes(64, seed=0, side=24), epochs=40, learning_rate=0.5))
    assert seen[-1] < seen[0] - 0.2


def test_labels_make_the_positives():
    method = build("supcon", classes=2).eval()
    labels = [0, 0, 1, 1]
    batch = batch_of(4, labels=labels)
    z = method.head(method.encoder(batch.groups[0]))
    expected = supcon(z, torch.tensor(labels * 2), 0.1)
    torch.testing.assert_close(method.loss(batch, now()).total, expected)


def test_images_without_a_label_are_classes_of_their_own():
    method = build("supcon", classes=2, temperature=0.3).eval()
    batch = batch_of(4)
    one, two = method.head(method.encoder(batch.groups[0])).chunk(2)
    torch.testing.assert_close(method.loss(batch, now()).total, nt_xent(one, two, 0.3))


def test_missing_labels_are_told():
    with pytest.raises(Problem, match="these images have none: give them with labels"):
        build("supcon", classes=0)
    with pytest.raises(Problem, match="these images have 1:"):
        build("supcon", classes=1)
    plain = [np.full((24, 24, 3), row, np.uint8) for row in range(20)]
    with pytest.raises(Problem, match="or choose simclr"):
        train("supcon", fallow.open(plain))
