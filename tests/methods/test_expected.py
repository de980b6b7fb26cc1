"""The model of ordinary scores: what it flags, how many it expects, and that it can say nothing."""

from __future__ import annotations

import numpy as np
import pytest

from fallow.methods.shared.expected import cut, expected


def drawn(count: int, odd: int, seed: int, away: float = 6.0) -> np.ndarray:
    """Ordinary scores around 1, odd ones `away` spreads above, wider."""
    random = np.random.default_rng(seed)
    return np.r_[random.normal(1, 0.1, count - odd), random.normal(1 + 0.1 * away, 0.2, odd)]


# many odd ones widen what is taken for ordinary: they are flagged from farther off
@pytest.mark.parametrize(("odd", "away"), [(4, 6.0), (10, 6.0), (30, 9.0)])
def test_most_of_the_odd_ones_are_flagged_and_few_others(odd, away):
    hits = flagged = 0
    for seed in range(4):
        scores = drawn(80, odd, seed, away)
        found = scores > expected(scores).threshold
        hits += int(found[80 - odd :].sum())
        flagged += int(found.sum())
    assert hits >= 0.5 * 4 * odd
    assert hits >= 0.8 * flagged


def test_where_nothing_is_odd_next_to_nothing_is_flagged():
    flagged = sum(
        int((s > expected(s).threshold).sum()) for s in (drawn(80, 0, k) for k in range(6))
    )
    assert flagged <= 3  # of 480


def test_the_interval_holds_the_number_and_the_mean_lies_in_it():
    held = 0
    for seed in range(6):
        said = expected(drawn(100, 15, seed))
        assert said.interval[0] <= said.number <= said.interval[1]
        held += said.interval[0] <= 15 <= said.interval[1]
    assert held >= 5


def test_scale_and_place_of_the_scores_do_not_matter():
    scores = drawn(60, 8, 0)
    one, other = expected(scores), expected(1000 * scores - 7)
    np.testing.assert_allclose(one.odd, other.odd, atol=1e-6)
    assert other.threshold == pytest.approx(1000 * one.threshold - 7, rel=1e-6)


def test_the_higher_the_odder():
    scores = drawn(60, 8, 1)
    assert (np.diff(expected(scores).odd[np.argsort(scores)]) >= 0).all()


@pytest.mark.parametrize("scores", [[], [1.0], [1.0, 2.0, 5.0], [3.0] * 40])
def test_too_few_or_all_alike_say_nothing(scores):
    said = expected(np.array(scores))
    assert said.threshold == np.inf
    assert said.interval == (0, 0)


def test_a_cut_keeps_the_share_of_wrong_ones():
    scores, odd = np.arange(5.0), np.array([0.0, 0.1, 0.6, 0.9, 1.0])
    assert cut(scores, odd, 0.2, beyond=0) == 1.5  # 0.5 of three are wrong
    assert cut(scores, odd, 0.1, beyond=0) == 2.5
    assert cut(scores, np.zeros(5), 0.5) == np.inf


def test_nothing_near_the_ordinary_scores_is_flagged_whatever_the_model_says():
    scores = np.r_[np.linspace(0, 1, 40), 1.2, 9.0]
    odd = np.r_[np.zeros(40), 0.95, 1.0]
    assert 1.2 < cut(scores, odd, 0.1) < 9.0
