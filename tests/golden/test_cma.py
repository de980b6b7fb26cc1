"""CMA: contrast of cells, its queue, entropy, warps, certainty, own labels, rates, windows, IoU."""

from __future__ import annotations

import numpy as np
import torch

from fallow.encoders.windows import averaged, squares
from fallow.losses.cells import cell_contrast, cells
from fallow.losses.pseudo import class_thresholds, relative_entropy_map, relative_labels
from fallow.measure.segmentation import iou_of, mean_iou
from fallow.methods.adapt.cma import CMA
from fallow.parts.correspondence import certainty
from fallow.parts.memory import Queue
from fallow.train.schedules import early_mean
from fallow.train.session import rate
from fallow.views.geometry import warped

from .arrays import arrays
from .cases import cases, close, golden

SINGLE = {"rtol": 1e-5, "atol": 1e-6}
DOUBLE = {"rtol": 1e-7, "atol": 1e-9}


def contrast_cases():
    return [case for case in cases("cma", "cdc") if "anchor" in case.inputs]


@golden("cma", "cdc")
def test_contrast_of_cells_and_its_queue(case):
    (goes_round if "emb" in case.inputs else contrasts)(case)


def contrasts(case):
    grid, temperature, least = case.inputs["params"].tolist()
    for dtype in (torch.float32, torch.float64):
        anchor = case.tensor("anchor").to(dtype).requires_grad_()
        loss, kept = cell_contrast(
            anchor,
            case.tensor("positive").to(dtype),
            case.tensor("confidence").to(dtype),
            case.tensor("queue").to(dtype).T,
            grid=int(grid), temperature=temperature, least=least,
        )  # fmt: skip
        loss.backward()
        assert kept > 0
        close(loss.float(), case.outputs["loss"], **SINGLE)
        expected = case.outputs["grad_anchor"]
        close(anchor.grad.float(), expected, rtol=1e-4, atol=1e-5 * float(np.abs(expected).max()))


def goes_round(case):
    start = next(one for one in contrast_cases() if case.name == f"{one.name}_queue")
    rows = start.tensor("queue").T
    queue = Queue(*rows.shape)
    queue.keys.copy_(rows)
    pointers = []
    for maps in case.tensor("emb"):
        found = cells(maps, int(case.number("grid")))
        queue.enqueue(torch.nn.functional.normalize(found, dim=1))
        pointers.append(int(queue.pointer))
    close(queue.keys.T, case.outputs["queue"], **SINGLE)
    np.testing.assert_array_equal(pointers, case.outputs["ptr"])


@golden("cma", "cdcempty")
def test_nobody_sure_costs_nothing(case):
    assert np.isnan(case.outputs["loss"])  # of the original; ours goes on
    confidence = case.tensor("confidence")
    shape = (len(confidence), 8, *confidence.shape[2:])
    anchor = torch.randn(shape, requires_grad=True)
    loss, kept = cell_contrast(anchor, torch.randn(shape), confidence, torch.eye(8))
    loss.backward()
    assert float(loss.detach()) == kept == 0
    assert not anchor.grad.any()


@golden("cma", "ent")
def test_entropy(case):
    logits = case.tensor("logits", True)
    maps = relative_entropy_map(logits)
    maps.mean().backward()
    close(maps, case.outputs["map"], **DOUBLE)
    close(maps.mean(), case.outputs["mean"], **DOUBLE)
    close(logits.grad, case.outputs["grad"], **DOUBLE)


@golden("cma", "warp")
def test_warp(case):
    found, seen = warped(case.tensor("x"), case.tensor("flow"))
    close(found, case.outputs["x"], **SINGLE)
    np.testing.assert_array_equal(seen, case.outputs["mask"])


@golden("cma", "cert")
def test_certainty(case):
    for name, expected in case.outputs.items():
        radius = float(name.removeprefix("r"))
        close(certainty(case.tensor("logvar"), radius), expected, **SINGLE)


@golden("cma", "pl")
def test_own_labels(case):
    maps = case.tensor("probs")  # N B K H W
    thresholds = class_thresholds(maps)
    close(thresholds, case.outputs["threshold"], **SINGLE)
    found = torch.stack([relative_labels(batch, thresholds) for batch in maps])
    np.testing.assert_array_equal(found, case.outputs["label"])


@golden("cma", "lr")
def test_rate(case):
    peak, total, warm, ratio, end = case.inputs["params"].tolist()
    settings = CMA.Settings(
        learning_rate=peak, batch=256, warmup=warm / total, start_rate=ratio, final_rate=end / peak
    )
    assert settings.schedule == "linear"
    found = [rate(settings, step / total) for step in case.inputs["step"].tolist()]
    np.testing.assert_allclose(found, case.outputs["lr"], rtol=1e-7)


@golden("cma", "ema")
def test_momentum(case):
    found = [early_mean(int(step), case.number("max")) for step in case.inputs["step"]]
    np.testing.assert_allclose(found, case.outputs["momentum"], rtol=1e-9)


@golden("cma", "slide")
def test_windows(case):
    if "hw" in case.inputs:
        found = []
        for height, width in case.inputs["hw"].tolist():
            side, stride = squares(height, width)
            found.append([*stride, side, side])
        np.testing.assert_array_equal(found, case.outputs["stride_crop"])
        return
    picture = case.tensor("img")
    side, stride = squares(*picture.shape[2:])

    def network(x):  # two channels' means over a window, and its maximum
        means = x.mean((2, 3), keepdim=True).expand_as(x)
        most = x.amax((1, 2, 3), keepdim=True).expand(-1, 1, *x.shape[2:])
        return torch.cat([means, most], 1)

    close(averaged(network, picture, (side, side), stride), case.outputs["logits"], **SINGLE)


@golden("cma", "iou")
def test_intersection_over_union(case):
    counts = case.inputs["confusion"]
    close(iou_of(counts).astype(np.float32), case.outputs["per_class"], **SINGLE)
    close(mean_iou(counts, absent="zero"), case.outputs["all"], **SINGLE)
    close(mean_iou(counts, absent="untrue"), case.outputs["present"], **SINGLE)


def test_every_recorded_group_is_tested():
    known = {"cdc", "cdcempty", "ent", "warp", "cert", "pl", "lr", "ema", "slide", "iou"}
    names = {key.split("_")[0].rstrip("0123456789") for key in arrays("cma")}
    assert names <= known
