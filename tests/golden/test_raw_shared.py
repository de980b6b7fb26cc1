"""Mosaics, demosaicking, curves and the measures of pictures, against what others compute."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from fallow.measure.colour import (
    colour_difference,
    difference_1976,
    difference_1994,
    difference_2000,
    lab,
)
from fallow.measure.fidelity import ms_ssim, psnr, ssim, ssim_uniform
from fallow.measure.perceptual import lpips, lpips_input, lpips_plus
from fallow.raw.colour import RGB_TO_XYZ, angle
from fallow.raw.curves import from_srgb, srgb
from fallow.raw.demosaic import LINEAR, demosaicked, linear_tensor
from fallow.raw.mosaic import mosaicked

from .arrays import arrays, matching
from .cases import DOUBLE, close

A = arrays("_raw-shared")
EXACT = {"rtol": DOUBLE}


def tensor(key):
    return torch.from_numpy(A[key].copy())


@pytest.mark.parametrize("key", [m[0] for m in matching(A, r"dem_.+_out")])
def test_demosaicking(key):
    pattern, method = re.fullmatch(r"dem_([RGB]{4})_([a-z]+)\d*_out", key).groups()
    mosaic, expected = A["dem_in_mosaic"].astype(np.float64), A[key]
    found = demosaicked(mosaic, pattern, method)
    assert found.shape == expected.shape
    # the reference mixes colours in the outermost pixels of its linear filters
    inner = np.s_[2:-2, 2:-2] if method in LINEAR else np.s_[:]
    close(found[inner], expected[inner], rtol=1e-5, atol=1e-6)
    single = demosaicked(A["dem_in_mosaic"], pattern, method)
    assert single.dtype == np.float32
    close(single[inner], expected[inner], rtol=1e-5, atol=1e-5)
    if method in LINEAR:
        batch = linear_tensor(torch.from_numpy(mosaic)[None], pattern, method)
        close(batch[0].permute(1, 2, 0), found, rtol=DOUBLE)


@pytest.mark.parametrize("key", [m[0] for m in matching(A, r"mos_.+_out")])
def test_mosaics(key):
    pattern = key.split("_")[1]
    rgb = np.moveaxis(A["mos_in_rgb"], 2, 0)
    close(mosaicked(rgb, pattern), A[key], rtol=0, atol=0)
    close(mosaicked(torch.from_numpy(rgb.copy()), pattern), A[key], rtol=0, atol=0)


def test_curves_and_matrix():
    close(srgb(A["srgb_in_linear"]), A["srgb_out_encoded"], **EXACT)
    close(from_srgb(A["srgb_in_linear"]), A["srgb_out_decoded_of_in"], **EXACT)
    close(srgb(tensor("srgb_in_linear")), A["srgb_out_encoded"], **EXACT)
    close(from_srgb(tensor("srgb_in_linear")), A["srgb_out_decoded_of_in"], **EXACT)
    close(RGB_TO_XYZ, A["rgb2xyz_D65_matrix"], rtol=0, atol=1e-4)  # rounded to four digits there


def test_angles():
    close(angle(A["ang_in_u"], A["ang_in_v"]), A["ang_out_deg"], **EXACT)


def test_nearness():
    one, two = A["met_in_a"], A["met_in_b"]
    close(psnr(one, two, largest=1), A["psnr_out"], **EXACT)
    close(psnr(A["psnr_in_a8"], A["psnr_in_b8"]), A["psnr_uint8_out"], **EXACT)
    loose = {"rtol": 0, "atol": 2e-5}
    close(ssim_uniform(one, two, largest=1), A["ssim_skimage_default_win7_out"], **loose)
    close(ssim(one, two, largest=1), A["ssim_wang_gauss_out"], **loose)
    close(ssim(one, two, largest=1), A["ssim_valid_gauss11_out"], **loose)
    close(ms_ssim(A["ms_in_a8"], A["ms_in_b8"]), A["msssim_out"], **loose)


def test_colour_differences():
    one, two = A["met_in_a"], A["met_in_b"]
    first, second = lab(one), lab(two)
    close(first, A["lab_out_a"], rtol=1e-5, atol=1e-5)
    close(difference_1976(first, second).mean(), A["deltaE76_out_mean"], **EXACT)
    close(difference_1994(first, second).mean(), A["deltaE94_out_mean"], **EXACT)
    close(difference_2000(first, second).mean(), A["deltaE2000_out_mean"], **EXACT)
    close(colour_difference(one, two), A["deltaE2000_out_mean_colour_science"], **EXACT)
    close(difference_2000(first, second), A["deltaE2000_out_map"], rtol=1e-5, atol=1e-5)
    pairs = difference_2000(A["de00pairs_in_lab1"], A["de00pairs_in_lab2"])
    close(pairs, A["de00pairs_out"], **EXACT)


def test_lpips():
    layers = sorted(int(m[1]) for m in matching(A, r"lpips_in_lin(\d+)"))
    originals, copies = (
        [tensor(f"lpips_in_feat_{side}{layer}") for layer in layers] for side in ("ref", "dist")
    )
    weights = [tensor(f"lpips_in_lin{layer}") for layer in layers]
    close(lpips(originals, copies, weights), A["lpips_out"][:, 0], rtol=1e-5)
    close(lpips_plus(originals, copies, weights), A["lpipsplus_out"][:, 0], rtol=1e-5)
    close(lpips_input(tensor("lpips_in_img_ref")), A["lpips_out_scaled_ref"], rtol=1e-5)


def test_every_key_is_known():
    known = (
        "dem_", "mos_", "srgb_", "rgb2xyz", "ang_", "met_", "psnr", "ssim", "ms_", "msssim",
        "lab_", "deltaE", "de00pairs_", "lpips",
    )  # fmt: skip
    assert not [key for key in A if not key.startswith(known)]
