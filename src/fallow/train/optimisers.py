"""Optimisers the self-supervised papers use, with their exact formulas."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import Optimizer

from fallow.problems import SettingProblem, did_you_mean

NAMES = ("sgd", "adam", "adamw", "lars", "lars-mocov3", "larc")


def build(
    name: str,
    parameters: Iterable[Tensor] | Iterable[dict[str, Any]],
    *,
    learning_rate: float,
    weight_decay: float = 0.0,
    **options: Any,
) -> Optimizer:
    """An optimiser by name; parameters or groups as `parameter_groups` makes them.

    sgd, lars, lars-mocov3 and larc use momentum 0.9 unless `momentum` says otherwise.

    >>> layer = nn.Linear(2, 2)
    >>> type(build("larc", layer.parameters(), learning_rate=0.6)).__name__
    'LARC'
    """
    common = {"lr": learning_rate, "weight_decay": weight_decay, **options}
    if name == "adam":
        return torch.optim.Adam(parameters, **common)
    if name == "adamw":
        return torch.optim.AdamW(parameters, **common)
    if name == "sgd":
        return torch.optim.SGD(parameters, **{"momentum": 0.9, **common})
    if name == "lars":
        return LARS(parameters, **common)
    if name == "lars-mocov3":
        return MatrixLARS(parameters, **common)
    if name == "larc":
        return LARC(parameters, **common)
    raise SettingProblem(f"there is no optimiser {name!r}; {did_you_mean(name, NAMES)}")


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups: weights, and biases and norms, which get neither decay nor layer-wise rates.

    >>> groups = parameter_groups(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)), 1e-4)
    >>> [(len(g["params"]), g["weight_decay"], g["adapt"]) for g in groups]
    [(1, 0.0001, True), (3, 0.0, False)]
    """
    weights: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    seen: set[nn.Parameter] = set()  # shared parameters appear once
    for part in module.modules():
        norm = isinstance(part, _NormBase | nn.LayerNorm | nn.GroupNorm)
        for name, parameter in part.named_parameters(recurse=False):
            if parameter in seen or not parameter.requires_grad:
                continue
            seen.add(parameter)
            exempt = norm or name.endswith("bias") or parameter.ndim <= 1
            (plain if exempt else weights).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": weights, "weight_decay": weight_decay, "adapt": True},
        {"params": plain, "weight_decay": 0.0, "adapt": False},
    ]
    return [group for group in groups if group["params"]]


