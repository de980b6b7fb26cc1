"""Runs one after another, kept on disk: they outlive the page and the server they were asked by.

`queue.json` holds what was asked for and how it stands; whoever changes it holds `queue.lock`. One
worker (`fallow.studio.worker`) holds `worker.lock` as long as it lives, and takes and gives it up
only while it holds `queue.lock` too: so two servers share one worker, and no run is added in the
moment in which a worker leaves. A worker that is killed leaves its run running; the next one
takes that over.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

from fallow.files import atomic_write, locked
from fallow.problems import Problem

State = Literal["queued", "running", "done", "failed", "stopped"]
PATIENCE = 10.0  # seconds between looks whether a worker is there


class Run(BaseModel):
    """What was asked for, and how it stands."""

    model_config = ConfigDict(frozen=True)

    id: str
    verb: str
    given: dict[str, Any]  # as the form has it
    words: list[str]  # as a shell would say it
    cwd: str  # what names in `words` are relative to
    out: str  # where it writes; empty where a verb writes nothing
    added: float
    state: State = "queued"
    stopping: bool = False
    began: float | None = None
    ended: float | None = None
    spent: float = 0.0  # seconds of earlier sessions
    code: int | None = None
    sentence: str = ""  # for the user, when it did not end well

    @property
    def folder(self) -> Path | None:
        """Where it writes, if it does."""
        return Path(self.cwd) / self.out if self.out else None

    @property
    def seconds(self) -> float:
        """How long it has worked, over all its sessions."""
        if self.began is None:
            return self.spent
        return self.spent + (self.ended or time.time()) - self.began


_RUNS = TypeAdapter(list[Run])


class Queue:
    """The runs of one place, in the order in which they are worked off."""

    def __init__(self, place: Path, module: str = "fallow") -> None:
        self.place = place
        self.module = module  # whose command line runs
        self._called = 0.0
        (place / "runs").mkdir(parents=True, exist_ok=True)

    # --- what everybody may ask ---

    def runs(self) -> list[Run]:
        """All of them, as they stand."""
        try:
            return _RUNS.validate_json((self.place / "queue.json").read_bytes())
        except FileNotFoundError:
            return []

    def run(self, id: str) -> Run:
        """One of them."""
        for run in self.runs():
            if run.id == id:
                return run
        raise Problem("this run is not in the queue any more: look at the list again")

    def files(self, run: Run) -> Path:
        """The folder of what the queue knows of a run: stdout, stderr, its process, its end."""
        return self.place / "runs" / run.id

    # --- what the user asks for ---

    def add(self, verb: str, given: Mapping[str, Any], words: Sequence[str], out: str = "") -> Run:
        """Put a run at the end of the queue, and see that somebody works it off."""
        if sys.platform == "win32":
            raise Problem("runs are started from the shell on Windows: copy the command")
        run = Run(
            id=secrets.token_hex(6), verb=verb, given=dict(given), words=list(words),
            cwd=os.getcwd(), out=out, added=time.time(),
        )  # fmt: skip
        with self.changing() as runs:
            for other in runs:
                if out and other.folder == run.folder and other.state in ("queued", "running"):
                    raise Problem(f"{out} is written by a run in the queue: choose another out")
            self.files(run).mkdir()
            runs.append(run)
        self.wake()
        return run

    def stop(self, id: str) -> None:
        """A queued run leaves the queue; one that works is asked to save and end."""
        with self.changing() as runs:
            place, run = _found(runs, id)
            if run.state == "running":
                runs[place] = run.model_copy(update={"stopping": True})
            elif run.state == "queued":
                runs[place] = run.model_copy(update={"state": "stopped"})
        self.wake()

    def resume(self, id: str) -> None:
        """Put an ended run at the end of the queue again, with the same words."""
        with self.changing() as runs:
            place, run = _found(runs, id)
            if run.state in ("queued", "running"):
                raise Problem("this run is in the queue already")
            del runs[place]
            clean = {"state": "queued", "stopping": False, "code": None, "sentence": ""}
            clean |= {"spent": run.seconds, "began": None, "ended": None}
            runs.append(run.model_copy(update=clean))
        self.wake()

    def remove(self, id: str) -> None:
        """Forget a run and what it said; what it wrote into its out folder stays."""
        with self.changing() as runs:
            place, run = _found(runs, id)
            if run.state == "running":
                raise Problem("this run is working: stop it first")
            del runs[place]
            shutil.rmtree(self.files(run), ignore_errors=True)

    def order(self, ids: Sequence[str]) -> None:
        """Work off the queued runs in this order; those not named keep theirs, behind."""
        with self.changing() as runs:
            waiting = [run for run in runs if run.state == "queued"]
            rank = {id: place for place, id in enumerate(ids)}
            waiting.sort(key=lambda run: rank.get(run.id, len(rank)))
            following = iter(waiting)
            runs[:] = [next(following) if run.state == "queued" else run for run in runs]

    def wake(self) -> None:
        """See that a worker is there, if there is work; one too many leaves by itself."""
        self._called = time.monotonic()
        if all(run.state not in ("queued", "running") for run in self.runs()):
            return
        with self.held(), locked(self.place / "worker.lock", wait=False) as nobody:
            if not nobody:
                return
        with (self.place / "worker.log").open("ab") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", "fallow.studio.worker", str(self.place), self.module],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment(),
                start_new_session=True,
            )  # fmt: skip
        # somebody has to be told of its end, or the system keeps its number
        threading.Thread(target=worker.wait, daemon=True).start()

    def look(self) -> list[Run]:
        """The runs, for whoever looks again and again; a worker that was killed is replaced."""
        if time.monotonic() - self._called > PATIENCE:
            self.wake()
        return self.runs()

    # --- what the worker does ---

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else changes the queue meanwhile."""
        with locked(self.place / "queue.lock"):
            yield

    @contextmanager
    def changing(self) -> Iterator[list[Run]]:
        """The runs, to be changed in place: written when the block ends well."""
        with self.held():
            runs = self.runs()
            yield runs
            self.write(runs)

    def write(self, runs: list[Run]) -> None:
        """Whole or not at all; only for whoever holds the lock."""
        with atomic_write(self.place / "queue.json") as file:
            file.write(_RUNS.dump_json(runs, indent=1))

    def update(self, id: str, **values: Any) -> None:
        """Say how a run stands."""
        with self.changing() as runs:
            place, run = _found(runs, id)
            runs[place] = run.model_copy(update=values)


def _found(runs: Sequence[Run], id: str) -> tuple[int, Run]:
    for place, run in enumerate(runs):
        if run.id == id:
            return place, run
    raise Problem("this run is not in the queue any more: look at the list again")


def environment() -> dict[str, str]:
    """For processes of the queue: this fallow, and no module of the folder they happen to be in."""
    root = str(Path(__file__).parents[2])
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    said = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}
    return {**os.environ, **said}
