"""What was done to a picture to make a copy of it, in words."""

from __future__ import annotations

import numpy as np

from fallow.inventory.alignment import BLOCK, Compared, finer, warped
from fallow.inventory.keypoints import luma, resized, small, smooth


def described(
    first: int,
    second: int,
    mirrored: bool,
    compared: Compared,
    one: np.ndarray,
    other: np.ndarray,
    sizes: np.ndarray,
) -> tuple[int, int, str]:
    """The row of the copy, the row it is a copy of, and what was done.

    The original is the one with more to see, or without a frame, or with more pixels or colour.
    """
    planes = small(luma(one)), small(luma(other))
    # from places in each picture to places in the other; the first is mirrored if they say so
    into_first = compared.back
    shares = (
        _share(planes[1], planes[0], into_first),
        _share(planes[0], planes[1], np.linalg.inv(into_first)),
    )  # of the second in the first, of the first in the second
    pixels = sizes[[first, second]].astype(np.float64).prod(axis=1)
    swap = _second_is_original(planes, shares, into_first, mirrored, (one, other), pixels)
    if swap:
        flips = [_flip(plane.shape[1]) if mirrored else np.eye(3) for plane in planes]
        # the copy is now the first: the original is the one to be mirrored
        back = flips[1] @ np.linalg.inv(into_first) @ flips[0]
        copy, original = (first, one, planes[0]), (second, other, planes[1])
    else:
        back = into_first
        copy, original = (second, other, planes[1]), (first, one, planes[0])
    shown = shares[0] if swap else shares[1]  # of the original, in the copy
    words = ["mirrored"] if mirrored else []
    words += _geometry(back, copy[2], original[2], shown, shares[1] if swap else shares[0])
    words += _size(back, copy[2], original[2], sizes[copy[0]], sizes[original[0]])
    words += _tones(back, copy[1], original[1], mirrored)
    if compared.changed * compared.written > 0.02:
        words.append("written over")
    return copy[0], original[0], ", ".join(words) or "stored again"


def _flip(width: int) -> np.ndarray:
    return np.array([[-1.0, 0, width - 1], [0, 1, 0], [0, 0, 1]])


def _share(plane: np.ndarray, other: np.ndarray, back: np.ndarray) -> float:
    """How much of a picture's area lies inside the other."""
    down, across = np.mgrid[0 : plane.shape[0] : 4, 0 : plane.shape[1] : 4]
    places = back @ np.stack([across.ravel(), down.ravel(), np.ones(across.size)])
    x, y = places[:2] / places[2]
    inside = (x > -1.5) & (y > -1.5) & (x < other.shape[1] + 0.5) & (y < other.shape[0] + 0.5)
    return float(inside.mean())


def _second_is_original(
    planes: tuple[np.ndarray, np.ndarray],
    shares: tuple[float, float],
    into_first: np.ndarray,
    mirrored: bool,
    pictures: tuple[np.ndarray, np.ndarray],
    pixels: np.ndarray,
) -> bool:
    in_first, in_second = shares
    if abs(in_first - in_second) > 0.04:
        larger = 0 if in_second < in_first else 1  # this one shows more than the other
        plane = planes[larger]
        if larger == 0 and mirrored:
            plane = np.ascontiguousarray(plane[:, ::-1])
        back = np.linalg.inv(into_first) if larger == 0 else into_first
        shape = (plane.shape[0], plane.shape[1])
        rest = plane[~warped(planes[1 - larger], shape, back)[1]]
        framed = _flat(rest)
        return (larger == 1) != framed
    if abs(np.log(pixels[0] / pixels[1])) > 0.1:
        return bool(pixels[1] > pixels[0])
    colour = _colour(pictures[0]), _colour(pictures[1])
    return min(colour) < 0.3 * max(colour) and 6 < max(colour) == colour[1]


