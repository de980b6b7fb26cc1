"""BYOL: the target follows after the step, ends still, and gets no gradient."""

from __future__ import annotations

import pytest
import torch
from tests.methods.small_run import (
    batch_of,
    build,
    losses,
    now,
    same_weights,
    stopped_and_resumed,
    train,
)

from fallow.train import Now


def test_same_seed_gives_the_same_run_and_resumes(tmp_path):
    one, two = train("byol"), train("byol")
    assert one.steps == 6
    assert same_weights(one, two)
    assert same_weights(train("byol", save_minutes=0.0), stopped_and_resumed("byol", tmp_path))


def test_loss_falls_without_collapse():
    run = train("byol", epochs=20)
    seen = losses(run)
    assert seen[-1] < seen[0] - 0.5
    assert run.history[-1]["spread"] > 0.3
    assert not run.warnings


def test_loss_is_between_0_and_8_and_the_target_gets_no_gradient():
    method = build("byol").train()
    loss = method.loss(batch_of(8), now()).total
    assert 0 < loss.item() < 8  # two directions of at most 4
    loss.backward()
    assert all(parameter.grad is None for parameter in method.target.parameters())
    for part in (method.encoder, method.projector, method.predictor):
        assert all(parameter.grad is not None for parameter in part.parameters())


@pytest.mark.parametrize(("progress", "kept"), [(0.0, 0.9), (0.5, 0.95), (1.0, 1.0)])
def test_target_follows_less_and_less(progress, kept):
    method = build("byol", target_momentum=0.9)
    start = method.target[0].network.conv1.weight.clone()
    with torch.no_grad():
        method.encoder.network.conv1.weight.add_(1.0)
    method.after_step(Now(0, 0, progress, 10))
    moved = method.target[0].network.conv1.weight - start
    torch.testing.assert_close(moved, torch.full_like(moved, 1 - kept), atol=1e-6, rtol=0)


def test_half_precision_trains():
    assert all(torch.isfinite(torch.tensor(losses(train("byol", precision="bf16")))))
