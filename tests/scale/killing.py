"""Kills a worker of Ray at a random moment of a job."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def one_killed(seed: int) -> Iterator[list[int]]:
    """SIGKILL to one process that is on a part; yields who it was, once it was."""
    chance, killed, over = random.Random(seed), [], threading.Event()

    def kill() -> None:
        wait = chance.uniform(0.02, 0.3)
        while not killed and not over.wait(wait):
            wait = 0.005  # from then on the first that is busy: on a fast machine few are for long
            if busy := at_work():
                killed.append(chance.choice(busy))
                os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield killed
    finally:
        over.set()
        killer.join()


def at_work() -> list[int]:
    """Processes of this test's Ray that are on a part just now."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if (path / "cmdline").read_text().startswith("ray::Map"):
                told = (path / "environ").read_text().split("\0")
                (raylet,) = (w.partition("=")[2] for w in told if w.startswith("RAY_RAYLET_PID="))
                if Path(f"/proc/{raylet}/stat").read_text().split()[3] == str(os.getpid()):
                    found.append(int(path.name))
        except (OSError, ValueError):  # noqa: PERF203 (gone meanwhile, or no worker)
            continue
    return found
