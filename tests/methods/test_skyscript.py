"""SkyScript: maps read, joined to pictures by area, seen by resolution, said, filtered, written."""

from __future__ import annotations

import gzip
from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import fallow
from fallow.encoders import dual
from fallow.images.footprints import footprints
from fallow.images.joins import joined
from fallow.images.maps import Thing, read_map
from fallow.methods.curate.skyscript import Settings, among, pairs, rules, said, seen
from fallow.problems import SourceProblem

OSM = """<?xml version='1.0'?><osm>
<node id="1" lat="50.001" lon="10.001"><tag k="power" v="pole"/></node>
<node id="2" lat="50.004" lon="10.000"/><node id="3" lat="50.004" lon="10.020"/>
<node id="4" lat="50.010" lon="10.010"/><node id="5" lat="50.010" lon="10.016"/>
<node id="6" lat="50.016" lon="10.016"/><node id="7" lat="50.016" lon="10.010"/>
<way id="8"><nd ref="2"/><nd ref="3"/><tag k="highway" v="footway"/></way>
<way id="9"><nd ref="4"/><nd ref="5"/><nd ref="6"/><nd ref="7"/><nd ref="4"/>
<tag k="landuse" v="quarry"/><tag k="resource" v="bauxite"/></way>
<way id="10"><nd ref="4"/><nd ref="5"/><nd ref="6"/></way>
<way id="11"><nd ref="6"/><nd ref="7"/><nd ref="4"/></way>
<relation id="12"><member type="way" ref="10" role="outer"/>
<member type="way" ref="11" role="outer"/>
<tag k="type" v="multipolygon"/><tag k="natural" v="water"/></relation>
</osm>"""


@pytest.fixture
def extract(tmp_path):
    (tmp_path / "a.osm").write_text(OSM)
    return tmp_path / "a.osm"


@pytest.fixture
def tiles(tmp_path):
    place = tmp_path / "tiles"
    place.mkdir()
    lines = ["path,west,south,east,north,gsd"]
    boxes = {
        "a": (10.0, 50.0, 10.005, 50.005, 0.1),
        "b": (10.011, 50.011, 10.013, 50.013, 0.5),
        "c": (11.0, 50.0, 11.005, 50.005, 0.1),
        "d": (10.0, 50.0, 10.005, 50.005, 30.0),
    }
    for number, (name, box) in enumerate(boxes.items()):
        shade = np.full((32, 32, 3), 40 * number, np.uint8)
        Image.fromarray(shade).save(place / f"{name}.png")
        lines.append(f"{name}.png," + ",".join(map(str, box)))
    (tmp_path / "boxes.csv").write_text("\n".join(lines) + "\n")
    return fallow.open(place), tmp_path / "boxes.csv"


def test_points_lines_areas_and_rings_are_read(extract, tmp_path):
    things = {one.id: one for one in read_map(extract)}
    assert {key: one.kind for key, one in things.items()} == {
        "n1": "point", "w8": "line", "w9": "area", "r12.0": "area",
    }  # fmt: skip
    assert things["w9"].tags == {"landuse": "quarry", "resource": "bauxite"}
    assert things["r12.0"].box == (10.010, 50.010, 10.016, 50.016)
    with gzip.open(tmp_path / "b.osm.gz", "wt") as file:
        file.write(OSM)
    assert len(read_map(tmp_path / "b.osm.gz")) == len(things)


def test_geojson_is_read(tmp_path):
    (tmp_path / "a.geojson").write_text(
        '{"features": [{"id": "x", "properties": {"natural": "tree"}, "geometry": '
        '{"type": "Point", "coordinates": [10, 50]}}, {"properties": {"landuse": "farmland"}, '
        '"geometry": {"type": "MultiPolygon", "coordinates": '
        "[[[[0, 0], [1, 0], [1, 1], [0, 0]]], [[[5, 5], [6, 5], [6, 6], [5, 5]]]]}}]}"
    )
    things = read_map(tmp_path / "a.geojson")
    assert [one.kind for one in things] == ["point", "area", "area"]


def test_damaged_and_unknown_maps_are_one_sentence(tmp_path):
    (tmp_path / "cut.osm").write_text(OSM[:300])
    with pytest.raises(SourceProblem, match="damaged or cut off"):
        read_map(tmp_path / "cut.osm")
    (tmp_path / "map.shp").write_text("")
    with pytest.raises(SourceProblem, match="no known map file"):
        read_map(tmp_path / "map.shp")
    with pytest.raises(SourceProblem, match="no map file"):
        read_map(tmp_path / "elsewhere.osm")
    (tmp_path / "bare.osm").write_text("<osm><node id='1' lat='0' lon='0'/></osm>")
    with pytest.raises(SourceProblem, match="has a tag"):
        read_map(tmp_path / "bare.osm")


