"""From the bytes of a file to pixels, with limits: hostile bytes end in a plain reason."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
# what Pillow itself refuses; a larger picture wants tiling first
PIXEL_LIMIT = 178_956_970
BYTES_LIMIT = 1 << 30

_ORIENTATION = 0x0112
_SWAPPED = (5, 6, 7, 8)
# what a file that says how it is turned holds somewhere
_TURNING = {
    "PNG": (b"eXIf", b"Raw profile type exif", b"tiff:Orientation"),
    "JPEG": (b"Exif", b"tiff:Orientation"),
}


LIGHT = 1 << 15  # bytes of a picture that is sent as it is, at most


class Unreadable(Exception):
    """One file cannot be read; the message is the reason, without the file's name."""


@dataclass(frozen=True)
class Header:
    """What can be said of an image without decoding it; the size is that of the upright image."""

    width: int
    height: int
    format: str


def header(data: bytes) -> Header:
    """Upright size and format without decoding; a file cut short is found here too.

    >>> header(b"")
    Traceback (most recent call last):
    ...
    fallow.images.decode.Unreadable: the file is empty
    """
    image = _open(data)
    try:
        found = Header(*_upright_size(image, data), _format(image))
        suspicious = _ends_early(image, data)
    except Exception as error:  # a parser of hostile bytes: anything may come out
        raise Unreadable(_reason(error)) from error
    if suspicious:
        decode(data)  # only the decoder can tell a cut file from an odd one
    return found


def decode(data: bytes, side: int | None = None) -> np.ndarray:
    """RGB pixels, upright, the short side reduced to `side` but never enlarged.

    >>> decode(b"not an image at all")
    Traceback (most recent call last):
    ...
    fallow.images.decode.Unreadable: holds text, not an image
    """
    return _pixels(_open(data), data, side)


def shown(data: bytes, side: int | None, within: int) -> np.ndarray | bytes:
    """What `decode` gives; or the bytes where that would only make the same JPEG again.

    They are an upright JPEG that fits a square of `within`, is light, and ends as it should.

    >>> import io
    >>> from PIL import Image
    >>> file = io.BytesIO()
    >>> Image.new("RGB", (8, 8)).save(file, "JPEG")
    >>> shown(file.getvalue(), 8, 8) == file.getvalue(), shown(file.getvalue(), 4, 4).shape
    (True, (4, 4, 3))
    """
    image = _open(data)
    return data if _plain(image, data, within) else _pixels(image, data, side)


def _plain(image: Any, data: bytes, within: int) -> bool:
    return (
        len(data) <= LIGHT
        and image.format == "JPEG"
        and image.mode in ("RGB", "L")
        and max(image.size) <= within
        and _orientation(image, data) == 1
        and not _ends_early(image, data)
    )


def _pixels(image: Any, data: bytes, side: int | None) -> np.ndarray:
    from PIL import Image

    try:
        target = reduced_size(image.width, image.height, side)
        image.draft(None, target)  # a JPEG decodes at 1/2, 1/4, 1/8; others take no notice
        image.load()
        if _format(image) == "TIFF":  # Pillow turns a TIFF upright while it loads
            target = reduced_size(image.width, image.height, side)
        turn = _orientation(image, data)
        pixels = _eight_bit(image)
        if pixels.size != target:
            pixels = pixels.resize(target, Image.Resampling.BICUBIC, reducing_gap=3.0)
        if pixels.mode != "RGB":
            pixels = pixels.convert("RGB")
        return np.array(_turned(pixels, turn))  # H W 3
    except Exception as error:  # a parser of hostile bytes: anything may come out
        raise Unreadable(_reason(error)) from error


def decode_opacity(data: bytes) -> np.ndarray | None:
    """How opaque a picture is, upright, 0 to 255; None where it says nothing of it.  H W

    >>> import io
    >>> from PIL import Image
    >>> file = io.BytesIO()
    >>> Image.fromarray(np.full((1, 2, 4), 9, np.uint8)).save(file, "PNG")
    >>> decode_opacity(file.getvalue()).tolist()
    [[9, 9]]
    """
    image = _open(data)
    if image.mode not in ("RGBA", "LA", "PA", "RGBa", "La") and "transparency" not in image.info:
        return None
    try:
        image.load()
        turn = _orientation(image, data)
        return np.array(_turned(image.convert("RGBA").getchannel("A"), turn))
    except Exception as error:  # a parser of hostile bytes: anything may come out
        raise Unreadable(_reason(error)) from error


