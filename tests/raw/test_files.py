"""Raw files in and out: DNG exactly, flat dumps by description, and files that are neither."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from fallow.images.decode import decode
from fallow.problems import Problem, SettingProblem, SourceProblem
from fallow.raw import (
    Look,
    Picture,
    Raw,
    developed,
    must_show,
    plain_sensor,
    raw_files,
    read,
    read_all,
    read_flat,
    read_picture,
    read_raw,
    sensor,
    srgb_profile,
    unprocessed,
    write_dng,
    write_picture,
)
from fallow.raw.mosaic import BAYER, planes
from fallow.raw.reading import _dng_shading
from fallow.raw.sixteen import sixteen

pytest.importorskip("rawpy")


def frame(pattern="GRBG", size=(40, 56), **known):
    draw = np.random.default_rng(0)
    camera = sensor(
        pattern, [61, 62, 63, 64], 1023, [0.52, 1, 0.63],
        {17: np.eye(3) * 0.7 + 0.05, 21: np.eye(3) * 0.9 - 0.02},
        noise=((0.001, 1e-5), (0.0011, 2e-5), (0.0012, 3e-5)), iso=800, camera="made up", **known,
    )  # fmt: skip
    return Raw(draw.integers(60, 1024, size).astype(np.uint16), camera, "a frame")


@pytest.mark.parametrize("pattern", BAYER)
def test_dng_there_and_back(pattern, tmp_path):
    made = frame(pattern, orientation=6)
    write_dng(tmp_path / "a.dng", made)
    back = read_raw(tmp_path / "a.dng")
    assert (back.mosaic == made.mosaic).all()
    one, other = back.sensor, made.sensor
    assert (one.pattern == other.pattern).all()
    assert (one.black == other.black).all()
    assert one.white == other.white
    np.testing.assert_allclose(one.neutral, other.neutral, rtol=1e-5)
    assert set(one.matrices) == set(other.matrices)
    for light in one.matrices:
        np.testing.assert_allclose(one.matrices[light], other.matrices[light], atol=1e-6)
    assert one.noise == other.noise
    assert (one.iso, one.orientation, one.camera) == (800, 6, "made up")
    assert developed(back).shape == (56, 40, 3)


def test_rawpy_reads_the_same_levels(tmp_path):
    import rawpy

    made = frame("BGGR")
    write_dng(tmp_path / "a.dng", made)
    with rawpy.imread(str(tmp_path / "a.dng")) as file:
        assert (file.raw_image_visible == made.mosaic).all()
        assert file.white_level == 1023
        black = np.array(file.black_level_per_channel)[file.raw_colors_visible[:2, :2]]
        assert (black == made.sensor.black).all()


def test_flat_dumps(tmp_path):
    made = frame("RGGB")
    about = {"width": 56, "height": 40, "pattern": "RGGB", "black": [61, 62, 63, 64], "white": 1023}
    (tmp_path / "a.raw").write_bytes(made.mosaic.astype("<u2").tobytes())
    (tmp_path / "b.raw").write_bytes(b"head" + made.mosaic.astype(">u2").tobytes())
    np.save(tmp_path / "c.npy", planes(made.mosaic, "RGGB", "B G0 R G1"))
    np.save(tmp_path / "d.npy", np.repeat(made.mosaic[..., None], 3, 2))
    write_picture(tmp_path / "e.png", Picture(made.mosaic))
    write_picture(tmp_path / "f.tif", Picture(made.mosaic))
    said = {
        "a.raw": about,
        "b.raw": {**about, "bytes": "big", "skip": 4},
        "c.npy": {**about, "kind": "planes", "order": "B G0 R G1"},
        "d.npy": {**about, "kind": "rgb"},
        "e.png": about,
        "f.tif": about,
    }
    for name, words in said.items():
        found = read_flat(tmp_path / name, words)
        assert (found.mosaic == made.mosaic).all(), name
        assert (found.sensor.black == made.sensor.black).all()


def test_gains_and_descriptions_beside_the_files(tmp_path):
    made = frame("RGGB")
    (tmp_path / "a.raw").write_bytes(made.mosaic.tobytes())
    (tmp_path / "note.txt").write_text("not raw")
    (tmp_path / "preview.png").write_bytes(b"\x89PNG")
    (tmp_path / "a.raw.yaml").write_text(
        "{width: 56, height: 40, white: 1023, gains: [2, 1, 1.25]}"
    )
    assert [path.name for path in raw_files(tmp_path)] == ["a.raw"]
    found = read(tmp_path / "a.raw")
    assert found.sensor.neutral.tolist() == [0.5, 1.0, 0.8]
    write_dng(tmp_path / "b.dng", made)
    (tmp_path / "broken.dng").write_bytes((tmp_path / "b.dng").read_bytes()[:900])
    every = dict(read_all(tmp_path))
    assert [type(one) for one in every.values()] == [Raw, Raw, SourceProblem]


def test_files_that_are_not_raw(tmp_path):
    write_dng(tmp_path / "whole.dng", frame())
    data = (tmp_path / "whole.dng").read_bytes()
    cases = {
        "cut.dng": (data[: len(data) // 2], "cut off or damaged"),
        "start.dng": (data[:60], "cut off or damaged"),
        "empty.dng": (b"", "is empty"),
        "words.dng": (b"hello " * 100, "does not begin like"),
        "photo.dng": (b"\xff\xd8\xff\xe0" + b"x" * 200, "JPEG picture"),
    }
    for name, (content, words) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SourceProblem, match=words) as found:
            read_raw(tmp_path / name)
        assert name in str(found.value)
    with pytest.raises(SourceProblem, match="there is no"):
        read_raw(tmp_path / "nowhere.dng")
    (tmp_path / "bare").mkdir()
    with pytest.raises(SourceProblem, match="no raw files"):
        raw_files(tmp_path / "bare")


def test_linear_dng_is_refused(tmp_path):
    from fallow.raw import tiff

    rgb = np.random.default_rng(0).integers(0, 1000, (24, 32, 3)).astype(np.uint16)
    tags = {
        254: (4, [0]), 50706: (1, bytes([1, 4, 0, 0])), 50707: (1, bytes([1, 4, 0, 0])),
        50708: (2, b"made"), 50717: (4, [1023] * 3),
        50721: (10, np.eye(3).ravel()), 50728: (5, [1, 1, 1]),
    }  # fmt: skip
    tiff._write(tmp_path / "linear.dng", rgb, tags, photometric=34892)
    with pytest.raises(SourceProblem, match="holds full colours"):
        read_raw(tmp_path / "linear.dng")


@pytest.mark.parametrize(
    ("about", "kind", "words"),
    [
        ({"width": 8, "height": 8}, SettingProblem, "white level"),
        ({"width": 8, "hight": 8}, SettingProblem, "did you mean height"),
        ({"white": 1023}, SettingProblem, "width and the height"),
        ({"width": 9, "height": 8, "white": 1023}, SourceProblem, "is it cut off"),
        ({"width": 16, "height": 8, "white": 1023}, SourceProblem, "8 bits"),
        ({"width": 8, "height": 8, "white": 50, "black": 64}, SourceProblem, "above black"),
        ({"width": 8, "height": 8, "white": 99, "kind": "jpeg"}, SettingProblem, "kind is"),
        ({"width": 8, "height": 8, "white": 99, "bytes": "x"}, SettingProblem, "little or big"),
        ({"width": 8, "height": 8, "white": 99, "neutral": [1, 2]}, SourceProblem, "three numbers"),
        ({"width": 8, "height": 8, "white": 99, "matrix": [1] * 9}, SourceProblem, "inverse"),
    ],
)
def test_descriptions_that_cannot_be(about, kind, words, tmp_path):
    (tmp_path / "a.raw").write_bytes(np.arange(64, dtype=np.uint16).tobytes())
    with pytest.raises(kind, match=words):
        read_flat(tmp_path / "a.raw", about)


def test_frames_that_show_nothing():
    camera = sensor("RGGB", 64, 1023, [1, 1, 1])
    draw = np.random.default_rng(0)
    must_show(Raw(draw.integers(64, 1023, (20, 20)).astype(np.uint16), camera))
    for values, words in ((64, "is black"), (1023, "is saturated"), (900, None)):
        one = Raw(np.full((20, 20), values, np.uint16), camera, "x.dng")
        if words is None:
            must_show(one)
            continue
        with pytest.raises(Problem, match=words):
            must_show(one)
    beyond = Raw(draw.integers(64, 4095, (20, 20)).astype(np.uint16), camera, "x.dng")
    with pytest.raises(Problem, match=r"saturated|white level"):
        must_show(beyond)


def test_crops_take_pattern_levels_and_shading_along():
    made = frame("RGGB", shading=np.array([[1.0, 2.0], [2.0, 3.0]]))
    whole = made.light()
    part = made.cropped(3, 5, 20, 30)
    np.testing.assert_allclose(part.light(), whole[3:23, 5:35], rtol=1e-6)
    assert part.sensor.pattern.tolist() == [[2, 1], [1, 0]]
    assert frame(size=(41, 57)).evened().size == (40, 56)
    with pytest.raises(SourceProblem, match="has no"):
        made.cropped(30, 0, 20, 20)


def test_gain_maps_of_a_dng():
    def opcode(top, left, gains):
        rows, columns = gains.shape
        body = struct.pack(">10I", top, left, 40, 56, 0, 1, 2, 2, rows, columns)
        body += struct.pack(">4d", 1 / (rows - 1), 1 / (columns - 1), 0, 0) + struct.pack(">I", 1)
        body += gains.astype(">f4").tobytes()
        return struct.pack(">4I", 9, 0x01030000, 0, len(body)) + body

    maps = [np.full((3, 4), 1.0 + place) for place in range(4)]
    data = struct.pack(">I", 4) + b"".join(
        opcode(place // 2, place % 2, gains) for place, gains in enumerate(maps)
    )
    found = _dng_shading({51009: data})
    assert found.shape == (4, 3, 4)
    assert found[:, 0, 0].tolist() == [1, 2, 3, 4]
    assert _dng_shading({51009: data[:40]}) is None
    assert _dng_shading({}) is None


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_sixteen_bits_and_profile(name, channels, kind, tmp_path):
    draw = np.random.default_rng(0)
    shape = (13, 17) if channels == 1 else (13, 17, channels)
    pixels = draw.integers(0, np.iinfo(kind).max, shape).astype(kind)
    write_picture(tmp_path / name, Picture(pixels, icc=srgb_profile()))
    found = read_picture(tmp_path / name)
    assert found.pixels.dtype == kind
    assert (found.pixels == pixels).all()
    assert found.icc == srgb_profile()
    other = decode((tmp_path / name).read_bytes())  # other programs read it, too
    high = pixels.astype(float) / (257 if kind == np.uint16 else 1)
    assert np.abs(other[..., 1] - (high if channels == 1 else high[..., 1])).max() <= 1


def test_pngs_of_others(tmp_path):
    from PIL import Image

    smooth = (np.add.outer(np.arange(40), np.arange(50)) * 300).astype(np.uint16)
    Image.fromarray(smooth).save(tmp_path / "grey.png", optimize=True)
    assert (read_picture(tmp_path / "grey.png").pixels == smooth).all()
    rgb = np.stack([smooth >> 8] * 3, -1).astype(np.uint8)
    Image.fromarray(rgb).save(tmp_path / "rgb.png")
    assert (read_picture(tmp_path / "rgb.png").pixels == rgb).all()
    data = (tmp_path / "rgb.png").read_bytes()
    for content, words in ((data[:-20], "cut off"), (b"\xff\xd8\xff", "neither PNG nor TIFF")):
        (tmp_path / "x.png").write_bytes(content)
        with pytest.raises(SourceProblem, match=words):
            read_picture(tmp_path / "x.png")
    with pytest.raises(SourceProblem, match=r"\.png"):
        write_picture(tmp_path / "x.jpg", Picture(rgb))


def test_sixteen_bits_of_a_developed_frame(tmp_path):
    shown = np.full((16, 16, 3), 100, np.uint8)
    made = unprocessed(shown, plain_sensor())
    from fallow.raw import developed_16

    write_picture(tmp_path / "a.png", Picture(developed_16(made, Look())))
    assert np.abs(read_picture(tmp_path / "a.png").pixels / 257 - 100).max() < 2
    assert sixteen(np.array([0.0, 1.0])).tolist() == [0, 65535]
