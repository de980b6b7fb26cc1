"""Every form is read and written, and says what it cannot hold; strangers' files end in words."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fallow.annotations import Hierarchy, annotated, coco, labelstudio, read, voc, write, yolo
from fallow.annotations.formats import WRITERS, guess
from fallow.annotations.store import CORNERS, corners, marks
from fallow.problems import Problem, SettingProblem, SourceProblem


def drawn(seed=0, images=6, boxes=20):
    """Boxes, labels and relations of a few pictures, on whole pixels of 200 x 100."""
    random = np.random.default_rng(seed)
    names = np.array([f"cats/{k}" for k in range(images)])
    low = random.integers(0, 90, (boxes, 2))
    high = np.minimum(low + random.integers(1, 100, (boxes, 2)), [200, 100])
    placed = np.concatenate([low, high], 1) / [200, 100, 200, 100]
    rows = {
        "image": names[random.integers(0, images, boxes)],
        "label": np.array(["/m/1", "/m/2"])[random.integers(0, 2, boxes)],
        "group": random.integers(-1, 2, boxes),
        "occluded": random.integers(-1, 2, boxes),
    }
    sides = dict(zip(CORNERS, placed.T, strict=True))
    one = next(k for k in range(boxes) if (rows["image"][:k] == rows["image"][k]).any())
    two = int(np.flatnonzero(rows["image"] == rows["image"][one])[0])
    ends = {f"{end}_{side}": sides[side][[k]] for k, end in ((one, "subject"), (two, "object"))
            for side in CORNERS}  # fmt: skip
    return annotated(
        {"image": names, "file": [f"{name}.png" for name in names], "width": [200] * images,
         "height": [100] * images, "licence": ["CC BY, 2.0"] * images,
         "creator": ['A "quoted", name'] * images},
        {"image": names[[0, 1, 1]], "label": ["/m/1", "/m/2", "/m/3"],
         "confidence": [1.0, 0.0, 0.7], "source": ["verification", "verification", "machine"]},
        rows | sides,
        {"image": rows["image"][[one]], "subject": rows["label"][[one]], "relation": ["on"],
         "object": rows["label"][[two]], **ends},
        names={"/m/1": "Cat", "/m/2": "Dog, big", "/m/3": "Sofa"},
        hierarchy=Hierarchy([("/m/0", "/m/1"), ("/m/0", "/m/2")]),
    )  # fmt: skip


def said(held, named=False):
    """Boxes as sorted tuples of picture, class and rounded corners."""
    places = corners(held.boxes).round(9).tolist()
    image, label = (held.boxes.column(c).to_pylist() for c in ("image", "label"))
    names = [held.name(one) for one in label] if named else label
    return sorted(zip(image, names, map(tuple, places), strict=True))


def checked(held, named=False):
    rows = held.labels.to_pylist()
    return sorted((r["image"], held.name(r["label"]) if named else r["label"], r["confidence"])
                  for r in rows)  # fmt: skip


@pytest.mark.parametrize("form", sorted(WRITERS))
def test_boxes_come_back(form, tmp_path):
    held = drawn()
    write(held, tmp_path, form)
    target = next(tmp_path.glob("*.json")) if form in ("coco", "labelstudio") else tmp_path
    assert guess(target) == form
    found = read(target)
    ours, theirs = said(held, named=True), said(found, named=True)
    assert [row[:2] for row in theirs] == [row[:2] for row in ours]
    np.testing.assert_allclose([row[2] for row in theirs], [row[2] for row in ours], atol=1e-6)
    assert set(found.images.column("image").to_pylist()) >= set(
        held.boxes.column("image").to_pylist()
    )


def test_open_images_comes_back_whole(tmp_path):
    held = drawn()
    notes = write(held, tmp_path)
    found = read(tmp_path)
    assert notes == ["Open Images keeps no width and height: they are lost"]
    assert said(found) == said(held)
    assert checked(found) == checked(held)
    assert found.names == {label: held.name(label) for label in held.classes}
    assert set(found.hierarchy.edges) >= set(held.hierarchy.edges)
    assert found.images.column("creator").to_pylist() == held.images.column("creator").to_pylist()
    assert found.relations.equals(held.relations)
    np.testing.assert_array_equal(marks(found.boxes), marks(held.boxes))


def test_eight_columns_lose_attributes_and_say_so(tmp_path):
    held = drawn()
    from fallow.annotations import openimages

    notes = openimages.write(held, tmp_path, attributes=False)
    assert any("attributes" in note for note in notes)
    header = (tmp_path / "train-annotations-bbox.csv").read_text().splitlines()[0]
    assert header == "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax"
    found = read(tmp_path)
    assert said(found) == said(held)
    assert (marks(found.boxes) == -1).all()


def test_detections_and_both_names_of_a_relation(tmp_path):
    (tmp_path / "found.csv").write_text(
        "ImageID,LabelName,Score,XMin,XMax,YMin,YMax\na,/m/1,0.25,0.1,0.5,0.2,0.9\n"
    )
    found = read(tmp_path / "found.csv")
    row = found.boxes.to_pylist()[0]
    assert (row["confidence"], row["source"], row["xmax"]) == (0.25, "machine", 0.5)
    ends = "XMin1,XMax1,YMin1,YMax1,XMin2,XMax2,YMin2,YMax2"
    (tmp_path / "said.csv").write_text(
        f"ImageID,LabelName1,LabelName2,{ends},RelationLabel,Score\na,/m/1,/m/2,"
        "0,0.1,0,0.1,0,0.2,0,0.2,on,0.5\n"
    )
    row = read(tmp_path / "said.csv").relations.to_pylist()[0]
    assert (row["relation"], row["confidence"], row["object_ymax"]) == ("on", 0.5, 0.2)


def test_more_columns_are_noted_and_quoted_fields_kept(tmp_path):
    (tmp_path / "boxes.csv").write_text(
        "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,XClick1X\n"
        'a,xclick,"/m/1,b",1,0,1,0,1,-1,0.3\n'
    )
    found = read(tmp_path / "boxes.csv")
    assert found.boxes.column("label").to_pylist() == ["/m/1,b"]
    assert "XClick1X" in found.notes[0]


def test_coco_checked_classes_and_crowds(tmp_path):
    held = drawn()
    write(held, tmp_path, "coco")
    found = read(tmp_path / "annotations.json")
    assert checked(found) == [row for row in checked(held) if row[2] in (0, 1)]
    assert found.hierarchy.ancestors("/m/1") == {"/m/0"}
    told = marks(held.boxes)
    np.testing.assert_array_equal(marks(found.boxes)[:, 2], np.maximum(told[:, 2], 0))
    np.testing.assert_array_equal(marks(found.boxes)[:, 0], told[:, 0])


def test_coco_results_need_the_file_they_belong_to(tmp_path):
    write(drawn(), tmp_path, "coco")
    results = [{"image_id": 1, "category_id": 2, "bbox": [0, 0, 20, 10], "score": 0.5}]
    (tmp_path / "results.json").write_text(json.dumps(results))
    with pytest.raises(SourceProblem, match="COCO file they belong to"):
        read(tmp_path / "results.json")
    found = coco.read_results(tmp_path / "results.json", tmp_path / "annotations.json")
    row = found.boxes.to_pylist()[0]
    assert (row["source"], row["confidence"], row["xmax"]) == ("machine", 0.5, 0.1)


def test_voc_counts_from_one_unless_a_box_begins_at_zero(tmp_path):
    text = (
        "<annotation><filename>a.jpg</filename><size><width>10</width><height>10</height></size>"
        "<object><name>cat</name><bndbox><xmin>{0}</xmin><ymin>1</ymin><xmax>5</xmax>"
        "<ymax>10</ymax></bndbox></object></annotation>"
    )
    (tmp_path / "a.xml").write_text(text.format(1))
    assert corners(voc.read(tmp_path).boxes).tolist() == [[0.0, 0.0, 0.5, 1.0]]
    (tmp_path / "a.xml").write_text(text.format(0))
    found = voc.read(tmp_path)
    assert corners(found.boxes).tolist() == [[0.0, 0.1, 0.5, 1.0]]
    assert "counted from 0" in found.notes[0]


def test_yolo_outlines_detections_and_numbers_without_names(tmp_path):
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.2 0.4\n1 0.5 0.5 0.2 0.4 0.7\n")
    (tmp_path / "b.txt").write_text("1 0.1 0.1 0.4 0.2 0.3 0.6\n")
    found = yolo.read(tmp_path)
    assert said(found)[2] == ("b", "1", (0.1, 0.1, 0.4, 0.6))
    assert found.boxes.column("confidence").to_pylist() == [1.0, 0.7, 1.0]
    (tmp_path / "classes.txt").write_text("cat\n")
    with pytest.raises(SourceProblem, match="no class 1"):
        yolo.read(tmp_path)


def test_label_studio_rotation_skips_uploads_and_attributes(tmp_path):
    box = {"x": 50, "y": 10, "width": 20, "height": 10, "rotation": 90, "rectanglelabels": ["cat"]}
    mark = {"id": "r", "type": "choices", "from_name": "a", "value": {"choices": ["truncated"]}}
    result = [{"id": "r", "type": "rectanglelabels", "value": box}, mark]
    tasks = [
        {"data": {"image": "/data/upload/3/0123abcd-my%20cat.jpg"},
         "annotations": [{"result": result}, {"was_cancelled": True, "result": result}]},
        {"data": {"image": "/data/local-files/?d=cats/one.png"}},
    ]  # fmt: skip
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    found = labelstudio.read(tmp_path / "tasks.json")
    assert found.images.column("image").to_pylist() == ["my cat", "cats/one"]
    np.testing.assert_allclose(corners(found.boxes), [[0.4, 0.1, 0.5, 0.3]])
    assert found.boxes.column("truncated").to_pylist() == [1]
    assert any("turned" in note for note in found.notes)


def test_label_studio_denials_and_relations_come_back(tmp_path):
    held = drawn()
    labelstudio.write(held, tmp_path / "tasks.json")
    found = labelstudio.read(tmp_path / "tasks.json")
    assert checked(found, named=True) == checked(held, named=True)
    assert found.relations.num_rows == 1
    assert found.relations.column("relation").to_pylist() == ["on"]
    np.testing.assert_array_equal(marks(found.boxes)[:, 0].sum(), marks(held.boxes)[:, 0].sum())


HOSTILE = {
    "entities.xml": '<!DOCTYPE a [<!ENTITY x "y">]><annotation>&x;</annotation>',
    "deep.xml": "<annotation>" + "<a>" * 3000 + "</a>" * 3000 + "</annotation>",
    "other.xml": "<html></html>",
    "unsized.xml": "<annotation><object/></annotation>",
    "nested.json": "[" * 100_000,
    "list.json": "[1, 2]",
    "words.json": '{"images": [{"id": 1}], "annotations": []}',
    "header.csv": "a,b,c\n1,2,3\n",
    "numbers.csv": "ImageID,Source,LabelName,Confidence\na,human,x,much\n",
    "empty.csv": "",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_strangers_files_end_in_a_sentence(name, tmp_path):
    (tmp_path / name).write_text(HOSTILE[name])
    with pytest.raises(Problem) as caught:
        read(tmp_path / name)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


def test_what_cannot_be_written_or_read_is_said(tmp_path):
    with pytest.raises(SettingProblem, match="did you mean coco"):
        write(drawn(), tmp_path, "cocoa")
    with pytest.raises(SourceProblem, match="no file or folder"):
        read(tmp_path / "nowhere")
    with pytest.raises(SourceProblem, match="no annotations"):
        read(tmp_path)
    sides = {side: [0.5] for side in CORNERS}
    unsized = annotated(boxes={"image": ["a"], "label": ["x"], **sides})
    for form in ("coco", "voc"):
        with pytest.raises(SourceProblem, match="width and a height"):
            write(unsized, tmp_path, form)
