"""Faces: the published pre-training's losses, and the measures of its tasks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fallow.losses import sinkhorn, swapped_prediction
from fallow.losses.contrastive import negative_cosine
from fallow.measure.landmarks import point_errors
from fallow.measure.ratings import (
    concordance,
    consistency,
    correlation,
    root_mean_square,
    sign_agreement,
)

from .cases import close, golden


@golden("faces", "faces_sinkhorn")
def test_sinkhorn(case):
    found = sinkhorn(case.tensor("scores"), case.number("epsilon"), int(case.number("iters")))
    close(found, case.outputs["Q"], 1e-4, 1e-6)


@golden("faces", "faces_swav_loss")
def test_swapped_prediction(case):
    embedding = case.tensor("embedding", gradient=True)
    # made of length 1 before the step, not in it
    prototypes = F.normalize(case.tensor("prototypes"), dim=1).requires_grad_()
    assigned, *rest = case.inputs["nmb_crops"].tolist()
    scores = (embedding @ prototypes.T).chunk(assigned + sum(rest))
    codes = {
        crop: sinkhorn(scores[crop].detach(), case.number("epsilon"), int(case.number("iters")))
        for crop in range(assigned)
    }
    loss = swapped_prediction(scores, codes, case.number("temperature"))
    close(loss, case.outputs["loss"], 1e-5)
    loss.backward()
    close(embedding.grad, case.outputs["grad_embedding"], 1e-4, 1e-6)
    close(prototypes.grad, case.outputs["grad_prototypes"], 1e-4, 1e-6)


@golden("faces", "simsiam_loss")
def test_simsiam(case):
    one, two = case.tensor("p1", gradient=True), case.tensor("p2", gradient=True)
    loss = (negative_cosine(one, case.tensor("z2")) + negative_cosine(two, case.tensor("z1"))) / 2
    close(loss, case.outputs["loss"], 1e-5)
    loss.backward()
    close(one.grad, case.outputs["grad_p1"], 1e-4, 1e-6)
    close(two.grad, case.outputs["grad_p2"], 1e-4, 1e-6)


@golden("faces", "byol_norm_dist")
def test_byol_distance(case):
    x, y = case.tensor("x", gradient=True), case.tensor("y")
    each = torch.stack([negative_cosine(a[None], b[None]) for a, b in zip(x, y, strict=True)])
    close(2 * each, case.outputs["dist"], 1e-5)
    (2 * each).sum().backward()
    close(x.grad, case.outputs["grad_x"], 1e-4, 1e-6)


@golden("faces", "derived_nme")
def test_point_errors(case):
    predicted, truth = case.inputs["pred"], case.inputs["gt"]
    box = point_errors(predicted, truth)
    close(box / 100, case.outputs["per_image_box"], 1e-5)  # recorded as a share
    close(box.mean(), case.outputs["nme_box"], 1e-5)
    close(point_errors(predicted, truth, "diagonal").mean(), case.outputs["nme_diag"], 1e-5)
    eyes = case.inputs["outer_eye_indices"].tolist()
    close(point_errors(predicted, truth, eyes).mean(), case.outputs["nme_interocular"], 1e-5)


@pytest.mark.parametrize(("kind", "measure"), [("icc31", consistency), ("ccc", concordance)])
def test_kinds_of_agreement(kind, measure):
    from .cases import cases

    for case in cases("faces", f"derived_{kind}"):
        close(measure(case.inputs["x"], case.inputs["y"]), case.outputs[""], 1e-5)


@golden("faces", "derived_pcc_rmse_sagr")
def test_agreement_of_numbers(case):
    x, y = case.inputs["x"], case.inputs["y"]
    close(correlation(x, y), case.outputs["pcc"], 1e-5)
    close(root_mean_square(x, y), case.outputs["rmse"], 1e-5)
    close(sign_agreement(x, y), case.outputs["sign_agreement"], 1e-5)


def test_what_does_not_vary_agrees_with_nothing():
    flat, ramp = np.ones(5), np.arange(5.0)
    assert np.isnan(consistency(ramp, flat))
    assert np.isnan(correlation(ramp, flat))
    assert concordance(ramp, flat) == 0
