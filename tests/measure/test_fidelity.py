"""PSNR and SSIM agree with scikit-image."""

from __future__ import annotations

import numpy as np
import pytest

from fallow.measure import psnr, ssim


@pytest.mark.parametrize("size", [(40, 56, 3), (12, 30, 3)])
@pytest.mark.parametrize("strength", [1, 16, 90])
def test_as_scikit_image(size, strength):
    metrics = pytest.importorskip("skimage.metrics")
    draw = np.random.default_rng(strength)
    smooth = np.cumsum(draw.normal(0, 9, size), 1) + 120
    one = smooth.clip(0, 255).astype(np.uint8)
    two = (smooth + draw.uniform(-strength, strength, size)).clip(0, 255).astype(np.uint8)
    expected = metrics.structural_similarity(
        one, two, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        channel_axis=2, data_range=255,
    )  # fmt: skip
    assert ssim(one, two) == pytest.approx(expected, abs=1e-6)
    assert psnr(one, two) == pytest.approx(metrics.peak_signal_noise_ratio(one, two), abs=1e-4)


def test_small_and_equal_pictures():
    tiny = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
    assert ssim(tiny, tiny) == 1
    assert ssim(tiny, 255 - tiny) < 0.5
    assert psnr(tiny, tiny) == float("inf")
