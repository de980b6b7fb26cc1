"""Hydra: cosines under gates, the contrast of pairs, and the chain from labels to gradients."""

from __future__ import annotations

import numpy as np
import torch

from fallow.encoders.heads import PairGate
from fallow.losses.gated import (
    gated_cosine,
    gated_product,
    pair_contrast,
    pair_contrast_by_anchor,
)

from .cases import DOUBLE, close, golden

TIGHT = {"rtol": DOUBLE}


@golden("hydra", "gated")
def test_gated(case):
    x1, x2, gate = (case.tensor(name, True) for name in ("x1", "x2", "gate"))
    cosine = gated_cosine(x1, x2, gate)
    (case.tensor("w") * cosine).sum().backward()
    close(cosine, case.outputs["cos"], **TIGHT)
    for name, tensor in (("x1", x1), ("x2", x2), ("gate", gate)):
        # tiny gates have huge gradients
        expected = case.outputs[f"grad_{name}"]
        close(tensor.grad, expected, **TIGHT)


@golden("hydra", "mp")
def test_pairs(case):
    logits = case.tensor("logits", True)
    labels = [case.tensor(name) for name in ("y1", "y2", "yk")]
    loss = pair_contrast(logits, *labels)
    loss.backward()
    assert torch.isfinite(logits.grad).all()
    if np.isnan(case.outputs["loss"]):  # no positive at all: 0 / 0 there, 0 here
        assert loss.item() == 0
        assert not logits.grad.any()
    else:
        close(loss, case.outputs["loss"], **TIGHT)
        close(logits.grad, case.outputs["grad_logits"], **TIGHT)
    by_anchor = pair_contrast_by_anchor(case.tensor("logits"), *labels)
    close(by_anchor, case.outputs["loss_per_anchor_mean"], **TIGHT)


def gate_of(case) -> PairGate | None:
    """The recorded gate, in training mode; None where all gates are open."""
    weights = {
        name.removeprefix("gate."): case.tensor(name)
        for name in case.inputs
        if name.startswith("gate.")
    }
    if not weights:
        return None
    classes, embedding = weights["label_embedding.weight"].shape
    output, hidden = weights["mlp.5.weight"].shape
    gate = PairGate(classes, output, embedding, hidden).double()
    unknown = gate.load_state_dict(weights, strict=False)
    assert not unknown.unexpected_keys
    assert all(name.endswith("num_batches_tracked") for name in unknown.missing_keys)
    return gate


def same(tensor: torch.Tensor, expected: np.ndarray) -> bool:
    return tensor.shape == expected.shape and np.allclose(
        tensor.detach(), expected, DOUBLE, 0.01 * DOUBLE
    )


@golden("hydra", "loss")
def test_chain(case):
    """The file names neither kind of gate nor of logits: one of ours has to give the recorded."""
    z1, k2 = case.tensor("z1", True), case.tensor("k2", True)
    y, other, scale = case.tensor("y"), case.tensor("posy"), case.number("scale")
    network = gate_of(case)
    if network is None:
        gates = [torch.ones_like(z1)]
    else:
        gates = [network(y, other), network.product(y, other)]
    (gate,) = [gate for gate in gates if same(gate, case.outputs["gate"])]
    kinds = [gated_cosine(z1, k2, gate), gated_product(z1, k2, gate)]
    logits = next(scale * kind for kind in kinds if same(scale * kind, case.outputs["logits"]))
    loss = pair_contrast(logits, y, other, y)
    loss.backward()
    close(loss, case.outputs["loss"], **TIGHT)
    close(
        pair_contrast_by_anchor(logits, y, other, y), case.outputs["loss_per_anchor_mean"], **TIGHT
    )
    close(z1.grad, case.outputs["grad_z1"], **TIGHT)
    close(k2.grad, case.outputs["grad_k2"], **TIGHT)
    if network is not None:
        embedding, last = network.label_embedding.weight, network.mlp[5].weight
        close(embedding.grad, case.outputs["grad_label_embedding"], **TIGHT)
        close(last.grad, case.outputs["grad_mlp5_weight"], **TIGHT)
