"""Agreement with ratings, curves that cannot be found, raters who cannot be trusted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fallow.measure.opinion import (
    agreement,
    agreement_after_fit,
    constant,
    fitted,
    opinion,
    trusted,
)
from fallow.problems import Problem


def test_correlations_are_those_of_scipy_with_ties():
    random = np.random.default_rng(0)
    x, y = random.integers(0, 6, 40).astype(float), random.integers(0, 6, 40) / 5
    found = agreement(x, y)
    assert found.srcc == pytest.approx(stats.spearmanr(x, y).statistic)
    assert found.krcc == pytest.approx(stats.kendalltau(x, y).statistic)
    assert found.plcc == pytest.approx(stats.pearsonr(x, y).statistic)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_curve_is_found_on_any_scale(scale):
    random = np.random.default_rng(1)
    x = random.normal(size=80)
    y = 0.4 + 0.3 / (1 + np.exp(-2 * x)) + random.normal(0, 0.01, 80)
    found = agreement_after_fit(scale * x + 7, y)
    assert found.fit == "curve"
    assert found.rmse < 0.012
    assert found.srcc == pytest.approx(agreement(x, y).srcc)


def test_too_few_ratings_for_a_curve_get_a_line_that_never_falls():
    rising = agreement_after_fit([1, 2, 3], [0.1, 0.2, 0.4])
    assert rising.fit == "line"
    assert rising.rmse < 0.03
    bent, fit = fitted([1, 2, 3], [0.4, 0.2, 0.1])
    assert fit == "line"
    assert np.ptp(bent(np.array([0.0, 9.0]))) == 0


def test_equal_scores_agree_with_nothing():
    found = agreement([2, 2, 2], [0.1, 0.5, 0.3])
    assert (found.srcc, found.krcc, found.plcc) == (0, 0, 0)
    assert constant([0.1, 0.5, 0.3]).rmse == pytest.approx(np.std([0.1, 0.5, 0.3]))


def test_raters_are_judged_by_themselves_and_by_others():
    random = np.random.default_rng(2)
    truth = random.random((40, 1, 1))
    ratings = truth + random.normal(0, 0.05, (40, 6, 2))
    ratings[:, 4] = random.random((40, 2))  # says anything
    ratings[:, 5] = 1 - ratings[:, 5]  # holds the scale upside down
    found = opinion(ratings)
    assert trusted(found).tolist() == [True] * 4 + [False, False]
    assert found.self_srcc[5] > 0.9
    assert found.with_others[5] < 0
    good = opinion(ratings[:, :4])
    assert good.ceiling > 0.9
    assert found.ceiling < good.ceiling
    np.testing.assert_allclose(good.half_width, 1.96 * good.spread / np.sqrt(8))


def test_one_round_or_one_rater_leaves_things_open():
    found = opinion(np.random.default_rng(0).random((5, 3, 1)))
    assert len(found.self_srcc) == 0
    assert len(trusted(found)) == 3
    alone = opinion(np.random.default_rng(0).random((5, 1, 2)))
    assert np.isnan(alone.ceiling)
    assert np.isnan(alone.with_others[0])


def test_what_is_no_number_is_refused():
    with pytest.raises(Problem, match="scores hold no number for picture 1"):
        agreement([1, np.nan], [0, 1])
    with pytest.raises(Problem, match="2 scores do not fit 3 ratings"):
        agreement([1, 2], [0, 1, 2])
    with pytest.raises(Problem, match="two pictures or more"):
        agreement([1], [0])
    with pytest.raises(Problem, match="none missing"):
        opinion(np.full((3, 2, 2), np.nan))
