"""XMP: what the XML in a picture's file, or beside it, says of the picture, read with limits."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fallow.files import plain_xml
from fallow.images.segments import LARGEST, tidy

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

DEEPEST = 32  # elements within each other
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


def read_xmp(data: bytes, fields: dict[str, str], personal: list[str]) -> None:
    """Add what its properties say to fields, and what of it is personal."""
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
    text = tidy(value)
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
