"""Open Images: overlaps, average precision, detections, relations and phrases, the class tree."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from fallow.annotations import Hierarchy, annotated
from fallow.annotations.boxes import overlaps, shares
from fallow.measure.annotated import (
    Boxes,
    Relations,
    area_under,
    challenge_score,
    detection_precision,
    phrases,
    precision_recall,
    relation_scores,
)
from fallow.methods.curate.openimages import expanded

from .cases import DOUBLE, close, golden

TIGHT = {"rtol": DOUBLE}
CORNERS = ("xmin", "ymin", "xmax", "ymax")


def turned(boxes):
    """ymin, xmin, ymax, xmax as xmin, ymin, xmax, ymax."""
    return boxes[..., [1, 0, 3, 2]].astype(np.float64)


def columns(case, start):
    """The array whose key begins so, as one column for each word of the rest of its key."""
    key = next(key for key in case.inputs if key.startswith(f"{start}_"))
    words = key.removeprefix(f"{start}_").split("_")
    found, place = {}, 0
    for word in words:
        width = 4 if word.endswith("box") else 1
        values = case.inputs[key][:, place : place + width].astype(np.float64)
        found[word] = values if width > 1 else values[:, 0]
        place += width
    assert place == case.inputs[key].shape[1]
    return found


def whole(values):
    return values.astype(np.int64)


@golden("openimages", "box_overlap")
def test_overlaps(case):
    one, two = (turned(case.inputs[name]) for name in ("boxes1", "boxes2"))
    close(overlaps(one, two), case.outputs["iou"], rtol=1e-6)
    close(shares(one, two), case.outputs["ioa_over_boxes2"], rtol=1e-6)


@golden("openimages", "average_precision")
def test_area_under_precision(case):
    precision, recall = precision_recall(
        case.inputs["scores"], case.inputs["labels"], case.number("num_gt")
    )
    close(precision, case.outputs["precision"], rtol=1e-6)
    close(recall, case.outputs["recall"], rtol=1e-6)
    close(area_under(precision, recall), case.outputs["ap"], **TIGHT)


def boxes(found):
    return Boxes(
        whole(found["image"]),
        whole(found["class"]) - 1,  # from 1 in the original
        np.stack([found[name] for name in CORNERS], 1),
        found["groupof"] > 0 if "groupof" in found else None,
        found.get("score"),
    )


@golden("openimages", "oid_detection_ap")
def test_detections(case):
    answers = columns(case, "verified")
    verified = whole(np.stack([answers["image"], answers["class"] - 1], 1))
    found = detection_precision(
        boxes(columns(case, "gt")),
        boxes(columns(case, "det")),
        int(case.number("num_classes")),
        verified=verified if case.number("challenge_label_filter") else None,
        group_weight=case.number("group_of_weight"),
    )
    close(found.each, case.outputs["ap_per_class"], **TIGHT)
    close(found.mean, case.outputs["map"], **TIGHT)
    close(found.positives, case.outputs["num_gt_per_class"], **TIGHT)


def relations(found):
    return Relations(
        whole(found["image"]),
        whole(found["subj"]),
        whole(found["rel"]),
        whole(found["obj"]),
        np.stack([turned(found["subjbox"]), turned(found["objbox"])], 1),
        found.get("score"),
    )


@golden("openimages", "oid_vrd")
def test_relations(case):
    answers = columns(case, "verified")
    verified = whole(np.stack([answers["image"], answers["class"]], 1))
    truth, found = relations(columns(case, "gt")), relations(columns(case, "det"))
    relation = relation_scores(truth, found, verified=verified)
    phrase = relation_scores(phrases(truth), phrases(found), verified=verified)
    close(relation.relations, case.outputs["relation_ids"])
    checked = {"relation_ids"}
    for name, scores in (("relation", relation), ("phrase", phrase)):
        values = {
            "ap": scores.precision.each,
            "map": scores.precision.mean,
            "weighted_ap": scores.pooled,
            **{f"recall{k}": value for k, value in scores.recall.items()},
        }
        for key, value in values.items():
            if f"{name}_{key}" in case.outputs:
                close(value, case.outputs[f"{name}_{key}"], **TIGHT)
                checked.add(f"{name}_{key}")
    score = "challenge_score_04_02_04"
    close(challenge_score(relation, phrase), case.outputs[score], **TIGHT)
    assert checked | {score} == set(case.outputs)


def emitted(table, originals):
    """Original and emitted label of every row, sorted; each original has a picture of its own."""
    pairs = [
        (originals[int(image)], int(label))
        for image, label in zip(
            table.column("image").to_pylist(), table.column("label").to_pylist(), strict=True
        )
    ]
    return np.array(sorted(pairs))


@golden("openimages", "hierarchy_expand")
def test_what_follows_from_the_tree(case):
    edges = [(str(p), str(c)) for p, c in case.inputs["edges_parent_child"].tolist()]
    tree = Hierarchy(edges, root=str(int(case.number("virtual_root"))))
    checked = set()
    for kind, answer in (("box", None), ("positive", 1.0), ("negative", 0.0)):
        key = f"{kind}_rows_label_expanded"
        expected = case.outputs[key]
        originals = [label for label, other in expected.tolist() if label == other]
        rows = {
            "image": [str(place) for place in range(len(originals))],
            "label": [str(label) for label in originals],
        }
        if answer is None:
            sides = dict.fromkeys(("xmin", "ymin"), np.zeros(len(originals)))
            sides |= dict.fromkeys(("xmax", "ymax"), np.ones(len(originals)))
            table = expanded(annotated(boxes=rows | sides, hierarchy=tree)).boxes
        else:
            rows |= {"confidence": pa.repeat(answer, len(originals))}
            rows |= {"source": pa.repeat("verification", len(originals))}
            table = expanded(annotated(labels=rows, hierarchy=tree)).labels
        np.testing.assert_array_equal(
            emitted(table, originals), np.array(sorted(map(tuple, expected.tolist())))
        )
        checked.add(key)
    assert checked == set(case.outputs)
