"""UNPG: margins, filtered negative pairs, the unified loss and its gradients, verification."""

from __future__ import annotations

import numpy as np
import pytest

from fallow.losses.margin import (
    additive_margin,
    angular_margin,
    cosines,
    longer_is_harder,
    pair_similarities,
    unified,
)
from fallow.losses.negative_pairs import negative_mass, within_whiskers
from fallow.measure.pairs import accepted_near, best_accuracy, curve

from .cases import close, golden


@golden("unpg", "unpg_filter")
def test_pairs_within_whiskers(case):
    values = case.tensor("sims").double()
    kept = values[within_whiskers(values, case.number("wisk"))]
    close(kept.sort().values, case.outputs["kept_sorted"], 1e-6)


@golden("unpg", "unpg_pairs")
def test_pairs(case):
    same, other = pair_similarities(case.tensor("x").double(), case.tensor("labels"))
    close(same, case.outputs["pos"], 1e-6, 1e-7)
    close(other, case.outputs["neg"], 1e-6, 1e-7)


@pytest.mark.parametrize("with_pairs", [False, True])
@golden("unpg", "unpg_loss")
def test_loss(case, with_pairs):
    x, weight = (case.tensor(name).double().requires_grad_() for name in ("x", "weight"))
    labels = case.tensor("labels").long()
    move = additive_margin if "cosface" in case.name else angular_margin
    margined = move(cosines(x, weight), labels, case.number("m"))
    close(margined, case.outputs["margin_cosine"], 1e-6, 1e-6)
    mass = negative_mass(x, labels, case.number("s"), case.number("wisk"))[0]
    loss = unified(
        margined, labels, mass if with_pairs else x.new_tensor(-np.inf), case.number("s")
    )
    close(loss, case.outputs["loss" if with_pairs else "base_loss"], 1e-6)
    loss.backward()
    close(x.grad, case.outputs["grad_x" if with_pairs else "base_grad_x"], 1e-5, 1e-4)
    if with_pairs:
        close(weight.grad, case.outputs["grad_weight"], 1e-5, 1e-4)


@golden("unpg", "magface")
def test_longer_is_harder(case):
    _, low, high, shortest, longest, weight = case.inputs["cfg"].tolist()
    x = case.tensor("x").double()
    cosine = cosines(x, case.tensor("weight").double().T)  # centres are columns
    moved, asked = longer_is_harder(
        cosine, case.tensor("labels").long(), x.norm(dim=1), (low, high), (shortest, longest)
    )
    close(moved, case.outputs["margin_cosine"], 1e-6, 1e-6)
    close(weight * asked, case.outputs["lambda_g_times_lg"], 1e-6)


@golden("unpg", "verification")
def test_verification(case):
    found = curve(case.inputs["similarities"], case.inputs["labels"])
    rates = 100 * accepted_near(found, case.inputs["fars"].tolist())
    np.testing.assert_allclose(rates, case.outputs["tar_percent"], rtol=1e-4)
    accuracy, threshold = best_accuracy(found)
    close(accuracy, case.outputs["best_accuracy"], 1e-6)
    close(threshold, case.outputs["best_threshold"], 1e-6)
