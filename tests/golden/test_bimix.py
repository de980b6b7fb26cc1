"""Bi-Mix: class weights, blended labels, pasting, relighting, and losses of labels a pixel off."""

from __future__ import annotations

import numpy as np
import torch

from fallow.encoders.relighting import bent
from fallow.losses.coarse import blended, rare_weights, share_sure, tolerant_as_published
from fallow.losses.relighting import exposure, relighting, roughness, structure_distance
from fallow.losses.segmentation import masked_cross_entropy
from fallow.methods.adapt.bimix import CITYSCAPES, MOVING, PASTED
from fallow.views.mixing import class_mask, paste

from .arrays import arrays, matching
from .cases import close, golden

SINGLE = {"rtol": 1e-5, "atol": 1e-6}
DOUBLE = {"rtol": 1e-7, "atol": 1e-9}
LOW, HIGH = -2.1179, 2.64  # what normalised pixels lie between


def test_class_weights():
    found = arrays("bimix")
    for match in matching(found, r"classweight_(\d+)p(\d+)_out"):
        spread = float(f"{match[1]}.{match[2]}")
        close(rare_weights(torch.tensor(CITYSCAPES), spread), found[match[0]], **SINGLE)


@golden("bimix", "fuse")
def test_blended_labels(case):
    day, night = case.tensor("day_logits"), case.tensor("night_logits")
    moving = torch.arange(day.shape[1]) >= MOVING
    score = blended(day, night, moving) * case.tensor("class_weight").view(1, -1, 1, 1)
    close(score, case.outputs["score"], **SINGLE)
    np.testing.assert_array_equal(score.argmax(1), case.outputs["label"])


@golden("bimix", "paste")
def test_pasting_of_classes(case):
    label = case.tensor("label_src")[None]
    where = class_mask(label, case.tensor("classes"))
    np.testing.assert_array_equal(where[0], case.outputs["mask"].astype(bool))
    mixed = paste(case.tensor("img_dst"), case.tensor("img_src"), where)
    close(mixed, case.outputs["img"], **SINGLE)
    labels = paste(case.tensor("label_dst")[None], label, where)
    np.testing.assert_array_equal(labels, case.outputs["label"])


@golden("bimix", "dyn")
def test_what_moves_is_pasted(case):
    said = case.tensor("pred")
    present = said.unique()
    chosen = present[present >= PASTED]
    np.testing.assert_array_equal(chosen, case.outputs["classes"])
    np.testing.assert_array_equal(class_mask(said, chosen), case.outputs["mask"].astype(bool))


@golden("bimix", "relight")
def test_relighting(case):
    x, reference = case.tensor("x", True), case.tensor("ref")
    light, block = case.number("mean_light"), int(case.number("patch"))
    close(roughness(x), case.outputs["tv"], **SINGLE)
    close(exposure(x, light, block), case.outputs["exposure"], **SINGLE)
    close(structure_distance(x, reference).mean(), case.outputs["ssim"], **SINGLE)
    total = relighting(x, x, reference, light, block)
    total.backward()
    close(total, case.outputs["total"], **SINGLE)
    if "grad" in case.outputs:
        close(x.grad, case.outputs["grad"], rtol=1e-4, atol=1e-6)


@golden("bimix", "ssim")
def test_likeness_of_flat_pictures(case):
    flat = case.tensor("")
    close(structure_distance(flat, flat), case.outputs[""], **SINGLE)


@golden("bimix", "curve")
def test_curves(case):
    residual, middle = bent(case.tensor("x"), case.tensor("maps_pre_tanh"), LOW, HIGH)
    close(middle, case.outputs["mid"], **SINGLE)
    close(residual, case.outputs["residual"], **SINGLE)


@golden("bimix", "wce")
def test_weighted_cross_entropy(case):
    logits = case.tensor("logits", True)
    target, weight = case.tensor("target").long(), case.tensor("weight")
    loss = masked_cross_entropy(logits, target, weight, over="all")
    loss.backward()
    close(loss, case.outputs["loss"], **DOUBLE)
    close(logits.grad, case.outputs["grad"], **DOUBLE)


@golden("bimix", "static")
def test_tolerant_loss_as_published(case):
    logits = case.tensor("logits", True)
    weights = case.tensor("class_weight")
    loss, moved = tolerant_as_published(logits, case.tensor("target").long(), weights)
    loss.backward()
    close(loss, case.outputs["loss"], **SINGLE)
    close(logits.grad, case.outputs["grad"], rtol=1e-4, atol=1e-7)
    np.testing.assert_array_equal(moved, case.outputs["target_after_call"])


@golden("bimix", "conf")
def test_share_of_sure_pixels(case):
    close(share_sure(case.tensor("prob"), 0.968), case.outputs["fraction"], **DOUBLE)


def test_every_recorded_group_is_tested():
    known = {"classweight", "fuse", "paste", "dyn", "relight", "ssim", "curve", "wce", "static",
             "conf"}  # fmt: skip
    names = {key.split("_")[0].rstrip("0123456789") for key in arrays("bimix")}
    assert names <= known
