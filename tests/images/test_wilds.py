"""WILDS folders: their pictures, labels, splits and places, and no label where there is none."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

import fallow
from fallow.images.domains import groups_of
from fallow.problems import SourceProblem


def picture(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((9, 12, 3), value, np.uint8)).save(path)


@pytest.fixture
def root(tmp_path):
    old = tmp_path / "iwildcam_v1.0"
    old.mkdir()
    traps = tmp_path / "iwildcam_v2.0"
    rows = ["split,filename,y,location_remapped,sequence_remapped,datetime"]
    for k, (split, y, at) in enumerate([("train", 0, 4), ("test", 1, 7), ("id_val", 1, 4)]):
        picture(traps / "train" / f"p{k}.jpg", 50 * k)
        rows.append(f"{split},p{k}.jpg,{y},{at},{k},2013-06-05 05:44:19.000")
    (traps / "metadata.csv").write_text("\n".join(rows))
    (traps / "categories.csv").write_text("y,name\n0,empty\n1,zebra\n99,okapi\n")
    bare = tmp_path / "iwildcam_unlabeled_v1.0"
    picture(bare / "images" / "u0.jpg", 99)
    (bare / "metadata.csv").write_text(
        "uid,y,location_remapped,sequence_remapped,datetime\nu0,1,12,0,\n"
    )
    nodes = tmp_path / "camelyon17_v1.0"
    rows = [",patient,node,x_coord,y_coord,tumor,slide,center,split"]
    for k, (centre, held) in enumerate([(0, 0), (3, 1), (1, 0), (2, 0)]):
        whose = f"patient_{k:03d}_node_{k}"
        picture(nodes / "patches" / whose / f"patch_{whose}_x_{k}_y_5.png", 60 * k)
        rows.append(f"{k},{k:03d},{k},{k},5,{k % 2},{k},{centre},{held}")
    (nodes / "metadata.csv").write_text("\n".join(rows))
    return tmp_path


def test_camera_traps(root):
    images = fallow.open("wilds:iwildcam", root=root)
    assert images.name == "iwildcam"
    assert images.column("label").tolist() == ["empty", "zebra", "zebra"]
    assert images.column("split").tolist() == ["train", "test", "id_val"]
    assert abs(int(images[1].mean()) - 50) < 3
    assert groups_of(images, ["location"]).sizes.tolist() == [2, 1]
    assert len(images.where("split = 'train'")) == 1
    assert "wilds" not in sys.modules


def test_the_unlabelled_half_has_no_labels_even_where_its_table_does(root):
    images = fallow.open("wilds:iwildcam_unlabeled", root=str(root))
    assert images.labels[1] == []
    assert not {"y", "label"} & set(images.columns)
    assert images.column("split").tolist() == ["extra_unlabeled"]
    assert images.column("location").tolist() == [12]


def test_hospitals(root):
    images = fallow.open("wilds:camelyon17", root=root)
    assert images.column("split").tolist() == ["train", "id_val", "val", "test"]
    assert images.column("label").tolist() == ["normal", "tumour", "normal", "tumour"]
    assert images.column("center").tolist() == [0, 3, 1, 2]
    assert int(images[2].mean()) == 120


def test_a_missing_picture_is_a_problem_and_the_others_open(root):
    (root / "camelyon17_v1.0/patches/patient_001_node_1").joinpath(
        "patch_patient_001_node_1_x_1_y_5.png"
    ).unlink()
    images = fallow.open("wilds:camelyon17", root=root)
    assert len(images) == 3
    assert "missing" in images.problems[0].reason


def test_what_cannot_be_opened_is_said_in_a_sentence(root):
    for address, where, says in [
        ("wilds:iwildcam", None, "root="),
        ("wilds:iwildcan", root, "did you mean iwildcam"),
        ("wilds:iwildcam", root / "nothing", "downloads to"),
        ("wilds:camelyon17_unlabeled", root, "no folder camelyon17_unlabeled_v"),
    ]:
        with pytest.raises(SourceProblem, match=says):
            fallow.open(address, root=where)
    (root / "iwildcam_v2.0" / "categories.csv").unlink()
    with pytest.raises(SourceProblem, match=r"categories\.csv"):
        fallow.open("wilds:iwildcam", root=root)
