"""TIFF files: the tags of raw files and DNGs, 16-bit pictures in and out, mosaics out as DNG."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Mapping
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from fallow.files import atomic_write
from fallow.images.decode import BYTES_LIMIT
from fallow.problems import Problem, SourceProblem
from fallow.raw.sensor import Raw

_EXIF, _INSIDE = 34665, 330
_STRIPS, _COUNTS, _TILES = 273, 279, 324
_PROFILE = 34675
_BYTE, _TEXT, _SHORT, _LONG, _RATIONAL, _UNDEFINED, _SIGNED, _DOUBLE = 1, 2, 3, 4, 5, 7, 10, 12
_ABOUT = (271, 272, 305, 306, 315, 33432)  # make, model, software, time, artist, copyright
_EXPOSURE = (33434, 33437, 34855, 36867, 37386, 42034, 42036)  # time, stop, ISO, date, lens
_SIZE = {_SHORT: 2, _LONG: 4, _RATIONAL: 8, _SIGNED: 8, _DOUBLE: 8}  # of others: 1
_LETTER = {_SHORT: "H", _LONG: "I", _DOUBLE: "d"}

Tags = dict[int, tuple[int, Any]]  # number -> kind and values


def directories(data: bytes) -> list[dict[int, Any]]:
    """Tags by number: the first directory with EXIF's, then those inside it; none if no TIFF.

    >>> directories(b"not a TIFF file")
    []
    """
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    if data[:4] not in (b"II*\0", b"MM\0*"):
        return []
    file = io.BytesIO(data)

    def read(offset: int) -> dict[int, Any]:
        directory = ImageFileDirectory_v2(data[:8])
        file.seek(offset)
        with warnings.catch_warnings():  # of a cut file, which others will notice
            warnings.simplefilter("ignore")
            directory.load(file)
            return {tag: directory[tag] for tag in list(directory)}

    try:
        first = read(int.from_bytes(data[4:8], "little" if data[:2] == b"II" else "big"))
        if _EXIF in first:
            first = {**read(int(np.ravel(first[_EXIF])[0])), **first}
        inner = [read(int(offset)) for offset in np.ravel(first.get(_INSIDE, ()))]
    except Exception as error:  # a parser of hostile bytes: anything may come out
        raise SourceProblem(f"its tags cannot be read: {error}") from error
    return [first, *inner]


def numbers_of(value: Any) -> np.ndarray:
    """A tag's numbers or fractions as floats.

    >>> numbers_of((Fraction(1, 4), 3)).tolist()
    [0.25, 3.0]
    """
    return np.array([float(one) for one in np.ravel(np.array(value, object))], np.float64)


def exif_of(path: str | PathLike[str]) -> bytes:
    """What a raw file or DNG says of camera and exposure, as EXIF for a developed picture.

    The orientation becomes 1, as developed pictures are upright; a file without tags gives none.
    """
    from PIL import Image

    found = directories(Path(path).read_bytes())
    if not found:
        return b""
    exif = Image.Exif()
    inner = exif.get_ifd(_EXIF)
    for tag, value in found[0].items():
        if tag in _ABOUT and isinstance(value, str) and value.strip("\0 "):
            exif[tag] = value.strip("\0 ")
        elif tag in _EXPOSURE:
            inner[tag] = value
    exif[274] = 1
    return exif.tobytes()


# --- writing ---


def write_dng(path: str | PathLike[str], raw: Raw) -> None:
    """A Bayer mosaic as DNG, uncompressed, with levels, white balance, matrices and noise.

    >>> import tempfile
    >>> from fallow.raw.sensor import sensor
    >>> target = Path(tempfile.mkdtemp()) / "a.dng"
    >>> write_dng(target, Raw(np.arange(64, dtype=np.uint16).reshape(8, 8), sensor(white=63)))
    >>> directories(target.read_bytes())[0][50717]
    63
    """
    sensor = raw.sensor
    if sensor.pattern.shape != (2, 2):
        raise Problem(f"{raw.name} has no 2 x 2 pattern: only Bayer mosaics are written as DNG.")
    name = (sensor.camera or "unknown camera").encode("ascii", "replace")
    tags: Tags = {
        254: (_LONG, [0]),
        271: (_TEXT, name),
        272: (_TEXT, name),
        274: (_SHORT, [sensor.orientation]),
        33421: (_SHORT, [2, 2]),
        33422: (_BYTE, bytes(sensor.pattern.ravel().astype(np.uint8))),
        50706: (_BYTE, bytes([1, 4, 0, 0])),
        50707: (_BYTE, bytes([1, 1, 0, 0])),
        50708: (_TEXT, name),
        50713: (_SHORT, [2, 2]),
        50714: (_RATIONAL, sensor.black.ravel()),
        50717: (_LONG, [int(sensor.white)]),
    }
    if sensor.neutral is not None:
        tags[50728] = (_RATIONAL, sensor.neutral)
    # the warm light comes first; the codes are those of standard light A and of D65
    for place, kelvin in enumerate(sorted(sensor.matrices)[:2]):
        tags[50721 + place] = (_SIGNED, sensor.matrices[kelvin].ravel())
        tags[50778 + place] = (_SHORT, [_nearest_light(kelvin)])
    if sensor.noise:
        tags[51041] = (_DOUBLE, np.ravel(sensor.noise))
    if sensor.iso:
        tags[34855] = (_SHORT, [int(min(sensor.iso, 65535))])
    _write(path, np.ascontiguousarray(raw.mosaic, np.uint16), tags, photometric=32803)


def write_tiff(
    path: str | PathLike[str], pixels: np.ndarray, profile: bytes = b"", exif: bytes = b""
) -> None:
    """8- or 16-bit grey or RGB pixels, losslessly compressed, with ICC profile and EXIF.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "a.tif"
    >>> write_tiff(target, np.full((4, 6, 3), 40000, np.uint16))
    >>> read_tiff(target)[0][0, 0].tolist()
    [40000, 40000, 40000]
    """
    tags: Tags = {}
    if profile:
        tags[_PROFILE] = (_UNDEFINED, profile)
    said = directories(exif.removeprefix(b"Exif\0\0"))
    for tag, value in (said[0] if said else {}).items():
        if tag in _ABOUT and isinstance(value, str):
            tags[tag] = (_TEXT, value.encode("utf-8"))
    _write(path, pixels, tags, photometric=2 if pixels.ndim == 3 else 1, pack=True)


def _write(
    path: str | PathLike[str], pixels: np.ndarray, tags: Tags, photometric: int, pack: bool = False
) -> None:
    height, width = pixels.shape[:2]
    samples = 1 if pixels.ndim == 2 else pixels.shape[2]
    data = np.ascontiguousarray(pixels).astype(pixels.dtype.newbyteorder("<")).tobytes()
    if pack:
        data = zlib.compress(data, 6)
    every: Tags = {
        256: (_LONG, [width]),
        257: (_LONG, [height]),
        258: (_SHORT, [pixels.dtype.itemsize * 8] * samples),
        259: (_SHORT, [8 if pack else 1]),
        262: (_SHORT, [photometric]),
        _STRIPS: (_LONG, [8]),
        277: (_SHORT, [samples]),
        278: (_LONG, [height]),
        _COUNTS: (_LONG, [len(data)]),
        284: (_SHORT, [1]),
        **tags,
    }
    start = 8 + len(data) + len(data) % 2
    table, beyond = [], b""
    behind = start + 2 + 12 * len(every) + 4  # values longer than four bytes follow the table
    for tag, (kind, values) in sorted(every.items()):
        packed = _packed(kind, values)
        count = len(packed) // _SIZE.get(kind, 1)
        if len(packed) > 4:
            place = struct.pack("<I", behind + len(beyond))
            beyond += packed + b"\0" * (len(packed) % 2)
        else:
            place = packed.ljust(4, b"\0")
        table.append(struct.pack("<HHI", tag, kind, count) + place)
    with atomic_write(path) as file:
        file.write(struct.pack("<2sHI", b"II", 42, start) + data + b"\0" * (len(data) % 2))
        file.write(struct.pack("<H", len(table)) + b"".join(table) + b"\0" * 4 + beyond)


def _packed(kind: int, values: Any) -> bytes:
    if kind == _TEXT:
        return bytes(values) + b"\0"
    if kind in (_BYTE, _UNDEFINED):
        return bytes(values)
    if kind in (_RATIONAL, _SIGNED):
        pairs = [Fraction(float(value)).limit_denominator(1_000_000) for value in values]
        letter = "I" if kind == _RATIONAL else "i"
        return b"".join(struct.pack(f"<2{letter}", f.numerator, f.denominator) for f in pairs)
    return struct.pack(f"<{len(values)}{_LETTER[kind]}", *values)


def _nearest_light(kelvin: float) -> int:
    return 17 if abs(1 / kelvin - 1 / 2856) < abs(1 / kelvin - 1 / 6504) else 21


# --- reading pictures ---


def read_tiff(path: str | PathLike[str]) -> tuple[np.ndarray, dict[str, bytes]]:
    """Pixels of 8 or 16 bits as stored (H W or H W C), and the ICC profile if there is one.

    Pillow reads the colours of such files in 8 bits only. Compressions other than deflate are
    refused with their number.
    """
    name, data = Path(path).name, Path(path).read_bytes()
    try:
        found = directories(data)
    except SourceProblem as error:
        raise SourceProblem(f"{name} cannot be read: {error}") from error
    if not found:
        raise SourceProblem(f"{name} is not a TIFF file")
    return picture(data, found[0], name), (
        {"icc": bytes(found[0][_PROFILE])} if _PROFILE in found[0] else {}
    )


def picture(data: bytes, tags: Mapping[int, Any], name: str) -> np.ndarray:
    """The pixels a directory describes: whole strips, 8 or 16 bits, plain or deflated."""
    try:
        return _picture(data, tags, name)
    except (zlib.error, KeyError, IndexError, ValueError, TypeError, OverflowError) as error:
        raise SourceProblem(f"{name} is damaged: {error}") from error


def _picture(data: bytes, tags: Mapping[int, Any], name: str) -> np.ndarray:
    bits = {int(one) for one in np.ravel(tags.get(258, 1))}
    samples = int(np.ravel(tags.get(277, 1))[0])
    packing = int(np.ravel(tags.get(259, 1))[0])
    apart = int(np.ravel(tags.get(284, 1))[0]) != 1
    if not bits <= {8, 16} or len(bits) != 1 or apart or _TILES in tags or _STRIPS not in tags:
        raise SourceProblem(
            f"{name} is stored in a way not read here: save it as plain 16-bit TIFF"
        )
    if packing not in (1, 8, 32946):
        raise SourceProblem(
            f"{name} is compressed (TIFF compression {packing}): save it uncompressed or as zip"
        )
    height, width = int(np.ravel(tags[257])[0]), int(np.ravel(tags[256])[0])
    left = height * width * samples * max(bits) // 8  # what strips may swell to
    if not 0 < left <= BYTES_LIMIT:
        raise SourceProblem(f"{name} says it has {height} x {width} pixels: it is damaged")
    parts = []
    for start, count in zip(np.ravel(tags[_STRIPS]), np.ravel(tags[_COUNTS]), strict=True):
        part = data[int(start) : int(start) + int(count)]
        if len(part) < int(count):
            raise SourceProblem(f"{name} is cut off: the end of the file is missing")
        parts.append(part if packing == 1 else zlib.decompressobj().decompress(part, left + 1))
        left -= len(parts[-1])
        if left < 0:
            raise SourceProblem(f"{name} is damaged: it holds more than its size")
    order = "<" if data[:2] == b"II" else ">"
    kind = np.dtype(f"{order}u{bits.pop() // 8}")
    try:
        values = np.frombuffer(b"".join(parts), kind).reshape(height, width, samples)
    except ValueError:
        raise SourceProblem(f"{name} is damaged: its pixels do not fill its size") from None
    if int(np.ravel(tags.get(317, 1))[0]) == 2:  # differences to the pixel on the left
        values = np.cumsum(values, axis=1, dtype=kind.newbyteorder("="))
    native = np.ascontiguousarray(values.astype(kind.newbyteorder("=")))
    return native[..., 0] if samples == 1 else native
