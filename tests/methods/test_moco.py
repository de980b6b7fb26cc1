"""MoCo: order of a step, queue, company of the keys, resuming, ranks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
from torch import nn

from fallow.train.batchnorm import in_groups, in_other_company
from fallow.train.checkpoint import load_state

SCRIPT = Path(__file__).parents[1] / "train" / "train_once.py"


@pytest.mark.parametrize("symmetric", [False, True])
def test_same_seed_gives_the_same_run(symmetric):
    one, two = (train("moco", symmetric=symmetric) for _ in range(2))
    assert same_weights(one, two)
    assert one.steps == 6


def test_loss_falls_once_the_queue_holds_keys():
    run = train("moco", epochs=30)
    seen = losses(run)
    assert seen[-1] < max(seen) - 0.2


def test_resumed_is_bit_for_bit_the_run_that_went_on(tmp_path):
    values = {"epochs": 3, "symmetric": True, "queue": 32}
    whole = train("moco", save_minutes=0.0, **values)
    assert same_weights(whole, stopped_and_resumed("moco", tmp_path / "run", **values))


def test_key_network_follows_before_keys_are_made_and_queue_is_used_before_it_is_fed():
    method = build("moco", key_momentum=0.5, batch=8)
    before = method.queue.keys.clone()
    start = method.key[0].network.conv1.weight.clone()
    with torch.no_grad():
        method.encoder.network.conv1.weight.add_(1.0)
    method.begin_step(now())
    torch.testing.assert_close(method.key[0].network.conv1.weight, start + 0.5)
    method.loss(batch_of(8), now())
    assert torch.equal(method.queue.keys, before)
    method.after_step(now())
    assert not torch.equal(method.queue.keys[:8], before[:8])
    assert torch.equal(method.queue.keys[8:], before[8:])
    torch.testing.assert_close(method.queue.keys.norm(dim=1), torch.ones(len(before)))


def test_parts_of_a_batch_follow_once_and_meet_the_same_queue():
    method = build("moco", key_momentum=0.5, batch=8, splits=1)
    method.begin_step(now())
    first = method.loss(batch_of(4), now()).total
    again = method.loss(batch_of(4), now()).total
    torch.testing.assert_close(first, again)
    method.after_step(now())
    assert int(method.queue.pointer) == 8 % len(method.queue.keys)


def test_key_network_gets_no_gradient_and_statistics_of_its_own():
    method = build("moco")
    method.train()
    method.begin_step(now())
    method.loss(batch_of(16), now()).total.backward()
    assert all(parameter.grad is None for parameter in method.key.parameters())
    assert all(parameter.grad is not None for parameter in method.encoder.parameters())
    own, key = method.encoder.network.bn1, method.key[0].network.bn1
    assert key.num_batches_tracked == own.num_batches_tracked == 1
    assert not torch.equal(key.running_mean, own.running_mean)


def test_queue_is_no_longer_than_half_the_images():
    assert len(build("moco", count=500, batch=64).queue.keys) == 192
    assert len(build("moco", count=40, batch=16).queue.keys) == 16
    assert len(build("moco", count=100, batch=16, symmetric=True).queue.keys) == 32


def test_groups_have_statistics_of_their_own():
    x = torch.randn(9, 3)
    norm = nn.BatchNorm1d(3)
    made = in_groups(norm, x, 2)
    for group in range(2):
        torch.testing.assert_close(made[group::2], norm(x[group::2]))
    assert not torch.allclose(made, norm(x))


def test_keys_keep_their_places_but_change_their_company():
    x = torch.randn(16, 3)
    assert torch.equal(in_other_company(nn.Identity(), x, 4, step=1), x)
    norm = nn.BatchNorm1d(3, affine=False)
    one, two = (in_other_company(norm, x, 4, step) for step in (1, 2))
    assert not torch.allclose(one, in_groups(norm, x, 4))
    assert not torch.allclose(one, two)
    torch.testing.assert_close(in_other_company(norm, x, 1, step=1), norm(x))


def test_half_precision_leaves_the_queue_in_float32():
    run = train("moco", precision="bf16")
    assert run.method.queue.keys.dtype == torch.float32
    assert all(torch.isfinite(torch.tensor(losses(run))))


@pytest.mark.slow
@pytest.mark.parametrize("extra", ['{"splits": 2, "queue": 32}'])
def test_two_ranks_equal_one(extra, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    alone = [sys.executable, str(SCRIPT), "moco", str(one), extra]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    launcher += ["--master-port", "0", "--standalone", str(SCRIPT), "moco", str(two), extra]
    for command in (alone, launcher):
        done = subprocess.run(command, capture_output=True, text=True, timeout=180)
        assert done.returncode == 0, done.stderr[-2000:]
    first = load_state(one / "checkpoint.pt")["method"]
    second = load_state(two / "checkpoint.pt")["method"]
    for name, value in first.items():
        if value.is_floating_point():
            torch.testing.assert_close(second[name], value, rtol=2e-3, atol=2e-4, msg=name)
