"""Raw files in: cameras' files and DNGs through rawpy, and flat dumps of numbers."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from fallow.files import plain_yaml
from fallow.problems import MissingPackage, SettingProblem, SourceProblem, did_you_mean
from fallow.raw.levels import gains_of
from fallow.raw.mosaic import mosaic_of, mosaicked, pattern_of
from fallow.raw.sensor import Raw, Sensor, sensor
from fallow.raw.sixteen import read_picture
from fallow.raw.tiff import directories, numbers_of

# how cameras' files begin; a file that begins otherwise is a flat dump, although LibRaw would
# take some for a camera of which only the size of the file is known
_BEGINNINGS = (
    *(b"II*\0", b"MM\0*", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"II\x1a\0", b"MM\0\x1a"),
    *(b"\0MRM", b"FUJIFILM", b"FOVb", b"qktk", b"qktn", b"ARRI", b"NOKIARAW"),
)
_PICTURES = {b"\xff\xd8\xff": "JPEG", b"\x89PNG": "PNG", b"GIF8": "GIF", b"BM": "BMP"}
_TURNS = {0: 1, 3: 3, 5: 8, 6: 6}  # LibRaw's turns as EXIF counts them
FLAT_ENDINGS = (".raw", ".bin", ".dat", ".npy", ".png", ".tif", ".tiff")
ENDINGS = (
    *(".dng", ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".erf", ".iiq", ".kdc", ".mef"),
    *(".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".rwl", ".sr2", ".srf"),
    *(".srw", ".x3f"),
)
# what may be said about a flat dump
ABOUT = {
    "width": "places in a row",
    "height": "rows",
    "kind": "mosaic, planes (4 h w, or h w 4) or rgb (h w 3; it is mosaicked)",
    "pattern": "RGGB, BGGR, GRBG or GBRG",
    "order": "of planes, such as R Gr Gb B",
    "black": "level: one number, or one for each place of the pattern",
    "white": "level",
    "neutral": "the camera's answer to white: red, green, blue",
    "gains": "white balance, instead of neutral",
    "matrix": "XYZ to camera: nine numbers, row by row",
    "noise": "slope and offset of the variance over light",
    "iso": "sensitivity",
    "orientation": "1 to 8, as in EXIF",
    "camera": "its name",
    "bytes": "order of the two bytes of a number: little or big",
    "skip": "bytes before the first number",
}


def read_raw(path: str | PathLike[str]) -> Raw:
    """A camera's raw file or a DNG, uncropped beyond what the sensor exposes, and not turned."""
    path = Path(path)
    data = _bytes(path)
    for start, kind in _PICTURES.items():
        if data.startswith(start):
            raise SourceProblem(f"{path.name} is a {kind} picture, not a raw file")
    if not data.startswith(_BEGINNINGS) and data[4:11] != b"ftypcrx":
        raise SourceProblem(
            f"{path.name} does not begin like a camera's raw file: if it is a flat dump, describe "
            f"it in {path.name}.yaml (width, height, pattern, black, white)"
        )
    try:
        tags = directories(data)
    except SourceProblem as error:
        raise SourceProblem(f"{path.name} is damaged: {error}") from error
    mosaic, known = _unpacked(path)
    return Raw(mosaic, _sensor(known, tags, path.name), path.name)


