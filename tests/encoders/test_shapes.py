"""Whole pictures of many shapes: each as if it were alone, in batches of one shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import fallow
from fallow.encoders import encoder, lite
from fallow.encoders.shapes import LONGEST, WAITING, look_whole, shape_of
from fallow.problems import Problem, SettingProblem

only_with_weights = pytest.mark.skipif(not lite.installed("lite"), reason="no weights of lite")

DRAW = np.random.default_rng(0)
SIDES = [(40, 90), (50, 50), (90, 40), (41, 91), (300, 301), (7, 400), (5, 3), (64, 100)]
PICTURES = [DRAW.integers(0, 256, (*sides, 3), dtype=np.uint8) for sides in SIDES]


def by_row(seen):
    return {
        row: (one.vectors[place], [each[place] for each in one.maps])
        for one in seen
        for place, row in enumerate(one.rows)
    }


@pytest.mark.parametrize("name", ["untrained", pytest.param("lite", marks=only_with_weights)])
def test_each_is_seen_as_if_it_were_alone(name):
    chosen = encoder(name)
    together = by_row(look_whole(chosen, PICTURES, [1, -1], size=64, batch=3))
    assert sorted(together) == list(range(len(PICTURES)))
    for row, picture in enumerate(PICTURES):
        (alone,) = look_whole(chosen, [picture], [1, -1], size=64)
        vector, maps = together[row]
        torch.testing.assert_close(vector, alone.vectors[0], rtol=0.02, atol=0.02)
        height, width = shape_of(*picture.shape[:2], 64)
        for one, other in zip(maps, alone.maps, strict=True):
            assert one.shape == other.shape[1:]
            assert one.shape[0] * width == one.shape[1] * height


def test_batches_are_full_where_they_can_be_and_few_wait():
    chosen = encoder("resnet8/8")
    pictures = [np.zeros((32, 32 * (1 + row % 2), 3), np.uint8) for row in range(10)]
    seen = list(look_whole(chosen, pictures, size=32, batch=4))
    assert [len(each.rows) for each in seen] == [4, 4, 1, 1]
    assert all(len({row % 2 for row in each.rows}) == 1 for each in seen)
    taken = []

    def endless():
        for row in range(1000):
            taken.append(row)
            yield np.zeros((32, 32 * (1 + row % LONGEST), 3), np.uint8)

    next(look_whole(chosen, endless(), size=32, batch=100))
    assert len(taken) <= WAITING * 100


def test_a_collection_with_an_unreadable_picture(tmp_path):
    for number, picture in enumerate(PICTURES[:3]):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    images = fallow.open(tmp_path)
    data = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").write_bytes(data[:60])  # after its header was read
    found = by_row(look_whole(encoder("resnet8/8"), images, size=32))
    assert sorted(found) == [0, 2]
    assert [Path(problem.path).name for problem in images.problems] == ["1.png"]


def test_what_cannot_be_looked_at():
    with pytest.raises(SettingProblem, match="size of 40 does not fit: use a multiple of 32"):
        next(look_whole(encoder("resnet8/8"), PICTURES, size=40))
    with pytest.raises(Problem, match="0x5 pixels has nothing to look at"):
        shape_of(0, 5, 32)
    grey = [PICTURES[0][:, :, 0]]
    with pytest.raises(Problem, match="height x width x 3"):
        next(look_whole(encoder("resnet8/8"), grey, size=32))
