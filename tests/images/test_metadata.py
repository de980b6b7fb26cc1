"""EXIF, IPTC and XMP of every format: read, bounded, refused, taken out without a pixel lost."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from pictures import picture
from PIL import Image, PngImagePlugin, TiffImagePlugin

from fallow.images.cleaned import without_metadata
from fallow.images.decode import decode
from fallow.images.exif import ENTRIES
from fallow.images.metadata import metadata
from fallow.images.segments import LARGEST

XMP = """<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:cc="http://creativecommons.org/ns#"
 xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:aux="http://ns.adobe.com/exif/1.0/aux/"
 exif:GPSLatitude="48,51.5N" exif:GPSLongitude="2,21.0W" aux:SerialNumber="123">
 <dc:creator><rdf:Seq><rdf:li>Ann</rdf:li><rdf:li>Bob</rdf:li></rdf:Seq></dc:creator>
 <dc:title><rdf:Alt><rdf:li xml:lang="x-default">A cat</rdf:li></rdf:Alt></dc:title>
 <cc:license rdf:resource="https://creativecommons.org/licenses/by/4.0/"/>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""


def exif(turn=1):
    found = Image.Exif()
    found[0x013B], found[0x8298], found[0x010F], found[0x0110] = "Cay", "(c) Cay", "Acme", "X1"
    found[0x0112] = turn
    found.get_ifd(0x8769)[0xA431] = "S-77"
    found.get_ifd(0x8769)[0xA430] = "Dan"
    gps = found.get_ifd(0x8825)
    gps[1], gps[2], gps[3], gps[4] = "S", (33.0, 30.0, 0.0), "E", (151.0, 0.0, 36.0)
    return found


def iptc(*records):
    body = b"\x1c\x01\x5a\x00\x03\x1b%G"
    for number, text in records:
        value = text.encode()
        body += struct.pack(">BBBH", 0x1C, 2, number, len(value)) + value
    block = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(body)) + body + b"\0" * (len(body) % 2)
    return b"Photoshop 3.0\0" + block


def segment(marker, body):
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body


def jpeg(*segments, **options):
    buffer = io.BytesIO()
    picture().save(buffer, "JPEG", **options)
    data = buffer.getvalue()
    return data[:2] + b"".join(segments) + data[2:]


def encoded(kind, turn=1):
    """A picture with EXIF and XMP, as the format has them."""
    buffer, image = io.BytesIO(), picture()
    if kind == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", XMP, zip=True)
        info.add_text("Author", "Eve", zip=True)
        image.save(buffer, kind, pnginfo=info, exif=exif(turn))
    else:
        options = {"lossless": True} if kind == "WEBP" else {}
        image.save(buffer, kind, exif=exif(turn), xmp=XMP.encode(), **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_every_format_says_the_same(kind):
    found = metadata(encoded(kind))
    assert found.refused == ()
    assert found.said["exif"]["creator"] == "Cay"
    assert found.said["exif"]["camera"] == "Acme X1"
    assert float(found.said["exif"]["latitude"]) == pytest.approx(-33.5)
    assert float(found.said["exif"]["longitude"]) == pytest.approx(151.01)
    assert found.said["xmp"] == {
        "creator": "Ann, Bob",
        "title": "A cat",
        "licence": "https://creativecommons.org/licenses/by/4.0/",
        "latitude": "48.858333",
        "longitude": "-2.350000",
    }
    assert found.get("creator") == "Ann, Bob"
    assert set(found.all("creator")) >= {"Ann, Bob", "Cay"}
    assert set(found.personal) >= {"GPS position", "serial number", "owner's name"}


def test_a_tiff_says_it_in_its_own_directory():
    buffer, info = io.BytesIO(), TiffImagePlugin.ImageFileDirectory_v2()
    info[315], info[700], info[33723] = "Cay", XMP.encode(), iptc((80, "Zoë"))[26:]
    info.tagtype[700] = info.tagtype[33723] = 1
    picture().save(buffer, "TIFF", tiffinfo=info)
    found = metadata(buffer.getvalue())
    assert found.refused == ()
    creators = {block: said["creator"] for block, said in found.said.items()}
    assert creators == {"exif": "Cay", "xmp": "Ann, Bob", "iptc": "Zoë"}


def test_iptc_of_a_jpeg_in_utf8():
    data = jpeg(segment(0xED, iptc((80, "Zoë"), (80, "Ann"), (116, "© Zoë"), (118, "Street 1"))))
    found = metadata(data)
    assert found.said == {"iptc": {"creator": "Zoë, Ann", "rights": "© Zoë"}}
    assert found.personal == ("contact",)


def test_pictures_without_anything_say_nothing():
    for data in (jpeg(), b"", b"\xff\xd8", b"RIFF", b"II*\0", b"\x89PNG\r\n\x1a\n", b"GIF89a"):
        found = metadata(data)
        assert found.said == {}
        assert found.personal == ()


def bomb(body):
    return jpeg(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + body))


