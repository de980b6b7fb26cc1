"""What an encoder is shown of a region, and what is kept between runs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fallow.encoders import Encoder, encoder
from fallow.encoders.base import Preprocessing
from fallow.problems import Problem
from fallow.regions import crop, look_at_regions
from fallow.regions.keep import digest, forget, kept, stage, weights
from fallow.regions.look import boxes


class Mean(nn.Module):
    """The mean colour, so that every pixel shown can be accounted for."""

    dimension = 3

    def __init__(self):
        super().__init__()
        self.still = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x.mean((2, 3))


def mean_colour():
    plain = Preprocessing(8, 8, mean=(0.0,) * 3, std=(1.0,) * 3)
    return Encoder(Mean(), name="mean", preprocessing=plain)


REGIONS = np.array([[0, 0, 1, 1], [0, 2, 2, 1], [0, 2, 2, 1]])


def test_boxes_are_tight_and_grow_by_their_own_size():
    assert boxes(REGIONS) == [(0, 0, 3, 2), (0, 2, 3, 4), (1, 1, 3, 3)]
    large = np.zeros((40, 40), int)
    large[10:20, 10:30] = 1
    assert boxes(large, 0.5)[1] == (5, 0, 25, 40)
    with pytest.raises(Problem, match="without gaps"):
        boxes(np.array([[0, 2]]))


def test_outside_the_region_lies_the_mean_of_the_box():
    pixels = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    box = boxes(REGIONS)[0]
    part = crop(pixels, REGIONS, 0, box, "mean")
    whole = pixels[0:3, 0:2]
    inside = REGIONS[0:3, 0:2] == 0
    np.testing.assert_array_equal(part[inside], whole[inside])
    assert set(part[~inside].ravel().tolist()) == {round(float(whole.mean()))}
    np.testing.assert_array_equal(crop(pixels, REGIONS, 0, box, "keep"), whole)
    assert pixels.ravel().tolist() == list(range(36))  # untouched


def test_vectors_have_length_one_and_the_order_of_the_regions():
    pixels = np.zeros((20, 30, 3), np.uint8)
    regions = np.zeros((20, 30), int)
    for number, colour in enumerate(np.eye(3, dtype=int)):
        regions[:, 10 * number : 10 * (number + 1)] = number
        pixels[:, 10 * number : 10 * (number + 1)] = 200 * colour
    for batch in (1, 2, 64):
        vectors = look_at_regions(mean_colour(), pixels, regions, batch=batch)
        np.testing.assert_allclose(vectors, np.eye(3), atol=1e-6)


def test_the_mode_of_the_encoder_is_left_as_it_was():
    chosen = encoder("resnet8/8")
    chosen.train()
    vectors = look_at_regions(chosen, np.zeros((16, 16, 3), np.uint8), np.zeros((16, 16), int))
    assert chosen.training
    assert vectors.shape == (1, 32)
    assert np.linalg.norm(vectors) == pytest.approx(1, abs=1e-5)


def test_kept_arrays_are_made_once_and_again_when_damaged(tmp_path, monkeypatch):
    monkeypatch.setenv("FALLOW_CACHE", str(tmp_path))
    folder = stage("things", {"size": 3})
    made = []

    def make():
        made.append(1)
        return np.arange(3)

    for _ in range(2):
        assert kept(folder, "a", make).tolist() == [0, 1, 2]
    assert len(made) == 1
    (folder / "a.npz").write_bytes(b"cut short")
    assert kept(folder, "a", make).tolist() == [0, 1, 2]
    assert len(made) == 2
    assert stage("things", {"size": 3}) == folder
    assert stage("things", {"size": 4}) != folder
    assert stage("others", {"size": 3}) != folder
    assert forget() > 0
    assert not folder.exists()
    assert forget() == 0


def test_names_of_weights_and_arrays_follow_their_numbers():
    one, same, other = (encoder("resnet8/8", seed=s) for s in (0, 0, 1))
    assert weights(one) == weights(same) != weights(other)
    assert digest(np.zeros(4), np.ones(1)) != digest(np.zeros(4), np.ones(2))
    assert digest(np.zeros((0, 3))) == digest(np.zeros((0, 3)))
