"""Sketches from files: SVG, stroke JSON, or a picture of lines, all as strokes of points."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
from numba import njit
from scipy import ndimage

from fallow.files import plain_xml
from fallow.images.decode import Unreadable, decode, decode_opacity
from fallow.images.sketches import EmptySketch, simplified
from fallow.problems import SourceProblem

ENDINGS = (".svg", ".json", ".png", ".jpg", ".jpeg")
CURVE = 12  # points a curve becomes
LARGEST = 512  # long side at which lines of a picture are followed
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_COMMAND = re.compile(r"([MmLlHhVvCcSsQqTtAaZz])([^MmLlHhVvCcSsQqTtAaZz]*)")
Strokes = list[np.ndarray]


def read_sketch(file: str | os.PathLike[str]) -> Strokes:
    """The strokes of a file, each n 2 with x to the right and y down, in the order drawn.

    SVG and JSON keep the order of the pen; from a picture, lines are followed from left to right.
    """
    path = Path(file)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceProblem(f"the sketch {path} cannot be read: {error.strerror}") from error
    return strokes_in(data, path.name)


def strokes_in(data: bytes, name: str) -> Strokes:
    """The strokes in a file's bytes; its name says what kind it is.

    >>> [one.tolist() for one in strokes_in(b"[[[0, 0], [4, 3]]]", "a.json")]
    [[[0.0, 0.0], [4.0, 3.0]]]
    """
    ending = Path(name).suffix.lower()
    if ending not in ENDINGS:
        raise SourceProblem(f"{name} is no sketch fallow reads: give SVG, PNG, JPEG or stroke JSON")
    try:
        if ending == ".svg":
            found = of_svg(plain_xml(data))
        elif ending == ".json":
            found = of_json(json.loads(data))
        else:
            found = of_picture(decode(data), decode_opacity(data))
    except (Unreadable, ValueError, TypeError, KeyError, IndexError) as error:
        raise SourceProblem(f"the sketch {name} cannot be read: {error}") from error
    found = [one for one in found if len(one) and np.isfinite(one).all()]
    if not found:
        raise EmptySketch(f"nothing is drawn in the sketch {name}: draw at least one line")
    return found


def of_json(held: Any) -> Strokes:
    """Lists of points, lists of x and of y as Quick, Draw! has them, or either under a name.

    >>> [one.tolist() for one in of_json({"drawing": [[[0, 4, 5], [1, 3, 9]]]})]
    [[[0.0, 1.0], [4.0, 3.0], [5.0, 9.0]]]
    """
    if isinstance(held, dict):
        if "drawing" in held:
            return [_columns(one) for one in held["drawing"]]
        held = held.get("strokes", held.get("lines"))
    if not isinstance(held, list):
        raise ValueError("it holds no list of strokes")
    return [_points(one) for one in held]


def _points(stroke: Any) -> np.ndarray:
    if isinstance(stroke, dict):
        stroke = stroke.get("points", stroke.get("path", []))
    rows = [(p["x"], p["y"]) if isinstance(p, dict) else (p[0], p[1]) for p in stroke]
    return np.array(rows, float).reshape(-1, 2)


def _columns(stroke: Any) -> np.ndarray:
    return np.stack([np.array(stroke[0], float), np.array(stroke[1], float)], 1)


# --- SVG ------------------------------------------------------------------------------------------


def of_svg(root: Element) -> Strokes:
    """Paths, lines, polygons, rectangles, circles and ellipses of an SVG, transforms applied."""
    return [one for one in _below(root, np.eye(3)) if len(one)]


def _below(node: Element, outer: np.ndarray) -> Iterator[np.ndarray]:
    map = outer @ _transform(node.get("transform", ""))
    kind = node.tag.rsplit("}", 1)[-1]
    if kind in ("defs", "clipPath", "mask", "symbol", "pattern"):
        return
    for points in _shape(kind, node):
        yield points @ map[:2, :2].T + map[:2, 2]
    for child in node:
        yield from _below(child, map)


def _shape(kind: str, node: Element) -> Iterator[np.ndarray]:
    def at(*names: str) -> list[float]:
        return [float((_NUMBER.findall(node.get(name, "0")) or [0])[0]) for name in names]

    if kind == "path":
        yield from of_path(node.get("d", ""))
    elif kind in ("polyline", "polygon"):
        numbers = [float(x) for x in _NUMBER.findall(node.get("points", ""))]
        points = np.array(numbers[: len(numbers) // 2 * 2]).reshape(-1, 2)
        yield np.concatenate([points, points[:1]]) if kind == "polygon" else points
    elif kind == "line":
        yield np.array(at("x1", "y1", "x2", "y2")).reshape(2, 2)
    elif kind == "rect":
        x, y, width, height = at("x", "y", "width", "height")
        corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height), (x, y)]
        if _stroked(node):
            yield np.array(corners)
    elif kind in ("circle", "ellipse"):
        x, y = at("cx", "cy")
        wide, high = at("r", "r") if kind == "circle" else at("rx", "ry")
        angles = np.linspace(0, 2 * np.pi, 2 * CURVE + 1)
        yield np.stack([x + wide * np.cos(angles), y + high * np.sin(angles)], 1)


def _stroked(node: Element) -> bool:
    """Whether a rectangle is drawn: a sheet of paper is filled and has no line."""
    style = node.get("style", "")
    said = re.search(r"(?:^|;)\s*stroke\s*:\s*([^;]+)", style)
    return (said[1].strip() if said else node.get("stroke", "none")) != "none"


def _transform(text: str) -> np.ndarray:
    whole = np.eye(3)
    for name, inside in re.findall(r"(\w+)\s*\(([^)]*)\)", text):
        n = [float(x) for x in _NUMBER.findall(inside)]
        one = np.eye(3)
        if name == "matrix" and len(n) == 6:
            one[:2] = np.array(n).reshape(3, 2).T
        elif name == "translate" and n:
            one[:2, 2] = n[0], n[1] if len(n) > 1 else 0.0
        elif name == "scale" and n:
            one[0, 0], one[1, 1] = n[0], n[1] if len(n) > 1 else n[0]
        elif name == "rotate" and n:
            angle = math.radians(n[0])
            turn = np.array(
                [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
            )
            middle = np.array(n[1:3]) if len(n) >= 3 else np.zeros(2)
            one[:2, :2], one[:2, 2] = turn, middle - turn @ middle
        elif name == "skewX" and n:
            one[0, 1] = math.tan(math.radians(n[0]))
        elif name == "skewY" and n:
            one[1, 0] = math.tan(math.radians(n[0]))
        whole = whole @ one
    return whole


_TAKES = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "S": 4, "Q": 4, "T": 2, "A": 7}


def of_path(text: str) -> Iterator[np.ndarray]:
    """The strokes of an SVG path, curves as points.

    >>> [one.tolist() for one in of_path("M0 0 L4 0 v3 z m1,1 h2")]
    [[[0.0, 0.0], [4.0, 0.0], [4.0, 3.0], [0.0, 0.0]], [[1.0, 1.0], [3.0, 1.0]]]
    """
    here = start = np.zeros(2)
    line: list[np.ndarray] = []
    handle: np.ndarray | None = None  # of the curve before
    before = ""
    for letter, inside in _COMMAND.findall(text):
        kind, relative = letter.upper(), letter.islower()
        if kind == "Z":
            line.append(start)
            here = start
            yield np.array(line)
            line, before = [], "Z"
            continue
        numbers = (
            _arc_numbers(inside) if kind == "A" else [float(x) for x in _NUMBER.findall(inside)]
        )
        takes = _TAKES[kind]
        for k in range(0, len(numbers) - takes + 1, takes):
            part = np.array(numbers[k : k + takes])
            base = here if relative else np.zeros(2)
            if kind == "M" and k == 0:
                if len(line) > 1:
                    yield np.array(line)
                here = start = base + part
                line, before = [here], "M"
                continue
            if not line:
                line = [here]
            if kind in "ML":
                points, handle = [base + part], None
            elif kind == "H":
                points, handle = [np.array([base[0] + part[0], here[1]])], None
            elif kind == "V":
                points, handle = [np.array([here[0], base[1] + part[0]])], None
            elif kind == "A":
                points, handle = _arc(here, part[:5], base + part[5:]), None
            else:
                knots = list(base + part.reshape(-1, 2))
                if kind in "ST":  # begins as the curve before ended
                    same = before in ("CS" if kind == "S" else "QT") and handle is not None
                    knots.insert(0, 2 * here - handle if same else here)  # type: ignore[operator]
                points, handle = _curve([here, *knots]), knots[-2]
            line += points
            here, before = points[-1], kind
    if len(line) > 1:
        yield np.array(line)


def _arc_numbers(text: str) -> list[float]:
    """Numbers of arcs, whose two flags may be written without a space."""
    found: list[float] = []
    place = 0
    while place < len(text):
        flag = len(found) % 7 in (3, 4)
        match = re.compile(r"[01]").search(text, place) if flag else _NUMBER.search(text, place)
        if match is None:
            break
        found.append(float(match[0]))
        place = match.end()
    return found


def _curve(knots: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Points on a Bezier curve of any degree, without its first."""
    share = np.linspace(0, 1, CURVE + 1)[1:, None]
    level = [np.broadcast_to(knot, (CURVE, 2)) for knot in knots]
    while len(level) > 1:
        level = [(1 - share) * a + share * b for a, b in pairwise(level)]
    return list(level[0])


