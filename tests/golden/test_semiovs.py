"""SemiOVS: concepts, confident pixels, pasting, the whole step, earlier selves, boxes, measures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fallow.encoders.prompted import by_class, labelled
from fallow.images.masks import IGNORE
from fallow.losses.confident import (
    confident_pixels,
    hard_pixels,
    mean_confidence,
    share_confident,
)
from fallow.losses.segmentation import masked_cross_entropy
from fallow.measure.segmentation import confusion, mean_iou
from fallow.methods.segment import semiovs
from fallow.parts.copies import mixed_logits
from fallow.train.schedules import there_and_back
from fallow.views.mixing import cutmix_boxes

from .arrays import arrays
from .cases import DOUBLE, close, golden

TIGHT = {"rtol": DOUBLE}


@golden("semiovs", "agg")
def test_concepts_become_classes(case):
    scores = by_class(case.tensor("scores"), case.inputs["group_sizes"].tolist())
    label, confidence = labelled(scores)
    close(scores, case.outputs["scores"], **TIGHT)
    close(label, case.outputs["label"], **TIGHT)
    close(confidence, case.outputs["conf"], **TIGHT)


@golden("semiovs", "cw")
def test_weights_of_guesses(case):
    valid = case.tensor("ignore") != IGNORE
    confidence, threshold = case.tensor("conf"), case.number("threshold")

    def loss(logits, weight):  # with all but the first of these, the original counts padding, too
        return masked_cross_entropy(
            logits, case.tensor("target").long(), weight(confidence, valid, threshold), over="all"
        ) * (valid.numel() / int(valid.sum()))

    for name, weight in (("pixelwise", confident_pixels), ("pixelratio", share_confident)):
        logits = case.tensor("logits", True)
        found = loss(logits, weight)
        found.backward()
        close(found, case.outputs[name], **TIGHT)
        close(logits.grad, case.outputs[f"{name}_grad"], **TIGHT)
    # the original multiplies the whole batch by each image's confidence, and adds these up
    logits, means = case.tensor("logits"), mean_confidence(confidence, valid, threshold)[:, 0, 0]
    original = sum(
        loss(logits, lambda c, v, t, mean=mean: mean.expand_as(c)) for mean in means.unbind()
    )
    close(original, case.outputs["pixelavg"], **TIGHT)
    ours = float(loss(logits, mean_confidence))
    assert means.min() * len(means) * ours <= float(original) * means.max() * (1 + DOUBLE)


def mask_of(case, name):
    return case.tensor(name) != 0


@golden("semiovs", "step")
def test_step(case):
    logits = {
        name.removeprefix("logits_"): case.tensor(name, True)
        for name in case.inputs
        if name.startswith("logits_")
    }
    inside, mix_inside, foreign_inside = (
        case.tensor(name) != IGNORE for name in ("ignore", "ignore_mix", "ignore_ood")
    )
    boxes = [mask_of(case, name) for name in ("box1", "box2")]
    threshold = case.number("threshold")
    supervised = masked_cross_entropy(logits["x"], case.tensor("target").long(), over="valid")
    weak = semiovs.guess(case.tensor("weak"), inside)
    mixed = semiovs.guess(case.tensor("weak_mix"), mix_inside)
    own = [logits[f"u_{name}"] for name in ("s1", "s2", "fp")]
    losses = semiovs.judged(own, semiovs.targets(weak, mixed, boxes), threshold)
    terms = [(supervised, 1.0), (semiovs.together(losses), 1.0)]
    found = {"sup": supervised, **dict(zip(("s1", "s2", "fp"), losses, strict=True))}
    if "prev_weak" in case.inputs:
        earlier = [
            semiovs.guess(case.tensor(name), valid)
            for name, valid in (("prev_weak", inside), ("prev_mix", mix_inside))
        ]
        theirs = semiovs.judged(
            own, semiovs.targets(*earlier, boxes), case.number("prev_threshold")
        )
        weight = case.number("prev_weight")
        terms.append((semiovs.together(theirs), weight))
        found["prev"] = weight * semiovs.together(theirs)
    stored = torch.where(foreign_inside, case.tensor("target_ood").long(), IGNORE)
    foreign = [logits[f"o_{name}"] for name in ("s1", "s2", "fp")]
    wanted = semiovs.targets(semiovs.certain(stored), weak, boxes)
    terms.append(
        (semiovs.together(semiovs.judged(foreign, wanted, threshold)), case.number("lambda"))
    )
    found["ood"] = terms[-1][0]
    found["total"] = semiovs.weighted(terms)
    found["total"].backward()
    checked = set()
    for name, value in found.items():
        close(value, case.outputs[name], **TIGHT)
        checked.add(name)
    for name, value in logits.items():
        if f"grad_{name}" in case.outputs:
            close(value.grad, case.outputs[f"grad_{name}"], **TIGHT)
            checked.add(f"grad_{name}")
    assert checked == set(case.outputs)


@golden("semiovs", "paste")
def test_order_of_pasting(case):
    box = mask_of(case, "box")
    foreign, own = semiovs.pasted_views(
        [case.tensor("ood")], [case.tensor("unl")], [case.tensor("mix")], [box]
    )
    close(foreign[0], case.outputs["ood"], **TIGHT)
    close(own[0], case.outputs["unl"], **TIGHT)


@golden("semiovs", "prevw")
def test_weight_of_earlier_selves(case):
    epochs, weights = case.inputs["epoch"], case.outputs["weight"]
    first = np.where(epochs > 0, epochs, np.inf).argmin()  # on its way up: says how many there are
    total = round(2 * epochs[first] / weights[first])
    found = [there_and_back(epoch, total) for epoch in epochs.tolist()]
    close(found, weights, **TIGHT)


@golden("semiovs", "ens")
def test_earlier_selves_together(case):
    x, maps = case.tensor("x"), case.tensor("maps")
    models = [lambda x, one=maps[k]: x * one for k in case.inputs["pick"].tolist()]
    close(mixed_logits(models, x, case.tensor("weights")), case.outputs[""], **TIGHT)


@golden("semiovs", "iou")
def test_mean_iou(case):
    classes = len(case.outputs["class"])
    table = confusion(case.inputs["pred"], case.inputs["target"], classes, ignore=IGNORE)
    both, truth, said = np.diag(table), table.sum(1), table.sum(0)
    close(both, case.outputs["intersection"], **TIGHT)
    close(truth, case.outputs["target"], **TIGHT)
    union = truth + said - both
    close(union, case.outputs["union"], **TIGHT)
    share = np.divide(both, union, out=np.zeros(classes), where=union > 0)
    close(100 * share, case.outputs["class"], rtol=DOUBLE)
    # the original counts a class that is nowhere as 0
    close(100 * mean_iou(table, absent="zero"), case.outputs["mean"], rtol=DOUBLE)


@golden("semiovs", "ohem")
def test_hard_pixels(case):
    threshold, least = case.inputs["params"].tolist()
    logits = case.tensor("logits", True)
    loss = hard_pixels(logits, case.tensor("target").long(), threshold, int(least))
    loss.backward()
    close(loss, case.outputs["loss"], **TIGHT)
    close(logits.grad, case.outputs["grad"], **TIGHT)


def test_boxes_are_distributed_as_recorded():
    expected = arrays("semiovs").get("boxstats_out")
    if expected is None:
        pytest.skip("no recorded boxes")
    boxes = cutmix_boxes(600, 321, generator=torch.Generator().manual_seed(0))
    some = boxes.flatten(1).any(1)
    heights = boxes.any(2).sum(1)[some].double()
    widths = boxes.any(1).sum(1)[some].double()
    area, aspect = heights * widths / 321**2, heights / widths
    found = [
        1 - some.double().mean(), area.min(), area.max(), aspect.min(), aspect.max(),
    ]  # fmt: skip
    np.testing.assert_allclose([float(value) for value in found], expected, atol=0.05)
