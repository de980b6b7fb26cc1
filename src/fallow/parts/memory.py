"""What training remembers between steps: queues and a bank, saved and resumed as buffers.

With several ranks every update gathers the rows of all of them, so the memories are equal on all
ranks and one rank's checkpoint is complete.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fallow.distributed import gather, rank, world_size


def whole_batches(length: int, batch: int) -> int:
    """The longest queue, at most `length`, that whole batches (of all ranks together) fill.

    >>> whole_batches(3840, 256), whole_batches(100, 32)
    (3840, 96)
    """
    return length - length % batch


def queue_length(wanted: int, batch: int, images: int) -> int:
    """A ring for keys of `images` images: whole batches, one at least, and no more than `wanted`.

    Longer than half a pass it would mostly hold older keys of the very images that ask.

    >>> queue_length(4096, 256, 50_000), queue_length(4096, 64, 500), queue_length(4096, 64, 70)
    (4096, 192, 64)
    """
    return max(batch, whole_batches(min(wanted, images // 2), batch))


class Queue(nn.Module):
    """MoCo's ring of past keys: starts with random unit rows, the oldest are overwritten.

    >>> queue = Queue(4, 2)
    >>> queue.enqueue(torch.ones(3, 2))
    >>> queue.keys[:3].sum(), int(queue.pointer)
    (tensor(6.), 3)
    """

    keys: Tensor
    pointer: Tensor

    def __init__(self, length: int, dimension: int, seed: int = 0) -> None:
        super().__init__()
        self.register_buffer("keys", _random_rows(length, dimension, seed))  # L D
        self.register_buffer("pointer", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def enqueue(self, keys: Tensor) -> None:
        """Write the keys (B, D) of all ranks at the pointer, wrapping round."""
        keys, length = gather(keys), len(self.keys)
        slots = (self.pointer + torch.arange(len(keys), device=self.keys.device)) % length
        # a batch longer than the ring leaves its newest keys
        self.keys[slots[-length:]] = keys[-length:].to(self.keys.dtype)
        self.pointer.copy_((self.pointer + len(keys)) % length)


class FrontQueue(nn.Module):
    """SwAV's queue of past embeddings, one per assigned crop: newest in front, used once full.

    >>> queue = FrontQueue(2, 3)
    >>> queue.enqueue(torch.ones(1, 1, 3))
    >>> bool(queue.full), queue.rows[0, :, 0]
    (False, tensor([1., 0.]))
    """

    rows: Tensor
    filled: Tensor

    def __init__(self, length: int, dimension: int, crops: int = 1) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros(crops, length, dimension))  # A L D
        self.register_buffer("filled", torch.zeros((), dtype=torch.long))

    @property
    def full(self) -> bool:
        """Whether real embeddings have reached the last slot; do not use the rows before."""
        return bool(self.filled >= self.rows.shape[1])

    def share(self) -> Tensor:
        """This rank's part (A, L / ranks, D); together the ranks hold every row once."""
        return self.rows[:, rank() :: world_size()]

    @torch.no_grad()
    def enqueue(self, embeddings: Tensor) -> None:
        """Put the embeddings (A, B, D) of all ranks in front; as many fall off the end."""
        fresh = gather(embeddings.transpose(0, 1)).transpose(0, 1).to(self.rows.dtype)
        length = self.rows.shape[1]
        self.rows.copy_(torch.cat([fresh, self.rows], 1)[:, :length])
        self.filled.add_(fresh.shape[1]).clamp_(max=length)


class Bank(nn.Module):
    """One unit row and one label per training image, found by the image's index.

    `momentum` is the weight of the new feature; 1 replaces. Label -1 means none yet.

    >>> bank = Bank(4, 2, momentum=0.5)
    >>> bank.fill(torch.eye(2).repeat(2, 1))
    >>> bank.update(torch.tensor([0]), torch.tensor([[0.0, 1.0]]))
    >>> bank.features[0]
    tensor([0.7071, 0.7071])
    """

    features: Tensor
    labels: Tensor

    def __init__(self, images: int, dimension: int, momentum: float = 1.0, seed: int = 0) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("features", _random_rows(images, dimension, seed))  # N D
        self.register_buffer("labels", torch.full((images,), -1))  # N

    @torch.no_grad()
    def fill(self, features: Tensor, labels: Tensor | None = None) -> None:
        """Set every row (and label) at once; every rank passes the same whole arrays."""
        self.features.copy_(F.normalize(features.to(self.features), dim=1, eps=1e-12))
        if labels is not None:
            self.labels.copy_(labels)

    @torch.no_grad()
    def update(self, indices: Tensor, features: Tensor, labels: Tensor | None = None) -> None:
        """Blend the batches (B, D) of all ranks into their images' rows, and set labels."""
        indices, features = gather(indices), gather(features).to(self.features.dtype)
        blend = torch.lerp(self.features[indices], features, self.momentum)
        self.features[indices] = F.normalize(blend, dim=1, eps=1e-12)
        if labels is not None:
            self.labels[indices] = gather(labels)


