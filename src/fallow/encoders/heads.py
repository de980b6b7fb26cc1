"""Projection heads as the papers have them: plain functions that build torch modules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from fallow.problems import SettingProblem, did_you_mean


def _batch_without_shift(width: int) -> nn.BatchNorm1d:
    norm = nn.BatchNorm1d(width)
    norm.register_parameter("bias", None)
    return norm


_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm1d,
    "batch-scale": _batch_without_shift,  # a gain but no shift
    "batch-plain": lambda width: nn.BatchNorm1d(width, affine=False),
    "layer": nn.LayerNorm,
}
_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    "gelu": nn.GELU,
}


def _norm(kind: str, width: int) -> nn.Module:
    if kind not in _NORMS:
        raise SettingProblem(f"no norm is called {kind!r}; {did_you_mean(kind, _NORMS)}")
    return _NORMS[kind](width)


def mlp(
    dims: Sequence[int],
    *,
    norm: str | None = None,
    last_norm: str | None = None,
    bias: bool = True,
    last_bias: bool | None = None,
    activation: str = "relu",
) -> nn.Sequential:
    """Linear layers of the given widths: between them norm and activation, after them last_norm.

    Norms are "batch", "batch-scale" (no shift), "batch-plain" (neither), "layer" or None.

    >>> mlp([8, 16, 4], norm="batch", bias=False)(torch.zeros(2, 8)).shape
    torch.Size([2, 4])
    """
    layers: list[nn.Module] = []
    steps = list(pairwise(dims))
    for index, (inputs, outputs) in enumerate(steps):
        last = index == len(steps) - 1
        layers.append(
            nn.Linear(inputs, outputs, bias=last_bias if last and last_bias is not None else bias)
        )
        kind = last_norm if last else norm
        if kind is not None:
            layers.append(_norm(kind, outputs))
        if not last:
            layers.append(_ACTIVATIONS[activation]())
    return nn.Sequential(*layers)


class UnitLength(nn.Module):
    """Scale every row to length 1."""

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=-1)


def simclr_head(
    dimension: int, hidden: int | None = None, output: int = 128, layers: int = 3
) -> nn.Sequential:
    """SimCLR: linear layers without bias, batch norm after each, the last one without shift.

    >>> simclr_head(16)(torch.randn(4, 16)).shape
    torch.Size([4, 128])
    """
    dims = [dimension, *[hidden or dimension] * (layers - 1), output]
    return mlp(dims, norm="batch", last_norm="batch-scale", bias=False)


def moco_head(dimension: int, output: int = 128) -> nn.Sequential:
    """MoCo v2 and InterCLR: one hidden layer as wide as the encoder, no batch norm."""
    return mlp([dimension, dimension, output])


def moco3_head(
    dimension: int, hidden: int = 4096, output: int = 256, layers: int = 3
) -> nn.Sequential:
    """MoCo v3's projector: no biases, batch norm, the last one without gain and shift."""
    dims = [dimension, *[hidden] * (layers - 1), output]
    return mlp(dims, norm="batch", last_norm="batch-plain", bias=False)


def moco3_predictor(
    dimension: int = 256, hidden: int = 4096, last_norm: str | None = "batch-plain"
) -> nn.Sequential:
    """MoCo v3's two-layer predictor; with residual networks it has `last_norm=None`."""
    return mlp([dimension, hidden, dimension], norm="batch", last_norm=last_norm, bias=False)


def swav_head(dimension: int, hidden: int = 2048, output: int = 128) -> nn.Sequential:
    """SwAV: linear, batch norm, ReLU, linear, and rows of length 1 to compare with prototypes.

    >>> swav_head(16)(torch.randn(4, 16)).norm(dim=1).allclose(torch.ones(4))
    True
    """
    return nn.Sequential(*mlp([dimension, hidden, output], norm="batch"), UnitLength())


def groco_head(
    dimension: int, hidden: int | None = None, output: int = 2048, layers: int = 3
) -> nn.Sequential:
    """GroCo, SimSiam: the last linear layer's bias is frozen, for batch norm removes it."""
    dims = [dimension, *[hidden or dimension] * (layers - 1), output]
    head = mlp(dims, norm="batch", last_norm="batch-plain", bias=False, last_bias=True)
    last = head[-2]
    assert isinstance(last, nn.Linear)
    last.bias.requires_grad_(False)
    return head


def byol_head(dimension: int, hidden: int = 4096, output: int = 256) -> nn.Sequential:
    """BYOL's projector: linear, batch norm, ReLU, linear."""
    return mlp([dimension, hidden, output], norm="batch")


def byol_predictor(dimension: int = 256, hidden: int = 4096) -> nn.Sequential:
    """BYOL's predictor has the shape of its projector."""
    return byol_head(dimension, hidden, dimension)


def hydra_head(
    dimension: int, hidden: int = 2048, output: int = 256, layers: int = 3
) -> nn.Sequential:
    """Hydra: as SimCLR's, but the last norm is a layer norm, which lets gates close."""
    dims = [dimension, *[hidden] * (layers - 1), output]
    return mlp(dims, norm="batch", last_norm="layer", bias=False)