def packed(text):
    """A PNG whose compressed text is far longer than the file."""
    buffer = io.BytesIO()
    picture().save(buffer, "PNG")
    body = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(text)
    chunk = struct.pack(">I", len(body)) + b"iTXt" + body
    chunk += struct.pack(">I", zlib.crc32(b"iTXt" + body))
    return buffer.getvalue()[:33] + chunk + buffer.getvalue()[33:]


def directory(entries, order="<"):
    block = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(entries))
    return block + b"".join(struct.pack("<HHII", *one) for one in entries) + b"\0\0\0\0"


BOMBS = {
    "entities": bomb(b'<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><a>&c;</a>'),
    "depth": bomb(b"<a>" * 5000 + b"</a>" * 5000),
    "packed": packed(b" " * (LARGEST * 20)),
    "wide": bomb('<?xml version="1.0" encoding="utf-16"?><a/>'.encode("utf-16")[:-3]),
    "not xml": bomb(b"<a"),
    "extension": jpeg(segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + b"x" * 40)),
    "circle": jpeg(segment(0xE1, b"Exif\0\0" + directory([(0x8769, 4, 1, 8)]))),
    "entries": jpeg(segment(0xE1, b"Exif\0\0" + directory([(1, 1, 1, 0)] * (ENTRIES + 1)))),
    "cut": jpeg(segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff")),
    "order": jpeg(segment(0xE1, b"Exif\0\0XX*\0\x08\0\0\0")),
    "iptc": jpeg(segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x06\x1c\x02P\xff\xff!")),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_and_named(name):
    found = metadata(BOMBS[name])
    assert len(found.refused) == 1
    assert found.said == {}
    if name != "packed":  # that one Pillow refuses whole
        assert decode(BOMBS[name]).shape == (30, 40, 3)


def test_a_refused_block_leaves_the_others():
    whole = segment(0xE1, b"Exif\0\0" + exif().tobytes()[6:])
    found = metadata(jpeg(whole, segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<a")))
    assert found.said["exif"]["creator"] == "Cay"
    assert len(found.refused) == 1


def test_random_damage_never_raises():
    random = np.random.default_rng(0)
    for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
        data = np.frombuffer(encoded(kind), np.uint8)
        for _ in range(60):
            hurt = data.copy()
            places = random.integers(4, len(hurt), 12)
            hurt[places] = random.integers(0, 256, 12)
            metadata(hurt[: random.integers(8, len(hurt))].tobytes())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("turn", [1, 6])
def test_a_clean_copy_keeps_pixels_and_turn_and_says_nothing(kind, turn):
    data = encoded(kind, turn)
    clean = without_metadata(data)
    found = metadata(clean)
    assert (found.said, found.personal, found.orientation) == ({}, (), turn)
    np.testing.assert_array_equal(decode(clean), decode(data))
    for secret in (b"Cay", b"S-77", b"Ann", b"Dan"):
        assert secret not in clean


def test_a_clean_copy_drops_comments_and_what_hangs_on_behind():
    buffer = io.BytesIO()
    image = picture(200, 150)
    image.save(buffer, "JPEG", progressive=True, comment=b"by Ann", quality=95)
    data = buffer.getvalue()
    clean = without_metadata(data + b"MotionPhoto: Ann")
    assert b"Ann" not in clean
    np.testing.assert_array_equal(decode(clean), decode(data))


def test_a_clean_copy_keeps_the_colour_profile():
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for kind in ("JPEG", "PNG", "WEBP"):
        buffer = io.BytesIO()
        picture().save(buffer, kind, icc_profile=profile)
        clean = without_metadata(buffer.getvalue())
        assert Image.open(io.BytesIO(clean)).info["icc_profile"] == profile


def test_what_cannot_be_cleaned_is_refused():
    with pytest.raises(ValueError, match="only JPEG"):
        without_metadata(encoded("TIFF"))
    with pytest.raises(ValueError, match="end of the picture"):
        without_metadata(jpeg()[:-40])
