"""Processes known by number and birth, so that a number used again is never taken for them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path


def born(pid: int) -> str:
    """When a process began, as the system has it; empty if there is none (any more).

    >>> born(os.getpid()) == born(os.getpid()) != ""
    True
    >>> born(2**22 + 1)
    ''
    """
    if pid <= 0:
        return ""
    if not Path("/proc/self/stat").exists():
        words = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
        found = subprocess.run(words, capture_output=True, text=True, check=False).stdout
        return "" if found.startswith("Z") else found.partition(" ")[2].strip()
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
        # ticks are counted from the start of the machine, so they need its name
        machine = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()  # a program's name may hold anything
    return "" if fields[0] in "ZX" else f"{machine} {fields[19]}"


def end(pid: int, birth: str, *, at_once: bool = False) -> None:
    """Ask a process and all it started to end, or end them; one born at another time is spared."""
    if not birth or born(pid) != birth:
        return
    with contextlib.suppress(ProcessLookupError):  # it ended by itself meanwhile
        os.killpg(pid, signal.SIGKILL if at_once else signal.SIGTERM)
