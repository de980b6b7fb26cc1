"""How well fallow judges collections it has never seen, beside its peers, where truth is known."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from benchmarks.peer import Peer
from benchmarks.record import Line

QUESTIONS = ("copies", "labels", "strangers", "quality", "groups", "discover", "regions")


def run(data: Path, python: str, quick: bool) -> Iterator[tuple[str, list[Line]]]:
    """Every question, or those that the variable FALLOW_JUDGE names, separated by spaces."""
    with Peer(python, "judgement.py") as peers:
        for question in os.environ.get("FALLOW_JUDGE", "").split() or QUESTIONS:
            module = import_module(f"benchmarks.judgement.{question}")
            yield f"judgement_{question}", module.run(data, peers, quick)
