"""Drawn circuit boards: whole ones, photographs of their sections, and what may be wrong there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from fallow.images.drawing import noise

GREEN, COPPER, GOLD = (24, 92, 52), (46, 128, 74), (202, 168, 84)
BLACK, TIN, CREAM, PRINT = (34, 34, 38), (176, 178, 182), (188, 150, 104), (222, 226, 220)
FAULTS = ("short", "missing", "spur", "scratch")
STEP = 24  # pixels of the grid that traces and pads lie on
SLACK = 8  # pixels by which a photograph may miss its section


def board(side: int, random: np.random.Generator) -> Image.Image:
    """One board without a fault: traces, vias, chips and small parts, no two places alike.

    >>> board(240, np.random.default_rng(0)).size
    (240, 240)
    """
    picture = Image.new("RGB", (side, side), GREEN)
    draw = ImageDraw.Draw(picture)
    cells = side // STEP
    for _ in range(cells * cells // 5):
        _trace(draw, random, cells)
    for _ in range(cells * cells // 7):
        _via(draw, *(random.integers(0, cells, 2) * STEP + STEP // 2))
    taken: list[tuple[int, int, int, int]] = []
    for maker, count in ((_chip, cells * cells // 40), (_chipling, cells * cells // 12)):
        for _ in range(count):
            _placed(draw, random, side, maker, taken)
    return picture


def _trace(draw: ImageDraw.ImageDraw, random: np.random.Generator, cells: int) -> None:
    """A few grid steps, straight or at 45 degrees, with a via at its end."""
    x, y = random.integers(0, cells, 2)
    turn = int(random.integers(8))
    places = [(x * STEP + STEP // 2, y * STEP + STEP // 2)]
    for _ in range(int(random.integers(2, 5))):
        turn += int(random.integers(-1, 2))
        length = int(random.integers(1, 4))
        x += length * round(np.cos(turn * np.pi / 4))
        y += length * round(np.sin(turn * np.pi / 4))
        places.append((x * STEP + STEP // 2, y * STEP + STEP // 2))
    draw.line(places, fill=COPPER, width=int(random.choice([4, 4, 6])), joint="curve")
    _via(draw, *places[-1])


def _via(draw: ImageDraw.ImageDraw, x: int, y: int) -> None:
    draw.ellipse((x - 6, y - 6, x + 6, y + 6), fill=GOLD)
    draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=BLACK)


def _placed(
    draw: ImageDraw.ImageDraw,
    random: np.random.Generator,
    side: int,
    maker: Callable[..., tuple[int, int]],
    taken: list[tuple[int, int, int, int]],
) -> None:
    """A part where no other lies yet."""
    for _ in range(20):
        x, y = (random.integers(0, side // STEP - 2, 2) * STEP + STEP // 2).tolist()
        wide, high = maker(None, x, y, np.random.default_rng(x * side + y))
        box = (x - 6, y - 6, x + wide + 6, y + high + 6)
        if all(box[2] < o[0] or o[2] < box[0] or box[3] < o[1] or o[3] < box[1] for o in taken):
            maker(draw, x, y, np.random.default_rng(x * side + y))
            taken.append(box)
            return


def _chip(
    draw: ImageDraw.ImageDraw | None, x: int, y: int, random: np.random.Generator
) -> tuple[int, int]:
    """A black body between two rows of pins; its size, drawn or not."""
    pins = int(random.integers(3, 8))
    wide, high = pins * 12 + 4, int(random.choice([36, 48, 60]))
    if draw is not None:
        for pin in range(pins):
            left = x + 5 + pin * 12
            draw.rectangle((left, y, left + 5, y + high), fill=TIN)
        draw.rectangle((x, y + 7, x + wide, y + high - 7), fill=BLACK)
        draw.ellipse((x + 4, y + high - 16, x + 9, y + high - 11), fill=TIN)
        for line in range(2):
            length = int(random.integers(12, max(13, wide - 14)))
            draw.line((x + 8, y + 14 + 6 * line, x + 8 + length, y + 14 + 6 * line), fill=PRINT)
    return wide, high


def _chipling(
    draw: ImageDraw.ImageDraw | None, x: int, y: int, random: np.random.Generator
) -> tuple[int, int]:
    """A resistor or capacitor between two ends of tin, lying or standing."""
    wide, high = (26, 13) if random.random() < 0.5 else (13, 26)
    if draw is not None:
        draw.rectangle((x, y, x + wide, y + high), fill=TIN)
        inner = (x + 6, y, x + wide - 6, y + high) if wide > high else (x, y + 6, x + wide, y + 20)
        draw.rectangle(inner, fill=BLACK if random.random() < 0.5 else CREAM)
    return wide, high


def faulty(
    picture: Image.Image, box: tuple[int, int, int, int], kind: str, random: np.random.Generator
) -> Image.Image:
    """The same board with one fault of FAULTS inside a box (left, top, right, bottom)."""
    made = picture.copy()
    draw = ImageDraw.Draw(made)
    left, top, right, bottom = box
    inset = (right - left) // 5
    x = int(random.integers(left + inset, right - inset))
    y = int(random.integers(top + inset, bottom - inset))
    if kind == "short":
        draw.line((x, y, x + STEP, y + int(random.integers(-6, 7))), fill=GOLD, width=5)
    elif kind == "missing":
        draw.rectangle((x - 14, y - 14, x + 14, y + 14), fill=GREEN)
    elif kind == "spur":
        draw.polygon([(x, y - 5), (x + 14, y + 2), (x + 3, y + 7)], fill=COPPER)
        draw.ellipse((x - 7, y - 7, x + 5, y + 5), fill=COPPER)
    else:
        turn = random.uniform(0, 2 * np.pi)
        reach = 26
        end = (x + reach * np.cos(turn), y + reach * np.sin(turn))
        draw.line([(x, y), end], fill=(206, 204, 190), width=3)
    return made


def photographed(
    picture: Image.Image, box: tuple[int, int, int, int], random: np.random.Generator
) -> np.ndarray:
    """A section as a camera sees it: a little shifted and turned, in its own light."""
    left, top, right, bottom = box
    moved = picture.rotate(
        random.uniform(-1.5, 1.5), Image.Resampling.BICUBIC,
        center=((left + right) / 2, (top + bottom) / 2),
        translate=tuple(random.uniform(-SLACK / 2, SLACK / 2, 2)),
    )  # fmt: skip
    small = moved.crop(box).resize(((right - left) // 2, (bottom - top) // 2), Image.Resampling.BOX)
    pixels = np.asarray(small, np.float64)
    light = random.uniform(0.9, 1.1) * (1 + 0.04 * noise(pixels.shape[:2], 3, random)[..., None])
    grain = random.normal(0, 2.5, pixels.shape)
    return np.rint(pixels * light + grain).clip(0, 255).astype(np.uint8)
