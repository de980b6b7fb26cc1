"""Captions beside pictures, and texts alone: files of every kind, and what is wrong with them."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

import fallow.images
from fallow.images.captions import (
    Texts,
    captioned,
    captions,
    captions_fingerprint,
    open_texts,
    with_captions,
)
from fallow.problems import SourceProblem


def png(value=0):
    file = io.BytesIO()
    Image.fromarray(np.full((4, 5, 3), value, np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "images" / f"{name}.png").write_bytes(png())
    return tmp_path


ROWS = [("images/a.png", "A dog."), ("images/a.png", "a puppy, of course"),
        ("images/b.png", "a cat"), ("images/b.png", " "), ("images/z.png", "nobody")]  # fmt: skip


def written(folder, kind):
    path = folder / f"captions.{kind}"
    if kind == "csv":
        lines = [f'{name},"{text}"' for name, text in ROWS]
        path.write_text("path,caption\n" + "\n".join(lines))
    elif kind == "jsonl":
        path.write_text("\n".join(json.dumps({"file_name": n, "text": t}) for n, t in ROWS))
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        names = [["A dog.", "a puppy, of course"], ["a cat", " "], ["nobody"]]
        paths = ["images/a.png", "images/b.png", "images/z.png"]
        pq.write_table(pa.table({"path": paths, "captions": names}), path)
    return path


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_several_captions_of_a_picture_from_a_file(folder, kind):
    images = fallow.images.open(folder, labels=False)
    found = with_captions(images, written(folder, kind))
    assert captions(found) == [("A dog.", "a puppy, of course"), ("a cat",), ()]
    notes = " ".join(found.notes)
    assert "images/z.png" in notes
    assert "1 of 3 pictures have no caption" in notes
    assert ("1 empty" in notes) == (kind != "parquet")  # there it is one of several
    assert len(captioned(found)) == 2
    assert captions_fingerprint(found, ["caption"]) != captions_fingerprint(images, ["caption"])
    assert captions(with_captions(found, {"images/c.png": "new"})) == [(), (), ("new",)]


def test_captions_of_a_manifest_and_of_shards(folder):
    path = folder / "manifest.jsonl"
    rows = [{"path": "images/a.png", "caption": ["x", "y"]}, {"path": "images/b.png"}]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    assert captions(fallow.images.open(path)) == [("x", "y"), ()]
    shard = folder / "shard-000.tar"
    with tarfile.open(shard, "w") as tar:
        for name, data in (
            ("0.png", png()), ("0.txt", b"one text"), ("1.png", png(9)),
            ("1.json", json.dumps({"caption": ["two", "texts"]}).encode()),
        ):  # fmt: skip
            about = tarfile.TarInfo(name)
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))
    assert captions(fallow.images.open(shard)) == [("one text",), ("two", "texts")]


def test_captions_inside_an_archive(folder):
    path = folder / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", png())
        archive.writestr("captions.csv", "path,caption\na.png,a dog\n")
    images = fallow.images.open(path, labels=False)
    assert captions(with_captions(images, "captions.csv")) == [("a dog",)]


def test_a_text_that_looks_like_a_list_is_a_text(folder):
    images = fallow.images.open(folder, labels=False)
    found = with_captions(images, {"images/a.png": "[sic] a dog"})
    assert captions(found)[0] == ("[sic] a dog",)


def test_captions_that_cannot_be_used(folder):
    images = fallow.images.open(folder, labels=False)

    def problem(text, name="captions.csv", **options):
        path = folder / name
        path.write_bytes(text)
        with pytest.raises(SourceProblem) as error:
            with_captions(images, path, **options)
        return str(error.value)

    assert "no name in" in problem(b"path,caption\nelsewhere.png,a\n")
    assert "no column caption" in problem(b"path,words\nimages/a.png,a\n")
    assert "every cell" in problem(b"path,caption\nimages/a.png,\n")
    assert "without a path" in problem(b"path,caption\n,a dog\nimages/a.png,b\n")
    assert "no column path" in problem(b"who,caption\nx,a\n")
    assert "cannot be read" in problem(
        b'{"path": "images/a.png", "caption": "\xff\xfe"}', "c.jsonl"
    )
    with pytest.raises(SourceProblem, match="no file of captions"):
        with_captions(images, folder / "none.csv")
    with pytest.raises(SourceProblem, match="no column caption"):
        captions(images)
    with pytest.raises(SourceProblem, match="no picture of"):
        captioned(with_captions(images, {"images/a.png": "a"}).select([1, 2]))
    with pytest.raises(SourceProblem, match="the one caption 'same'"):
        captioned(with_captions(images, {"images/a.png": "Same", "images/b.png": "same"}))


def test_texts_alone(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("a dog\n\ntwo  dogs\n")
    texts = open_texts(path)
    assert texts.texts == ("a dog", "two dogs")
    assert texts.notes == ["1 empty text is left out"]
    assert texts.select([1]).texts == ("two dogs",)
    assert texts.fingerprint != Texts(["a dog"]).fingerprint
    assert open_texts(texts) is texts
    (tmp_path / "t.csv").write_text("text,n\na dog,1\n,2\n")
    assert open_texts(tmp_path / "t.csv").texts == ("a dog",)
    path.write_bytes(b"good\nbad \xff\n")
    with pytest.raises(SourceProblem, match="line 2"):
        open_texts(path)
    with pytest.raises(SourceProblem, match="holds no text"):
        Texts([" "])
    with pytest.raises(SourceProblem, match="no file of texts"):
        open_texts(tmp_path / "none.txt")
    (tmp_path / "x.doc").write_text("a")
    with pytest.raises(SourceProblem, match="not a file of texts"):
        open_texts(tmp_path / "x.doc")
