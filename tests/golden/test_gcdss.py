"""GCDSS: propagation and doubts, weighted k-means, matching, flattened masks, overlap."""

from __future__ import annotations

import numpy as np

from fallow.inventory.nearest import most_similar
from fallow.inventory.semi import semi_kmeans
from fallow.measure.novel import UNMATCHED, image_iou, match_freely, match_novel
from fallow.methods.discover import gcdss
from fallow.regions import fill, flatten

from .cases import close, golden

NONE = 255  # no label, in the files


def null(labels):
    return np.where(np.asarray(labels) == gcdss.NULL, NONE, labels)


@golden("gcdss", "nerg")
def test_neighbours_propagation_and_doubts(case):
    k, threshold, rounds, _ = case.inputs["k_thr_iters_nbase"].tolist()
    labels = case.inputs["labels"].astype(int)
    expected = case.outputs["neighbours"]
    near = most_similar(case.inputs["unlabel_feats"], int(k), case.inputs["label_feats"]).rows
    # the original drops its first neighbour, itself unless there is a copy
    own = case.outputs["self_first"].astype(bool)
    assert own.any()
    points = case.inputs["unlabel_feats"].astype(float)
    bank = np.concatenate([case.inputs["label_feats"], case.inputs["unlabel_feats"]]).astype(float)
    cosines = [np.einsum("nd,nkd->nk", points, bank[rows]) for rows in (near, expected)]
    np.testing.assert_allclose(cosines[0][own], cosines[1][own], atol=1e-6)
    # in the same order, too, unless two neighbours are equally near
    apart = (np.abs(np.diff(cosines[1], axis=1)) > 1e-6).all(1) & own
    np.testing.assert_array_equal(near[apart][:, :-1], expected[apart][:, :-1])
    weights = gcdss.rank_weights(int(k))
    found = gcdss.propagate(expected, labels, weights, threshold=threshold, rounds=int(rounds))
    np.testing.assert_array_equal(null(found.labels), case.outputs["prop_label"])
    close(found.confidence, case.outputs["prop_weight"], atol=1e-6)
    doubted = gcdss.doubt(expected, labels, found, weights, threshold=threshold)
    np.testing.assert_array_equal(null(doubted.labels), case.outputs["refine_label"])
    close(doubted.confidence, case.outputs["refine_weight"], atol=1e-6)
    np.testing.assert_array_equal(doubted.novel, case.outputs["is_novel_candidate"].astype(bool))


@golden("gcdss", "wkm")
def test_weighted_semi_supervised_means(case):
    labelled, labels = case.inputs["l"], case.inputs["lt"].astype(int)
    weights = np.r_[case.inputs["lw"], case.inputs["uw"]].astype(float)
    found = semi_kmeans(
        np.concatenate([labelled, case.inputs["u"]]),
        np.r_[labels, np.full(len(case.inputs["u"]), -1)],
        int(case.number("k")),
        weights=weights / weights.max(),
        starts=5,
        tolerance=0.0,
    )
    known = len(found.classes)
    centres, expected = found.centres, case.outputs["centers"]
    close(centres[:known], expected[:known], atol=1e-5)
    # the order of new clusters is free
    order = np.array(
        [*range(known), *(int(((expected - c) ** 2).sum(1).argmin()) for c in centres[known:])]
    )
    assert sorted(order) == list(range(len(expected)))
    close(centres, expected[order], atol=1e-5)
    np.testing.assert_array_equal(order[found.member], case.outputs["labels"])
    close(found.inertia, case.outputs["inertia"].item(), atol=1e-5)


@golden("gcdss", "match")
def test_matching(case):
    truth, found, weights = (case.inputs[name] for name in ("y", "pred", "weight"))
    known, classes, over = case.inputs["base_cls_over"].astype(int).tolist()
    clusters = classes - known + over
    matched = match_novel(truth, found, weights, known=known, classes=classes, clusters=clusters)
    # the original writes 0 where nothing is matched
    expected = case.outputs["map_fix"].astype(int)
    np.testing.assert_array_equal(np.where(matched == UNMATCHED, 0, matched), expected)
    free = match_freely(truth, found, weights, classes=classes, numbers=known + clusters)
    np.testing.assert_array_equal(np.where(free == UNMATCHED, 0, free), case.outputs["map_free"])


@golden("gcdss", "masks")
def test_flattened_masks(case):
    count, height, width, leftover = case.inputs["shape_theta"].astype(int).tolist()
    bits = np.unpackbits(case.inputs["proposals"].ravel())[: count * height * width]
    proposals = bits.reshape(count, height, width).astype(bool)
    regions = fill(flatten(proposals), leftover)
    np.testing.assert_array_equal(regions, case.outputs["labelmap"])


@golden("gcdss", "miou")
def test_overlap_per_image(case):
    image, pixels = case.inputs["image_index"].astype(int), case.inputs["pixels_per_mappedclass"]
    found = case.inputs["pred"].astype(int)
    known, classes, over = case.inputs["base_cls_over"].astype(int).tolist()
    matched = match_novel(
        pixels.argmax(1), found, pixels.sum(1), known=known, classes=classes,
        clusters=classes - known + over,
    )  # fmt: skip
    found = matched[found]
    counts = np.zeros((image.max() + 1, classes + 1, classes))
    np.add.at(counts, (image, np.where(found == UNMATCHED, classes, found)), pixels)
    ious = image_iou(counts[np.unique(image)][:-1])  # the original leaves the last image out
    expected = case.outputs["per_class_percent_2dp"]
    np.testing.assert_allclose(np.round(100 * ious, 2), expected, atol=0.011)
    means = [np.nanmean(part) for part in (ious, ious[:known], ious[known:])]
    np.testing.assert_allclose(
        np.round(100 * np.array(means), 2), case.outputs["all_base_novel_percent_2dp"], atol=0.011
    )
