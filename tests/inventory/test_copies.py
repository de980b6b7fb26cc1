"""Copies found whatever was done to them; two photos of one scene are none."""

import io

import numpy as np
import pytest
from benchmarks.judgement.changes import KINDS, change
from PIL import Image
from skimage import data

from fallow.inventory.alignment import Compared
from fallow.inventory.copies import (
    Pair,
    consistent,
    find_copies,
    grouped,
)
from fallow.inventory.keypoints import Keypoints, keypoints, small


def shrunk(picture: Image.Image, side: int = 144) -> np.ndarray:
    scale = min(1.0, side / min(picture.size))
    size = (round(picture.width * scale), round(picture.height * scale))
    return np.asarray(picture.convert("RGB").resize(size, Image.Resampling.LANCZOS))


@pytest.fixture(scope="module")
def photos() -> list[Image.Image]:
    names = ("astronaut", "chelsea", "coffee", "rocket", "camera")
    return [Image.fromarray(getattr(data, name)()).convert("RGB") for name in names]


@pytest.fixture(scope="module")
def stereo() -> list[Image.Image]:
    left, right, _ = data.stereo_motorcycle()
    return [Image.fromarray(left), Image.fromarray(right)]


def made(picture: Image.Image, kind: str, strength: int) -> Image.Image:
    return Image.open(io.BytesIO(change(picture, kind, strength, np.random.default_rng(3))))


def test_every_kind_of_copy_is_found_and_nothing_else(photos, stereo):
    whole = photos + stereo
    copies = [made(photos[number % 3], kind, 1) for number, kind in enumerate(KINDS)]
    pictures = [shrunk(picture) for picture in whole + copies]
    sizes = np.array([picture.size for picture in whole + copies])
    source = [*range(len(whole)), *(number % 3 for number in range(len(KINDS)))]
    found = find_copies(pictures, sizes=sizes).pairs
    assert all(source[copy.row] == source[copy.of] for copy in found)
    direct = {frozenset((copy.row, copy.of)): copy.change for copy in found}
    said = {
        kind: direct.get(frozenset((len(whole) + number, number % 3)))
        for number, kind in enumerate(KINDS)
    }
    assert [kind for kind, words in said.items() if words is None] == []
    assert "half size" in said["resize"]
    assert "cropped to 7" in said["crop"]
    assert "mirrored" in said["mirror"]
    assert "turned 8 degrees" in said["turn"]
    assert "border" in said["border"]
    assert "larger picture" in said["screenshot"]
    assert "colour" in said["grey"]
    assert "written over" in said["text"]


def test_a_panel_of_words_over_a_picture_leaves_it_a_copy(photos):
    pictures = [shrunk(picture) for picture in photos]
    pictures += [shrunk(made(picture, "text", 2)) for picture in photos]
    found = {(copy.of, copy.row) for copy in find_copies(pictures).pairs}
    found |= {(row, of) for of, row in found}
    assert {(number, number + len(photos)) for number in range(len(photos))} <= found


def test_of_two_the_one_that_shows_more_is_the_original(photos):
    one = photos[2]
    part = one.crop((60, 40, 540, 360))
    found = find_copies([shrunk(part), shrunk(one)], sizes=np.array([part.size, one.size])).pairs
    assert [(copy.row, copy.of) for copy in found] == [(0, 1)]
    framed = made(one, "border", 2)
    found = find_copies(
        [shrunk(framed), shrunk(one)], sizes=np.array([framed.size, one.size])
    ).pairs
    assert [(copy.row, copy.of) for copy in found] == [(0, 1)]


def test_an_object_that_moved_makes_another_photo(photos):
    one, other = photos[2].copy(), photos[2].copy()
    cup = photos[1].crop((140, 60, 220, 180))
    one.paste(cup, (30, 200))
    other.paste(cup, (450, 160))
    assert find_copies([shrunk(one), shrunk(other)]).pairs == []


def test_frames_that_overlap_are_no_copies(photos):
    wide = photos[0]
    left, right = wide.crop((0, 0, 380, 400)), wide.crop((130, 60, 510, 460))
    assert find_copies([shrunk(left), shrunk(right)]).pairs == []


