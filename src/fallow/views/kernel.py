"""The compiled part of the views: drawing parameters, and rendering one view after the other.

Everything compiled sits here. A view is made in a scratch of a few planes that stays in the
processor's cache: rows are filtered vertically as they lie in memory (long runs of bytes, which
the compiler vectorises), then horizontally into one plane per colour; colour, blur and the
normalising, interleaving store follow. Per-row loops take unsigned offsets instead of slices:
a slice counts references, which costs more than a short row, and signed indices may be negative.
"""

# mypy: disable-error-code="no-untyped-def, call-overload, assignment"
from __future__ import annotations

import math

import numpy as np
from numba import njit

from fallow.views import colour as _colour
from fallow.views import random as _random

# no "nnan/ninf": a crop outside the image divides nothing, but comparisons must stay honest
_FAST = {"contract", "reassoc", "nsz", "arcp"}
_options = {"cache": True, "nogil": True, "error_model": "numpy"}

_mix = njit(inline="always")(_random.mix)
_to_unit = njit(inline="always")(_random.to_unit)
_compose = njit(cache=True, nogil=True)(_colour.compose)
_STEP = np.uint64(0x9E3779B97F4A7C15)

# where each number of a view comes from; fixed for ever, or old seeds mean new views
_PLACE_X, _PLACE_Y, _FLIP, _ROTATE, _SHEAR = 0, 1, 2, 3, 4
_JITTER, _ORDER, _FACTOR, _GREY = 5, 6, 7, 11
_BLUR, _SIGMA, _SOLARISE, _TRY = 12, 13, 14, 16


@njit(inline="always")
def _uniform(state, slot):
    return _to_unit(_mix(state + np.uint64(slot + 1) * _STEP))


