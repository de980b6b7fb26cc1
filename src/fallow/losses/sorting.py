"""Differentiable sorting, and the loss that asks for positives to be sorted above negatives.

A sorting network compares fixed pairs of wires, layer by layer. Its relaxed comparator does not
swap (a, b) but mixes them: with alpha = relaxation(b - a), the share of "already in order",

    low = alpha a + (1 - alpha) b        high = (1 - alpha) a + alpha b

so a layer is a doubly stochastic matrix, and so is the product P of all layers: P[i, j] is how
much of input i arrives at rank j, and sorted = x P.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fallow.distributed import gather, gather_with_gradient, rank
from fallow.losses.precision import at_least_float32, without_autocast
from fallow.problems import SettingProblem

Layer = tuple[tuple[int, ...], tuple[int, ...]]  # wires that get the lower, the higher value
Relaxation = Callable[[Tensor, float], Tensor]  # difference b - a, steepness -> alpha


@cache
def odd_even(wires: int) -> tuple[Layer, ...]:
    """As many layers as wires, each comparing neighbours: 0-1, 2-3, ... and 1-2, 3-4, ... in turn.

    >>> odd_even(3)
    (((0,), (1,)), ((1,), (2,)), ((0,), (1,)))
    """
    pairs = [range(layer % 2, wires - 1, 2) for layer in range(wires)]
    return tuple((tuple(low), tuple(wire + 1 for wire in low)) for low in pairs if low)


@cache
def bitonic(wires: int) -> tuple[Layer, ...]:
    """Batcher's network, fewer layers for many wires; it sorts only if wires is a power of two.

    Other numbers keep the comparators among the last wires of the next larger network, as the
    diffsort library does.

    >>> len(bitonic(16)), len(odd_even(16))
    (10, 16)
    """
    full = 1 << max(0, wires - 1).bit_length()
    left_out = full - wires
    layers = []
    for block in range(full.bit_length() - 1):
        for step in range(block, -1, -1):
            pairs = []
            for wire in range(left_out, full):
                if not wire >> step & 1:  # its partner differs in this bit
                    pair = (wire - left_out, wire + (1 << step) - left_out)
                    pairs.append(pair[::-1] if wire >> (block + 1) & 1 else pair)
            if pairs:
                low, high = zip(*pairs, strict=True)
                layers.append((low, high))
    return tuple(layers)


def cauchy(difference: Tensor, steepness: float) -> Tensor:
    """Arc tangent: errors keep a gradient however large they are; the default.

    >>> cauchy(torch.tensor([0.0, 1.0]), 1.0)
    tensor([0.5000, 0.7500])
    """
    return torch.atan(steepness * difference) / math.pi + 0.5


def logistic(difference: Tensor, steepness: float) -> Tensor:
    """The sigmoid."""
    return torch.sigmoid(steepness * difference)


def logistic_phi(difference: Tensor, steepness: float, power: float = 0.25) -> Tensor:
    """The sigmoid, with small differences blown up."""
    return torch.sigmoid(steepness * difference / (difference.abs() + 1e-10).pow(power))


def reciprocal(difference: Tensor, steepness: float) -> Tensor:
    """A rational curve with tails like those of `cauchy`."""
    scaled = steepness * difference
    return 0.5 * (scaled / (2 + scaled.abs()) + 1)


def optimal(difference: Tensor, steepness: float) -> Tensor:
    """The curve with the smallest error among the monotone ones: a line with reciprocal tails."""
    scaled = steepness * difference
    size = scaled.abs().clamp(min=0.25)
    return 0.5 + scaled.clamp(-0.25, 0.25) + scaled.sign() * (0.25 - 1 / (16 * size))


@without_autocast
def soft_sort(
    x: Tensor,
    steepness: float = 1.0,
    relaxation: Relaxation = cauchy,
    network: Callable[[int], tuple[Layer, ...]] = odd_even,
) -> tuple[Tensor, Tensor]:
    """Rows (B, n) softly sorted, ascending, and the soft permutations P (B, n, n).

    >>> values, P = soft_sort(torch.tensor([[3.0, 1.0, 2.0]]), steepness=1e4)
    >>> values.round(decimals=2), P[0].argmax(1)
    (tensor([[1., 2., 3.]]), tensor([2, 0, 1]))
    """
    layers = network(x.shape[1])
    values, shares = _through(at_least_float32(x), layers, steepness, relaxation)
    product = torch.eye(len(values), dtype=values.dtype, device=x.device)[:, :, None]
    product = product.repeat(1, 1, len(x))  # rank, input, B: a pair of ranks is two whole slabs
    for (low, high), swap in zip(layers, shares, strict=True):
        product = _exchange(product, swap, low, high)
    return values.T, product.permute(2, 1, 0)


@without_autocast
def top_shares(
    x: Tensor,
    top: int,
    steepness: float = 1.0,
    relaxation: Relaxation = cauchy,
    network: Callable[[int], tuple[Layer, ...]] = odd_even,
) -> Tensor:
    """How much of each input (B, n) arrives among the `top` highest ranks: columns of P summed.

    P times a vector needs no P: the vector goes through the layers backwards, n times cheaper.

    >>> top_shares(torch.tensor([[3.0, 1.0, 2.0]]), top=1, steepness=1e4).round(decimals=2)
    tensor([[1., 0., 0.]])
    """
    layers = network(x.shape[1])
    values, shares = _through(at_least_float32(x), layers, steepness, relaxation)
    wires = torch.zeros_like(values)  # n B
    wires[len(wires) - top :] = 1
    for (low, high), swap in zip(layers[::-1], shares[::-1], strict=True):
        wires = _exchange(wires, swap, low, high)  # a layer is its own transpose
    return wires.T


@without_autocast
def similarity_groups(
    views: Tensor,
    anchor: int,
    negatives: int = 10,
    positives: int | None = None,
    *,
    stop_gradient: bool = True,
) -> tuple[Tensor, Tensor]:
    """Cosines of one view of each image to its strongest negatives and to its other views.

    `views` is (V, B, D). Negatives (B, k) are the same view of the other images, of all ranks,
    positives (B, r) the first `positives` views of the same image (all of them by default), the
    anchor left out; both ascending. With `stop_gradient` only the anchor's side learns.

    >>> z = torch.eye(3)[None].repeat(2, 1, 1)
    >>> similarity_groups(z, 0, negatives=2)[0][0], similarity_groups(z, 0, negatives=2)[1][0]
    (tensor([0., 0.]), tensor([1.]))
    """
    views = F.normalize(at_least_float32(views), dim=2, eps=1e-12)
    here, others = views[anchor], views.detach() if stop_gradient else views
    partners = [j for j in range(positives or len(views)) if j != anchor]
    same_image = torch.stack([(here * others[j]).sum(1) for j in partners], 1)  # B r
    everyone = gather(others[anchor]) if stop_gradient else gather_with_gradient(others[anchor])
    if negatives >= len(everyone):
        raise SettingProblem(
            f"{negatives} negatives need more than {len(everyone)} images a batch: "
            f"lower negatives to at most {len(everyone) - 1}, or raise the batch"
        )
    itself = torch.arange(len(here), device=here.device) + rank() * len(here)
    cosines = here @ everyone.T  # B, B of all ranks
    cosines = cosines.scatter(1, itself[:, None], -torch.inf)
    return cosines.topk(negatives, 1).values.flip(1), same_image.sort(1).values


@without_autocast
def ordering(negatives: Tensor, positives: Tensor, steepness: float = 1.0) -> Tensor:
    """Mean of -log(share of each value that the sorter puts into its own group).

    Values (B, k) and (B, r) ascending: the strongest negative and the weakest positive are then
    neighbours in the network and feel the most; the order within a group costs nothing.

    >>> low, high = torch.tensor([[-1.0, 0.0]]), torch.tensor([[1.0]])
    >>> bool(ordering(low, high) < ordering(low + 2, high))
    True
    """
    share = top_shares(torch.cat([negatives, positives], 1), positives.shape[1], steepness)
    wanted = torch.zeros_like(share)
    wanted[:, negatives.shape[1] :] = 1
    return F.binary_cross_entropy(share.clamp(0, 1), wanted)


def group_ordering(
    views: Tensor,
    negatives: int = 10,
    positives: int | None = None,
    steepness: float = 1.0,
    *,
    stop_gradient: bool = True,
) -> Tensor:
    """GroCo: every view of an image (V, B, D) must rank its other views above other images.

    >>> z = torch.eye(12)[None].repeat(2, 1, 1)
    >>> round(float(group_ordering(z)), 3), round(float(group_ordering(torch.ones_like(z))), 3)
    (0.179, 0.202)
    """
    terms = []
    for anchor in range(len(views)):
        groups = similarity_groups(views, anchor, negatives, positives, stop_gradient=stop_gradient)
        terms.append(ordering(*groups, steepness))
    return torch.stack(terms).mean()


def _through(
    x: Tensor, layers: tuple[Layer, ...], steepness: float, relaxation: Relaxation
) -> tuple[Tensor, list[Tensor]]:
    """Send rows (B, n) through the network: sorted wires (n, B), each layer's 1 - alpha (pairs, B).

    The batch comes last, so that wires are contiguous and each layer is a handful of operations.
    """
    wires, shares = x.T.clone(memory_format=torch.contiguous_format), []
    for low, high in layers:
        swap = relaxation(wires[_places(low)] - wires[_places(high)], steepness)
        wires = _exchange(wires, swap, low, high)
        shares.append(swap)
    return wires, shares


def _exchange(wires: Tensor, swap: Tensor, low: tuple[int, ...], high: tuple[int, ...]) -> Tensor:
    mixed: Tensor = _Exchange.apply(wires, swap, low, high)  # type: ignore[no-untyped-call]
    return mixed


def _places(wires: tuple[int, ...]) -> Any:
    """A slice where wires are evenly spaced, for views instead of copies; else the list."""
    step = wires[1] - wires[0] if len(wires) > 1 else 1
    if step > 0 and wires == tuple(range(wires[0], wires[-1] + 1, step)):
        return slice(wires[0], wires[-1] + 1, step)
    return list(wires)


class _Exchange(torch.autograd.Function):
    """Mix pairs of wires (n ... B) by `swap` (pairs, B), in place; keeps only their differences."""

    @staticmethod
    def forward(
        context: Any, wires: Tensor, swap: Tensor, low: tuple[int, ...], high: tuple[int, ...]
    ) -> Tensor:
        context.places = at_low, at_high = _places(low), _places(high)
        apart = wires[at_high] - wires[at_low]
        moved = apart * _across(swap, apart)
        wires[at_low] += moved
        wires[at_high] -= moved
        context.save_for_backward(swap, apart)
        context.mark_dirty(wires)
        return wires

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, slope: Tensor) -> tuple[Any, ...]:
        (at_low, at_high), (swap, apart) = context.places, context.saved_tensors
        across = slope[at_low] - slope[at_high]
        to_swap = across * apart
        if to_swap.ndim > 2:
            to_swap = to_swap.flatten(1, -2).sum(1)
        moved = across * _across(swap, across)
        slope = slope.clone(memory_format=torch.contiguous_format)
        slope[at_low] -= moved
        slope[at_high] += moved
        return slope, to_swap, None, None


def _across(swap: Tensor, wires: Tensor) -> Tensor:
    return swap.view(len(swap), *[1] * (wires.ndim - 2), -1)
