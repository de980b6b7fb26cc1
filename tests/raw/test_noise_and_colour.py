"""Noise drawn and found again; temperatures, matrices and whites."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fallow.problems import Problem, SettingProblem
from fallow.raw import sensor
from fallow.raw.colour import (
    RGB_TO_XYZ,
    XYZ_TO_RGB,
    blended,
    camera_to_srgb,
    coloured,
    temperature,
    temperature_of_neutral,
    white_of,
    with_white_kept,
)
from fallow.raw.noise import (
    along_iso,
    counted,
    fitted,
    for_light,
    for_numbers,
    noise_of_flats,
    noise_of_pair,
    noisy,
    typical,
    variance,
)


def test_the_law_is_found_again_within_two_percent():
    draw = np.random.default_rng(0)
    light = np.linspace(0.01, 0.85, 1 << 20).reshape(1024, 1024)
    slope, offset = 0.004, 3e-5
    for make in (
        lambda: noisy(light, slope, offset, draw.standard_normal(light.shape)),
        lambda: counted(light, slope, offset, draw),
    ):
        found = noise_of_pair(make(), make())
        assert found[0] == pytest.approx(slope, rel=0.02)
        assert found[1] == pytest.approx(offset, abs=5e-6)


def test_units():
    slope, offset = for_numbers(0.002, 1e-5, 64, 1023)
    assert offset < 0  # the black level outweighs the read noise
    light = np.linspace(0, 1, 5)
    numbers = light * (1023 - 64) + 64
    np.testing.assert_allclose(
        variance(numbers, slope, offset), variance(light, 0.002, 1e-5) * (1023 - 64) ** 2
    )
    assert for_light(slope, offset, 64, 1023) == pytest.approx((0.002, 1e-5))


def test_derivatives_pass_and_stay_finite_where_there_is_no_noise():
    light = torch.tensor([0.0, 0.2, 0.9], dtype=torch.float64, requires_grad=True)
    slope = torch.tensor(0.01, dtype=torch.float64, requires_grad=True)
    normal = torch.tensor([0.0, 1.0, -1.0], dtype=torch.float64)
    noisy(light, slope, 0.0, normal).sum().backward()
    assert torch.isfinite(light.grad).all()
    assert torch.isfinite(slope.grad)


def test_known_isos_are_met_and_order_does_not_matter():
    isos, slopes, offsets = [800, 100, 400, 200], [[0.8], [0.1], [0.4], [0.2]], np.zeros((4, 1))
    slope, _ = along_iso(isos, slopes, offsets, 400)
    assert slope.tolist() == pytest.approx([0.4])
    assert along_iso(isos, slopes, offsets, 1600)[0].tolist() == pytest.approx([1.6])
    with pytest.raises(SettingProblem, match="two or more"):
        along_iso([100], [1.0], [1.0], 200)


def test_noise_cannot_be_measured_anywhere():
    with pytest.raises(Problem, match="single brightness"):
        noise_of_flats([np.full((4, 4), 0.5)])
    with pytest.raises(Problem, match="share a size"):
        noise_of_pair(np.zeros((4, 6)), np.zeros((4, 5)))
    with pytest.raises(Problem, match="saturated"):
        noise_of_pair(np.ones((6, 6)), np.ones((6, 6)))
    assert fitted([0.1, 0.2, np.nan], [0.01, 0.02, 1.0])[0] == pytest.approx(0.1)


def test_more_iso_more_noise():
    assert typical(3200)[0] == pytest.approx(2 * typical(1600)[0])
    assert typical(3200)[1] == pytest.approx(4 * typical(1600)[1])
    with pytest.raises(SettingProblem):
        typical(0)


@pytest.mark.parametrize("kelvin", [2000, 2856, 3500, 4500, 6504, 8000])
def test_temperature_of_whites(kelvin):
    assert temperature(white_of(kelvin)) == pytest.approx(kelvin, rel=0.01)
    cool = np.diag([0.5, 1.0, 0.6]) @ XYZ_TO_RGB
    assert temperature_of_neutral(cool @ white_of(kelvin), cool, cool) == pytest.approx(
        kelvin, rel=0.01
    )


def test_lights_off_the_lines_end_somewhere_sensible():
    assert np.isnan(temperature([0.0, 0.0, 0.0]))
    for light, nearer in (([9.0, 1.0, 1.0], 2500), ([1.0, 1.0, 9.0], 6500)):
        assert np.isnan(temperature(light))
        assert temperature_of_neutral(light, np.eye(3), np.eye(3)) == nearer


def test_white_stays_white():
    matrix = np.array([[1.2, 0.1, 0.05], [0.2, 1.1, 0.1], [0.05, 0.2, 0.8]])
    np.testing.assert_allclose(camera_to_srgb(matrix) @ np.ones(3), 1)
    np.testing.assert_allclose(with_white_kept(matrix).sum(1), 1)
    np.testing.assert_allclose(
        with_white_kept(blended(9000, matrix, np.eye(3))), with_white_kept(matrix)
    )
    with pytest.raises(SettingProblem, match="no white"):
        with_white_kept([[1, -1, 0], [1, 0, 0], [0, 0, 1]])


def test_a_sensor_between_its_two_lights():
    warm, cool = np.eye(3) + 0.1, np.eye(3) * 2 + 0.3
    two = sensor(neutral=[1, 1, 1], matrices={17: warm, 21: cool})
    assert set(two.matrices) == {2856.0, 6504.0}
    for neutral in ([0.9, 1, 0.5], [0.5, 1, 0.9]):
        found = two.matrix(neutral)
        low = np.minimum(with_white_kept(warm), with_white_kept(cool)) - 1e-9
        high = np.maximum(with_white_kept(warm), with_white_kept(cool)) + 1e-9
        assert ((found >= low) & (found <= high)).all()
    assert sensor().matrix() is None


def test_tensors_and_arrays_are_coloured_alike():
    rgb = np.random.default_rng(0).random((5, 4, 3))
    tensor = torch.from_numpy(rgb).permute(2, 0, 1)[None]
    np.testing.assert_allclose(
        coloured(tensor, RGB_TO_XYZ)[0].permute(1, 2, 0).numpy(), coloured(rgb, RGB_TO_XYZ)
    )
