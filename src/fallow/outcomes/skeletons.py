"""Key points drawn over their picture: dots in colours of their own, and the lines between them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fallow.colours import categories

UNSURE = 0.3  # of a heat map's peak: below it a point is a ring, and no line leads to it
HALO = (20, 20, 20)


def skeleton_over(
    pixels: np.ndarray,
    points: np.ndarray,
    heights: np.ndarray | None = None,
    bones: Sequence[tuple[int, int]] = (),
) -> np.ndarray:
    """A picture (H W 3) with its points (J 2: x, y; NaN: none) and the lines that join them.

    >>> plain = np.zeros((40, 40, 3), np.uint8)
    >>> skeleton_over(plain, np.array([[20.0, 20.0]])).any(), plain.any()
    (np.True_, np.False_)
    """
    from PIL import Image, ImageDraw

    made = Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")
    draw = ImageDraw.Draw(made)
    radius = max(2.0, min(made.size) / 90)
    there = np.isfinite(points).all(1)
    sure = there if heights is None else there & (heights >= UNSURE)
    colours = [tuple(one) for one in categories(len(points)).tolist()]

    def line(a: int, b: int, colour: tuple[int, ...], width: float) -> None:
        ends = [tuple(points[a]), tuple(points[b])]
        draw.line(ends, fill=colour, width=max(1, round(width)))

    for a, b in bones:
        if sure[a] and sure[b]:
            line(a, b, HALO, radius * 1.3)
            line(a, b, colours[b], radius * 0.7)
    for number in np.flatnonzero(there):
        x, y = points[number]
        box = [x - radius, y - radius, x + radius, y + radius]
        fill = colours[number] if sure[number] else None
        outline = HALO if sure[number] else colours[number]
        draw.ellipse(box, fill=fill, outline=outline, width=max(1, round(radius / 4)))
    return np.array(made)


def close_up(pixels: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The part of a picture its points (J 2) lie in, with as much again about it; and they there.

    >>> part, points = close_up(np.zeros((100, 200, 3), np.uint8), np.array([[150.0, 50.0]]))
    >>> part.shape, points.tolist()
    ((50, 50, 3), [[25.0, 25.0]])
    """
    height, width = pixels.shape[:2]
    low, high = np.nanmin(points, 0), np.nanmax(points, 0)
    side = min(max(2 * float((high - low).max()), min(height, width) / 2), width, height)
    corner = ((low + high) / 2 - side / 2).clip(0, [width - side, height - side])
    left, top = corner.astype(int)
    reach = int(side)
    return pixels[top : top + reach, left : left + reach], points - [left, top]
