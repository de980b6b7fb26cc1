"""Second opinions on groups: formed again from fewer pictures, and from colours alone."""

import numpy as np

from fallow.inventory.steadiness import Steadiness, overlaps, steadiness


def cloud(spread: float, kinds: int = 5, each: int = 60) -> tuple[np.ndarray, np.ndarray]:
    truth = np.repeat(np.arange(kinds), each)
    draw = np.random.default_rng(0)
    return np.eye(kinds)[truth] + draw.normal(0, spread, (len(truth), kinds)), truth


def test_clear_groups_form_again_and_groups_made_up_do_not():
    vectors, truth = cloud(0.1)
    noise = np.random.default_rng(1).normal(size=(300, 4))
    assert steadiness(vectors, noise, truth).kept == 5
    made_up = np.random.default_rng(2).permutation(truth)
    assert steadiness(vectors, noise, made_up).kept == 0


def test_groups_that_colours_make_are_told_from_those_an_encoder_makes():
    vectors, truth = cloud(0.1)
    noise = np.random.default_rng(1).normal(size=(300, 4))
    assert steadiness(vectors, vectors, truth).coloured == 5
    assert steadiness(vectors, noise, truth).coloured == 0


def test_numbers_go_from_a_quarter_to_all():
    vectors, truth = cloud(0.1, each=120)
    assert steadiness(vectors, vectors, truth).numbers == (5, 5, 5)
    vectors, truth = cloud(0.1)
    assert steadiness(vectors, vectors, truth).numbers == ()  # too few to say


def test_too_few_pictures_and_one_group_have_no_opinion():
    vectors, truth = cloud(0.1, each=5)
    assert steadiness(vectors, vectors, truth) == Steadiness()
    vectors, truth = cloud(0.1)
    assert steadiness(vectors, vectors, np.zeros_like(truth)) == Steadiness()
    assert overlaps(np.zeros(0, int), np.zeros(0, int), 2).tolist() == [0, 0]


def test_the_same_twice():
    vectors, truth = cloud(0.3)
    assert steadiness(vectors, vectors, truth) == steadiness(vectors, vectors, truth)
