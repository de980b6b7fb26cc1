"""Twenty-four ways to spoil a photo, each in five grades: what a judge of quality is taught with.

They come in seven groups as in ARNIQA (Agnolucci et al. 2024), whose grades follow KADID-10k (Lin
et al. 2019); where theirs do not rise, or begin with nothing, these do. Pictures are float arrays
(H W 3) in 0 to 1, colours sRGB.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fallow.problems import SettingProblem, did_you_mean

Picture = np.ndarray
Damage = Callable[[Picture, float, np.random.Generator], Picture]
GRADES = 5
SPREAD = 2.5  # of the grades that are drawn: mild ones come more often
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def gaussian_blur(picture: Picture, sigma: float, draw: np.random.Generator) -> Picture:
    """Out of focus, softly; sigma in pixels."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(picture, (sigma, sigma, 0), mode="nearest")


def lens_blur(picture: Picture, radius: float, draw: np.random.Generator) -> Picture:
    """Out of focus through a round opening of this radius."""
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return _filtered(picture, np.clip(radius + 0.5 - np.hypot(y, x), 0, 1))


def motion_blur(picture: Picture, length: float, draw: np.random.Generator) -> Picture:
    """Moved by this many pixels, in a direction that is drawn."""
    reach = int(np.ceil(length / 2))
    angle = draw.uniform(0, np.pi)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    line = np.clip(1 - np.abs(across), 0, 1) * np.clip(length / 2 + 0.5 - np.abs(along), 0, 1)
    return _filtered(picture, line)


def colour_diffusion(picture: Picture, sigma: float, draw: np.random.Generator) -> Picture:
    """Colours run, light stays."""
    light = _light(picture)
    return light + gaussian_blur(picture - light, sigma, draw)


def colour_shift(picture: Picture, pixels: float, draw: np.random.Generator) -> Picture:
    """One colour lies beside the others, in a direction that is drawn."""
    angle, made = draw.uniform(0, 2 * np.pi), picture.copy()
    down, right = round(pixels * np.sin(angle)), round(pixels * np.cos(angle))
    channel, reach = int(draw.integers(3)), int(np.ceil(pixels))
    wide = np.pad(picture[..., channel], reach, mode="edge")
    height, width = picture.shape[:2]
    top, left = reach + down, reach + right
    made[..., channel] = wide[top : top + height, left : left + width]
    return made


def paler(picture: Picture, left: float, draw: np.random.Generator) -> Picture:
    """Only this part of the colour is left; below 0 it turns into its opposite."""
    light = _light(picture)
    return light + left * (picture - light)


def gaudier(picture: Picture, times: float, draw: np.random.Generator) -> Picture:
    """Colours stand out this many times as much."""
    return paler(picture, times, draw)


def jpeg(picture: Picture, quality: float, draw: np.random.Generator) -> Picture:
    """Stored as JPEG of this quality."""
    return _stored(picture, "JPEG", quality=int(quality))


def jpeg2000(picture: Picture, ratio: float, draw: np.random.Generator) -> Picture:
    """Stored as JPEG 2000 in one part in `ratio` of its size."""
    return _stored(picture, "JPEG2000", quality_mode="rates", quality_layers=[ratio])


def white_noise(picture: Picture, variance: float, draw: np.random.Generator) -> Picture:
    """Grains of all colours."""
    return picture + _noise(picture, draw) * variance**0.5


def colour_noise(picture: Picture, variance: float, draw: np.random.Generator) -> Picture:
    """Grains in light, and twice as strong in colour."""
    noise = _noise(picture, draw)
    light = _light(noise)
    return picture + variance**0.5 * (light + 2 * (noise - light))


def impulse_noise(picture: Picture, share: float, draw: np.random.Generator) -> Picture:
    """This share of the values is black or white."""
    hit = draw.random(picture.shape)
    return np.where(hit < share / 2, 0.0, np.where(hit < share, 1.0, picture)).astype(np.float32)


def speckle(picture: Picture, variance: float, draw: np.random.Generator) -> Picture:
    """Grains as strong as what they lie on."""
    return picture * (1 + _noise(picture, draw) * variance**0.5)


def brighter(picture: Picture, amount: float, draw: np.random.Generator) -> Picture:
    """Shadows rise, white stays white."""
    return 1 - (1 - np.clip(picture, 0, 1)) ** (1 + amount)


