"""DSAIF: the filter step by step, the views around it, one step's losses, and the ramp."""

from __future__ import annotations

import numpy as np

from fallow.methods.segment import dsaif
from fallow.train.schedules import gaussian_ramp
from fallow.views.structure import (
    area_filter,
    count_regions,
    structure_filter,
    structure_view,
    unit_range,
)

from .cases import close, golden


def tree(is_max):
    return "max" if is_max else "min"


def check_filter(case):
    image, rows = case.inputs["img"], case.inputs["params"].tolist()
    assert rows
    for row, (is_max, area, connectivity) in enumerate(rows):
        how = {"tree": tree(is_max), "area": area, "connectivity": connectivity}
        np.testing.assert_array_equal(area_filter(image, **how), case.outputs["area"][row])
        np.testing.assert_array_equal(structure_filter(image, **how), case.outputs["topo"][row])
        assert count_regions(image, **how) == tuple(case.outputs["nodes"][row].tolist())


@golden("dsaif", "f2d")
def test_filter_of_pictures(case):
    assert case.inputs["img"].ndim == 2
    check_filter(case)


@golden("dsaif", "f3d")
def test_filter_of_volumes(case):
    assert case.inputs["img"].ndim == 3
    check_filter(case)


def view(case, image):
    is_max, area, connectivity, degrees = case.inputs["params"].tolist()
    assert degrees % 90 == 0
    turns = degrees // 90
    return structure_view(image, tree(is_max), area=area, connectivity=connectivity, turns=turns)


@golden("dsaif", "pipe2d")
def test_views_of_pictures(case):
    unit, least, extent = unit_range(case.inputs["img"])
    close(view(case, unit).astype(np.float64) * extent + least, case.outputs["img"], rtol=1e-6)


@golden("dsaif", "pipe3d")
def test_views_of_volumes(case):
    close(view(case, case.inputs["img"]), case.outputs["img"], rtol=1e-6)


@golden("dsaif", "loss")
def test_one_step(case):
    names = ("lab1", "lab2", "unl1", "unl2")
    logits = {name: case.tensor(name, True) for name in names}
    labelled, unlabelled = ([logits[f"{kind}{k}"] for k in (1, 2)] for kind in ("lab", "unl"))
    total, parts = dsaif.mutual(labelled, unlabelled, case.tensor("target"), case.number("weight"))
    total.backward()
    checked = {"total"}
    close(total, case.outputs["total"], rtol=1e-6)
    for name in ("dice1", "dice2", "cross1", "cross2"):
        close(parts[name], case.outputs[name], rtol=1e-6)
        checked.add(name)
    for name in names:
        close(logits[name].grad, case.outputs[f"grad_{name}"], rtol=1e-6)
        checked.add(f"grad_{name}")
    assert checked == set(case.outputs)


@golden("dsaif", "ramp")
def test_ramp(case):
    steps = case.inputs["iter"].tolist()
    assert steps
    found = [gaussian_ramp(step // 150, 40) for step in steps]
    close(np.array(found), case.outputs["weight"], rtol=1e-6)
