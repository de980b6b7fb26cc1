"""What claims are made of: captions and wrong ones, boxes and crowds, licences, darkened days."""

from importlib import import_module

import numpy as np
import pytest
from claims.captioned import NAMES

from claims import captioned, day2night, openimages, skyscript
from fallow.images.maps import Thing
from fallow.measure.darkness import brightness
from fallow.methods.curate.openimages import judge, without_denied

people = import_module("claims.pass")

BOXES = {
    "image": ["a", "a", "a", "b"],
    "label": ["car", "car", "car", "sign"],
    "xmin": [0.0, 0.2, 0.4, 0.1],
    "ymin": [0.0, 0.0, 0.0, 0.1],
    "xmax": [0.1, 0.3, 0.5, 0.5],
    "ymax": [0.2, 0.2, 0.2, 0.4],
}


def test_captions_say_what_is_there_and_wrong_ones_what_is_elsewhere():
    teach, ask = captioned.pictures(0)
    assert (len(teach), len(ask)) == (1200, 597)
    texts = teach.column("caption")
    said = [NAMES.index(text.split()[-1]) for text in texts]
    assert said == teach.column("label").astype(int).tolist()
    changed, wrong = captioned.exchanged(teach, 0.4, seed=0)
    assert 0.35 < wrong.mean() <= 0.4
    assert (changed.column("caption") != texts).tolist() == wrong.tolist()
    assert sorted(changed.column("caption")) == sorted(texts)


def test_crowds_are_one_box_around_all():
    made = openimages.crowded(BOXES, 3, as_group=True)
    assert made["label"] == ["car", "sign"]
    assert made["group"] == [1, 0]
    assert [made[side][0] for side in openimages.SIDES] == [0.0, 0.0, 0.5, 0.2]
    assert openimages.crowded(BOXES, 3, as_group=False)["group"] == [0, 0]
    assert openimages.crowded(BOXES, 4, as_group=True)["image"] == BOXES["image"]


def test_what_is_not_known_is_neither_said_nor_denied():
    names, classes = ["a", "b"], list(openimages.CLASSES.values())
    known = np.ones((2, len(classes)), bool)
    known[0, classes.index("car")] = False
    held = openimages.annotation(BOXES, names, known)
    assert held.boxes.column("label").to_pylist() == ["sign"]
    said = {(r["image"], r["label"]): r["confidence"] for r in held.labels.to_pylist()}
    assert ("a", "car") not in said
    assert said["b", "sign"] == 1.0
    assert said["a", "sign"] == 0.0
    whole = openimages.annotation(BOXES, names, np.ones_like(known))
    assert judge(whole, whole).mean == 1.0
    assert without_denied(whole, held).boxes.num_rows == 4


@pytest.mark.parametrize("mean", [0.1, 0.2, 0.6])
def test_gamma_reaches_the_brightness_it_is_told(mean):
    pixels = np.random.default_rng(0).integers(0, 255, (24, 24, 3)).astype(np.uint8)
    assert brightness(day2night.by_gamma(pixels, mean)).mean() == pytest.approx(mean, abs=0.01)


def test_a_thing_is_in_a_picture_if_drawing_it_leaves_a_mark():
    corner = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0], [0.0, 0.0]])
    things = [
        Thing("far", "point", np.array([[9.0, 9.0]]), {}),
        Thing("in", "point", np.array([[1.5, 1.5]]), {}),
        Thing("beside", "area", corner, {}),  # its box meets the picture, it does not
        Thing("across", "line", np.array([[0.0, 2.5], [5.0, 2.5]]), {}),
    ]
    box = np.array([2.5, 2.4, 3.5, 3.4])
    assert skyscript.hit(box, things, 100).tolist() == [3]
    assert skyscript.hit(np.array([1.0, 1.0, 2.0, 2.0]), things, 100).tolist() == [1, 2]
    assert skyscript.f1([np.array([3])], [np.array([2, 3])]) == pytest.approx(2 / 3)


def test_exif_alone_keeps_what_it_can_read_and_nothing_else(tmp_path):
    said = {
        "0.jpg": people.Said("exif", "CC BY 4.0", "Ann"),
        "1.jpg": people.Said("exif", "CC BY-NC 4.0", "Ann"),
        "2.jpg": people.Said("table", "CC0 1.0", "Bob"),
        "3.jpg": people.Said("beside", "CC0 1.0", "Cay"),
        "4.jpg": people.Said("exif", "CC BY 4.0", "Dan", against="All rights reserved"),
    }
    draw = np.random.default_rng(0)
    plain = people.made(said, tmp_path, draw, people.by_exif)
    assert plain == {"0.jpg": "Ann", "4.jpg": "Dan"}
    kept = people.made(said, tmp_path, draw, people.curated)
    assert kept == {"0.jpg": "Ann", "2.jpg": "Bob", "3.jpg": "Cay"}
    assert people.right(kept, said) == 1.0
    assert people.right(plain, said) == pytest.approx(2 / 5)
