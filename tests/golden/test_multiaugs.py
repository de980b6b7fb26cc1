"""MultiAugs against its original: heat maps and back, losses, hard views and their turns."""

from __future__ import annotations

import re

import numpy as np
import torch
from tests.golden.arrays import arrays, matching
from tests.golden.cases import DOUBLE, close, golden

from fallow.losses.heatmaps import heat_consistency, heat_loss, sure_joints
from fallow.measure.landmarks import pck
from fallow.methods.pose.multiaugs import mixed_up
from fallow.methods.shared.pose import random_turns
from fallow.views import seen_through, turning, unnormalised
from fallow.views.heatmaps import drawn, gaussians, peaks, refined, shifted
from fallow.views.mixing import boxes_around, cover, paste

SPREAD = 10  # pixels of the jitter that is recorded as standard normal noise


@golden("multiaugs", "target")
def test_targets(case):
    width, height = case.inputs["heatmap_wh"].tolist()
    stride = case.inputs["image_wh"] / case.inputs["heatmap_wh"]
    sigma = case.number("sigma")
    # the original rounds to whole pixels of the map, and half of them up
    centres = torch.from_numpy(np.trunc(case.inputs["joints"][:, :2] / stride + 0.5))
    visible = case.tensor("visible")[:, 0] * drawn(centres, (height, width), sigma)
    maps = gaussians(centres, (height, width), sigma) * (visible > 0.5)[:, None, None]
    close(visible[:, None], case.outputs["weight"], rtol=0, atol=0)
    close(maps, case.outputs["heatmap"])


@golden("multiaugs", "decode")
def test_maps_are_read(case):
    maps, refine = case.tensor("heatmap"), case.tensor("heatmap_refine")
    places, heights = peaks(maps)
    close(places, case.outputs["max_xy_teacher"], rtol=0, atol=0)
    close(heights, case.outputs["max_val_teacher"], rtol=0, atol=0)
    close(heights[..., None], case.outputs["max_val"], rtol=0, atol=0)
    judged = places * (heights > 0)[..., None]
    close(judged, case.outputs["max_xy"], rtol=0, atol=0)
    start = peaks(refine)[0]
    close(shifted(refine, start), case.outputs["xy_shift"], rtol=0, atol=0)
    close(refined(refine, start), case.outputs["xy_dark"])
    truth, seen = peaks(case.tensor("pck_target"))
    truth = truth * (seen > 0)[..., None]
    # as published: x goes by the height, y by the width; a target at the very rim is not judged
    reach = np.tile(np.array(maps.shape[2:]) / 10 * 0.5, (len(maps), 1))
    truth = torch.where((truth > 1).all(-1, keepdim=True), truth, torch.nan)
    shares = pck(judged.numpy(), truth.numpy(), reach, strict=True)
    close(np.nan_to_num(shares, nan=-1.0), case.outputs["pck"][1:], rtol=DOUBLE)
    known = shares[~np.isnan(shares)]
    mean = known.mean() if len(known) else 0.0
    close(mean, case.outputs["pck_avg"], rtol=DOUBLE)
    close(mean, case.outputs["pck"][0], rtol=DOUBLE)


def kinds(case):
    """Each kind of consistency there is: how students and weights become what is compared."""
    weights, teacher = case.tensor("weight_unl")[..., 0], case.tensor("teacher")
    return {
        "plain": (lambda students: list(students), weights),
        "fusion": (lambda students: [students.mean(0)], weights),
        "mask": (lambda students: list(students), sure_joints(teacher, weights)),
    }


@golden("multiaugs", "single")
def test_losses_of_one_network(case):
    for name, (taken, weights) in kinds(case).items():
        if f"{name}_loss" not in case.outputs:
            continue
        found, students = case.tensor("sup", True), case.tensor("students", True)
        pose = heat_loss(found, case.tensor("target"), case.tensor("weight_lab")[..., 0])
        consistent = heat_consistency(taken(students), case.tensor("teacher"), weights)
        (pose + consistent).backward()
        close(pose, case.outputs[f"{name}_pose"], rtol=DOUBLE)
        close(consistent, case.outputs[f"{name}_cons"], rtol=DOUBLE)
        close(pose + consistent, case.outputs[f"{name}_loss"], rtol=DOUBLE)
        for key, expected in case.outputs.items():
            if match := re.fullmatch(rf"{name}_grad_student(\d+)", key):  # counted from 0
                close(students.grad[int(match[1])], expected, rtol=DOUBLE)
        close(found.grad, case.outputs["grad_sup"], rtol=DOUBLE)


