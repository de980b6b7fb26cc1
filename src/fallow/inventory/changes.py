"""What was done to a picture to make a copy of it, in words."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from fallow.inventory.agreement import finer
from fallow.inventory.alignment import BLOCK, Compared
from fallow.inventory.keypoints import luma, resized, small, smooth
from fallow.inventory.registration import warped


class Laid(Protocol):
    """Two pictures laid over each other, as `fallow.inventory.copies` does it."""

    @property
    def first(self) -> int: ...
    @property
    def second(self) -> int: ...
    @property
    def mirrored(self) -> bool: ...
    @property
    def compared(self) -> Compared: ...


def original(
    one: np.ndarray, other: np.ndarray, pair: Laid, sizes: np.ndarray, worth: np.ndarray
) -> int:
    """The row of the two that the other was made of, as far as pictures tell.

    The original is the one with more to see, or without a frame, or with more pixels or colour,
    or with less burnt out, or less grain, or more detail; else the one worth more.
    """
    planes = small(luma(one)), small(luma(other))
    pixels = sizes[[pair.first, pair.second]].astype(np.float64).prod(axis=1)
    told = _second_is_original(planes, pair.compared.back, pair.mirrored, (one, other), pixels)
    if told is None:
        told = tuple(worth[pair.second]) > tuple(worth[pair.first])
    return pair.second if told else pair.first


def described(
    row: int, of: int, pair: Laid, copy: np.ndarray, kept: np.ndarray, sizes: np.ndarray
) -> str:
    """What was done to picture `of` to make picture `row` of it, whichever of the pair that is."""
    planes = small(luma(copy)), small(luma(kept))
    back = pair.compared.back  # from places in the second to places in the first, mirrored
    if row == pair.first:
        back = np.linalg.inv(back)
        if pair.mirrored:  # it is the other one that is mirrored now
            back = _flip(planes[1].shape[1]) @ back @ _flip(planes[0].shape[1])
    shown = _share(planes[1], planes[0], np.linalg.inv(back))
    words = ["mirrored"] if pair.mirrored else []
    words += _geometry(back, planes[0], planes[1], shown, _share(planes[0], planes[1], back))
    words += _size(back, planes[0], planes[1], sizes[row], sizes[of])
    words += _tones(back, copy, kept, pair.mirrored)
    if pair.compared.changed * pair.compared.written > 0.02:
        words.append("written over")
    return ", ".join(words) or "stored again"


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
    into_first: np.ndarray,
    mirrored: bool,
    pictures: tuple[np.ndarray, np.ndarray],
    pixels: np.ndarray,
) -> bool | None:
    in_first = _share(planes[1], planes[0], into_first)
    in_second = _share(planes[0], planes[1], np.linalg.inv(into_first))
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
    if min(colour) < 0.3 * max(colour) and max(colour) > 6:
        return colour[1] > colour[0]
    burnt = _burnt(planes[0]), _burnt(planes[1])
    lighter = abs(np.log((planes[0].mean() + 4) / (planes[1].mean() + 4)))
    steeper = abs(np.log((planes[0].std() + 1) / (planes[1].std() + 1)))
    # grain and blur, too, take from what is burnt, but leave the tones of the whole
    if (lighter > 0.08 or steeper > 0.2) and abs(burnt[0] - burnt[1]) > 0.01:
        return burnt[1] < burnt[0]
    (grain, detail), (other_grain, other_detail) = (_detail(plane) for plane in planes)
    calmer, livelier = np.log(grain / other_grain), np.log(detail / other_detail)
    if abs(calmer) > abs(livelier) + 0.4:  # noise adds most where all was calm, blur takes alike
        return bool(calmer > 0)
    return bool(livelier < 0) if abs(livelier) > 0.15 else None


def _detail(plane: np.ndarray) -> tuple[float, float]:
    """How much neighbours differ where a picture is calm, and where not, beside its contrast."""
    fine = plane - smooth(smooth(plane))
    height, width = (side // 8 * 8 for side in plane.shape)
    blocks = fine[:height, :width].reshape(height // 8, 8, width // 8, 8).std(axis=(1, 3))
    calm, lively = np.quantile(blocks, [0.1, 0.9]) / (plane.std() + 1)
    return float(calm) + 0.005, float(lively) + 0.005


def _burnt(plane: np.ndarray) -> float:
    """The share of a picture that is as dark or as light as can be: what lay there is lost."""
    return float(((plane < 2) | (plane > 253)).mean())


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
