"""Demosaicking at borders and edges, the fused passes beside the stages, and the way back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fallow.measure import psnr
from fallow.problems import Problem, SettingProblem
from fallow.raw import (
    Look,
    Raw,
    balanced,
    demosaicked,
    developed,
    developed_16,
    linear,
    mosaicked,
    plain_sensor,
    sensor,
    unprocessed,
    with_noise,
)
from fallow.raw import tensors as batches
from fallow.raw.colour import coloured
from fallow.raw.curves import CURVES, curve
from fallow.raw.demosaic import METHODS
from fallow.raw.develop import as_stored, gains_for, matrix_for, upright
from fallow.raw.levels import gains_of
from fallow.raw.mosaic import BAYER
from fallow.raw.noise import noise_of_pair, typical
from fallow.raw.sixteen import eight


def picture(height=48, width=66, seed=0):
    """Smooth colours with a few edges, 0...255."""
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    rgb = np.stack([0.5 + 0.4 * np.sin(3 * x + k + 2 * y) for k in range(3)], -1)
    rgb[10:25, 12:40] = draw.random(3) * 0.8
    return eight(rgb * 0.85)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("pattern", BAYER)
def test_an_even_colour_stays_even_up_to_the_border(pattern, method):
    rgb = np.array([0.2, 0.5, 0.9])[:, None, None] * np.ones((3, 9, 11))
    found = demosaicked(mosaicked(rgb, pattern), pattern, method)
    np.testing.assert_allclose(found, np.moveaxis(rgb, 0, 2), rtol=1e-9)


def test_better_methods_come_nearer():
    photo = pytest.importorskip("skimage.data").astronaut()[:256, :256] / 255
    mosaic = mosaicked(np.moveaxis(photo, 2, 0), "RGGB")
    inner = np.s_[4:-4, 4:-4]
    found = [
        psnr(photo[inner], demosaicked(mosaic, "RGGB", method)[inner], 1)
        for method in ("bilinear", "malvar", "menon")
    ]
    assert found == pytest.approx([31.6, 35.9, 38.3], abs=0.1)


def test_x_trans_by_averages_only():
    cell = np.array(
        [[1, 0, 1, 1, 2, 1], [2, 1, 2, 0, 1, 0], [1, 0, 1, 1, 2, 1],
         [1, 2, 1, 1, 0, 1], [0, 1, 0, 2, 1, 2], [1, 2, 1, 1, 0, 1]]
    )  # fmt: skip
    rgb = np.moveaxis(picture(60, 60) / 255, 2, 0)
    mosaic = mosaicked(rgb, cell)
    found = demosaicked(mosaic, cell, "average")
    assert psnr(np.moveaxis(rgb, 0, 2), found, 1) > 25
    with pytest.raises(SettingProblem, match="X-Trans"):
        demosaicked(mosaic, cell, "malvar")
    camera = sensor(cell, 64, 1023, [0.5, 1, 0.7])
    frame = Raw((mosaic * 900 + 64).astype(np.uint16), camera)
    assert developed(frame, Look(matrix="camera", demosaic="average")).shape == (60, 60, 3)


@pytest.mark.parametrize("size", [(3, 3), (4, 7), (31, 44)])
@pytest.mark.parametrize("method", ["bilinear", "malvar"])
@pytest.mark.parametrize("pattern", BAYER)
def test_the_fused_pass_gives_what_the_stages_give(pattern, method, size):
    draw = np.random.default_rng(1)
    camera = replace(plain_sensor(), pattern=np.array(BAYER[pattern]))
    camera = replace(camera, black=np.array([[60.0, 64], [66, 62]]))
    camera = replace(camera, shading=np.array([[1.0, 1.4], [1.2, 1.1]]))
    frame = Raw(draw.integers(40, 1100, size).astype(np.uint16), camera)
    look = Look(demosaic=method, exposure=1.3)
    light = balanced(frame.light(), gains_for(frame, look) * 1.3, pattern)
    rgb = demosaicked(light, pattern, method).clip(max=1)
    stages = coloured(rgb, matrix_for(frame, look)).clip(0, 1)
    np.testing.assert_allclose(linear(frame, look), stages, atol=2e-6)
    shown = eight(curve("srgb").forward(stages.astype(np.float64)))
    assert np.abs(developed(frame, look).astype(int) - shown).max() <= 1
    deep = developed_16(frame, look)
    assert np.abs(deep / 257 - developed(frame, look)).max() <= 1.1


@pytest.mark.parametrize("name", [*CURVES, "power2.4"])
def test_curves_and_their_inverses(name):
    x = np.linspace(0, 1, 400)
    there = curve(name)
    np.testing.assert_allclose(there.backward(there.forward(x)), x, atol=1e-6)
    np.testing.assert_allclose(there.forward(there.backward(x)), x, atol=1e-6)
    tensor = torch.linspace(0, 1, 50, dtype=torch.float64, requires_grad=True)
    for way in (there.forward, there.backward):
        np.testing.assert_allclose(
            way(tensor).detach().numpy(), way(tensor.detach().numpy()), atol=1e-6
        )
        (gradient,) = torch.autograd.grad(way(tensor).sum(), tensor)
        assert torch.isfinite(gradient).all()


def test_an_unknown_curve():
    with pytest.raises(SettingProblem, match="did you mean srgb"):
        curve("sgrb")


def test_a_picture_made_raw_develops_into_itself():
    shown = picture()
    for pattern in BAYER:
        camera = replace(plain_sensor(), pattern=np.array(BAYER[pattern]), white=16383)
        back = developed(unprocessed(shown, camera))
        assert psnr(shown, back) > 30
        assert psnr(shown[28:], back[28:]) > 42  # where no edges are


def test_bits_of_the_picture_do_not_matter():
    shown = picture()
    eight_bits = unprocessed(shown, plain_sensor()).mosaic
    deep = unprocessed(shown.astype(np.uint16) * 257, plain_sensor()).mosaic
    floats = unprocessed(shown / 255, plain_sensor()).mosaic
    assert np.abs(eight_bits.astype(int) - deep).max() <= 1
    assert np.abs(eight_bits.astype(int) - floats).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_there_and_back(orientation):
    shown = picture(20, 32)
    camera = replace(plain_sensor(), orientation=orientation)
    frame = unprocessed(shown, camera)
    assert frame.size == as_stored(shown, orientation).shape[:2]
    assert developed(frame).shape == shown.shape
    assert psnr(shown, developed(frame)) > 28
    assert (upright(as_stored(shown, orientation), orientation) == shown).all()


def test_noise_belongs_to_seed_and_place_and_has_the_right_size():
    shown = picture(400, 500)
    noise = (typical(1600),)
    one, again, other = (
        unprocessed(shown, plain_sensor(), noise=noise, seed=seed) for seed in (1, 1, 2)
    )
    assert (one.mosaic == again.mosaic).all()
    assert (one.mosaic != other.mosaic).mean() > 0.5
    slope, _ = noise_of_pair(one.light(), other.light())
    assert slope == pytest.approx(noise[0][0], rel=0.05)
    clean = unprocessed(shown, plain_sensor())
    added = with_noise(clean, noise, seed=1)
    assert np.abs(added.mosaic.astype(int) - one.mosaic).max() <= 1
    assert one.sensor.noise == added.sensor.noise


def test_noise_of_each_colour():
    grey = np.full((300, 300, 3), 128, np.uint8)
    noise = ((0.02, 0.0), (1e-5, 0.0), (1e-5, 0.0))
    frame = unprocessed(grey, plain_sensor(), noise=noise, seed=3)
    red, green = frame.light()[::2, ::2], frame.light()[::2, 1::2]
    assert red.std() > 10 * green.std()


def test_tensors_develop_alike_and_derivatives_pass():
    shown = picture(32, 40)
    camera = plain_sensor()
    frame = unprocessed(shown, camera)
    look = Look()
    known = {
        "black": 64.0, "white": 1023.0,
        "gains": gains_of(camera.neutral), "matrix": matrix_for(frame, look),
    }  # fmt: skip
    mosaic = torch.from_numpy(frame.mosaic.astype(np.float32))[None]
    there = batches.developed(mosaic, camera.pattern, **known)
    assert np.abs(there[0].permute(1, 2, 0).numpy() * 255 - developed(frame)).max() < 1.01
    tensor = torch.from_numpy(shown / 255.0).permute(2, 0, 1)[None]
    back = batches.unprocessed(tensor, camera.pattern, **known)
    assert np.abs(back[0].numpy() - frame.mosaic).max() < 0.51

    torch.manual_seed(0)
    gains = torch.tensor([1.9, 1.0, 1.6], dtype=torch.float64, requires_grad=True)
    noise = torch.tensor(0.01, dtype=torch.float64, requires_grad=True)
    small = (tensor[..., :6, :6] * 0.5 + 0.1).requires_grad_()
    normal = torch.randn(1, 6, 6, dtype=torch.float64)

    def there_and_back(pixels, gains, noise):
        raw = batches.unprocessed(
            pixels, "RGGB", gains=gains, noise=(noise, 1e-4), normal=normal, cut=False
        )
        return batches.developed(raw, "RGGB", gains=gains, shown="linear", cut=False)

    assert torch.autograd.gradcheck(there_and_back, (small, gains, noise))


def test_one_matrix_and_gain_a_picture():
    pair = torch.rand(2, 3, 8, 8)
    gains = torch.tensor([[2.0, 1, 1.5], [1.2, 1, 3.0]])
    matrices = torch.eye(3).repeat(2, 1, 1) + 0.05 * torch.rand(2, 3, 3)
    both = batches.unprocessed(pair, "GRBG", gains=gains, matrix=matrices)
    for row in (0, 1):
        alone = batches.unprocessed(
            pair[row : row + 1], "GRBG", gains=gains[row], matrix=matrices[row]
        )
        torch.testing.assert_close(both[row : row + 1], alone)


@pytest.mark.parametrize(
    ("look", "words"),
    [
        (Look(demosaic="malwar"), "did you mean malvar"),
        (Look(gains=(1, 0, 1)), "above 0"),
        (Look(matrix="srgb"), "3 x 3 numbers"),
        (Look(matrix=[1, 2, 3]), "3 x 3, not"),
        (Look(curve="powerful"), "no display curve"),
    ],
)
def test_looks_that_cannot_be(look, words):
    frame = unprocessed(picture(), plain_sensor())
    with pytest.raises(SettingProblem, match=words):
        developed(frame, look)


def test_what_a_frame_does_not_say_must_be_given():
    frame = Raw(np.full((8, 8), 500, np.uint16), sensor("RGGB", 64, 1023), "a.raw")
    with pytest.raises(Problem, match=r"a.raw names no white balance"):
        developed(frame)
    with pytest.raises(Problem, match=r"a.raw names no colour matrix"):
        developed(frame, Look(gains=(1, 1, 1)))
    with pytest.raises(Problem, match="too small"):
        developed(replace(frame, mosaic=frame.mosaic[:2]), Look(gains=(1, 1, 1), matrix="camera"))


def test_dark_noise_stays_grey():
    grey = np.full((300, 300, 3), 24, np.uint8)
    frame = unprocessed(grey, plain_sensor(), noise=(typical(3200),), seed=1)
    mean = linear(frame).mean((0, 1))
    clean = linear(unprocessed(grey, plain_sensor())).mean((0, 1))
    cut = demosaicked(
        balanced(frame.light(low=0), gains_for(frame, Look()), "RGGB"), "RGGB", "malvar"
    )
    cut = coloured(cut.clip(0, 1), matrix_for(frame, Look())).clip(0, 1).mean((0, 1))
    assert np.ptp(mean - clean) < 0.6 * np.ptp(cut - clean)


def test_saturated_places_are_white_under_red_light():
    camera = sensor("RGGB", 64, 1023, [1.6, 1.0, 0.5])
    frame = Raw(np.full((8, 8), 1023, np.uint16), camera)
    assert (developed(frame, Look(matrix="camera")) == 255).all()
