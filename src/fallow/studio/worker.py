"""What works off a queue, in a process of its own: `python -m fallow.studio.worker PLACE MODULE`.

It ends when there is nothing left to do. A run it finds running belonged to a worker that was
killed: it waits for that one as for its own.
"""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from fallow.files import locked, read_json, write_json
from fallow.studio import processes
from fallow.studio.queue import Queue, Run, environment

BEAT = 0.2  # seconds between looks
GRACE = 60.0  # seconds a run has to save itself
HATCHING = 10.0  # seconds a process has to say who it is


def work(queue: Queue) -> None:
    """Work off the queue, unless somebody does."""
    with ExitStack() as shift:
        with queue.held():
            lock = locked(queue.place / "worker.lock", wait=False)
            if not shift.enter_context(lock):
                return
        while True:
            with queue.held():
                runs = queue.runs()
                left = [run for run in runs if run.state == "running"]
                waiting = [run for run in runs if run.state == "queued"]
                if not left and not waiting:
                    shift.close()  # while nobody can add one
                    return
            if left:
                attend(queue, left[0], None)
            else:
                attend(queue, waiting[0], start(queue, waiting[0]))


def start(queue: Queue, run: Run) -> subprocess.Popen[bytes] | None:
    """Begin a run; None if that cannot be, or is not wanted any more."""
    files = queue.files(run)
    with queue.changing() as runs:
        place = next((k for k, r in enumerate(runs) if r.id == run.id and r.state == "queued"), -1)
        if place < 0:
            return None
        for name in ("process.json", "ended.json"):
            (files / name).unlink(missing_ok=True)
        runs[place] = run.model_copy(update={"state": "running", "began": time.time()})
    words = [sys.executable, "-m", "fallow.studio.turn", str(files), queue.module]
    with (files / "stdout").open("ab") as out, (files / "stderr").open("ab") as err:
        try:
            return subprocess.Popen(
                [*words, run.verb, *run.words], stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                cwd=run.cwd, env=environment(), start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            err.write(f"fallow: cannot start in {run.cwd}: {error.strerror}\n".encode())
            write_json(files / "ended.json", {"code": 2})
            return None


def attend(queue: Queue, run: Run, child: subprocess.Popen[bytes] | None) -> None:
    """Wait until a run has ended, end it if that is asked for, and say how it went."""
    files, since, asked = queue.files(run), time.monotonic(), 0.0
    while (now := _standing(queue, run)) is not None and _lives(files, child, since):
        who = read_json(files / "process.json")
        if now.stopping and who and not asked:
            asked = time.monotonic()
            processes.end(who["pid"], who["born"])
        elif asked and time.monotonic() - asked > GRACE:
            processes.end(who["pid"], who["born"], at_once=True)
        time.sleep(BEAT)
    code = read_json(files / "ended.json").get("code", child.returncode if child else None)
    began = read_json(files / "process.json").get("turn", run.began)
    with queue.changing() as runs:
        for place, one in enumerate(runs):
            if one.id == run.id and one.state == "running":
                state, sentence = verdict(code, one.stopping, files / "stderr")
                found = {"state": state, "sentence": sentence, "code": code, "stopping": False}
                found |= {"began": began or one.began, "ended": time.time()}
                runs[place] = one.model_copy(update=found)


def _standing(queue: Queue, run: Run) -> Run | None:
    return next((r for r in queue.runs() if r.id == run.id and r.state == "running"), None)


def _lives(files: Path, child: subprocess.Popen[bytes] | None, since: float) -> bool:
    """Whether a run's process is there; one that another worker began may not have said yet."""
    if child is not None:
        return child.poll() is None
    who = read_json(files / "process.json")
    if not who:
        return not (files / "ended.json").exists() and time.monotonic() - since < HATCHING
    return processes.born(who["pid"]) == who["born"]


def verdict(code: int | None, asked: bool, stderr: Path) -> tuple[str, str]:
    """The state of a run that has ended, and a sentence if it did not end well.

    >>> verdict(0, False, Path("nowhere")), verdict(-15, True, Path("nowhere"))
    (('done', ''), ('stopped', ''))
    """
    if code == 0:
        return "done", ""
    if asked or code == 130:
        return "stopped", ""
    if code is None or code < 0:
        how = f"by signal {-code}" if code else "from outside"
        return "failed", f"it was ended {how}: the machine stopped, or had no memory left"
    said = stderr.read_text(errors="replace").strip().splitlines() if stderr.exists() else []
    last = said[-1] if said else "it said nothing"
    if code == 2 and last.startswith("fallow: "):
        return "failed", last.removeprefix("fallow: ")
    return "failed", f"this should not happen, and is worth reporting: {last}"


if __name__ == "__main__":
    work(Queue(Path(sys.argv[1]), sys.argv[2]))
