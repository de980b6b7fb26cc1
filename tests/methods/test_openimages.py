"""Judging detections and relations: what is filtered, expanded, excused, and refused."""

from __future__ import annotations

import numpy as np
import pytest

from fallow.annotations import Hierarchy, annotated, write
from fallow.annotations.store import CORNERS
from fallow.measure.annotated import Boxes, Relations, detection_precision, relation_scores
from fallow.methods.curate.openimages import (
    PRESETS,
    Settings,
    expanded,
    judge,
    judge_relations,
    unify,
    without_denied,
)
from fallow.problems import Problem, SourceProblem
from fallow.train import make_settings

NAIVE = make_settings(Settings, PRESETS["paper-v2"])


def scene(seed=0, images=60, classes=8):
    """Things of some classes, and what a detector of fixed skill makes of them."""
    random = np.random.default_rng(seed)
    truth, found = [], []
    for image in range(images):
        for label in random.choice(classes, 4, replace=False):
            low = random.random(2) * 0.6
            box = np.r_[low, low + 0.1 + 0.3 * random.random(2)]
            truth.append((f"{image}", f"c{label}", *box))
            if random.random() < 0.8:
                moved = box + random.normal(0, 0.008, 4)
                found.append((f"{image}", f"c{label}", *moved, random.random() * 0.5 + 0.5))
        for label in random.choice(classes, 2):
            low = random.random(2) * 0.6
            found.append((f"{image}", f"c{label}", *low, *(low + 0.2), random.random() * 0.6))
    return table(truth), table(found, "machine")


def table(rows, source="human"):
    names = ("image", "label", *CORNERS, "confidence")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=False))
    return annotated(boxes=columns | {"source": [source] * len(rows)})


def answered(held, classes, answer):
    """The same boxes with a person's answer for every picture and class: yes where it is boxed."""
    boxed = {(r["image"], r["label"]) for r in held.boxes.to_pylist()}
    images = dict.fromkeys(held.images.column("image").to_pylist())
    rows = [(i, c) for i in images for c in classes if ((i, c) in boxed) == answer]
    columns = {"image": [i for i, _ in rows], "label": [c for _, c in rows],
               "confidence": [float(answer)] * len(rows),
               "source": ["verification"] * len(rows)}  # fmt: skip
    return annotated(labels=columns, boxes=held.boxes)


def test_hiding_what_is_known_hurts_only_the_naive_measure():
    """The paper's point: unknown classes are not wrong detections."""
    truth, found = scene(images=300)
    classes = [f"c{k}" for k in range(8)]
    whole = judge(truth, found, NAIVE).mean
    random = np.random.default_rng(1)
    boxes = truth.boxes.to_pylist()
    hidden = {(r["image"], r["label"]) for r in boxes if random.random() < 0.3}
    left = truth.with_(
        boxes=truth.boxes.filter([(r["image"], r["label"]) not in hidden for r in boxes])
    )
    labels = answered(truth, classes, False).labels.to_pylist()
    held = annotated(
        labels={name: [row[name] for row in labels] for name in labels[0]}, boxes=left.boxes
    )
    naive, fair = judge(held, found, NAIVE).mean, judge(held, found).mean
    assert naive < whole - 0.1
    assert abs(fair - whole) < 0.03
    assert judge(held, found).left_out > 0


def test_a_crowd_box_keeps_what_it_replaces():
    """Boxes of a cluster become one: naive precision falls, group-aware precision stays."""
    random = np.random.default_rng(0)
    rows, crowds, found = [], [], []
    for image in range(20):
        places = [(0.02 + 0.12 * k, 0.4) for k in range(8)]
        rows += [(f"{image}", "bee", x, y, x + 0.1, y + 0.1) for x, y in places]
        crowds.append((f"{image}", "bee", 0.0, 0.38, 1.0, 0.52))
        found += [(f"{image}", "bee", x, y, x + 0.1, y + 0.1, random.random()) for x, y in places]
    whole, detections = table(rows), table(found, "machine")
    grouped = table(crowds)
    group = grouped.boxes.column_names.index("group")
    marked = grouped.with_(
        boxes=grouped.boxes.set_column(group, "group", np.ones((1, len(crowds)), np.int8))
    )
    assert judge(whole, detections).mean == 1
    assert judge(grouped, detections).mean < 0.1
    assert judge(marked, detections).mean == 1
    missed = judge(marked, detections.only(["0"]))  # one crowd of twenty is found
    assert missed.mean == pytest.approx(0.05)


