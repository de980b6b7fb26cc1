"""The process a run lives in: its devices and ranks, signals it hears, and the line it shows."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning_fabric import Fabric

from fallow.train.method import Settings
from fallow.train.sharded import strategy


def launch(
    devices: int | str = "auto", accelerator: str = "auto", *, sharded: bool = False
) -> Fabric:
    """Fabric for this process; under torchrun, one of its ranks, with a share of the weights."""
    world = int(os.environ.get("WORLD_SIZE", 1))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", world))
    many = world > 1
    # it recommends a switch for all of a program; auto tries the precisions itself
    logging.getLogger("lightning_fabric.utilities.rank_zero").setLevel(logging.WARNING)
    if not many and not torch.cuda.is_available() and devices == "auto":
        devices = 1
    fabric = Fabric(
        accelerator=accelerator,
        devices=local if many else devices,
        num_nodes=max(1, world // local),
        strategy="auto" if not many else strategy(world) if sharded else "ddp",
    )
    fabric.launch()
    return fabric


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """On a GPU, let the same steps give the same bits; a processor does so anyway."""
    if device.type != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when torch first multiplies
    before = torch.get_deterministic_debug_mode()
    memory: Any = torch.utils.deterministic
    fill = memory.fill_uninitialized_memory
    attention = torch.backends.cuda.mem_efficient_sdp_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    memory.fill_uninitialized_memory = False  # nothing here reads such memory
    torch.backends.cuda.enable_mem_efficient_sdp(False)  # its gradients are not the same twice
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)
        memory.fill_uninitialized_memory = fill
        torch.backends.cuda.enable_mem_efficient_sdp(attention)


@contextmanager
def stop_on_signal() -> Iterator[Callable[[], int | None]]:
    """Turn SIGINT and SIGTERM into a question the loop can ask between steps."""
    seen: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    wanted = (signal.SIGINT, signal.SIGTERM)
    before = {which: signal.signal(which, lambda s, _: seen.append(s)) for which in wanted}
    try:
        yield lambda: seen[0] if seen else None
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)


@contextmanager
def progress_line(settings: Settings, total_steps: int) -> Iterator[Callable[..., None]]:
    """A progress line with images/s and time left."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    start = time.perf_counter()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, transient=True) as progress:
        task = progress.add_task("starting", total=1.0)
        seen = 0

        def show(step: int, elapsed: float, loss: float, batch: int) -> None:
            nonlocal seen
            seen += batch
            spent = time.perf_counter() - start
            if settings.minutes is not None:
                share = min(1.0, elapsed / (60 * settings.minutes))
            else:
                share = step / max(1, total_steps)
            left = elapsed * (1 - share) / max(share, 1e-6)
            text = f"loss {loss:.3f}  {seen / spent:.0f} images/s  {left / 60:.1f} min left"
            progress.update(task, completed=share, description=text)

        yield show
