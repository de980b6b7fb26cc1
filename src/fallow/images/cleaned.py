"""Image files without what they say of their picture, their pixels untouched."""

from __future__ import annotations

import re
import struct
import zlib

from fallow.images.metadata import metadata
from fallow.images.segments import jpeg_segments, png_chunks, webp_chunks

# what a picture needs of its file; all other segments and chunks only say something of it
_JPEG_KEPT = ((0xE0, b"JFIF\0"), (0xE2, b"ICC_PROFILE\0"), (0xEE, b"Adobe"))
_PNG_KEPT = (
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP",
    b"sBIT", b"bKGD", b"pHYs", b"acTL", b"fcTL", b"fdAT",
)  # fmt: skip
_WEBP_KEPT = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP")


def without_metadata(data: bytes) -> bytes:
    """The same file with its pixels, colours and turn, and nothing else; a ValueError if not known.

    Pixels are not decoded: they stay bit for bit. What hangs on behind the picture goes as well.

    >>> without_metadata(b"BM...")
    Traceback (most recent call last):
    ...
    ValueError: only JPEG, PNG and WebP can be cleaned without decoding them
    """
    turn = metadata(data).orientation
    if data.startswith(b"\xff\xd8"):
        return _clean_jpeg(data, turn)
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _clean_png(data, turn)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _clean_webp(data, turn)
    raise ValueError("only JPEG, PNG and WebP can be cleaned without decoding them")


def _clean_jpeg(data: bytes, turn: int) -> bytes:
    parts, start = [b"\xff\xd8"], 2
    if turn != 1:
        body = b"Exif\0\0" + _turn_alone(turn)
        parts.append(b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body)
    for marker, place, body in jpeg_segments(data):
        said = marker == 0xFE or 0xE0 <= marker < 0xF0
        kept = any(marker == m and body.startswith(head) for m, head in _JPEG_KEPT)
        if kept or not said:
            parts.append(data[place : place + 4 + len(body)])
        start = place + 4 + len(body)
    end = _end_of_jpeg(data, start)
    return b"".join([*parts, data[start:end]])


def _end_of_jpeg(data: bytes, start: int) -> int:
    """Where the picture ends: after its scans and what lies between them."""
    place = start
    while match := _MARKER.search(data, place):
        marker = data[match.start() + 1]
        if marker == 0xD9:
            return match.end()
        if match.end() + 2 > len(data):
            break
        place = match.end() + struct.unpack_from(">H", data, match.end())[0]
    raise ValueError("the end of the picture is missing")


_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # neither data nor a restart


def _clean_png(data: bytes, turn: int) -> bytes:
    parts = [data[:8]]
    for kind, body in png_chunks(data):
        if kind in _PNG_KEPT:
            parts.append(_png_chunk(kind, body))
        if kind == b"IHDR" and turn != 1:
            parts.append(_png_chunk(b"eXIf", _turn_alone(turn)))
        if kind == b"IEND":
            break
    return b"".join(parts)


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    check = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)


def _clean_webp(data: bytes, turn: int) -> bytes:
    chunks = [(kind, body) for kind, body in webp_chunks(data) if kind in _WEBP_KEPT]
    if turn != 1:
        chunks.append((b"EXIF", _turn_alone(turn)))
    parts = [b"WEBP"]
    for kind, body in chunks:
        if kind == b"VP8X":  # its flags say which chunks there are
            body = bytes([body[0] & ~0x0C | (0x08 if turn != 1 else 0)]) + body[1:]
        parts.append(kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2))
    whole = b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(whole)) + whole


def _turn_alone(turn: int) -> bytes:
    """EXIF that says which way up the picture is, and nothing else."""
    return b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, turn, 0, 0)
