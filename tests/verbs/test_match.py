"""`match` as a whole: pieces with and without complete pictures, sketches, runs, refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import fallow
from fallow.images.samples import streets, torn, write
from fallow.images.sketch_files import of_path, read_sketch, strokes_in
from fallow.images.sketches import EmptySketch
from fallow.methods.shared.sketching import prefixes, with_sketches
from fallow.problems import SettingProblem, SourceProblem
from fallow.verbs.match import match

PIECES = {"size": 64, "blocks": 1, "depth": 1, "batch": 2, "layouts": 1, "touching": 4, "pairs": 1}
SKETCHES = {
    "batch": 4, "size": 32, "points": 12, "layers": [8, 8], "code": 4, "memory": 8, "mixtures": 2,
    "attention": 8,
}  # fmt: skip


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    return write(torn(streets(1, seed=1, size=(96, 128)), seed=1, side=96),
                 tmp_path_factory.mktemp("torn")) / "images"  # fmt: skip


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Photos of boxes in a folder, and sketches of all of them as stroke JSON, SVG and PNG."""
    root = tmp_path_factory.mktemp("photos")
    (root / "photos").mkdir()
    (root / "sketches").mkdir()
    draw = np.random.default_rng(0)
    for k in range(12):
        left, top = draw.integers(4, 12, 2).tolist()
        right, bottom = (draw.integers(18, 28, 2)).tolist()
        photo = np.full((32, 32, 3), 230, np.uint8)
        photo[top:bottom, left:right] = draw.integers(0, 160, 3)
        Image.fromarray(photo).save(root / "photos" / f"p{k:02d}.png")
        line = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
        file = root / "sketches" / f"p{k:02d}"
        if k % 3 == 0:
            file.with_suffix(".json").write_text(json.dumps([line]))
        elif k % 3 == 1:
            text = " ".join(f"{x},{y}" for x, y in line)
            svg = f'<svg xmlns="http://www.w3.org/2000/svg"><polyline points="{text}"/></svg>'
            file.with_suffix(".svg").write_text(svg)
        else:
            paper = np.full((96, 96, 3), 255, np.uint8)
            for one, other in ((0, 1), (1, 2), (2, 3), (3, 0)):
                (x, y), (u, v) = sorted([line[one], line[other]])
                y, v = sorted([y, v])
                paper[3 * y : 3 * v + 2, 3 * x : 3 * u + 2] = 0
            Image.fromarray(paper).save(file.with_suffix(".png"))
    return root


def test_pieces_leave_tables_groups_points_and_a_report(pieces, tmp_path):
    whole = streets(2, seed=5, size=(64, 96))
    result = match(pieces, whole=whole, epochs=1, settings=PIECES, out=tmp_path / "m")
    assert result.table.num_rows == len(list(pieces.glob("*.png")))
    assert all(cell for cell in result.table.column("neighbours").to_pylist())
    for name in ("pieces.csv", "joins.csv", "points.json", "match.json", "table.parquet"):
        assert (tmp_path / "m" / name).is_file()
    page = (tmp_path / "m" / "report.html").read_text()
    assert "Neighbours" in page
    assert len(result.pictures()) == len(result.assembly.groups)
    again = match(pieces, run=tmp_path / "m", out=tmp_path / "again")  # learns nothing
    np.testing.assert_allclose(again.assembly.alike, result.assembly.alike, atol=1e-4)
    assert again.assembly.scale == result.assembly.scale
    assert not (tmp_path / "again" / "run").exists()


def test_without_complete_pictures_the_pieces_teach(pieces):
    result = match(pieces, epochs=1, settings=PIECES)
    assert any("No complete pictures" in note for note in result.notes)


def test_sketches_find_photos_and_a_run_is_used_again(photos, tmp_path):
    query = photos / "sketches" / "p03.json"
    result = match(
        photos / "photos", sketch=query, sketches=photos / "sketches", encoder="resnet8/8",
        epochs=2, settings=SKETCHES, out=tmp_path / "s",
    )  # fmt: skip
    assert result.table.column("rank").to_pylist() == list(range(1, 13))
    distances = result.table.column("distance").to_pylist()
    assert distances == sorted(distances)
    assert result.findings["measured"]["among"] == 12
    assert "While it was drawn" in (tmp_path / "s" / "report.html").read_text()
    again = match(photos / "photos", sketch=[query], run=tmp_path / "s")
    assert again.table.column("path").equals(result.table.column("path"))
    learnt = next((tmp_path / "s").rglob("generator.safetensors"))
    learnt.write_bytes(learnt.read_bytes()[:-9])
    with pytest.raises(SourceProblem, match="cannot be used"):
        match(photos / "photos", sketch=[query], run=tmp_path / "s")
    learnt.unlink()
    with pytest.raises(SourceProblem, match=r"generator\.safetensors is missing"):
        match(photos / "photos", sketch=[query], run=tmp_path / "s")


