"""The parts image files are made of, and the texts in them."""

from __future__ import annotations

import struct
from collections.abc import Iterator

LARGEST = 1 << 20  # bytes of a part that describes a picture: more is no description
LONGEST = 2000  # letters of one value


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Marker, place and body of every segment before the first scan."""
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # padding
            place += 1
            continue
        if marker in (0xD9, 0xDA):
            return
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:
            place += 2
            continue
        (length,) = struct.unpack_from(">H", data, place + 2)
        yield marker, place, data[place + 4 : place + 2 + length]
        place += 2 + max(length, 2)


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and body of every chunk."""
    place = 8
    while place + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        yield data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        place += 12 + length


def webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and body of every chunk of a RIFF file."""
    place = 12
    while place + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, place + 4)
        yield data[place : place + 4], data[place + 8 : place + 8 + length]
        place += 8 + length + length % 2


def tidy(text: str) -> str:
    """A text on one line, and not too long.

    >>> tidy("Ann\\0 \\n Bob")
    'Ann Bob'
    """
    return " ".join(text.replace("\0", " ").split())[:LONGEST]
