"""Day2night: night frames from day frames, made on the sensor's mosaic (Punnappurath et al. 2022).

The daylight is divided out, the scene dimmed and lit again by an ambient light and lamps of the
night, the sensor's noise at a high ISO comes on top, and both frames, clean and noisy, are
developed for the average light. Nothing is trained, and nothing moves: masks and boxes stay valid.
Pictures that are not raw are un-processed first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from fallow.files import fingerprint
from fallow.problems import Problem, SettingProblem
from fallow.raw.colour import white_of
from fallow.raw.develop import Look, developed, matrix_for
from fallow.raw.levels import balanced, gains_of, normalised, numbers, truncated
from fallow.raw.noise import scaled_to_iso, typical
from fallow.raw.relighting import Lamp, Lights
from fallow.raw.sensor import Raw, Sensor
from fallow.raw.unprocess import plain_sensor, unprocessed, with_noise
from fallow.train.method import make_settings

BAND = 256  # rows that are lit at once, an even number
Pair = tuple[float, float]


class Settings(BaseModel):
    """What day2night can be told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    light: Literal["day", "dim", "one", "lamps"] = Field(
        "lamps",
        description="day: as it is; dim: only darker; one: darker under one light of the night; "
        "lamps: faint ambient light and lamps here and there",
    )
    dim: Pair = Field((0.55, 0.9), description="range of the factor that darkens everything")
    ambient: float = Field(0.05, gt=0, le=1, description="brightness where no lamp reaches")
    lamps: int = Field(4, ge=1, description="lamps, averaged with the ambient light")
    reach: Pair = Field((0.5, 1.0), description="height and width a lamp reaches, of the picture's")
    glares: int = Field(5, ge=0, description="lamps so near or bright that they saturate")
    glare: Pair = Field((50.0, 100.0), description="range of their strength")
    narrow: Pair = Field((5.0, 10.0), description="how many times narrower than a lamp they are")
    kelvin: Pair = Field((2000.0, 4500.0), description="temperatures of the lamps")
    tint: float = Field(0.05, ge=0, description="spread of their red and blue beside that")
    measured: tuple[float, float, float, float, float] | None = Field(
        None,
        description="instead: mean red and blue over green of the sensor under lights of the "
        "night, their variances, and their covariance",
    )
    iso: tuple[float, ...] = Field((1600.0, 3200.0), description="sensitivities to draw from")

    @field_validator("dim", "reach", "narrow", "kelvin", "glare")
    @classmethod
    def _rises(cls, value: Pair) -> Pair:
        if not 0 < value[0] <= value[1]:
            raise ValueError(f"a range rises from above 0, not {value}")
        return value

    @field_validator("reach", "dim")
    @classmethod
    def _share(cls, value: Pair) -> Pair:
        if value[1] > 1:
            raise ValueError(f"a share is at most 1, not {value[1]}")
        return value

    @field_validator("kelvin")
    @classmethod
    def _glows(cls, value: Pair) -> Pair:
        if value[0] < 1667 or value[1] > 25000:
            raise ValueError(f"lamps have 1667 to 25000 K, not {value}")
        return value

    @field_validator("measured")
    @classmethod
    def _spread(cls, value: Any) -> Any:
        if value is not None:
            red, blue, red_spread, blue_spread, shared = value
            if not (red > 0 and blue > 0 and red_spread * blue_spread >= shared**2):
                raise ValueError(f"these are no means, variances and covariance: {value}")
        return value

    @field_validator("iso")
    @classmethod
    def _some(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not value or min(value) <= 0:
            raise ValueError(f"sensitivities lie above 0, not {value}")
        return value


# Mean brightness of what comes out, in shares of white (see `darkness`), of 12 photos by day with
# 0.53 and seed 0: street 0.22, dusk 0.26, unlit 0.13, paper 0.22.
PRESETS: dict[str, dict[str, Any]] = {
    "street": {},
    "dusk": {
        "light": "one",
        "dim": (0.15, 0.35),
        "iso": (400.0, 800.0),
        "kelvin": (3500.0, 9000.0),
    },
    "unlit": {"ambient": 0.02, "lamps": 1, "glares": 1, "iso": (3200.0, 6400.0)},
    # the light of a phone's sensor as published; the noise is that of the frame's own sensor
    "paper": {"measured": (0.766, 0.329, 0.0289, 0.0049, -0.0109)},
}


# --- lights ---


@dataclass(frozen=True)
class Scene:
    """Everything that was drawn to make one night."""

    dim: float
    lamps: tuple[Lamp, ...]  # none: the light stays that of the day
    iso: float
    seed: int  # of the noise

    def neutral(self, day: Any) -> np.ndarray:
        """The camera's answer to white under the average of all lights."""
        if not self.lamps:
            return np.asarray(day, np.float64)
        return np.mean([lamp.colour for lamp in self.lamps], 0)


def drawn(settings: Settings, sensor: Sensor, height: int, width: int, key: Sequence[int]) -> Scene:
    """A scene at random; the same settings and key give the same.

    >>> one, again = (drawn(Settings(), plain_sensor(), 40, 60, [7]) for _ in range(2))
    >>> one == again, len(one.lamps)
    (True, 10)
    """
    draw = np.random.default_rng(list(key))
    dim = 1.0 if settings.light == "day" else float(draw.uniform(*settings.dim))

    def colour() -> tuple[float, float, float]:
        return night_light(settings, sensor, draw)

    def box() -> tuple[int, int, int, int]:
        place = [
            int(draw.integers(int(0.1 * n), max(int(0.9 * n), 1) + 1)) for n in (height, width)
        ]
        size = [max(1, round(n * draw.uniform(*settings.reach))) for n in (height, width)]
        return place[0], place[1], size[0], size[1]

    lamps: list[Lamp] = []
    if settings.light == "one":
        lamps = [Lamp(colour())]
    elif settings.light == "lamps":
        lamps = [Lamp(colour(), settings.ambient)]
        lamps += [Lamp(colour(), box=box()) for _ in range(settings.lamps)]
        lamps += [
            Lamp(
                colour(),
                box=box(),
                narrow=float(draw.uniform(*settings.narrow)),
                glare=float(draw.uniform(*settings.glare)),
            )
            for _ in range(settings.glares)
        ]
    return Scene(dim, tuple(lamps), float(draw.choice(settings.iso)), int(draw.integers(2**31)))


def night_light(
    settings: Settings, sensor: Sensor, draw: np.random.Generator
) -> tuple[float, float, float]:
    """What the sensor answers to white under one light of the night, drawn at random."""
    if settings.measured is not None:
        red, blue, red_spread, blue_spread, shared = settings.measured
        spread = [[red_spread, shared], [shared, blue_spread]]
        for _ in range(100):
            red_blue = draw.multivariate_normal([red, blue], spread)
            if red_blue.min() > 0.02:  # a Gaussian has tails where there is no light
                return float(red_blue[0]), 1.0, float(red_blue[1])
        raise Problem("the measured lights of the night are hardly ever above 0: measure again.")
    low, high = settings.kelvin
    kelvin = 1 / draw.uniform(1 / high, 1 / low)
    answer = sensor.unbalanced(kelvin) @ white_of(kelvin)
    answer = np.maximum(answer / answer[1], 0.02)
    red, blue = (float(answer[k] * np.exp(draw.normal(0, settings.tint))) for k in (0, 2))
    return red, 1.0, blue


def measured_lights(neutrals: Any) -> tuple[float, float, float, float, float]:
    """The setting `measured` from grey cards under lights of the night: answers to white, N 3.

    >>> measured_lights([[0.6, 1, 0.4], [1.6, 2, 0.6], [0.7, 1, 0.35]])
    (0.7, 0.35, 0.01, 0.0025, -0.005)
    """
    answers = np.asarray(neutrals, np.float64)
    if answers.ndim != 2 or answers.shape[1] != 3 or len(answers) < 3 or answers.min() <= 0:
        raise SettingProblem("lights are measured by three or more answers of red, green, blue")
    red_blue = (answers / answers[:, 1:2])[:, [0, 2]]
    spread = np.cov(red_blue.T)
    means = red_blue.mean(0)
    values = (means[0], means[1], spread[0, 0], spread[1, 1], spread[0, 1])
    return tuple(round(float(value), 6) for value in values)  # type: ignore[return-value]


# --- the frame ---


@dataclass(frozen=True)
class Night:
    """A made night: the frame without noise, the frame with noise, and what was drawn."""

    clean: Raw
    noisy: Raw
    scene: Scene


def darkened(raw: Raw, scene: Scene) -> Raw:
    """The clean night frame of a day frame, in the same levels, cut to whole numbers.

    Its sensor answers to white as under the average of all lights.
    """
    sensor = raw.sensor
    if sensor.neutral is None:
        raise Problem(f"{raw.name} names no white balance, which day2night divides out.")
    gains = gains_of(sensor.neutral)
    lamps = scene.lamps or (Lamp(tuple(sensor.neutral.tolist())),)
    lights = Lights(lamps, sensor.pattern, *raw.size)
    counted = np.empty(raw.size, np.uint16)
    for first in range(0, raw.size[0], BAND):  # a large frame has no room for copies
        band = slice(first, first + BAND)
        day = raw.mosaic[band].astype(np.float64)
        light = balanced(normalised(day, sensor.black, sensor.white, low=0), gains, sensor.pattern)
        light = lights.on(light * scene.dim, first)
        counted[band] = truncated(numbers(light, sensor.black, sensor.white))
    lit = replace(sensor, neutral=scene.neutral(sensor.neutral), iso=scene.iso, noise=())
    return replace(raw, mosaic=counted, sensor=lit)


def noise_at(sensor: Sensor, iso: float) -> tuple[Pair, ...]:
    """Slope and offset over light of a sensor at an ISO: its own, or those of a phone's."""
    if sensor.noise and sensor.iso:
        return scaled_to_iso(sensor.noise, sensor.iso, iso)
    return (typical(iso),)


def night_of_raw(raw: Raw, settings: Settings | None = None, seed: int = 0) -> Night:
    """A day frame as it might have come out at night; frame, settings and seed decide how.

    >>> day = unprocessed(np.full((40, 60, 3), 120, np.uint8), plain_sensor())
    >>> night = night_of_raw(day)
    >>> bool(night.clean.mosaic.mean() < day.mosaic.mean()), night.noisy.size
    (True, (40, 60))
    """
    settings = settings or make_settings(Settings, {})
    key = int(fingerprint(np.ascontiguousarray(raw.mosaic).tobytes())[:15], 16)
    scene = drawn(settings, raw.sensor, *raw.size, [seed, key])
    clean = darkened(raw, scene)
    noisy = with_noise(clean, noise_at(raw.sensor, scene.iso), scene.seed)
    return Night(clean, noisy, scene)


@dataclass(frozen=True)
class Shown:
    """A made night as pictures of 8 bits, and what was drawn."""

    clean: np.ndarray  # H W 3
    noisy: np.ndarray
    scene: Scene


def night_of_photo(
    pixels: np.ndarray,
    settings: Settings | None = None,
    seed: int = 0,
    camera: Sensor | None = None,
) -> Shown:
    """A photo (H W 3, uint8) at night, un-processed to a sensor's mosaic and developed again.

    >>> shown = night_of_photo(np.full((40, 60, 3), 120, np.uint8))
    >>> shown.noisy.shape, bool(shown.clean.mean() < 100)
    ((40, 60, 3), True)
    """
    if pixels.ndim != 3 or min(pixels.shape[:2]) < 3:
        raise Problem(f"a picture of {pixels.shape} is too small for a mosaic: 3 x 3 at least.")
    day = unprocessed(pixels, camera or plain_sensor())
    night = night_of_raw(day, settings, seed)
    # colours are taken back by the matrix they were made with, whatever the lamps are
    look = Look(matrix=matrix_for(day, Look()), gains=tuple(gains_of(night.clean.sensor.neutral)))
    return Shown(developed(night.clean, look), developed(night.noisy, look), night.scene)
