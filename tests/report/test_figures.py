"""Charts show the numbers they were given; colours are even; sheets hold every picture."""

from __future__ import annotations

import io
import json
import re
from html import unescape
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage.color import rgb2lab

from fallow.colours import colours, heat, palette
from fallow.report.figures import bar_chart, contact_sheet, line_chart, scatter, thin, ticks


def drawing(chart: str) -> ElementTree.Element:
    return ElementTree.fromstring(re.search(r"<svg.*</svg>", chart, re.S).group(0))


@given(
    st.floats(-1e6, 1e6), st.floats(1e-6, 1e6)
)  # fmt: skip
def test_ticks_are_few_even_and_inside(low: float, width: float) -> None:
    if low + width == low or width < 1e-9 * abs(low):
        return
    marks = ticks(low, low + width)
    assert 2 <= len(marks) <= 11
    assert marks[0] >= low - 1e-6 * width
    assert marks[-1] <= low + width * (1 + 1e-6)
    steps = np.diff(marks)
    assert np.allclose(steps, steps[0], rtol=1e-3)


def test_ticks_of_a_point() -> None:
    assert ticks(3.0, 3.0) == [3.0]


def test_line_chart_keeps_the_values() -> None:
    chart = line_chart({"a": ([0, 1, 2], [1.0, 4.0, 2.0]), "b": ([0, 2], [3.0, 3.5])}, "Loss")
    svg = drawing(chart)
    series = json.loads(svg.attrib["data-series"])
    assert [curve["name"] for curve in series] == ["a", "b"]
    assert series[0]["y"] == [1.0, 4.0, 2.0]
    up = series[0]["up"]
    assert up[1] < up[2] < up[0]  # higher values are higher up
    middle = (up[0] - up[2]) / (up[0] - up[1])
    assert middle == pytest.approx(1 / 3, abs=0.01)
    assert "a from 1 to 2; b from 3 to 3.5" in unescape(chart)


def test_line_chart_leaves_out_what_is_not_finite() -> None:
    chart = line_chart({"a": ([0, 1, 2, 3], [1.0, float("nan"), None, 2.0])}, "Loss")
    assert json.loads(drawing(chart).attrib["data-series"])[0]["x"] == [0.0, 3.0]
    assert "nan" not in chart


def test_line_chart_of_nothing_says_so() -> None:
    assert "No values yet." in line_chart({"a": ([], [])}, "Loss")


def test_axis_reaches_what_it_must_include() -> None:
    chart = line_chart({"speed": ([0, 1], [400.0, 410.0])}, "Speed", include=[0])
    labels = [text.text for text in drawing(chart).iter("text")]
    assert {"0", "200", "400"} <= set(labels)


def test_log_axis_puts_decades_at_equal_distance() -> None:
    chart = line_chart({"g": ([0, 1, 2], [1.0, 10.0, 100.0])}, "Gradient", log=True)
    up = json.loads(drawing(chart).attrib["data-series"])[0]["up"]
    assert up[0] - up[1] == pytest.approx(up[1] - up[2], abs=0.2)
    assert {"1", "10", "100"} <= {text.text for text in drawing(chart).iter("text")}


def test_chart_escapes_names() -> None:
    chart = line_chart({"<script>": ([0], [1.0])}, "<b>")
    assert "<script>" not in chart
    assert "<b>" not in chart
    assert "<script>" not in bar_chart({"<script>": 1.0}, "x")


def test_thinning_keeps_extremes_and_order() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=5000)
    x_kept, y_kept = thin(np.arange(5000.0), y)
    assert len(x_kept) <= 300
    assert y_kept.min() == y.min()
    assert y_kept.max() == y.max()
    assert (np.diff(x_kept) > 0).all()


def test_bars_are_as_long_as_their_values() -> None:
    chart = drawing(bar_chart({"a": 0.8, "b": 0.4, "gone": float("nan")}, "Accuracy"))
    widths = [float(bar.attrib["width"]) for bar in chart.iter("rect")]
    assert len(widths) == 2
    assert widths[0] == pytest.approx(2 * widths[1], abs=0.2)


def test_negative_bars_start_at_zero() -> None:
    left, right = drawing(bar_chart({"a": -1.0, "b": 1.0}, "Change")).iter("rect")
    assert float(left.attrib["x"]) + float(left.attrib["width"]) == pytest.approx(
        float(right.attrib["x"]), abs=0.2
    )


def test_scatter_colours_by_group() -> None:
    chart = scatter([0, 1, 2], [0, 1, np.nan], "Map", groups=["a", "b", "a"])
    fills = [dot.attrib["style"] for dot in drawing(chart).iter("circle")]
    assert len(fills) == 2
    assert fills[0] != fills[1]


def test_heat_colours_move_in_even_steps() -> None:
    ramp = colours(np.linspace(0, 1, 17))
    lab = rgb2lab(ramp[None])[0]  # another measure than the one that made the colours
    assert np.diff(lab[:, 0]).min() > 2  # always lighter
    assert lab[-1, 0] - lab[0, 0] > 55
    steps = np.sqrt((np.diff(lab, axis=0) ** 2).sum(-1))
    assert steps.max() / steps.min() < 2.5


def test_palette_colours_are_distinct_and_prefixes_agree() -> None:
    assert len(set(palette(24))) == 24
    assert palette(24)[:7] == palette(7)


def test_heat_follows_the_values_not_the_picture() -> None:
    picture = np.full((2, 2, 3), 100, np.uint8)
    laid = heat(picture, [[0, 1], [1, 0]], opacity=1)
    assert (laid[0, 0] == laid[1, 1]).all()
    assert (laid[0, 1] == colours(1.0)).all()
    assert (heat(picture, np.zeros((2, 2))) == heat(picture, np.ones((2, 2)))).all()
    assert (
        heat(picture, np.ones((2, 2)), 0, 2)[0, 0] != heat(picture, np.ones((2, 2)))[0, 0]
    ).any()


def test_contact_sheet_places_each_picture_in_its_cell() -> None:
    red = np.zeros((20, 10, 3), np.uint8)
    red[..., 0] = 255
    buffer = io.BytesIO()
    Image.new("RGB", (10, 10), (0, 0, 255)).save(buffer, "PNG")
    sheet = np.asarray(contact_sheet([red, buffer.getvalue(), red], columns=2, cell=20, gap=2))
    assert sheet.shape == (46, 46, 3)
    assert sheet[12, 12].tolist() == [255, 0, 0]
    assert sheet[12, 4].tolist() != [255, 0, 0]  # a tall picture is centred, not stretched
    assert sheet[12, 34].tolist() == [0, 0, 255]
    assert sheet[34, 12].tolist() == [255, 0, 0]
