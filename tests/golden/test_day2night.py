"""Day2night: levels, colours, the authors' rendering, lamps, noise, and whole nights."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from fallow.methods.develop.day2night import Scene, darkened
from fallow.methods.shared.nights import network_input, rendered
from fallow.raw.colour import (
    XYZ_TO_RGB,
    blended,
    coloured,
    temperature,
    temperature_of_neutral,
    with_white_kept,
)
from fallow.raw.curves import power, s_curve
from fallow.raw.demosaic import bilinear, edge_aware, menon, quantised
from fallow.raw.levels import balanced, gains_of, normalised, numbers
from fallow.raw.mosaic import mosaic_of, over, planes
from fallow.raw.noise import along_iso, noisy
from fallow.raw.relighting import Lamp, mask, relit
from fallow.raw.sensor import Raw, Sensor
from fallow.raw.sixteen import eight_truncated

from .arrays import arrays, matching
from .cases import DOUBLE, close

A = arrays("day2night")
TIGHT = {"rtol": 1e-5, "atol": 1e-6}
BLACK, WHITE = A["norm4_in_black"], float(A["norm4_in_white"])
PATTERN = A["wb0_in_cfa"]


def camera(neutral):
    # the original divides the second matrix by the sums of the already divided first one
    cool, warm = (A[f"xyz_in_cm{k}"].reshape(3, 3) for k in (1, 2))
    matrices = {6500.0: with_white_kept(cool), 2500.0: warm}
    cell = PATTERN.reshape(2, 2)
    return Sensor(cell, BLACK.reshape(2, 2), WHITE, np.asarray(neutral), matrices)


def numbered(stem):
    return sorted({m[1] for m in matching(A, rf"{stem}(\d+)_.*")})


def test_levels():
    raw = A["raw_in"].astype(np.float64)
    close(normalised(raw, BLACK, WHITE, low=0), A["norm4_out"], **TIGHT)
    plain = A["norm_noclip_out"].astype(np.float64)
    dark = plain < 0.9
    black = float(np.median((raw - plain * WHITE)[dark] / (1 - plain[dark]))).__round__()
    close(normalised(raw, black, WHITE), plain, **TIGHT)
    close(normalised(raw, black, WHITE, low=0), A["norm1_out"], **TIGHT)
    close(numbers(A["denorm_in"].astype(np.float64), BLACK, WHITE), A["denorm_out"], **TIGHT)
    tensor = torch.from_numpy(A["denorm_in"].astype(np.float64))
    close(numbers(tensor, BLACK, WHITE), A["denorm_out"], **TIGHT)


@pytest.mark.parametrize("k", numbered("wb"))
def test_white_balance_and_planes(k):
    image, pattern = A["wb_in_img"].astype(np.float64), A[f"wb{k}_in_cfa"]
    gains = gains_of(A["wb_in_neutral"])
    close(balanced(image, gains, pattern), A[f"wb{k}_out"], **TIGHT)
    stack = planes(A["wb_in_img"], pattern, "R Gr Gb B")
    close(np.moveaxis(stack, 0, 2), A[f"stack{k}_out"], rtol=0, atol=0)
    close(mosaic_of(stack, pattern, "R Gr Gb B"), A[f"unstack{k}_out"], rtol=0, atol=0)


@pytest.mark.parametrize("key", [m[0] for m in matching(A, r"demosaic\d+_.+_out")])
def test_demosaicking(key):
    k, method = re.fullmatch(r"demosaic(\d+)_(.+)_out", key).groups()
    pattern, steps = A[f"wb{k}_in_cfa"], (1 << 14) - 1
    mosaic = quantised(A["wb_in_img"].astype(np.float64))
    if method == "menon2007":
        close(menon(mosaic, pattern), A[key], **TIGHT)
        return
    # the original counts in whole steps and copies the rows and columns next to the border
    work = {"bilinear": bilinear, "EA": edge_aware}[method]
    found = np.floor(work(np.rint(mosaic * steps), pattern) + 0.5)
    inner = np.s_[1:-1, 1:-1]
    close(found[inner], np.rint(A[key].astype(np.float64) * steps)[inner], rtol=0, atol=0)


@pytest.mark.parametrize("k", numbered("xyz2cct"))
def test_temperature_of_a_light(k):
    close(temperature(A[f"xyz2cct{k}_in"]), A[f"xyz2cct{k}_out"], rtol=DOUBLE)


@pytest.mark.parametrize("k", numbered("cst"))
def test_matrix_between_lights(k):
    cool, warm = (A[f"xyz_in_cm{one}"].reshape(3, 3) for one in (1, 2))
    close(blended(float(A[f"cst{k}_in_cct"]), cool, warm), A[f"cst{k}_out"], rtol=DOUBLE)


@pytest.mark.parametrize("k", numbered("cct"))
def test_camera_to_xyz(k):
    neutral = A[f"cct{k}_in_neutral"]
    sensor = camera(neutral)
    pair = sensor.matrices[6500.0], sensor.matrices[2500.0]
    close(temperature_of_neutral(neutral, *pair), A[f"cct{k}_out"], rtol=DOUBLE)
    image = A["xyz_in_img"].astype(np.float64)
    found = coloured(image, np.linalg.inv(sensor.matrix())).clip(0, 1)
    close(found, A[f"xyz{k}_out"], **TIGHT)


def test_one_matrix_only_and_curves():
    image = A["xyz_in_img"].astype(np.float64)
    cool = with_white_kept(A["xyz_in_cm1"].reshape(3, 3))
    close(coloured(image, np.linalg.inv(cool)).clip(0, 1), A["xyz_nointerp_out"], **TIGHT)
    close(coloured(image, with_white_kept(XYZ_TO_RGB)).clip(0, 1), A["srgb_out"], **TIGHT)
    close(power(image), A["gamma_out"], **TIGHT)
    close(s_curve(image), A["tone_out"], **TIGHT)
    tensor = torch.from_numpy(image)
    close(power(tensor), A["gamma_out"], **TIGHT)
    close(s_curve(tensor), A["tone_out"], **TIGHT)


def test_the_authors_rendering():
    raw = Raw(A["isp_in_raw"], camera(A["wb_in_neutral"]))
    found = rendered(raw)
    close(found, A["isp_out_srgb"], **TIGHT)
    levels = eight_truncated(found).astype(int) - A["isp_out_uint8"]
    assert np.abs(levels).max() <= 1
    assert (levels != 0).mean() < 0.01
    seen = network_input(raw)
    assert seen.shape == found.shape


@pytest.mark.parametrize("k", numbered("mask"))
def test_masks_of_lamps(k):
    height, width, row, column = A[f"mask{k}_in_hw_yx"].tolist()
    frame = A[f"mask{k}_out_frame"]
    lamp = Lamp((1, 1, 1), box=(row, column, height, width))
    close(mask(lamp, *frame.shape), frame, **TIGHT)
    whole = Lamp((1, 1, 1), box=(height // 2, width // 2, height, width))
    close(mask(whole, height, width), A[f"mask{k}_out_kernel"], **TIGHT)


def lamps_of(stem):
    rows = zip(
        A[f"{stem}_in_illuminants"], A[f"{stem}_in_scale"], A[f"{stem}_in_loc_yx"],
        A[f"{stem}_in_size_hw"], strict=True,
    )  # fmt: skip
    return tuple(
        Lamp(
            tuple(colour.tolist()),
            float(scale),
            None if k == 0 else (*map(int, place), *map(int, size)),
        )
        for k, (colour, scale, place, size) in enumerate(rows)
    )


def test_relighting():
    light, lamps = A["relight_in_img"].astype(np.float64), lamps_of("relight")
    weights = np.stack([mask(lamp, *light.shape) for lamp in lamps])
    close(weights, A["relight_out_weights"], **TIGHT)
    close(relit(light, PATTERN, lamps), A["relight_out_nosat"], **TIGHT)


def test_noise_along_iso():
    isos, expected = A["noise_in_isos"], A["noise_out_params"]  # n, n sites 2
    knots = [100 * 2**k for k in range(6)]
    shown = [iso for iso in knots if iso in isos]
    hidden = [iso for iso in knots if iso not in isos]
    for site in range(expected.shape[1]):
        for part in (0, 1):  # slope, offset
            known = {iso: expected[list(isos).index(iso), site, part] for iso in shown}

            def along(values, part=part):
                rows = np.array([values[iso] for iso in knots])
                pair = (rows, np.zeros_like(rows)) if part == 0 else (np.zeros_like(rows), rows)
                return np.array([along_iso(knots, *pair, iso)[part] for iso in isos])

            # measurements that are not in the file enter linearly: they are solved for
            base = along({**known, **dict.fromkeys(hidden, 0.0)})
            effect = (
                np.stack(
                    [along({**dict.fromkeys(knots, 0.0), iso: 1.0}) for iso in hidden],
                    1,
                )
                if hidden
                else np.zeros((len(isos), 0))
            )
            solved = np.linalg.lstsq(effect, expected[:, site, part] - base, rcond=None)[0]
            close(base + effect @ solved, expected[:, site, part], rtol=1e-7)


@pytest.mark.parametrize("k", numbered("noise"))
def test_noise(k):
    place = list(A["noise_in_isos"]).index(int(A[f"noise{k}_in_iso"]))
    image = A["noise_in_img"].astype(np.float64)
    slope, offset = (over(A["noise_out_params"][place, :, part], image) for part in (0, 1))
    normal = A[f"noise{k}_in_standard_normal"].astype(np.float64)
    close(noisy(image, slope, offset, normal, 0, WHITE), A[f"noise{k}_out"], rtol=0, atol=1e-4)
    tensors = [torch.from_numpy(one) for one in (image, slope, offset, normal)]
    found = noisy(*tensors, 0, WHITE)
    close(found, A[f"noise{k}_out"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("k", numbered("synth"))
def test_day_dim_and_one_light(k):
    neutral = A["wb_in_neutral"]
    light = A[f"synth{k}_in_illuminant"]
    lamps = () if np.array_equal(light, neutral) else (Lamp(tuple(light.tolist())),)
    scene = Scene(float(A[f"synth{k}_in_brightness"]), lamps, 1600, 0)
    night = darkened(Raw(A["raw_in"], camera(neutral)), scene)
    whole_numbers(night.mosaic, A[f"synth{k}_out_raw"])
    close(night.sensor.neutral, light, rtol=DOUBLE)


def test_lamps():
    scene = Scene(float(A["local_in_brightness"]), lamps_of("local"), 1600, 0)
    night = darkened(Raw(A["raw_in"], camera(A["local_out_asn"])), scene)
    whole_numbers(night.mosaic, A["local_out_raw"])
    close(night.sensor.neutral, A["local_out_avg_illuminant"], rtol=DOUBLE)


def whole_numbers(found, expected):
    """Equal, but for values that lie on a whole number and fall to either side of it."""
    away = found.astype(int) - expected
    assert found.shape == expected.shape
    assert np.abs(away).max() <= 1


def test_every_key_is_known():
    known = (
        "raw_in", "norm", "denorm", "wb", "stack", "unstack", "demosaic", "xyz", "cct", "cst",
        "srgb_", "gamma_", "tone_", "isp_", "mask", "relight_", "noise", "synth", "local_",
    )  # fmt: skip
    assert not [key for key in A if not key.startswith(known)]
