"""All pairs of a batch that differ in their label, a block of rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from fallow.distributed import gather, gather_with_gradient
from fallow.losses.precision import at_least_float32, without_autocast

HELD = 1 << 22  # pairs whose cosines are held at once
_BINS = 1 << 16


@without_autocast
def negative_mass(
    features: Tensor, labels: Tensor, scale: float, reach: float | None = None
) -> tuple[Tensor, float]:
    """Log of the sum of exp(scale · cosine) over pairs of two labels, and the share of them in it.

    Pairs of the batches of all ranks count, those beyond the `whiskers` excepted if there is a
    `reach`; rows with a label below 0 take no part. Cosines are computed again for the gradient,
    so that memory grows with the rows and not with their pairs. -inf where there is no pair.

    >>> mass, share = negative_mass(torch.eye(3)[[0, 0, 1]], torch.tensor([5, 5, 7]), 10.0)
    >>> round(float(mass), 4), share  # two pairs of cosine 0
    (0.6931, 1.0)
    """
    rows = gather_with_gradient(F.normalize(at_least_float32(features), dim=1, eps=1e-12))
    names = gather(labels)
    tall = max(1, HELD // max(len(rows), 1))
    fixed = rows.detach()

    def cosines() -> Iterator[Tensor]:
        for first in range(0, len(rows), tall):
            block = fixed[first : first + tall] @ fixed[first:].T
            yield block[_differ(names[first:], len(block))]

    number = sum(len(piece) for piece in cosines())
    low, high = fixed.new_tensor([-torch.inf, torch.inf])
    if reach is not None and number:
        low, high = whiskers(cosines, reach)
    kept = [int(((piece >= low) & (piece <= high)).sum()) for piece in cosines()]
    parts = [
        checkpoint(
            _mass, rows[first:], names[first:], tall, low, high, scale,
            use_reentrant=False, preserve_rng_state=False,
        )
        for first, count in zip(range(0, len(rows), tall), kept, strict=True)
        if count
    ]  # fmt: skip
    if not parts:
        return rows.new_tensor(-torch.inf), 0.0
    return torch.stack(parts).logsumexp(0), sum(kept) / number


def _mass(
    rows: Tensor, names: Tensor, tall: int, low: Tensor, high: Tensor, scale: float
) -> Tensor:
    cosine = rows[:tall] @ rows.T
    counts = _differ(names, len(cosine)) & (cosine >= low) & (cosine <= high)
    return (scale * cosine).masked_fill(~counts, -torch.inf).flatten().logsumexp(0)


def _differ(names: Tensor, tall: int) -> Tensor:
    """Which of the first rows' pairs with all rows are of two labels, each pair once.  tall N"""
    known = names >= 0
    differ = (names[:tall, None] != names) & known[:tall, None] & known
    return differ.triu_(diagonal=1)


# --- which pairs are like most ---


@torch.no_grad()
def whiskers(pieces: Callable[[], Iterable[Tensor]], reach: float = 1.5) -> tuple[Tensor, Tensor]:
    """How far the whiskers of a box plot reach, `reach` interquartile ranges from the middle half.

    Quartiles are values of the sorted row, at a quarter and three quarters of its length rounded
    down: in small batches not those that interpolation gives.

    >>> low, high = whiskers(lambda: [torch.tensor([0.0, 0.1, 0.2]), torch.tensor([0.3, 5.0])])
    >>> round(float(low), 2), round(float(high), 2)
    (-0.2, 0.6)
    """
    first, third = _sorted_at(pieces, (0.25, 0.75))
    spread = reach * (third - first)
    return first - spread, third + spread


def _sorted_at(pieces: Callable[[], Iterable[Tensor]], shares: Sequence[float]) -> list[Tensor]:
    """Values at shares of the sorted whole: counted in bins first, then sorted within one."""

    def bins(piece: Tensor) -> Tensor:  # even over cosines; what lies beyond shares the outermost
        return ((piece + 1) * (_BINS / 2)).long().clamp_(0, _BINS - 1)

    counts = sum(torch.bincount(bins(piece), minlength=_BINS) for piece in pieces())
    assert isinstance(counts, Tensor)
    ends, found = counts.cumsum(0), []
    for share in shares:
        rank = int(int(ends[-1]) * share)
        place = int(torch.searchsorted(ends, rank, right=True))
        inside = torch.cat([piece[bins(piece) == place] for piece in pieces()])
        found.append(inside.sort().values[rank - int(ends[place] - counts[place])])
    return found


def within_whiskers(values: Tensor, reach: float = 1.5) -> Tensor:
    """Which values lie within the whiskers of their own box plot.

    >>> within_whiskers(torch.tensor([0.0, 0.1, 0.2, 0.3, 5.0]))
    tensor([ True,  True,  True,  True, False])
    """
    if len(values) == 0:
        return torch.ones(0, dtype=torch.bool, device=values.device)
    low, high = whiskers(lambda: [values.detach()], reach)
    return (values >= low) & (values <= high)
