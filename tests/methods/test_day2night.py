"""Day2night on photos and raw frames: what stays, what darkens, what the noise is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fallow.measure.darkness import apart, darkness, histogram
from fallow.methods.develop.day2night import (
    PRESETS,
    Scene,
    Settings,
    darkened,
    drawn,
    measured_lights,
    night_light,
    night_of_photo,
    night_of_raw,
    noise_at,
)
from fallow.methods.shared.nights import kept_real, matched, network_input, rendered
from fallow.problems import Problem, SettingProblem
from fallow.raw import developed, plain_sensor, sensor, unprocessed
from fallow.raw.colour import angle
from fallow.raw.levels import normalised
from fallow.raw.noise import noise_of_pair
from fallow.raw.relighting import Lamp, mask, reaches, relit
from fallow.raw.unprocess import with_noise
from fallow.train import make_settings


def photo(height=60, width=90, seed=0):
    draw = np.random.default_rng(seed)
    small = draw.integers(40, 230, (6, 9, 3))
    return (
        small.repeat(-(-height // 6), 0).repeat(-(-width // 9), 1)[:height, :width].astype(np.uint8)
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_settings_and_darken(preset):
    settings = make_settings(Settings, PRESETS[preset])
    pictures = [photo(seed=k) for k in range(4)]
    made = [night_of_photo(one, settings).clean for one in pictures]
    assert darkness(made)["median"] < 0.75 * darkness(pictures)["median"]


def test_the_order_of_presets_is_that_of_their_darkness():
    pictures = [photo(seed=k) for k in range(6)]
    found = [
        darkness([night_of_photo(one, make_settings(Settings, PRESETS[name])).clean
                  for one in pictures])["median"]
        for name in ("dusk", "street", "unlit")
    ]  # fmt: skip
    assert found == sorted(found, reverse=True)


def test_the_same_content_gives_the_same_night():
    one, again = night_of_photo(photo()), night_of_photo(photo().copy())
    assert one.scene == again.scene
    assert (one.noisy == again.noisy).all()
    other_seed, other_picture = night_of_photo(photo(), seed=1), night_of_photo(photo(seed=1))
    assert other_seed.scene != one.scene
    assert other_picture.scene != one.scene


@pytest.mark.parametrize("size", [(3, 3), (31, 44), (64, 47)])
def test_nothing_moves(size):
    picture = photo(*size)
    dim = make_settings(Settings, {"light": "dim", "dim": (0.5, 0.5)})
    made = night_of_photo(picture, dim).clean
    assert made.shape == picture.shape
    if min(size) > 10:
        alike = {
            shift: np.corrcoef(
                picture[4:-4, 4:-4, 1].ravel(), np.roll(made, shift, (0, 1))[4:-4, 4:-4, 1].ravel()
            )[0, 1]
            for shift in np.ndindex(3, 3)
        }
        assert max(alike, key=alike.get) == (0, 0)
    whole = night_of_photo(picture)
    assert whole.noisy.shape == picture.shape


def test_day_is_the_frame_itself():
    raw = unprocessed(photo(), plain_sensor())
    night = night_of_raw(raw, make_settings(Settings, {"light": "day"}))
    assert np.abs(night.clean.mosaic.astype(int) - raw.mosaic).max() <= 1
    assert night.scene.lamps == ()


def test_one_light_changes_the_colour_everywhere_and_lamps_by_place():
    grey = unprocessed(np.full((80, 120, 3), 110, np.uint8), plain_sensor())

    def chromaticity(settings):
        frame = night_of_raw(grey, make_settings(Settings, settings)).clean
        light = normalised(frame.mosaic, frame.sensor.black, frame.sensor.white, low=0)
        red, green, blue = light[::2, ::2], light[::2, 1::2], light[1::2, 1::2]
        lit = green > 0.02
        return np.stack([red[lit] / green[lit], blue[lit] / green[lit]])

    one = chromaticity({"light": "one"})
    assert one.std(1).max() < 0.02
    lamps = chromaticity({"glares": 0, "tint": 0.2})
    assert lamps.std(1).max() > 0.03


def test_between_lamps_only_the_ambient_light_remains():
    light = np.full((100, 100), 0.5)
    lamps = [Lamp((1, 1, 1), 0.05), Lamp((1, 1, 1), box=(20, 20, 30, 30))]
    found = relit(light, "RGGB", lamps)
    assert found[90, 90] == pytest.approx(0.025)
    assert found[20, 20] == pytest.approx((0.5 + 0.025) / 2, rel=0.01)  # an average, not a sum
    glare = relit(
        light, "RGGB", [*lamps, Lamp((1, 1, 1), box=(70, 70, 40, 40), narrow=6, glare=60)]
    )
    assert glare[70, 70] == 1
    assert glare[90, 20] == found[90, 20]


def test_a_lamp_reaches_its_box_and_no_farther():
    lamp = Lamp((1, 1, 1), box=(2, 38, 9, 20))
    found = mask(lamp, 30, 40)
    assert found.max() == pytest.approx(1, abs=0.03)
    assert (found[:7, 28:] > 0).all()  # rows -2 to 6, of which some lie outside
    assert found[7:].sum() == found[:, :28].sum() == 0
    narrow = mask(replace(lamp, narrow=5.0), 30, 40)
    assert narrow.sum() < 0.3 * found.sum()
    assert reaches(Lamp((1, 1, 1)), 3, 2)[1].tolist() == [1, 1]


def test_published_lights_come_out_as_published():
    settings = make_settings(Settings, PRESETS["paper"])
    draw = np.random.default_rng(0)
    found = np.array([night_light(settings, plain_sensor(), draw) for _ in range(4000)])
    assert found[:, [0, 2]].mean(0) == pytest.approx([0.766, 0.329], abs=0.01)
    assert np.cov(found[:, [0, 2]].T)[0, 1] == pytest.approx(-0.0109, abs=0.002)
    assert found.min() > 0
    again = measured_lights(found)
    assert again == pytest.approx(settings.measured, abs=0.01)


def test_lamps_are_warmer_than_the_day():
    draw = np.random.default_rng(0)
    camera = plain_sensor()
    found = np.array([night_light(Settings(), camera, draw) for _ in range(200)])
    assert (found[:, 0] / found[:, 2] > camera.neutral[0] / camera.neutral[2]).all()
    assert angle(found, camera.neutral).mean() > 8


def test_noise_is_the_sensors():
    raw = unprocessed(photo(300, 450), plain_sensor())
    dim = Scene(0.8, (), 1600, 0)
    clean = darkened(raw, dim)
    noise = noise_at(raw.sensor, 1600)
    pair = [with_noise(clean, noise, seed).light() for seed in (1, 2)]
    slope, _ = noise_of_pair(*pair)
    assert slope == pytest.approx(noise[0][0], rel=0.05)
    own = replace(raw.sensor, noise=((1e-4, 1e-8),) * 3, iso=100.0)
    assert noise_at(own, 1600)[0] == pytest.approx((1.6e-3, 2.56e-6))
    assert noise_at(own, 3200)[0][0] > noise_at(own, 1600)[0][0]


def test_clean_and_noisy_share_everything_but_noise():
    night = night_of_raw(unprocessed(photo(), plain_sensor()))
    assert night.scene.iso in Settings().iso
    assert (night.clean.sensor.neutral == night.noisy.sensor.neutral).all()
    close = night.noisy.light() - night.clean.light()
    assert 0.002 < close.std() < 0.2
    average = np.mean([lamp.colour for lamp in night.scene.lamps], 0)
    assert night.clean.sensor.neutral.tolist() == pytest.approx(average.tolist())


def test_pairs_to_train_on():
    night = night_of_raw(unprocessed(photo(), replace(plain_sensor(), orientation=6)))
    target, seen = rendered(night.clean), network_input(night.noisy)
    assert target.shape == seen.shape == (60, 90, 3)
    for one in (target, seen):
        assert one.min() >= 0
        assert one.max() <= 1
    chosen = kept_real(40, 25, seed=3)
    assert chosen.sum() == 10
    assert (chosen == kept_real(40, 25, seed=3)).all()


def test_nights_as_dark_as_real_ones():
    days = [photo(seed=k) for k in range(3)]
    wanted = make_settings(Settings, {"light": "dim", "dim": (0.05, 0.05), "iso": (100.0,)})
    nights = [night_of_photo(photo(seed=k), wanted).noisy for k in range(5, 9)]
    start = make_settings(Settings, {"light": "dim", "dim": (0.6, 0.6), "iso": (100.0,)})
    before = apart(histogram([night_of_photo(one, start).noisy for one in days]), histogram(nights))
    found, after = matched(days, nights, start)
    assert after < 0.4 * before
    assert found.dim[0] == pytest.approx(0.05, rel=0.5)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"dim": (0.9, 0.5)}, "rises"),
        ({"dim": (0.5, 1.5)}, "at most 1"),
        ({"kelvin": (1000, 2000)}, "1667"),
        ({"iso": ()}, "sensitivities"),
        ({"measured": (0.7, 0.3, 0.01, 0.01, 0.5)}, "no means"),
        ({"lamp": 3}, "did you mean lamps"),
        ({"light": "lamp"}, "light"),
    ],
)
def test_settings_that_cannot_be(values, words):
    with pytest.raises(SettingProblem, match=words):
        make_settings(Settings, values)


def test_frames_that_say_too_little():
    raw = unprocessed(photo(), plain_sensor())
    bare = replace(raw, sensor=sensor("RGGB", 64, 1023), name="b.raw")
    with pytest.raises(Problem, match="names no colour matrix"):
        night_of_raw(bare)
    with pytest.raises(Problem, match=r"b.raw names no white balance"):
        night_of_raw(bare, make_settings(Settings, PRESETS["paper"]))
    with pytest.raises(Problem, match="no white balance"):
        rendered(bare)
    with pytest.raises(Problem, match="no white balance"):
        network_input(bare)
    with pytest.raises(Problem, match="too small"):
        night_of_photo(np.zeros((2, 9, 3), np.uint8))
    with pytest.raises(Problem, match="some night pictures"):
        matched([photo()], [])
    with pytest.raises(SettingProblem, match="percentage"):
        kept_real(5, 120)
    with pytest.raises(SettingProblem, match="three or more"):
        measured_lights([[1, 1, 1]])


def test_scenes_of_small_frames():
    for size in ((3, 3), (3, 200)):
        scene = drawn(Settings(), plain_sensor(), *size, [0])
        assert len(scene.lamps) == 10
    frame = unprocessed(photo(3, 3), plain_sensor())
    assert developed(night_of_raw(frame).noisy).shape == (3, 3, 3)
