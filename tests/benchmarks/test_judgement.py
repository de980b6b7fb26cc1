"""Planted problems are the same for the same seed, and their truth is true."""

import io

import numpy as np
import pytest
from benchmarks.__main__ import names
from benchmarks.judgement import measures, planted, sets
from benchmarks.judgement.changes import KINDS
from PIL import Image


@pytest.fixture(scope="module")
def drawn() -> sets.Collection:
    return sets.figures(0, each=6)


def test_the_package_is_a_benchmark():
    assert "judgement" in names()
    assert "peers" not in names()


def test_copies_are_drawn_by_seed_and_named_by_nothing(drawn):
    one, two = (planted.copies(drawn, each=1, seed=4) for _ in range(2))
    assert one.collection.contents == two.collection.contents
    assert one.copies == two.copies
    assert {copy.kind for copy in one.copies} == set(KINDS)
    assert len(one.collection) == len(drawn) + 3 * len(KINDS)
    assert planted.copies(drawn, each=1, seed=5).copies != one.copies
    still = [row for row in range(len(one.collection)) if row not in {c.row for c in one.copies}]
    assert [one.collection.contents[row] for row in still] == drawn.contents
    for copy in one.copies:
        assert one.collection.labels[copy.row] == one.collection.labels[copy.of]


@pytest.mark.parametrize("similar", [False, True])
def test_exchanged_labels_are_wrong_and_as_many_as_said(drawn, similar):
    found = planted.exchanged(drawn, 0.25, similar=similar, seed=1)
    assert np.flatnonzero(found.labels != drawn.labels).tolist() == found.wrong.tolist()
    assert len(found.wrong) == round(0.25 * len(drawn))


def test_strangers_are_where_they_are_said_to_be(drawn):
    found = planted.strangers(drawn, sets.digits(0), 0.1, seed=2)
    assert (found.collection.labels[found.rows] == -1).all()
    assert len(found.rows) == round(0.1 / 0.9 * len(drawn))
    assert (np.delete(found.collection.labels, found.rows) == drawn.labels).all()


def test_spoilt_pictures_take_the_place_of_their_originals(drawn):
    found = planted.broken(drawn, each=3, seed=0)
    rows = np.concatenate([*found.rows.values(), found.style])
    assert len(np.unique(rows)) == len(rows) == 3 * (len(planted.SPOILT) + len(planted.STYLE))
    assert len(found.collection) == len(drawn)
    dark = found.collection.picture(int(found.rows["dark"][0]))
    assert np.asarray(dark).mean() < 40


@pytest.mark.parametrize("classes", [3, 5, None])
def test_known_classes_come_first_and_half_of_them_stays_to_be_found(drawn, classes):
    found = planted.known(drawn, classes, per_class=4, seed=0)
    assert found.old == (4 if classes is None else classes)
    assert found.total == 8
    labelled = found.codes >= 0
    assert (found.codes[labelled] == found.truth[labelled]).all()
    assert np.bincount(found.codes[labelled]).tolist() == [3] * found.old


def test_one_false_pair_at_the_top_leaves_nothing():
    pairs = [(1, 2, 0.99), (0, 1, 0.9)]
    assert measures.recall_without_false(pairs, {(0, 1)}, [0, 0, 2]) == 0


def test_pictures_are_upright_before_anything_is_done_to_them():
    file = io.BytesIO()
    turned = Image.new("RGB", (6, 4))
    exif = turned.getexif()
    exif[274] = 6
    turned.save(file, "JPEG", exif=exif)
    lying = sets.Collection("one", ["0.jpg"], [file.getvalue()], np.array([-1]), [])
    assert lying.picture(0).size == (4, 6)
