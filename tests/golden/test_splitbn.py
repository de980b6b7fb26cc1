"""SplitBatchNorm: training forward and running statistics."""

from __future__ import annotations

import torch

from .cases import close, golden


@golden("_ssl-shared", "splitbn")
def test_split_batch_norm(case):
    from fallow.encoders.heads import SplitBatchNorm

    x = case.tensor("x")
    layer = SplitBatchNorm(x.shape[1], splits=int(case.number("splits")))
    layer.load_state_dict({"weight": case.tensor("w"), "bias": case.tensor("b")}, strict=False)
    layer.train()
    with torch.no_grad():
        y = layer(x)
    close(y, case.outputs["y"])
    close(layer.running_mean, case.outputs["running_mean"])
    close(layer.running_var, case.outputs["running_var"])
