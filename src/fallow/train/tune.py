"""Time the ways a step can be run on this machine, for a moment, and keep the fastest."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fallow.device import fast_bf16
from fallow.files import atomic_write, cache_dir, fingerprint


@dataclass(frozen=True)
class Choice:
    """How the steps of a run are computed; kept with the run so that a resume repeats it."""

    precision: str = "32"  # or bf16
    channels_last: bool = False
    compile: bool = False

    def __str__(self) -> str:
        layout = "channels-last" if self.channels_last else "contiguous"
        return f"{self.precision}, {layout}{', compiled' if self.compile else ''}"

    def state(self) -> dict[str, object]:
        return asdict(self)


def choices(precision: str, compile: str, long: bool, device: torch.device) -> list[Choice]:
    """The allowed ways, the plainest first.

    >>> [str(c) for c in choices("32", "off", False, torch.device("cpu"))]
    ['32, contiguous', '32, channels-last']
    """
    if precision == "auto":
        precisions = ["32", "bf16"] if fast_bf16(device) else ["32"]
    else:
        precisions = [precision]
    compiled = {"on": [True], "off": [False], "auto": [False, True] if long else [False]}[compile]
    return [Choice(p, last, c) for c in compiled for p in precisions for last in (False, True)]


def apply_layout(module: nn.Module, choice: Choice) -> None:
    """Put the weights into the memory layout of a choice."""
    layout = torch.channels_last if choice.channels_last else torch.contiguous_format
    for parameter in module.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=layout)


def fastest(
    options: list[Choice],
    step: Callable[[Choice], None],
    *,
    synchronise: Callable[[], None] = lambda: None,
    repeats: int = 2,
    margin: float = 0.05,
) -> tuple[Choice, dict[str, float]]:
    """The fastest choice and the seconds of each; a later one must win by `margin`.

    >>> pace = {"32": 0.02, "bf16": 0.005}
    >>> best, seen = fastest(
    ...     [Choice("32"), Choice("bf16")], lambda c: time.sleep(pace[c.precision])
    ... )
    >>> best.precision
    'bf16'
    """
    seconds: dict[str, float] = {}
    best, best_time = options[0], float("inf")
    if len(options) == 1:
        return best, seconds
    for option in options:
        step(option)  # the first run allocates and, when compiled, compiles
        times = []
        for _ in range(repeats):
            synchronise()
            start = time.perf_counter()
            step(option)
            synchronise()
            times.append(time.perf_counter() - start)
        seconds[str(option)] = round(min(times), 5)
        if min(times) < best_time * (1 - margin):
            best, best_time = option, min(times)
    return best, seconds


def _note(device: torch.device, which: Any) -> Path:
    """Where the choice for this work on this machine is kept."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    machine = (platform.node(), name, torch.get_num_threads(), torch.__version__)
    key = fingerprint(json.dumps([machine, which], default=str, sort_keys=True).encode())
    return cache_dir() / "choices" / f"{key}.json"


def remembered(device: torch.device, which: Any, options: list[Choice]) -> Choice | None:
    """The choice made earlier for this work on this machine, if it is still allowed."""
    path = _note(device, which)
    if not path.exists():
        return None
    choice = Choice(**json.loads(path.read_text()))
    return choice if choice in options else None


def remember(device: torch.device, which: Any, choice: Choice) -> None:
    """Keep a choice for the next run of the same work."""
    path = _note(device, which)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(json.dumps(choice.state()).encode())
