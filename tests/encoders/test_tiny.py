"""The built-in encoder: small, the same everywhere, and better than its random self."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

import fallow
from fallow.encoders.building import describe, rebuild
from fallow.images.samples import shapes
from fallow.measure import knn_accuracy

FOLDER = Path(fallow.__file__).parent / "encoders" / "tiny"


def test_it_is_small_and_says_where_it_comes_from():
    assert (FOLDER / "model.safetensors").stat().st_size <= 8e6
    found = fallow.encoder("tiny")
    assert (found.dimension, found.size, found.training) == (1984, 64, False)
    assert "Tiny ImageNet" in found.provenance["weights"]
    assert "Tiny ImageNet" in (FOLDER / "README.md").read_text()


def test_every_stage_has_its_say():
    vectors = fallow.encoder("tiny").embed(shapes(8, seed=0, side=64))
    stages = np.split(vectors, np.cumsum([64, 128, 256, 512]), axis=1)
    for part in stages:  # and the second once more, by place
        np.testing.assert_allclose(np.linalg.norm(part, axis=1), 1.0, atol=1e-3)


def test_it_beats_its_random_self_on_pictures_it_never_saw():
    images = shapes(300, seed=0, side=64)
    codes = images.labels[0]
    teach = np.arange(len(images)) % 3 > 0

    def score(encoder):
        vectors = encoder.embed(images)
        return knn_accuracy(vectors[teach], codes[teach], vectors[~teach], codes[~teach], k=5).top1

    tiny = fallow.encoder("tiny")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        fresh = rebuild(describe(tiny))
    assert score(tiny) > score(fresh) + 0.15


def test_gradients_flow_where_a_picture_is_flat():
    encoder = fallow.encoder("tiny")
    pixels = torch.zeros(2, 3, 64, 64, requires_grad=True)
    encoder(pixels).square().sum().backward()
    assert torch.isfinite(pixels.grad).all()


def test_the_vector_says_where_things_are():
    left = np.zeros((64, 64, 3), np.uint8)
    left[16:48, 4:28] = (200, 40, 40)
    pictures = fallow.open([left, left[:, ::-1].copy()])
    first, second = fallow.encoder("tiny").embed(pictures)
    what, where = first[:960] @ second[:960], first[960:] @ second[960:]
    assert what / 4 > 0.95  # of four parts of length 1
    assert where < 0.8
