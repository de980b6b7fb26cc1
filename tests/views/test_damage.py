"""Damage rises with its grade, is the same for the same steps, and keeps size and range."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from fallow.problems import Problem, SettingProblem
from fallow.views.damage import DAMAGES, GRADES, GROUPS, Step, composed, damaged, spoilt
from fallow.views.fragments import five_crops, fragments, offsets, tiles


def picture(height=64, width=80, seed=0):
    """Soft patches of colour with a little grain."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 255, (7, 9, 3)).astype(np.uint8))
    soft = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)) / 255
    return np.clip(soft + random.normal(0, 0.01, soft.shape), 0, 1).astype(np.float32)


def test_there_are_24_in_seven_groups():
    assert (len(DAMAGES), len(GROUPS)) == (24, 7)
    assert all(len(grades) == GRADES for _, grades in DAMAGES.values())


@pytest.mark.parametrize("name", sorted(DAMAGES))
def test_damage_rises_with_its_grade(name):
    pictures = [picture(seed=k) for k in range(3)]
    away = []
    for grade in range(1, GRADES + 1):
        made = [damaged(one, name, grade, np.random.default_rng(0)) for one in pictures]
        assert all(one.shape == (64, 80, 3) and one.dtype == np.float32 for one in made)
        assert min(one.min() for one in made) >= 0
        assert max(one.max() for one in made) <= 1
        away.append(np.mean([np.abs(m - p).mean() for m, p in zip(made, pictures, strict=True)]))
    assert away[0] > 0
    assert away[-1] > 1.2 * away[0]
    assert all(later > 0.97 * earlier for earlier, later in pairwise(away))


def test_the_same_steps_do_the_same_and_others_do_not():
    steps = [Step("motion_blur", 3, 5), Step("white_noise", 2, 6)]
    one = picture()
    np.testing.assert_array_equal(spoilt(one, steps), spoilt(one, steps))
    other = [Step("motion_blur", 3, 9), Step("white_noise", 2, 6)]
    assert np.abs(spoilt(one, steps) - spoilt(one, other)).max() > 0.01
    np.testing.assert_array_equal(spoilt(one, []), one)


def test_compositions_take_one_of_a_group_and_mild_grades_more_often():
    group_of = {damage.__name__: name for name, each in GROUPS.items() for damage in each}
    draw = np.random.default_rng(0)
    plans = [composed(draw) for _ in range(600)]
    assert {len(plan) for plan in plans} == {1, 2, 3, 4}
    assert all(len({group_of[step.name] for step in plan}) == len(plan) for plan in plans)
    assert {step.name for plan in plans for step in plan} == set(DAMAGES)
    grades = np.bincount([step.grade for plan in plans for step in plan], minlength=6)[1:]
    assert (np.diff(grades) < 0).all()
    weights = np.exp(-(np.arange(5) ** 2) / 12.5)
    np.testing.assert_allclose(grades / grades.sum(), weights / weights.sum(), atol=0.05)


def test_unknown_damage_is_refused():
    with pytest.raises(SettingProblem, match="did you mean jpeg"):
        damaged(picture(), "jpegs", 1, np.random.default_rng(0))
    with pytest.raises(SettingProblem, match="grades 1 to 5"):
        damaged(picture(), "jpeg", 6, np.random.default_rng(0))


def test_tiles_reach_every_edge_and_stay_within_their_number():
    for height, width, side, most in ((100, 300, 50, 6), (500, 700, 96, 16), (96, 96, 96, 4)):
        found = tiles(height, width, side, most)
        assert len(found) <= most
        assert all(0 <= y <= height - side and 0 <= x <= width - side for y, x, _, _ in found)
        assert max(y for y, _, _, _ in found) == height - side
        assert max(x for _, x, _, _ in found) == width - side
        assert (min(found)[:2]) == (0, 0)


def test_fragments_are_raw_pixels_of_their_cells():
    pixels = np.arange(60 * 80).reshape(60, 80)
    down, right = offsets(60, 80, 4, 8, seed=3)
    assert down.max() <= 60 // 4 - 8
    found = fragments(pixels[None], 4, 8, down, right)[0]
    for row in range(4):
        for column in range(4):
            y, x = 15 * row + down[row, column], 20 * column + right[row, column]
            part = found[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
            np.testing.assert_array_equal(part, pixels[y : y + 8, x : x + 8])


def test_small_photos_have_no_parts():
    for make in (
        lambda: five_crops(100, 300, 224),
        lambda: tiles(30, 300, 32, 4),
        lambda: fragments(np.zeros((30, 40)), 4, 8, *offsets(30, 40, 4, 8)),
    ):
        with pytest.raises(Problem, match="use smaller parts"):
            make()