def _flat(values: np.ndarray) -> bool:
    """Whether most of what surrounds a picture is of one or two tones, as a frame is."""
    tones = np.bincount(np.clip(values, 0, 255).astype(np.int64) // 8, minlength=33)
    joined = tones[:-1] + tones[1:]
    return bool(joined.max() > 0.5 * max(len(values), 1))


def _colour(picture: np.ndarray) -> float:
    if picture.ndim == 2:
        return 0.0
    values = picture[::3, ::3].astype(np.float32)
    return float((values.max(axis=2) - values.min(axis=2)).mean())


def _geometry(
    back: np.ndarray, copy: np.ndarray, original: np.ndarray, shown: float, inside: float
) -> list[str]:
    """Turned, seen at an angle, cropped, framed; `inside` is the copy's share in the original."""
    words = []
    middle = np.array([(copy.shape[1] - 1) / 2, (copy.shape[0] - 1) / 2, 1.0])
    deep = back[2] @ middle
    place = back[:2] @ middle / deep
    # how the map turns and stretches around the copy's middle
    linear = (back[:2, :2] - np.outer(place, back[2, :2])) / deep
    angle = np.degrees(np.arctan2(linear[1, 0] - linear[0, 1], linear[0, 0] + linear[1, 1]))
    bend = np.abs(back[2, :2] / deep) @ [copy.shape[1] / 2, copy.shape[0] / 2]
    shear = abs(linear[0, 0] - linear[1, 1]) + abs(linear[0, 1] + linear[1, 0])
    bent = bend > 0.03 or shear > 0.12 * (linear[0, 0] + linear[1, 1])
    if bent:
        words.append("seen at an angle")
    elif abs(angle) >= 1.5:
        words.append(f"turned {abs(angle):.0f} degrees")
    if shown < 0.96:
        words.append(f"cropped to {shown:.0%}")
    if inside < 0.6:
        words.append("inside a larger picture")
    elif inside < 0.96 and (abs(angle) < 1.5 or inside < 0.8):
        words.append("with a border")
    return words


def _size(
    back: np.ndarray,
    copy: np.ndarray,
    original: np.ndarray,
    copy_size: np.ndarray,
    original_size: np.ndarray,
) -> list[str]:
    step = np.sqrt(abs(np.linalg.det(back[:2, :2] / back[2, 2])))  # original's pixels a copy's
    scale = copy_size[0] / copy.shape[1] / (original_size[0] / original.shape[1]) / step
    if abs(scale - 0.5) < 0.03:
        return ["half size"]
    if scale < 0.93:
        return [f"{scale:.0%} of the size"]
    return [f"enlarged to {scale:.0%}"] if scale > 1.08 else []


def _tones(back: np.ndarray, copy: np.ndarray, original: np.ndarray, mirrored: bool) -> list[str]:
    """Brightness, contrast, colour, sharpness, compared where both are seen."""
    here, there = _channels(copy), _channels(original)
    if mirrored:
        there = [np.ascontiguousarray(plane[:, ::-1]) for plane in there]
    shape = (here[0].shape[0], here[0].shape[1])
    step = np.sqrt(abs(np.linalg.det(back[:2, :2] / back[2, 2])))
    laid = []
    for plane in there:
        source, moved = plane, back
        if step > 1.15:
            height, width = (max(8, round(side / step)) for side in plane.shape)
            y, x = height / plane.shape[0], width / plane.shape[1]
            moved = np.array([[x, 0, x / 2 - 0.5], [0, y, y / 2 - 0.5], [0, 0, 1.0]]) @ back
            source = resized(plane, height, width)
        other, seen = warped(source, shape, moved / moved[2, 2])
        laid.append(other)
    if seen.sum() < 100:
        return []
    words = []
    luma_here, luma_there = here[0][seen], laid[0][seen]
    gain = (luma_here.std() + 1) / (luma_there.std() + 1)
    ratio = (luma_here.mean() + 4) / (luma_there.mean() + 4)
    if ratio > 1.08:
        words.append("brighter")
    elif ratio < 0.93:
        words.append("darker")
    relative = gain / ratio if abs(np.log(ratio)) > 0.08 else gain
    if relative > 1.12:
        words.append("more contrast")
    elif relative < 0.88:
        words.append("less contrast")
    words += _colours([each[seen] for each in here], [each[seen] for each in laid])
    # a soft pass on both: the grain of storing says nothing
    sharper = finer(smooth(here[0]), smooth(laid[0]), seen, BLOCK)
    if sharper < 0.6:
        words.append("softer")
    elif sharper > 1.6:
        words.append("grainier")
    return words


def _channels(picture: np.ndarray) -> list[np.ndarray]:
    """Brightness, red against green, yellow against blue, at the size of comparison."""
    plane = small(luma(picture))
    if picture.ndim == 2:
        return [plane, np.zeros_like(plane), np.zeros_like(plane)]
    values = picture.astype(np.float32)
    red, green, blue = (np.ascontiguousarray(values[..., i]) for i in range(3))
    opposed = (red - green, 0.5 * (red + green) - blue)
    return [plane, *(resized(each, plane.shape[0], plane.shape[1]) for each in opposed)]


def _colours(here: list[np.ndarray], there: list[np.ndarray]) -> list[str]:
    strength = [np.hypot(each[1], each[2]) for each in (here, there)]
    if strength[1].mean() < 6:
        return []
    if strength[0].mean() < 0.2 * strength[1].mean():
        return ["without colour"]
    same = (here[1] * there[1] + here[2] * there[2]).sum()
    length = np.sqrt((strength[0] ** 2).sum() * (strength[1] ** 2).sum())
    return ["other colours"] if same < 0.85 * length else []
