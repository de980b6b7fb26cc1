"""What is drawn: distributions, and independence of everything but seed, epoch and image."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fallow.views import Recipe, View, byol, draw, moco, simclr, swav, uniform
from fallow.views.random import mix, stream_key

N = 4000


def drawn_for(recipe, height, width, n=N, seed=0, epoch=0):
    return draw(recipe, np.full(n, height), np.full(n, width), np.arange(n), seed=seed, epoch=epoch)


def boxes(drawn, view, size):
    """left, top, width, height of upright crops, from their matrices."""
    a, c = drawn.geometry[view, :, 0], drawn.geometry[view, :, 1]
    width, height = np.abs(a[:, 0]) * size, c[:, 1] * size
    left = a[:, 2] + a[:, 0] * (size - 1) / 2 - (width - 1) / 2
    top = c[:, 2] + c[:, 1] * (size - 1) / 2 - (height - 1) / 2
    return left, top, width, height


def reference_crop(rng, height, width, area, aspect):
    """Random resized crop, written down a second time."""
    for _ in range(10):
        target = height * width * rng.uniform(*area)
        ratio = np.exp(rng.uniform(*np.log(aspect)))
        w, h = round((target * ratio) ** 0.5), round((target / ratio) ** 0.5)
        if 0 < w <= width and 0 < h <= height:
            return rng.integers(width - w + 1), rng.integers(height - h + 1), w, h
    if width / height < aspect[0]:
        w, h = width, round(width / aspect[0])
    elif width / height > aspect[1]:
        w, h = round(height * aspect[1]), height
    else:
        w, h = width, height
    return (width - w) // 2, (height - h) // 2, w, h


@pytest.mark.parametrize("shape", [(300, 400), (200, 200), (60, 400)])
def test_crops_follow_the_reference_distribution(shape):
    view = View(64)
    left, top, width, height = boxes(drawn_for(Recipe((view,)), *shape), 0, 64)
    rng = np.random.default_rng(0)
    reference = np.array([reference_crop(rng, *shape, view.area, view.aspect) for _ in range(N)])
    ours = np.stack([left, top, width, height], 1)
    assert np.abs(ours - np.rint(ours)).max() < 1e-6  # whole pixels
    assert left.min() > -1e-6
    assert top.min() > -1e-6
    assert (left + width).max() < shape[1] + 1e-6
    assert (top + height).max() < shape[0] + 1e-6
    for got, expected in (
        (width * height, reference[:, 2] * reference[:, 3]),
        (width / height, reference[:, 2] / reference[:, 3]),
        (left, reference[:, 0]),
        (top, reference[:, 1]),
    ):
        assert stats.ks_2samp(np.round(got, 6), np.round(expected, 6)).pvalue > 1e-3


def test_square_images_use_the_whole_area_range():
    _, _, width, height = boxes(drawn_for(simclr(224), 500, 500), 0, 224)
    share = width * height / 500**2
    assert 0.079 < share.min() < 0.1
    assert 0.98 < share.max() <= 1.0
    ratio = np.log(width / height)
    assert np.abs(ratio).max() < np.log(4 / 3) + 0.01
    assert np.abs(ratio).max() > np.log(4 / 3) - 0.01


def test_elongated_image_falls_back_to_the_centre():
    left, top, width, height = boxes(
        drawn_for(Recipe((View(32, area=(0.9, 1.0)),)), 10, 1000), 0, 32
    )
    assert np.allclose(height, 10)
    assert np.allclose(width, 13)  # 10 * 4 / 3 rounded
    assert np.allclose(left, 493)
    assert np.allclose(top, 0)


def test_jitter_ranges_and_rates():
    drawn = drawn_for(byol(96), 100, 100)
    for view in range(2):
        factors = drawn.factors[view]
        changed = (factors != (1, 1, 1, 0)).any(1)
        assert abs(changed.mean() - 0.8) < 0.03
        for column, (low, high) in enumerate([(0.6, 1.4), (0.6, 1.4), (0.8, 1.2), (-0.1, 0.1)]):
            values = factors[changed, column]
            assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 1e-3
        assert abs(drawn.grey[view].mean() - 0.2) < 0.03
        assert abs((drawn.geometry[view, :, 0, 0] < 0).mean() - 0.5) < 0.04
        counts = np.bincount(drawn.order[view], minlength=24)
        assert stats.chisquare(counts).pvalue > 1e-3
    assert (drawn.sigma[0] > 0).all()
    assert abs((drawn.sigma[1] > 0).mean() - 0.1) < 0.02
    assert stats.kstest(drawn.sigma[0], stats.uniform(0.1, 1.9).cdf).pvalue > 1e-3
    assert not drawn.solarise[0].any()
    assert abs(drawn.solarise[1].mean() - 0.2) < 0.03


def test_strengths_above_one_never_turn_negative():
    recipe = Recipe((View(32, jitter=(1.5, 1.5, 1.5, 0.0), jitter_probability=1.0),))
    factors = drawn_for(recipe, 40, 40).factors[0, :, :3]
    assert factors.min() >= 0
    assert factors.max() > 2.4


def test_parameters_are_not_correlated_between_views_epochs_and_slots():
    one, other = drawn_for(simclr(96), 100, 100), drawn_for(simclr(96), 100, 100, epoch=1)
    columns = [one.factors[0, :, 0], one.factors[1, :, 0], other.factors[0, :, 0]]
    columns += [one.factors[0, :, 1], one.geometry[0, :, 0, 2], one.sigma[0]]
    correlation = np.corrcoef(columns) - np.eye(len(columns))
    # whether jitter is drawn at all ties factors of one view together only in their spread
    assert np.abs(correlation).max() < 0.07


def test_same_view_in_any_batch():
    heights, widths, rows = np.array([50, 300, 77]), np.array([60, 400, 20]), np.array([3, 7, 1000])
    whole = draw(swav(224), heights, widths, rows, seed=5, epoch=2)
    for pick in ([2, 0], [1]):
        part = draw(swav(224), heights[pick], widths[pick], rows[pick], seed=5, epoch=2)
        for name in ("geometry", "factors", "order", "sigma", "grey", "mixing", "pull"):
            assert np.array_equal(getattr(part, name), getattr(whole, name)[:, pick])


@pytest.mark.parametrize("change", [{"seed": 1}, {"epoch": 1}, {"seed": -1}])
def test_seed_and_epoch_matter(change):
    settings = {"seed": 0, "epoch": 0}
    one = draw(moco(96), [90], [90], [4], **settings)
    other = draw(moco(96), [90], [90], [4], **{**settings, **change})
    assert not np.array_equal(one.geometry, other.geometry)


def test_uniform_is_uniform_and_known():
    values = uniform(3, 4, np.arange(50_000), 1, 2)
    assert stats.kstest(values, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.02
    # the first outputs of SplitMix64 from state 0, as its author published them
    state = np.zeros(1, np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    assert int(mix(state)[0]) == 0xE220A8397B1DCDAF
    assert stream_key(0, 1)[0] != stream_key(1, 0)[0]


def test_kernel_and_numpy_draw_the_same_numbers():
    rows = np.array([0, 5, 123456789])
    drawn = draw(simclr(96), [90] * 3, [90] * 3, rows, seed=9, epoch=3)
    flip = uniform(9, 3, rows, 1, 2) < 0.5
    assert np.array_equal(drawn.geometry[1, :, 0, 0] < 0, flip)
    assert np.array_equal(drawn.order[1], (uniform(9, 3, rows, 1, 6) * 24).astype(int))
