"""Half-way whitening: variances become their roots, whatever there is more of, and it is saved."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fallow
from fallow.encoders import encoder, load, save, whiten
from fallow.encoders.whitening import half_whitening
from fallow.images.samples import shapes
from fallow.problems import Problem


@pytest.mark.parametrize("count", [60, 400])  # fewer and more than there are numbers
def test_variances_become_their_roots(count):
    random = np.random.default_rng(0)
    vectors = (random.normal(size=(count, 100)) * np.geomspace(10, 0.1, 100) + 5).astype(np.float32)
    made = half_whitening(vectors, most=20)
    seen = made(torch.from_numpy(vectors)).double().numpy()
    before = np.linalg.eigvalsh(np.cov(vectors.T.astype(np.float64), bias=True))[::-1]
    after = np.linalg.eigvalsh(np.cov(seen.T, bias=True))[::-1]
    assert seen.shape == vectors.shape
    assert np.abs(seen.mean(0)).max() < 1e-3
    np.testing.assert_allclose(after[:20], np.sqrt(before[:20] * before[19]), rtol=1e-3)
    np.testing.assert_allclose(after[20:], before[20:], rtol=1e-2, atol=1e-4)


def test_no_more_directions_than_there_are():
    flat = np.outer(np.arange(50.0), np.ones(8))
    assert half_whitening(flat).directions.shape == (8, 1)


def test_it_stays_with_the_encoder(tmp_path):
    images = shapes(40, seed=0, side=24)
    before = encoder("resnet8/8")
    plain = before.embed(images)
    whiten(before, images)
    assert before.whitening.directions.shape[1] == 20  # half as many as images
    vectors = before.embed(images)
    wanted = before.whitening(torch.from_numpy(plain)).numpy()
    np.testing.assert_allclose(vectors, wanted, rtol=1e-4, atol=1e-5)
    save(before, tmp_path)
    after = load(tmp_path)
    np.testing.assert_array_equal(after.embed(images), vectors)
    looked, _ = after.look(after.prepare([images[0]]), [0])
    np.testing.assert_allclose(looked.detach().numpy()[0], vectors[0], rtol=1e-4, atol=1e-5)
    (tmp_path / "whitening.safetensors").write_bytes(b"other")
    with pytest.raises(Problem, match=r"whitening\.safetensors is damaged"):
        load(tmp_path)


def test_whitening_anew_does_not_pile_up():
    images = shapes(40, seed=0, side=24)
    one = encoder("resnet8/8")
    whiten(one, images)
    first = one.embed(images)
    whiten(one, images)
    np.testing.assert_allclose(one.embed(images), first, rtol=1e-4, atol=1e-5)


def test_learn_ends_with_it_where_there_are_enough_images(tmp_path):
    images = shapes(60, seed=0, side=24)
    run = fallow.learn(images, epochs=0.2, out=tmp_path)
    assert np.abs(run.encoder.embed(images).mean(0)).max() < 1e-4
    saved = encoder(str(tmp_path))
    np.testing.assert_array_equal(saved.embed(images), run.encoder.embed(images))
    other = shapes(60, seed=1, side=24)
    more = fallow.learn(other, encoder=str(tmp_path), method="simclr",
                        epochs=0.2)  # fmt: skip
    assert np.abs(more.encoder.embed(other).mean(0)).max() < 1e-4
    few = fallow.learn(shapes(30, seed=0, side=24), epochs=0.2)
    assert few.encoder.whitening is None
