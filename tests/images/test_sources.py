"""What `open` makes of folders and arrays, and what it says of sources that hold nothing."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from containers import IDS, JPEG, PNG, cells, tarred, zipped
from hypothesis import given, settings
from hypothesis import strategies as st

from fallow.images import open
from fallow.images.stores import FileProblem
from fallow.problems import Problem, SourceProblem


def test_a_folder_is_listed_measured_and_labelled_by_its_folders(folder):
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "x.jpg").write_bytes(JPEG)
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "x.jpg").write_bytes(JPEG)
    (folder / "notes.txt").write_text("not an image, and not called one")
    images = open(folder)
    assert images.column("id").tolist() == IDS
    assert images.column("format").tolist() == ["JPEG", "PNG", "WEBP", "GIF"]
    assert images.column("width").tolist() == [40] * 4
    assert images.column("bytes").tolist() == [os.path.getsize(folder / name) for name in IDS]
    assert images.column("label").tolist() == ["cats", "cats", "dogs", "deep"]
    assert images.problems == []
    assert images.name == "photos"
    assert images.address(0) == str(folder / "cats" / "a.jpg")
    assert images[-1].shape == (30, 40, 3)
    assert len(images.fingerprint) == 32


def test_bad_files_are_problems_and_the_rest_is_opened(folder):
    bad = {
        "cut.jpg": JPEG[: len(JPEG) // 2],
        "empty.png": b"",
        "text.jpg": b"a letter",
        "phone.heic": b"ftypheic",
    }
    for name, data in bad.items():
        (folder / name).write_bytes(data)
    (folder / "really_png.jpg").write_bytes(PNG)
    os.mkfifo(folder / "pipe.jpg")
    images = open(folder)
    assert len(images) == 5
    assert images.where("id = 'really_png.jpg'").column("format").tolist() == ["PNG"]
    reasons = {problem.path: problem.reason for problem in images.problems}
    assert reasons == {
        "cut.jpg": "truncated: the end of the file is missing",
        "empty.png": "the file is empty",
        "text.jpg": "holds text, not an image",
        "phone.heic": ".heic is not a format fallow reads",
        "pipe.jpg": "not a regular file",
    }


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ([], "is empty"),
        (["a.txt", "b.csv"], "there are no images"),
        (["bad.jpg"], "none of the 1 images"),
        (["a.heic"], "not a format fallow reads"),
    ],
)
def test_a_folder_without_images_is_one_sentence(tmp_path, names, sentence):
    root = tmp_path / "bare"
    root.mkdir()
    for name in names:
        (root / name).write_text("something")
    with pytest.raises(SourceProblem, match=sentence):
        open(root)


@pytest.mark.parametrize(
    "source",
    ["nowhere", "nowhere.zip", "memory://nowhere", "nope://x/y", "shard-{000..001}.tar", "no*.tar"],
)
def test_a_missing_source_is_one_sentence(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceProblem):
        open(source)
    with pytest.raises(SourceProblem):
        open(3)


def test_arrays(tmp_path):
    stack = np.random.default_rng(0).integers(0, 255, (5, 12, 10, 3), np.uint8)
    images = open(stack, labels=[0, 1, None, 1, 0], mask=[s[..., 0] for s in stack])
    assert (images[3] == stack[3]).all()
    assert images.labels[0].tolist() == [0, 1, -1, 1, 0]
    assert (images.mask(2) == stack[2, ..., 0]).all()
    assert len(images.pack(8)) == 5
    assert open(stack).fingerprint == images.fingerprint != open(stack + 1).fingerprint
    mixed = open([np.zeros((4, 5)), np.zeros((7, 3, 4), np.uint8), np.zeros((2, 2, 2, 2))])
    assert mixed[1].shape == (7, 3, 3)
    assert len(mixed.problems) == 1
    for source in ([], np.zeros(4), np.zeros((2, 3)), object()):
        with pytest.raises(Problem):
            open(source)
    with pytest.raises(SourceProblem, match="2 labels do not fit 5 images"):
        open(stack, labels=[1, 2])


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(["zip", "tar", "tar.gz", "parquet", "arrow", "csv", "jsonl"]), st.data())
def test_flipped_bytes_in_any_container_never_crash(tmp_path_factory, kind, data):
    root = tmp_path_factory.mktemp("fuzz")
    path = root / f"a.{kind}"
    if kind == "zip":
        zipped([("a.png", PNG), ("b/c.jpg", JPEG), ("labels.csv", "path,x\na.png,1\n")], path)
    elif kind.startswith("tar"):
        tarred([("a.png", PNG), ("a.cls", b"1")], path, "w:gz" if kind.endswith("gz") else "w")
    elif kind == "parquet":
        pyarrow.parquet.write_table(pa.Table.from_pylist(cells(0, 2)), path)
    elif kind == "arrow":
        table = pa.Table.from_pylist(cells(0, 2))
        with pa.ipc.new_stream(path, table.schema) as writer:
            writer.write_table(table)
    else:
        (root / "a.png").write_bytes(PNG)
        path.write_text("path,x\na.png,1\n" if kind == "csv" else '{"path": "a.png", "x": 1}\n')
    broken = bytearray(path.read_bytes())
    # the ends of a container are where its lists are: look there as often as elsewhere
    spots = st.one_of(
        st.integers(0, len(broken) - 1),
        st.integers(0, min(len(broken), 300) - 1),
        st.integers(max(0, len(broken) - 300), len(broken) - 1),
    )
    for spot in data.draw(st.lists(spots, min_size=1, max_size=8)):
        broken[spot] ^= data.draw(st.integers(1, 255))
    path.write_bytes(broken)
    try:
        images = open(path)
        for _, found in images.map(np.shape):
            assert isinstance(found, (tuple, FileProblem))
    except Problem:
        pass  # one sentence is as good an end as images
