"""LARS and LARC: parameters after every step."""

from __future__ import annotations

import pytest
import torch

from fallow.train.optimisers import LARC, LARS, MatrixLARS

from .cases import close, golden


def follow(case, make):
    """Run the recorded gradients through the optimiser that `make` builds."""
    names = [name[len("grad_") :] for name in case.inputs if name.startswith("grad_")]
    assert names
    parameters = {name: torch.nn.Parameter(case.tensor(name)) for name in names}
    optimiser = make(parameters)
    for step in range(len(case.inputs["grad_" + names[0]])):
        for name, parameter in parameters.items():
            parameter.grad = case.tensor("grad_" + name)[step]
        if "lr" in case.inputs:
            for group in optimiser.param_groups:
                group["lr"] = float(case.inputs["lr"][step])
        optimiser.step()
        for name, parameter in parameters.items():
            close(parameter, case.outputs[name][step])


@golden("_ssl-shared", "lars", without=("lars_mocov3",))
def test_lars(case):
    rate, momentum, decay, trust, nesterov, classic = case.inputs["meta"].tolist()

    def make(parameters):
        exempt = [p for name, p in parameters.items() if "bias" in name or "bn" in name]
        rest = [p for name, p in parameters.items() if "bias" not in name and "bn" not in name]
        groups = [
            {"params": rest, "weight_decay": decay},
            {"params": exempt, "weight_decay": 0.0, "adapt": False},
        ]
        return LARS(
            [group for group in groups if group["params"]],
            lr=rate,
            momentum=momentum,
            trust=trust,
            nesterov=bool(nesterov),
            popular=not classic,
        )

    follow(case, make)


@golden("_ssl-shared", "lars_mocov3")
def test_matrix_lars(case):
    momentum, decay, trust = case.inputs["meta"].tolist()

    def make(parameters):
        return MatrixLARS(
            parameters.values(), lr=1.0, momentum=momentum, weight_decay=decay, trust=trust
        )

    follow(case, make)


@golden("_ssl-shared", "larc")
def test_larc(case):
    rate, momentum, decay, trust, clip = case.inputs["meta"].tolist()

    def make(parameters):
        return LARC(
            parameters.values(),
            lr=rate,
            momentum=momentum,
            weight_decay=decay,
            trust=trust,
            clip=bool(clip),
        )

    follow(case, make)


@golden("_ssl-shared", "larc")
def test_larc_vectors_tell_decayed_zero_gradients_apart(case):
    """The recorded cases would notice weight decay on a tensor whose gradient is zero."""
    decay = case.inputs["meta"][2]
    if not decay:
        pytest.skip("no weight decay in this case")
    zero = [n for n, g in case.inputs.items() if n.startswith("grad_") and not g[0].any()]
    for name in zero:
        tensor = name[len("grad_") :]
        close(case.outputs[tensor][0], case.inputs[tensor])