@golden("multiaugs", "dual")
def test_losses_of_two_networks(case):
    target, known = case.tensor("target"), case.tensor("weight_lab")[..., 0]
    weights = case.tensor("weight_unl")[..., 0]
    students = {number: case.tensor(f"students{number}", True) for number in (1, 2)}
    pose = sum(heat_loss(case.tensor(f"sup{number}"), target, known) / 2 for number in (1, 2))
    consistent = sum(
        heat_consistency(list(students[number]), case.tensor(f"teacher{3 - number}"), weights)
        for number in (1, 2)
    )
    consistent.backward()
    close(pose, case.outputs["pose"], rtol=DOUBLE)
    close(consistent, case.outputs["cons"], rtol=DOUBLE)
    close(pose + consistent, case.outputs["loss"], rtol=DOUBLE)
    close(students[1].grad[0], case.outputs["grad_student1_first"], rtol=DOUBLE)


FOUND = arrays("multiaugs")


def pictures(case):
    """The pictures a case is about, which cases of one number share."""
    number = case.name.lstrip("abcdefghijklmnopqrstuvwxyz")
    return torch.from_numpy(FOUND[f"aug{number}_in_img"].copy())


def jittered(case):
    """Whole places of all joints, near where they were predicted.  B J 2"""
    return (case.tensor("joints_xy") + SPREAD * case.tensor("noise")).long()


def picked(values, index):
    return values.gather(1, index[..., None].expand(-1, -1, 2))


def exchanged(images):
    """Rows and columns are limited by each other's number in the original."""
    return images.shape[2], images.shape[3]


@golden("multiaugs", "jointcut")
def test_joints_are_cut_out(case):
    images, index = pictures(case), case.tensor("joint_index")
    places, halves = (picked(x, index) for x in (jittered(case), case.tensor("size")))
    inside = boxes_around(places, halves, images.shape[2:], exchanged(images))
    close(paste(images, torch.zeros_like(images), inside), case.outputs["img"], rtol=0, atol=0)


def centres(case):
    return torch.stack([case.tensor("center_x"), case.tensor("center_y")], -1)


@golden("multiaugs", "cutout")
def test_boxes_are_cut_out(case):
    images = pictures(case)
    size = images.shape[2:]
    inside = boxes_around(centres(case), case.tensor("size"), size, exchanged(images))
    close(paste(images, torch.zeros_like(images), inside), case.outputs["img"], rtol=0, atol=0)


@golden("multiaugs", "cutmix")
def test_boxes_are_filled_from_others(case):
    images = pictures(case)
    size = images.shape[2:]
    inside = boxes_around(centres(case), case.tensor("size"), size, exchanged(images))
    made = paste(images, images[case.tensor("perm")], inside)
    close(made, case.outputs["img"], rtol=0, atol=0)


@golden("multiaugs", "mixup")
def test_pictures_are_mixed(case):
    images = pictures(case).float()
    made, share = mixed_up(images, case.tensor("perm"), case.number("beta"))
    close(share, case.outputs["lambda"], rtol=DOUBLE)
    close(made, case.outputs["img"])


@golden("multiaugs", "jointocc")
def test_joints_are_covered(case):
    images, donor = pictures(case), case.tensor("donor_image")
    # the original takes the first number of a place for its row
    places, halves = jittered(case).flip(-1), case.tensor("size").flip(-1)
    there = case.tensor("donor_joint_index")
    made = cover(
        images,
        picked(places, case.tensor("joint_index")),
        images[donor],
        picked(places[donor], there),
        picked(halves[donor], there),
    )
    close(made, case.outputs["img"], rtol=0, atol=0)


@golden("multiaugs", "affine", without=("affinestats",))
def test_views_and_their_maps_are_turned(case):
    angle, scale = case.inputs["angle_scale"].tolist()
    # about a middle of 0, as in coordinates from -1 to 1; a scale above 1 shows more
    theta = turning(-angle, 1, scale=1 / scale)[None]
    close(theta, case.outputs["theta"], rtol=DOUBLE)
    for name in ("img", "heatmap"):
        maps = case.tensor(name)
        close(seen_through(maps, unnormalised(theta, *maps.shape[2:])), case.outputs[name])


def test_chance_keeps_its_range():
    (match,) = matching(FOUND, r"affinestats_out_(.+)")
    low, high, smallest, largest, still = FOUND[match[0]].tolist()
    torch.manual_seed(0)
    angles, scales = random_turns(4000, chance=0.8)
    assert (angles.min(), angles.max()) == (low, high)
    assert (scales.min(), scales.max()) == (smallest, largest)
    assert abs(float((angles == 0).float().mean()) - still) < 0.1  # 400 draws say no more
