"""The same recorded MoCo steps as test_moco, run through the method as the loop runs it."""

from __future__ import annotations

import torch
from torch import nn

from fallow.encoders import Encoder
from fallow.encoders.base import Preprocessing
from fallow.methods.learn.moco import MoCo
from fallow.train import Batch, Now, make_settings
from fallow.train.method import Facts

from .cases import close, golden


class Linear(nn.Linear):
    @property
    def dimension(self) -> int:
        return self.out_features


def encoder(weight: torch.Tensor) -> Encoder:
    layer = Linear(*weight.shape, bias=False)
    layer.weight = nn.Parameter(weight.T.contiguous())
    return Encoder(layer, name="linear", preprocessing=Preprocessing(8, 8))


def rows(views: torch.Tensor) -> Batch:
    count = views.shape[1]
    index = torch.arange(count)
    return Batch([views.flatten(0, 1)], list(views), index, -torch.ones(count), torch.empty(0))


@golden("_ssl-shared", "moco")
def test_moco_method(case):
    momentum, temperature, symmetric, rate = case.inputs["meta"].tolist()
    start, x = case.tensor("queue").T, case.tensor("x")
    settings = {
        "batch": x.shape[2],
        "projection": start.shape[1],
        "queue": len(start),
        "temperature": temperature,
        "key_momentum": momentum,
        "symmetric": bool(symmetric),
    }
    query = encoder(case.tensor("wq"))
    settings = make_settings(MoCo.Settings, settings)
    method = MoCo(query, settings, Facts(count=2 * len(start), side=8))
    method.head = nn.Identity()
    method.key = nn.Sequential(encoder(case.tensor("wk")), nn.Identity()).requires_grad_(False)
    method.queue.keys.copy_(start)  # fails if the queue was built with another length
    weight = query.network.weight
    optimiser = torch.optim.SGD([weight], lr=rate)
    for step, views in enumerate(x):
        now = Now(step, 0, step / len(x), len(x))
        optimiser.zero_grad()
        method.begin_step(now)
        loss = method(rows(views), now).total
        loss.backward()
        close(loss, case.outputs["loss"][step])
        close(weight.grad.T, case.outputs["grad_wq"][step])
        optimiser.step()
        method.after_step(now)
    close(weight.T, case.outputs["wq"])
    close(method.key[0].network.weight.T, case.outputs["wk"])
    close(method.queue.keys.T, case.outputs["queue"])
    assert int(method.queue.pointer) == int(case.outputs["ptr"].item())
