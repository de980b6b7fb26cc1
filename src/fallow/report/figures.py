"""Figures without a plotting package: SVG charts, heat colours and contact sheets."""

from __future__ import annotations

import html
import io
import json
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from fallow.colours import palette
from fallow.report.page import Html, element, finite, join, show

# one drawing size for all charts: close to a phone's width, so text keeps its size there
WIDTH, HEIGHT = 420, 250
TOP, BOTTOM, RIGHT = 14, 40, 14
POINTS = 300  # a curve longer than this is thinned; no screen shows more

Points = tuple[Sequence[float], Sequence[float]]


# --- axes ---------------------------------------------------------------------------------------


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers inside low…high, about `count` of them.

    >>> ticks(0, 10)
    [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    >>> ticks(0.12, 0.31)
    [0.15, 0.2, 0.25, 0.3]
    """
    if not high > low:
        return [low]
    rough = (high - low) / count
    unit = 10.0 ** math.floor(math.log10(rough))
    step = min((m * unit for m in (1, 2, 5, 10)), key=lambda s: abs(math.log(s / rough)))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    places = max(0, -math.floor(math.log10(step) + 1e-9))
    return [round(k * step, places + 1) for k in range(first, last + 1)]


def label(value: float) -> str:
    """A tick as short text.

    >>> [label(value) for value in (0, 0.25, 1500, 2e6, 1e-5)]
    ['0', '0.25', '1.5k', '2M', '1e-05']
    """
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:g}M"
    if size >= 1e3:
        return f"{value / 1e3:g}k"
    return f"{value:.6g}"


class _Axes:
    """The plotting area: maps values to drawing units and draws its own frame."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float], log: bool = False) -> None:
        self.x, self.y = _widened(x), _widened(y)
        places = _log_ticks(*self.y) if log else ticks(*self.y)
        self.y_ticks = {place: label(10**place if log else place) for place in places}
        self.left = 22 + 6.6 * max(map(len, self.y_ticks.values()), default=1)
        self.right, self.top, self.bottom = WIDTH - RIGHT, TOP, HEIGHT - BOTTOM

    def across(self, value: ArrayLike) -> NDArray[np.float64]:
        share = (np.asarray(value, float) - self.x[0]) / (self.x[1] - self.x[0])
        return np.round(self.left + share * (self.right - self.left), 1)

    def up(self, value: ArrayLike) -> NDArray[np.float64]:
        share = (np.asarray(value, float) - self.y[0]) / (self.y[1] - self.y[0])
        return np.round(self.bottom - share * (self.bottom - self.top), 1)

    def frame(self, x_label: str, y_label: str) -> Html:
        parts = []
        for tick, name in self.y_ticks.items():
            y = float(self.up(tick))
            parts.append(_line(self.left, y, self.right, y, "grid"))
            parts.append(_text(self.left - 6, y + 4, name, "end"))
        for tick in ticks(*self.x):
            x = float(self.across(tick))
            parts.append(_line(x, self.bottom, x, self.bottom + 4, "axis"))
            parts.append(_text(x, self.bottom + 17, label(tick), "middle"))
        parts.append(_line(self.left, self.bottom, self.right, self.bottom, "axis"))
        parts.append(_text((self.left + self.right) / 2, HEIGHT - 6, x_label, "middle", "name"))
        middle = (self.top + self.bottom) / 2
        turned = f"rotate(-90 10 {middle:g})"
        parts.append(_text(10, middle + 3, y_label, "middle", "name", transform=turned))
        return join(parts)


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten inside low…high (themselves powers), with 2 and 5 between when few."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    steps = (1, 2, 5) if len(powers) < 4 else (1,)
    marks = [power + math.log10(step) for power in powers for step in steps]
    return [mark for mark in marks if low <= mark <= high]


def _widened(span: tuple[float, float]) -> tuple[float, float]:
    low, high = span
    if high > low:
        return span
    room = abs(low) * 0.1 or 1.0
    return low - room, high + room


def _span(values: Sequence[NDArray[np.float64]], room: float = 0.0) -> tuple[float, float]:
    whole = np.concatenate([*values, np.empty(0)])
    if not len(whole):
        return 0.0, 1.0
    low, high = float(whole.min()), float(whole.max())
    return low - room * (high - low), high + room * (high - low)


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Html:
    return element("line", x1=f"{x1:g}", y1=f"{y1:g}", x2=f"{x2:g}", y2=f"{y2:g}", class_=kind)


def _text(x: float, y: float, text: str, anchor: str, kind: str = "tick", **more: object) -> Html:
    return element("text", text, x=f"{x:g}", y=f"{y:g}", text_anchor=anchor, class_=kind, **more)


def _chart(
    title: str, summary: str, names: Sequence[str], *drawing: object, **more: object
) -> Html:
    """The figure around a drawing: heading, legend, picture."""
    keys = [
        element("li", element("i", style=f"background:{colour}"), name)
        for name, colour in zip(names, palette(max(len(names), 1)), strict=False)
    ]
    picture = element(
        "svg",
        element("title", f"{title}. {summary}"),
        *drawing,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        class_="chart",
        **more,
    )
    return element(
        "figure",
        element("figcaption", title),
        element("ul", *keys, class_="legend") if len(names) > 1 else None,
        picture,
        class_="chart",
    )


# --- charts -------------------------------------------------------------------------------------


def thin(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray, NDArray]:
    """A long curve with fewer points that keeps its lows and its peaks.

    >>> y = np.where(np.arange(10_000) == 777, 5.0, 0.0)
    >>> thinned = thin(np.arange(10_000.0), y)
    >>> len(thinned[0]) <= 300, float(thinned[1].max())
    (True, 5.0)
    """
    if len(x) <= POINTS:
        return x, y
    edges = np.linspace(0, len(x), POINTS // 2 + 1).astype(int)
    kept = set()
    for start, stop in pairwise(edges.tolist()):
        kept |= {start + int(y[start:stop].argmin()), start + int(y[start:stop].argmax())}
    chosen = sorted(kept)
    return x[chosen], y[chosen]


def line_chart(
    series: Mapping[str, Points],
    title: str,
    *,
    x_label: str = "minutes",
    y_label: str = "",
    log: bool = False,
    include: Sequence[float] = (),
) -> Html:
    """Curves over a common x; values that are missing or not finite are left out.

    `include` names values the y axis must reach, such as 0 for a rate.

    >>> 'role="img"' in line_chart({"loss": ([0, 1, 2], [5.0, 2.0, 1.5])}, "Loss")
    True
    """
    curves: dict[str, tuple[NDArray, NDArray]] = {}
    for name, points in series.items():
        x_values, y_values = (np.array(values, float) for values in points)
        usable = np.isfinite(x_values) & np.isfinite(y_values) & ((y_values > 0) | (not log))
        curves[name] = thin(x_values[usable], y_values[usable])
    shown = {name: np.log10(y) if log else y for name, (_, y) in curves.items()}
    across_span = _span([x for x, _ in curves.values()])
    reached = np.log10(include) if log and len(include) else np.array(include, float)
    up_span = _span(list(shown.values()), room=0.04)
    up_span = float(min([up_span[0], *reached])), float(max([up_span[1], *reached]))
    axes = _Axes(across_span, up_span, log)
    drawing, ends = [], []
    for (name, (x, y)), colour in zip(curves.items(), palette(max(len(curves), 1)), strict=False):
        if not len(x):
            continue
        across, up = axes.across(x).tolist(), axes.up(shown[name]).tolist()
        path = "M" + "L".join(f"{a:g} {u:g}" for a, u in zip(across, up, strict=True))
        drawing.append(element("path", d=path, style=f"stroke:{colour}", class_="curve"))
        if len(x) < 30:
            drawing += [
                element("circle", cx=f"{a:g}", cy=f"{u:g}", r=2.5, style=f"fill:{colour}")
                for a, u in zip(across, up, strict=True)
            ]
        ends.append(f"{name} from {show(float(y[0]))} to {show(float(y[-1]))}")
    readout = [
        {"name": name, "x": x.tolist(), "y": y.tolist(), "at": axes.across(x).tolist(),
         "up": axes.up(shown[name]).tolist()}
        for name, (x, y) in curves.items()
        if len(x)
    ]  # fmt: skip
    return _chart(
        title,
        "; ".join(ends) or "No values yet.",
        list(series),
        axes.frame(x_label, y_label),
        *drawing,
        element("g", class_="cursor"),
        data_series=json.dumps(_rounded(readout)),
        data_unit=x_label,
        tabindex=0,
    )


def _rounded(readout: list[dict]) -> list[dict]:
    return [
        {
            key: [float(f"{v:.4g}") if key in "xy" else v for v in part] if key != "name" else part
            for key, part in curve.items()
        }
        for curve in finite(readout)
    ]


def bar_chart(values: Mapping[str, float], title: str, *, x_label: str = "") -> Html:
    """Horizontal bars, so that long names stay readable.

    >>> "k-NN" in bar_chart({"k-NN": 0.81, "raw pixels": 0.42}, "Accuracy")
    True
    """
    known = {name: float(v) for name, v in values.items() if v is not None and math.isfinite(v)}
    longest = max((len(name) for name in known), default=0)
    left = min(16 + 6.4 * longest, WIDTH * 0.45)
    low, high = min([0.0, *known.values()]), max([0.0, *known.values()])
    low, high = (low, high) if high > low else (0.0, 1.0)
    room = WIDTH - left - 64
    zero = left - low / (high - low) * room
    parts = [_line(zero, 6, zero, 10 + 26 * len(known), "axis")]
    for row, (name, value) in enumerate(known.items()):
        y = 10 + 26 * row
        end = left + (value - low) / (high - low) * room
        short = name if len(name) <= 26 else name[:25] + "…"
        parts += [
            _text(left - 8, y + 13, short, "end", "tick"),
            element(
                "rect", x=f"{min(zero, end):.1f}", y=y, width=f"{abs(end - zero):.1f}", height=18,
                rx=2, style=f"fill:{palette(1)[0]}",
            ),
            _text(max(zero, end) + 6, y + 13, str(show(value)), "start", "value"),
        ]  # fmt: skip
    height = 14 + 26 * max(len(known), 1) + (20 if x_label else 0)
    if x_label:
        parts.append(_text(left + room / 2, height - 4, x_label, "middle", "name"))
    summary = "; ".join(f"{name} {show(value)}" for name, value in known.items())
    chart = _chart(title, summary or "No values yet.", [], *parts)
    return Html(chart.replace(f"0 0 {WIDTH} {HEIGHT}", f"0 0 {WIDTH} {height}", 1))


def scatter(
    x: ArrayLike,
    y: ArrayLike,
    title: str,
    *,
    groups: Sequence[object] | None = None,
    x_label: str = "",
    y_label: str = "",
) -> Html:
    """Points, coloured by group when there are groups.

    >>> scatter([0, 1], [1, 0], "Map", groups=["a", "b"]).count("<circle")
    2
    """
    across, up = np.asarray(x, float), np.asarray(y, float)
    usable = np.isfinite(across) & np.isfinite(up)
    names = list(dict.fromkeys(str(group) for group in groups)) if groups is not None else ["all"]
    codes = [names.index(str(group)) for group in groups] if groups is not None else [0] * len(up)
    spans = [_span([values[usable]], room=0.04) for values in (across, up)]
    axes = _Axes(spans[0], spans[1])
    fill = palette(max(len(names), 1))
    radius = 3.2 if len(up) < 300 else 1.8
    at, height = axes.across(across), axes.up(up)
    dots = [
        element("circle", cx=f"{at[i]:g}", cy=f"{height[i]:g}", r=radius,
                style=f"fill:{fill[codes[i]]}", class_="dot")
        for i in np.flatnonzero(usable)
    ]  # fmt: skip
    frame = axes.frame(x_label, y_label)
    return _chart(title, f"{len(dots):,} points.", names, frame, *dots)


def contact_sheet(
    pictures: Sequence[bytes | NDArray[np.uint8]], *, columns: int = 8, cell: int = 96, gap: int = 4
) -> Image.Image:
    """Pictures (encoded or H W 3 arrays) in rows, each fitted into a square cell.

    >>> contact_sheet([np.zeros((4, 8, 3), np.uint8)] * 5, columns=3, cell=16, gap=2).size
    (56, 38)
    """
    rows = math.ceil(len(pictures) / columns)
    size = (columns * (cell + gap) + gap, rows * (cell + gap) + gap)
    sheet = Image.new("RGB", size, (244, 242, 236))
    for place, source in enumerate(pictures):
        opened = Image.open(io.BytesIO(source)) if isinstance(source, bytes) else None
        picture = (opened or Image.fromarray(np.asarray(source))).convert("RGB")
        scale = cell / max(picture.size)
        fitted = picture.resize(
            (max(1, round(picture.width * scale)), max(1, round(picture.height * scale))),
            Image.Resampling.LANCZOS,
        )
        x = gap + place % columns * (cell + gap) + (cell - fitted.width) // 2
        y = gap + place // columns * (cell + gap) + (cell - fitted.height) // 2
        sheet.paste(fitted, (x, y))
    return sheet


def inline_image(picture: Image.Image | NDArray[np.uint8], alt: str, quality: int = 82) -> Html:
    """A picture inside the page itself.

    >>> inline_image(np.zeros((8, 8, 3), np.uint8), "black").startswith('<img src="data:image/jpeg')
    True
    """
    from base64 import b64encode

    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=quality)
    address = f"data:image/jpeg;base64,{b64encode(buffer.getvalue()).decode()}"
    return element("img", src=Html(address), alt=html.unescape(alt), loading="lazy")
