"""NT-Xent: values and gradients."""

from __future__ import annotations

import re

import pytest
import torch.nn.functional as F

from fallow.losses import nt_xent, nt_xent_hardest, nt_xent_views

from .cases import cases, close, golden


def rounding(case):
    """Gradients are differences of probabilities over the temperature, rounded to float32."""
    return 1e-7 / case.number("temperature")


@golden("_ssl-shared", "simclr")
def test_simclr(case):
    z1, z2 = case.tensor("z1", True), case.tensor("z2", True)
    normalise, temperature = bool(case.number("normalise")), case.number("temperature")
    loss = 2 * nt_xent(z1, z2, temperature, normalise=normalise)  # Google sums two directions
    loss.backward()
    close(loss, case.outputs["loss_sum_of_directions"])
    close(z1.grad, case.outputs["grad_z1"], atol=rounding(case))
    close(z2.grad, case.outputs["grad_z2"], atol=rounding(case))
    a, b = (F.normalize(z, dim=1) if normalise else z for z in (z1, z2))
    close(a @ b.T / temperature, case.outputs["logits_ab"])


@golden("gsimclr", "ntxent")
def test_gsimclr(case):
    z1, z2 = case.tensor("z1", True), case.tensor("z2", True)
    loss = nt_xent(z1, z2, case.number("temperature"))
    loss.backward()
    close(loss, case.outputs["loss"])
    close(z1.grad, case.outputs["grad_z1"], atol=rounding(case))
    close(z2.grad, case.outputs["grad_z2"], atol=rounding(case))


def test_single_images_give_exactly_zero():
    single = [case for case in cases("_ssl-shared", "simclr") if len(case.inputs["z1"]) == 1]
    if not single:
        pytest.skip("no case with one image")
    for case in single:
        z1, z2 = case.tensor("z1", True), case.tensor("z2", True)
        loss = nt_xent(z1, z2, case.number("temperature"))
        loss.backward()
        assert loss.item() == 0
        assert not z1.grad.any()
        assert not z2.grad.any()


@golden("groco", "ntxent")
def test_groco(case):
    """The file keeps no temperature: two-view names say it, more views were run at 0.1.

    With only the top negatives it was 0.5.
    """
    stated, hardest = re.search(r"_t0(\d+)", case.name), re.search(r"_top(\d+)", case.name)
    z = case.tensor("z", True)
    if hardest:
        loss = nt_xent_hardest(z, 0.5, negatives=int(hardest[1]))
    else:
        loss = nt_xent_views(z, float(f"0.{stated[1]}") if stated else 0.1)
    loss.backward()
    close(loss, case.outputs["loss"])
    close(z.grad, case.outputs["grad_z"], atol=1e-6)