def amcl_head(dimension: int, hidden: int = 512, output: int = 128) -> nn.Sequential:
    """One of AMCL's heads: linear, ReLU, linear, no batch norm."""
    return mlp([dimension, hidden, output])


def prototypes(dimension: int, count: int, gain: bool = False) -> nn.Module:
    """A weight-normalised linear layer without bias: scores against `count` unit prototypes.

    With `gain` every prototype also learns its length; otherwise all keep length 1.

    >>> layer = prototypes(8, 5)
    >>> layer.weight.norm(dim=1).allclose(torch.ones(5))
    True
    """
    layer = weight_norm(nn.Linear(dimension, count, bias=False))
    lengths = layer.parametrizations.weight.original0  # type: ignore[union-attr,operator,index]
    with torch.no_grad():
        lengths.fill_(1.0)
    lengths.requires_grad_(gain)
    return layer


def dino_head(
    dimension: int,
    output: int = 65536,
    hidden: int = 2048,
    bottleneck: int = 256,
    layers: int = 3,
    gain: bool = False,
) -> nn.Sequential:
    """DINO: a GELU perceptron to a narrow unit vector, then prototypes."""
    dims = [dimension, *[hidden] * (layers - 1), bottleneck]
    body = mlp(dims, activation="gelu")
    for layer in body:
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
    return nn.Sequential(body, UnitLength(), prototypes(bottleneck, output, gain))


def msn_head(dimension: int, hidden: int = 2048, output: int = 256) -> nn.Sequential:
    """MSN: a three-layer GELU perceptron with batch norm between; compared as cosines.

    >>> msn_head(16, 32, 8)(torch.randn(4, 16)).shape
    torch.Size([4, 8])
    """
    return mlp([dimension, hidden, hidden, output], norm="batch", activation="gelu")


class MultiHead(nn.Module):
    """Several heads on the same features; their outputs come back as a list."""

    def __init__(self, heads: Iterable[nn.Module]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)

    def __len__(self) -> int:
        return len(self.heads)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [head(x) for head in self.heads]


class PairGate(nn.Module):
    """Hydra: which dimensions two classes should agree in, as weights between 0 and 1.

    Unknown classes (-1) get the gate of class 0; whoever uses it must leave them out.

    >>> gate = PairGate(classes=5, output=8)
    >>> one, two = torch.tensor([0, 1, 2]), torch.tensor([3, 4, 0])
    >>> gate(one, two).shape, bool(gate(one, two).allclose(gate(two, one)))
    (torch.Size([3, 8]), True)
    """

    def __init__(self, classes: int, output: int, embedding: int = 512, hidden: int = 1024) -> None:
        super().__init__()
        self.label_embedding = nn.Embedding(classes, embedding)
        self.mlp = nn.Sequential(
            nn.ReLU(),
            nn.BatchNorm1d(embedding),
            nn.Linear(embedding, hidden),
            nn.ReLU(),
            nn.BatchNorm1d(hidden),
            nn.Linear(hidden, output),
        )

    def forward(self, one: Tensor, two: Tensor) -> Tensor:
        """The gate of the mean of two classes' embeddings (B, D)."""
        return self.mlp((self._embed(one) + self._embed(two)) / 2).sigmoid()

    def product(self, one: Tensor, two: Tensor) -> Tensor:
        """The product of the two classes' own gates (B, D)."""
        return self.mlp(self._embed(one)).sigmoid() * self.mlp(self._embed(two)).sigmoid()

    def _embed(self, labels: Tensor) -> Tensor:
        return self.label_embedding(labels.clamp(min=0))


class SplitBatchNorm(nn.BatchNorm2d):
    """Batch norm that sees a batch as several smaller ones, as if on several devices.

    Split s holds the images s, s + splits, s + 2 splits, ... While training each split has its
    own statistics; the running ones are the average over the splits, the running variance an
    average of unbiased ones. In eval mode it is plain batch norm.
    """

    def __init__(self, features: int, splits: int = 8, **options: float) -> None:
        super().__init__(features, **options)  # type: ignore[arg-type]
        self.splits = splits

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        if len(x) % self.splits:
            raise SettingProblem(
                f"a batch of {len(x)} does not divide into {self.splits} equal splits."
            )
        assert self.running_mean is not None
        assert self.running_var is not None
        # splits side by side as channels, so that one fused call keeps their statistics apart
        mean, var = (s.repeat(self.splits) for s in (self.running_mean, self.running_var))
        weight, bias = (p.repeat(self.splits) for p in (self.weight, self.bias))
        side_by_side = x.reshape(-1, self.splits * self.num_features, *x.shape[2:])
        y = F.batch_norm(
            side_by_side, mean, var, weight, bias, True, self.momentum or 0.0, self.eps
        )
        with torch.no_grad():
            self.running_mean.copy_(mean.view(self.splits, -1).mean(0))
            self.running_var.copy_(var.view(self.splits, -1).mean(0))
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        return y.reshape(x.shape)
