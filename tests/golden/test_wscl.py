"""WSCL: residues, pooling, pairs of places, what streams agree on, measures, tiles."""

from __future__ import annotations

import ast
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F

from fallow.encoders.residues import Steganalysis, prediction_kernel, prediction_weights
from fallow.losses.consistency import (
    agreed_mask,
    agreed_shares,
    inter_patch,
    multi_source,
    unlike_pairs,
)
from fallow.measure.dense import auroc
from fallow.measure.detected import detected
from fallow.methods.spot.wscl import (
    STREAMS,
    Pairs,
    objective,
    pair_map,
    ramp,
    tiled,
    together,
)
from fallow.parts.pooling import norm_mean, projected_mean, split_by_hill, top_mean, upper_mean

from .cases import close, golden

NAMES = dict(zip(STREAMS, ("rgb", "srm", "bayar"), strict=True))


@golden("wscl", "srm")
def test_steganalysis(case):
    filters = Steganalysis(case.number("clip"))
    close(filters(case.tensor("x")), case.outputs["y"], 1e-5, 1e-5)
    if "kernel" in case.outputs:
        close(filters.kernel, case.outputs["kernel"], 1e-6)


@golden("wscl", "bayar")
def test_prediction(case):
    x = case.tensor("x", gradient=True)
    weights = prediction_weights(case.tensor("kernel_weight"))
    if "weight_after" in case.outputs:
        close(weights, case.outputs["weight_after"], 1e-5)
    # as published: the parameter is overwritten, so no gradient passes through the division
    weights = weights.detach().requires_grad_()
    kernel = prediction_kernel(weights)
    close(kernel, case.outputs["full_kernel"], 1e-5, 1e-5)
    found = F.conv2d(x, kernel, padding=2)
    close(found, case.outputs["y"], 1e-4, 1e-4)
    if "grad_x" in case.outputs:
        found.square().sum().backward()
        close(x.grad, case.outputs["grad_x"], 1e-4)
        close(weights.grad, case.outputs["grad_kernel"], 1e-4)


@golden("wscl", "otsu")
def test_split(case):
    assert split_by_hill(case.tensor("sorted")) == int(case.outputs["k"])


def filled(pairs, names, shapes):
    """The heads' parameters as recorded: k counts parameters, i their values."""
    for k, (name, shape) in enumerate(zip(names, shapes, strict=True)):
        head = pairs.one if "head1" in name else pairs.two
        layer, kind = name.rsplit(".", 2)[1:]
        size = [int(side) for side in shape.split("x")]
        values = 0.4 * np.sin(0.7 * np.arange(np.prod(size)) + 1.3 * k + 0.1)
        with torch.no_grad():
            getattr(head[int(layer)], kind).copy_(torch.from_numpy(values.reshape(size)))


def pooled(config, values):
    if config.get("otsu_sel"):
        return upper_mean(values, config["otsu_portion"])
    if config.get("use_gem"):
        return norm_mean(values, config["gem_coef"])
    if config.get("use_gsm"):
        return projected_mean(values)
    return top_mean(values, config.get("map_portion", 0.0))


@golden("wscl", "pool")
def test_scores_of_maps_and_of_pairs(case):
    config = ast.literal_eval(str(case.inputs["cfg"]))
    logits = case.tensor("logits", gradient=True)
    found = torch.sigmoid(logits)
    close(found, case.outputs["map"], 1e-5)
    score = pooled(config, found.flatten(1))
    close(score, case.outputs["map_pred"], 1e-5)
    score.sum().backward()
    close(logits.grad, case.outputs["grad_logits"], 1e-4, 1e-6)
    features = case.tensor("feat")
    names, shapes = case.inputs["param_names"].tolist(), case.inputs["param_shapes"].tolist()
    sizes = [[int(side) for side in shape.split("x")] for shape in shapes]
    pairs = Pairs(features.shape[1], sizes[0][0], sizes[2][0], config["share_heads"])
    filled(pairs, names, shapes)
    volume = pairs(features)
    close(volume, case.outputs["volume"], 1e-5)
    # the original selects by kinds of values in maps alone
    rest = {name: value for name, value in config.items() if name != "otsu_sel"}
    close(pooled(rest, volume.flatten(1)), case.outputs["vol_pred"], 1e-5)


