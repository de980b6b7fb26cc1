"""A peer's worker process: started in the peers' own interpreter, asked over JSON lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.record import cores
from fallow.problems import Problem

# memory that is freed goes back at once, so that the peak is what was held and not luck
AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
SCRIPTS = Path(__file__).resolve().parent / "peers"


class Peer(AbstractContextManager["Peer"]):
    """One persistent worker; `ask` waits for its answer. One thread and one core if `core` is set.

    The worker inherits only what a program needs to start: the peers' packages must not see
    this interpreter's path.
    """

    def __init__(self, python: str, script: str, *, core: int | None = None) -> None:
        threads = cores() if core is None else 1
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("PYTHON")
        } | thread_settings(threads)
        environment |= {"PYTHONWARNINGS": "ignore", "NO_ALBUMENTATIONS_UPDATE": "1"}

        def pin() -> None:
            if core is not None and hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(0, {core})

        try:
            self._process = subprocess.Popen(
                [python, str(SCRIPTS / script)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
                preexec_fn=pin,
            )
        except OSError as error:
            raise Problem(f"the peers' interpreter {python} does not start: {error}") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self.script = script
        self.version = str(self.ask(do="version")["version"])

    def ask(self, **request: Any) -> dict[str, Any]:
        try:
            self._requests.write(json.dumps(request) + "\n")
            self._requests.flush()
            answer = self._answers.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise Problem(
                f"the peer {self.script} stopped; its last words are above. "
                "benchmarks/README.md says how the peers' environment is made"
            )
        return json.loads(answer)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._requests.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._answers.close()


def told_by(module: str, *words: object, settings: dict[str, str] | None = None) -> float:
    """What a benchmark prints as a fresh process, on one thread unless told otherwise."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *map(str, words)],
        cwd=SCRIPTS.parent.parent,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | (thread_settings(1) if settings is None else settings),
    )
    return float(json.loads(done.stdout))


def thread_settings(threads: int) -> dict[str, str]:
    """Environment that holds the numerical libraries to so many threads."""
    names = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "NUMBA")
    return {f"{name}_NUM_THREADS": str(threads) for name in names}


def whole(command: list[str], cache: str) -> tuple[float, float]:
    """Run a process to its end with an empty cache: seconds, peak memory in MB."""
    environment = os.environ | {"FALLOW_CACHE": f"{cache}/cache", "SENTRY_OPT_OUT": "1"}
    if command[0] != sys.executable:
        environment.pop("PYTHONPATH", None)
    begin = time.perf_counter()
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=words, stderr=words, env=environment
        )
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            words.seek(0)
            tail = words.read().decode(errors="replace")[-800:]
            raise Problem(f"{Path(command[0]).name} ended with {process.returncode}: {tail}")
    return seconds, used.ru_maxrss / 1024
