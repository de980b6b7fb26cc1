"""AMCL: loss per anchor with its gradients, regulariser, projectors, and their k-NN ranking.

Covers the prefixes derived, derived_omega, proj and knn.
"""

from __future__ import annotations

import re

import numpy as np
import torch

from fallow.encoders.heads import MultiHead, mlp
from fallow.losses import hardest_contrast, omega
from fallow.measure import knn_scores

from .cases import DOUBLE, close, golden

INPUTS = ("sim_pos", "sim_neg", "tau_pos", "tau_neg")


@golden("amcl", "derived", without=("derived_omega",))
def test_loss_per_anchor(case):
    beta, dimension = case.inputs["meta"].tolist()
    given = {name: case.tensor(name, gradient=True) for name in INPUTS}
    per_anchor = hardest_contrast(*given.values(), beta, int(dimension))
    close(per_anchor, case.outputs["loss_per_anchor"], rtol=DOUBLE)
    per_anchor.mean().backward()
    hardest = given["sim_neg"].grad != 0  # C B N
    assert (hardest.sum(2) == 1).all()
    assert (hardest.int().argmax(2).numpy() == case.outputs["hardest"]).all()
    for name, tensor in given.items():
        if f"grad_{name}" in case.outputs:  # ties record the value only
            close(tensor.grad, case.outputs[f"grad_{name}"], rtol=DOUBLE)


@golden("amcl", "derived_omega")
def test_omega(case):
    assert case.outputs
    for name, expected in case.outputs.items():
        close(omega(case.tensor("tau"), int(name.removeprefix("d"))), expected, rtol=DOUBLE)


@golden("amcl", "proj")
def test_projectors(case):
    found = {}
    for key in case.inputs:
        if named := re.fullmatch(r"h(\d+)_l(\d+)_w", key):
            found.setdefault(int(named[1]), []).append(int(named[2]))
    heads = []
    for head, layers in sorted(found.items()):
        weights = [case.tensor(f"h{head}_l{layer}_w") for layer in sorted(layers)]
        built = mlp([weights[0].shape[1], *[len(weight) for weight in weights]])
        for layer, weight in zip(sorted(layers), weights, strict=True):
            built[layer].weight.data = weight
            built[layer].bias.data = case.tensor(f"h{head}_l{layer}_b")
        heads.append(built)
    close(torch.stack(MultiHead(heads)(case.tensor("x"))), case.outputs[""])


@golden("amcl", "knn")
def test_knn_ranking(case):
    k, temperature, classes = case.inputs["meta"].tolist()
    scores = knn_scores(
        *(case.inputs[name] for name in ("bank", "labels", "query")),
        k=int(k),
        temperature=temperature,
        classes=int(classes),
    )
    # classes with equal votes may stand in any order
    ranked = np.take_along_axis(scores, case.outputs["ranking"], 1)
    close(ranked, -np.sort(-scores, axis=1))
    assert (scores > 0).any()