def read_flat(path: str | PathLike[str], about: Mapping[str, Any]) -> Raw:
    """Plain numbers of 16 bits (.raw, .npy, or grey PNG and TIFF) of which `about` tells the rest.

    What `about` may hold is in `ABOUT`. Numbers of planes or of full colours become a mosaic.
    """
    path = Path(path)
    for key in about:
        if key not in ABOUT:
            raise SettingProblem(
                f"{path.name}: {key} says nothing about a raw dump: {did_you_mean(key, ABOUT)}"
            )
    values = _values(path, about)
    if values.dtype == np.uint8:
        raise SourceProblem(
            f"{path.name} holds numbers of 8 bits: a developed picture, or raw that has lost its "
            "shadows; give the sensor's 10 to 16 bits"
        )
    if "white" not in about:
        raise SettingProblem(
            f"{path.name}: say the white level (1023 for 10 bits, 4095 for 12, 16383 for 14, ...)"
        )
    pattern = about.get("pattern", "RGGB")
    mosaic = _as_mosaic(values, about, pattern_of(pattern), path.name)
    matrices = {21.0: about["matrix"]} if "matrix" in about else None
    neutral = about.get("neutral")
    if neutral is None and "gains" in about:
        neutral = gains_of(about["gains"])  # one over a gain, as a gain is one over an answer
    noise = np.ravel(about.get("noise", ())).astype(np.float64).reshape(-1, 2)
    return Raw(
        mosaic,
        sensor(
            pattern,
            about.get("black", 0),
            float(about["white"]),
            neutral,
            matrices,
            noise=tuple((float(s), float(o)) for s, o in noise) * (3 if len(noise) == 1 else 1),
            iso=about.get("iso"),
            orientation=int(about.get("orientation", 1)),
            camera=str(about.get("camera", "")),
        ),
        path.name,
    )


def read(path: str | PathLike[str], about: Mapping[str, Any] | None = None) -> Raw:
    """A raw file of either kind: a flat dump is one that somebody describes.

    The description is `about`, or a file beside the dump: <name>.yaml, or sensor.yaml for all of
    a folder.
    """
    path = Path(path)
    said = dict(about) if about else described(path)
    return read_flat(path, said) if said else read_raw(path)


def described(path: Path) -> dict[str, Any]:
    """What is written beside a flat dump about it; empty for other raw files."""
    if path.suffix.lower() not in FLAT_ENDINGS:
        return {}
    found: dict[str, Any] = {}
    for beside in (path.with_name("sensor.yaml"), path.with_name(f"{path.name}.yaml")):
        if beside.is_file():
            try:
                said = plain_yaml(beside.read_text("utf-8"))
            except Exception as error:
                raise SourceProblem(f"{beside.name} cannot be read: {error}") from error
            if not isinstance(said, dict):
                raise SourceProblem(f"{beside.name} must hold lines such as `white: 1023`")
            found.update(said)
    return found


def raw_files(source: str | PathLike[str]) -> list[Path]:
    """The raw files of a folder, or the one file, in order of their names."""
    source = Path(source)
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise SourceProblem(f"there is no {source}")
    found = sorted(
        path
        for path in source.rglob("*")
        if path.suffix.lower() in ENDINGS
        or (path.suffix.lower() in FLAT_ENDINGS and described(path))
    )
    if not found:
        raise SourceProblem(
            f"there are no raw files in {source}: DNG or a camera's own, or flat dumps that a "
            "sensor.yaml describes (width, height, pattern, black, white)"
        )
    return found


def read_all(
    source: str | PathLike[str], about: Mapping[str, Any] | None = None
) -> Iterator[tuple[Path, Raw | SourceProblem]]:
    """Every raw file of a folder in turn; one that cannot be read yields its problem."""
    for path in raw_files(source):
        try:
            yield path, read(path, about)
        except SourceProblem as problem:  # noqa: PERF203 (one bad file stops nothing)
            yield path, problem


# --- cameras' files ---


def _bytes(path: Path) -> bytes:
    if not path.is_file():
        raise SourceProblem(f"there is no file {path}")
    data = path.read_bytes()
    if not data:
        raise SourceProblem(f"{path.name} is empty")
    return data


