"""Manifests, saved data sets and Parquet files as sources."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from containers import IDS, JPEG, PNG, cells
from pictures import picture

from fallow.images import open
from fallow.images.stores import FileProblem
from fallow.problems import SourceProblem


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_manifest_names_files_beside_it(folder, ending):
    rows = [{"image": name, "label": name[:3], "n": at} for at, name in enumerate(IDS[:3])]
    path = folder / f"list.{ending}"
    if ending == "csv":
        path.write_text(
            "image,label,n\n" + "".join(f"{r['image']},{r['label']},{r['n']}\n" for r in rows)
        )
    elif ending == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pyarrow.parquet.write_table(pa.Table.from_pylist(rows), path)
    images = open(path)
    assert images.column("id").tolist() == IDS[:3]
    assert images.column("label").tolist() == ["cat", "cat", "dog"]
    assert images.column("n").tolist() == [0, 1, 2]
    assert (images[1] == open(folder)[1]).all()


def test_manifest_mistakes(folder):
    path = folder / "list.csv"
    path.write_text("path\ncats/a.jpg\nghost.jpg\n")
    images = open(path)
    assert len(images) == 1
    assert images.problems == [FileProblem("ghost.jpg", "the file is missing")]
    for text, sentence in [
        ("path\ncats/a.jpg\ncats/a.jpg\n", "twice"),
        ("name\ncats/a.jpg\n", "no column path"),
        ("path\n", "names no images"),
        ("path\nghost.jpg\n", "none of the 1 images"),
    ]:
        path.write_text(text)
        with pytest.raises(SourceProblem, match=sentence):
            open(path)


def test_a_saved_hugging_face_data_set(tmp_path):
    features = {
        "label": {"names": ["cat", "dog"], "_type": "ClassLabel"},
        "image": {"_type": "Image"},
    }
    for split, start, stop in (("train", 0, 6), ("test", 6, 9)):
        root = tmp_path / "hf" / split
        root.mkdir(parents=True)
        table = pa.Table.from_pylist(cells(start, stop))
        with pa.ipc.new_stream(root / "data-00000-of-00001.arrow", table.schema) as writer:
            writer.write_table(table)
        (root / "state.json").write_text("{}")
        (root / "dataset_info.json").write_text(json.dumps({"features": features}))
    (tmp_path / "hf" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    images = open(tmp_path / "hf")
    assert len(images) == 9
    assert images.column("split").tolist() == ["test"] * 3 + ["train"] * 6
    assert images.column("label").tolist()[:3] == ["cat", "dog", "cat"]
    assert images.column("id").tolist()[0] == "p6.png"
    assert (images[0] == np.asarray(picture(seed=6))).all()
    train = open(tmp_path / "hf" / "train")
    assert len(train) == 6
    assert len(train.pack(16)) == 6


def test_parquet_with_image_bytes(tmp_path):
    root = tmp_path / "hub" / "data"
    root.mkdir(parents=True)
    for split, start, stop in (("train", 0, 7), ("test", 7, 10)):
        table = pa.Table.from_pylist(cells(start, stop))
        pyarrow.parquet.write_table(
            table, root / f"{split}-00000-of-00001.parquet", row_group_size=2
        )
    images = open(tmp_path / "hub")
    assert len(images) == 10
    assert images.column("split").tolist() == ["test"] * 3 + ["train"] * 7
    order = [7, 8, 9, *range(7)]
    for index, pixels in images.map(np.copy):
        assert (pixels == np.asarray(picture(seed=order[index]))).all()
    raw = pa.table({"bytes": [PNG, JPEG, b"broken"], "n": [1, 2, 3]})
    pyarrow.parquet.write_table(raw, tmp_path / "raw.parquet")
    images = open(tmp_path / "raw.parquet")
    assert images.column("n").tolist() == [1, 2]
    assert len(images.problems) == 1
