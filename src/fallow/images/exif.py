"""EXIF: what its directories say of a picture, read with limits."""

from __future__ import annotations

import struct
from collections.abc import Callable

from fallow.images.segments import tidy

ENTRIES, DIRECTORIES = 512, 8  # of a directory, and how many of them
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 13: 4}
_WORDS = {
    0x010E: "title", 0x0132: "date", 0x013B: "creator", 0x8298: "rights", 0x9003: "date",
    0x010F: "make", 0x0110: "camera",
}  # fmt: skip
_OWNERS = {
    0xA430: "owner's name", 0xA431: "serial number", 0xA435: "serial number",
    0xC62F: "serial number", 0x9C9D: "author's name", 0xA420: "number of the picture",
}  # fmt: skip
_KEPT = (700, 33723, 34377)


class Exif:
    """The directories of an EXIF block, every offset checked against its length."""

    def __init__(self) -> None:
        self.fields: dict[str, str] = {}
        self.personal: list[str] = []
        self.raw: dict[int, bytes] = {}
        self.orientation = 1
        self._seen: set[int] = set()

    def read(self, data: bytes) -> None:
        """Fill the fields; a ValueError says where it is broken."""
        if data[:2] not in (b"II", b"MM"):
            raise ValueError("it does not begin as EXIF does")
        self.data, self.order = data, "<" if data[:2] == b"II" else ">"
        self._directory(struct.unpack_from(self.order + "I", data, 4)[0], self._main)
        make = self.fields.pop("make", "")
        if make and not self.fields.get("camera", "").startswith(make):
            self.fields["camera"] = f"{make} {self.fields.get('camera', '')}".strip()

    def _directory(self, start: int, use: Callable[[int, int, bytes], None]) -> None:
        if start in self._seen:
            raise ValueError("its directories run in a circle")
        self._seen.add(start)
        if len(self._seen) > DIRECTORIES:
            raise ValueError(f"it has more than {DIRECTORIES} directories")
        (count,) = struct.unpack_from(self.order + "H", self.data, start)
        if count > ENTRIES:
            raise ValueError(f"a directory has {count:,} entries, more than {ENTRIES}")
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, number = struct.unpack_from(self.order + "HHI", self.data, entry)
            size = _SIZES.get(kind, 0) * number
            place = entry + 8
            if size > 4:
                (place,) = struct.unpack_from(self.order + "I", self.data, place)
            if size and place + size <= len(self.data):
                use(tag, kind, self.data[place : place + size])

    def _main(self, tag: int, kind: int, value: bytes) -> None:
        if tag == 0x0112 and kind == 3:
            turn = struct.unpack(self.order + "H", value[:2])[0]
            self.orientation = turn if 1 <= turn <= 8 else 1
        elif tag in (0x8769, 0x8825) and kind in (4, 13):
            place = struct.unpack(self.order + "I", value[:4])[0]
            self._directory(place, self._main if tag == 0x8769 else self._position)
            self._located()
        elif tag in _KEPT:
            self.raw[tag] = value
        elif tag in _WORDS and kind == 2:
            if text := tidy(value.split(b"\0")[0].decode("utf-8", "replace")):
                self.fields[_WORDS[tag]] = text
        elif tag in _OWNERS and value.strip(b"\0 "):
            self.personal.append(_OWNERS[tag])
            if tag == 0x9C9D:
                self.fields.setdefault("creator", tidy(value.decode("utf-16-le", "replace")))
        elif tag == 0x927C:
            self.personal.append("maker's note, unread")

    def _position(self, tag: int, kind: int, value: bytes) -> None:
        if tag in (1, 3):
            self.raw[tag] = value[:1]
        elif tag in (2, 4) and kind == 5 and len(value) >= 24:
            parts = struct.unpack(self.order + "6I", value[:24])
            numbers = [a / b if b else 0.0 for a, b in zip(parts[::2], parts[1::2], strict=True)]
            self.raw[tag] = repr(numbers[0] + numbers[1] / 60 + numbers[2] / 3600).encode()

    def _located(self) -> None:
        for name, tag, negative in (("latitude", 2, b"S"), ("longitude", 4, b"W")):
            if tag in self.raw:
                sign = -1 if self.raw.get(tag - 1) == negative else 1
                self.fields[name] = f"{sign * float(self.raw[tag]):.6f}"
        if "latitude" in self.fields or "longitude" in self.fields:
            self.personal.append("GPS position")
