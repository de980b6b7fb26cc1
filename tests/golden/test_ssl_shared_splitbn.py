"""Split batch norm against reference vectors."""

import pytest
import torch

from fallow.encoders.heads import SplitBatchNorm

from .arrays import arrays

VECTORS = arrays("_ssl-shared")
CASES = sorted({k.split("_in_")[0] for k in VECTORS if k.startswith("splitbn_") and "_in_" in k})
assert CASES


@pytest.mark.parametrize("case", CASES)
def test_split_batch_norm(case):
    def get(name):
        return torch.from_numpy(VECTORS[f"{case}_{name}"])

    x = get("in_x")
    layer = SplitBatchNorm(x.shape[1], splits=int(get("in_splits")))
    with torch.no_grad():
        layer.weight.copy_(get("in_w"))
        layer.bias.copy_(get("in_b"))
    torch.testing.assert_close(layer(x), get("out_y"), rtol=1e-4, atol=1e-5)
    for name in ("running_mean", "running_var"):
        expected = get(f"out_{name}")
        torch.testing.assert_close(getattr(layer, name), expected, rtol=1e-4, atol=1e-6)