def _unpacked(path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """The mosaic, and what LibRaw knows about it."""
    try:
        import rawpy
    except ImportError as error:
        raise MissingPackage("rawpy", "raw") from error
    try:
        with rawpy.imread(str(path)) as file:
            if file.raw_type != rawpy.RawType.Flat:
                raise SourceProblem(
                    f"{path.name} holds full colours (a linear DNG, sRaw or Foveon), no mosaic: "
                    "they are developed already; use the camera's own raw file"
                )
            cell = file.raw_pattern
            if cell is None or cell.shape[0] < 2:
                raise SourceProblem(f"{path.name} comes from a sensor without colours")
            letters = file.color_desc.decode()
            if letters[:3] != "RGB" or letters[3:] not in ("", "G", "E"):
                raise SourceProblem(
                    f"{path.name} has the colours {letters}: only RGB is known here"
                )
            seen = file.raw_colors_visible[: cell.shape[0], : cell.shape[1]].copy()
            known = {
                "colours": seen,
                "black": list(file.black_level_per_channel),
                "white": file.white_level,
                "gains": list(file.camera_whitebalance),
                "matrix": np.array(file.rgb_xyz_matrix[:3]),
                "turn": int(file.sizes.flip),
            }
            return file.raw_image_visible.copy(), known
    except rawpy.LibRawFileUnsupportedError:
        raise SourceProblem(
            f"{path.name} is cut off or damaged, or of a camera that LibRaw does not know"
        ) from None
    except (rawpy.LibRawError, ValueError) as error:
        words = str(error.args[0] if error.args else error)
        words = error.args[0].decode() if isinstance(error.args[0], bytes) else words
        raise SourceProblem(f"{path.name} is cut off or damaged: {words.lower()}") from None


def _sensor(known: Mapping[str, Any], tags: list[dict[int, Any]], name: str) -> Sensor:
    """The tags of a DNG count more than what LibRaw makes of them; other files have LibRaw's."""
    colours = known["colours"]
    top: dict[int, Any] = {}
    for directory in reversed(tags):  # the first directory, then the raw picture's own
        if not directory.get(254, 0):
            top.update(directory)
    top = {**top, **(tags[0] if tags else {})}
    dng = 50706 in top
    gains = np.array(known["gains"][:3], np.float64)
    neutral = gains_of(gains) if (gains > 0).all() else None
    if dng and 50728 in top:
        neutral = numbers_of(top[50728])
    matrices: dict[float, np.ndarray] = _dng_matrices(top) if dng else {}
    if not matrices and np.abs(known["matrix"]).max() > 0:
        matrices = {21: known["matrix"]}
    iso = numbers_of(top[34855])[0] if 34855 in top else None
    try:
        found = sensor(
            np.where(colours == 3, 1, colours),
            np.array(known["black"], np.float64)[colours],
            float(known["white"]),
            neutral,
            matrices,
            noise=_dng_noise(top) if dng else (),
            shading=_dng_shading(top) if dng else None,
            iso=float(iso) if iso else None,
            orientation=_TURNS.get(known["turn"], 1),
            camera=" ".join(str(top.get(50708, top.get(272, ""))).replace("\0", " ").split()),
        )
    except (SourceProblem, SettingProblem) as error:
        raise type(error)(f"{name}: {error}") from error
    return found


def _dng_matrices(tags: Mapping[int, Any]) -> dict[float, np.ndarray]:
    """XYZ to camera for one or two lights, the single camera's own calibration included."""
    balance = np.diag(numbers_of(tags.get(50727, (1, 1, 1))))
    found: dict[float, np.ndarray] = {}
    for place in (0, 1):
        if 50721 + place not in tags:
            continue
        matrix = numbers_of(tags[50721 + place])
        own = numbers_of(tags.get(50723 + place, np.eye(3)))
        if matrix.size != 9 or own.size != 9:
            continue
        light = int(numbers_of(tags.get(50778 + place, 21))[0])
        found[float(light or 21)] = balance @ own.reshape(3, 3) @ matrix.reshape(3, 3)
    return found


def _dng_noise(tags: Mapping[int, Any]) -> tuple[tuple[float, float], ...]:
    pairs = numbers_of(tags[51041]).reshape(-1, 2) if 51041 in tags else np.zeros((0, 2))
    if len(pairs) == 1:
        pairs = pairs.repeat(3, 0)
    return tuple((float(s), float(o)) for s, o in pairs) if len(pairs) == 3 else ()


def _dng_shading(tags: Mapping[int, Any]) -> np.ndarray | None:
    """The gain maps of the second list of opcodes, one for each of 2 x 2 places."""
    data = bytes(tags.get(51009, b""))
    maps: dict[int, np.ndarray] = {}
    place = 4
    while place + 16 <= len(data):
        number, _, _, size = struct.unpack(">4I", data[place : place + 16])
        body = data[place + 16 : place + 16 + size]
        place += 16 + size
        if number != 9 or len(body) < 76:
            continue
        top, left, _, _, _, _, down, across, rows, columns = struct.unpack(">10I", body[:40])
        planes = struct.unpack(">I", body[72:76])[0]
        gains = np.frombuffer(body[76:], ">f4")
        if planes != 1 or gains.size != rows * columns or (down, across) != (2, 2):
            return None
        maps[2 * (top % 2) + left % 2] = gains.reshape(rows, columns).astype(np.float64)
    whole = len(maps) == 4 and len({one.shape for one in maps.values()}) == 1
    return np.stack([maps[place] for place in range(4)]) if whole else None


# --- flat dumps ---


def _values(path: Path, about: Mapping[str, Any]) -> np.ndarray:
    data = _bytes(path)
    ending = path.suffix.lower()
    if ending == ".npy":
        try:
            values = np.load(path, allow_pickle=False)
        except Exception as error:
            raise SourceProblem(f"{path.name} cannot be read: {error}") from error
        if values.dtype.kind == "f" or values.dtype not in (np.uint8, np.uint16):
            raise SourceProblem(f"{path.name} holds {values.dtype}: raw numbers are uint16")
        return values
    if ending in (".png", ".tif", ".tiff"):
        return read_picture(path).pixels
    height, width = (int(about.get(side, 0)) for side in ("height", "width"))
    if height < 1 or width < 1:
        raise SettingProblem(f"{path.name}: say the width and the height of the dump")
    skip = int(about.get("skip", 0))
    many = {"planes": 1, "rgb": 3}.get(about.get("kind", "mosaic"), 1) * height * width
    have = len(data) - skip
    if have == many:
        return np.zeros(0, np.uint8)
    if have != 2 * many:
        raise SourceProblem(
            f"{path.name} has {have:,} bytes, and {width} x {height} numbers of 16 bits need "
            f"{2 * many:,}: is it cut off, or is its size another?"
        )
    order = {"little": "<", "big": ">"}.get(str(about.get("bytes", "little")))
    if order is None:
        raise SettingProblem(f"{path.name}: bytes are little or big, not {about['bytes']}")
    return np.frombuffer(data, f"{order}u2", offset=skip).astype(np.uint16)


def _as_mosaic(
    values: np.ndarray, about: Mapping[str, Any], pattern: np.ndarray, name: str
) -> np.ndarray:
    kind = about.get("kind", "mosaic")
    if kind not in ("mosaic", "planes", "rgb"):
        raise SettingProblem(f"{name}: kind is mosaic, planes or rgb, not {kind}")
    if values.ndim == 1:
        height, width = int(about["height"]), int(about["width"])
        shapes = {"mosaic": (height, width), "rgb": (height, width, 3)}
        values = values.reshape(shapes.get(kind, (4, height // 2, width // 2)))
    if kind == "planes" and values.ndim == 3 and 4 in (values.shape[0], values.shape[2]):
        first = values if values.shape[0] == 4 else np.moveaxis(values, 2, 0)
        return np.ascontiguousarray(mosaic_of(first, pattern, about.get("order", "R Gr Gb B")))
    if kind == "rgb" and values.ndim == 3 and values.shape[2] == 3:
        return np.ascontiguousarray(mosaicked(np.moveaxis(values, 2, 0), pattern))
    if kind == "mosaic" and values.ndim == 2:
        return np.ascontiguousarray(values)
    raise SourceProblem(f"{name} has the shape {values.shape}, which is no {kind}")


def with_sensor(raw: Raw, **changes: Any) -> Raw:
    """A frame whose sensor is described otherwise, for what a file leaves out.

    >>> frame = Raw(np.zeros((4, 4), np.uint16), sensor(white=1023))
    >>> with_sensor(frame, iso=800).sensor.iso
    800
    """
    return replace(raw, sensor=replace(raw.sensor, **changes))