class Clusters(nn.Module):
    """A bank whose images lie in live clusters, moved batch by batch (InterCLR, ODC).

    Centroids are means of unit rows and are not scaled to length 1, so that a compact cluster
    attracts more. Clusters with fewer than `smallest` images are dissolved by `repair`.

    >>> clusters = Clusters(4, 2, count=2)
    >>> clusters.start(torch.eye(2).repeat_interleave(2, 0), torch.tensor([0, 0, 1, 1]))
    >>> changed = clusters.update(torch.tensor([0]), torch.tensor([[0.0, 3.0]]))
    >>> float(changed), clusters.labels.tolist()
    (1.0, [1, 0, 1, 1])
    """

    centroids: Tensor

    def __init__(
        self, images: int, dimension: int, count: int, smallest: int = 1, momentum: float = 1.0
    ) -> None:
        super().__init__()
        self.smallest = smallest
        self.bank = Bank(images, dimension, momentum)
        self.register_buffer("centroids", torch.zeros(count, dimension))  # K D

    @property
    def features(self) -> Tensor:
        return self.bank.features  # N D

    @property
    def labels(self) -> Tensor:
        return self.bank.labels  # N

    @property
    def sizes(self) -> Tensor:
        """How many images each cluster holds (K)."""
        return torch.bincount(self.labels[self.labels >= 0], minlength=len(self.centroids))

    @torch.no_grad()
    def start(self, features: Tensor, labels: Tensor) -> None:
        """Set the first rows of the bank and their clusters; rows beyond them stay empty."""
        count = len(features)
        features = features.to(self.features)
        self.features[:count] = F.normalize(features, dim=1, eps=1e-12)
        self.labels[:count] = labels.to(self.labels)
        self.recentre()

    @torch.no_grad()
    def update(self, indices: Tensor, features: Tensor) -> Tensor:
        """Write the batches of all ranks, and move their images to the nearest centroids.

        Returns the share of the batch that changed its cluster.
        """
        self.write(indices, features)
        indices = gather(indices)
        with torch.autocast(self.centroids.device.type, enabled=False):
            labels = (self.features[indices] @ self.centroids.T).argmax(1)
        changed = (labels != self.labels[indices]).float().mean()
        self.labels[indices] = labels
        return changed

    def mates(self, indices: Tensor) -> Tensor:
        """For each image a random one of its cluster (B), at times itself."""
        own = self.labels[indices]
        order = self.labels.argsort()
        sizes = torch.bincount(self.labels + 1, minlength=len(self.centroids) + 1)  # -1 comes first
        first = (sizes.cumsum(0) - sizes)[own + 1]
        chance = torch.rand(len(own), device=own.device)
        return order[first + (chance * sizes[own + 1]).long()]

    def write(self, indices: Tensor, features: Tensor) -> None:
        """Blend features (B, D), scaled to length 1, into the bank; clusters stay as they are."""
        self.bank.update(indices, F.normalize(features.to(self.features), dim=1, eps=1e-12))

    @torch.no_grad()
    def recentre(self, which: Tensor | None = None) -> None:
        """Centroids become the means of their images; one without images stays where it was."""
        known = self.labels >= 0 if which is None else torch.isin(self.labels, which)
        labels = self.labels[known]
        sums = torch.zeros_like(self.centroids).index_add_(0, labels, self.features[known])
        sizes = torch.bincount(labels, minlength=len(self.centroids))[:, None]
        self.centroids.copy_(torch.where(sizes > 0, sums / sizes.clamp(min=1), self.centroids))

    @torch.no_grad()
    def repair(self) -> int:
        """Dissolve small clusters and give each the half of the largest; returns how many.

        The images of a small cluster go to the best of the others; then every empty cluster in
        turn takes one half of the largest, cut by 2-means, and both are centred anew.
        """
        sizes = self.sizes
        small = (sizes < self.smallest).nonzero().flatten()
        if len(small) == len(sizes):  # one must stay to take the others in
            small = small[small != sizes.argmax()]
        if len(small) == 0:
            return 0
        homeless = torch.isin(self.labels, small)
        scores = self.features[homeless] @ self.centroids.T
        scores[:, small] = -torch.inf
        self.labels[homeless] = scores.argmax(1)
        for empty in small:
            largest = self.sizes.argmax()
            rows = (self.labels == largest).nonzero().flatten()
            if len(rows) < 2:
                break
            self.labels[rows[_second_half(self.features[rows])]] = empty
            self.recentre(torch.stack([largest, empty]))
        return len(small)


def _second_half(features: Tensor) -> Tensor:
    """Which rows form the second of two clusters; every other one if they cannot be told apart."""
    import warnings

    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # equal rows: handled below
        means = KMeans(2, random_state=0, max_iter=20, n_init=1).fit(features.cpu().numpy())
    second = torch.from_numpy(means.labels_ == 1).to(features.device)
    if second.all() or not second.any():
        second = torch.arange(len(second), device=features.device) % 2 == 1
    return second


def _random_rows(rows: int, dimension: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(rows, dimension, generator=generator), dim=1)
