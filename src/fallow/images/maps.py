"""OpenStreetMap extracts: what stands where, with its tags. Nothing is fetched."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import IO, Any, Literal
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np

from fallow.problems import MissingPackage, SourceProblem

TERMS = "ODbL 1.0, OpenStreetMap contributors"
Kind = Literal["point", "line", "area"]


@dataclass(frozen=True)
class Thing:
    """Something on a map: its shape in degrees, longitude first, and what is said of it."""

    id: str  # n, w or r and a number
    kind: Kind
    shape: np.ndarray  # K 2; the first and last of an area are one
    tags: dict[str, str]

    @property
    def box(self) -> tuple[float, float, float, float]:
        """West, south, east, north."""
        (west, south), (east, north) = self.shape.min(0).tolist(), self.shape.max(0).tolist()
        return west, south, east, north


def read_map(path: str | PathLike[str]) -> list[Thing]:
    """All tagged things of an extract: .osm, .osm.gz, .osm.pbf (extra maps) or .geojson."""
    place = Path(path)
    if not place.is_file():
        raise SourceProblem(f"there is no map file {place}: check the name")
    name = place.name.lower()
    try:
        if name.endswith((".osm", ".xml")):
            with place.open("rb") as file:
                found = list(_of_xml(file))
        elif name.endswith((".osm.gz", ".xml.gz")):
            with gzip.open(place) as file:
                found = list(_of_xml(file))  # type: ignore[arg-type]
        elif name.endswith(".pbf"):
            found = list(_of_pbf(place))
        elif name.endswith((".geojson", ".json")):
            found = _of_geojson(json.loads(place.read_text(encoding="utf-8")))
        else:
            raise SourceProblem(
                f"{place.name} is no known map file: use .osm, .osm.gz, .osm.pbf or .geojson"
            )
    except (ElementTree.ParseError, EOFError, gzip.BadGzipFile, ValueError, RuntimeError) as error:
        raise SourceProblem(
            f"the map file {place.name} is damaged or cut off ({error}): get it again"
        ) from error
    if not found:
        raise SourceProblem(f"nothing in the map file {place.name} has a tag")
    return found


class _Begun(Exception):
    """The root element begins: what declares a document type would have come before it."""


def _elements(file: IO[bytes]) -> Iterator[tuple[str, Any]]:
    """Elements as they end; a document type, which may make a short text long, is refused."""

    def refuse(*words: Any) -> None:
        raise ValueError("it declares a document type, which may make a short text long")

    def begun(*words: Any) -> None:
        raise _Begun

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler, parser.StartElementHandler = refuse, begun
    with suppress(_Begun, expat.ExpatError):  # what is damaged is said by the next line
        while data := file.read(1 << 16):
            parser.Parse(data)
    file.seek(0)
    return ElementTree.iterparse(file)  # nosec B314


def _of_xml(file: IO[bytes]) -> Iterator[Thing]:
    """Nodes come before the ways that use them; relations are read for outer rings."""
    nodes: dict[str, tuple[float, float]] = {}
    ways: dict[str, list[str]] = {}
    for _, one in _elements(file):
        if one.tag not in ("node", "way", "relation"):
            continue
        tags = {tag.get("k", ""): tag.get("v", "") for tag in one.iter("tag")}
        number = one.get("id", "")
        if one.tag == "node":
            nodes[number] = (float(one.get("lon", "nan")), float(one.get("lat", "nan")))
            if tags:
                yield Thing(f"n{number}", "point", np.array([nodes[number]]), tags)
        elif one.tag == "way":
            ways[number] = [nd.get("ref", "") for nd in one.iter("nd")]
            yield from _way(f"w{number}", ways[number], nodes, tags)
        elif tags.get("type") == "multipolygon":
            members = [
                ways[m.get("ref", "")]
                for m in one.iter("member")
                if m.get("type") == "way" and m.get("role") in ("outer", "", None)
                and m.get("ref") in ways
            ]  # fmt: skip
            for number_of, ring in enumerate(_rings(members)):
                yield from _way(f"r{number}.{number_of}", ring, nodes, tags)
        one.clear()


def _way(
    name: str, refs: list[str], nodes: dict[str, tuple[float, float]], tags: dict[str, str]
) -> Iterator[Thing]:
    """A way whose nodes are in the extract; what lies outside is left out."""
    shape = np.array([nodes[ref] for ref in refs if ref in nodes])
    if not tags or len(shape) < 2:
        return
    closed = len(shape) > 3 and refs[0] == refs[-1] and tags.get("area") != "no"
    round_about = "highway" in tags or "barrier" in tags
    yield Thing(name, "area" if closed and not round_about else "line", shape, tags)


def _rings(ways: list[list[str]]) -> list[list[str]]:
    """Closed rings of ways that meet at their ends."""
    rest, rings = [way for way in ways if len(way) > 1], []
    while rest:
        ring = rest.pop()
        grown = True
        while ring[0] != ring[-1] and grown:
            grown = False
            for place, way in enumerate(rest):
                if way[0] == ring[-1] or way[-1] == ring[-1]:
                    ring = ring + (way if way[0] == ring[-1] else way[::-1])[1:]
                    del rest[place]
                    grown = True
                    break
        rings.append(ring)
    return rings


def _of_pbf(place: Path) -> Iterator[Thing]:
    try:
        import osmium
    except ModuleNotFoundError:
        raise MissingPackage("osmium", "maps") from None
    reader: Any = osmium.FileProcessor(str(place)).with_locations().with_areas()
    for one in reader:
        tags = {tag.k: tag.v for tag in one.tags}
        if not tags:
            continue
        if one.is_node():
            yield Thing(f"n{one.id}", "point", np.array([[one.lon, one.lat]]), tags)
        elif one.is_way() and not one.is_closed():
            shape = np.array([[n.lon, n.lat] for n in one.nodes if n.location.valid()])
            if len(shape) > 1:
                yield Thing(f"w{one.id}", "line", shape, tags)
        elif one.is_way() and ("highway" in tags or "barrier" in tags):
            shape = np.array([[n.lon, n.lat] for n in one.nodes if n.location.valid()])
            yield Thing(f"w{one.id}", "line", shape, tags)
        elif one.is_area() and not ("highway" in tags or "barrier" in tags):
            for number, ring in enumerate(one.outer_rings()):
                shape = np.array([[n.lon, n.lat] for n in ring if n.location.valid()])
                if len(shape) > 3:
                    letter = "w" if one.from_way() else "r"
                    end = "" if one.from_way() else f".{number}"
                    yield Thing(f"{letter}{one.orig_id()}{end}", "area", shape, tags)


def _of_geojson(data: Any) -> list[Thing]:
    """Features with properties; parts of a multi-shape are things of their own."""
    if not isinstance(data, dict):
        raise ValueError("it is no collection of features")
    try:
        features = enumerate(data.get("features", []))
        return [thing for number, feature in features for thing in _parts(number, feature)]
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"a feature has no shape that could be read: {error}") from error


def _parts(number: int, feature: Any) -> list[Thing]:
    tags = {str(k): str(v) for k, v in (feature.get("properties") or {}).items() if v is not None}
    name, geometry = str(feature.get("id", number)), feature.get("geometry") or {}
    shape, kind = geometry.get("coordinates", []), geometry.get("type", "")
    parts: list[tuple[Kind, Any]] = []
    if kind == "Point":
        parts = [("point", [shape])]
    elif kind == "LineString":
        parts = [("line", shape)]
    elif kind == "Polygon":
        parts = [("area", shape[0])]
    elif kind == "MultiPolygon":
        parts = [("area", ring[0]) for ring in shape]
    elif kind == "MultiLineString":
        parts = [("line", line) for line in shape]
    return [
        Thing(f"{name}.{place}", what, np.array(points, np.float64)[:, [0, 1]], tags)
        for place, (what, points) in enumerate(parts if tags else [])
    ]
