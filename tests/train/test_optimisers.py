"""Optimisers: groups, building by name, state, and plain cases of the formulas."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fallow.problems import SettingProblem
from fallow.train.optimisers import LARC, LARS, NAMES, MatrixLARS, build, parameter_groups


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2),
        nn.LayerNorm(2),
    )  # fmt: skip


def test_groups_hold_every_parameter_once():
    module = network()
    module.shared = module[3]
    weights, plain = parameter_groups(module, 0.1)
    assert [tuple(p.shape) for p in weights["params"]] == [(4, 3, 3, 3), (2, 4)]
    assert len(plain["params"]) == 5
    assert plain["weight_decay"] == 0
    everything = {id(p) for p in weights["params"] + plain["params"]}
    assert everything == {id(p) for p in module.parameters()}


def test_groups_leave_out_frozen_parameters():
    module = network()
    module[3].requires_grad_(False)
    assert sum(len(group["params"]) for group in parameter_groups(module, 0.1)) == 5


@pytest.mark.parametrize("name", NAMES)
def test_every_name_builds_and_lowers_a_loss(name):
    module = nn.Linear(4, 1)
    x = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
    rate = {"sgd": 0.1, "adam": 0.1, "adamw": 0.1}.get(name, 1.0)
    options = {} if name in ("sgd", "adam", "adamw") else {"trust": 0.1}
    optimiser = build(name, parameter_groups(module, 1e-4), learning_rate=rate, **options)
    losses = []
    for _ in range(30):
        loss = (module(x).squeeze(1) - x.sum(1)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert min(losses[-5:]) < 0.7 * losses[0]
    again = build(name, parameter_groups(module, 1e-4), learning_rate=rate, **options)
    again.load_state_dict(optimiser.state_dict())
    assert len(again.state) == 2


def test_wrong_name_is_a_problem():
    with pytest.raises(SettingProblem, match="did you mean lars"):
        build("larz", [torch.zeros(1)], learning_rate=0.1)


def test_resuming_from_state_is_exact():
    def run(steps, state=None, weight=None):
        parameter = nn.Parameter(torch.arange(1.0, 5.0) if weight is None else weight.clone())
        optimiser = LARS([parameter], lr=0.5, weight_decay=0.1)
        if state:
            optimiser.load_state_dict(state)
        for step in steps:
            parameter.grad = torch.full((4,), float(step + 1))
            optimiser.step()
        return parameter.detach(), optimiser.state_dict()

    whole, _ = run(range(6))
    half, state = run(range(3))
    resumed, _ = run(range(3, 6), state, half)
    assert torch.equal(whole, resumed)


def test_parameters_without_gradient_keep_still():
    moved, still = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimiser = LARC([moved, still], lr=1.0, weight_decay=0.5)
    for _ in range(2):
        moved.grad, still.grad = torch.ones(2), torch.ones(2)
        optimiser.step()
    before = still.detach().clone()
    moved.grad, still.grad = torch.ones(2), None
    optimiser.step()  # neither momentum nor decay moves it
    assert torch.equal(still, before)


def test_zero_gradient_under_larc_is_not_decayed():
    parameter = nn.Parameter(torch.ones(2))
    parameter.grad = torch.zeros(2)
    LARC([parameter], lr=1.0, weight_decay=0.5).step()
    assert torch.equal(parameter.detach(), torch.ones(2))


def test_clipped_larc_at_rate_zero_stands_still():
    parameter = nn.Parameter(torch.ones(2))
    parameter.grad = torch.ones(2)
    LARC([parameter], lr=0.0, clip=True).step()
    assert torch.equal(parameter.detach(), torch.ones(2))


def test_the_two_lars_differ_once_the_rate_changes():
    results = []
    for kind in (LARS, MatrixLARS):
        parameter = nn.Parameter(torch.ones(2, 2))
        optimiser = kind([parameter], lr=1.0)
        for rate in (1.0, 0.1):
            optimiser.param_groups[0]["lr"] = rate
            parameter.grad = torch.ones(2, 2)
            optimiser.step()
        results.append(parameter.detach()[0, 0].item())
    # rate inside: v = 0.9 * 0.001 + 0.0001 (p = 0.999); outside: v = 0.0019, times 0.1
    assert results[0] == pytest.approx(1 - 0.001 - 0.0009 - 0.0001 * 0.999, abs=1e-6)
    assert results[1] == pytest.approx(1 - 0.001 - 0.1 * (0.0009 + 0.001 * 0.999), abs=1e-6)
