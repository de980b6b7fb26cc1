"""The tree of classes, rules, mending, merging with conflicts, and statistics."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fallow.annotations import (
    Hierarchy,
    annotated,
    check,
    mended,
    merged,
    summary,
    with_denials,
)
from fallow.annotations.hierarchy import from_json, to_json
from fallow.annotations.statistics import agreement, box_agreement
from fallow.annotations.store import CORNERS, corners, marks
from fallow.problems import SourceProblem


def boxes(*rows, **columns):
    """Boxes of (image, label, xmin, ymin, xmax, ymax)."""
    named = dict(zip(("image", "label", *CORNERS), zip(*rows, strict=True), strict=True))
    return {name: list(values) for name, values in named.items()} | columns


def labels(*rows):
    return {
        "image": [row[0] for row in rows],
        "label": [row[1] for row in rows],
        "confidence": [float(row[2]) for row in rows],
        "source": [row[3] if len(row) > 3 else "verification" for row in rows],
    }


def rules(held, **options):
    return {(one.rule, one.level) for one in check(held, **options)}


def test_a_circle_is_shown():
    with pytest.raises(SourceProblem, match="a > b > c > a"):
        Hierarchy([("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")])
    with pytest.raises(SourceProblem, match="circle"):
        Hierarchy([("a", "a")])


def test_a_shared_child_repeats_no_ancestor():
    tree = Hierarchy([("top", "a"), ("top", "b"), ("a", "x"), ("b", "x")])
    assert tree.ancestors("x") == {"a", "b", "top"}
    assert tree.leaves() == ("x",)
    assert tree.ancestors("unknown") == frozenset()


def test_a_tree_comes_back_from_json_with_parts():
    text = json.dumps({
        "LabelName": "/m/root",
        "Subcategory": [
            {"LabelName": "car", "Part": [{"LabelName": "wheel"}],
             "Subcategory": [{"LabelName": "taxi"}]},
        ],
    })  # fmt: skip
    tree = from_json(text)
    assert tree.ancestors("taxi") == {"car"}
    assert tree.ancestors("wheel") == frozenset()  # a part is no kind
    again = from_json(to_json(tree))
    assert (again.edges, again.parts) == (tree.edges, tree.parts)


@pytest.mark.parametrize("text", ["{", "[]", '{"LabelName": 3}', '{"LabelName": "a", "Part": 1}'])
def test_a_broken_tree_ends_in_a_sentence(text):
    with pytest.raises(SourceProblem):
        from_json(text)


def test_every_rule_finds_its_row():
    held = annotated(
        {"image": ["a", "b"], "width": [0, 5], "height": [5, 5], "split": ["test", "train"]},
        labels(("a", "cat", 1), ("a", "cat", 0), ("a", "dog", 0), ("a", "car", 0.5),
               ("b", "cat", 1), ("b", "dog", 7, "machine")),
        boxes(("a", "dog", 0.1, 0.1, 0.5, 0.5), ("a", "dog", 0.1, 0.1, 0.5, 0.5),
              ("a", "animal", 0.1, 0.1, 0.5, 0.5), ("a", "cat", 0.5, 0.5, 0.4, 0.6),
              ("a", "cat", -0.1, 0.5, 0.4, 0.6), ("a", "lion", 0.5, 0.5, 0.9, 0.6),
              occluded=[0, 0, 0, 5, 0, 0]),
        {"image": ["a", "a"], "subject": ["dog", "dog"], "relation": ["is", "on"],
         "object": ["happy", "table"],
         **{f"subject_{s}": [v, v] for s, v in zip(CORNERS, (0.1, 0.1, 0.5, 0.5), strict=True)},
         **{f"object_{s}": [v, v] for s, v in zip(CORNERS, (0.1, 0.1, 0.6, 0.5), strict=True)}},
        hierarchy=Hierarchy([("animal", "dog"), ("animal", "cat")]),
    )  # fmt: skip
    found = rules(
        held,
        known=["cat", "dog", "animal", "car", "table", "happy"],
        triplets=[("dog", "is", "happy")],
        exhaustive=["train"],
    )
    errors = {"size", "unknown_class", "half", "confidence", "torn", "empty", "outside",
              "attribute", "box_denied", "no_box", "copy", "triplet", "is"}  # fmt: skip
    warnings = {"no_licence", "no_creator", "box_unlabelled", "ancestor", "partner"}
    assert found == {(r, "error") for r in errors} | {(r, "warning") for r in warnings}
    assert check(held)[0].level == "error"


def test_a_crowd_with_many_boxes_inside_is_odd():
    inside = [("a", "bee", 0.1 * k, 0.0, 0.1 * k + 0.05, 0.1) for k in range(6)]
    rows = boxes(("a", "bee", 0.0, 0.0, 1.0, 0.2), *inside, group=[1] + [0] * 6)
    assert ("crowd", "warning") in rules(annotated(boxes=rows))
    rows = {name: values[:-1] for name, values in rows.items()}
    assert ("crowd", "warning") not in rules(annotated(boxes=rows))


def test_a_sound_set_has_no_findings():
    held = annotated(
        {"image": ["a"], "licence": ["CC BY"], "creator": ["me"]},
        labels(("a", "cat", 1)),
        boxes(("a", "cat", 0.0, 0.0, 1.0, 1.0)),
    )
    assert check(held, exhaustive=[""]) == []
    assert mended(held)[1] == []


def test_mending_cuts_drops_and_takes_no_side():
    held = annotated(
        labels=labels(("a", "cat", 1), ("a", "cat", 0), ("a", "dog", 1)),
        boxes=boxes(("a", "cat", -0.5, 0.0, 0.5, 1.0), ("a", "cat", 0.2, 0.2, 0.2, 0.4),
                    ("a", "dog", 0.0, 0.0, 0.3, 0.3), ("a", "dog", 0.0, 0.0, 0.3, 0.3),
                    ("a", "dog", float("nan"), 0.0, 0.3, 0.3)),
    )  # fmt: skip
    found, notes = mended(held)
    assert corners(found.boxes).tolist() == [[0.0, 0.0, 0.5, 1.0], [0.0, 0.0, 0.3, 0.3]]
    assert found.labels.column("label").to_pylist() == ["dog"]
    assert len(notes) == 4
    assert not {rule for rule, level in rules(found) if level == "error"}


def test_merging_reports_every_kind_of_conflict():
    one = annotated(
        {"image": ["a"], "width": [10], "licence": ["CC BY"]},
        labels(("a", "/m/1", 1), ("a", "/m/2", 0), ("a", "/m/3", 0.4, "machine")),
        boxes(("a", "/m/1", 0.0, 0.0, 0.5, 0.5), ("a", "/m/9", 0.6, 0.6, 0.9, 0.9),
              occluded=[1, -1], truncated=[-1, 0]),
        names={"/m/1": "Cat", "/m/2": "Dog", "/m/3": "Sofa", "/m/9": "Animal"},
        hierarchy=Hierarchy([("/m/9", "/m/1")]),
    )  # fmt: skip
    two = annotated(
        {"image": ["a", "b"], "width": [20, 5], "licence": ["CC0", None], "height": [30, 5]},
        labels(("a", "cat", 0), ("a", "Sofa", 0.6, "machine"), ("a", "bird", 1)),
        boxes(("a", "cat", 0.0, 0.0, 0.5, 0.51), ("a", "cat", 0.6, 0.6, 0.9, 0.9),
              ("a", "dog", 0.1, 0.1, 0.2, 0.2), occluded=[0, 1, 0], truncated=[1, 1, 0]),
    )  # fmt: skip
    found = merged({"one": one, "two": two})
    kinds = sorted(found.conflicts.column("kind").to_pylist())
    assert kinds == ["box", "label", "licence", "occluded", "truncated", "width"]
    held = found.held
    assert (
        held.images.to_pylist()[0] | {"width": 10, "height": 30, "licence": "CC BY"}
        == (held.images.to_pylist()[0])
    )
    said = {(r["label"], r["confidence"]) for r in held.labels.to_pylist()}
    assert said == {("/m/2", 0.0), ("/m/3", 0.6), ("bird", 1.0)}  # cat is torn: nothing is known
    shown = sorted(held.name(label) for label in held.boxes.column("label").to_pylist())
    assert shown == ["Cat", "Cat", "Dog"]  # the animal became a cat
    first = held.boxes.to_pylist()[0]
    assert (first["occluded"], first["truncated"]) == (1, 1)  # known by one, learnt from the other
    assert len(found.sources["boxes"]) == len(held.boxes)
    assert found.sources["images"].to_pylist() == ["one", "two"]


def test_one_box_of_two_unrelated_classes_stays_twice():
    one = annotated(boxes=boxes(("a", "cat", 0.0, 0.0, 0.5, 0.5)))
    two = annotated(boxes=boxes(("a", "dog", 0.0, 0.0, 0.5, 0.5)))
    found = merged({"one": one, "two": two})
    assert found.conflicts.column("kind").to_pylist() == ["class"]
    assert len(found.held.boxes) == 2
    joined = merged({"one": one, "two": two}, same={"dog": "cat"})
    assert (len(joined.held.boxes), len(joined.conflicts)) == (1, 0)


def test_two_things_in_one_place_of_one_source_stay():
    rows = boxes(("a", "cat", 0.0, 0.0, 0.5, 0.5), ("a", "cat", 0.0, 0.0, 0.5, 0.5))
    found = merged({"one": annotated(boxes=rows)})
    assert len(found.held.boxes) == 2


def test_one_id_with_two_names_is_two_classes():
    one = annotated(boxes=boxes(("a", "1", 0.0, 0.0, 0.5, 0.5)), names={"1": "cat"})
    two = annotated(boxes=boxes(("a", "1", 0.5, 0.5, 0.9, 0.9)), names={"1": "dog"})
    held = merged({"one": one, "two": two}).held
    shown = {held.name(label) for label in held.boxes.column("label").to_pylist()}
    assert shown == {"cat", "dog"}


def test_pictures_are_matched_by_name_alone_only_where_nothing_else_fits():
    one = annotated({"image": ["x/a", "y/a", "x/b"]})
    two = annotated({"image": ["a", "b"]})
    held = merged({"one": one, "two": two}).held
    assert sorted(held.images.column("image").to_pylist()) == ["a", "x/a", "x/b", "y/a"]
    assert any("file name alone" in note for note in held.notes)


def test_machines_yield_to_people_when_merged():
    machine = annotated(
        labels=labels(("a", "cat", 0.9, "machine")),
        boxes=boxes(("a", "cat", 0.0, 0.0, 0.5, 0.5), source=["machine"], confidence=[0.8]),
    )
    people = annotated(
        labels=labels(("a", "cat", 0)), boxes=boxes(("a", "cat", 0.0, 0.0, 0.5, 0.5))
    )
    found = merged({"machine": machine, "people": people})
    assert found.held.labels.column("confidence").to_pylist() == [0.0]
    assert found.held.boxes.column("source").to_pylist() == ["human"]


def test_circles_between_sources_are_refused():
    one = annotated(hierarchy=Hierarchy([("a", "b")]))
    two = annotated(hierarchy=Hierarchy([("b", "a")]))
    with pytest.raises(SourceProblem, match="circle"):
        merged({"one": one, "two": two})


def test_an_exhaustive_set_says_no():
    held = with_denials(
        annotated(
            labels=labels(("a", "dog", 1)),
            boxes=boxes(("a", "cat", 0.0, 0.0, 1.0, 1.0), ("b", "dog", 0.0, 0.0, 1.0, 1.0)),
        )
    )
    no = [(r["image"], r["label"]) for r in held.labels.to_pylist() if r["confidence"] == 0]
    assert no == [("b", "cat")]


def test_statistics_count_what_is_there():
    rows = [("a", "cat", 0.0, 0.0, 0.1, 0.1), ("a", "dog", 0.5, 0.5, 1.0, 1.0),
            ("b", "cat", 0.9, 0.9, 1.0, 1.0)]  # fmt: skip
    held = annotated(
        {"image": ["a", "b", "c"], "split": ["train", "train", None]},
        labels(*((f"x{k}", "cat", 1) for k in range(30)), ("c", "cat", 0),
               ("a", "cat", 0.95, "machine"), ("x1", "cat", 0.55, "machine")),
        boxes(*rows, occluded=[1, 0, -1]),
        hierarchy=Hierarchy([("animal", "cat")]),
    )  # fmt: skip
    found = summary(held)
    assert found.splits["train"] == {
        "images": 2, "boxes": 3, "yes": 0, "no": 0, "machine": 1, "relations": 0
    }  # fmt: skip
    assert found.boxes_per_image == {"mean": 1.5, "median": 1.5, "histogram": [0, 1, 1]}
    assert found.classes[0]["name"] == "cat"
    assert [row["trainable"] for row in found.classes] == [True, False]
    assert found.untrainable == 0.5
    assert found.attributes["occluded"] == {"yes": 0.5, "unknown": pytest.approx(1 / 3)}
    assert found.together == [{"classes": ["cat", "dog"], "images": 1}]
    np.testing.assert_allclose(found.box_sizes[0], 2 / 3)
    assert found.centres.sum() == pytest.approx(1)
    assert found.agreement == [{"from": 0.5, "labels": 1, "right": 1.0}]
    assert found.in_tree == pytest.approx(2 / 3)
    assert found.entropy["boxes"] == pytest.approx(0.9183, abs=1e-4)
    json.dumps(found.plain())


def test_statistics_of_nothing():
    found = summary(annotated())
    assert found.boxes_per_image["mean"] == 0
    json.dumps(found.plain())


def test_boxes_drawn_twice():
    one = annotated(boxes=boxes(("a", "cat", 0.0, 0.0, 1.0, 1.0), ("a", "cat", 0.0, 0.0, 0.1, 0.1)))
    two = annotated(boxes=boxes(("a", "cat", 0.0, 0.0, 1.0, 0.8), ("a", "dog", 0.0, 0.0, 0.1, 0.1)))
    assert box_agreement(one, two) == {"share": 0.5, "overlap": pytest.approx(0.8)}
    assert agreement(one) == []


def test_bad_columns_end_in_a_sentence():
    with pytest.raises(SourceProblem, match="did you mean label"):
        annotated(labels={"image": ["a"], "labels": ["x"]})
    with pytest.raises(SourceProblem, match="names no picture"):
        annotated(labels={"image": [None], "label": ["x"]})
    with pytest.raises(SourceProblem, match="two pictures are called a"):
        annotated({"image": ["a", "a"]})
    with pytest.raises(SourceProblem, match="column confidence"):
        annotated(labels={"image": ["a"], "label": ["x"], "confidence": ["much"]})
    with pytest.raises(SourceProblem, match="did you mean"):
        annotated(labels=labels(("a", "cat", 1))).class_of("cats")
    assert (marks(annotated().boxes).shape, corners(annotated().boxes).shape) == ((0, 5), (0, 4))