def scaled(
    learnt: Sequence[Any], module: nn.Module, scales: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Parameters or groups of them, split so that some parts of a module have another rate.

    >>> both = nn.ModuleDict({"a": nn.Linear(2, 2, bias=False), "b": nn.Linear(2, 2)})
    >>> groups = scaled(list(both.parameters()), both, {"a": 0.1})
    >>> [(len(group["params"]), group["rate_scale"]) for group in groups]
    [(1, 0.1), (2, 1.0)]
    """
    groups = learnt if isinstance(learnt[0], dict) else [{"params": learnt}]
    factor = {
        parameter: scale
        for name, scale in scales.items()
        for parameter in module.get_submodule(name).parameters()
    }
    made = []
    for group in groups:
        for scale in dict.fromkeys([*scales.values(), 1.0]):
            mine = [p for p in group["params"] if factor.get(p, 1.0) == scale]
            made.append({**group, "params": mine, "rate_scale": scale})
    return [group for group in made if group["params"]]


@torch.no_grad()
def clip_each(parameters: Iterable[Tensor], largest: float) -> None:
    """Shorten every gradient whose own norm is larger: DINO's clipping, tensor by tensor.

    >>> long, short = (nn.Parameter(torch.zeros(2)) for _ in range(2))
    >>> long.grad, short.grad = torch.tensor([6.0, 8.0]), torch.tensor([0.6, 0.8])
    >>> clip_each([long, short], 5.0)
    >>> long.grad, short.grad
    (tensor([3.0000, 4.0000]), tensor([0.6000, 0.8000]))
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if gradients:
        norms = torch._foreach_norm(gradients)
        shares = [(largest / (norm + 1e-6)).clamp(max=1.0) for norm in norms]
        torch._foreach_mul_(gradients, shares)


class _Momentum(Optimizer):
    """Visits every parameter that has a gradient, with its momentum buffer."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["velocity"] = torch.zeros_like(parameter)
                self.move(parameter, parameter.grad, state["velocity"], group)
        return loss

    def move(
        self, parameter: Tensor, gradient: Tensor, velocity: Tensor, group: dict[str, Any]
    ) -> None:
        raise NotImplementedError


class LARS(_Momentum):
    """SimCLR's LARS: the learning rate is part of the momentum.

    `popular` keeps it outside: plain momentum, then the trust ratio of the update. Groups with
    `adapt=False` (biases, norms) move at the plain rate; give those no weight decay either.

    >>> weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> weight.grad = torch.tensor([0.0, 1.0])
    >>> LARS([weight], lr=1.0, trust=0.1).step()
    >>> weight.data
    tensor([3.0000, 3.5000])
    """

    def __init__(
        self,
        parameters: Any,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 0.001,
        nesterov: bool = False,
        popular: bool = False,
        adapt: bool = True,
    ) -> None:
        super().__init__(
            parameters,
            {
                "lr": lr,
                "momentum": momentum,
                "weight_decay": weight_decay,
                "trust": trust,
                "nesterov": nesterov,
                "popular": popular,
                "adapt": adapt,
            },
        )

    def move(
        self, parameter: Tensor, gradient: Tensor, velocity: Tensor, group: dict[str, Any]
    ) -> None:
        gradient = gradient.add(parameter, alpha=group["weight_decay"])
        if not group["popular"]:
            gradient = gradient * (group["lr"] * _trust(parameter, gradient, group))
        velocity.mul_(group["momentum"]).add_(gradient)
        update = gradient.add(velocity, alpha=group["momentum"]) if group["nesterov"] else velocity
        if group["popular"]:
            update = update * (group["lr"] * _trust(parameter, update, group))
        parameter.sub_(update)


class MatrixLARS(_Momentum):
    """MoCo v3's LARS: decay and trust for tensors with more than one dimension only.

    >>> weight = nn.Parameter(torch.tensor([[3.0, 4.0]]))
    >>> weight.grad = torch.tensor([[0.0, 1.0]])
    >>> MatrixLARS([weight], lr=1.0, trust=0.1).step()
    >>> weight.data
    tensor([[3.0000, 3.5000]])
    """

    def __init__(
        self,
        parameters: Any,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 0.001,
    ) -> None:
        super().__init__(
            parameters,
            {
                "lr": lr,
                "momentum": momentum,
                "weight_decay": weight_decay,
                "trust": trust,
                "adapt": True,
            },
        )

    def move(
        self, parameter: Tensor, gradient: Tensor, velocity: Tensor, group: dict[str, Any]
    ) -> None:
        if parameter.ndim > 1:
            gradient = gradient.add(parameter, alpha=group["weight_decay"])
            gradient = gradient * _trust(parameter, gradient, group)
        velocity.mul_(group["momentum"]).add_(gradient)
        parameter.sub_(velocity, alpha=group["lr"])


class LARC(_Momentum):
    """SGD whose gradients are first scaled layer by layer; SwAV and GroCo's probe use it.

    Covers every tensor it is given, biases and norms included. With `clip` the layer-wise rate
    only ever lowers the learning rate. A tensor or gradient that is all zero stays plain SGD.

    >>> weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> weight.grad = torch.tensor([0.0, 1.0])
    >>> LARC([weight], lr=1.0, trust=0.1).step()
    >>> weight.data
    tensor([3.0000, 3.5000])
    """

    def __init__(
        self,
        parameters: Any,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 0.001,
        clip: bool = False,
        adapt: bool = True,
    ) -> None:
        super().__init__(
            parameters,
            {
                "lr": lr,
                "momentum": momentum,
                "weight_decay": weight_decay,
                "trust": trust,
                "clip": clip,
                "adapt": adapt,
            },
        )

    def move(
        self, parameter: Tensor, gradient: Tensor, velocity: Tensor, group: dict[str, Any]
    ) -> None:
        decay, rate = group["weight_decay"], group["lr"]
        decayed = gradient.add(parameter, alpha=decay)
        if group["adapt"]:
            size, slope = parameter.norm(), gradient.norm()
            trust = group["trust"] * size / (slope + decay * size + 1e-8)
            if group["clip"]:
                trust = (trust / rate).clamp(max=1) if rate else torch.ones_like(trust)
            # both branches on the device: no waiting for the norms
            decayed = torch.where((size > 0) & (slope > 0), decayed * trust, gradient)
        velocity.mul_(group["momentum"]).add_(decayed)
        parameter.sub_(velocity, alpha=rate)


def _trust(parameter: Tensor, update: Tensor, group: dict[str, Any]) -> Tensor:
    """How far a tensor may move relative to its size; 1 if either norm is 0."""
    if not group["adapt"]:
        return parameter.new_ones(())
    size, slope = parameter.norm(), update.norm()
    return torch.where((size > 0) & (slope > 0), group["trust"] * size / slope, 1.0)