def _arc(first: np.ndarray, how: np.ndarray, last: np.ndarray) -> list[np.ndarray]:
    """Points on an elliptic arc between two points, without the first."""
    wide, high, degrees, large, sweep = how
    if not wide or not high or (first == last).all():
        return [last]
    wide, high = abs(wide), abs(high)
    angle = math.radians(degrees)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    x, y = turn @ (first - last) / 2
    grow = math.sqrt(max(1.0, (x / wide) ** 2 + (y / high) ** 2))
    wide, high = wide * grow, high * grow
    below = (wide * y) ** 2 + (high * x) ** 2
    root = math.sqrt(max(0.0, (wide * high) ** 2 / below - 1))
    root = root if bool(large) != bool(sweep) else -root
    middle = root * np.array([wide * y / high, -high * x / wide])
    begin = math.atan2((y - middle[1]) / high, (x - middle[0]) / wide)
    end = math.atan2((-y - middle[1]) / high, (-x - middle[0]) / wide)
    way = (end - begin) % (2 * math.pi)
    way = way if sweep else way - 2 * math.pi
    angles = begin + way * np.linspace(0, 1, CURVE + 1)[1:]
    laid = np.stack([wide * np.cos(angles), high * np.sin(angles)], 1) + middle
    return list(laid @ turn + (first + last) / 2)


