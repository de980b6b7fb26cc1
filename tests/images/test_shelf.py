"""A shelf gives the same pixels with and without room, and passes over what cannot be read."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

import fallow
from fallow.encoders import Preprocessing
from fallow.images.samples import shapes
from fallow.images.shelf import Shelf

HOW = Preprocessing(16, 16)


def test_room_changes_nothing_but_memory():
    images = shapes(12, seed=0, side=24)
    whole, tight = (Shelf(images, HOW.fit, 16, room) for room in (1 << 20, 2 * 3 * 16 * 16))
    places = np.array([7, 1, 7, 0, 11])
    assert torch.equal(whole.look(places), tight.look(places))
    assert len(tight._held) == 2
    one = [HOW.fit(np.ascontiguousarray(images.read(int(row), 16))) for row in places]
    assert torch.equal(whole.look(places), torch.stack(one))


def test_places_skip_what_cannot_be_read(tmp_path):
    for number, picture in enumerate(shapes(5, seed=0, side=24).map(Image.fromarray)):
        picture[1].save(tmp_path / f"{number}.png")
    images = fallow.open(tmp_path)
    (tmp_path / "2.png").write_bytes(b"gone since")
    shelf = Shelf(images, HOW.fit, 16)
    assert shelf.rows.tolist() == [0, 1, 3, 4]
    assert [len(places) for places, _ in shelf.batches(3)] == [3, 1]