def darker(picture: Picture, amount: float, draw: np.random.Generator) -> Picture:
    """Lights fall, black stays black."""
    return np.clip(picture, 0, 1) ** (1 + amount)


def mean_shift(picture: Picture, amount: float, draw: np.random.Generator) -> Picture:
    """Everything lighter or darker by the same."""
    return picture + amount * draw.choice([-1.0, 1.0])


def jitter(picture: Picture, pixels: float, draw: np.random.Generator) -> Picture:
    """Every pixel is taken from somewhere near."""
    from scipy.ndimage import map_coordinates

    height, width = picture.shape[:2]
    places = np.mgrid[:height, :width] + draw.normal(0, pixels, (2, height, width))
    return np.stack(
        [map_coordinates(picture[..., c], places, order=1, mode="nearest") for c in range(3)], -1
    )


def moved_patches(picture: Picture, count: float, draw: np.random.Generator) -> Picture:
    """Small patches lie a little beside where they belong."""
    height, width = picture.shape[:2]
    side, made = max(2, min(height, width) // 16), picture.copy()
    for _ in range(int(count)):
        y, x = (int(draw.integers(0, size - side + 1)) for size in (height, width))
        v, u = (
            int(np.clip(place + draw.integers(-side, side + 1), 0, size - side))
            for place, size in ((y, height), (x, width))
        )
        made[y : y + side, x : x + side] = picture[v : v + side, u : u + side]
    return made


def pixelated(picture: Picture, pixels: float, draw: np.random.Generator) -> Picture:
    """Squares of this many pixels in one colour each."""
    side = int(pixels)
    height, width = picture.shape[:2]
    wide = np.pad(picture, ((0, -height % side), (0, -width % side), (0, 0)), mode="edge")
    cells = wide.reshape(wide.shape[0] // side, side, wide.shape[1] // side, side, 3).mean((1, 3))
    return np.repeat(np.repeat(cells, side, 0), side, 1)[:height, :width]


def quantised(picture: Picture, levels: float, draw: np.random.Generator) -> Picture:
    """So few levels of each colour."""
    return np.round(np.clip(picture, 0, 1) * (levels - 1)) / (levels - 1)


def colour_blocks(picture: Picture, count: float, draw: np.random.Generator) -> Picture:
    """Squares of some colour hide parts of it."""
    height, width = picture.shape[:2]
    side, made = max(2, min(height, width) // 8), picture.copy()
    for _ in range(int(count)):
        y, x = (int(draw.integers(0, size - side + 1)) for size in (height, width))
        made[y : y + side, x : x + side] = draw.random(3)
    return made


def oversharpened(picture: Picture, amount: float, draw: np.random.Generator) -> Picture:
    """Edges have halos."""
    return picture + amount * (picture - gaussian_blur(picture, 2.0, draw))


def contrast(picture: Picture, amount: float, draw: np.random.Generator) -> Picture:
    """Steeper, or flatter, about the middle."""
    return 0.5 + (picture - 0.5) * (1 + amount * draw.choice([-1.0, 1.0]))


def bent_contrast(picture: Picture, amount: float, draw: np.random.Generator) -> Picture:
    """Shadows and lights pulled together around the middle."""
    away = 2 * np.clip(picture, 0, 1) - 1
    return 0.5 + 0.5 * np.sign(away) * np.abs(away) ** (1 + amount)


# group -> what belongs to it -> its five grades
GROUPS: dict[str, dict[Damage, tuple[float, float, float, float, float]]] = {
    "blur": {
        gaussian_blur: (0.5, 0.8, 1.2, 2, 5),
        lens_blur: (1, 2, 4, 6, 8),
        motion_blur: (2, 4, 6, 10, 15),
    },
    "colour": {
        colour_diffusion: (1, 3, 6, 8, 12),
        colour_shift: (1, 3, 6, 8, 12),
        paler: (0.6, 0.4, 0.2, 0, -0.4),
        gaudier: (1.5, 2, 3, 6, 9),
    },
    "compression": {
        jpeg2000: (16, 32, 45, 120, 170),
        jpeg: (43, 36, 24, 7, 4),
    },
    "noise": {
        white_noise: (0.001, 0.002, 0.003, 0.005, 0.01),
        colour_noise: (0.0005, 0.001, 0.002, 0.003, 0.005),
        impulse_noise: (0.001, 0.005, 0.01, 0.02, 0.03),
        speckle: (0.001, 0.005, 0.01, 0.02, 0.05),
    },
    "brightness": {
        brighter: (0.1, 0.2, 0.4, 0.7, 1.1),
        darker: (0.1, 0.2, 0.4, 0.8, 1.5),
        mean_shift: (0.04, 0.08, 0.12, 0.18, 0.25),
    },
    "spatial": {
        jitter: (0.1, 0.3, 0.6, 1, 1.5),
        moved_patches: (20, 40, 60, 80, 100),
        pixelated: (2, 3, 4, 6, 8),
        quantised: (20, 16, 13, 10, 7),
        colour_blocks: (2, 4, 6, 8, 10),
    },
    "contrast": {
        oversharpened: (1, 2, 3, 6, 12),
        contrast: (0.1, 0.2, 0.3, 0.45, 0.6),
        bent_contrast: (0.2, 0.4, 0.7, 1.1, 1.6),
    },
}
DAMAGES: dict[str, tuple[Damage, tuple[float, ...]]] = {
    damage.__name__: (damage, grades)
    for members in GROUPS.values()
    for damage, grades in members.items()
}


@dataclass(frozen=True)
class Step:
    """One kind of damage in one grade, and the seed of what it draws."""

    name: str
    grade: int  # 1 to 5
    seed: int


def damaged(picture: Picture, name: str, grade: int, draw: np.random.Generator) -> Picture:
    """A picture spoilt in one way; values stay in 0 to 1.

    >>> flat = np.full((16, 16, 3), 0.5, np.float32)
    >>> 0.37 < float(damaged(flat, "darker", 3, np.random.default_rng(0)).mean()) < 0.39
    True
    """
    if name not in DAMAGES:
        raise SettingProblem(f"there is no damage {name!r}: {did_you_mean(name, DAMAGES)}")
    if not 1 <= grade <= GRADES:
        raise SettingProblem(f"damage comes in grades 1 to {GRADES}, not {grade}")
    apply, grades = DAMAGES[name]
    made = apply(np.asarray(picture, np.float32), grades[grade - 1], draw)
    return np.clip(made, 0, 1).astype(np.float32)


def composed(draw: np.random.Generator, most: int = 4) -> list[Step]:
    """One to `most` kinds of damage of different groups, in random order, mild ones more often.

    >>> steps = composed(np.random.default_rng(0))
    >>> len({step.name for step in steps}) == len(steps)
    True
    """
    weights = np.exp(-(np.arange(GRADES) ** 2) / (2 * SPREAD**2))
    count = int(draw.integers(1, min(most, len(GROUPS)) + 1))
    steps = []
    for place in draw.permutation(len(GROUPS))[:count]:
        members = list(list(GROUPS.values())[int(place)])
        damage = members[int(draw.integers(len(members)))]
        grade = 1 + int(draw.choice(GRADES, p=weights / weights.sum()))
        steps.append(Step(damage.__name__, grade, int(draw.integers(2**31))))
    return steps


def spoilt(picture: Picture, steps: Sequence[Step]) -> Picture:
    """A picture after some damage; the same steps do the same to any picture of its size.

    >>> steps = [Step("darker", 1, 0), Step("white_noise", 2, 1)]
    >>> spoilt(np.zeros((8, 8, 3), np.float32), steps).shape
    (8, 8, 3)
    """
    for step in steps:
        picture = damaged(picture, step.name, step.grade, np.random.default_rng(step.seed))
    return picture


def _light(picture: Picture) -> Picture:
    return (picture @ _LUMA)[..., None]


def _noise(picture: Picture, draw: np.random.Generator) -> Picture:
    return draw.standard_normal(picture.shape).astype(np.float32)


def _filtered(picture: Picture, kernel: np.ndarray) -> Picture:
    from scipy.signal import fftconvolve

    reach = kernel.shape[0] // 2
    wide = np.pad(picture, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    weights = (kernel / kernel.sum()).astype(np.float32)
    return fftconvolve(wide, weights[..., None], mode="valid", axes=(0, 1))


def _stored(picture: Picture, kind: str, **how: object) -> Picture:
    from PIL import Image

    buffer = io.BytesIO()
    pixels = np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    Image.fromarray(pixels).save(buffer, kind, **how)
    with Image.open(io.BytesIO(buffer.getvalue())) as stored:
        return np.asarray(stored.convert("RGB"), np.float32) / 255
