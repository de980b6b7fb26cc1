"""Pictures of 16 bits a colour, in and out as PNG or TIFF, with their ICC profile and EXIF.

Pillow reduces such colours to 8 bits; nothing is lost here.
"""

# mypy: disable-error-code="assignment, operator"
from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from fallow.files import atomic_write
from fallow.images.decode import PIXEL_LIMIT
from fallow.problems import SourceProblem
from fallow.raw.tiff import read_tiff, write_tiff

_MAGIC = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
_KINDS = {channels: kind for kind, channels in _CHANNELS.items()}


@dataclass(frozen=True)
class Picture:
    """Pixels as stored, and what travels with them."""

    pixels: np.ndarray  # H W or H W C, uint8 or uint16
    icc: bytes = b""
    exif: bytes = b""


def read_picture(path: str | PathLike[str]) -> Picture:
    """A PNG or TIFF with all its bits.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "a.png"
    >>> write_picture(target, Picture(np.full((2, 3, 3), 513, np.uint16), icc=b"profile"))
    >>> read_picture(target).pixels[0, 0].tolist(), read_picture(target).icc
    ([513, 513, 513], b'profile')
    """
    path = Path(path)
    data = path.read_bytes()
    if data.startswith(_MAGIC):
        return _read_png(data, path.name)
    if data[:4] in (b"II*\0", b"MM\0*"):
        pixels, more = read_tiff(path)
        return Picture(pixels, **more)
    raise SourceProblem(f"{path.name} is neither PNG nor TIFF, which hold 16 bits a colour")


def write_picture(path: str | PathLike[str], picture: Picture) -> None:
    """As PNG or TIFF, by the ending of the name."""
    path = Path(path)
    pixels = picture.pixels
    if pixels.dtype not in (np.uint8, np.uint16):
        raise SourceProblem(f"pixels are written as uint8 or uint16, not {pixels.dtype}")
    if path.suffix.lower() in (".tif", ".tiff"):
        write_tiff(path, pixels, picture.icc, picture.exif)
    elif path.suffix.lower() == ".png":
        with atomic_write(path) as file:
            file.write(_png(picture))
    else:
        raise SourceProblem(f"{path.name}: 16-bit pictures end in .png, .tif or .tiff")


