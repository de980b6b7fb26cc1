"""The sides claims compare with: maps between cameras, histograms of outlines, made nights."""

import numpy as np
import pytest

from claims import carried, pairingnet, rawformer
from fallow.images.tearing import Tear, whole
from fallow.methods.shared.pieces import Look, torn_up

MIX = np.array([[0.8, 0.1, 0.0, 0.0], [0.1, 0.7, 0.1, 0.0], [0.0, 0.1, 0.7, 0.1], [0, 0, 0.2, 0.9]])


@pytest.fixture
def cameras():
    """Planes of one camera, and of another that answers by a linear map."""
    draw = np.random.default_rng(0)
    one = draw.gamma(2.0, 0.1, (4, 40, 50)) * np.array([1.0, 1.4, 1.4, 0.7])[:, None, None]
    return one, np.einsum("ij,jhw->ihw", MIX, one) + 0.02


def flat(planes):
    return planes.reshape(4, -1)


def test_statistics_are_met(cameras):
    one, two = cameras
    means = rawformer.scaled(flat(one), flat(two), spreads=False)(one)
    np.testing.assert_allclose(flat(means).mean(1), flat(two).mean(1))
    spreads = rawformer.scaled(flat(one), flat(two), spreads=True)(one)
    np.testing.assert_allclose(flat(spreads).std(1), flat(two).std(1))
    moved = rawformer.transported(flat(one), flat(two))(one)
    np.testing.assert_allclose(np.cov(flat(moved)), np.cov(flat(two)), atol=1e-6)


def test_pairs_allow_the_map_itself(cameras):
    one, _ = cameras
    two = np.einsum("ij,jhw->ihw", MIX, one)
    found = rawformer.linear(flat(one), flat(two))
    np.testing.assert_allclose(found(one), two, atol=1e-9)
    assert rawformer.judged([(found(one).clip(0, 1), two.clip(0, 1))]) > 100


def test_two_cameras_answer_differently_to_the_same_scene():
    from fallow.raw.unprocess import plain_sensor, unprocessed

    pixels = np.random.default_rng(1).integers(0, 255, (16, 16, 3)).astype(np.uint8)
    frames = [unprocessed(pixels, one) for one in (plain_sensor(), rawformer.other_sensor())]
    near = rawformer.judged([(rawformer.seen(frames[0]), rawformer.seen(frames[1]))])
    assert 10 < near < 40


def test_outlines_are_described_by_colour_and_bend():
    draw = np.random.default_rng(2)
    pixels = draw.integers(0, 255, (100, 140, 3)).astype(np.uint8)
    torn = torn_up(whole(pixels), Tear.at(100), Look(2), draw, turn=180, touching=12)
    for describe, length in ((pairingnet.colours, 64), (pairingnet.bends, 24)):
        for outline in torn.outlines:
            found = describe(outline)
            assert found.shape == (length,)
            assert np.square(found).sum() == pytest.approx(1.0)
    truth = np.eye(len(torn.outlines))
    for pair in torn.pairs:
        truth[pair.source, pair.target] = 1.0
    truth /= np.linalg.norm(truth, axis=1, keepdims=True)
    assert pairingnet.searched([(truth, truth)], [torn])["within"] > 0.7


def test_a_night_is_darker_bluer_and_seen_from_beside():
    day = np.full((20, 30, 3), 150, np.uint8)
    day[:, 10] = 0
    night = carried.dark(day, seed=0).astype(float)
    assert night.mean() < 0.5 * day.mean()
    assert night[..., 2].mean() > night[..., 0].mean() + 10
    assert night.mean((0, 2)).argmin() == 10 - carried.SHIFT
    assert (carried.dark(day, 0) == carried.dark(day, 0)).all()