def test_what_people_deny_improves_a_detector():
    truth, found = scene(3)
    held = annotated(
        labels=answered(truth, [f"c{k}" for k in range(8)], False).labels, boxes=truth.boxes
    )
    better = without_denied(found, held)
    assert len(better.boxes) < len(found.boxes)
    assert judge(truth, better, NAIVE).mean > judge(truth, found, NAIVE).mean


def test_what_follows_yields_to_what_was_said():
    tree = Hierarchy([("animal", "cat"), ("pet", "cat"), ("cat", "kitten")])
    rows = {"image": ["a"] * 4, "label": ["cat", "pet", "cat", "animal"],
            "confidence": [1.0, 0.0, 0.3, 0.9],
            "source": ["verification", "verification", "machine", "machine"]}  # fmt: skip
    found = expanded(annotated(labels=rows, hierarchy=tree))
    said = {(r["label"], r["confidence"], r["source"]) for r in found.labels.to_pylist()}
    assert said == {
        ("cat", 1.0, "verification"),
        ("pet", 0.0, "verification"),  # a person's no, though a cat is a pet
        ("animal", 1.0, "derived"),  # follows from a person's yes, before the machine's 0.9
        ("kitten", 0.0, "derived"),  # no pet, so no kitten
    }


def test_expanding_finds_the_class_above():
    tree = Hierarchy([("animal", "cat"), ("animal", "dog")])
    one = [("a", "cat", 0.0, 0.0, 0.5, 0.5), ("a", "dog", 0.5, 0.5, 1.0, 1.0)]
    truth = table(one).with_(hierarchy=tree)
    found = table([(*one[0], 0.9)], "machine")
    names = {row["name"]: row["precision"] for row in judge(truth, found).classes}
    assert names == {"cat": 1.0, "dog": 0.0, "animal": 0.5}
    settings = make_settings(Settings, {"expand": "neither"})
    assert {row["name"] for row in judge(truth, found, settings).classes} == {"cat", "dog"}


def test_detections_may_use_shown_names_and_unknown_ones_are_refused():
    truth = table([("a", "/m/1", 0.0, 0.0, 0.5, 0.5)]).with_(names={"/m/1": "Cat"})
    assert judge(truth, table([("a", "cat", 0.0, 0.0, 0.5, 0.5, 0.9)])).mean == 1
    with pytest.raises(SourceProblem, match="did you mean Cat"):
        judge(truth, table([("a", "Cats", 0.0, 0.0, 0.5, 0.5, 0.9)]))
    with pytest.raises(SourceProblem, match="no picture of the detections"):
        judge(truth, table([("b", "cat", 0.0, 0.0, 0.5, 0.5, 0.9)]))
    both = [("a", "cat", 0.0, 0.0, 0.5, 0.5, 0.9), ("b", "cat", 0.0, 0.0, 0.5, 0.5, 0.9)]
    assert "1 pictures" in judge(truth, table(both)).notes[0]


def arrays(boxes, label=0, score=None):
    count = len(boxes)
    places = np.array(boxes, float).reshape(-1, 4)
    scores = None if score is None else np.array(score, float)
    none = np.zeros(count, bool)
    return Boxes(np.zeros(count, int), np.full(count, label), places, none, scores)


def test_only_the_nearest_box_counts():
    truth = arrays([[0, 0, 10, 10], [0, 1, 10, 11]])
    found = arrays([[0, 0, 10, 10], [0, 0.4, 10, 10.4]], score=[0.9, 0.8])
    assert detection_precision(truth, found, 1).each.tolist() == [0.5]  # the second's is taken