def srgb_profile() -> bytes:
    """The ICC profile that says a picture's colours are sRGB.

    >>> len(srgb_profile()) > 100, srgb_profile()[36:40]
    (True, b'acsp')
    """
    from PIL import ImageCms

    made = bytes(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    # bytes 24 to 35 say when it was made: a fixed day, so that equal pictures are equal files
    return made[:24] + struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + made[36:]


def eight(values: np.ndarray) -> np.ndarray:
    """Display values in 0...1 as 8 bits, rounded.

    >>> eight(np.array([-0.1, 0.5, 1.2])).tolist()
    [0, 128, 255]
    """
    return (np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)


def eight_truncated(values: np.ndarray) -> np.ndarray:
    """The same with the rest cut off, half a level darker, as some original programs have it.

    >>> eight_truncated(np.array([0.5, 1.0])).tolist()
    [127, 255]
    """
    return (np.clip(values, 0, 1) * 255).astype(np.uint8)


def sixteen(values: np.ndarray) -> np.ndarray:
    """Display values in 0...1 as 16 bits, rounded.

    >>> sixteen(np.array([0.5, 1.0])).tolist()
    [32768, 65535]
    """
    return (np.clip(values, 0, 1) * 65535 + 0.5).astype(np.uint16)


def eight_of(pixels: np.ndarray) -> np.ndarray:
    """Pixels of 16 bits as 8, rounded.

    >>> eight_of(np.array([128, 129, 65535], np.uint16)).tolist()
    [0, 1, 255]
    """
    # a table: a large picture has no room for wider numbers
    return ((np.arange(65536) * 255 + 32767) // 65535).astype(np.uint8)[pixels]


def _png(picture: Picture) -> bytes:
    pixels = picture.pixels if picture.pixels.ndim == 3 else picture.pixels[..., None]
    height, width, channels = pixels.shape
    depth = pixels.dtype.itemsize * 8
    rows = pixels.astype(pixels.dtype.newbyteorder(">")).reshape(height, -1).view(np.uint8)
    step = channels * depth // 8
    # differences to the pixel on the left pack best of what is cheap: filter 1 on every row
    filtered = np.empty((height, 1 + rows.shape[1]), np.uint8)
    filtered[:, 0] = 1
    filtered[:, 1 : 1 + step] = rows[:, :step]
    filtered[:, 1 + step :] = rows[:, step:] - rows[:, :-step]
    head = struct.pack(">IIBBBBB", width, height, depth, _KINDS[channels], 0, 0, 0)
    chunks = [(b"IHDR", head)]
    if picture.icc:
        chunks.append((b"iCCP", b"icc\0\0" + zlib.compress(picture.icc)))
    if picture.exif:
        chunks.append((b"eXIf", picture.exif.removeprefix(b"Exif\0\0")))
    chunks += [(b"IDAT", zlib.compress(filtered.tobytes(), 4)), (b"IEND", b"")]
    return _MAGIC + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def _read_png(data: bytes, name: str) -> Picture:
    parts: dict[bytes, bytes] = {}
    place = len(_MAGIC)
    while place + 8 <= len(data):
        length, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        body = data[place + 8 : place + 8 + length]
        parts[kind] = parts.get(kind, b"") + body if kind == b"IDAT" else body
        place += 12 + length
        if kind == b"IEND":
            break
    if b"IEND" not in parts or len(parts.get(b"IHDR", b"")) != 13:
        raise SourceProblem(f"{name} is cut off: the end of the file is missing")
    width, height, depth, colours, _, _, woven = struct.unpack(">IIBBBBB", parts[b"IHDR"])
    if depth not in (8, 16) or colours not in _CHANNELS or woven:
        raise SourceProblem(
            f"{name} is stored in a way not read here: save it as plain RGB or grey PNG of 16 bits"
        )
    if not 0 < width * height <= PIXEL_LIMIT:
        raise SourceProblem(f"{name} has {width:,} x {height:,} pixels, more than the limit")
    channels = _CHANNELS[colours]
    step = channels * depth // 8
    wanted = height * (1 + width * step)
    try:
        packed: Any = zlib.decompressobj().decompress(parts[b"IDAT"], wanted)
        icc = parts.get(b"iCCP", b"\0\0")
        icc = zlib.decompress(icc.split(b"\0", 1)[1][1:]) if icc != b"\0\0" else b""
    except zlib.error as error:
        raise SourceProblem(f"{name} is damaged: {error}") from None
    if len(packed) != wanted:
        raise SourceProblem(f"{name} is damaged: its pixels do not fill its size")
    rows = np.frombuffer(packed, np.uint8).reshape(height, -1)
    if rows[:, 0].max(initial=0) > 4:
        raise SourceProblem(f"{name} is damaged: it names a filter that does not exist")
    plain = _unfiltered(rows, step)
    values = plain.view(f">u{depth // 8}").reshape(height, width, channels)
    native = values.astype(np.uint8 if depth == 8 else np.uint16)
    return Picture(native[..., 0] if channels == 1 else native, icc, parts.get(b"eXIf", b""))


@njit(cache=True, nogil=True)
def _unfiltered(rows: np.ndarray, step: int) -> np.ndarray:
    height, width = rows.shape[0], rows.shape[1] - 1
    out = np.zeros((height, width), np.uint8)
    for y in range(height):
        kind = rows[y, 0]
        for x in range(width):
            left = np.int64(out[y, x - step]) if x >= step else 0
            up = np.int64(out[y - 1, x]) if y > 0 else 0
            corner = np.int64(out[y - 1, x - step]) if y > 0 and x >= step else 0
            guess = 0
            if kind == 1:
                guess = left
            elif kind == 2:
                guess = up
            elif kind == 3:
                guess = (left + up) // 2
            elif kind == 4:
                middle = left + up - corner
                a, b, c = abs(middle - left), abs(middle - up), abs(middle - corner)
                guess = left if a <= b and a <= c else (up if b <= c else corner)
            out[y, x] = (np.int64(rows[y, x + 1]) + guess) & 255
    return out
