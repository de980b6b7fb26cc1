"""How the sample pictures are drawn: shapes, parts with defects, streets, cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_BENCHES = np.array([[98, 74, 56], [72, 88, 80], [106, 106, 110], [58, 66, 84]], np.float64)


def shape(kind: str, side: int, random: np.random.Generator) -> np.ndarray:
    size = 2 * side
    y, x = np.mgrid[0:size, 0:size] / size
    back, front = _two_colours(random)
    picture = _backdrop(size, size, back, random)
    turn = random.uniform(0, 2 * np.pi)
    scale = random.uniform(0.22, 0.36)
    cx, cy = random.uniform(0.5 - 0.4 + scale, 0.5 + 0.4 - scale, 2)
    u = ((x - cx) * np.cos(turn) + (y - cy) * np.sin(turn)) / scale
    v = (-(x - cx) * np.sin(turn) + (y - cy) * np.cos(turn)) / scale
    radius, angle = np.hypot(u, v), np.arctan2(v, u)
    inside = {
        "disc": radius < 0.9,
        "ring": (radius < 1) & (radius > random.uniform(0.5, 0.68)),
        "square": np.maximum(abs(u), abs(v)) < 0.78,
        "triangle": np.max([u * np.cos(a) + v * np.sin(a) for a in (0.0, 2.0944, 4.1888)], 0) < 0.5,
        "star": radius < 0.68 + 0.32 * np.cos(5 * angle),
        "cross": (np.minimum(abs(u), abs(v)) < 0.28) & (np.maximum(abs(u), abs(v)) < 0.95),
        "stripes": (radius < 1.1) & (np.sin(u * random.uniform(9, 13)) > 0),
        "dots": (radius < 1.1) & (np.sin(7.5 * u) * np.sin(7.5 * v) > 0.25),
    }[kind]
    shadow = blurred(
        np.roll(inside.astype(np.float64), (size // 40, size // 50), (0, 1)), size / 50
    )
    picture *= 1 - 0.35 * shadow[..., None]
    light = 1 + 0.22 * (u * np.cos(turn + 2.2) - v * np.sin(turn + 2.2))[..., None]
    picture = _lay(picture, front * np.clip(light, 0.6, 1.4), inside)
    return _finished(picture, random, 3.0)


def part(kind: str, side: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    size = 2 * side
    y, x = np.mgrid[0:size, 0:size] / size
    bench = _BENCHES[int(random.integers(len(_BENCHES)))] * random.uniform(0.85, 1.15)
    grain = np.sin(
        40 * (y + 0.02 * np.sin(6 * x + random.uniform(0, 6))) + 3 * noise(size, 6, random)
    )
    picture = bench + 7 * grain[..., None] + 10 * noise(size, 24, random)[..., None]
    turn = random.uniform(-0.5, 0.5)
    cx, cy = random.uniform(0.45, 0.55, 2)
    scale = random.uniform(0.3, 0.36)
    u = ((x - cx) * np.cos(turn) + (y - cy) * np.sin(turn)) / scale
    v = (-(x - cx) * np.sin(turn) + (y - cy) * np.cos(turn)) / scale
    corner = np.hypot(np.maximum(abs(u) - 0.78, 0), np.maximum(abs(v) - 0.78, 0))
    plate = corner < 0.2
    holes = np.zeros_like(plate)
    for a in (-0.68, 0.68):
        for b in (-0.68, 0.68):
            holes |= np.hypot(u - a, v - b) < 0.13
    bore = np.hypot(u, v) < 0.3
    metal = plate & ~holes & ~bore
    shade = blurred(np.roll(plate.astype(np.float64), (size // 30, size // 36), (0, 1)), size / 45)
    picture *= 1 - 0.55 * shade[..., None]
    brushed = blurred(random.normal(0, 1, (size, size)), (0.6, size / 24)) * 26
    gleam = 22 * np.exp(-(((u + 0.7 * v - random.uniform(-0.5, 0.5)) / 0.5) ** 2))
    steel = np.array([158, 164, 170.0]) + (brushed + gleam)[..., None]
    rim = np.clip((corner - 0.15) / 0.05, 0, 1) + 0.8 * (abs(np.hypot(u, v) - 0.33) < 0.03)
    picture = _lay(picture, steel * (1 - 0.28 * rim[..., None]), metal)
    defect = np.zeros_like(plate)
    if kind != "good":
        a = random.uniform(0, 2 * np.pi)
        at = (0.56 * np.cos(a), 0.56 * np.sin(a))
        if kind == "scratch":
            b = random.uniform(0, np.pi)
            along = (u - at[0]) * np.cos(b) + (v - at[1]) * np.sin(b)
            across = -(u - at[0]) * np.sin(b) + (v - at[1]) * np.cos(b)
            bend = random.uniform(-0.5, 0.5) * along**2
            defect = (abs(along) < random.uniform(0.2, 0.34)) & (abs(across - bend) < 0.025)
            change = np.where(across > bend, 70.0, -75.0)[..., None] * np.ones(3)
        elif kind == "spot":
            wobble = 1 + 0.35 * noise(size, 5, random)
            defect = np.hypot(u - at[0], v - at[1]) < random.uniform(0.09, 0.16) * wobble
            change = np.array([-52, -84, -112.0]) + 14 * noise(size, 20, random)[..., None]
        else:
            away = np.hypot(u - at[0], v - at[1]) / random.uniform(0.12, 0.18)
            defect = away < 1
            slope = ((u - at[0]) + (v - at[1])) / 0.2
            change = (58 * slope * np.clip(1 - away**2, 0, 1) ** 0.5)[..., None] * np.ones(3)
        defect = defect & metal
        picture = np.where(defect[..., None], picture + change, picture)
    small = _finished(picture, random, 2.5)
    return small, (_halved(defect.astype(np.float64)) >= 0.5).astype(np.uint8)


def street(
    night: bool, height: int, width: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    h, w = 2 * height, 2 * width
    y, x = np.mgrid[0:h, 0:w].astype(np.float64)
    x, y = x / h, y / h
    right = w / h
    horizon = random.uniform(0.44, 0.52)
    vanish = right * random.uniform(0.42, 0.58)
    mask = np.zeros((h, w), np.uint8)
    glow = np.clip(y / horizon, 0, 1)[..., None]
    tint = random.uniform(-12, 12, 3)
    picture = np.array([104, 158, 216.0]) * (1 - glow) + np.array([226, 228, 222.0]) * glow + tint
    clouds = np.clip(noise((h, w), 4, random) - 0.15, 0, 1)[..., None]
    picture = picture + (250 - picture) * clouds * 0.7
    windows: list[np.ndarray] = []

    def lay(colour: Any, where: np.ndarray, number: int) -> None:
        nonlocal picture
        picture = _lay(picture, colour, where)
        mask[where] = number

    left = -0.05
    while left < right:
        wide = random.uniform(0.16, 0.36)
        near = min(1.0, abs(left + wide / 2 - vanish) / (0.5 * right))
        top = horizon - random.uniform(0.1, 0.2) - 0.26 * near
        block = (x >= left) & (x < left + wide) & (y > top) & (y < horizon + 0.12)
        wall = random.uniform([108, 88, 76], [204, 180, 160]) * random.uniform(0.8, 1.05)
        lay(wall * (1 - 0.12 * (y[..., None] - top)), block, 1)
        pane = (((x - left) % 0.062) > 0.024) & (((y - top) % 0.078) > 0.036) & block
        pane &= (y < horizon - 0.01) & (x < left + wide - 0.02) & (y > top + 0.03)
        picture = _lay(picture, np.array([72, 88, 104.0]), pane)
        cell = (np.floor((x - left) / 0.062) * 7 + np.floor((y - top) / 0.078) * 13).astype(int)
        windows.append(pane & (random.random(4096)[cell % 4096] < 0.45))
        left += wide
    below = y > horizon
    depth = np.clip((y - horizon) / (1 - horizon), 0, 1)
    pave = (abs(x - vanish) < 0.1 + 1.15 * depth * right) & below
    lay(np.array([150, 146, 140.0]) - 14 * depth[..., None], below, 3)
    road = (abs(x - vanish) < 0.05 + 0.62 * depth * right / 1.3) & pave
    lay(np.array([84, 84, 90.0]) + 5 * noise((h, w), 40, random)[..., None], road, 2)
    dash = (abs(x - vanish) < 0.004 + 0.014 * depth) & (np.sin(9 / (depth + 0.12)) > 0) & road
    picture = _lay(picture, np.array([222, 218, 200.0]), dash)
    for _ in range(int(random.integers(2, 5))):
        sign = random.choice([-1, 1])
        d = random.uniform(0.1, 0.5)
        foot = horizon + d * (1 - horizon)
        tx, tall = vanish + sign * (0.12 + 0.92 * d * right / 1.3), 0.16 + 0.42 * d
        trunk = (abs(x - tx) < 0.05 * tall) & (y < foot) & (y > foot - 0.5 * tall)
        crown = np.hypot(x - tx, (y - foot + 0.72 * tall) * 0.9) < 0.3 * tall * (
            1 + 0.3 * noise((h, w), 14, random)
        )
        lay(np.array([84, 62, 46.0]), trunk, 4)
        leaf = np.array([70, 116, 58.0]) * random.uniform(0.8, 1.15)
        lay(leaf + 22 * noise((h, w), 30, random)[..., None], crown, 4)
    lights = np.zeros((h, w))
    red = np.zeros((h, w))
    for sign in (-1, 1):
        for d in (0.16, 0.5):
            foot = horizon + d * (1 - horizon)
            px, tall = vanish + sign * (0.08 + 0.75 * d * right / 1.3), 0.24 + 0.5 * d
            pole = (abs(x - px) < 0.004 + 0.006 * d) & (y < foot) & (y > foot - tall)
            bulb = np.hypot(x - px, y - foot + tall) < 0.014 + 0.02 * d
            lay(np.array([58, 60, 64.0]), pole, 6)
            lay(np.array([226, 222, 206.0]), bulb, 6)
            lights += bulb
    for d in np.sort(random.uniform(0.12, 0.62, int(random.integers(2, 5)))):
        foot = horizon + d * (1 - horizon)
        scale = 0.05 + 0.3 * d
        sign = random.choice([-1, 1])
        px = vanish + sign * (0.05 + 0.27 * d * right / 1.3)
        u, v = (x - px) / scale, (y - foot) / scale
        body = (abs(u) < 0.62) & (v < -0.08) & (v > -0.46)
        cabin = (abs(u) < 0.46 + 0.3 * (v + 0.46)) & (v <= -0.44) & (v > -0.78)
        wheel = (np.hypot((abs(u) - 0.46), v + 0.06) < 0.12) & (v < 0.06)
        paint = random.uniform(40, 215, 3)
        lay(np.array([30, 30, 34.0]), wheel, 5)
        lay(paint * (1 + 0.25 * (-v - 0.3))[..., None], body | cabin, 5)
        picture = _lay(picture, np.array([60, 74, 86.0]), cabin & (v > -0.72) & (abs(u) < 0.4))
        lamp = np.hypot(abs(u) - 0.5, v + 0.3) < 0.08
        picture = _lay(picture, np.array([240, 236, 220.0] if sign > 0 else [190, 40, 36.0]), lamp)
        if sign > 0:
            lights += 0.8 * lamp
        else:
            red += lamp
    if night:
        dark = picture * np.array([0.17, 0.2, 0.3])
        halo = sum(blurred(lights, h * s) * g for s, g in ((0.012, 1.2), (0.05, 5.0), (0.14, 16.0)))
        embers = sum(blurred(red, h * s) * g for s, g in ((0.012, 1.2), (0.04, 4.0)))
        lit = np.any(windows, axis=0).astype(np.float64) * (mask == 1)
        warm = np.array([255, 206, 128.0])
        picture = dark * (1 + 2.4 * np.clip(halo, 0, 1.2)[..., None])
        picture = picture + warm * 0.5 * np.clip(halo, 0, 1.4)[..., None]
        picture = picture + np.array([255, 48, 32.0]) * np.clip(embers, 0, 1)[..., None]
        picture = picture + warm * 0.62 * (lit + 0.5 * blurred(lit, h * 0.01))[..., None]
    else:
        picture = picture * random.uniform(0.88, 1.06)
    return _finished(picture, random, 4.0 if night else 2.0), np.ascontiguousarray(mask[1::2, 1::2])


def cell_picture(
    kind: str, side: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    size = 2 * side
    y, x = np.mgrid[0:size, 0:size] / size
    tint = np.array([238, 214, 228.0]) + random.uniform(-6, 6, 3)
    fibres = noise(size, 9, random)[..., None] * np.array([7, 16, 9.0])
    picture = tint - 9 + fibres + 3 * noise(size, 60, random)[..., None]
    clumps = 20 * noise(size, 46, random)[..., None]
    mask = np.zeros((size, size), np.uint8)
    hubs = random.uniform(0.2, 0.8, (3, 2))
    number = 0
    for _ in range(int(random.integers(9, 22))):
        if kind == "clustered":
            cx, cy = hubs[random.integers(3)] + random.normal(0, 0.09, 2)
        else:
            cx, cy = random.uniform(0.03, 0.97, 2)
        radius = random.uniform(0.045, 0.075)
        stretch = random.uniform(1.9, 2.8) if kind == "spindle" else random.uniform(1.0, 1.25)
        turn = random.uniform(0, np.pi)
        reach = 1.15 * radius * stretch**0.5  # only the pixels a cell can touch are drawn
        (top, left), (bottom, right) = (
            np.clip(np.array([cy, cx]) * size + sign * reach * size, 0, size).astype(int)
            for sign in (-1, 1)
        )
        here = np.s_[top:bottom, left:right]
        dx, dy, taken, part = x[here] - cx, y[here] - cy, mask[here], picture[here]
        u = (dx * np.cos(turn) + dy * np.sin(turn)) / (radius * stretch**0.5)
        v = (-dx * np.sin(turn) + dy * np.cos(turn)) / (radius / stretch**0.5)
        wave = 1 + 0.06 * np.sin(3 * np.arctan2(v, u) + random.uniform(0, 6))
        away = np.hypot(u, v) / wave
        whole = away < 1
        # the mask is halved by taking every second pixel: a cell must own one of those
        free = whole & (taken == 0)
        owns = free[(top + 1) % 2 :: 2, (left + 1) % 2 :: 2]
        if not owns.any() or (taken[whole] > 0).mean() > 0.12:
            continue
        number += 1
        taken[free] = number
        stain = np.array([206, 142, 190.0]) + random.uniform(-10, 10, 3)
        part = _lay(part, stain + 24 * np.clip(away - 0.6, 0, 1)[..., None], whole)
        part = _lay(part, stain * 0.82, whole & (away > 0.93))
        core = np.hypot(u - 0.12, v + 0.08) < random.uniform(0.46, 0.58)
        nucleus = np.array([104, 66, 146.0]) + random.uniform(-8, 8, 3) + clumps[here]
        picture[here] = _lay(part, nucleus, core)
    falloff = 1 - 0.2 * np.hypot(x - 0.5, y - 0.5)[..., None] ** 2
    return _finished(picture * falloff, random, 2.0), np.ascontiguousarray(mask[1::2, 1::2])


def _two_colours(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two colours far enough apart to tell a shape from its ground."""
    import colorsys

    hue = random.random()
    other = hue + random.uniform(0.3, 0.7)
    bright = random.random() < 0.5
    values = (0.9, 0.4) if bright else (0.36, 0.95)
    back = colorsys.hsv_to_rgb(hue, random.uniform(0.12, 0.55), values[0])
    front = colorsys.hsv_to_rgb(other % 1, random.uniform(0.55, 0.9), values[1])
    return np.array(back) * 255, np.array(front) * 255


