"""The mixture that splits and merges: its evidence, its bookkeeping, and where it ends."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fallow.inventory.axes import evened, principal
from fallow.inventory.mixture import settle
from fallow.inventory.normals import (
    Prior,
    evidence,
    joined,
    moments,
    posterior,
    prior,
    responsibilities,
)
from fallow.inventory.rehearsal import balance, calibrate
from fallow.inventory.splits import (
    Proposals,
    accepted,
    halves,
    log_split,
    proposals,
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
    before = Prior(np.zeros(3), 0.7, 5.0, np.array([0.5, 1.0, 2.0]))
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

    count, width = found.number, len(found.mean)
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
    assert both.number == whole.number
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
    taken = np.mean([accepted(np.log(0.5), draw) for _ in range(4000)])
    assert taken == pytest.approx(0.5, abs=0.03)
    assert all(accepted(0.01, draw) for _ in range(100))
    assert not any(accepted(-30.0, draw) for _ in range(100))


def test_a_split_replaces_its_parent_and_a_merge_both():
    points, truth = blobs(classes=4, apart=8.0)
    known = some_known(truth, 2)
    before, log_alpha, _ = calibrate(points, known)
    draw = np.random.default_rng(0)
    lumped = np.where(truth == 3, 2, truth)  # two new classes as one
    centres, changes = split_and_merge(points, lumped, known, before, draw, log_alpha=log_alpha)
    assert (len(centres), changes) == (4, 1)
    for one in (2, 3):
        assert np.abs(centres[2:] - points[truth == one].mean(0)).sum(1).min() < 1e-9
    torn = np.where((truth == 3) & (np.arange(len(truth)) % 2 == 0), 4, truth)
    centres, changes = split_and_merge(points, torn, known, before, draw, log_alpha=log_alpha)
    assert (len(centres), changes) == (4, 1)  # tested from both ends, merged once
    np.testing.assert_allclose(centres[3], points[truth == 3].mean(0))


def test_a_new_component_can_join_a_known_class_but_known_ones_stay():
    points, truth = blobs(classes=3, apart=8.0)
    known = some_known(truth, 3)
    before, log_alpha, _ = calibrate(points, known)
    torn = np.where((truth == 1) & (known < 0), 3, truth)  # its unlabelled half apart
    draw = np.random.default_rng(0)
    centres, changes = split_and_merge(points, torn, known, before, draw, log_alpha=log_alpha)
    assert (len(centres), changes) == (3, 1)
    np.testing.assert_allclose(centres[1], points[truth == 1].mean(0))
    alike = points.copy()
    alike[truth == 1] = points[truth == 0]  # two labelled classes that look the same
    tests = proposals(alike, truth, known, before, draw)
    assert not tests.pairs


def test_a_known_class_keeps_its_labels_when_others_leave():
    points, truth = blobs(classes=3, apart=8.0)
    known = some_known(truth, 2)
    before, log_alpha, _ = calibrate(points, known)
    swallowed = np.where(truth == 2, 1, truth)  # a new class sits in a known one
    draw = np.random.default_rng(0)
    centres, changes = split_and_merge(points, swallowed, known, before, draw, log_alpha=log_alpha)
    assert (len(centres), changes) == (3, 1)
    np.testing.assert_allclose(centres[1:], [points[truth == k].mean(0) for k in (1, 2)])
    labelled = np.where(truth == 2, 1, known)  # the same, but all of it has the label
    tests = proposals(points, swallowed, labelled, before, draw)
    for k, _, stays, leaves in tests.cuts:
        if k == 1:
            own = points[labelled == 1]
            away = [np.linalg.norm(own - centre, axis=1).mean() for centre in (stays, leaves)]
            assert np.isfinite(away).all()


def test_small_halves_are_never_split_off():
    points, truth = blobs(classes=2, apart=20.0, each=12)
    points = np.concatenate([points[truth == 0], points[truth == 1][:5]])
    member, known = np.zeros(len(points), int), np.full(len(points), -1)
    before = prior(points, 1.0)
    draw = np.random.default_rng(0)
    assert not proposals(points, member, known, before, draw, least=5).cuts
    assert len(proposals(points, member, known, before, draw, least=4).cuts) == 1


@pytest.mark.parametrize("count", [4, 6, 14])
def test_the_truth_is_found_from_below_and_above(count):
    points, truth = blobs(classes=8, width=16, apart=5.0)
    known = some_known(truth, 4)
    before, log_alpha, again = calibrate(points, known)
    assert again == 1
    found = settle(points, known, count, before, log_alpha=log_alpha)
    assert found.count == 8
    pairs = set(zip(found.member.tolist(), truth.tolist(), strict=True))
    assert len(pairs) == 8
    assert all(a == b for a, b in pairs if b < 4)


def test_known_rows_never_leave_and_numbers_have_no_gap():
    points, truth = blobs(apart=0.7)  # everything overlaps
    known = some_known(truth, 3)
    before, log_alpha, _ = calibrate(points, known)
    found = settle(points, known, 12, before, log_alpha=log_alpha, seed=3)
    assert (found.member[known >= 0] == known[known >= 0]).all()
    assert set(found.member) | set(range(3)) == set(range(found.count))


def test_most_is_kept():
    points, truth = blobs()
    before, log_alpha, _ = calibrate(points, some_known(truth, 3))
    found = settle(points, some_known(truth, 2), 3, before, most=4, log_alpha=log_alpha)
    assert found.count == 4


def test_calibrated_classes_neither_split_nor_merge():
    points, truth = blobs(each=30, apart=5.0)
    before, log_alpha, again = calibrate(points, truth, ratio=1.0)
    assert again > 0.95
    for k in range(6):
        own = points[truth == k]
        half = halves(own, np.random.default_rng(1))
        assert log_split(moments(own[half]), moments(own[~half]), before) + log_alpha < 0
        for other in range(k):
            both = moments(own), moments(points[truth == other])
            assert log_split(*both, before) + log_alpha > 0


def test_balance_lets_as_many_split_as_merge():
    cuts = [(k, float(ratio), np.zeros(1), np.zeros(1)) for k, ratio in enumerate((1, 5, 9))]
    pairs = [(k, k + 1, float(ratio), np.zeros(1)) for k, ratio in ((10, 4), (20, 8), (30, 12))]
    log_alpha = balance(Proposals(cuts, pairs))
    assert sum(ratio + log_alpha > 0 for _, ratio, *_ in cuts) == 1
    assert sum(-ratio - log_alpha > 0 for *_, ratio, _ in pairs) == 1


def test_the_ratio_grows_with_points_and_so_does_worth():
    points, _ = blobs(classes=2)
    known = np.full(len(points), -1)
    before = prior(points, 1.0)
    draw = np.random.default_rng(0)
    one, two = (proposals(points, np.zeros(len(points), int), known, before, draw, worth=w)
                for w in (1.0, 2.0))  # fmt: skip
    assert two.cuts[0][1] > 1.5 * one.cuts[0][1]


def test_the_test_means_nothing_in_many_dimensions():
    """One blob 'splits' with overwhelming evidence if the prior is much narrower than it."""
    draw = np.random.default_rng(0)
    points = draw.normal(size=(300, 128))
    half = halves(points, draw)
    parts = moments(points[half]), moments(points[~half])
    narrow, fitting = prior(points, 0.005, nu=129.0), prior(points, 1150.0, nu=1280.0)
    assert abs(log_split(*parts, narrow)) > 20 * abs(log_split(*parts, fitting))


def test_evening_out_shows_what_classes_differ_in():
    draw = np.random.default_rng(0)
    truth = np.arange(4).repeat(40)
    shouted = np.c_[np.eye(4)[truth] + 0.1 * draw.normal(size=(160, 4)),
                    5 * draw.normal(size=(160, 4))]  # fmt: skip
    known = np.where(truth < 2, truth, -1)
    even = evened(shouted, known, 4, shrink=0.01)
    plain = evened(shouted, known, 4, shrink=1.0)
    np.testing.assert_allclose(np.abs(np.corrcoef(plain.T, principal(shouted, 4).T)[:4, 4:])
                               .max(0), 1, atol=1e-6)  # fmt: skip
    apart = [
        np.linalg.norm(x[truth == 2].mean(0) - x[truth == 3].mean(0)) / x[truth == 2].std()
        for x in (even, plain)
    ]
    assert apart[0] > 3 * apart[1]


def test_chances_add_up_and_prefer_the_own_component():
    points, truth = blobs()
    before = calibrate(points, truth).before
    chances = responsibilities(points, truth, before)
    np.testing.assert_allclose(chances.sum(1), 1)
    assert (chances.argmax(1) == truth).mean() > 0.99
    line = np.linspace(0, 1, 101)[:, None]
    between = points[truth == 0].mean(0) * (1 - line) + points[truth == 1].mean(0) * line
    member = np.r_[truth, np.zeros(101, int)]
    one = responsibilities(np.vstack([points, between]), member, before)[-101:, 1]
    assert (one.argmin(), one.argmax()) == (0, 100)
