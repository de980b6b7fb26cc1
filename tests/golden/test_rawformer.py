"""Rawformer: attention, blocks, generator, heads with a memory, losses, masks, averages."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fallow.encoders.condensed import (
    Around,
    Attention,
    Block,
    StyledAttention,
    StyledBlock,
    evening,
    patches,
    together,
)
from fallow.encoders.critics import BatchHead, Cache, SpreadHead
from fallow.encoders.translator import Shape, Translator
from fallow.losses.adversarial import told_from
from fallow.losses.pictures import pixels_apart, structure
from fallow.methods.develop.rawformer import averaged, flatness, hidden_patches, with_memory

from .arrays import arrays, matching
from .cases import close

A = arrays("rawformer")
TIGHT = {"rtol": 1e-5, "atol": 1e-5}
LOOSE = {"rtol": 1e-4, "atol": 1e-4}


def tensor(key):
    return torch.from_numpy(np.asarray(A[key]).copy())


def weights(prefix):
    """What was learnt, in the order of the layers; not the original's tables of places."""
    skipped = ("x_const", "y_const", "num_batches_tracked")
    keys = [m[0] for m in matching(A, rf"{prefix}_w_.+") if not m[0].endswith(skipped)]
    return {key: tensor(key) for key in keys}


def filled(network, prefix):
    values = list(weights(prefix).values())
    state = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    assert [one.shape for one in state.values()] == [one.shape for one in values]
    network.load_state_dict(dict(zip(state, values, strict=True)), strict=False)
    return network


def shape_of(prefix, suffix):
    return A[f"{prefix}_w_{suffix}"].shape


@pytest.mark.parametrize("name", [m[1] for m in matching(A, r"(cqa\d+)_in")])
def test_attention(name):
    attention = filled(Attention(shape_of("cqa", "project_out.weight")[0]), "cqa")
    x = tensor(f"{name}_in").requires_grad_()
    found = attention(x)
    close(found, A[f"{name}_out"], **LOOSE)
    found.square().sum().backward()
    close(x.grad, A[f"{name}_out_grad_x"], **LOOSE)


@pytest.mark.parametrize("name", [m[1] for m in matching(A, r"(modcqa_demod\d+)_out")])
def test_styled_attention(name):
    attention = filled(StyledAttention(shape_of(name, "project_out.weight")[0]), name)
    work = attention if name.endswith("1") else attention.bare
    close(work(tensor(f"{name}_in_x"), tensor(f"{name}_in_s")), A[f"{name}_out"], **LOOSE)


def test_evening():
    close(evening(tensor("demod_in_w"), tensor("demod_in_s")), A["demod_out"], **TIGHT)


def test_patches():
    x, expected = tensor("tok_in"), A["tok_out"]
    found = patches(x, expected.shape[-1])
    close(found, expected, rtol=0, atol=0)
    close(together(found), x, rtol=0, atol=0)


def test_around():
    hidden, width = shape_of("spfn", "pointwise_3x3_1.weight")[:2]
    close(filled(Around(width, hidden), "spfn")(tensor("spfn_in")), A["spfn_out"], **TIGHT)


def test_blocks():
    outputs, width = shape_of("block", "out_conv.weight")[:2]
    hidden = shape_of("block", "ffn.pointwise_3x3_1.weight")[0]
    close(
        filled(Block(width, outputs, hidden), "block")(tensor("block_in")), A["block_out"], **LOOSE
    )
    outputs, width = shape_of("modblock", "out_conv.weight")[:2]
    told = shape_of("modblock", "style_block.affine_mod.weight")[1]
    hidden = shape_of("modblock", "ffn.pointwise_3x3_1.weight")[0]
    styled = filled(StyledBlock(width, outputs, hidden, told), "modblock")
    found = styled(tensor("modblock_in_x"), tensor("modblock_in_mod"))
    close(found, A["modblock_out"], **LOOSE)


