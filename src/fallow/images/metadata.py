"""What a file says of its picture besides pixels: EXIF, IPTC and XMP, read with limits.

Every block is read on its own and bounded: its size, the depth of its XML, the entries of its
directories. A block over the limits is refused and named; the rest is read all the same.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fallow.images.exif import Exif
from fallow.images.iptc import read_iptc
from fallow.images.segments import LARGEST, jpeg_segments, png_chunks, tidy, webp_chunks
from fallow.images.xmp import read_xmp

FIELDS = (
    "creator", "licence", "rights", "title", "source_url", "credit", "date", "camera",
    "latitude", "longitude",
)  # fmt: skip
ORDER = ("xmp", "iptc", "exif", "text")  # whom to believe first


@dataclass(frozen=True)
class Metadata:
    """What each block says in FIELDS, what of it is personal, and which blocks were refused."""

    said: dict[str, dict[str, str]] = field(default_factory=dict)  # block -> field -> value
    personal: tuple[str, ...] = ()  # kinds: "GPS position", "serial number", ...
    refused: tuple[str, ...] = ()
    orientation: int = 1

    def get(self, name: str) -> str | None:
        """A field, from the first block that fills it."""
        return next((self.said[b][name] for b in ORDER if name in self.said.get(b, {})), None)

    def all(self, name: str) -> list[str]:
        """Everything different the blocks say of a field."""
        values = (self.said[block].get(name) for block in ORDER if block in self.said)
        return list(dict.fromkeys(value for value in values if value))


@dataclass
class Blocks:
    """The parts of a file that describe its picture, as they lie in it."""

    exif: list[bytes] = field(default_factory=list)
    xmp: list[bytes] = field(default_factory=list)
    iptc: list[bytes] = field(default_factory=list)
    text: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    def add(self, kind: str, data: bytes) -> None:
        if len(data) > LARGEST:
            self.refused.append(f"{kind}: {len(data):,} bytes are more than {LARGEST:,}")
        else:
            getattr(self, kind).append(data)


def metadata(data: bytes) -> Metadata:
    """Everything the bytes of an image file say of it; never an error, whatever they are.

    >>> metadata(b"not an image").said
    {}
    """
    blocks = Blocks()
    for magic, read in _FORMATS:
        if data.startswith(magic):
            _safely(blocks, "file", read, data, blocks)
    said: dict[str, dict[str, str]] = {}
    personal: list[str] = []
    orientation = 1
    for block in blocks.exif:
        found = Exif()
        _safely(blocks, "exif", found.read, block)
        said.setdefault("exif", {}).update(found.fields)
        personal += found.personal
        orientation = found.orientation
    for kind, parts, parse in (("xmp", blocks.xmp, read_xmp), ("iptc", blocks.iptc, read_iptc)):
        for block in parts:
            _safely(blocks, kind, parse, block, said.setdefault(kind, {}), personal)
    said["text"] = blocks.text
    return Metadata(
        {block: fields for block, fields in said.items() if fields},
        tuple(dict.fromkeys(personal)),
        tuple(dict.fromkeys(blocks.refused)),
        orientation,
    )


def metadata_of_xmp(data: bytes) -> dict[str, str]:
    """The fields of an XMP file on its own; one that is refused says nothing."""
    blocks = Blocks()
    blocks.add("xmp", data)
    fields: dict[str, str] = {}
    for block in blocks.xmp:
        _safely(blocks, "xmp", read_xmp, block, fields, [])
    return fields


def _safely(blocks: Blocks, kind: str, read: Callable[..., None], *what: Any) -> None:
    """Read a block; what is wrong with it is a reason, not an error."""
    try:
        read(*what)
    except (ValueError, struct.error, IndexError, zlib.error, OverflowError) as error:
        blocks.refused.append(f"{kind}: {' '.join(str(error).split())[:120]}")


# --- files ---


def _jpeg(data: bytes, blocks: Blocks) -> None:
    resources = b""
    for marker, _, body in jpeg_segments(data):
        if marker == 0xE1 and body.startswith(b"Exif\0"):
            blocks.add("exif", body[6:])
        elif marker == 0xE1 and body.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
            blocks.add("xmp", body[29:])
        elif marker == 0xE1 and body.startswith(b"http://ns.adobe.com/xmp/extension/"):
            blocks.refused.append("xmp: its extension over several segments is not read")
        elif marker == 0xED and body.startswith(b"Photoshop 3.0\0"):
            resources += body[14:]
        elif marker == 0xFE:
            _text(blocks, "Comment", body)
    _resources(resources, blocks)


def _png(data: bytes, blocks: Blocks) -> None:
    for kind, body in png_chunks(data):
        if kind == b"eXIf":
            blocks.add("exif", body)
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            key, text = _png_text(kind, body)
            if key == "XML:com.adobe.xmp" or key == "Raw profile type xmp":
                blocks.add("xmp", _unwrapped(text) if key.startswith("Raw") else text)
            elif key in ("Raw profile type exif", "Raw profile type APP1"):
                blocks.add("exif", _unwrapped(text).removeprefix(b"Exif\0\0"))
            elif key in ("Raw profile type iptc", "Raw profile type 8bim"):
                _resources(_unwrapped(text), blocks)
            else:
                _text(blocks, key, text)
        elif kind == b"IEND":
            return


def _png_text(kind: bytes, body: bytes) -> tuple[str, bytes]:
    key, _, rest = body.partition(b"\0")
    packed = kind == b"zTXt"
    if kind == b"iTXt":
        packed = rest[:1] == b"\1"
        rest = rest[2:].split(b"\0", 2)[-1]  # language, translated key, text
    elif packed:
        rest = rest[1:]
    return key.decode("latin-1"), _inflated(rest) if packed else rest


def _inflated(data: bytes) -> bytes:
    found = zlib.decompressobj().decompress(data, LARGEST + 1)
    if len(found) > LARGEST:
        raise ValueError(f"a packed text is more than {LARGEST:,} bytes long")
    return found


def _unwrapped(text: bytes) -> bytes:
    """A profile ImageMagick wrote as hexadecimal digits below its name and length."""
    return bytes.fromhex(b"".join(text.split()[2:]).decode("ascii", "strict"))


def _webp(data: bytes, blocks: Blocks) -> None:
    for kind, body in webp_chunks(data):
        if kind == b"EXIF":
            blocks.add("exif", body.removeprefix(b"Exif\0\0"))
        elif kind == b"XMP ":
            blocks.add("xmp", body)


def _tiff(data: bytes, blocks: Blocks) -> None:
    blocks.exif.append(data)  # a TIFF is one itself; its own size is no sign of anything
    found = Exif()
    found.read(data)
    for tag, kind in ((700, "xmp"), (33723, "iptc")):
        if tag in found.raw:
            blocks.add(kind, found.raw[tag])
    _resources(found.raw.get(34377, b""), blocks)


def _gif(data: bytes, blocks: Blocks) -> None:
    start = data.find(b"!\xff\x0bXMP DataXMP")
    if start >= 0:
        end = data.find(b"<?xpacket end", start)
        blocks.add("xmp", data[start + 14 : end if end >= 0 else start + 14 + LARGEST])


_FORMATS: tuple[tuple[bytes, Callable[[bytes, Blocks], None]], ...] = (
    (b"\xff\xd8", _jpeg),
    (b"\x89PNG\r\n\x1a\n", _png),
    (b"RIFF", _webp),
    (b"II*\0", _tiff),
    (b"MM\0*", _tiff),
    (b"GIF8", _gif),
)


def _resources(data: bytes, blocks: Blocks) -> None:
    """Photoshop's blocks: IPTC is one of them, the address of the terms another."""
    place = 0
    while data[place : place + 4] == b"8BIM":
        number, name = struct.unpack_from(">HB", data, place + 4)
        place += 6 + (name + 2) // 2 * 2
        (length,) = struct.unpack_from(">I", data, place)
        body = data[place + 4 : place + 4 + length]
        if number == 0x0404:
            blocks.add("iptc", body)
        elif number == 0x040B:
            _text(blocks, "URL", body)
        place += 4 + length + length % 2


_TEXTS = {
    "author": "creator", "copyright": "rights", "title": "title", "license": "licence",
    "licence": "licence", "source": "source_url", "url": "source_url", "creation time": "date",
}  # fmt: skip


def _text(blocks: Blocks, key: str, value: bytes) -> None:
    name = _TEXTS.get(key.strip().lower())
    text = tidy(value.decode("utf-8", "replace"))
    if name and text:
        blocks.text.setdefault(name, text)
