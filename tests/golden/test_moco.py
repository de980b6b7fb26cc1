"""MoCo steps: key network, keys, loss against the old queue, enqueue, then the query's step."""

from __future__ import annotations

import torch
from torch import nn

from fallow.losses import info_nce
from fallow.parts.memory import Queue
from fallow.parts.teacher import follow

from .cases import close, golden


def linear(weight: torch.Tensor) -> nn.Linear:
    layer = nn.Linear(*weight.shape, bias=False)
    layer.weight = nn.Parameter(weight.T.contiguous())
    return layer


@golden("_ssl-shared", "moco")
def test_moco(case):
    momentum, temperature, symmetric, rate = case.inputs["meta"].tolist()
    query, key = linear(case.tensor("wq")), linear(case.tensor("wk"))
    start = case.tensor("queue").T  # L D
    queue = Queue(*start.shape)
    queue.keys.copy_(start)
    optimiser = torch.optim.SGD(query.parameters(), lr=rate)
    for step, (x1, x2) in enumerate(case.tensor("x")):
        follow(key, query, momentum)
        with torch.no_grad():
            keys = [nn.functional.normalize(key(x), dim=1) for x in (x1, x2)]
        loss = info_nce(query(x1), keys[1], queue.keys, temperature)
        if symmetric:
            loss = loss + info_nce(query(x2), keys[0], queue.keys, temperature)
        optimiser.zero_grad()
        loss.backward()
        queue.enqueue(torch.cat(keys) if symmetric else keys[1])
        close(loss, case.outputs["loss"][step])
        close(query.weight.grad.T, case.outputs["grad_wq"][step])
        optimiser.step()
    close(query.weight.T, case.outputs["wq"])
    close(key.weight.T, case.outputs["wk"])
    close(queue.keys.T, case.outputs["queue"])
    assert int(queue.pointer) == int(case.outputs["ptr"].item())
