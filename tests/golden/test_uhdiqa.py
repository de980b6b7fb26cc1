"""UHD-IQA: agreement with ratings, losses, fragments and crops, statistics of luma, opinions."""

from __future__ import annotations

import numpy as np

from fallow.inventory.naturalness import (
    Natural,
    blocks,
    brisque_18,
    halved,
    mscn,
    niqe,
    niqe_18,
    sums_of,
)
from fallow.losses.contrastive import nt_xent
from fallow.losses.quality import (
    chance_better,
    correlation_loss,
    fidelity,
    norm_in_norm,
    order_loss,
)
from fallow.measure.opinion import agreement, agreement_after_fit, opinion
from fallow.views.fragments import five_crops, fragments

from .cases import close, golden

TIGHT = {"rtol": 1e-6, "atol": 1e-9}


def values(case, name="luma"):
    return case.inputs[name].astype(np.float64)


@golden("uhdiqa", "iqa_metrics")
def test_agreement_with_ratings(case):
    raw = agreement(case.inputs["pred"], case.inputs["mos"])
    bent = agreement_after_fit(case.inputs["pred"], case.inputs["mos"])
    assert (raw.fit, bent.fit) == ("raw", "curve")
    checked = {"srcc", "krcc"}
    close(raw.srcc, case.outputs["srcc"], **TIGHT)
    close(raw.krcc, case.outputs["krcc"], **TIGHT)
    for name, expected in case.outputs.items():
        kind, _, fit = name.partition("_")
        if kind in ("plcc", "rmse", "mae"):
            found = getattr(raw if fit == "raw" else bent, kind)
            close(found, expected, rtol=1e-6 if fit == "raw" else 1e-4, atol=1e-8)
            checked.add(name)
    assert checked == set(case.outputs)


def checked_loss(case, loss, *names):
    """The inputs after the loss was compared and its gradients were taken, in float64."""
    inputs = [case.tensor(name).double().requires_grad_() for name in names]
    value = loss(*inputs)
    value.backward()
    close(value, case.outputs["loss"], **TIGHT)
    return inputs


@golden("uhdiqa", "plcc_loss")
def test_correlation_loss(case):
    predicted, _ = checked_loss(case, correlation_loss, "pred", "target")
    close(predicted.grad, case.outputs["grad_pred"], **TIGHT)


@golden("uhdiqa", "rank_loss")
def test_order_loss(case):
    predicted, _ = checked_loss(case, order_loss, "pred", "target")
    close(predicted.grad, case.outputs["grad_pred"], **TIGHT)


@golden("uhdiqa", "norm_in_norm_loss")
def test_norm_in_norm(case):
    predicted, _ = checked_loss(case, norm_in_norm, "pred", "target")
    close(predicted.grad, case.outputs["grad_pred"], **TIGHT)


@golden("uhdiqa", "fidelity_loss")
def test_fidelity(case):
    names = ("pred_a", "pred_b", "mos_a", "mos_b")
    one, two, *rated = checked_loss(case, fidelity, *names)
    close(one.grad, case.outputs["grad_a"], **TIGHT)
    close(two.grad, case.outputs["grad_b"], **TIGHT)
    close(chance_better(one, two), case.outputs["p_pred"], **TIGHT)
    close(chance_better(*rated), case.outputs["p_target"], **TIGHT)


@golden("uhdiqa", "nt_xent")
def test_nt_xent(case):
    one, _ = checked_loss(case, lambda a, b: nt_xent(a, b, case.number("tau")), "a", "b")
    close(one.grad, case.outputs["grad_a"], rtol=1e-5, atol=1e-7)


@golden("uhdiqa", "grid_fragments")
def test_fragments(case):
    found = fragments(
        case.inputs["image"],
        int(case.number("grid")),
        int(case.number("fsize")),
        case.inputs["offset_h"],
        case.inputs["offset_w"],
    )
    np.testing.assert_array_equal(found, case.outputs["fragments"])


@golden("uhdiqa", "five_crop_boxes")
def test_five_crops(case):
    width, height = case.inputs["wh"].tolist()
    found = five_crops(height, width, int(case.number("crop")))
    np.testing.assert_array_equal(found, case.outputs["top_left_h_w"])


@golden("uhdiqa", "mscn")
def test_normalised_luma(case):
    for name, border in (("replicate", "edge"), ("same", "zero")):
        close(mscn(values(case), border), case.outputs[f"mscn_{name}"], atol=1e-5)


@golden("uhdiqa", "brisque_nss18")
def test_brisque_statistics(case):
    found = brisque_18(sums_of(mscn(values(case), "zero")))
    close(found, case.outputs["features"], rtol=1e-3, atol=1e-3)


@golden("uhdiqa", "niqe_nss18")
def test_niqe_statistics(case):
    found = niqe_18(sums_of(mscn(values(case), "edge")))
    close(found, case.outputs["features"], rtol=1e-3, atol=1e-3)


@golden("uhdiqa", "niqe_distance")
def test_niqe(case):
    block = int(case.number("block"))
    model = Natural(values(case, "pristine_mu"), values(case, "pristine_cov"), block)
    close(niqe(blocks(values(case), block), model), case.outputs["niqe"], rtol=1e-3)


@golden("uhdiqa", "matlab_imresize_half")
def test_half_the_size(case):
    close(halved(values(case, "x")), case.outputs["y"], rtol=1e-6)


@golden("uhdiqa", "derived_mos")
def test_opinions(case):
    found = opinion(values(case, "ratings_image_rater_session") / 100)  # given in hundredths
    close(found.mean, case.outputs["mos"], **TIGHT)
    close(found.spread, case.outputs["std"], **TIGHT)
    close(found.half_width, case.outputs["ci95_halfwidth"], **TIGHT)
    close(found.self_plcc, case.outputs["rater_self_plcc"], rtol=1e-5)
    close(found.self_srcc, case.outputs["rater_self_srcc"], rtol=1e-5)
