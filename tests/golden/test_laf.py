"""LAF: squashed errors, both updates' losses, the autoencoder, and the attack's table."""

from __future__ import annotations

import numpy as np
import torch

from fallow.losses.forgetting import alignment, discrepancy, evidence, unlearning
from fallow.measure.membership import attacked, confidences, judged
from fallow.methods.forget.laf import Autoencoder

from .cases import close, golden


def gradients(case, inputs):
    """Every recorded gradient, and that there are some."""
    wanted = {name: value for name, value in case.outputs.items() if name.startswith("grad_")}
    assert wanted
    for name, expected in wanted.items():
        close(inputs[name.removeprefix("grad_")].grad, expected, rtol=1e-5, atol=1e-5)
    assert set(case.outputs) == {"loss", *wanted}


@golden("laf", "disc")
def test_discrepancy(case):
    inputs = {"emb": case.tensor("emb", gradient=True)}
    loss = discrepancy(case.tensor("recon"), inputs["emb"])
    close(loss, case.outputs["loss"], rtol=1e-5, atol=1e-5)
    loss.backward()
    gradients(case, inputs)


@golden("laf", "lue")
def test_unlearning(case):
    names = ("remain_recon", "remain", "forget_recon", "forget")
    loss = unlearning(*(case.tensor(name) for name in names))
    assert set(case.outputs) == {"loss"}
    close(loss, case.outputs["loss"], rtol=1e-5, atol=1e-5)


@golden("laf", "align")
def test_alignment(case):
    inputs = {name: case.tensor(name, gradient=True) for name in ("remain", "forget")}
    loss = alignment(
        inputs["remain"],
        case.tensor("remain_teacher"),
        inputs["forget"],
        case.tensor("forget_teacher"),
        case.number("temp"),
    )
    close(loss.float(), case.outputs["loss"], rtol=1e-5, atol=1e-5)
    loss.backward()
    gradients(case, inputs)


@golden("laf", "vaeloss")
def test_evidence(case):
    inputs = {name: case.tensor(name, gradient=True) for name in ("recon", "mu", "sigma")}
    loss = evidence(case.tensor("x"), inputs["recon"], inputs["mu"], inputs["sigma"])
    close(loss, case.outputs["loss"], rtol=1e-5, atol=1e-5)
    loss.backward()
    gradients(case, inputs)


@golden("laf", "vae", without=("vaeloss",))
def test_autoencoder(case):
    shapes = [
        tuple(int(side) for side in text.split("x"))
        for text in case.inputs["param_shapes"].tolist()
    ]
    x = case.tensor("x")
    hidden = shapes[0][0], shapes[2][0]
    vae = Autoencoder(x.shape[1], int(case.number("latent")), hidden=hidden)
    parameters = list(vae.parameters())
    assert [tuple(parameter.shape) for parameter in parameters] == shapes
    with torch.no_grad():
        for k, parameter in enumerate(parameters):
            i = np.arange(parameter.numel(), dtype=np.float64)
            values = 0.2 * np.sin(0.7 * i + 1.3 * k + 0.1)
            parameter.copy_(torch.from_numpy(values).view_as(parameter))
        found = vae(x, case.tensor("eps"))
    assert set(case.outputs) == {"recon", "z", "mu", "sigma"}
    for value, name in zip(found, ("recon", "z", "mu", "sigma"), strict=True):
        close(value, case.outputs[name], rtol=1e-4, atol=1e-5)


@golden("laf", "mia")
def test_attack(case):
    forgotten = case.inputs["forget_logits"]
    count, batch = int(case.number("n_test")), int(case.number("batch"))
    i = np.arange(count, dtype=np.float64)[:, None]
    j = np.arange(forgotten.shape[1], dtype=np.float64)
    phase = case.number("test_logits_formula_phase")
    logits = (2 * np.sin(0.17 * i + 0.9 * j + phase)).astype(np.float32)
    rows = slice(*attacked(count, batch, len(forgotten)))
    ours, theirs = confidences(forgotten), confidences(logits[rows])
    result = judged(ours[:, -1], theirs[:, -1], case.number("threshold"))
    assert result.forgotten == case.outputs["n_forget"]
    assert result.unseen == case.outputs["n_test"]
    close(np.concatenate([ours, theirs]), case.outputs["features"], rtol=1e-4, atol=1e-5)
    close(result.success, case.outputs["success"], atol=1e-4)
    assert set(case.outputs) == {"features", "n_forget", "n_test", "success"}
