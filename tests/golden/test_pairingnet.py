"""PairingNet: certainties and losses, gates, the ring, patches, rigid maps, filters, measures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fallow.encoders.contours import Gate, GraphBlock, going_round, ring
from fallow.images.tearing import crosses_once
from fallow.losses.correspondence import (
    dual_softmax,
    focal_correspondence,
    neighbours,
    padded,
    several_positives,
)
from fallow.measure.ranking import ndcg, pair_recall
from fallow.methods.match.pairingnet import stripes
from fallow.regions.contours import line_patches, patches
from fallow.regions.rigid import Ransac, agreed, contacts, fitted, misfit, moved

from .arrays import arrays
from .cases import Case, close, golden


def all_of(case, *seen):
    """Nothing recorded may go unseen."""
    assert set(case.outputs) == set(seen)


@golden("pairingnet", "match")
def test_certainty_of_pairs(case):
    source, target = case.tensor("fs", gradient=True), case.tensor("ft")
    padding = padded(case.tensor("len_s"), case.tensor("len_t"), source.shape[1])
    sure = dual_softmax(source, target, case.number("temperature"), padding)
    loss, right = focal_correspondence(sure, case.tensor("gt"), padding)
    loss.backward()
    close(padding, case.outputs["padmask"])
    close(sure, case.outputs["similarity"], rtol=1e-5)
    close(loss, case.outputs["loss400"])
    close(right, case.outputs["loss_pos"])
    close(source.grad, case.outputs["grad_fs"])
    all_of(case, "padmask", "similarity", "loss400", "loss_pos", "grad_fs")


@golden("pairingnet", "infonce")
def test_neighbours_are_found(case):
    query, key = case.tensor("q", gradient=True), case.tensor("k", gradient=True)
    source, target = case.tensor("src"), case.tensor("tgt")
    positive = neighbours(source, target)
    loss = several_positives(query, key, positive)
    loss.backward()
    close(positive.float(), case.outputs["mask"])
    close(loss, case.outputs["loss"])
    close(query.grad, case.outputs["grad_q"])
    close(key.grad, case.outputs["grad_k"])
    alone = several_positives(query, query, source[:, None] == source[None])
    close(alone, case.outputs["loss_self"], atol=1e-6)
    all_of(case, "mask", "loss", "grad_q", "grad_k", "loss_self")


@golden("pairingnet", "SelfGateV")
def test_gate(case):
    contour, texture = case.tensor("c"), case.tensor("t")
    gate = Gate(contour.shape[-1])
    names = {"fc.weight": "first.weight", "fc.bias": "first.bias",
             "fc1.weight": "second.weight", "fc1.bias": "second.bias"}  # fmt: skip
    gate.load_state_dict({ours: case.tensor(name) for name, ours in names.items()})
    wide = case.outputs["fused"].shape[-1]
    way = gate.blend if wide == contour.shape[-1] else gate.beside
    close(gate.share(contour, texture), case.outputs["gate"], rtol=1e-5)
    close(way(contour, texture), case.outputs["fused"], rtol=1e-5)
    all_of(case, "gate", "fused")


def graph_block(weights, training):
    block = GraphBlock(weights.inputs["conv.bias"].shape[0])
    block.load_state_dict(
        {
            "sends": weights.tensor("conv.att_src").flatten(),
            "takes": weights.tensor("conv.att_dst").flatten(),
            "bias": weights.tensor("conv.bias"),
            "value.weight": weights.tensor("conv.lin.weight"),
            "norm.weight": weights.tensor("norm.weight"),
            "norm.bias": weights.tensor("norm.bias"),
            "norm.running_mean": weights.tensor("norm.running_mean"),
            "norm.running_var": weights.tensor("norm.running_var"),
            "norm.num_batches_tracked": torch.tensor(0),
        }
    )
    return block.train(training)


def graph_cases():
    held = {name: value for name, value in arrays("pairingnet").items() if name.startswith("gat_")}
    shared = {n.removeprefix("gat_in_"): v for n, v in held.items() if n.startswith("gat_in_")}
    names = sorted({n.split("_")[1] for n in held if not n.startswith("gat_in_")})
    cases = []
    for name in names:
        head = f"gat_{name}_"
        inputs = {n.removeprefix(f"{head}in_"): v for n, v in held.items() if f"{head}in_" in n}
        outputs = {n.removeprefix(f"{head}out_"): v for n, v in held.items() if f"{head}out_" in n}
        cases.append(pytest.param(Case(name, inputs | shared, outputs), id=name))
    return cases


@pytest.mark.parametrize("case", graph_cases())
def test_graph_block(case):
    block = graph_block(case, training="train" in case.name)
    x, edges = case.tensor("x"), case.tensor("edges")
    close(block.on_graph(x, edges), case.outputs["y"])
    all_of(case, "y")
    length = len(x)
    links = torch.zeros(length, length, dtype=torch.bool)
    links[edges[0], edges[1]] = True
    reach = next((r for r in range(1, length) if torch.equal(ring(length, length, r), links)), None)
    if reach is None or 2 * reach + 1 > length:
        return  # no ring: what follows does not apply
    block = graph_block(case, training="train" in case.name)
    more = torch.cat([x, torch.full((3, x.shape[1]), 7.0)])[None]  # padding must not count
    there = torch.arange(len(x) + 3)[None] < length
    around = going_round(torch.tensor([length]), len(x) + 3, reach)
    close(block(more, there, around, reach)[0, :length], case.outputs["y"])


@golden("pairingnet", "ring")
def test_ring(case):
    length, size, reach = case.inputs["n_max_k"].tolist()
    found = ring(length, size, reach).numpy()
    close(np.packbits(found, axis=1), case.outputs["adj"])
    close(found.sum(1).astype(float), case.outputs["rowsum"])
    all_of(case, "adj", "rowsum")


@golden("pairingnet", "patch")
def test_patches(case):
    points, size = case.inputs["contour_rowcol"][:, ::-1], case.inputs["mask"].shape
    ways = {"line": {"fill": 0}, "inout": {"fill": 1}, "inlineout": {"fill": 2}}
    for key, expected in case.outputs.items():
        name, _, tail = key.partition("_k")
        width = int(tail.split("_")[0])
        if name == "rgb":
            pixels = np.moveaxis(case.inputs["rgb"], 0, 2)
            found = np.moveaxis(patches(pixels, points[: len(expected)], width), 3, 1)
        else:
            found = line_patches(points, size, width, **ways[name])
        close(found, expected)


@golden("pairingnet", "rigid")
def test_rigid_maps(case):
    source, target = case.inputs["A"], case.inputs["B"]
    found = fitted(source, target)
    close(found, case.outputs["M"], rtol=1e-7)
    close(misfit(source, target, found), case.outputs["ermse"], rtol=1e-6, atol=1e-6)
    assert np.linalg.det(found[:, :2]) > 0  # a mirror is none
    all_of(case, "M", "ermse")


@golden("pairingnet", "ransac")
def test_maps_among_wrong_pairs(case):
    source, target, true = (case.inputs[name] for name in ("A", "B", "true_M"))
    right = np.linalg.norm(moved(source, true) - target, axis=1) < 1
    for seed in range(3):
        found = agreed(source, target, Ransac(), np.random.default_rng(seed))
        assert found.strict
        np.testing.assert_allclose(found.map, true, atol=1e-6)
        own = np.linalg.norm(moved(source[right], found.map) - target[right], axis=1).mean()
        np.testing.assert_allclose(own, case.outputs["err_inliers"], atol=1e-6)
    recorded = [value for name, value in case.outputs.items() if name.startswith("M_")]
    assert recorded
    for value in recorded:
        np.testing.assert_allclose(found.map, value, atol=1e-6)


@golden("pairingnet", "morph")
def test_stripes(case):
    filtered = stripes(case.inputs["S"])
    close(filtered, case.outputs["S"], rtol=1e-7)
    for name, cells in case.outputs.items():
        if name.startswith("pairs_gt_"):
            found = np.argwhere(filtered > float(name.removeprefix("pairs_gt_")))
            assert sorted(map(tuple, found.tolist())) == sorted(map(tuple, cells.tolist()))


@golden("pairingnet", "search")
def test_search_measures(case):
    similarity, pairs = case.inputs["sim"], case.inputs["pairs"]
    measures = {"recall": pair_recall, "ndcg": ndcg, "top": pair_recall}
    for key, expected in case.outputs.items():
        kind = next(name for name in measures if key.startswith(name))
        ks = [int(part) for part in key.removeprefix(kind).split("_") if part.isdigit()]
        close(list(measures[kind](similarity, pairs, ks).values()), expected, rtol=1e-7)


@golden("pairingnet", "contact")
def test_contacts(case):
    source, target, map_ = (case.inputs[name] for name in ("src", "tgt", "M"))
    ours, theirs = contacts(source, target, map_)
    close(ours, case.outputs["src_idx"])
    recorded = case.outputs["tgt_idx"]
    laid = moved(source[ours], map_)
    # where two targets are as near, either may be named
    close(
        np.linalg.norm(laid - target[theirs], axis=1),
        np.linalg.norm(laid - target[recorded], axis=1),
        rtol=1e-7,
        atol=1e-9,
    )
    distances = np.linalg.norm(laid[:, None] - target[None], axis=2)
    alone = (distances <= distances.min(1, keepdims=True) + 1e-9).sum(1) == 1
    close(theirs[alone], recorded[alone])


@golden("pairingnet", "cutline")
def test_lines_cross_once(case):
    assert crosses_once(case.inputs["signed_dist"]) == bool(case.outputs["ok"])
