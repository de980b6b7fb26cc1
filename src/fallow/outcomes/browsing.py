"""The studio on a result, in a process of its own: a notebook goes on while one looks."""

from __future__ import annotations

import atexit
import html
import subprocess
import sys
from pathlib import Path

from fallow.problems import SourceProblem


class Browsed:
    """A studio that is running: `.address` opens it, `.stop()` or Python's end ends it."""

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self.process, self.address = process, address
        atexit.register(self.stop)

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(10)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        atexit.unregister(self.stop)

    def __repr__(self) -> str:
        return f"studio at {self.address}"

    def _repr_html_(self) -> str:
        where = html.escape(self.address)
        return f'<a href="{where}" target="_blank" rel="noopener noreferrer">open the studio</a>'


def browsed(folder: Path, pictures: str = "", *, browser: bool = True) -> Browsed:
    """Start the studio on a saved run, whose pictures are at that address, and open a browser."""
    words = [sys.executable, "-m", "fallow", "studio", str(folder)]
    words += ["--pictures", pictures] if pictures else []
    words += [] if browser else ["--no-browser"]
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    first = process.stdout.readline()
    _, found, address = first.rstrip().partition(" pictures at ")
    if not found:
        said = process.stderr.read().strip().splitlines() or ["it ended without a word"]
        raise SourceProblem(f"the studio did not start: {said[-1].removeprefix('fallow: ')}")
    return Browsed(process, address)
