"""What happens to a view's place after it is drawn: zoom, quarter turns, repeating another view."""

from __future__ import annotations

import numpy as np

from fallow.views.random import uniform
from fallow.views.recipe import Recipe

# where these numbers come from; the drawing kernel has those below 64
_TURN, _WHICH, _ZOOM, _RIGHT, _DOWN = 64, 65, 66, 67, 68
_TILT, _HOW_FAR, _SWELL = 69, 70, 71


def place(
    geometry: np.ndarray,
    recipe: Recipe,
    heights: np.ndarray,
    widths: np.ndarray,
    rows: np.ndarray,
    *,
    seed: int,
    epoch: int,
) -> None:
    """Change the geometry (V B 2 3) in place where a recipe asks for it."""
    for number, view in enumerate(recipe.every_view):
        if view.like is not None:
            geometry[number] = geometry[view.like]
            continue

        def drawn(slot: int, number: int = number) -> np.ndarray:
            return uniform(seed, epoch, rows, number, slot)

        if view.whole:
            degrees = normal(drawn(_HOW_FAR), most=2.0) * view.tilt[0]
            geometry[number] = all_of(
                geometry[number], view.size, heights, widths,
                np.where(drawn(_TILT) < view.tilt[1], degrees, 0.0),
                1 + view.swell * normal(drawn(_SWELL), most=1.0),
            )  # fmt: skip
        if view.zoom is not None:
            geometry[number] = zoomed(
                geometry[number], view.size, view.zoom, heights, widths,
                drawn(_ZOOM), drawn(_RIGHT), drawn(_DOWN),
            )  # fmt: skip
        if view.turns:
            quarters = np.where(drawn(_TURN) < view.turns, 1 + np.floor(3 * drawn(_WHICH)), 0)
            geometry[number] = quarter_turned(geometry[number], view.size, quarters)


def normal(chance: np.ndarray, most: float) -> np.ndarray:
    """Uniform numbers as normal ones, none further than `most` from 0.

    >>> normal(np.array([0.5, 0.999]), most=2.0).tolist()
    [0.0, 2.0]
    """
    from scipy.special import ndtri

    return np.clip(ndtri(np.clip(chance, 1e-9, 1 - 1e-9)), -most, most)


def all_of(
    geometry: np.ndarray,
    size: int,
    heights: np.ndarray,
    widths: np.ndarray,
    degrees: np.ndarray,
    scale: np.ndarray,
) -> np.ndarray:
    """All of each image (B) about the middle of its view, turned, and larger by a scale.

    Of the old geometry only a flip, the sign of its first column, is kept.

    >>> still = np.array([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    >>> at, none = np.array([4]), np.zeros(1)
    >>> all_of(still, 8, at, 2 * at, none, none + 1)[0].tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, -2.0]]
    """
    step = np.maximum(heights, widths) / size / scale  # pixels of the image to one of the view
    turn = np.deg2rad(degrees)
    flip = np.where(geometry[:, 0, 0] < 0, -1.0, 1.0)
    cosine, sine = step * np.cos(turn), step * np.sin(turn)
    turned = np.stack([np.stack([flip * cosine, -flip * sine], -1),
                       np.stack([sine, cosine], -1)], -2)  # B 2 2  # fmt: skip
    middle = np.stack([widths - 1, heights - 1], -1) / 2
    moved = middle - turned.sum(-1) * (size - 1) / 2
    return np.concatenate([turned, moved[..., None]], -1) + 0.0


def zoomed(
    geometry: np.ndarray,
    size: int,
    zoom: tuple[float, float],
    heights: np.ndarray,
    widths: np.ndarray,
    how: np.ndarray,
    right: np.ndarray,
    down: np.ndarray,
) -> np.ndarray:
    """Windows of `size` on images enlarged by a factor; what is too small sits at the top left.

    Only the sign of the first column, a flip, is kept of the old geometry.
    """
    factor = zoom[0] + (zoom[1] - zoom[0]) * how  # B
    made = np.zeros_like(geometry)
    flipped = geometry[:, 0, 0] < 0
    made[:, 1, 1] = 1 / factor
    made[:, 0, 0] = np.where(flipped, -1, 1) / factor
    span = size / factor  # source pixels a view shows
    left = np.floor(right * (np.maximum(widths - span, 0) + 1)).clip(
        0, np.maximum(widths - span, 0)
    )
    top = np.floor(down * (np.maximum(heights - span, 0) + 1)).clip(
        0, np.maximum(heights - span, 0)
    )
    first = left + 0.5 / factor - 0.5  # centre of the leftmost view pixel
    last = left + span - 0.5 / factor - 0.5
    # a flipped picture is at the left too: it is flipped first and padded then
    short = np.minimum(widths, left + span)
    last = np.where(flipped, short - 0.5 / factor - 0.5, last)
    made[:, 0, 2] = np.where(flipped, last, first)
    made[:, 1, 2] = top + 0.5 / factor - 0.5
    return made


def quarter_turned(geometry: np.ndarray, size: int, quarters: np.ndarray) -> np.ndarray:
    """Each view (B 2 3) turned about its centre by so many quarters, exactly.

    >>> still = np.array([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    >>> quarter_turned(still, 5, np.array([1]))[0].tolist()
    [[0.0, -1.0, 4.0], [1.0, 0.0, 0.0]]
    """
    cosine = np.array([1.0, 0.0, -1.0, 0.0])[np.asarray(quarters, int) % 4]
    sine = np.array([0.0, 1.0, 0.0, -1.0])[np.asarray(quarters, int) % 4]
    turn = np.stack([np.stack([cosine, -sine], -1), np.stack([sine, cosine], -1)], -2)  # B 2 2
    middle = np.full((len(turn), 2, 1), (size - 1) / 2)
    shift = middle - turn @ middle
    outer, moved = geometry[:, :, :2], geometry[:, :, 2:]
    return np.concatenate([outer @ turn, outer @ shift + moved], -1) + 0.0  # no minus zero
