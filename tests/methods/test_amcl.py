"""AMCL: what it reduces to, its three bases, bounds, heads, and the paper's mode."""

from __future__ import annotations

import math
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

from fallow.losses import barlow, hardest_contrast, info_nce, nt_xent
from fallow.problems import SettingProblem
from fallow.train.checkpoint import load_state

SCRIPT = Path(__file__).parents[1] / "train" / "train_once.py"
BASES = ("simclr", "moco", "barlow")
TINY = {"hidden": 32, "projection": 16, "phi": 16}


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("mode", ["soft", "paper"])
def test_same_seed_gives_the_same_finite_run(base, mode):
    one, two = (train("amcl", base=base, mode=mode, **TINY) for _ in range(2))
    assert one.steps == 6
    assert same_weights(one, two)
    assert all(math.isfinite(value) for line in one.history for value in line.values())


@pytest.mark.parametrize("base", BASES)
def test_resumed_is_bit_for_bit_the_run_that_went_on(base, tmp_path):
    whole = train("amcl", base=base, save_minutes=0.0, **TINY)
    assert same_weights(whole, stopped_and_resumed("amcl", tmp_path / "run", base=base, **TINY))


@pytest.mark.parametrize("base", ["simclr", "barlow"])
def test_loss_falls(base):
    seen = losses(train("amcl", base=base, epochs=15, learning_rate=0.5, **TINY))
    assert seen[-1] < 0.95 * seen[0]


@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_one_head_with_one_temperature_is_simclr(beta):
    method = build("amcl", heads=1, low=0.3, high=0.3, beta=beta).eval()
    batch = batch_of(6)
    one, two = method.heads(method.encoder(batch.groups[0]))[0].chunk(2)
    torch.testing.assert_close(method.loss(batch, now()).total, nt_xent(one, two, 0.3))


def test_one_head_with_one_temperature_is_moco():
    method = build("amcl", base="moco", heads=1, low=0.3, high=0.3).eval()
    batch = batch_of(6)
    method.begin_step(now())
    total = method.loss(batch, now()).total
    one, two = method.heads(method.encoder(batch.groups[0]))[0].chunk(2)
    past = method.queue.keys
    both = info_nce(one, two, past, 0.3) + info_nce(two, one, past, 0.3)
    torch.testing.assert_close(total, both / 2)


def test_one_head_with_temperature_1_is_barlow_twins():
    method = build("amcl", base="barlow", heads=1, low=1.0, high=1.0, off_diagonal=0.01, beta=0.0)
    batch = batch_of(6)
    one, two = method.eval().heads(method.encoder(batch.groups[0]))[0].chunk(2)
    torch.testing.assert_close(method.loss(batch, now()).total, barlow(one, two, 0.01))


def test_heads_are_summed():
    method = build("amcl", heads=3, low=0.3, high=0.3).eval()
    batch = batch_of(6)
    projected = method.heads(method.encoder(batch.groups[0]))
    expected = sum(nt_xent(*z.chunk(2), 0.3) for z in projected)
    torch.testing.assert_close(method.loss(batch, now()).total, expected)
    assert not torch.equal(projected[0], projected[1])


def test_hardest_negative_is_never_oneself_or_the_partner():
    method = build("amcl", mode="paper", heads=2, beta=0.0, low=0.5, high=0.5).eval()
    batch = batch_of(5)
    total = method.loss(batch, now()).total
    expected = 0.0
    for z in method.heads(method.encoder(batch.groups[0])):
        z = torch.nn.functional.normalize(z, dim=1)
        for row in range(10):
            others = [z[row] @ z[k] for k in range(10) if k % 5 != row % 5]
            expected += (max(others) - z[row] @ z[(row + 5) % 10]) / 0.5 / 10
    torch.testing.assert_close(total, expected)


def test_more_hard_negatives_are_averaged():
    generator = torch.Generator().manual_seed(0)
    s, others = torch.rand(2, 3, generator=generator), torch.rand(2, 3, 7, generator=generator)
    t, others_t = 0.1 + s, 0.1 + others
    near, which = others.topk(4, dim=2)
    expected = ((near / others_t.gather(2, which)).mean(2) - s / t).sum(0)
    found = hardest_contrast(s, others, t, others_t, 0.0, 8, hardest=4)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("base", ["simclr", "moco"])