# --- pictures of lines ----------------------------------------------------------------------------


def of_picture(pixels: np.ndarray, opacity: np.ndarray | None = None) -> Strokes:
    """The lines of a picture (H W 3), thinned and followed; dark on light or light on dark.

    >>> paper = np.full((40, 40, 3), 255, np.uint8)
    >>> paper[18:21, 5:35] = 0
    >>> [len(one) > 1 for one in of_picture(paper)]
    [True]
    """
    step = math.ceil(max(pixels.shape[:2]) / LARGEST)
    grey = pixels.mean(2)
    if opacity is not None and opacity.min() < 128 < opacity.max():
        grey = 255.0 - opacity  # what is opaque is drawn
    small = ndimage.uniform_filter(grey, step)[step // 2 :: step, step // 2 :: step]
    if np.ptp(small) < 32:
        return []
    dark = small < _between(small)
    marked = dark if dark.mean() <= 0.5 else ~dark
    thin = np.pad(_thinned(np.pad(marked, 1).astype(np.uint8)), 1)
    lines = _followed(thin)
    kept = [simplified((line - 2.0) * step, 1.0 * step) for line in lines]
    return sorted((one for one in kept if len(one) > 1), key=lambda one: tuple(one.min(0)))


def _between(grey: np.ndarray) -> float:
    """The level that parts dark from light best."""
    counts = np.bincount(grey.clip(0, 255).astype(np.uint8).ravel(), minlength=256).astype(float)
    below = counts.cumsum()
    sums = (counts * np.arange(256)).cumsum()
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(np.nan_to_num(apart).argmax()) + 0.5


@njit(cache=True, nogil=True)
def _thinned(plane: np.ndarray) -> np.ndarray:
    """Zhang and Suen: marks worn down from both sides until lines are one pixel wide."""
    rows = np.array([-1, -1, 0, 1, 1, 1, 0, -1])
    columns = np.array([0, 1, 1, 1, 0, -1, -1, -1])
    gone = np.empty((plane.size, 2), np.int64)
    around = np.empty(8, np.int64)
    changed = True
    while changed:
        changed = False
        for half in range(2):
            count = 0
            for r in range(1, plane.shape[0] - 1):
                for c in range(1, plane.shape[1] - 1):
                    if not plane[r, c]:
                        continue
                    total = 0
                    for k in range(8):
                        around[k] = plane[r + rows[k], c + columns[k]]
                        total += around[k]
                    if total < 2 or total > 6:
                        continue
                    rises = 0
                    for k in range(8):
                        if around[k] == 0 and around[(k + 1) % 8] == 1:
                            rises += 1
                    if rises != 1:
                        continue
                    if half == 0:
                        first = around[0] * around[2] * around[4]
                        second = around[2] * around[4] * around[6]
                    else:
                        first = around[0] * around[2] * around[6]
                        second = around[0] * around[4] * around[6]
                    if first == 0 and second == 0:
                        gone[count, 0], gone[count, 1] = r, c
                        count += 1
            for k in range(count):
                plane[gone[k, 0], gone[k, 1]] = 0
            changed = changed or count > 0
    return plane


def _followed(thin: np.ndarray) -> Strokes:
    """Lines of one pixel's width as points (x, y): from ends first, then closed ones."""
    left = {(int(r), int(c)) for r, c in np.argwhere(thin)}
    # straight steps before slanting ones, so that corners are not cut
    steps = [(0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)]

    def near(place: tuple[int, int]) -> list[tuple[int, int]]:
        return [p for r, c in steps if (p := (place[0] + r, place[1] + c)) in left]

    ends = sorted((p for p in left if len(near(p)) == 1), key=lambda p: (p[1], p[0]))
    lines = []
    queue = ends + sorted(left, key=lambda p: (p[1], p[0]))
    for start in queue:
        if start not in left:
            continue
        line, here = [start], start
        left.discard(start)
        while following := near(here):
            here = min(following, key=lambda p: _bend(line, p))
            left.discard(here)
            line.append(here)
        if np.hypot(line[0][0] - line[-1][0], line[0][1] - line[-1][1]) < 2 and len(line) > 4:
            line.append(line[0])
        lines.append(np.array(line, float)[:, ::-1])
    return lines


def _bend(line: list[tuple[int, int]], place: tuple[int, int]) -> float:
    """How much a line would turn to go on to a place; the way of its last few points counts."""
    if len(line) < 2:
        return 0.0
    back = line[max(0, len(line) - 5)]
    way = (line[-1][0] - back[0], line[-1][1] - back[1])
    step = (place[0] - line[-1][0], place[1] - line[-1][1])
    along = way[0] * step[0] + way[1] * step[1]
    return -along / (math.hypot(*way) * math.hypot(*step) + 1e-9)
