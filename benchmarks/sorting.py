"""Relaxed sorting networks per second, forward and backward, beside diffsort's."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peer import Peer
from benchmarks.record import Line, alternate, line, most_held, pin

WIRES = {11: 1, 13: 3, 32: 1}  # values a row: how many of them are positives
TARGETS = {"soft permutation": 3.0, "group loss": 3.0}


@dataclass(frozen=True)
class Amount:
    batch: int = 1024
    seconds: float = 2.0
    pairs: int = 7


QUICK = Amount(batch=1024, seconds=0.2, pairs=1)


def run(data: Path, python: str, quick: bool) -> list[Line]:
    amount = QUICK if quick else Amount()
    core = pin()
    lines = []
    with tempfile.TemporaryDirectory() as folder, Peer(python, "sorting.py", core=core) as peer:
        for wires, top in WIRES.items():
            stored = str(Path(folder) / "values.npz")
            draw = np.random.default_rng(wires)
            values = draw.normal(size=(amount.batch, wires)).astype(np.float32)
            weights = draw.normal(size=(amount.batch, wires, wires)).astype(np.float32)
            np.savez(stored, values=values, weights=weights)
            peer.ask(do="prepare", stored=stored, top=top)
            for name, target in TARGETS.items():
                step = prepare(name, values, weights, top)
                compare(step(), peer.ask(do="once", name=name)["gradient"])

                def ours(step: Callable[[], Any] = step) -> float:
                    return rate(step, amount)

                def theirs(name: str = name) -> float:
                    return peer.ask(do="rate", name=name, seconds=amount.seconds)["rate"]

                pairs = alternate(ours, theirs, amount.pairs)
                work = f"{name}, {wires} values, batch {amount.batch}: steps/s"
                peak = most_held()
                lines.append(line(work, "diffsort", peer.version, pairs, target, peak))
    return lines


def prepare(name: str, values: np.ndarray, weights: np.ndarray, top: int) -> Callable[[], Any]:
    """One forward and backward pass; it returns the gradient of the values."""
    import torch

    from fallow.losses.sorting import soft_sort, top_shares

    x, w = torch.from_numpy(values).requires_grad_(), torch.from_numpy(weights)

    def permutation() -> Any:
        return (soft_sort(x)[1] * w).sum()

    def group() -> Any:
        return (top_shares(x, top) * w[:, 0]).sum()

    made = {"soft permutation": permutation, "group loss": group}[name]

    def step() -> Any:
        x.grad = None
        made().backward()
        assert x.grad is not None
        return x.grad.numpy()

    return step


def compare(ours: np.ndarray, theirs: list[list[float]]) -> None:
    """Both sides must do the same work: the gradients of the first rows are equal."""
    expected = np.array(theirs)
    np.testing.assert_allclose(ours[: len(expected)], expected, rtol=1e-3, atol=1e-4)


def rate(step: Callable[[], Any], amount: Amount) -> float:
    done, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < amount.seconds:
        step()
        done += 1
    return done / (time.perf_counter() - begin)
