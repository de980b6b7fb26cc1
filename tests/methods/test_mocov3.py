"""MoCo v3: fixed patches, heads by kind of network, what the keys come from."""

from __future__ import annotations

import torch

import fallow

from .distilled import batch_for, method, now, train


def test_patch_projection_stays_random():
    run = train("mocov3")
    start = fallow.encoder("vit-nano/8", size=16).network
    after = run.encoder.network
    assert torch.equal(after.patch_embed.proj.weight, start.patch_embed.proj.weight)
    assert not torch.equal(after.blocks[0].attn.qkv.weight, start.blocks[0].attn.qkv.weight)


def layers(module):
    return sum(isinstance(part, torch.nn.Linear) for part in module.modules())


def test_heads_are_those_of_the_network():
    transformer, residual = method("mocov3"), method("mocov3", "resnet8/8")
    assert (layers(transformer.head), layers(residual.head)) == (3, 2)
    assert isinstance(transformer.predictor[-1], torch.nn.BatchNorm1d)
    assert isinstance(residual.predictor[-1], torch.nn.Linear)


def test_keys_come_from_the_momentum_encoder_of_the_other_view():
    model = method("mocov3")
    batch, seen = batch_for(model, rows=4), []
    model.teacher.register_forward_hook(lambda _, inputs, out: seen.append(inputs[0]))
    model(batch, now())
    assert all(torch.equal(x, view) for x, view in zip(seen, batch.views, strict=True))


def test_loss_falls():
    losses = [
        line["loss"] for line in train("mocov3", "resnet8/8", epochs=20, learning_rate=0.02).history
    ]
    assert losses[-1] < losses[0] - 0.1