def test_a_join_is_what_looking_at_every_pair_gives():
    draw = np.random.default_rng(0)
    things = []
    for number in range(300):
        centre = draw.uniform(-0.05, 0.05, 2)
        kind = ("point", "line", "area")[number % 3]
        size = draw.uniform(0.001, 0.03)
        if kind == "point":
            shape = centre[None]
        elif kind == "line":
            shape = centre + np.array([[-size, -size / 3], [size, size / 2]])
        else:
            turn = np.linspace(0, 2 * np.pi, 9)
            shape = centre + size * np.stack([np.cos(turn), np.sin(turn)], 1)
        things.append(Thing(f"{number}", kind, shape, {"natural": "tree"}))
    corners = draw.uniform(-0.06, 0.05, (40, 2))
    boxes = np.concatenate([corners, corners + 0.012], 1)
    found = joined(boxes, things)
    for box, rows in zip(boxes, found, strict=True):
        west, south, east, north = box
        x, y = np.meshgrid(np.linspace(west, east, 25), np.linspace(south, north, 25))
        for number, thing in enumerate(things):
            shape = thing.shape
            t = np.linspace(0, 1, 400)[:, None]
            edges = [one + t * (other - one) for one, other in pairwise(shape)]
            line = np.concatenate(edges or [shape])
            hit = ((line >= (west, south)) & (line <= (east, north))).all(1).any()
            if thing.kind == "area":
                centre = shape[:-1].mean(0)
                radius = np.linalg.norm(shape[0] - centre) * np.cos(np.pi / 8)
                hit |= bool((np.hypot(x - centre[0], y - centre[1]) < radius).any())
            if hit:
                assert number in rows
            elif number in rows:  # a corner between the looked-at places
                grown = (line >= (west - 2e-4, south - 2e-4)) & (
                    line <= (east + 2e-4, north + 2e-4)
                )
                near = np.hypot(x - shape.mean(0)[0], y - shape.mean(0)[1]).min()
                assert grown.all(1).any() or near < np.ptp(shape, 0).max() / 2 + 2e-3


def test_a_box_may_cross_the_date_line():
    things = [Thing("a", "point", np.array([[179.999, 0.0]]), {}),
              Thing("b", "point", np.array([[-179.999, 0.0]]), {}),
              Thing("c", "point", np.array([[0.0, 0.0]]), {})]  # fmt: skip
    (found,) = joined(np.array([[179.99, -0.01, -179.99, 0.01]]), things)
    assert found.tolist() == [0, 1]


def test_coarse_pictures_show_less():
    table = rules()
    tags = {"power": "pole", "landuse": "quarry", "ref": "7", "building": "no"}
    assert seen(tags, 0.1, table) == [("power", "pole"), ("landuse", "quarry")]
    assert seen(tags, 5.0, table) == [("landuse", "quarry")]
    assert seen(tags, 30.0, table) == []


def test_what_is_alike_is_said_once():
    tree, path = [("natural", "tree")], [("highway", "footway")]
    assert among(tree, [tree, path, path]) == "natural tree, surrounded by road of footway"
    assert said(("building", "yes")) == "building"


def test_counts_by_hand(extract, tiles):
    images, boxes = tiles
    where, metres = footprints(images, boxes)
    found = pairs(where, metres, read_map(extract), Settings())
    told = {images.column("path")[one.row]: one for one in found}
    assert set(told) == {"a.png", "b.png"}  # c is elsewhere, d too coarse
    assert told["a.png"].captions == "power pole, surrounded by road of footway"
    assert told["b.png"].focus in ("w9", "r12.0")
    largest = pairs(where, metres, read_map(extract), Settings(focus="largest"))
    assert {one.row for one in largest} == {one.row for one in found}


def test_the_verb_writes_pairs_with_both_licences(extract, tiles, tmp_path):
    images, boxes = tiles
    words = dual.save(dual.tiny(), tmp_path / "words")
    result = fallow.curate(images, pairs=extract, footprints=boxes, encoder=words,
                           settings={"keep": 0.5}, out=tmp_path / "pairs")  # fmt: skip
    table = pq.read_table(tmp_path / "pairs" / "pairs.parquet")
    assert table.column("kept").to_pylist().count(True) == 1
    assert "ODbL" in table.column("map_licence")[0].as_py()
    assert "ODbL" in (tmp_path / "pairs" / "NOTICE").read_text()
    assert len((tmp_path / "pairs" / "captions.csv").read_text().splitlines()) == 2
    bare = fallow.curate(images, pairs=extract, footprints=boxes)
    assert bare.table.num_rows == 2
    assert any("no pair was left out" in note for note in bare.notes)
    assert result.findings["pairs"] == 2


def test_footprints_from_geotiff_and_what_is_wrong_with_others(tmp_path, tiles):
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    place = tmp_path / "geo"
    place.mkdir()
    tags = ImageFileDirectory_v2()
    tags[33550], tags.tagtype[33550] = (0.001, 0.001, 0.0), 12
    tags[33922], tags.tagtype[33922] = (0.0, 0.0, 0.0, 10.0, 50.0, 0.0), 12
    tags[34735], tags.tagtype[34735] = (1, 1, 0, 1, 1024, 0, 1, 2), 3
    Image.fromarray(np.zeros((20, 10, 3), np.uint8)).save(place / "a.tif", tiffinfo=tags)
    boxes, metres = footprints(fallow.open(place))
    np.testing.assert_allclose(boxes[0], (10.0, 49.98, 10.01, 50.0))
    assert metres[0] == pytest.approx(0.001 * 111_320 * np.cos(np.radians(49.99)), rel=1e-6)
    images, _ = tiles
    with pytest.raises(SourceProblem, match="says where it was taken"):
        footprints(images)
    (tmp_path / "bad.csv").write_text("path,west,south,east,north\na.png,10,95,11,96\n")
    with pytest.raises(SourceProblem, match="no box in degrees"):
        footprints(images, tmp_path / "bad.csv")
