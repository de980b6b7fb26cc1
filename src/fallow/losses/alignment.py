"""Losses that bring each picture's vector to its text's, and away from the other texts'.

Memory grows with the batch, not with its square: scores are made some rows at a time, forwards and
again backwards. Rows are taken as they come, and should have length 1.

Several ranks: each rank passes its own rows, and those of the others are gathered inside. The mean
of the ranks' losses is the loss of one process on the whole batch, and gradients averaged over
ranks (as DDP does) are that process's; every rank brings as many rows, runs backward, and weighs
its loss alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fallow.distributed import all_reduce_max, all_reduce_sum, gather, rank, world_size
from fallow.losses.precision import at_least_float32, without_autocast
from fallow.problems import SettingProblem

ENTRIES = 1 << 20  # scores held at once: 4 MB in float32


@without_autocast
def pair_contrast(
    image: Tensor,
    text: Tensor,
    scale: Tensor | float,
    *,
    names: Tensor | None = None,
    used: Tensor | None = None,
    softness: float = 0.0,
    literal: bool = False,
) -> Tensor:
    """CLIP's loss: a picture must find its text among all texts, and a text its picture.

    Rows (B, D) of one place belong together; with `names` (B,) so do all rows of one name, which
    share the target. Of it a part `softness` goes to the rows of other names, in equal shares
    (PyramidCLIP); read `literal`ly, the row's own text gets such a share, too, and the target
    sums to a little more than 1. Rows that are not `used` (B,) take no part at all.

    >>> rows = torch.eye(4)
    >>> round(float(pair_contrast(rows, rows, 1.0)), 4)
    0.7437
    >>> round(float(pair_contrast(rows, rows, 1.0, names=torch.tensor([0, 0, 1, 2]))), 4)
    0.9937
    >>> float(pair_contrast(rows[:1], rows[1:2], 5.0, softness=0.2))
    0.0
    """
    image, text, scale, places = _ready(image, text, scale, names, used)
    count = len(places.names)
    if count == 0:
        return (image.sum() + text.sum() + scale) * 0
    if names is None:
        alike = torch.ones(count, dtype=image.dtype, device=image.device)
    else:
        _, group, sizes = places.names.unique(return_inverse=True, return_counts=True)
        alike = sizes[group].to(image.dtype)
    others = count - alike
    if literal:
        off = torch.full_like(alike, softness / max(count - 1, 1) if count > 1 else 0.0)
        on = (1 - softness * (count > 1)) / alike + off
    else:
        soft = softness * (others > 0).to(alike.dtype)
        off = soft / others.clamp(min=1)
        on = (1 - soft) / alike
    shares = _Shares(on, off, on * alike + off * others)
    return _Softmax.apply(image, text, scale, places, shares, None)  # type: ignore[no-untyped-call]


@without_autocast
def target_contrast(image: Tensor, text: Tensor, scale: Tensor | float, targets: Tensor) -> Tensor:
    """The same with given targets: row i says how much picture i belongs to each text (b, B).

    Read by columns they say how much a text belongs to each picture. They receive no gradient.

    >>> rows = torch.eye(4)
    >>> same = target_contrast(rows, rows, 1.0, torch.eye(4))
    >>> bool(same.isclose(pair_contrast(rows, rows, 1.0)))
    True
    """
    image, text, scale, places = _ready(image, text, scale, None, None)
    if targets.shape != (len(image), len(places.names)):
        raise SettingProblem(
            f"targets for {len(image)} pictures and {len(places.names)} texts have that shape, not "
            f"{tuple(targets.shape)}"
        )
    return _Softmax.apply(image, text, scale, places, None, targets.detach().to(image.dtype))  # type: ignore[no-untyped-call]


@without_autocast
def pair_sigmoid(
    image: Tensor,
    text: Tensor,
    scale: Tensor | float,
    bias: Tensor | float,
    *,
    names: Tensor | None = None,
    used: Tensor | None = None,
) -> Tensor:
    """SigLIP's loss: each pair of the batch is judged alone, whether it belongs together.

    The sum over a picture's pairs, mean over pictures; `names` and `used` as in `pair_contrast`.

    >>> rows = torch.eye(2)
    >>> round(float(pair_sigmoid(rows, rows, 10.0, -5.0)), 4)
    0.0134
    """
    image, text, scale, places = _ready(image, text, scale, names, used)
    bias = torch.as_tensor(bias, dtype=image.dtype, device=image.device)
    if len(places.names) == 0:
        return (image.sum() + text.sum() + scale + bias) * 0
    return _Sigmoid.apply(image, text, scale, bias, places)  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class _Places:
    """Which rows of the whole batch are kept, and which of these are this rank's."""

    kept: Tensor | None  # n, rows of the gathered batch; none: all of them
    own: Tensor | None  # m, this rank's kept rows, in its own numbering
    here: Tensor  # m, where those stand among the kept
    names: Tensor  # n, of the kept; row numbers where none were given
    named: bool
    rows: int  # of this rank

    def pick(self, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """This rank's kept pictures (m D) and all kept texts (n D)."""
        everyone = gather(text)
        if self.kept is None:
            return image, everyone
        return image[self.own], everyone[self.kept]

    def put(self, to_image: Tensor, to_text: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of this rank's rows; those of texts are summed over the ranks' pictures."""
        if self.kept is not None:
            own, whole = (to_image.new_zeros(self.rows * n, to_image.shape[1]) for n in
                          (1, world_size()))  # fmt: skip
            own[self.own], whole[self.kept] = to_image, to_text
            to_image, to_text = own, whole
        first = rank() * self.rows
        return to_image, all_reduce_sum(to_text)[first : first + self.rows]

    def blocks(self) -> Iterator[slice]:
        """Runs of own kept rows whose scores are held at once."""
        step = max(1, ENTRIES // max(1, len(self.names)))
        for first in range(0, len(self.here), step):
            yield slice(first, min(first + step, len(self.here)))

    def together(self, rows: slice) -> Tensor:
        """Which of the kept rows belong with some of the own ones.  c n bool"""
        return self.names[self.here[rows], None] == self.names[None]


@dataclass(frozen=True)
class _Shares:
    """A target's share for each text that belongs, and for each that does not, by row."""

    on: Tensor  # n
    off: Tensor  # n
    sums: Tensor  # n


def _ready(
    image: Tensor,
    text: Tensor,
    scale: Tensor | float,
    names: Tensor | None,
    used: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, _Places]:
    image, text = at_least_float32(image), at_least_float32(text)
    if image.shape != text.shape or image.ndim != 2:
        raise SettingProblem(
            f"pictures and texts come as equal tables of vectors, not {tuple(image.shape)} and "
            f"{tuple(text.shape)}"
        )
    scale = torch.as_tensor(scale, dtype=image.dtype, device=image.device)
    rows, device = len(image), image.device
    here = torch.arange(rows, device=device) + rank() * rows
    every = torch.arange(rows * world_size(), device=device) if names is None else gather(names)
    if used is None:
        places = _Places(None, None, here, every, names is not None, rows)
    else:
        taking = gather(used.int()).bool()
        kept, own = taking.nonzero()[:, 0], used.nonzero()[:, 0]
        here = taking.cumsum(0)[here[own]] - 1
        places = _Places(kept, own, here, every[kept], names is not None, rows)
    return image, text, scale, places


class _Softmax(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any,
        image: Tensor,
        text: Tensor,
        scale: Tensor,
        places: _Places,
        shares: _Shares | None,
        targets: Tensor | None,
    ) -> Tensor:
        mine, everyone = places.pick(image, text)  # m D, n D
        count = len(everyone)
        if targets is None:
            assert shares is not None
            row_sums, column_sums = shares.sums[places.here], shares.sums
        else:
            row_sums, column_sums = targets.sum(1), all_reduce_sum(targets.sum(0))
        by_row = image.new_empty(len(mine))
        largest = image.new_full((count,), -torch.inf)
        summed = image.new_zeros(count)
        expected = image.new_zeros(())
        for rows in places.blocks():
            z = scale * (mine[rows] @ everyone.T)  # c n
            by_row[rows] = z.logsumexp(1)
            higher = torch.maximum(largest, z.amax(0))
            summed = summed * (largest - higher).exp() + (z - higher).exp().sum(0)
            largest = higher
            expected += _expected(z, rows, places, shares, targets)
        highest = all_reduce_max(largest)
        summed = all_reduce_sum(summed * (largest - highest).exp())
        by_column = highest + summed.log()
        context.places, context.shares, context.targets = places, shares, targets
        context.save_for_backward(mine, everyone, scale, by_row, by_column, row_sums, column_sums)
        own_columns = (column_sums * by_column)[places.here].sum()
        context.share = world_size() / (2 * count)
        return ((row_sums * by_row).sum() + own_columns - expected) * context.share

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, outer: Tensor) -> Any:  # type: ignore[override]
        mine, everyone, scale, by_row, by_column, row_sums, column_sums = context.saved_tensors
        places = context.places
        to_image, to_text = torch.zeros_like(mine), torch.zeros_like(everyone)
        to_scale = torch.zeros_like(scale)
        for rows in places.blocks():
            z = scale * (mine[rows] @ everyone.T)
            push = (z - by_row[rows, None]).exp_().mul_(row_sums[rows, None])
            push += (z - by_column).exp_().mul_(column_sums)
            _less_targets(push, rows, places, context.shares, context.targets)
            to_image[rows] = push @ everyone
            to_text.addmm_(push.T, mine[rows])
            to_scale += (push * z).sum()
        factor = outer * context.share
        own, texts = places.put(to_image.mul_(factor * scale), to_text.mul_(factor * scale))
        return own, texts, (to_scale / scale) * factor, None, None, None


def _expected(
    z: Tensor, rows: slice, places: _Places, shares: _Shares | None, targets: Tensor | None
) -> Tensor:
    """Scores weighed by the targets of both directions, summed."""
    if targets is not None:
        return 2 * (targets[rows] * z).sum()
    assert shares is not None
    here = places.here[rows]
    if places.named:
        return (_target(rows, places, shares) * z).sum()
    own = z.gather(1, here[:, None])[:, 0]
    found = 2 * ((shares.on - shares.off)[here] * own).sum()
    return found + (shares.off[here, None] * z).sum() + (shares.off * z).sum()


def _less_targets(
    push: Tensor, rows: slice, places: _Places, shares: _Shares | None, targets: Tensor | None
) -> None:
    """Take the targets of both directions off, in place."""
    if targets is not None:
        push -= 2 * targets[rows]
        return
    assert shares is not None
    here = places.here[rows]
    if places.named:
        push -= _target(rows, places, shares)
        return
    push -= shares.off[here, None] + shares.off
    push[torch.arange(len(here), device=push.device), here] -= 2 * (shares.on - shares.off)[here]


def _target(rows: slice, places: _Places, shares: _Shares) -> Tensor:
    """Both directions' targets of some pictures, where names say what belongs together.  c n"""
    here = places.here[rows]
    return torch.where(
        places.together(rows),
        shares.on[here, None] + shares.on,
        shares.off[here, None] + shares.off,
    )


class _Sigmoid(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any, image: Tensor, text: Tensor, scale: Tensor, bias: Tensor, places: _Places
    ) -> Tensor:
        mine, everyone = places.pick(image, text)  # m D, n D
        to_image, to_text = torch.zeros_like(mine), torch.zeros_like(everyone)
        to_scale, to_bias, total = (image.new_zeros(()) for _ in range(3))
        for rows in places.blocks():  # gradients at once: nothing here waits for other rows
            cosines = mine[rows] @ everyone.T  # c n
            sign = places.together(rows).to(image.dtype).mul_(2).sub_(1)
            wrong = -sign * (scale * cosines + bias)
            total += F.softplus(wrong).sum()
            push = -sign * wrong.sigmoid()
            to_image[rows] = push @ everyone
            to_text.addmm_(push.T, mine[rows])
            to_scale += (push * cosines).sum()
            to_bias += push.sum()
        context.places = places
        context.share = world_size() / len(everyone)
        context.save_for_backward(to_image, to_text, to_scale, to_bias, scale)
        return total * context.share

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, outer: Tensor) -> Any:  # type: ignore[override]
        to_image, to_text, to_scale, to_bias, scale = context.saved_tensors
        places, factor = context.places, outer * context.share
        own, texts = places.put(to_image * (factor * scale), to_text * (factor * scale))
        return own, texts, to_scale * factor, to_bias * factor, None