def test_temperatures_learn_and_stay_within_their_bounds(base):
    method = build("amcl", base=base, low=0.1, high=0.4)
    method.begin_step(now())
    loss = method.train().loss(batch_of(16), now())
    loss.total.backward()
    assert all(p.grad.abs().sum() > 0 for phi in method.phi for p in phi.parameters())
    assert 0.1 < loss.parts["temperature_positive"] < 0.4
    assert 0.1 < loss.parts["temperature_negative"] < 0.4
    far = 100 * torch.eye(16)[None]
    described = method.describe(torch.cat([far] * 3) @ torch.randn(16, 128))
    temperature = method.temperature(described, described)
    assert (temperature >= 0.1).all()
    assert (temperature <= 0.4 + 1e-6).all()


def test_a_pair_has_one_temperature_in_both_directions():
    method = build("amcl")
    one, two = (torch.nn.functional.normalize(torch.randn(3, 5, 128), dim=2) for _ in range(2))
    one, two = method.describe(one), method.describe(two)
    torch.testing.assert_close(method.temperature(one, two), method.temperature(two, one).mT)


def test_equal_heads_are_seen():
    method = build("amcl", heads=2)
    apart = method.loss(batch_of(8), now()).parts["head_agreement"]
    method.heads.heads[1].load_state_dict(method.heads.heads[0].state_dict())
    same = method.loss(batch_of(8), now()).parts["head_agreement"]
    assert float(same) == pytest.approx(1.0, abs=1e-5)
    assert apart < same
    assert "head_agreement" not in build("amcl", heads=1).loss(batch_of(8), now()).parts


def test_the_papers_loose_bounds_do_not_break_the_run():
    """Temperatures of 1e-5 make single pairs weigh 1e5; the gradient is limited."""
    presets = dict(type(build("amcl")).presets["paper"]) | {"epochs": 6, "batch": 16, "size": 16}
    run = train("amcl", **presets)
    assert all(math.isfinite(loss) for loss in losses(run))


def test_ladder_gives_the_views():
    assert build("amcl").recipe().views[0].gray == 0.2
    steps = [build("amcl", augmentations=step).recipe().views[0] for step in range(1, 6)]
    assert [step.blur for step in steps] == [0, 0.5, 0.5, 0.5, 0.5]
    assert [step.gray for step in steps] == [0, 0, 0.2, 0.2, 0.2]
    assert [step.jitter[0] for step in steps] == [0, 0, 0, 0.4, 0.4]
    assert [step.flip for step in steps] == [0, 0, 0, 0, 0.5]


def test_bounds_in_the_wrong_order_are_told():
    with pytest.raises(SettingProblem, match="least temperature, low, is above the largest"):
        build("amcl", low=0.6)


def test_half_precision_trains():
    for base in BASES:
        run = train("amcl", base=base, precision="bf16", **TINY)
        assert all(math.isfinite(loss) for loss in losses(run))


@pytest.mark.slow
@pytest.mark.parametrize("base", BASES)
def test_two_ranks_equal_one(base, tmp_path):
    extra = f'{{"base": "{base}", "queue": 32, "learning_rate": 0.01, "projection": 16}}'
    one, two = tmp_path / "one", tmp_path / "two"
    alone = [sys.executable, str(SCRIPT), "amcl", str(one), extra]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    launcher += ["--master-port", "0", "--standalone", str(SCRIPT), "amcl", str(two), extra]
    for command in (alone, launcher):
        done = subprocess.run(command, capture_output=True, text=True, timeout=180)
        assert done.returncode == 0, done.stderr[-2000:]
    first = load_state(one / "checkpoint.pt")["method"]
    second = load_state(two / "checkpoint.pt")["method"]
    for name, value in first.items():
        if value.is_floating_point() and name != "queue.keys":
            torch.testing.assert_close(second[name], value, rtol=2e-3, atol=2e-4, msg=name)
    if base == "moco":  # both views' keys come rank by rank: the same keys in another order
        keys = [state["queue.keys"].double() for state in (first, second)]
        assert torch.cdist(*keys).amin(1).max() < 2e-3
