"""What a file says of its picture besides pixels: EXIF, IPTC and XMP, read with limits.

Every block is read on its own and bounded: its size, the depth of its XML, the entries of its
directories. A block over the limits is refused and named; the rest is read all the same.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fallow.files import plain_xml

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

LARGEST = 1 << 20  # bytes of a block: more is no description of a picture
DEEPEST = 32  # of XMP
ENTRIES, DIRECTORIES = 512, 8  # of an EXIF directory, and how many of them
LONGEST = 2000  # letters of one value
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
    for kind, parts, parse in (("xmp", blocks.xmp, _xmp), ("iptc", blocks.iptc, _iptc)):
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
        _safely(blocks, "xmp", _xmp, block, fields, [])
    return fields


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


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and body of every chunk."""
    place = 8
    while place + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        yield data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        place += 12 + length


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


def webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and body of every chunk of a RIFF file."""
    place = 12
    while place + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, place + 4)
        yield data[place : place + 4], data[place + 8 : place + 8 + length]
        place += 8 + length + length % 2


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
    text = _tidy(value.decode("utf-8", "replace"))
    if name and text:
        blocks.text.setdefault(name, text)


# --- EXIF ---

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
            if text := _tidy(value.split(b"\0")[0].decode("utf-8", "replace")):
                self.fields[_WORDS[tag]] = text
        elif tag in _OWNERS and value.strip(b"\0 "):
            self.personal.append(_OWNERS[tag])
            if tag == 0x9C9D:
                self.fields.setdefault("creator", _tidy(value.decode("utf-16-le", "replace")))
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


# --- IPTC ---

_RECORDS = {5: "title", 55: "date", 80: "creator", 105: "title", 110: "credit", 116: "rights"}


def _iptc(data: bytes, fields: dict[str, str], personal: list[str]) -> None:
    place, encoding = data.find(b"\x1c"), "latin-1"
    while place >= 0 and place + 5 <= len(data) and data[place] == 0x1C:
        record, number, length = struct.unpack_from(">BBH", data, place + 1)
        if length & 0x8000:
            raise ValueError("a record is longer than IPTC allows")
        value = data[place + 5 : place + 5 + length]
        if (record, number) == (1, 90):
            encoding = "utf-8" if value == b"\x1b%G" else encoding
        elif record == 2 and number in _RECORDS:
            text = _tidy(value.decode(encoding, "replace"))
            name = _RECORDS[number]
            if text and name == "creator" and name in fields:
                fields[name] += f", {text}"
            elif text:
                fields.setdefault(name, text)
        elif record == 2 and number == 118 and value.strip():
            personal.append("contact")
        place += 5 + length


# --- XMP ---

_PREFIXES = {
    "http://purl.org/dc/elements/1.1/": "dc",
    "http://ns.adobe.com/xap/1.0/rights/": "rights",
    "http://ns.adobe.com/xap/1.0/": "xmp",
    "http://creativecommons.org/ns#": "cc",
    "http://web.resource.org/cc/": "cc",
    "http://ns.adobe.com/photoshop/1.0/": "ps",
    "http://ns.adobe.com/exif/1.0/": "exif",
    "http://ns.adobe.com/exif/1.0/aux/": "aux",
    "http://cipa.jp/exif/1.0/": "exif",
    "http://ns.adobe.com/tiff/1.0/": "tiff",
    "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/": "iptc",
    "http://iptc.org/std/Iptc4xmpExt/2008-02-29/": "iptc",
    "http://www.metadataworkinggroup.com/schemas/regions/": "regions",
    "http://ns.microsoft.com/photo/1.2/t/RegionInfo#": "regions",
    "http://ns.microsoft.com/photo/1.2/t/Region#": "regions",
    "http://ns.useplus.org/ldf/xmp/1.0/": "plus",
}
_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_PROPERTIES = {
    "dc:creator": "creator", "cc:attributionName": "creator", "tiff:Artist": "creator",
    "cc:license": "licence", "dc:rights": "rights", "tiff:Copyright": "rights",
    "rights:UsageTerms": "rights", "rights:WebStatement": "web", "dc:title": "title",
    "dc:source": "source_url", "cc:attributionURL": "source_url", "ps:Credit": "credit",
    "ps:DateCreated": "date", "exif:DateTimeOriginal": "date", "xmp:CreateDate": "date",
    "tiff:Model": "camera", "exif:GPSLatitude": "latitude", "exif:GPSLongitude": "longitude",
}  # fmt: skip
_PRIVATE = {
    "exif:GPSLatitude": "GPS position", "exif:GPSLongitude": "GPS position",
    "aux:SerialNumber": "serial number", "aux:LensSerialNumber": "serial number",
    "exif:BodySerialNumber": "serial number", "exif:LensSerialNumber": "serial number",
    "aux:OwnerName": "owner's name", "exif:CameraOwnerName": "owner's name",
    "rights:Owner": "owner's name", "iptc:CreatorContactInfo": "contact",
    "iptc:PersonInImage": "name of a person shown", "iptc:PersonInImageWDetails":
    "name of a person shown", "regions:PersonDisplayName": "name of a person shown",
    "regions:Name": "name of a person shown",
}  # fmt: skip


def _xmp(data: bytes, fields: dict[str, str], personal: list[str]) -> None:
    text = data.strip(b"\0 \r\n\t")
    text = re.sub(rb"<\?xpacket.*?\?>", b"", text, flags=re.S).strip(b"\0 \r\n\t")
    root = plain_xml(text, largest=LARGEST, deepest=DEEPEST)
    found: dict[str, str] = {}
    for node in root.iter():
        for key, value in node.attrib.items():
            _property(_short(key), value, found, personal)
        name = _short(node.tag)
        if name in _PROPERTIES or name in _PRIVATE:
            value = node.attrib.get(f"{_RDF}resource") or _content(node)
            _property(name, value, found, personal)
    web = found.pop("web", "")
    if web and "licence" not in found:
        found["licence"] = web  # the page on which the terms stand
    for name in ("latitude", "longitude"):
        if name in found:
            found[name] = _degrees(found[name])
    fields.update(found)


def _property(name: str, value: str, found: dict[str, str], personal: list[str]) -> None:
    text = _tidy(value)
    if not text:
        return
    if name in _PRIVATE:
        personal.append(_PRIVATE[name])
    if name in _PROPERTIES:
        found.setdefault(_PROPERTIES[name], text)


def _short(tag: str) -> str:
    space, _, name = tag.removeprefix("{").rpartition("}")
    return f"{_PREFIXES.get(space, '?')}:{name}"


def _content(node: Element) -> str:
    """The text of a property: its own, or that of the items of its list."""
    items = [item.text or "" for item in node.iter(f"{_RDF}li")]
    return ", ".join(item.strip() for item in items if item.strip()) or "".join(node.itertext())


def _degrees(text: str) -> str:
    """`48,51.5N` of XMP as degrees."""
    match = re.fullmatch(r"(\d+),(\d+(?:\.\d+)?)(?:,(\d+(?:\.\d+)?))?([NSEW])", text)
    if match is None:
        return text
    value = int(match[1]) + float(match[2]) / 60 + float(match[3] or 0) / 3600
    return f"{-value if match[4] in 'SW' else value:.6f}"


def _tidy(text: str) -> str:
    return " ".join(text.replace("\0", " ").split())[:LONGEST]