def test_generator():
    keys = weights("gen")
    down = [one.shape[0] for key, one in keys.items() if key.endswith("downsample.weight")]
    layers = [one for key, one in keys.items() if key.endswith("ffn.net.0.weight")]
    channels = shape_of("gen", "net.layer_output.weight")[0]
    errors = []
    # the number of heads leaves no trace in the weights: one of those possible has to fit
    for heads in (n for n in range(1, down[-1] + 1) if down[-1] % n == 0):
        shape = Shape(channels, tuple(down), len(layers), heads, layers[0].shape[0])
        found = filled(Translator(shape), "gen")(tensor("gen_in")).detach()
        errors.append(float((found - tensor("gen_out")).abs().max()))
    assert min(errors) < 1e-4, errors


@pytest.mark.parametrize("name", [m[1] for m in matching(A, r"(ssim\d+)_out")])
def test_structure(name):
    close(structure(tensor(f"{name}_in_a"), tensor(f"{name}_in_b")), A[f"{name}_out"])


def test_pixels_apart():
    made = tensor("pix_in_pred").requires_grad_()
    loss = pixels_apart(made, tensor("pix_in_target"))
    loss.backward()
    close(loss, A["pix_out_without_vgg"])
    close(made.grad, A["pix_out_grad"], rtol=1e-4, atol=1e-5)


def test_hidden_patches():
    x, expected = tensor("mask_in"), tensor("mask_out")
    tall, wide = 4, 8
    batch, _, height, width = x.shape
    parts = expected.reshape(batch, -1, height // tall, tall, width // wide, wide)
    chosen = (parts == 0).all(5).all(3).all(1)  # B rows columns
    assert chosen.any()
    assert not chosen.all()
    close(hidden_patches(x, chosen), expected, rtol=0, atol=0)


def test_averages():
    (match,) = matching(A, r"ema_out_m(.+)")
    pair = [nn.Conv2d(1, 1, 1, bias=False) for _ in range(2)]
    for layer, key in zip(pair, ("ema_in_avg", "ema_in_online"), strict=True):
        layer.weight = nn.Parameter(tensor(key))
    averaged(*pair, float(match[1]))
    close(pair[0].weight, A[match[0]], **TIGHT)


def test_head_with_memory():
    sequence = tensor("head_in_seq")
    head = filled(BatchHead(sequence.shape[2]), "head")
    cache = Cache(len(A["queue_out_final"]))
    found = torch.stack([with_memory(head, cache, features) for features in sequence])
    close(found, A["head_out_seq"], **LOOSE)
    close(cache.kept, A["queue_out_final"], **TIGHT)
    assert int(cache.next) == int(A["queue_out_curr_idx"])


def test_head_with_spread():
    head = filled(SpreadHead(shape_of("stdhead", "net.1.weight")[0]), "stdhead")
    close(head(tensor("stdhead_in")), A["stdhead_out"], **LOOSE)


@pytest.mark.parametrize("real", [m[1] for m in matching(A, r"lsgan_(\d)_out")])
def test_least_squares(real):
    logits = tensor("lsgan_in").requires_grad_()
    loss = told_from(logits, float(int(real)))
    loss.backward()
    close(loss, A[f"lsgan_{real}_out"])
    close(logits.grad, A[f"lsgan_{real}_grad"], **TIGHT)


@pytest.mark.parametrize("kind", [m[1] for m in matching(A, r"gp_(mix|real|fake)_out")])
def test_flatness(kind):
    taps, bias = tensor("gp_disc_w_c.weight"), tensor("gp_disc_w_c.bias")
    share = {"mix": float(A["gp_mix_alpha_weight_of_real"].item()), "real": 1.0, "fake": 0.0}[kind]

    def critic(x):
        return torch.tanh(nn.functional.conv2d(x, taps, bias, padding=taps.shape[-1] // 2)) ** 2

    mixed = torch.lerp(tensor("gp_in_fake"), tensor("gp_in_real"), share).requires_grad_()
    close(0.01 * flatness(critic(mixed), mixed), A[f"gp_{kind}_out"])


def test_every_key_is_known():
    known = (
        "cqa", "modcqa_", "demod_", "tok_", "spfn_", "block_", "modblock_", "gen_", "ssim",
        "pix_", "mask_", "ema_", "head_", "queue_", "stdhead_", "lsgan_", "gp_",
    )  # fmt: skip
    assert not [key for key in A if not key.startswith(known)]