def tags(data: bytes) -> tuple[bytes, bytes]:
    """ICC profile and EXIF of an encoded picture; the EXIF calls it upright, as `decode` makes it.

    >>> import io
    >>> from PIL import Image
    >>> file = io.BytesIO()
    >>> Image.new("RGB", (2, 2)).save(file, "PNG", icc_profile=b"profile")
    >>> tags(file.getvalue())
    (b'profile', b'')
    """
    with _open(data) as image:
        profile = image.info.get("icc_profile") or b""
        try:
            exif = image.getexif()
            if not exif:
                return profile, b""
            exif[274] = 1
            return profile, exif.tobytes()
        except Exception:  # a parser of hostile bytes: what it cannot read is not carried on
            return profile, b""


def decode_mask(data: bytes) -> np.ndarray:
    """Integers as stored: palette index, 0/1 of a 1-bit file, 16 bits kept.

    A mask in colours comes back as 0xRRGGBB, one number for each colour.
    """
    image = _open(data)
    try:
        image.load()
        turn = _orientation(image, data)
        if image.mode in ("LA", "PA", "RGBA"):
            image = image.convert({"LA": "L", "PA": "P", "RGBA": "RGB"}[image.mode])
        if image.mode not in ("1", "L", "P", "I", "F", "RGB") and not image.mode.startswith("I;"):
            image = image.convert("RGB")
        values = np.array(_turned(image, turn))
    except Exception as error:  # a parser of hostile bytes: anything may come out
        raise Unreadable(_reason(error)) from error
    if values.ndim == 3:  # H W 3
        if (values == values[..., :1]).all():
            return np.ascontiguousarray(values[..., 0])
        red, green, blue = np.moveaxis(values.astype(np.int32), 2, 0)
        return red << 16 | green << 8 | blue
    if values.dtype == bool:
        return values.astype(np.uint8)
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise Unreadable("a mask with values that are not numbers")
        return np.rint(values).astype(np.int32)
    return values  # H W


def reduced_size(width: int, height: int, side: int | None) -> tuple[int, int]:
    """Width and height once the short side is at most `side`.

    >>> reduced_size(640, 480, 256), reduced_size(200, 100, 256), reduced_size(640, 480, None)
    ((341, 256), (200, 100), (640, 480))
    """
    short = min(width, height)
    if side is None or short <= side:
        return width, height
    return max(side, round(width * side / short)), max(side, round(height * side / short))


def to_uint8(values: np.ndarray) -> np.ndarray:
    """Any array of one image as uint8 RGB: bool, 8 or 16 bits, or float in 0..1 or 0..255.

    >>> to_uint8(np.array([[0, 65535]], np.uint16))[0, :, 0]
    array([  0, 255], dtype=uint8)
    """
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3 or values.shape[2] not in (1, 2, 3, 4) or 0 in values.shape:
        raise Unreadable(f"an array of shape {values.shape} is not an image (H W or H W C)")
    if values.dtype != np.uint8:
        values = _stretch(values)
    if values.shape[2] in (2, 4):  # the last channel is opacity: lay the image on white
        alpha = values[..., -1:].astype(np.float32) / 255
        values = np.rint(values[..., :-1] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(values, (*values.shape[:2], 3)))


def reduce_array(pixels: np.ndarray, side: int | None) -> np.ndarray:
    """What `decode(..., side)` does to a file, for pixels that are here already.  H W 3"""
    from PIL import Image

    height, width = pixels.shape[:2]
    target = reduced_size(width, height, side)
    if target == (width, height):
        return pixels
    small = Image.fromarray(pixels).resize(target, Image.Resampling.BICUBIC, reducing_gap=3.0)
    return np.array(small)


def _open(data: bytes) -> Any:
    """A Pillow image whose header has been read and found within the limits."""
    from PIL import Image

    if not data:
        raise Unreadable("the file is empty")
    if len(data) > BYTES_LIMIT:
        raise Unreadable(f"{len(data):,} bytes is more than the limit of {BYTES_LIMIT:,}")
    if data[:4] == b"RIFF" and int.from_bytes(data[4:8], "little") + 8 > len(data):
        raise Unreadable("truncated: the end of the file is missing")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.UnidentifiedImageError:
        raise Unreadable(_unknown(data)) from None
    except Image.DecompressionBombError:
        raise Unreadable(f"has more pixels than the limit of {PIXEL_LIMIT:,}") from None
    except Exception as error:  # a parser of hostile bytes: anything may come out
        raise Unreadable(_reason(error)) from error
    width, height = image.size
    if width < 1 or height < 1:
        raise Unreadable("has no pixels")
    if width * height > PIXEL_LIMIT:
        raise Unreadable(f"{width:,} x {height:,} pixels is more than the limit of {PIXEL_LIMIT:,}")
    return image


