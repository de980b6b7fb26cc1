"""Short-time spectra of sound and back, and their rows by the logarithm of the frequency."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

BEND = 21.0  # how strongly rows are bent towards low frequencies


def spectrum(samples: Tensor, size: int = 1024, hop: int = 256) -> Tensor:
    """Complex spectra (B F T) of samples (B N), zeros before and after.

    >>> spectrum(torch.zeros(1, 1024), 64, 16).shape
    torch.Size([1, 33, 65])
    """
    window = torch.hann_window(size, device=samples.device, dtype=samples.dtype)
    return torch.stft(
        samples, size, hop, window=window, center=True, pad_mode="constant", return_complex=True
    )


def sound(spectra: Tensor, size: int = 1024, hop: int = 256, length: int | None = None) -> Tensor:
    """Samples (B N) of complex spectra (B F T).

    >>> samples = torch.randn(1, 640)
    >>> bool(sound(spectrum(samples, 64, 16), 64, 16, 640).allclose(samples, atol=1e-5))
    True
    """
    window = torch.hann_window(size, device=spectra.device, dtype=spectra.real.dtype)
    return torch.istft(spectra, size, hop, window=window, center=True, length=length)


def bent_rows(count: int) -> Tensor:
    """Where rows of a bent spectrum are read from, -1 ... 1."""
    y = torch.linspace(-1, 1, count)
    return (BEND ** ((y + 1) / 2) - 11) / 10


def straight_rows(count: int) -> Tensor:
    """Where rows of a straight spectrum are read from in a bent one, -1 ... 1."""
    y = torch.linspace(-1, 1, count)
    return torch.log(10 * y + 11) / math.log(BEND) * 2 - 1


def bent(magnitude: Tensor, rows: int = 256) -> Tensor:
    """Magnitudes or masks (B 1 F T) with so many rows, dense at low frequencies."""
    return _read(magnitude, bent_rows(rows))


def straight(values: Tensor, rows: int = 513) -> Tensor:
    """What `bent` made (B 1 R T), with rows of equal width again."""
    return _read(values, straight_rows(rows))


def _read(values: Tensor, rows: Tensor) -> Tensor:
    time = torch.linspace(-1, 1, values.shape[3])
    grid = torch.stack(
        [time[None].expand(len(rows), -1), rows[:, None].expand(-1, len(time))], 2
    ).to(values)
    return F.grid_sample(
        values, grid[None].expand(len(values), -1, -1, -1), mode="bilinear", align_corners=True
    )
