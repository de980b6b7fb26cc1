"""Membership inference: what is visible to the attacker, and what trivial answers are worth."""

from __future__ import annotations

import numpy as np
import pytest

from fallow.measure.membership import Attacker, attacked, confidences, judged
from fallow.problems import Problem


def answers(count, sharpness, seed):
    return sharpness * np.random.default_rng(seed).normal(size=(count, 5))


def test_class_names_are_hidden():
    logits = answers(20, 2.0, 0)
    shuffled = logits[:, [3, 1, 4, 0, 2]]
    np.testing.assert_allclose(confidences(logits), confidences(shuffled))
    np.testing.assert_allclose(confidences(logits + 1000), confidences(logits), atol=1e-9)
    assert (np.diff(confidences(logits)) >= 0).all()


def test_groups_of_unequal_size_are_told_apart_from_skill():
    always = judged(np.ones(90), np.ones(10))
    assert (always.success, always.trivial, always.balanced, always.auroc) == (0.9, 0.9, 0.5, 0.5)


def test_an_attacker_finds_members_where_there_is_something_to_find():
    members, outsiders = answers(200, 6.0, 0), answers(300, 1.5, 1)
    attacker = Attacker(members, outsiders)
    leaking = attacker.ask(answers(100, 6.0, 2), answers(100, 1.5, 3))
    assert leaking.auroc > 0.9
    assert leaking.balanced > 0.8
    hidden = attacker.ask(answers(100, 1.5, 4), answers(100, 1.5, 3))
    assert 0.35 < hidden.auroc < 0.65


def test_an_attacker_is_not_swayed_by_the_larger_group():
    same = Attacker(answers(40, 2.0, 0), answers(400, 2.0, 1)).ask(
        answers(200, 2.0, 2), answers(200, 2.0, 3)
    )
    guesses_member = same.success  # equal groups: near one half whatever the share guessed
    assert 0.35 < guesses_member < 0.65


@pytest.mark.parametrize(
    ("count", "batch", "forgotten", "rows"),
    [
        (5300, 32, 64, (5024, 5088)),
        (5300, 32, 65, (5024, 5120)),
        (5030, 32, 60, (5024, 5030)),
        (9000, 1, 3, (4999, 5002)),
    ],
)
def test_whole_batches_are_skipped_and_taken(count, batch, forgotten, rows):
    assert attacked(count, batch, forgotten) == rows


def test_nothing_to_attack_is_a_sentence():
    with pytest.raises(Problem, match="forgotten images and unseen ones"):
        judged([], [0.5])
    with pytest.raises(Problem, match="of both kinds"):
        Attacker(np.zeros((0, 3)), np.zeros((4, 3)))
