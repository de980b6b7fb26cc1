"""Day2night: night frames from day frames, made on the sensor's mosaic (Punnappurath et al. 2022).

The daylight is divided out, the scene dimmed and lit again by an ambient light and lamps of the
night, the sensor's noise at a high ISO comes on top, and both frames, clean and noisy, are
developed for the average light. Nothing is trained, and nothing moves: masks and boxes stay valid.
Pictures that are not raw are un-processed first.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, call-overload"
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numba import njit
from pydantic import BaseModel, ConfigDict, Field, field_validator

from fallow.files import fingerprint
from fallow.problems import Problem, SettingProblem
from fallow.raw.colour import XYZ_TO_RGB, blended, coloured, white_of, with_white_kept
from fallow.raw.curves import curve, power
from fallow.raw.demosaic import bilinear, menon, quantised
from fallow.raw.develop import Look, developed, matrix_for, upright
from fallow.raw.levels import balanced, gains_of, normalised, numbers, truncated
from fallow.raw.mosaic import by_colour
from fallow.raw.noise import scaled_to_iso, typical
from fallow.raw.sensor import Raw, Sensor
from fallow.raw.unprocess import plain_sensor, unprocessed, with_noise
from fallow.train.method import make_settings

FAINT = 1e-7  # what a lamp gives at least within its reach
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
class Lamp:
    """One light of a scene: its colour, how bright, and where it reaches."""

    colour: tuple[float, float, float]  # the camera's answer to white under it; green is 1
    scale: float = 1.0
    # centre row and column, height and width; None: everywhere
    box: tuple[int, int, int, int] | None = None
    narrow: float = 1.0
    glare: float = 0.0  # above 0: added with this strength instead of averaged


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
    answer = camera_matrix(sensor, kelvin) @ white_of(kelvin)
    answer = np.maximum(answer / answer[1], 0.02)
    red, blue = (float(answer[k] * np.exp(draw.normal(0, settings.tint))) for k in (0, 2))
    return red, 1.0, blue


def camera_matrix(sensor: Sensor, kelvin: float) -> np.ndarray:
    """The sensor's matrix for a light, not balanced: XYZ to what it answers."""
    if not sensor.matrices:
        name = sensor.camera or "the sensor"
        raise Problem(
            f"{name} names no colour matrix, so that lamps have no colour for it: set `measured` "
            "to its answers under lights of the night."
        )
    warm, cool = min(sensor.matrices), max(sensor.matrices)
    if warm == cool:
        return sensor.matrices[cool]
    kelvin = min(max(kelvin, warm), cool)
    return blended(kelvin, sensor.matrices[cool], sensor.matrices[warm], (cool, warm))


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


# --- masks of lamps ---


