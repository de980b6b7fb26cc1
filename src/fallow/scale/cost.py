"""What a job will take, before it is begun: hours of vectors, and the blocks of a join played."""

from __future__ import annotations

import heapq
from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """What one worker was measured to do."""

    images: float  # decoded and encoded, per second
    products: float  # of vectors with vectors, multiply-adds per second
    load: float  # bytes of vectors read per second
    start: float = 0.0  # seconds until a worker is ready for its first part


def hours(images: float, workers: int, speed: Measured) -> float:
    """Hours of `embed` over so many images.

    >>> round(hours(1e6, 10, Measured(images=100, products=1e9, load=1e8)), 2)
    0.28
    """
    return (images / workers / speed.images + speed.start) / 3600


def price(images: float, speed: Measured, worker_hour: float) -> float:
    """What that costs where a worker's hour costs so much; their number does not matter.

    >>> price(3.6e5, Measured(images=100, products=1e9, load=1e8), 0.05)
    0.05
    """
    return images / speed.images / 3600 * worker_hour


def join_seconds(rows: int, width: int, part: int, workers: int, speed: Measured) -> float:
    """Seconds of the exact join of `rows` vectors of `width` numbers, in parts of `part` rows.

    Played part by part: each is taken by the worker that is free first, which reads all parts and
    multiplies with them. The last ones leave workers idle, which a formula would not see.

    >>> speed = Measured(images=1, products=1e9, load=1e9)
    >>> join_seconds(4000, 100, 1000, 2, speed) > join_seconds(4000, 100, 1000, 4, speed)
    True
    """
    sizes = [min(part, rows - start) for start in range(0, rows, part)]
    free = [speed.start] * workers
    for size in sizes:
        begun = heapq.heappop(free)
        reading = 4 * width * (rows + size) / speed.load
        heapq.heappush(free, begun + reading + size * rows * width / speed.products)
    return max(free)


def memory(width: int, part: int, k: int) -> int:
    """Bytes of vectors and lists that one worker of a join holds, however many rows there are.

    Two parts as numbers, one of them once more as it is read, and the lists.

    >>> memory(384, 1024, 10)
    4800512
    """
    return 4 * width * part * 3 + part * k * 8
