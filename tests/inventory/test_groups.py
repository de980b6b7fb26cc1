"""The hierarchy of groups: levels lie within each other, and are named by what sets them apart."""

import io

import numpy as np
from PIL import Image

from fallow.inventory import groups as grouping
from fallow.inventory import naming
from fallow.inventory.groups import group
from fallow.measure.cluster import nmi
from fallow.vectors.space import neighbours, unit


def nested(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Four wide groups, each of ten narrow ones of eight."""
    draw = np.random.default_rng(seed)
    wide = np.repeat(unit(draw.normal(size=(4, 24))), 10, axis=0)
    narrow = unit(wide + 0.5 * unit(draw.normal(size=(40, 24))))
    fine = np.repeat(np.arange(40), 8)
    return unit(narrow[fine] + draw.normal(0, 0.03, (320, 24))), fine // 10, fine


def test_finer_levels_lie_within_coarser_ones_and_find_both():
    vectors, coarse, fine = nested()
    found = group(vectors)
    assert len(found.levels) == 3
    assert nmi(coarse, found.levels[0]) > 0.8
    assert nmi(fine, found.levels[-1]) > 0.9
    for above, level, parents in zip(found.levels, found.levels[1:], found.parents, strict=False):
        assert np.array_equal(parents[level], above)
    assert found.clear


def test_asking_for_a_number_cuts_the_coarse_level():
    vectors, _, _ = nested()
    for count in (1, 2, 5, 50):
        assert group(vectors, count=count).count == count


def test_what_is_beyond_the_sample_joins_the_right_group(monkeypatch):
    monkeypatch.setattr(grouping, "MOST", 200)
    draw = np.random.default_rng(0)
    truth = np.repeat(np.arange(5), 120)
    vectors = unit(unit(draw.normal(size=(5, 16)))[truth] + draw.normal(0, 0.1, (600, 16)))
    found = group(vectors)
    assert found.count == 5
    assert nmi(truth, found.member) == 1


def test_the_same_seed_gives_the_same_groups():
    vectors, _, _ = nested()
    one, other = group(vectors, seed=3), group(vectors, seed=3)
    assert all(np.array_equal(a, b) for a, b in zip(one.levels, other.levels, strict=True))


def test_all_copies_of_one_picture_are_no_trouble():
    found = group(np.tile(unit(np.ones((1, 8))), (60, 1)))
    assert found.count == 1
    assert np.bincount(found.member).sum() == 60
    assert not found.clear


def test_moving_rows_to_their_neighbours_draws_groups_together():
    vectors, _, fine = nested()
    moved = grouping.drawn_together(vectors, neighbours(vectors, 15))

    def spread(rows: np.ndarray) -> float:
        return float(np.mean([rows[fine == code].std(axis=0).sum() for code in range(40)]))

    assert spread(moved) < 0.8 * spread(vectors)


def test_names_say_what_sets_a_group_apart_and_nothing_of_an_ordinary_one():
    draw = np.random.default_rng(0)
    numbers = {name: draw.normal(0, 1, 300) for name in naming.ADJECTIVES}
    numbers["aspect"][:60] += 4
    colours = np.abs(draw.normal(0, 0.02, (300, 12)))
    colours[:60, 8] += 0.5
    folders = ["seeds/"] * 60 + ["rest/", "more/", "else/"] * 80
    known = naming.Traits(numbers, colours, folders)
    everyone = np.arange(300)
    assert naming.words(known, np.arange(60), everyone) == ["blue", "wide", "from folder seeds/"]
    assert naming.words(known, np.arange(60, 300), everyone) == []


def test_camera_and_year_are_read_from_the_file():
    exif = Image.Exif()
    exif[0x0110] = "Canon EOS 5D"
    exif[0x0132] = "2019:05:04 10:00:00"
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG", exif=exif)
    assert naming.camera_and_year(buffer.getvalue()) == ("Canon EOS 5D", "2019")
