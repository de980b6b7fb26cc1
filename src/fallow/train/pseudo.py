"""Pseudo-classes before any training: a denoising autoencoder, then k-means on its bottleneck."""

from __future__ import annotations

import copy
import time
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fallow.distributed import from_first, rank
from fallow.encoders.autoencoder import Autoencoder
from fallow.vectors.space import kmeans
from fallow.views import identity, render

if TYPE_CHECKING:
    from fallow.images import Pack

BATCH = 64
SAMPLE = 5000  # images the autoencoder learns from, at most


def pseudo_classes(
    pack: Pack,
    count: int,
    *,
    side: int = 32,
    width: int = 16,
    noise: float = 0.1,
    epochs: int = 10,
    patience: int = 2,
    seconds: float | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> np.ndarray:
    """A pseudo-class for every entry of a pack: `count` of them, or fewer for few images.

    A class has at least two images on average. With several ranks the first does the work.

    >>> from fallow.images.samples import shapes
    >>> classes = pseudo_classes(shapes(40, seed=0, side=24).pack(32), 8, epochs=1)
    >>> len(classes), len(np.unique(classes))
    (40, 8)
    """
    classes = None
    if rank() == 0:
        network = denoising_autoencoder(
            pack,
            side=side,
            width=width,
            noise=noise,
            epochs=epochs,
            patience=patience,
            seconds=seconds,
            seed=seed,
            device=device,
        )
        vectors = embedded(network, pack, side=side, device=device)
        classes = kmeans(vectors, max(1, min(count, len(pack) // 2)), seed=seed)[1]
    return np.asarray(from_first(classes))


def denoising_autoencoder(
    pack: Pack,
    *,
    side: int,
    width: int,
    noise: float,
    epochs: int,
    patience: int,
    seconds: float | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> Autoencoder:
    """Learn to restore pictures to which noise was added; the best weights on a tenth held out.

    Ends after `epochs`, after `patience` epochs without a better result, or after `seconds`.
    """
    with torch.random.fork_rng():  # the weights and the noise draw from the global state
        torch.manual_seed(seed)
        draw = np.random.default_rng(seed)
        rows = draw.permutation(len(pack))[:SAMPLE]
        held_out, learnt = np.split(rows, [max(1, len(rows) // 10)])
        network = Autoencoder(width).to(device)
        optimiser = torch.optim.Adam(network.parameters())
        best, least, worse = copy.deepcopy(network.state_dict()), float("inf"), 0
        begin = time.perf_counter()
        for _ in range(epochs):
            network.train()
            learnt = draw.permutation(learnt)
            for start in range(0, len(learnt), BATCH):
                clean = _pixels(pack, learnt[start : start + BATCH], side).to(device)
                noisy = clean + noise * torch.randn(clean.shape).to(device)
                optimiser.zero_grad()
                F.mse_loss(network(noisy), clean).backward()
                optimiser.step()
            error = _error(network, pack, held_out, side, device)
            worse = 0 if error < least else worse + 1
            if error < least:
                best, least = copy.deepcopy(network.state_dict()), error
            if worse > patience or (seconds is not None and time.perf_counter() - begin > seconds):
                break
        network.load_state_dict(best)
        return network.eval()


@torch.no_grad()
def embedded(
    network: Autoencoder, pack: Pack, *, side: int, device: str | torch.device = "cpu"
) -> np.ndarray:
    """The autoencoder's embedding of every entry of a pack (N, D)."""
    network.eval()
    parts = [
        network.embed(_pixels(pack, rows, side).to(device)).cpu()
        for rows in _blocks(np.arange(len(pack)))
    ]
    return torch.cat(parts).numpy()


@torch.no_grad()
def _error(
    network: Autoencoder, pack: Pack, rows: np.ndarray, side: int, device: str | torch.device
) -> float:
    network.eval()
    total = 0.0
    for some in _blocks(rows):
        clean = _pixels(pack, some, side).to(device)
        total += float(F.mse_loss(network(clean), clean)) * len(some)
    return total / len(rows)


def _blocks(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[start : start + 256] for start in range(0, len(rows), 256)]


def _pixels(pack: Pack, rows: np.ndarray, side: int) -> Tensor:
    """Whole pictures, or the central square of oblong ones, with values in [0, 1]."""
    return render(pack, rows, identity(side), seed=0, epoch=0).views[0]
