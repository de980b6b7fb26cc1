"""The mixture that splits and merges: its evidence, its bookkeeping, and where it ends."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fallow.inventory import mixture
from fallow.inventory.mixture import (
    calibrate,
    evidence,
    halves,
    joined,
    log_split,
    moments,
    posterior,
    prior,
    responsibilities,
    settle,
    split_and_merge,
)


def blobs(classes=6, each=40, width=6, apart=4.0, seed=0):
    draw = np.random.default_rng(seed)
    truth = np.arange(classes).repeat(each)
    centres = draw.normal(size=(classes, width)) * apart
    return centres[truth] + draw.normal(size=(len(truth), width)), truth


def some_known(truth, old, seed=0):
    draw = np.random.default_rng(seed)
    return np.where((truth < old) & (draw.random(len(truth)) < 0.5), truth, -1)


def test_evidence_of_points_is_the_product_of_student_predictions():
    """The closed form against one point after the other."""
    draw = np.random.default_rng(0)
    points = draw.normal(size=(7, 3)) + 2
    before = mixture.Prior(np.zeros(3), 0.7, 5.0, np.array([0.5, 1.0, 2.0]))
    mean, kappa, nu, psi = before.mean, before.kappa, before.nu, np.diag(before.psi)
    total = 0.0
    for x in points:
        freedom = nu - 3 + 1
        shape = psi * (kappa + 1) / (kappa * freedom)
        total += stats.multivariate_t(mean, shape, df=freedom).logpdf(x)
        away = x - mean
        psi = psi + kappa / (kappa + 1) * np.outer(away, away)
        mean = (kappa * mean + x) / (kappa + 1)
        kappa, nu = kappa + 1, nu + 1
    # the sheet keeps the spread about the posterior mean, which counts the pull of the prior twice
    found = moments(points)
    exact = evidence_of_textbook(found, before)
    assert exact == pytest.approx(total, abs=1e-9)
    weak = before._replace(kappa=1e-6)
    assert evidence(found, weak) == pytest.approx(evidence_of_textbook(found, weak), abs=1e-4)


def evidence_of_textbook(found, before):
    from scipy.special import multigammaln

    count, width = found.count, len(found.mean)
    kappa, nu = before.kappa + count, before.nu + count
    away = found.mean - before.mean
    scatter = np.diag(before.psi) + found.scatter
    scatter = scatter + before.kappa * count / kappa * np.outer(away, away)
    return (
        -count * width / 2 * np.log(np.pi)
        + multigammaln(nu / 2, width)
        - multigammaln(before.nu / 2, width)
        + before.nu / 2 * np.log(before.psi).sum()
        - nu / 2 * np.linalg.slogdet(scatter)[1]
        + width / 2 * np.log(before.kappa / kappa)
    )


def test_joined_moments_are_those_of_all_points():
    points, _ = blobs()
    one, two, whole = moments(points[:70]), moments(points[70:]), moments(points)
    both = joined(one, two)
    assert both.count == whole.count
    np.testing.assert_allclose(both.mean, whole.mean)
    np.testing.assert_allclose(both.scatter, whole.scatter)


def test_posterior_goes_from_prior_to_points():
    points, _ = blobs()
    before = prior(points + 100, 1.0, kappa=1.0)
    few, many = (posterior(moments(points[:n]), before)[0] for n in (1, 200))
    assert abs(few - before.mean).mean() < abs(many - before.mean).mean()
    np.testing.assert_allclose(many, points[:200].mean(0), atol=1.0)


def test_halves_finds_the_gap():
    points, truth = blobs(classes=2, apart=6.0)
    half = halves(points, np.random.default_rng(0))
    assert len({(a, b) for a, b in zip(half.tolist(), truth.tolist(), strict=True)}) == 2


def test_halves_of_equal_points_are_no_halves():
    half = halves(np.ones((8, 3)), np.random.default_rng(0))
    assert half.all() or not half.any()


def test_true_acceptance():
    """A ratio of one half is accepted half of the time; above one always."""
    draw = np.random.default_rng(0)
    taken = np.mean([mixture.accepted(np.log(0.5), draw) for _ in range(4000)])
    assert taken == pytest.approx(0.5, abs=0.03)
    assert all(mixture.accepted(0.01, draw) for _ in range(100))
    assert not any(mixture.accepted(-30.0, draw) for _ in range(100))


def test_a_split_replaces_its_parent_and_a_merge_both():
    points, truth = blobs(classes=4, apart=8.0)
    known = some_known(truth, 2)
    before = prior(points, calibrate(points, known).scale)
    draw = np.random.default_rng(0)
    lumped = np.where(truth == 3, 2, truth)  # two new classes as one
    centres, changes = split_and_merge(points, lumped, 2, before, draw)
    assert (len(centres), changes) == (4, 1)
    assert np.abs(centres[2:, None] - points[truth == 2].mean(0)).sum(2).min() < 1e-9
    torn = np.where((truth == 3) & (np.arange(len(truth)) % 2 == 0), 4, truth)
    centres, changes = split_and_merge(points, torn, 2, before, draw)
    assert (len(centres), changes) == (4, 1)  # tested from both ends, merged once
    np.testing.assert_allclose(centres[-1], points[truth == 3].mean(0))


def test_a_new_component_can_join_a_known_class_but_known_ones_stay():
    points, truth = blobs(classes=3, apart=8.0)
    known = some_known(truth, 3)
    before = prior(points, calibrate(points, known).scale)
    torn = np.where((truth == 1) & (known < 0), 3, truth)  # its unlabelled half apart
    centres, changes = split_and_merge(points, torn, 3, before, np.random.default_rng(0))
    assert (len(centres), changes) == (3, 1)
    np.testing.assert_allclose(centres[1], points[truth == 1].mean(0))
    alike = points.copy()
    alike[truth == 1] = points[truth == 0]  # two labelled classes that look the same
    assert split_and_merge(alike, truth, 3, before, np.random.default_rng(0))[1] == 0


def test_small_halves_are_never_split_off():
    points, truth = blobs(classes=2, apart=20.0, each=12)
    points = np.concatenate([points[truth == 0], points[truth == 1][:5]])
    member = np.zeros(len(points), int)
    before = prior(points, 1.0)
    for seed in range(5):
        draw = np.random.default_rng(seed)
        assert split_and_merge(points, member, 0, before, draw, least=5)[1] == 0
    assert split_and_merge(points, member, 0, before, np.random.default_rng(0), least=4)[1] == 1


@pytest.mark.parametrize("count", [4, 6, 14])
def test_the_truth_is_found_from_below_and_above(count):
    points, truth = blobs()
    known = some_known(truth, 3)
    before = prior(points, calibrate(points, known, ratio=2).scale)
    found = settle(points, known, count, before)
    assert found.count == 6
    pairs = set(zip(found.member.tolist(), truth.tolist(), strict=True))
    assert len(pairs) == 6
    assert all(a == b for a, b in pairs if b < 3)


def test_known_rows_never_leave_and_numbers_have_no_gap():
    points, truth = blobs(apart=0.7)  # everything overlaps
    known = some_known(truth, 3)
    before = prior(points, calibrate(points, known, ratio=2).scale)
    found = settle(points, known, 12, before, seed=3)
    assert (found.member[known >= 0] == known[known >= 0]).all()
    assert set(found.member) | set(range(3)) == set(range(found.count))


def test_most_is_kept():
    points, truth = blobs()
    before = prior(points, calibrate(points, some_known(truth, 3), ratio=2).scale)
    assert settle(points, some_known(truth, 2), 3, before, most=4).count <= 4


def test_calibrated_classes_neither_split_nor_merge():
    points, truth = blobs(each=30)
    fit = calibrate(points, truth)
    assert (fit.split, fit.merged) == (0.0, 0.0)
    before = prior(points, fit.scale)
    for k in range(6):
        own = points[truth == k]
        half = halves(own, np.random.default_rng(1))
        assert log_split(moments(own[half]), moments(own[~half]), before) < 0
        assert log_split(moments(own), moments(points[truth == (k + 1) % 6]), before) > 0


def test_the_test_means_nothing_in_many_dimensions():
    """What the sheet measured: one blob 'splits' when the prior is not its size."""
    draw = np.random.default_rng(0)
    points = draw.normal(size=(300, 128)) / np.sqrt(128)
    half = halves(points, draw)
    wrong = prior(points, 0.005, nu=129.0)
    right = prior(points, float(points.var(0).mean() * 300), nu=131.0)
    parts = moments(points[half]), moments(points[~half])
    assert abs(log_split(*parts, wrong)) > 1000
    assert log_split(*parts, right) != log_split(*parts, wrong)


def test_chances_add_up_and_prefer_the_own_component():
    points, truth = blobs()
    before = prior(points, calibrate(points, truth).scale)
    chances = responsibilities(points, truth, before)
    np.testing.assert_allclose(chances.sum(1), 1)
    assert (chances.argmax(1) == truth).all()
    middle = (points[truth == 0].mean(0) + points[truth == 1].mean(0)) / 2
    unsure = responsibilities(np.vstack([points, middle]), np.r_[truth, 0], before)[-1]
    assert unsure[:2].min() > 1e-4