def test_a_taken_box_is_no_crowd_and_ties_keep_their_order():
    truth = arrays([[0, 0, 10, 10]])
    twice = arrays([[0, 0, 10, 10], [0, 0, 10, 10]], score=[0.5, 0.5])
    assert detection_precision(truth, twice, 1).each.tolist() == [1.0]
    wrong_first = arrays([[50, 50, 60, 60], [0, 0, 10, 10]], score=[0.5, 0.5])
    assert detection_precision(truth, wrong_first, 1).each.tolist() == [0.5]


def test_absent_and_missed_classes():
    truth = arrays([[0, 0, 1, 1]])
    none = arrays([], score=[])
    found = detection_precision(truth, none, 2)
    assert found.each[0] == 0
    assert np.isnan(found.each[1])
    assert found.mean == 0
    assert np.isnan(detection_precision(none, none, 1).mean)


def test_bad_scores_classes_and_boxes_are_refused():
    truth = arrays([[0, 0, 1, 1]])
    with pytest.raises(Problem, match="detection 1 is not a number"):
        detection_precision(truth, arrays([[0, 0, 1, 1]] * 2, score=[1, np.nan]), 1)
    with pytest.raises(Problem, match="no scores"):
        detection_precision(truth, truth, 1)
    with pytest.raises(Problem, match="class 3"):
        detection_precision(truth, arrays([[0, 0, 1, 1]], label=3, score=[1]), 1)
    with pytest.raises(Problem, match="no inside"):
        detection_precision(arrays([[1, 0, 0, 1]]), arrays([[0, 0, 1, 1]], score=[1]), 1)
    turned = arrays([[1, 0, 0, 1], [0, 0, 1, 1]], score=[1, 0.5])
    assert detection_precision(truth, turned, 1).each.tolist() == [1.0]  # dropped, as published
    pair = Relations(np.zeros(1, int), np.zeros(1, int), np.zeros(1, int), np.zeros(1, int),
                     np.array([[[1.0, 0, 0, 1], [0, 0, 1, 1]]]), np.ones(1))  # fmt: skip
    with pytest.raises(Problem, match="no inside"):
        relation_scores(pair, pair, verified=np.zeros((0, 2), int))


def related(rows, source="human"):
    """Relations of (image, subject, relation, object, two boxes of four, confidence)."""
    names = ("image", "subject", "relation", "object")
    columns = {name: [row[k] for row in rows] for k, name in enumerate(names)}
    for k, end in enumerate(("subject", "object")):
        for j, side in enumerate(CORNERS):
            columns[f"{end}_{side}"] = [row[4 + k][j] for row in rows]
    return annotated(relations=columns | {"confidence": [row[6] for row in rows]})


def test_relations_need_both_boxes_and_phrases_the_whole():
    cat, mat, off = (0.0, 0.0, 0.2, 0.2), (0.0, 0.1, 0.8, 0.9), (0.0, 0.5, 0.8, 0.9)
    truth = related([("a", "cat", "on", "mat", cat, mat, 1.0)])
    right = judge_relations(truth, related([("a", "cat", "on", "mat", cat, mat, 0.7)]))
    assert (right.score, right.mean, right.recall, right.phrase_mean) == (1, 1, 1, 1)
    half = judge_relations(truth, related([("a", "cat", "on", "mat", cat, off, 0.7)]))
    assert (half.mean, half.phrase_mean) == (1, 1)  # half of the mat is enough
    small = (0.5, 0.8, 0.8, 0.9)
    phrase = judge_relations(truth, related([("a", "cat", "on", "mat", cat, small, 0.7)]))
    assert (phrase.mean, phrase.phrase_mean) == (0, 1)
    assert phrase.score == pytest.approx(0.4)


def test_several_sources_become_one(tmp_path):
    rows = [("a", "cat", 0.0, 0.0, 0.5, 0.5), ("a", "cat", 0.0, 0.0, 1.5, 0.5)]
    one = table(rows)
    write(table(rows[:1]), tmp_path / "two", "yolo")
    found = unify({"one": one, "two": tmp_path / "two"}, known=["cat"])
    assert len(found.held.boxes) == 2
    assert {one.rule for one in found.findings["one"]} >= {"outside"}
    assert "one: 1 boxes reach over the edge and are cut there" in found.notes
    assert found.summary.boxes_per_image["mean"] == 2