def test_neighbours_are_compared_where_no_point_suggests_them():
    draw = np.random.default_rng(0)
    soft = Image.fromarray(draw.integers(0, 256, (4, 5, 3)).astype(np.uint8))
    soft = soft.resize((200, 160), Image.Resampling.BICUBIC)
    pictures = [shrunk(soft), shrunk(soft.resize((100, 80)))]
    near = np.array([[1], [0]])
    found = find_copies(pictures, near=near, sizes=np.array([[200, 160], [100, 80]])).pairs
    assert [(copy.row, copy.of, copy.change) for copy in found] == [(1, 0, "half size")]


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 90, 3), (8, 8, 3), (60, 60)])
def test_what_holds_nothing_is_no_copy_of_anything(shape):
    blank = np.full(shape, 200, np.uint8)
    assert find_copies([blank, blank.copy()], near=np.array([[1], [0]])).pairs == []


def test_no_pictures_and_one():
    assert find_copies([]).pairs == []
    assert find_copies([np.zeros((50, 50, 3), np.uint8)]).pairs == []


def test_codes_of_a_mirrored_picture_change_places(photos):
    plane = small(np.asarray(photos[0].convert("L")))
    found = keypoints(plane)
    mirrored = keypoints(np.ascontiguousarray(plane[:, ::-1]))
    across = plane.shape[1] - 1 - mirrored.places[:, 0]
    apart = np.abs(found.places[:, None, 0] - across) + np.abs(
        found.places[:, None, 1] - mirrored.places[:, 1]
    )
    apart += 99 * (found.levels[:, None] != mirrored.levels)
    own, theirs = np.flatnonzero(apart.min(1) < 0.1), apart.argmin(1)
    assert len(own) > 0.7 * len(found.levels)
    same = found.codes[own] == mirrored.codes[theirs[own]][:, ::-1]
    assert same.mean() > 0.95


def laid(first: int, second: int, changed: float) -> Pair:
    return Pair(first, second, False, Compared(np.eye(3), 0.97, 0.01, 20.0, 1.0, 0.0, changed, 0.0))


def test_a_poor_copy_goes_with_one_of_two_photos_between_which_something_moved():
    pairs = [laid(0, 1, 0.05), laid(0, 2, 0.0), laid(1, 2, 0.0)]
    assert consistent(pairs, np.array([-1.0, 3.0, 2.0])).tolist() == [True, True, False]
    still = [laid(0, 1, 0.001), *pairs[1:]]
    assert consistent(still, np.array([1.0, 3.0, 2.0])).all()


def test_points_of_nothing_are_none():
    found = keypoints(small(np.full((80, 80), 90, np.uint8)))
    assert isinstance(found, Keypoints)
    assert len(found.levels) == 0


def test_groups_keep_the_original_and_do_not_chain():
    worth = np.array([[1.0], [9.0], [1.0], [1.0], [2.0], [1.0]])
    assert grouped([(1, 0), (3, 0), (5, 4)], worth) == [([0, 1, 3], 0), ([4, 5], 4)]


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize(
    ("kind", "strength", "said"),
    [
        ("brightness", 2, ("brighter", "darker")),
        ("contrast", 2, ("more contrast", "less contrast")),
        ("resize", 1, ("half size",)),
        ("crop", 2, ("cropped to 5", "cropped to 6")),
        ("blur", 1, ("softer", "stored again")),  # a slight one is gone at the size compared
    ],
)
def test_words_say_what_was_done_to_the_kept_one(photos, first, kind, strength, said):
    """In whichever order the two come."""
    for photo in photos[:2]:
        copy = made(photo, kind, strength)
        both = [copy, photo] if first else [photo, copy]
        found = find_copies([shrunk(each) for each in both], sizes=np.array([p.size for p in both]))
        (pair,) = found.pairs
        (group,) = found.groups
        assert group.keep == pair.of
        assert group.changes[pair.row] == pair.change
        assert group.changes[pair.of] == ""
        one, kept = (np.asarray(both[row].convert("L"), float) for row in (pair.row, pair.of))
        if kind == "brightness":
            assert said[int(one.mean() < kept.mean())] in pair.change
        elif kind == "contrast":
            assert said[int(one.std() < kept.std())] in pair.change
        else:
            assert pair.row == 1 - first
            assert pair.change.startswith(said)
