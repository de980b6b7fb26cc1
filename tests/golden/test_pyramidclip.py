"""PyramidCLIP's own layers with recorded weights; its softened losses are in test_alignment."""

from __future__ import annotations

import torch

from fallow.encoders.attention_pool import AttentionPool
from fallow.encoders.local import LocalPerceptron
from fallow.encoders.towers import pooled

from .arrays import arrays
from .cases import close, golden

NEAR = {"rtol": 0.0, "atol": 1e-5}
LOCAL = {
    "linear1": "fc1", "ac1.bn": "norm1", "depConv.depconv": "mix", "depConv.bn": "norm2",
    "linear2": "fc2", "ac2.bn": "norm3",
}  # fmt: skip
POOL = {
    "positional_embedding": "places", "ln_pre": "region_norm", "q_proj": "query", "k_proj": "key",
    "v_proj": "value", "c_proj": "out",
}  # fmt: skip


def recorded(name, ours):
    """Weights of a case under fallow's names, and whatever else it keeps."""
    state, rest = {}, {}
    for key, value in arrays("pyramidclip").items():
        if key.startswith(f"{name}_w_"):
            theirs = key.removeprefix(f"{name}_w_")
            head = next(one for one in ours if theirs == one or theirs.startswith(f"{one}."))
            state[ours[head] + theirs[len(head) :]] = torch.from_numpy(value)
        elif key.startswith(f"{name}_") and "_in_" not in key and "_out_" not in key:
            rest[key.removeprefix(f"{name}_")] = value
    return state, rest


def filled(module, state):
    found = module.load_state_dict(state, strict=False)
    assert not found.unexpected_keys
    assert all(key.endswith("num_batches_tracked") for key in found.missing_keys)
    return module


@golden("pyramidclip", "leff")
def test_local_perceptron(case):
    state, _ = recorded(case.name, LOCAL)
    hidden, width = state["fc1.weight"].shape
    module = filled(LocalPerceptron(width, hidden), state)
    tokens = case.tensor("tokens_LND").transpose(0, 1)
    for name, expected in case.outputs.items():
        module.train(mode=name == "train_bn")
        with torch.no_grad():
            close(module(tokens).transpose(0, 1), expected, **NEAR)
        filled(module, state)  # training moved the statistics
    assert set(case.outputs) == {"eval", "train_bn"}


@golden("pyramidclip", "attnpool")
def test_attention_pool(case):
    state, rest = recorded(case.name, POOL)
    width, side = state["places"].shape[1], case.inputs["grid"].shape[-1]
    output = len(state["out.weight"])
    module = filled(AttentionPool(width, side, int(rest["heads"]), output), state)
    with torch.no_grad():
        close(module(case.tensor("grid")), case.outputs["grid"], **NEAR)
        regions = case.tensor("roi_projected")
        close(module.rear(regions), case.outputs["roi"], **NEAR)
        padded = torch.cat([regions, torch.full_like(regions[:, :3], 7.0)], 1)
        known = torch.arange(padded.shape[1]).expand(len(padded), -1) < regions.shape[1]
        close(module.rear(padded, known), case.outputs["roi"], **NEAR)


@golden("pyramidclip", "textpool")
def test_largest_of_all_positions(case):
    found = pooled(case.tensor("hidden"), "max")
    close(found, case.outputs["max_over_all_positions"], **NEAR)