def test_a_saved_run_learns_no_more(pieces, tmp_path):
    with pytest.raises(SettingProblem, match="learns no more"):
        match(pieces, run=tmp_path, epochs=1)
    with pytest.raises(SourceProblem, match="not a run of match on pieces"):
        match(pieces, run=tmp_path)


def test_photos_without_sketches_say_what_is_missing(photos, tmp_path):
    images = fallow.open(photos / "photos")
    with pytest.raises(SourceProblem, match="has a sketch"):
        with_sketches(images)
    with pytest.raises(SourceProblem, match="no folder of sketches"):
        with_sketches(images, tmp_path / "nowhere")
    (tmp_path / "other.json").write_text("[[[0, 0], [1, 1]]]")
    with pytest.raises(SourceProblem, match="called like a photo"):
        with_sketches(images, tmp_path)


def test_a_photo_drawn_twice_is_there_twice(photos, tmp_path):
    for number in (1, 2):
        (tmp_path / f"p04_{number}.json").write_text("[[[0, 0], [1, 1]]]")
    images = fallow.open(photos / "photos")
    assert with_sketches(images, tmp_path).column("id").tolist() == ["p04.png"] * 2


@pytest.mark.parametrize(
    ("name", "data"),
    [("a.json", b"[]"), ("a.json", b"[[]]"), ("a.svg", b"<svg/>")],
)
def test_an_empty_sketch_is_refused(name, data):
    with pytest.raises(EmptySketch, match="draw at least one line"):
        strokes_in(data, name)


def test_an_empty_sheet_is_no_sketch(tmp_path):
    Image.fromarray(np.full((30, 30), 255, np.uint8)).save(tmp_path / "sheet.png")
    with pytest.raises(EmptySketch, match="nothing is drawn"):
        read_sketch(tmp_path / "sheet.png")


@pytest.mark.parametrize(
    ("name", "data"),
    [("a.json", b"{"), ("a.json", b'{"x": 1}'), ("a.svg", b"<svg"), ("a.txt", b"x"),
     ("a.png", b"no picture"), ("a.json", b"[[1, 2]]")],
)  # fmt: skip
def test_a_broken_sketch_is_refused_in_one_sentence(name, data):
    with pytest.raises(SourceProblem) as seen:
        strokes_in(data, name)
    assert "\n" not in str(seen.value)


def test_curves_and_transforms_of_svg():
    (curve,) = of_path("M0 0 C0 10 10 10 10 0")
    assert np.allclose(curve[-1], [10, 0])
    assert curve[:, 1].max() == pytest.approx(7.5, abs=0.1)
    (arc,) = of_path("M0 0 A5 5 0 0 1 10 0")
    assert np.allclose(np.linalg.norm(arc - [5, 0], axis=1), 5)
    svg = (
        b'<svg><g transform="translate(5 1) scale(2)"><line x1="0" y1="0" x2="1" y2="3"/></g></svg>'
    )
    (line,) = strokes_in(svg, "a.svg")
    assert line.tolist() == [[5, 1], [7, 7]]


def test_a_sketch_of_another_aspect_keeps_it(photos):
    """A wide sketch among square photos is laid into the square, not stretched."""
    images = fallow.open(photos / "photos")
    assert len(images) == 12
    wide = [np.array([[0.0, 0.0], [90.0, 10.0]])]
    from fallow.images.sketch_forms import sketch_pixels

    drawn = np.argwhere(sketch_pixels(wide, "whole", 64))
    assert np.ptp(drawn[:, 1]) > 5 * np.ptp(drawn[:, 0])


def test_a_sketch_grows_stroke_by_stroke():
    strokes = [np.zeros((3, 2)), np.zeros((5, 2))]
    counts = [sum(map(len, one)) for one in prefixes(strokes, 4)]
    assert counts == [2, 4, 6, 8]


def test_one_piece_is_refused_from_the_verb_too(tmp_path):
    pixels = np.full((60, 60, 4), 200, np.uint8)
    pixels[:5, :, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "one.png")
    with pytest.raises(SourceProblem, match="holds one piece"):
        match(tmp_path)
