"""CLIP's and SigLIP's losses, hard and softened, values and gradients; in blocks of few rows."""

from __future__ import annotations

import pytest
import torch

from fallow.losses import alignment
from fallow.losses.alignment import pair_contrast, pair_sigmoid, target_contrast

from .cases import DOUBLE, cases, close, golden

TIGHT = {"rtol": DOUBLE}
TERMS = {"GS": "vg ls", "LT": "vl lt", "GA": "vg la", "RS": "vr ls", "LA": "vl la", "RT": "vr lt"}


@pytest.fixture(autouse=True, params=[1, 1 << 20])
def blocks(request, monkeypatch):
    monkeypatch.setattr(alignment, "ENTRIES", request.param)


def checked(case, loss, **sides):
    loss.backward()
    close(loss, case.outputs["loss"], **TIGHT)
    for name, side in sides.items():
        close(side.grad, case.outputs[f"grad_{name}"], **TIGHT)
    assert {"loss", *(f"grad_{name}" for name in sides)} == set(case.outputs)


@golden("_vl-shared", "cliploss")
def test_hard_contrast(case):
    image, text, scale = (case.tensor(name, True) for name in ("image", "text", "log_scale"))
    loss = pair_contrast(image, text, scale.exp())
    checked(case, loss, image=image, text=text, log_scale=scale)


@golden("_vl-shared", "cliploss")
def test_given_targets_are_the_same(case):
    image, text, scale = (case.tensor(name, True) for name in ("image", "text", "log_scale"))
    loss = target_contrast(image, text, scale.exp(), torch.eye(len(image)))
    checked(case, loss, image=image, text=text, log_scale=scale)


@golden("_vl-shared", "sigliploss")
def test_sigmoid(case):
    pairs = {one.name: one for one in cases("_vl-shared", "cliploss")}
    sides = pairs[case.name.replace("sigliploss", "cliploss")]
    image, text = (sides.tensor(name, True) for name in ("image", "text"))
    scale, bias = (case.tensor(name, True) for name in ("log_scale", "bias"))
    loss = pair_sigmoid(image, text, scale.exp(), bias)
    checked(case, loss, image=image, text=text, log_scale=scale, bias=bias)


@golden("pyramidclip", "soft")
@pytest.mark.parametrize("reading", ["literal", "normalised"])
def test_softened_targets(case, reading):
    softness, scale = case.inputs["alpha_scale"].tolist()
    rows = {name: case.tensor(name, True) for pair in TERMS.values() for name in pair.split()}
    total, seen = 0.0, set()
    for name, pair in TERMS.items():
        image, text = (rows[one] for one in pair.split())
        term = pair_contrast(image, text, scale, softness=softness, literal=reading == "literal")
        close(term, case.outputs[f"{name}_{reading}"], **TIGHT)
        seen.add(f"{name}_{reading}")
        total = total + term / len(TERMS)
    total.backward()
    close(total, case.outputs[f"total_{reading}"], **TIGHT)
    for name, one in rows.items():
        if f"grad_{name}_{reading}" in case.outputs:
            close(one.grad, case.outputs[f"grad_{name}_{reading}"], **TIGHT)
            seen.add(f"grad_{name}_{reading}")
    assert seen | {f"total_{reading}"} == {key for key in case.outputs if key.endswith(reading)}
