"""IPTC: the records that agencies keep in a picture's file."""

from __future__ import annotations

import struct

from fallow.images.segments import tidy

_RECORDS = {5: "title", 55: "date", 80: "creator", 105: "title", 110: "credit", 116: "rights"}


def read_iptc(data: bytes, fields: dict[str, str], personal: list[str]) -> None:
    """Add what its records say to fields, and what of it is personal."""
    place, encoding = data.find(b"\x1c"), "latin-1"
    while place >= 0 and place + 5 <= len(data) and data[place] == 0x1C:
        record, number, length = struct.unpack_from(">BBH", data, place + 1)
        if length & 0x8000:
            raise ValueError("a record is longer than IPTC allows")
        value = data[place + 5 : place + 5 + length]
        if (record, number) == (1, 90):
            encoding = "utf-8" if value == b"\x1b%G" else encoding
        elif record == 2 and number in _RECORDS:
            text = tidy(value.decode(encoding, "replace"))
            name = _RECORDS[number]
            if text and name == "creator" and name in fields:
                fields[name] += f", {text}"
            elif text:
                fields.setdefault(name, text)
        elif record == 2 and number == 118 and value.strip():
            personal.append("contact")
        place += 5 + length