def reaches(lamp: Lamp, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """How strongly a lamp reaches each row and each column; the product is its mask.  H, W

    A Gaussian over its box, whose middle is 1 however large it is; nothing outside.

    >>> rows, columns = reaches(Lamp((1, 1, 1), box=(2, 2, 3, 3)), 5, 6)
    >>> rows.round(2).tolist(), int((columns > 0).sum())
    ([0.0, 0.46, 1.0, 0.46, 0.0], 3)
    """
    if lamp.box is None:
        return np.ones(height), np.ones(width)
    row, column, tall, wide = lamp.box
    side = max(tall, wide)
    spread = 0.3 * ((side / lamp.narrow - 1) / 2 - 1) + 0.8
    away = np.abs(np.arange(side) - (side - 1) / 2)
    away[away < 1] = 0  # of an even number of places the two middle ones are the middle
    bell = np.exp(-(away**2) / (2 * max(spread, 0.3) ** 2))
    return (
        _placed(_squeezed(bell, tall), row - tall // 2, height),
        _placed(_squeezed(bell, wide), column - wide // 2, width),
    )


def mask(lamp: Lamp, height: int, width: int) -> np.ndarray:
    """How strongly a lamp reaches every place.  H W"""
    rows, columns = reaches(lamp, height, width)
    return np.where(np.outer(rows > 0, columns > 0), np.maximum(np.outer(rows, columns), FAINT), 0)


def _squeezed(bell: np.ndarray, length: int) -> np.ndarray:
    place = np.clip((np.arange(length) + 0.5) * len(bell) / length - 0.5, 0, len(bell) - 1)
    return np.interp(place, np.arange(len(bell)), bell)


def _placed(part: np.ndarray, first: int, length: int) -> np.ndarray:
    line = np.zeros(length)
    inside = slice(max(first, 0), max(min(first + len(part), length), 0))
    line[inside] = np.maximum(part[inside.start - first : inside.stop - first], 1e-30)
    return line


# --- the frame ---


def relit(light: np.ndarray, pattern: Any, lamps: Sequence[Lamp]) -> np.ndarray:
    """A mosaic without illuminant (0...1) under lamps.  H W

    What the lamps light is averaged by how far they reach, so that only the faint ambient light
    remains between them; glares are added. A place that saturates under a lamp stays at 1.

    >>> relit(np.full((2, 2), 0.5), "RGGB", [Lamp((0.8, 1, 0.4))]).tolist()
    [[0.4, 0.5], [0.5, 0.2]]
    """
    height, width = light.shape
    profiles = [reaches(lamp, height, width) for lamp in lamps]
    gains = np.stack([by_colour(np.multiply(lamp.colour, lamp.scale), pattern) for lamp in lamps])
    out = np.empty_like(light)
    _lit(
        light, gains, np.stack([p[0] for p in profiles]), np.stack([p[1] for p in profiles]),
        np.array([lamp.glare for lamp in lamps]), out,
    )  # fmt: skip
    return out


@njit(cache=True, nogil=True)
def _lit(light, gains, rows, columns, glare, out):
    height, width = light.shape
    for y in range(height):
        cell_y = y % gains.shape[1]
        for x in range(width):
            here, cell_x = light[y, x], x % gains.shape[2]
            total, weight, extra = 0.0, 0.0, 0.0
            for lamp in range(len(gains)):
                reach = rows[lamp, y] * columns[lamp, x]
                if rows[lamp, y] == 0 or columns[lamp, x] == 0:
                    continue
                reach = max(reach, FAINT)
                shown = min(max(here * gains[lamp, cell_y, cell_x], 0.0), 1.0)
                if glare[lamp] > 0:
                    extra += glare[lamp] * reach * shown
                else:
                    total += reach * shown
                    weight += reach
            value = extra + (total / weight if weight > 0 else 0.0)
            out[y, x] = min(value, 1.0)


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
    light = normalised(raw.mosaic.astype(np.float64), sensor.black, sensor.white, low=0)
    light = balanced(light, gains_of(sensor.neutral), sensor.pattern) * scene.dim
    lamps = scene.lamps or (Lamp(tuple(sensor.neutral.tolist())),)
    light = relit(light, sensor.pattern, lamps)
    counted = truncated(numbers(light, sensor.black, sensor.white))
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


# --- what a network for nights is trained on ---


def rendered(raw: Raw, neutral: Any = None, low: float | None = 0) -> np.ndarray:
    """The target: a frame developed as the authors' software does, upright.  h w 3, 0...1

    Menon's demosaicking at 14 bits, the camera matrix for the light, a power of 1/2.2, and an
    S-curve on top.
    """
    sensor = raw.sensor
    answer = sensor.neutral if neutral is None else np.asarray(neutral, np.float64)
    camera = sensor.matrix(answer)
    if answer is None or camera is None:
        raise Problem(f"{raw.name} names no white balance or no colour matrix to develop with.")
    light = normalised(raw.mosaic.astype(np.float64), sensor.black, sensor.white, low=low)
    light = balanced(light, gains_of(answer), sensor.pattern)
    rgb = menon(quantised(light), sensor.pattern)
    xyz = coloured(rgb, np.linalg.inv(camera)).clip(0, 1)
    shown = curve("power-s").forward(coloured(xyz, with_white_kept(XYZ_TO_RGB)).clip(0, 1))
    return upright(shown, sensor.orientation)


def network_input(raw: Raw) -> np.ndarray:
    """The input: balanced, bilinear, a power of 1/2.2, in the camera's colours.  h w 3, 0...1"""
    sensor = raw.sensor
    if sensor.neutral is None:
        raise Problem(f"{raw.name} names no white balance to develop with.")
    light = normalised(raw.mosaic, sensor.black, sensor.white, low=0)
    light = balanced(light, gains_of(sensor.neutral), sensor.pattern)
    return upright(power(bilinear(quantised(light), sensor.pattern)), sensor.orientation)


def kept_real(count: int, percent: float, seed: int = 0) -> np.ndarray:
    """Which of a training set's frames stay real when the others are made nights.  N, bool

    >>> int(kept_real(60, 10).sum())
    6
    """
    if not 0 <= percent <= 100:
        raise SettingProblem(f"a percentage lies between 0 and 100, not {percent}")
    chosen = np.zeros(count, bool)
    order = np.random.default_rng(seed).permutation(count)
    chosen[order[: round(count * percent / 100)]] = True
    return chosen


# --- how dark ---


def darkness(pictures: Sequence[np.ndarray]) -> dict[str, float]:
    """How dark pictures (H W 3, uint8) are: means over all of them, in shares of white.

    >>> darkness([np.full((4, 4, 3), 51, np.uint8)])
    {'mean': 0.2, 'median': 0.2, 'brightest': 0.2, 'black': 0.0}
    """
    rows = []
    for pixels in pictures:
        grey = brightness(pixels)
        rows.append([grey.mean(), np.median(grey), np.quantile(grey, 0.99), (grey < 0.04).mean()])
    found = np.mean(rows, 0)
    names = ("mean", "median", "brightest", "black")
    return {name: round(float(value), 4) for name, value in zip(names, found, strict=True)}


def brightness(pixels: np.ndarray) -> np.ndarray:
    """Brightness as displayed, 0...1.  H W"""
    return (pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)) / 255


def histogram(pictures: Sequence[np.ndarray], bins: int = 64) -> np.ndarray:
    """Shares of pixels by brightness, every picture counting the same.  bins

    >>> histogram([np.zeros((4, 4, 3), np.uint8)], 4).tolist()
    [1.0, 0.0, 0.0, 0.0]
    """
    if not len(pictures):
        raise Problem("a histogram needs at least one picture.")
    each = [np.histogram(brightness(one), bins, (0, 1))[0] / one[..., 0].size for one in pictures]
    return np.mean(each, 0)


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """How far brightness must move to turn one histogram into the other, in shares of white.

    >>> apart(np.array([1.0, 0, 0, 0]), np.array([0, 0, 1.0, 0]))
    0.5
    """
    return float(np.abs(np.cumsum(one - other)).sum() / len(one))


def matched(
    days: Sequence[np.ndarray],
    nights: Sequence[np.ndarray],
    settings: Settings | None = None,
    seed: int = 0,
    steps: int = 8,
) -> tuple[Settings, float]:
    """Settings whose nights are about as dark as real ones, and how far apart they remain.

    The range of `dim` and the ambient light are scaled together until the histogram of nights
    made from `days` lies nearest to that of `nights`. The distance is that of `apart`.
    """
    start = settings or make_settings(Settings, {})
    if not len(days) or not len(nights):
        raise Problem("matching needs some day pictures and some night pictures.")
    wanted = histogram(nights)

    def tried(times: float) -> tuple[float, Settings]:
        scaled = start.model_copy(
            update={
                "dim": tuple(min(1.0, max(1e-3, bound * times)) for bound in start.dim),
                "ambient": min(1.0, max(1e-3, start.ambient * times)),
            }
        )
        made = [night_of_photo(one, scaled, seed).noisy for one in days]
        return apart(histogram(made), wanted), scaled

    low, high = np.log(0.05), np.log(20.0)
    inner = (np.sqrt(5) - 1) / 2  # golden sections: the distance has one valley
    left, right = high - inner * (high - low), low + inner * (high - low)
    at_left, at_right = tried(np.exp(left)), tried(np.exp(right))
    best = min(tried(1.0), at_left, at_right, key=lambda one: one[0])
    for _ in range(steps):
        if at_left[0] <= at_right[0]:
            high, right, at_right = right, left, at_left
            left = high - inner * (high - low)
            at_left = tried(np.exp(left))
        else:
            low, left, at_left = left, right, at_right
            right = low + inner * (high - low)
            at_right = tried(np.exp(right))
        best = min(best, at_left, at_right, key=lambda one: one[0])
    return best[1], best[0]
