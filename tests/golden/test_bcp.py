"""BCP against its original: mixed losses, component cleaning, mask geometry, averaging."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.golden.cases import DOUBLE, close, golden
from torch import nn

from fallow.losses.segmentation import dice_plain, dice_squared
from fallow.methods.segment.bcp import hard_labels, mixed_parts, supervised
from fallow.parts.components import largest_components
from fallow.parts.teacher import follow, follow_all_state
from fallow.views.mixing import block_mask, block_sides, paste


def weighted(case):
    """Weights of background and block from (true, other, whether the background is pseudo)."""
    true, other, pseudo_is_background = case.inputs["weights"].tolist()
    return (other, true) if pseudo_is_background else (true, other)


def targets(case):
    return (torch.from_numpy(case.inputs[name].astype(np.int64)) for name in ("back", "fore"))


@golden("bcp", "mix2d")
def test_mixed_loss_of_pictures(case):
    logits = case.tensor("logits", gradient=True)
    mask = torch.from_numpy(case.inputs["mask"])
    dice, entropy = mixed_parts(logits, *targets(case), mask, weighted(case), dice_squared)
    loss = (dice + entropy) / 2
    loss.backward()
    close(dice, case.outputs["dice"], rtol=DOUBLE)
    close(entropy, case.outputs["ce"], rtol=DOUBLE)
    close(loss, case.outputs["loss"], rtol=DOUBLE)
    close(logits.grad, case.outputs["grad"], rtol=DOUBLE)


@golden("bcp", "mix3d")
def test_mixed_loss_of_volumes(case):
    logits = case.tensor("logits", gradient=True)
    mask = torch.from_numpy(case.inputs["mask"])
    loss = sum(mixed_parts(logits, *targets(case), mask, weighted(case), dice_plain)) / 2
    loss.backward()
    close(loss, case.outputs["loss"], rtol=DOUBLE)
    close(logits.grad, case.outputs["grad"], rtol=DOUBLE)


@golden("bcp", "mix3d")
def test_supervised_loss_of_volumes(case):
    logits = case.tensor("logits", gradient=True)
    back, _ = targets(case)
    loss = supervised(logits, back, dice_plain)
    loss.backward()
    close(loss, case.outputs["sup_loss"], rtol=DOUBLE)
    close(logits.grad, case.outputs["sup_grad"], rtol=DOUBLE)


@golden("bcp", "cc2d")
def test_components_of_pictures(case):
    found = largest_components(case.inputs["seg"])
    np.testing.assert_array_equal(found, case.outputs["seg"])


@golden("bcp", "cc2dlogits")
def test_labels_of_pictures(case):
    raw = hard_labels(case.tensor("logits"))
    np.testing.assert_array_equal(raw.numpy(), case.outputs["raw"])
    np.testing.assert_array_equal(largest_components(raw).numpy(), case.outputs["cc"])


@golden("bcp", "cc3d")
def test_labels_of_volumes(case):
    raw = hard_labels(case.tensor("logits"))
    np.testing.assert_array_equal(raw.numpy(), case.outputs["raw"])
    for name, expected in case.outputs.items():
        if name.startswith("conn"):
            found = largest_components(raw, connectivity=int(name[4:]))
            np.testing.assert_array_equal(found.numpy(), expected)


@golden("bcp", "maskgeom")
def test_block_of_a_mask(case):
    for size, expected in zip(
        case.inputs["hw"].tolist(), case.outputs["patch_lo_hi"].tolist(), strict=True
    ):
        sides = block_sides(size)
        assert list(sides) == expected[:2]
        corners = []
        for seed in range(300):
            mask = block_mask(size, generator=torch.Generator().manual_seed(seed))
            inside = (mask == 0).nonzero()
            corners.append(inside.amin(0).tolist())
            assert len(inside) == sides[0] * sides[1]
        lowest, highest = np.array(expected[2:4]), np.array(expected[4:6])
        limit = [side - block - 1 for side, block in zip(size, sides, strict=True)]
        np.testing.assert_array_equal(highest, limit)
        np.testing.assert_array_equal(lowest, 0)
        low, high = np.min(corners, 0), np.max(corners, 0)
        assert (low >= lowest).all()
        assert (high <= highest).all()
        # 300 draws reach both ends of a short range, and come near those of a long one
        slack = np.where(highest < 20, 0, highest // 10)
        assert (low - lowest <= slack).all()
        assert (highest - high <= slack).all()


@golden("bcp", "mixin")
def test_mixed_pictures(case):
    mask = case.tensor("mask")[None]
    both = {name: case.tensor(name) for name in ("lab_a", "lab_b", "unl_a", "unl_b")}
    inward = paste(both["lab_a"], both["unl_a"], mask)
    outward = paste(both["unl_b"], both["lab_b"], mask)
    close(inward, case.outputs["labelled_on_unlabelled"], rtol=0, atol=0)
    close(outward, case.outputs["unlabelled_on_labelled"], rtol=0, atol=0)


@golden("bcp", "ema")
@pytest.mark.parametrize(
    ("name", "move"), [("all_state", follow_all_state), ("params_only", follow)]
)
def test_averages(case, name, move):
    shapes = {
        key.removeprefix("student_"): value.shape
        for key, value in case.inputs.items()
        if key.startswith("student_")
    }
    outputs, inputs, *kernel = shapes["0_weight"]
    student, teacher = (
        nn.Sequential(nn.Conv2d(inputs, outputs, tuple(kernel)), nn.BatchNorm2d(outputs))
        for _ in range(2)
    )
    for role, network in (("student", student), ("teacher", teacher)):
        own = network.state_dict()
        for key in shapes:
            own[key.replace("_", ".", 1)].copy_(case.tensor(f"{role}_{key}"))
    move(teacher, student, case.number("momentum") if "momentum" in case.inputs else 0.99)
    state = teacher.state_dict()
    for key in shapes:
        close(state[key.replace("_", ".", 1)], case.outputs[f"{name}_{key}"], rtol=1e-6)
