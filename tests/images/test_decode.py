"""Every format and mode to upright RGB bytes; hostile files to a plain reason."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import encoded, picture
from PIL import Image

from fallow.images.decode import (
    FORMATS,
    Unreadable,
    decode,
    decode_mask,
    header,
    reduced_size,
    shown,
    to_uint8,
)


@pytest.mark.parametrize("kind", FORMATS)
def test_each_format_gives_its_pixels_and_header(kind):
    image = picture(64, 48)
    data = encoded(image, kind)
    found = header(data)
    assert (found.width, found.height, found.format) == (64, 48, kind)
    pixels = decode(data)
    assert (pixels.shape, pixels.dtype) == ((48, 64, 3), np.uint8)
    limit = {"JPEG": 12, "WEBP": 12, "GIF": 30}.get(kind, 0.0)
    assert abs(pixels.astype(int) - np.asarray(image)).mean() <= limit
    assert pixels.flags.writeable


def plain_jpeg(data, side):
    """Whether the bytes themselves are shown."""
    try:
        return shown(data, None, side) is data
    except Unreadable:
        return False


def test_a_file_is_sent_as_it_is_only_where_that_shows_the_same():
    image = picture(64, 48)
    plain = encoded(image, "JPEG")
    assert plain_jpeg(plain, 64)
    assert plain_jpeg(encoded(image.convert("L"), "JPEG"), 64)
    assert not plain_jpeg(plain, 63)  # larger
    assert not plain_jpeg(plain[:-40], 64)  # cut off
    assert not plain_jpeg(plain + bytes(1 << 15), 64)  # heavy
    assert not plain_jpeg(encoded(image.convert("CMYK"), "JPEG"), 64)
    turned = Image.Exif()
    turned[274] = 6
    assert not plain_jpeg(encoded(image, "JPEG", exif=turned), 64)
    assert not any(plain_jpeg(encoded(image, kind), 64) for kind in FORMATS if kind != "JPEG")


@pytest.mark.parametrize("kind", FORMATS)
def test_the_short_side_is_reduced_and_never_enlarged(kind):
    image = picture(200, 100)
    data = encoded(image, kind)
    assert decode(data, 50).shape == (50, 100, 3)
    assert decode(data, 400).shape == (100, 200, 3)
    wanted = np.asarray(image.resize((100, 50), Image.Resampling.BOX), int)
    assert abs(decode(data, 50).astype(int) - wanted).mean() < 12


def test_a_scaled_jpeg_does_not_alias():
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255  # the finest pattern there is must come out as even grey
    small = decode(encoded(Image.fromarray(stripes), "JPEG", quality=95), 40)
    assert abs(small.astype(int) - 127).max() < 12


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_orientation_is_applied(kind, turn):
    upright = np.zeros((40, 64, 3), np.uint8)
    upright[:20, :32] = (255, 0, 0)
    upright[20:, 32:] = (0, 0, 255)
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = Image.fromarray(upright)
    if turn in undo:
        stored = stored.transpose(undo[turn])
    exif = Image.Exif()
    exif[0x0112] = turn
    data = encoded(stored, kind, exif=exif)
    assert (header(data).width, header(data).height) == (64, 40)
    pixels = decode(data).astype(int)
    assert pixels.shape == upright.shape
    assert abs(pixels - upright).mean() < 12
    assert decode(data, 20).shape == (20, 32, 3)


def test_modes_become_rgb():
    grey = np.arange(0, 256, dtype=np.uint8).reshape(16, 16)
    assert (decode(encoded(Image.fromarray(grey), "PNG"))[..., 1] == grey).all()
    bits = Image.fromarray(grey > 127)
    assert (decode(encoded(bits, "PNG"))[..., 0] == np.where(grey > 127, 255, 0)).all()
    deep = (grey.astype(np.uint16) << 8) | grey
    for kind in ("PNG", "TIFF"):
        assert (decode(encoded(Image.fromarray(deep), kind))[..., 2] == grey).all()
    palette = picture().convert("P")
    assert (decode(encoded(palette, "PNG")) == np.asarray(palette.convert("RGB"))).all()
    ink = picture().convert("CMYK")
    for kind in ("JPEG", "TIFF"):
        assert abs(decode(encoded(ink, kind)).astype(int) - np.asarray(picture())).mean() < 12
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert (decode(encoded(clear, "PNG")) == 255).all()
    half = Image.new("RGBA", (8, 8), (0, 0, 0, 128))
    assert (decode(encoded(half, "PNG")) == 127).all()
    hole = Image.new("P", (8, 8), 0)
    assert (decode(encoded(hole, "PNG", transparency=0)) == 255).all()
    real = Image.fromarray(np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8))
    assert decode(encoded(real, "TIFF")).max() == 255


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_an_animation_gives_its_first_frame(kind):
    frames = [Image.new("RGB", (12, 10), colour) for colour in ("red", "blue", "lime")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert abs(decode(data).astype(int) - [255, 0, 0]).max() < 8


@pytest.mark.parametrize("kind", FORMATS)
def test_a_truncated_file_is_found_without_being_asked_for_pixels(kind):
    data = encoded(picture(120, 90), kind)
    with pytest.raises(Unreadable, match=r"truncated|damaged"):
        header(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"Dear diary, this is no image.", "text"),
        (bytes(range(256)), "not an image of a known format"),
        (b"\xff\xd8\xff", "damaged"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "text"),
    ],
)
def test_what_is_no_image_says_so(data, reason):
    for read in (header, decode, decode_mask):
        with pytest.raises(Unreadable, match=reason):
            read(data)


def test_an_enormous_picture_is_refused_before_decoding():
    def chunk(name, body):
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    size = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"\0" * 99))
    for read in (header, decode, decode_mask):
        with pytest.raises(Unreadable, match="more pixels than the limit"):
            read(data)


def test_masks_keep_their_integers():
    ids = np.arange(0, 700 * 4, 4, dtype=np.uint16).reshape(20, 35)
    assert (decode_mask(encoded(Image.fromarray(ids), "PNG")) == ids).all()
    assert decode_mask(encoded(Image.fromarray(ids), "PNG")).max() == 2796
    bits = np.eye(9, dtype=bool)
    assert (decode_mask(encoded(Image.fromarray(bits), "PNG")) == bits).all()
    palette = Image.fromarray(np.array([[0, 3], [2, 1]], np.uint8), "L").convert("L")
    palette.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0, 0, 0, 200])
    assert decode_mask(encoded(palette, "PNG")).tolist() == [[0, 3], [2, 1]]
    colour = np.zeros((2, 2, 3), np.uint8)
    colour[0, 0] = (1, 2, 3)
    assert decode_mask(encoded(Image.fromarray(colour), "PNG")).tolist() == [[0x010203, 0], [0, 0]]


def test_arrays_of_other_types_become_bytes():
    assert to_uint8(np.array([[True, False]]))[0, :, 0].tolist() == [255, 0]
    assert to_uint8(np.array([[0.0, 0.5, 1.0]]))[0, :, 1].tolist() == [0, 128, 255]
    assert to_uint8(np.array([[0.0, 128.0, 255.0]]))[0, :, 1].tolist() == [0, 128, 255]
    for bad in (np.zeros((2, 2, 7)), np.array([["a"]]), np.array([[np.nan]]), np.zeros((0, 3))):
        with pytest.raises(Unreadable):
            to_uint8(bad)


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 600))
def test_reduced_sizes_keep_side_and_shape(width, height, side):
    new = reduced_size(width, height, side)
    assert min(new) == min(side, width, height)
    assert new[0] <= width
    assert new[1] <= height
    assert abs(new[0] * height - new[1] * width) <= max(width, height)


SOUND = {kind: encoded(picture(36, 28), kind) for kind in FORMATS}


@settings(max_examples=250, deadline=None)
@given(st.sampled_from(FORMATS), st.data())
def test_flipped_bytes_never_crash(kind, data):
    broken = bytearray(SOUND[kind])
    places = data.draw(st.lists(st.integers(0, len(broken) - 1), min_size=1, max_size=12))
    for place in places:
        broken[place] ^= data.draw(st.integers(1, 255))
    _only_unreadable(bytes(broken))


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0"]),
    st.binary(max_size=400),
)
def test_any_bytes_never_crash(magic, tail):
    _only_unreadable(magic + tail)


def _only_unreadable(data):
    small = (lambda found: decode(found, 8), lambda found: shown(found, 8, 64))
    for read in (header, decode, decode_mask, *small):
        try:
            found = read(data)
        except Unreadable:
            continue
        if isinstance(found, np.ndarray):
            assert found.size > 0


def test_a_picture_under_another_name_is_fine():
    assert header(encoded(picture(), "PNG")).format == "PNG"
    assert decode(io.BytesIO(encoded(picture(), "PNG")).getvalue()).shape == (30, 40, 3)
