"""Pictures as numbers from a small book of patches, and back."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from fallow.encoders.vit import patchify, unpatchify
from fallow.problems import SettingProblem


class PatchCodes(nn.Module):
    """A book of patches (V, 3 P P), values in 0 ... 1; a picture is the nearest entry everywhere.

    >>> codes = PatchCodes(torch.stack([torch.zeros(12), torch.ones(12)]), patch=2)
    >>> codes.read(torch.ones(1, 3, 4, 4)).tolist()
    [[1, 1, 1, 1]]
    """

    book: Tensor

    def __init__(self, book: Tensor, patch: int) -> None:
        super().__init__()
        self.register_buffer("book", book)
        self.patch = patch

    @property
    def size(self) -> int:
        return len(self.book)

    @torch.no_grad()
    def read(self, pictures: Tensor) -> Tensor:
        """Numbers of pictures (B 3 S S).  B L"""
        patches = patchify(pictures, self.patch).to(self.book)
        return torch.cdist(patches, self.book.expand(len(patches), -1, -1)).argmin(2)

    def write(self, numbers: Tensor, side: int) -> Tensor:
        """Pictures of numbers (B L).  B 3 S S"""
        grid = side // self.patch
        return unpatchify(self.book[numbers], (grid, grid), self.patch)


def learnt_codes(pictures: Tensor, size: int, patch: int, seed: int = 0) -> PatchCodes:
    """A book of `size` patches from pictures (N 3 S S in 0 ... 1): the centres of k-means."""
    from fallow.vectors.space import kmeans

    if pictures.shape[2] % patch or pictures.shape[3] % patch:
        raise SettingProblem(f"pictures of {pictures.shape[2]} px hold no whole patches of {patch}")
    patches = patchify(pictures, patch).flatten(0, 1).numpy().astype(np.float32)
    distinct = len(np.unique(patches.round(4), axis=0))
    most = np.random.default_rng(seed).permutation(len(patches))[: 200 * size]
    centres, _ = kmeans(patches[most], min(size, distinct), rounds=30, seed=seed)
    return PatchCodes(torch.from_numpy(np.asarray(centres, np.float32)), patch)