@golden("wscl", "msc")
def test_streams_agree(case):
    maps = {name: case.tensor(f"map_{NAMES[name]}", gradient=True) for name in STREAMS}
    labels = case.tensor("label")
    weights = case.inputs["weights"].tolist()
    joint = sum(weight * found for weight, found in zip(weights, maps.values(), strict=True))
    close(joint, together(maps).detach(), 1e-6)  # published weights are ours
    if case.inputs["soft"]:
        target = agreed_shares(joint, labels if case.inputs["zero_authentic"] else None)
    else:
        target = agreed_mask(joint, labels)
    close(target, case.outputs["target"], 1e-5)
    loss = multi_source(list(maps.values()), target)
    close(loss, case.outputs["loss"], 1e-5)
    loss.backward()
    for name, found in maps.items():
        close(found.grad, case.outputs[f"grad_{NAMES[name]}"], 1e-4, 1e-7)


@golden("wscl", "ipc")
def test_pairs_are_told_apart(case):
    volume, target = case.tensor("volume", gradient=True), case.tensor("target")
    close(unlike_pairs(target, tuple(volume.shape[1:3])), case.outputs["target_volume"], 1e-6)
    loss = inter_patch(volume, target)
    close(loss, case.outputs["loss"], 1e-5)
    loss.backward()
    close(volume.grad, case.outputs["grad_volume"], 1e-4)


@golden("wscl", "volmap")
def test_map_of_pairs(case):
    size = tuple(case.inputs["size"].tolist())
    close(pair_map(case.tensor("volume"), size), case.outputs["map"], 1e-5)


@golden("wscl", "total")
def test_objective(case):
    def of(name):
        return {n: case.tensor(f"{name}_{NAMES[n]}", gradient=True) for n in STREAMS}

    maps, scores, volumes = of("out_map"), of("map_pred"), of("out_vol")
    progress = case.number("epoch") / case.number("max_epoch")
    close(ramp(progress), case.outputs["ramp"], 1e-6)
    settings = SimpleNamespace(multi_source=0.1, inter_patch=0.1, target="mask")
    total = objective(maps, scores, volumes, case.tensor("label"), progress, settings).total
    close(total, case.outputs["loss"], 1e-5)
    total.backward()
    for name in STREAMS:
        close(maps[name].grad, case.outputs[f"grad_map_{NAMES[name]}"], 1e-4, 1e-7)
        close(scores[name].grad, case.outputs[f"grad_pred_{NAMES[name]}"], 1e-4)
        close(volumes[name].grad.abs().sum(), case.outputs[f"gradsum_vol_{NAMES[name]}"], 1e-4)


@golden("wscl", "metric")
def test_measures(case):
    found = detected(case.inputs["pred"] > 0.5, case.inputs["truth"] > 0.5)
    names = {
        "image_acc": found.accuracy, "image_sen": found.sensitivity,
        "image_spe": found.specificity, "image_prec": found.precision,
        "image_recall": found.sensitivity, "image_true_pos": found.hits,
        "image_true_neg": found.passes, "image_false_pos": found.alarms,
        "image_false_neg": found.misses, "image_f1": found.balanced,
        "pixel_f1": found.overlap, "pixel_prec": found.precision,
        "pixel_recall": found.sensitivity,
    }  # fmt: skip
    for name, value in names.items():
        # where nothing is right the original divides by zero; here that is 0
        expected = float(case.outputs[name])
        close(value, expected if np.isfinite(expected) else 0.0, 1e-5, 1e-6)


@golden("wscl", "auc")
def test_area_under_the_curve(case):
    close(auroc(case.inputs["label"], case.inputs["score"]), case.outputs["auc"], 1e-6)


@golden("wscl", "slide")
def test_tiles(case):
    found = tiled(
        lambda x: torch.sigmoid(x.mean(1, keepdim=True)),
        case.tensor("image"),
        int(case.number("tile")),
        case.number("overlap"),
    )
    close(found, case.outputs["map"], 1e-5)
    close(found.flatten(1).amax(1), case.outputs["score"], 1e-5)