def _backdrop(h: int, w: int, colour: np.ndarray, random: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[0:h, 0:w] / h
    a = random.uniform(0, 2 * np.pi)
    slope = (x - 0.5) * np.cos(a) + (y - 0.5) * np.sin(a)
    texture = noise((h, w), float(random.choice([4, 10, 24])), random)
    return colour * (1 + 0.25 * slope + random.uniform(0.03, 0.12) * texture)[..., None]


def noise(size: int | tuple[int, int], grains: float, random: np.random.Generator) -> np.ndarray:
    """Smooth noise of spread 1 with about `grains` lumps across."""
    h, w = (size, size) if isinstance(size, int) else size
    cells_down, cells_across = max(2, round(grains)), max(2, round(grains * w / h))
    coarse = random.normal(0, 1, (cells_down + 1, cells_across + 1)).astype(np.float32)
    from PIL import Image

    image = Image.fromarray(coarse).resize((w, h), Image.Resampling.BICUBIC)
    smooth = np.asarray(image, np.float64)
    return smooth / max(float(smooth.std()), 1e-6)


def blurred(values: np.ndarray, sigma: float | Sequence[float]) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(values, sigma)


def smooth(pixels: np.ndarray, sigma: float) -> np.ndarray:
    soft = blurred(pixels.astype(np.float64), (sigma, sigma, 0))
    return np.rint(soft).clip(0, 255).astype(np.uint8)


def _lay(picture: np.ndarray, colour: Any, where: np.ndarray) -> np.ndarray:
    return np.where(where[..., None], colour, picture)


def _halved(values: np.ndarray) -> np.ndarray:
    h, w = values.shape[0] // 2, values.shape[1] // 2
    return values.reshape(h, 2, w, 2, *values.shape[2:]).mean((1, 3))


def _finished(picture: np.ndarray, random: np.random.Generator, grain: float) -> np.ndarray:
    """Halved, with a camera's grain and exposure, as bytes."""
    small = _halved(picture) * random.uniform(0.93, 1.06)
    small = small + random.normal(0, grain, small.shape)
    return np.rint(small).clip(0, 255).astype(np.uint8)


def resized(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    from PIL import Image

    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))


def generator_for(seed: int, kind: int, index: int) -> np.random.Generator:
    """Each picture has its own numbers, so a longer collection begins like a shorter one."""
    return np.random.default_rng((seed, kind, index))
