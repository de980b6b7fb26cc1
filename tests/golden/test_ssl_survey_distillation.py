"""DINO, iBOT, MSN and MoCo v3: losses, gradients, centres over consecutive steps, schedules."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fallow.losses.contrastive import symmetric_in_batch
from fallow.losses.distillation import (
    balanced,
    centred,
    cross_entropy,
    entropy,
    masked_distillation,
    neglect,
    self_distillation,
)
from fallow.losses.prototypes import sinkhorn
from fallow.measure import knn_accuracy
from fallow.parts.teacher import Centre
from fallow.train.optimisers import MatrixLARS
from fallow.train.schedules import ramp_reaching, warm_up_cosine_from

from .cases import close, golden

RTOL = 1e-5
# what the originals have as defaults and the file does not say
STUDENT = 0.1
IBOT_WARM, IBOT_LAST = 0.04, 0.07


def double(case, name, gradient=False):
    return case.tensor(name).double().requires_grad_(gradient)


def centre_of(case, name):
    start = double(case, name).flatten()
    centre = Centre(len(start)).double()
    centre.value.copy_(start)
    return centre


def moved(centre, case, name):
    """The centre changes only when told to, and then to what was recorded."""
    before = centre.value.clone()
    close(before.reshape(case.inputs[name].shape), case.inputs[name], RTOL)
    centre.move()
    close(centre.value.reshape(case.outputs[name].shape), case.outputs[name], RTOL)


def gradient(tensor, case, name):
    close(tensor.grad, case.outputs[name], RTOL)


@golden("ssl-survey", "dino_loss")
def test_dino(case):
    student, teacher = double(case, "student", True), double(case, "teacher")
    centre = centre_of(case, "center")
    softness = ramp_reaching(
        int(case.number("epoch")),
        case.number("warmup_temp"),
        case.number("temp"),
        int(case.number("warmup_epochs")),
    )
    views = student.chunk(int(case.number("ncrops")))
    answers = centred(teacher, centre.value, softness)
    centre.see(teacher)
    loss = self_distillation(views, answers.split(len(views[0])), STUDENT)
    loss.backward()
    close(loss, case.outputs["loss"], RTOL)
    gradient(student, case, "grad_student")
    moved(centre, case, "center")


@golden("ssl-survey", "ibot_loss")
def test_ibot(case):
    student, patches = double(case, "student_cls", True), double(case, "student_patch", True)
    views = list(student.chunk(2))
    local = None
    if "student_local" in case.inputs:
        local = double(case, "student_local", True)
        views += local.chunk(int(case.number("nlocal")))
    softness = ramp_reaching(
        int(case.number("epoch")), IBOT_WARM, IBOT_LAST, int(case.number("warmup_epochs"))
    )
    centre, patch_centre = centre_of(case, "center"), centre_of(case, "center2")
    scores, patch_scores = double(case, "teacher_cls"), double(case, "teacher_patch")
    mask = case.tensor("mask").flatten(2).flatten(0, 1).bool()  # 2B L
    answers = centred(scores, centre.value, softness).chunk(2)
    patch_answers = centred(patch_scores[mask], patch_centre.value, softness)
    centre.see(scores)
    patch_centre.see(patch_scores)
    outside = self_distillation(views, answers, STUDENT)
    inside = masked_distillation(patches[mask], patch_answers, mask, STUDENT)
    inside = case.number("lambda2") * inside
    (outside + inside).backward()
    close(outside, case.outputs["cls"], RTOL)
    close(inside, case.outputs["patch"], RTOL)
    close(outside + inside, case.outputs["loss"], RTOL)
    gradient(student, case, "grad_student_cls")
    gradient(patches, case, "grad_student_patch")
    if local is not None:
        gradient(local, case, "grad_local")
    moved(centre, case, "center")
    moved(patch_centre, case, "center2")


@golden("ssl-survey", "msn_loss")
def test_msn(case):
    anchors, prototypes = double(case, "anchor", True), double(case, "prototypes", True)
    softness, views = case.number("tau"), int(case.number("views"))

    def cosines(rows):
        normalise = torch.nn.functional.normalize
        return normalise(rows, dim=1) @ normalise(prototypes, dim=1).T

    scores = cosines(anchors)
    rounds = 3 if case.number("sinkhorn") else 0
    targets = balanced(cosines(double(case, "target")), softness * case.number("T"), rounds)
    targets = targets.repeat(views, 1)
    agreement = cross_entropy(scores, targets, softness).mean()
    unused = neglect(scores, softness)
    own = entropy((scores / softness).softmax(1)) * case.number("entropy")
    (agreement + unused + own).backward()
    close(targets, case.outputs["targets"], RTOL)
    close(agreement, case.outputs["ploss"], RTOL)
    close(unused, case.outputs["memax"], RTOL)
    close(own, case.outputs["ent"], RTOL)
    gradient(anchors, case, "grad_anchor")
    gradient(prototypes, case, "grad_prototypes")


@golden("ssl-survey", "msn_sinkhorn")
def test_msn_sinkhorn(case):
    shares = sinkhorn(double(case, "Q").log(), 1.0, int(case.number("iters")))
    close(shares, case.outputs["Q"], RTOL)


@golden("ssl-survey", "mocov3_loss")
def test_mocov3(case):
    rows = [double(case, name, gradient=True) for name in ("q1", "q2", "k1", "k2")]
    loss = symmetric_in_batch(*rows, temperature=case.number("T"))
    loss.backward()
    close(loss, case.outputs["loss"], RTOL)
    gradient(rows[0], case, "grad_q1")
    gradient(rows[1], case, "grad_q2")
    assert rows[2].grad is None
    assert rows[3].grad is None


@golden("ssl-survey", "dino_cosine_schedule")
def test_cosine_schedule(case):
    each = int(case.number("niter"))
    total, warm = int(case.number("epochs")) * each, int(case.number("warmup_epochs")) * each
    peak, start, end = (case.number(name) for name in ("base", "start", "final"))
    values = [warm_up_cosine_from(t, total, peak, warm, start, end) for t in range(total)]
    close(values, case.outputs["values"], RTOL)


@golden("ssl-survey", "lars")
def test_lars(case):
    names = [name for name in case.outputs if f"g{name}" in case.inputs]
    assert names
    parameters = [torch.nn.Parameter(double(case, name)) for name in names]
    optimiser = MatrixLARS(
        parameters,
        lr=case.number("lr"),
        momentum=case.number("momentum"),
        weight_decay=case.number("wd"),
        trust=case.number("trust"),
    )
    for gradients in zip(*(double(case, f"g{name}") for name in names), strict=True):
        for parameter, one in zip(parameters, gradients, strict=True):
            parameter.grad = one
        optimiser.step()
    for name, parameter in zip(names, parameters, strict=True):
        close(parameter, case.outputs[name], RTOL)


@golden("ssl-survey", "knn")
def test_knn(case):
    bank, labels, queries, truth = (
        case.inputs[name] for name in ("train", "train_labels", "test", "test_labels")
    )
    bank, queries = (x.astype(np.float64) for x in (bank, queries))
    found = knn_accuracy(bank, labels, queries, truth, int(case.number("k")), case.number("T"))
    assert 100 * found.top1 == pytest.approx(case.outputs["top1"].item(), abs=1e-6)
    assert 100 * found.top5 == pytest.approx(case.outputs["top5"].item(), abs=1e-6)
