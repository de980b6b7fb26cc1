"""Pictures of several things at once: told apart first, then each judged among its own."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from fallow.images import Images
from fallow.inventory.groups import group
from fallow.methods.shared.crowd import Crowd
from fallow.methods.shared.oddness import Found, Tell, together

# mean silhouette of groups: pictures of one thing reach 0.18 on nine sets, of several 0.31 and 0.49
CLEAR = 0.25
LEAST = 12  # pictures of a group, below which it says little of itself
MOST = 8  # groups


def kinds(vectors: Tensor, seed: int = 0) -> np.ndarray | None:
    """The group of each picture where there are clear ones, all large enough; else None.

    >>> import torch
    >>> corners = torch.eye(3).repeat_interleave(14, 0)
    >>> np.bincount(kinds(corners + 0.01 * torch.rand(42, 3))).tolist()
    [14, 14, 14]
    >>> kinds(torch.randn(42, 16, generator=torch.Generator().manual_seed(0))) is None
    True
    """
    if len(vectors) < 2 * LEAST:
        return None
    centred = (vectors - vectors.mean(0)).float().numpy()
    if float(np.abs(centred).max()) < 1e-6:
        return None
    found = group(centred, most=MOST, seed=seed)
    sizes = np.bincount(found.member)
    if found.count < 2 or found.separation < CLEAR or sizes.min() < LEAST:
        return None
    return found.member


def within(
    judge: Crowd, images: Images, found: Found, member: np.ndarray, seed: int, tell: Tell
) -> Found:
    """Each picture judged among its own kind; all kinds on one scale of ordinary scores."""
    parts, middles, spreads = [], [], []
    for kind in range(int(member.max()) + 1):
        rows = np.sort(found.rows[member == kind])
        tell(f"kind {kind + 1}: {len(rows)} images")
        one, _ = judge.among(images.select(rows), seed, tell)
        low, middle, high = np.quantile(judge.image_scores(one.patches), [0.25, 0.5, 0.75])
        parts.append(one._replace(rows=rows[one.rows]))
        middles.append(float(middle))
        spreads.append(max(float(high - low), 1e-6))
    middle, spread = float(np.mean(middles)), float(np.median(spreads))
    scaled = [
        one._replace(
            patches=np.maximum((one.patches - mine) / own * spread + middle, 0).astype(np.float32)
        )
        for one, mine, own in zip(parts, middles, spreads, strict=True)
    ]
    return together(scaled)
