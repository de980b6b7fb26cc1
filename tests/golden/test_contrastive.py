"""NT-Xent: values and gradients."""

from __future__ import annotations

import itertools
import re

import pytest
import torch.nn.functional as F

from fallow.losses import nt_xent

from .cases import cases, close, golden


@golden("_ssl-shared", "simclr")
def test_simclr(case):
    z1, z2 = case.tensor("z1", True), case.tensor("z2", True)
    normalise, temperature = bool(case.number("normalise")), case.number("temperature")
    loss = 2 * nt_xent(z1, z2, temperature, normalise=normalise)  # Google sums two directions
    loss.backward()
    close(loss, case.outputs["loss_sum_of_directions"])
    close(z1.grad, case.outputs["grad_z1"])
    close(z2.grad, case.outputs["grad_z2"])
    a, b = (F.normalize(z, dim=1) if normalise else z for z in (z1, z2))
    close(a @ b.T / temperature, case.outputs["logits_ab"])


@golden("gsimclr", "ntxent")
def test_gsimclr(case):
    z1, z2 = case.tensor("z1", True), case.tensor("z2", True)
    loss = nt_xent(z1, z2, case.number("temperature"))
    loss.backward()
    close(loss, case.outputs["loss"])
    close(z1.grad, case.outputs["grad_z1"])
    close(z2.grad, case.outputs["grad_z2"])


def test_single_images_give_exactly_zero():
    single = [case for case in cases("_ssl-shared", "simclr") if len(case.inputs["z1"]) == 1]
    if not single:
        pytest.skip("no case with one image")
    for case in single:
        z1, z2 = case.tensor("z1", True), case.tensor("z2", True)
        loss = nt_xent(z1, z2, case.number("temperature"))
        loss.backward()
        assert float(loss) == 0
        assert not z1.grad.any()
        assert not z2.grad.any()


@golden("groco", "ntxent")
def test_groco(case):
    """The file keeps no temperature: the sheet says 0.1 and 0.5, names say it for two views."""
    if re.search(r"top\d+", case.name):
        pytest.skip("top-k negatives belong to the sorting method's baseline")
    stated = re.search(r"_t0(\d+)", case.name)
    temperature = float(f"0.{stated[1]}") if stated else 0.1
    z = case.tensor("z", True)
    pairs = list(itertools.combinations(range(len(z)), 2))
    loss = sum(nt_xent(z[a], z[b], temperature) for a, b in pairs) / len(pairs)
    loss.backward()
    close(loss, case.outputs["loss"])
    close(z.grad, case.outputs["grad_z"], atol=1e-6)
