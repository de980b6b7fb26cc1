"""`curate`: what is kept and why, what is said of stages that did not run, and withdrawals."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

import fallow
from fallow.problems import SettingProblem


def save(path, pixels, creator="Ann", rights="CC BY 4.0"):
    exif = Image.Exif()
    if creator:
        exif[0x013B], exif[0x8298] = creator, rights
    Image.fromarray(pixels).save(path, exif=exif, quality=95)


@pytest.fixture
def pool(tmp_path):
    """Four licensed pictures, one of nobody known, and one person."""
    folder = tmp_path / "pool"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for number in range(5):
        coarse = draw.integers(0, 256, (6, 6, 3)).astype(np.uint8)
        pixels = np.array(Image.fromarray(coarse).resize((96, 96), Image.Resampling.BICUBIC))
        save(folder / f"{number}.jpg", pixels, creator="" if number == 4 else "Ann")
    astronaut = pytest.importorskip("skimage.data").astronaut()
    save(folder / "person.jpg", astronaut)
    return folder


def decisions(out):
    with open(out / "decisions.csv", newline="") as file:
        return {row["path"].split("/")[-1]: row for row in csv.DictReader(file)}


def test_what_is_not_known_to_be_allowed_is_left_out_and_what_was_not_checked_is_said(
    pool, tmp_path
):
    result = fallow.curate(pool, out=tmp_path / "out")
    found = decisions(tmp_path / "out")
    assert {name for name, row in found.items() if row["decision"] == "keep"} == {
        "0.jpg", "1.jpg", "2.jpg", "3.jpg", "person.jpg",
    }  # fmt: skip
    assert found["4.jpg"]["stage"] == "licence"
    assert "not checked, for want of a detector: faces, people" in " ".join(result.notes)
    assert "not checked" in (tmp_path / "out" / "report.html").read_text()
    assert (tmp_path / "out" / "NOTICE").is_file()


def test_a_broken_file_is_named_among_the_unreadable_ones(pool, tmp_path):
    whole = (pool / "0.jpg").read_bytes()
    (pool / "broken.jpg").write_bytes(whole[: len(whole) // 2])
    fallow.curate(pool, out=tmp_path / "out")
    assert decisions(tmp_path / "out")["broken.jpg"]["stage"] == "readable"
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Every file could be read" not in page
    assert "broken.jpg" in page[page.rindex("Unreadable files") :]


def test_people_are_found_and_a_later_run_asks_only_about_what_is_new(pool, tmp_path):
    pytest.importorskip("cv2")
    out = tmp_path / "out"
    fallow.curate(pool, out=out, people=True)
    assert decisions(out)["person.jpg"]["decision"] != "keep"
    assert decisions(out)["0.jpg"]["decision"] == "keep"
    again = fallow.curate(pool, out=out, people=True, withdrawn="creator=Ann", why="by letter")
    assert "asked about 0 that were new" in again.headlines
    assert {row["decision"] for row in decisions(out).values()} == {"drop"}
    assert "Ann" not in (out / "withdrawn.csv").read_text()


def test_copies_hold_the_pixels_and_nothing_of_people(pool, tmp_path):
    fallow.curate(pool, out=tmp_path / "out", copies_too=True)
    (copy,) = (tmp_path / "out").glob("**/0.jpg")
    assert np.array_equal(np.array(Image.open(copy)), np.array(Image.open(pool / "0.jpg")))
    assert 0x013B not in Image.open(copy).getexif()


def test_mistakes(pool, tmp_path):
    with pytest.raises(SettingProblem, match="say where with out="):
        fallow.curate(pool)
    with pytest.raises(SettingProblem, match="path=, hash= or creator="):
        fallow.curate(pool, out=tmp_path / "out", withdrawn="Ann")
    with pytest.raises(SettingProblem, match="did you mean licences"):
        fallow.curate(pool, out=tmp_path / "out", settings={"licence": ["CC0"]})


def test_annotations_of_two_sources_become_one_and_their_contradictions_are_listed(pool, tmp_path):
    coco = {
        "images": [
            {"id": k, "file_name": f"elsewhere/{k}.jpg", "width": 96, "height": 96}
            for k in range(3)
        ],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [
            {"id": k, "image_id": k, "category_id": 1, "bbox": [9, 9, 40, 40], "iscrowd": 0}
            for k in range(3)
        ],
    }
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    (tmp_path / "voc").mkdir()
    for name, label, width in (("0", "Cat", 96), ("1", "dog", 96), ("9", "cat", 80)):
        (tmp_path / "voc" / f"{name}.xml").write_text(
            f"<annotation><filename>{name}.jpg</filename><size><width>{width}</width>"
            "<height>96</height><depth>3</depth></size>"
            f"<object><name>{label}</name><bndbox><xmin>10</xmin><ymin>10</ymin>"
            "<xmax>49</xmax><ymax>49</ymax></bndbox></object></annotation>"
        )
    sources = {"ours": tmp_path / "coco.json", "theirs": tmp_path / "voc"}
    result = fallow.curate(pool, merge=sources, form="coco", out=tmp_path / "out")
    kept = json.loads((tmp_path / "out" / "annotations" / "annotations.json").read_text())
    assert {one["file_name"].split("/")[-1] for one in kept["images"]} >= {"0.jpg", "9.jpg"}
    # one box for the cat both saw, two for the second picture, one each for the other two
    assert len(kept["annotations"]) == 5
    assert result.table.select(["kind", "image"]).to_pylist() == [{"kind": "class", "image": "1"}]
    assert "1 annotated picture not in pool: 9" in result.notes
    assert result.headlines[-1] == "3 pictures of pool without any of them"