@njit(**_options)
def _crop_box(table, state, height, width):
    """left, top, width, height of the crop: ten tries, then the nearest allowed shape, centred."""
    if table[7] > 0:
        side = table[7] * min(height, width)
        return (width - side) / 2, (height - side) / 2, side, side
    if table[21] > 0:
        side = max(1.0, np.rint(table[21] * min(height, width)))
        left = math.floor(_uniform(state, _PLACE_X) * (width - side + 1))
        top = math.floor(_uniform(state, _PLACE_Y) * (height - side + 1))
        return left, top, side, side
    whole = float(height * width)
    for attempt in range(10):
        u = _uniform(state, _TRY + 2 * attempt)
        target = whole * (table[1] + (table[2] - table[1]) * u)
        u = _uniform(state, _TRY + 2 * attempt + 1)
        ratio = math.exp(table[3] + (table[4] - table[3]) * u)
        w = np.rint(math.sqrt(target * ratio))
        h = np.rint(math.sqrt(target / ratio))
        if 0 < w <= width and 0 < h <= height:
            left = math.floor(_uniform(state, _PLACE_X) * (width - w + 1))
            top = math.floor(_uniform(state, _PLACE_Y) * (height - h + 1))
            return left, top, w, h
    w, h = float(width), float(height)
    if w / h < table[5]:
        h = min(h, max(1.0, np.rint(w / table[5])))
    elif w / h > table[6]:
        w = min(w, max(1.0, np.rint(h * table[6])))
    return float((width - int(w)) // 2), float((height - int(h)) // 2), w, h


@njit(**_options)
def draw(
    key, rows, heights, widths, tables,
    geometry, factors, order, grey, sigma, solarise, mixing, pull,
):  # fmt: skip
    """Fill the parameters (V B ...) of every view of every image."""
    for view in range(tables.shape[0]):
        table = tables[view]
        for item in range(rows.shape[0]):
            state = _mix(_mix(key + np.uint64(rows[item]) + _STEP) + np.uint64(view) + _STEP)
            size = table[0]
            left, top, w, h = _crop_box(table, state, heights[item], widths[item])
            a, b, c, d = w / size, 0.0, 0.0, h / size
            if _uniform(state, _FLIP) < table[8]:
                a = -a
            if table[9] != 0 or table[10] != 0:
                turn = table[9] * (2 * _uniform(state, _ROTATE) - 1)
                slant = math.tan(table[10] * (2 * _uniform(state, _SHEAR) - 1))
                cosine, sine = math.cos(turn), math.sin(turn)
                a, b, c, d = (
                    cosine * a, (cosine * slant - sine) * d,
                    sine * a, (sine * slant + cosine) * d,
                )  # fmt: skip
            middle = (size - 1) / 2
            out = geometry[view, item]
            out[0, 0], out[0, 1] = a, b
            out[1, 0], out[1, 1] = c, d
            out[0, 2] = left + (w - 1) / 2 - (a + b) * middle
            out[1, 2] = top + (h - 1) / 2 - (c + d) * middle

            factor = factors[view, item]
            factor[0] = factor[1] = factor[2] = 1.0
            factor[3] = 0.0
            order[view, item] = int(_uniform(state, _ORDER) * 24)
            if _uniform(state, _JITTER) < table[15]:
                for which in range(3):
                    low = max(0.0, 1 - table[11 + which])
                    high = 1 + table[11 + which]
                    factor[which] = low + (high - low) * _uniform(state, _FACTOR + which)
                factor[3] = table[14] * (2 * _uniform(state, _FACTOR + 3) - 1)
            grey[view, item] = _uniform(state, _GREY) < table[16]
            sigma[view, item] = 0.0
            if _uniform(state, _BLUR) < table[17]:
                u = _uniform(state, _SIGMA)
                sigma[view, item] = table[18] + (table[19] - table[18]) * u
            solarise[view, item] = _uniform(state, _SOLARISE) < table[20]
            _compose(
                factor, order[view, item], grey[view, item], mixing[view, item], pull[view, item]
            )


@njit(**_options)
def _tap_count(step, extent):
    return min(np.int64(math.ceil(2 * max(1.0, abs(step)))), extent)


@njit(**_options)
def _taps(step, start, extent, count, first, weights):
    """Triangle filter around start + i step, as wide as the step when shrinking.

    Fills the first source index of each output and its weights (count, outputs); a position
    outside the source gets weights of zero (black).
    """
    reach = max(1.0, abs(step))
    for i in range(first.shape[0]):
        at = start + i * step
        begin = min(max(np.int64(math.floor(at - reach)) + 1, 0), extent - count)
        first[i] = begin
        total = 0.0
        if -0.5001 <= at <= extent - 0.4999:
            for k in range(count):
                weight = max(0.0, 1.0 - abs(begin + k - at) / reach)
                weights[k, i] = weight
                total += weight
        scale = 1.0 / total if total > 0 else 0.0
        for k in range(count):
            weights[k, i] = weights[k, i] * scale if total > 0 else 0.0


@njit(fastmath=_FAST, **_options)
def _two_rows(out, length, image, a, b, wa, wb):
    for j in range(length):
        out[j] = wa * np.float32(image[a + j]) + wb * np.float32(image[b + j])


@njit(fastmath=_FAST, **_options)
def _add_two_rows(out, length, image, a, b, wa, wb):
    for j in range(length):
        out[j] += wa * np.float32(image[a + j]) + wb * np.float32(image[b + j])


@njit(fastmath=_FAST, **_options)
def _two_columns(row, a, b, first, u, v, red, green, blue, here):
    one, two = np.uint64(1), np.uint64(2)
    for i in range(np.uint64(first.shape[0])):
        x, y = first[i] + a, first[i] + b
        red[here + i] = u[i] * row[x] + v[i] * row[y]
        green[here + i] = u[i] * row[x + one] + v[i] * row[y + one]
        blue[here + i] = u[i] * row[x + two] + v[i] * row[y + two]


@njit(fastmath=_FAST, **_options)
def _add_two_columns(row, a, b, first, u, v, red, green, blue, here):
    one, two = np.uint64(1), np.uint64(2)
    for i in range(np.uint64(first.shape[0])):
        x, y = first[i] + a, first[i] + b
        red[here + i] += u[i] * row[x] + v[i] * row[y]
        green[here + i] += u[i] * row[x + one] + v[i] * row[y + one]
        blue[here + i] += u[i] * row[x + two] + v[i] * row[y + two]


@njit(**_options)
def _resample(
    image, height, width, step_x, start_x, step_y, start_y, out_w, planes, row, firsts, weights
):
    """Axis-aligned resampling of image (H*W*3 bytes) into planes (3, out_h*out_w)."""
    out_h = planes.shape[1] // out_w
    count_x, count_y = _tap_count(step_x, width), _tap_count(step_y, height)
    first_x, first_y = firsts[:out_w], firsts[out_w : out_w + out_h]
    # one row of weights per tap, and one of zeros to make odd counts even
    weight_x = weights[: (count_x + 1) * out_w].reshape(count_x + 1, out_w)
    weight_y = weights[weight_x.size : weight_x.size + (count_y + 1) * out_h]
    weight_y = weight_y.reshape(count_y + 1, out_h)
    weight_x[count_x] = 0
    weight_y[count_y] = 0
    _taps(step_x, start_x, width, count_x, first_x, weight_x)
    _taps(step_y, start_y, height, count_y, first_y, weight_y)
    low = min(first_x[0], first_x[out_w - 1])
    length = np.uint64(3) * (max(first_x[0], first_x[out_w - 1]) + np.uint64(count_x) - low)
    for i in range(out_w):
        first_x[i] = np.uint64(3) * (first_x[i] - low)
    stride = np.uint64(3 * width)
    red, green, blue = planes[0], planes[1], planes[2]
    for y in range(out_h):
        for k in range(0, count_y, 2):
            a = (first_y[y] + np.uint64(k)) * stride + np.uint64(3) * low
            b = a + stride if k + 1 < count_y else a
            if k == 0:
                _two_rows(row, length, image, a, b, weight_y[k, y], weight_y[k + 1, y])
            else:
                _add_two_rows(row, length, image, a, b, weight_y[k, y], weight_y[k + 1, y])
        here = np.uint64(y * out_w)
        for k in range(0, count_x, 2):
            a = np.uint64(3 * k)
            b = a + np.uint64(3) if k + 1 < count_x else a
            u, v = weight_x[k], weight_x[k + 1]
            if k == 0:
                _two_columns(row, a, b, first_x, u, v, red, green, blue, here)
            else:
                _add_two_columns(row, a, b, first_x, u, v, red, green, blue, here)


@njit(**_options)
def _resample_affine(image, height, width, geometry, size, planes):
    """Any affine map: shrink the covered part of the source first, so that what is left of the
    map never shrinks, then sample that bilinearly. Outside the source it is black."""
    a, b, x0 = geometry[0, 0], geometry[0, 1], geometry[0, 2]
    c, d, y0 = geometry[1, 0], geometry[1, 1], geometry[1, 2]
    fx, fy = max(1.0, math.hypot(a, b)), max(1.0, math.hypot(c, d))
    p, q, r, s = a / fx, b / fx, c / fy, d / fy
    trace, determinant = p * p + q * q + r * r + s * s, p * s - q * r
    most = math.sqrt((trace + math.sqrt(max(0.0, trace * trace - 4 * determinant**2))) / 2)
    fx, fy = fx * max(1.0, most), fy * max(1.0, most)

    last = size - 1
    left = max(0.0, math.floor(x0 + min(0.0, a * last) + min(0.0, b * last) - fx))
    right = min(width - 1.0, math.ceil(x0 + max(0.0, a * last) + max(0.0, b * last) + fx))
    top = max(0.0, math.floor(y0 + min(0.0, c * last) + min(0.0, d * last) - fy))
    bottom = min(height - 1.0, math.ceil(y0 + max(0.0, c * last) + max(0.0, d * last) + fy))
    if right < left or bottom < top:
        planes[:] = 0
        return
    columns = max(1, int((right - left) / fx) + 1)
    rows = max(1, int((bottom - top) / fy) + 1)
    small = np.empty((3, rows * columns), np.float32)
    count = columns * (_tap_count(fx, width) + 1) + rows * (_tap_count(fy, height) + 1)
    _resample(
        image, height, width, fx, left, fy, top, columns, small,
        np.empty(3 * width, np.float32), np.empty(columns + rows, np.uint64),
        np.empty(count, np.float32),
    )  # fmt: skip
    for i in range(size):
        x, y = b * i + x0, d * i + y0  # of the row's first pixel
        first, last = _span(0, size, a, x, width)
        first, last = _span(first, last, c, y, height)
        row = planes[:, i * size : (i + 1) * size]
        row[:, :first] = 0
        row[:, last:] = 0
        _bilinear_row(
            small[0], small[1], small[2],
            row[0, first:last], row[1, first:last], row[2, first:last],
            (a * first + x - left) / fx, a / fx, (c * first + y - top) / fy, c / fy, columns, rows,
        )  # fmt: skip


@njit(**_options)
def _span(first, last, step, start, side):
    """Of the pixels first ... last of a row, those that show the source along one of its sides."""
    while first < last and not -0.5001 <= step * first + start <= side - 0.4999:
        first += 1
    while first < last and not -0.5001 <= step * (last - 1) + start <= side - 0.4999:
        last -= 1
    return first, last


@njit(fastmath=_FAST, **_options)
def _bilinear_row(r, g, b, to_r, to_g, to_b, u0, step_u, v0, step_v, columns, rows):
    one = np.float32(1)
    for j in range(to_r.shape[0]):
        u = min(max(u0 + step_u * j, 0.0), columns - 1.0)
        v = min(max(v0 + step_v * j, 0.0), rows - 1.0)
        ui, vi = np.int64(u), np.int64(v)
        du, dv = np.float32(u - ui), np.float32(v - vi)
        at = np.uint64(vi * columns + ui)
        beside = np.uint64(ui + 1 < columns)
        below = np.uint64(columns if vi + 1 < rows else 0)
        up = (one - dv) * (one - du)
        up_right, down, down_right = (one - dv) * du, dv * (one - du), dv * du
        for source, target in ((r, to_r), (g, to_g), (b, to_b)):
            target[j] = (
                source[at] * up + source[at + beside] * up_right
                + source[at + below] * down + source[at + below + beside] * down_right
            )  # fmt: skip


@njit(fastmath=_FAST, **_options)
def _mean(values):
    total = 0.0
    for start in range(0, values.shape[0], 1024):
        part = np.float32(0)
        block = values[start : start + 1024]
        for i in range(block.shape[0]):
            part += block[i]
        total += part
    return total / values.shape[0]


@njit(fastmath=_FAST, **_options)
def _colour_row(r, g, b, m):
    m00, m01, m02, m03 = m[0], m[1], m[2], m[3]
    m10, m11, m12, m13 = m[4], m[5], m[6], m[7]
    m20, m21, m22, m23 = m[8], m[9], m[10], m[11]
    low, high = np.float32(0), np.float32(255)
    for i in range(r.shape[0]):
        x, y, z = r[i], g[i], b[i]
        r[i] = min(max(m00 * x + m01 * y + m02 * z + m03, low), high)
        g[i] = min(max(m10 * x + m11 * y + m12 * z + m13, low), high)
        b[i] = min(max(m20 * x + m21 * y + m22 * z + m23, low), high)


@njit(fastmath=_FAST, **_options)
def _spread(out, c, a1, b1, a2, b2, a3, b3, k0, k1, k2, k3):
    for i in range(out.shape[0]):
        out[i] = k0 * c[i] + k1 * (a1[i] + b1[i]) + k2 * (a2[i] + b2[i]) + k3 * (a3[i] + b3[i])


@njit(fastmath=_FAST, **_options)
def _add_spread(out, a1, b1, a2, b2, a3, b3, k1, k2, k3):
    for i in range(out.shape[0]):
        out[i] += k1 * (a1[i] + b1[i]) + k2 * (a2[i] + b2[i]) + k3 * (a3[i] + b3[i])


@njit(**_options)
def blur_radius(sigma):
    """Taps beyond three sigma weigh less than half a grey level in 255 and are left out."""
    return int(3 * sigma + 0.5)


@njit(**_options)
def _blur_sides(plane, out, size, kernel, radius):
    """The horizontal pass where it reaches over the left and right edges."""
    for y in range(size):
        line = plane[y * size : (y + 1) * size]
        for side in range(2 * radius):
            x = side if side < radius else size - 1 - (side - radius)
            if 0 <= x < size:
                total = kernel[0] * line[x]
                for k in range(1, radius + 1):
                    total += kernel[k] * (line[max(x - k, 0)] + line[min(x + k, size - 1)])
                out[y * size + x] = total


@njit(**_options)
def _convolve(out, source, step, kernel, reach):
    """Symmetric taps `step` apart over a long run; `out` starts `reach` steps into `source`."""
    at = reach * step
    _spread(
        out, source[at:],
        source[at - step :], source[at + step :],
        source[at - 2 * step :], source[at + 2 * step :],
        source[at - 3 * step :], source[at + 3 * step :],
        kernel[0], kernel[1], kernel[2], kernel[3],
    )  # fmt: skip
    for k in range(4, reach, 3):
        _add_spread(
            out,
            source[at - k * step :], source[at + k * step :],
            source[at - (k + 1) * step :], source[at + (k + 1) * step :],
            source[at - (k + 2) * step :], source[at + (k + 2) * step :],
            kernel[k], kernel[k + 1], kernel[k + 2],
        )  # fmt: skip


@njit(**_options)
def _blur(plane, size, sigma, kernel, passed):
    """Separable Gaussian in place, edges continued. Both passes run over the whole plane at once:
    across as if it were one long row (the sides are then put right), down with rows repeated
    above and below. Taps go in triples, padded by zeros."""
    radius = blur_radius(sigma)
    reach = 3 * ((radius + 2) // 3)
    kernel[: reach + 1] = 0
    total = 1.0
    for k in range(1, radius + 1):
        total += 2 * math.exp(-0.5 * (k / sigma) ** 2)
    for k in range(radius + 1):
        kernel[k] = math.exp(-0.5 * (k / sigma) ** 2) / total
    count = size * size
    first = reach * size
    middle = passed[first : first + count]
    if count > 2 * reach:
        _convolve(middle[reach : count - reach], plane, 1, kernel, reach)
    _blur_sides(plane, middle, size, kernel, reach)
    for k in range(reach):
        passed[k * size : (k + 1) * size] = middle[:size]
        passed[first + count + k * size : first + count + (k + 1) * size] = middle[count - size :]
    _convolve(plane, passed, size, kernel, reach)


@njit(fastmath=_FAST, **_options)
def _solarise(values):
    for i in range(values.shape[0]):
        values[i] = np.float32(255) - values[i] if values[i] >= np.float32(128) else values[i]


@njit(fastmath=_FAST, **_options)
def _store(r, g, b, out, scale, shift):
    s0, s1, s2 = scale[0], scale[1], scale[2]
    t0, t1, t2 = shift[0], shift[1], shift[2]
    for i in range(r.shape[0]):
        out[3 * i] = r[i] * s0 + t0
        out[3 * i + 1] = g[i] * s1 + t1
        out[3 * i + 2] = b[i] * s2 + t2


@njit(**_options)
def render(
    pixels, offsets, heights, widths, positions, geometry, mixing, pull, coloured,
    sigma, solarise, scale, shift, size, start, stop, out,
):  # fmt: skip
    """Render items start..stop of (V B), counted view-major, into out (V*B, size*size*3)."""
    batch = positions.shape[0]
    widest = np.int64(1)
    tallest = np.int64(1)
    taps = np.int64(1)
    reach = np.int64(0)
    for item in range(start, stop):
        view, image = item // batch, item % batch
        position = positions[image]
        width, height = np.int64(widths[position]), np.int64(heights[position])
        widest, tallest = max(widest, width), max(tallest, height)
        matrix = geometry[view, image]
        taps = max(taps, _tap_count(matrix[0, 0], width) + _tap_count(matrix[1, 1], height))
        reach = max(reach, blur_radius(sigma[view, image]) + 3)
    planes = np.empty((3, size * size), np.float32)
    passed = np.empty(size * (size + 2 * reach), np.float32)
    kernel = np.empty(reach + 1, np.float32)
    row = np.empty(3 * widest, np.float32)
    firsts = np.empty(2 * size, np.uint64)
    weights = np.empty(size * (taps + 2), np.float32)
    final = np.empty(12, np.float32)
    for item in range(start, stop):
        view, image = item // batch, item % batch
        position = positions[image]
        height, width = np.int64(heights[position]), np.int64(widths[position])
        source = pixels[offsets[position] : offsets[position] + 3 * height * width]
        matrix = geometry[view, image]
        if matrix[0, 1] == 0 and matrix[1, 0] == 0:
            _resample(
                source, height, width, matrix[0, 0], matrix[0, 2], matrix[1, 1], matrix[1, 2],
                size, planes, row, firsts, weights,
            )  # fmt: skip
        else:
            _resample_affine(source, height, width, matrix, size, planes)
        if coloured[view, image]:
            means = (_mean(planes[0]), _mean(planes[1]), _mean(planes[2]))
            for i in range(3):
                offset = 0.0
                for j in range(3):
                    final[4 * i + j] = mixing[view, image, i, j]
                    offset += pull[view, image, i, j] * means[j]
                final[4 * i + 3] = offset
            _colour_row(planes[0], planes[1], planes[2], final)
        if blur_radius(sigma[view, image]) > 0:
            for k in range(3):
                _blur(planes[k], size, sigma[view, image], kernel, passed)
        if solarise[view, image]:
            for k in range(3):
                _solarise(planes[k])
        _store(planes[0], planes[1], planes[2], out[item], scale, shift)
