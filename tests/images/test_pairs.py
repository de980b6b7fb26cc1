"""Which reference belongs to which picture, however that is said."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from fallow.images import open as open_images
from fallow.images.pairs import by_name, by_order, by_position, by_table, paired
from fallow.problems import SourceProblem


def folder(place, names, positions=None):
    place.mkdir(parents=True, exist_ok=True)
    for k, name in enumerate(names):
        picture = Image.fromarray(np.full((6, 9, 3), 20 * k, np.uint8))
        exif = Image.Exif()
        if positions is not None:
            degrees = exif.get_ifd(0x8825)
            for tag, value in zip((2, 4), positions[k], strict=True):
                whole = int(value)
                degrees[tag - 1] = "N" if tag == 2 else "E"
                degrees[tag] = (whole, int((value - whole) * 60), 0.0)
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(place / name, exif=exif)
    return open_images(place)


def test_by_name_whatever_the_folder_and_ending(tmp_path):
    night = folder(tmp_path / "n", ["a.png", "b/c.png", "x.png"])
    day = folder(tmp_path / "d", ["c.jpg", "far/a.jpg", "one/x.jpg", "two/x.jpg"])
    match = by_name(night, day)
    told = {key: day.column("id")[k] if k >= 0 else None
            for key, k in zip(night.column("id"), match, strict=True)}  # fmt: skip
    assert told == {"a.png": "far/a.jpg", "b/c.png": "c.jpg", "x.png": None}  # two are called x
    with pytest.raises(SourceProblem, match=r"such as x\.png"):
        paired(night, day, match)


def test_by_order_and_by_table(tmp_path):
    night = folder(tmp_path / "n", ["n1.png", "n2.png", "n3.png"])
    day = folder(tmp_path / "d", [f"d{k}.png" for k in range(5)])
    assert by_order(night, day).tolist() == [0, 2, 4]
    table = {"n1.png": "d4.png", "n2.png": "d0.png", "n3.png": "gone.png"}
    assert by_table(night, day, table).tolist() == [4, 0, -1]
    (tmp_path / "pairs.csv").write_text("path,reference\nn1.png,d1.png\nn2.png,d2.png\n")
    assert by_table(night, day, tmp_path / "pairs.csv").tolist() == [1, 2, -1]


def test_by_position_in_the_files(tmp_path):
    night = folder(tmp_path / "n", ["a.jpg", "b.jpg"], [(50.5, 8.0), (52.0, 9.0)])
    day = folder(tmp_path / "d", ["p.jpg", "q.jpg"], [(52.0, 9.1), (50.5, 8.1)])
    assert by_position(night, day).tolist() == [1, 0]
    with pytest.raises(SourceProblem, match="do not say where they were taken"):
        by_position(night, folder(tmp_path / "e", ["p.jpg"]))


def test_a_pair_is_known_by_both_and_by_how_they_match(tmp_path):
    night = folder(tmp_path / "n", ["a.png", "b.png"])
    day = folder(tmp_path / "d", ["a.png", "c.png"])
    one, same, other = (paired(night, day, np.array(rows)) for rows in ([0, 1], [0, 1], [1, 0]))
    assert one.fingerprint == same.fingerprint != other.fingerprint
    assert one.fingerprint != night.fingerprint
    assert int(other.reference(0).max()) == 20
    tall = open_images([np.zeros((9, 6, 3), np.uint8)])
    with pytest.raises(SourceProblem, match="cut them to one shape"):
        paired(night, tall, np.array([0, 0]))
