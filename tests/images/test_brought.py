"""Labels, masks and splits that lie in a source, or in the names of its folders."""

import json

import numpy as np
import pytest
from containers import IDS, JPEG, files, zipped
from pictures import encoded
from PIL import Image

from fallow.images import open
from fallow.problems import SourceProblem


def test_train_and_test_folders_become_a_split(tmp_path):
    for name in ("train/cat/a.jpg", "train/dog/b.jpg", "test/cat/c.jpg"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(JPEG)
    images = open(tmp_path / "set")
    assert images.column("split").tolist() == ["test", "train", "train"]
    assert images.column("label").tolist() == ["cat", "cat", "dog"]


def test_labels_inside_the_source_are_picked_up(folder, tmp_path):
    (folder / "masks").mkdir()
    mask = np.zeros((30, 40), np.uint16)
    mask[3:9] = 500
    (folder / "masks" / "a.png").write_bytes(encoded(Image.fromarray(mask), "PNG"))
    (folder / "labels.csv").write_text(
        "path,mask,label,width,split\ncats/a.jpg,masks/a.png,tabby,99,train\ndogs/c.webp,,pug,40,\n"
    )
    images = open(zipped(files(folder), tmp_path / "set.zip"))
    assert images.column("id").tolist() == IDS  # the mask is no picture of its own
    assert images.column("label").tolist() == ["tabby", None, "pug", None]
    assert images.column("width").tolist() == [40] * 4
    assert images.table.column("width_given").to_pylist() == [99, None, 40, None]
    assert (images.mask(0) == mask).all()
    with pytest.raises(SourceProblem, match=r"dogs/c\.webp has no mask"):
        images.mask(2)
    plain = open(folder, labels=False)
    assert plain.column("id").tolist() == [*IDS, "masks/a.png"]
    assert "label" not in plain.columns
    by_folder = open(folder, labels=False, mask="masks")
    assert by_folder.column("mask").tolist() == ["masks/a.png", None, None, None]


def test_image_folders_with_metadata(folder):
    for split, names in (("cats", ["a.jpg", "b.png"]), ("dogs", ["c.webp"])):
        rows = [{"file_name": name, "text": name[0]} for name in names]
        (folder / split / "metadata.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    images = open(folder)
    assert images.column("text").tolist() == ["a", "b", "c", None]