def _unknown(data: bytes) -> str:
    start = data[:512]
    if any(start.startswith(magic) for magic in _MAGIC):
        return "damaged: it starts like an image, but its header cannot be read"
    if b"\0" not in start and sum(byte < 9 for byte in start) == 0:
        try:
            start.decode("utf-8")
            return "holds text, not an image"
        except UnicodeDecodeError:
            pass  # not text: the general sentence below says what is wrong
    return "not an image of a known format (JPEG, PNG, WebP, TIFF, BMP, GIF)"


_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF")


def _reason(error: BaseException) -> str:
    if isinstance(error, Unreadable):
        return str(error)
    if isinstance(error, MemoryError):
        return "needs more memory than there is"
    text = " ".join(str(error).split())
    if "truncated" in text.lower() or isinstance(error, EOFError):
        return "truncated: the end of the file is missing"
    return f"damaged: {text or type(error).__name__}"


def _format(image: Any) -> str:
    return "JPEG" if image.format == "MPO" else str(image.format)


def _turned(image: Any, turn: int) -> Any:
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return image.transpose(turns[turn]) if turn in turns else image


def _orientation(image: Any, data: bytes) -> int:
    """The EXIF turn, 1 to 8; only asked where the file carries one, as asking costs a decoding."""
    if image.format in ("GIF", "BMP"):
        return 1
    if image.format in _TURNING and not any(mark in data for mark in _TURNING[image.format]):
        return 1
    try:
        turn = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # broken EXIF is no reason to refuse sound pixels: they stay as stored
        return 1
    return turn if isinstance(turn, int) and 1 <= turn <= 8 else 1


def _upright_size(image: Any, data: bytes) -> tuple[int, int]:
    width, height = image.size
    if image.format == "TIFF":  # whether Pillow has swapped them yet depends on its version
        width, height = int(image.tag_v2[256]), int(image.tag_v2[257])
    return (height, width) if _orientation(image, data) in _SWAPPED else (width, height)


def _ends_early(image: Any, data: bytes) -> bool:
    """Whether the end looks cut off; cheap, and wrong only on the side of suspicion."""
    name = _format(image)
    if name == "JPEG":
        return not data.rstrip(b"\0").endswith(b"\xff\xd9")
    if name == "PNG":
        return b"IEND" not in data[-64:]
    if name == "GIF":
        return not data.rstrip(b"\0").endswith(b";")
    if name == "WEBP":
        return False  # its own length field was compared when it was opened
    if name == "BMP":
        return int.from_bytes(data[2:6], "little") > len(data)
    tags = image.tag_v2
    for starts, counts in ((273, 279), (324, 325)):
        pairs = zip(tags.get(starts, ()), tags.get(counts, ()), strict=False)
        if any(start + count > len(data) for start, count in pairs):
            return True
    return 273 not in tags and 324 not in tags


def _eight_bit(image: Any) -> Any:
    """The image as L or RGB, 8 bits, opacity laid on white."""
    from PIL import Image

    if image.mode in ("RGB", "L") and "transparency" not in image.info:
        return image
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image)
        return Image.fromarray(_stretch(values))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        clear = image.convert("RGBA")
        white = Image.new("RGBA", clear.size, "white")
        return Image.alpha_composite(white, clear).convert("RGB")
    if image.mode == "1":
        return image.convert("L")
    if image.mode == "LAB":
        raise Unreadable("its colours are stored as LAB, which is not supported: save it as RGB")
    return image.convert("RGB")


def _stretch(values: np.ndarray) -> np.ndarray:
    """Numbers of any kind to 0..255 by what their type and range mean."""
    if values.dtype == bool:
        return values.astype(np.uint8) * 255
    if values.dtype == np.uint16:
        return ((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    if values.dtype.kind not in "iuf":
        raise Unreadable(f"an array of type {values.dtype} is not an image")
    numbers = values.astype(np.float64)
    if not np.isfinite(numbers).all():
        raise Unreadable("has values that are not numbers")
    low, high = float(numbers.min()), float(numbers.max())
    if low >= 0 and values.dtype.kind == "f" and high <= 1:
        numbers = numbers * 255
    elif low >= 0 and high <= 255:
        pass
    elif low >= 0 and high <= 65535 and values.dtype.kind != "f":
        numbers = numbers / 257
    else:  # no convention says what black and white are: use the darkest and the brightest
        numbers = (numbers - low) * (255 / max(high - low, 1e-12))
    return np.rint(numbers).astype(np.uint8)
