"""Every reader of files meets damaged ones: it reads them or says in a sentence why not.

The default suite tries some damages of each; the slow one some ten minutes' worth. What was found
once is kept below as a case of its own.
"""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import fallow
from fallow.annotations import formats
from fallow.encoders import load, save
from fallow.files import plain_xml, plain_yaml
from fallow.images import maps, tables
from fallow.images.decode import Unreadable, decode, decode_mask, decode_opacity, header
from fallow.images.sketch_files import strokes_in
from fallow.problems import Problem, SourceProblem
from fallow.raw.tiff import directories, read_tiff, write_tiff
from fallow.train.checkpoint import load_state, save_state

PIXELS = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)


def picture(kind: str, **options: Any) -> bytes:
    held = io.BytesIO()
    Image.fromarray(PIXELS).save(held, kind, **options)
    return held.getvalue()


def zipped(compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", compression) as archive:
        archive.writestr("a/1.png", picture("PNG"))
        archive.writestr("b/2.jpg", picture("JPEG"))
        archive.writestr("labels.csv", "path,label\na/1.png,x\nb/2.jpg,y\n")
    return held.getvalue()


def tarred(mode: str = "w") -> bytes:
    held = io.BytesIO()
    with tarfile.open(None, mode, held) as archive:
        for name, data in (("1.jpg", picture("JPEG")), ("1.cls", b"x"), ("1.json", b'{"a": 1}')):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return held.getvalue()


def parquet() -> bytes:
    held = io.BytesIO()
    images = [{"bytes": picture("JPEG"), "path": "a.jpg"}, {"bytes": picture("PNG"), "path": "b"}]
    pq.write_table(pa.table({"image": images, "label": [0, 1]}), held)
    return held.getvalue()


def in_file(read: Callable[[Path], Any], name: str) -> Callable[[bytes], Any]:
    """A reader of files as one of bytes."""

    def of_bytes(data: bytes) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(data)
            return read(path)

    return of_bytes


def made(name: str, write: Callable[[Path], Any]) -> bytes:
    """What `write` puts into a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write(path)
        return path.read_bytes()


def all_pixels(path: Path) -> None:
    images = fallow.open(path)
    list(images.map(lambda pixels: pixels.shape))


def all_of_a_picture(data: bytes) -> None:
    for look in (header, decode, decode_mask, decode_opacity):
        with suppress(Unreadable):
            look(data)


def sized(path: Path) -> Any:
    return write_tiff(path, PIXELS.astype(np.uint16) * 257)


def encoded() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        save(fallow.encoder("resnet8/8"), folder)
        return (Path(folder) / "encoder.json").read_bytes()


def weights(data: bytes) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        save(fallow.encoder("resnet8/8"), folder)
        (Path(folder) / "encoder.json").write_bytes(data)
        return load(folder)


COCO = {
    "images": [{"id": 1, "file_name": "a.jpg", "width": 4, "height": 3}],
    "categories": [{"id": 1, "name": "dog"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 2, 2], "area": 4, "iscrowd": 0}
    ],
}
VOC = b"""<annotation><filename>a.jpg</filename><size><width>4</width><height>3</height></size>
<object><name>dog</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>3</xmax><ymax>3</ymax></bndbox>
</object></annotation>"""
OSM = b"""<osm><node id="1" lon="1" lat="2"><tag k="shop" v="x"/></node>
<node id="2" lon="2" lat="2"/>
<way id="3"><nd ref="1"/><nd ref="2"/><nd ref="1"/><tag k="building" v="yes"/></way></osm>"""
RING = [[[0, 0], [1, 0], [1, 1], [0, 0]]]
FIELD = {"type": "Feature", "id": 1, "properties": {"a": "b"}}
FIELD["geometry"] = {"type": "Polygon", "coordinates": RING}
GEOJSON = {"type": "FeatureCollection", "features": [FIELD]}
SVG = b"""<svg xmlns="http://www.w3.org/2000/svg"><g transform="rotate(3)"><path d="M0 0 C1 1 2 2 3
3 A1 1 0 0 1 5 5"/><circle cx="3" cy="3" r="2"/></g></svg>"""

READERS: dict[str, tuple[bytes, Callable[[bytes], Any]]] = {
    **{
        kind.lower(): (picture(kind), all_of_a_picture)
        for kind in ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
    },
    "zip": (zipped(), in_file(all_pixels, "a.zip")),
    "zip stored": (zipped(zipfile.ZIP_STORED), in_file(all_pixels, "a.zip")),
    "tar": (tarred(), in_file(all_pixels, "a.tar")),
    "tar.gz": (tarred("w:gz"), in_file(all_pixels, "a.tar.gz")),
    "parquet": (parquet(), in_file(all_pixels, "a.parquet")),
    "csv": (b"path,label\na.jpg,1\nb.jpg,2\n", lambda data: tables.read_table(data, "a.csv")),
    "jsonl": (b'{"path": "a"}\n{"b": [1]}\n', lambda data: tables.read_table(data, "a.jsonl")),
    "tiff of 16 bits": (made("a.tif", sized), in_file(read_tiff, "a.tif")),
    "tags of raw": (made("a.tif", sized), directories),
    "svg": (SVG, lambda data: strokes_in(data, "a.svg")),
    "strokes": (b"[[[0, 0], [4, 3]]]", lambda data: strokes_in(data, "a.json")),
    "osm": (OSM, in_file(maps.read_map, "a.osm")),
    "geojson": (json.dumps(GEOJSON).encode(), in_file(maps.read_map, "a.geojson")),
    "coco": (json.dumps(COCO).encode(), in_file(formats.read, "a.json")),
    "voc": (VOC, in_file(formats.read, "a.xml")),
    "checkpoint": (
        made("c.pt", lambda path: save_state(path, {"step": 1, "x": torch.ones(9)})),
        in_file(load_state, "c.pt"),
    ),
    "encoder": (encoded(), weights),
}

damages = st.lists(
    st.tuples(
        st.sampled_from(["cut", "flip", "put", "drop", "twice", "zeros"]),
        st.floats(0, 1, exclude_max=True),
        st.binary(min_size=1, max_size=8),
    ),
    min_size=1,
    max_size=6,
)


def damaged(data: bytes, how: list[tuple[str, float, bytes]]) -> bytes:
    """The bytes after some accidents, each at a place between start (0) and end (1)."""
    for kind, place, word in how:
        at = int(place * len(data))
        if kind == "cut":
            data = data[:at]
        elif kind == "flip" and data:
            data = data[:at] + bytes([data[at] ^ (word[0] or 1)]) + data[at + 1 :]
        elif kind == "put":
            data = data[:at] + word + data[at + len(word) :]
        elif kind == "drop":
            data = data[:at] + data[at + len(word) :]
        elif kind == "twice":
            data = data[:at] + data[max(0, at - 16 * word[0]) :]
        else:
            data = data[:at] + bytes(16) + data[at + 16 :]
    return data


def survives(name: str, data: bytes) -> None:
    with suppress(Problem, Unreadable):
        READERS[name][1](data)


MANY = settings(
    max_examples=4000, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", READERS)
def test_a_whole_file_is_read(name):
    READERS[name][1](READERS[name][0])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", READERS)
@settings(max_examples=15, deadline=None, derandomize=True, database=None)
@given(how=damages)
def test_a_damaged_file_is_read_or_refused_in_a_sentence(name, how):
    survives(name, damaged(READERS[name][0], how))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", READERS)
@MANY
@given(how=damages)
def test_many_damages_of_a_file(name, how):
    survives(name, damaged(READERS[name][0], how))


JSON = ("geojson", "coco", "strokes", "encoder", "jsonl")
STRANGE = [None, True, -1, 1e308, 10**30, "", "x", "\x00", [], [[]], [None], {}, {"a": [1]}]
changes = st.lists(
    st.tuples(st.integers(0, 10**6), st.sampled_from(STRANGE), st.booleans()),
    min_size=1,
    max_size=3,
)


def nodes(data: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to all that a document holds, the document itself first."""
    if not isinstance(data, dict | list):
        return [above]
    inner = data.items() if isinstance(data, dict) else enumerate(data)
    return [above, *(way for key, one in inner for way in nodes(one, (*above, key)))]


def changed(data: Any, at: int, value: Any, drop: bool) -> Any:
    """Something else in a document's place, or nothing."""
    *above, key = (None, *(ways := nodes(data))[at % len(ways)])
    if key is None:
        return value
    data = json.loads(json.dumps(data))
    held = data
    for step in above[1:]:
        held = held[step]
    if drop:
        del held[key]
    else:
        held[key] = value
    return data


def of_strange_json(name: str, how: list[tuple[int, Any, bool]]) -> None:
    text = READERS[name][0].decode()
    documents = [json.loads(line) for line in (text.splitlines() if name == "jsonl" else [text])]
    for at, value, drop in how:
        documents[0] = changed(documents[0], at, value, drop)
    survives(name, "\n".join(map(json.dumps, documents)).encode())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", JSON)
@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(how=changes)
def test_json_that_holds_something_else_is_read_or_refused_in_a_sentence(name, how):
    of_strange_json(name, how)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", JSON)
@MANY
@given(how=changes)
def test_much_json_that_holds_something_else(name, how):
    of_strange_json(name, how)


FOUND = {  # by the tests above
    "coco": [json.dumps(COCO | {"images": [COCO["images"][0] | {"width": 10**30}]}).encode()],
    "geojson": [
        b'{"features": [{"properties": {"a": 1}, "geometry": {"type": "Polygon"}}]}',
        b'{"features": [{"properties": {"a": 1}, "geometry": {"type": "Point"}}]}',
        b'{"features": [{"properties": {"a": 1}, '
        b'"geometry": {"type": "Polygon", "coordinates": {"a": 1}}}]}',
        b'{"features": [7]}',
        b"[]",
    ],
    "jsonl": [b"null", b"\xef\xbb\xbf null\n", b'{"a": 1}\n' + b"null\n" * 400_000],
}


@pytest.mark.parametrize(
    ("name", "data"),
    [(name, data) for name, some in FOUND.items() for data in some],
    ids=lambda word: word if isinstance(word, str) else "",
)
def test_what_was_found_once_is_refused(name, data):
    with pytest.raises(Problem):
        READERS[name][1](data)


@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(st.binary(max_size=200))
def test_text_from_strangers(data):
    with suppress(ValueError):
        plain_xml(data)
    with suppress(yaml.YAMLError, ValueError):
        plain_yaml(data.decode("latin-1"))


# found by the tests above, and kept


def test_a_deflated_strip_with_a_wrong_checksum():
    whole = READERS["tiff of 16 bits"][0]
    with pytest.raises(SourceProblem, match=r"a\.tif is damaged: Error -3"):
        READERS["tiff of 16 bits"][1](whole[:60] + bytes([whole[60] ^ 255]) + whole[61:])


def test_a_map_with_a_document_type():
    hostile = b'<!DOCTYPE osm [<!ENTITY a "bbbbbbbb">]>' + OSM.replace(b'"x"', b'"&a;"')
    with pytest.raises(SourceProblem, match="declares a document type"):
        READERS["osm"][1](hostile)
