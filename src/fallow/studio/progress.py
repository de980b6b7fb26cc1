"""How a run is getting on, read from what it writes: its journal, its words, its pictures.

Only files of fixed names are read, in the folder that the user gave a run to write into.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from fallow.files import read_json
from fallow.studio.queue import Queue, Run

POINTS = 400  # of a curve; no screen shows more
TAIL = 24_000  # bytes of what a run said that are shown


class Standing(BaseModel):
    """A run in the list."""

    id: str
    verb: str
    name: str
    state: str
    stopping: bool
    waiting: bool  # for a run of another studio on this machine
    added: float
    seconds: float
    progress: float | None  # 0 to 1; None where the verb writes no journal
    left: float | None  # seconds, as far as can be told
    latest: dict[str, float]
    size: int  # of the journal: it grew, so there is more to see
    said: str  # the last line
    sentence: str
    goes_on: bool  # a resume takes up where it stopped; otherwise it begins anew
    report: bool


def standing(queue: Queue, run: Run) -> Standing:
    """One line of the list."""
    home = training(run)
    journal = home / "metrics.jsonl" if home else None
    line, size = _last(journal) if journal and run.state != "queued" else ({}, 0)
    share = 1.0 if run.state == "done" else line.pop("progress", None)
    line.pop("progress", None)
    left = _left(home, share, line) if run.state == "running" and home and share else None
    if left is not None and journal is not None:  # time went on since the last line
        left = max(0.0, round(left - max(0.0, time.time() - journal.stat().st_mtime)))
    who = read_json(queue.files(run) / "process.json") if run.state == "running" else {}
    said = tail(queue.files(run) / "stdout", 2000).splitlines()
    return Standing(
        id=run.id,
        verb=run.verb,
        name=run.out or run.verb,
        state=run.state,
        stopping=run.stopping,
        waiting=bool(who) and "turn" not in who,
        added=run.added,
        seconds=round(run.seconds, 1),
        progress=share,
        left=left,
        latest=line,
        size=size,
        said=said[-1] if said else "",
        sentence=run.sentence,
        goes_on=home is not None and (home / "checkpoint.pt").is_file(),
        report=report_of(run) is not None,
    )


def _left(home: Path, share: float, line: Mapping[str, float]) -> float | None:
    """Seconds to the end of the budget: a clock's, or of the steps that are left at this speed."""
    told = read_json(home / "run.json").get("settings", {})
    if told.get("minutes"):
        return float(60 * told["minutes"] * (1 - share))
    speed = line.get("images_per_second")
    if not speed or "batch" not in told:
        return None
    return float(line["step"] * (1 - share) / share * told["batch"] / speed)


def training(run: Run) -> Path | None:
    """Where a run's journal and checkpoint are: its folder, or `run` in it."""
    if run.folder is None:
        return None
    for place in (run.folder, run.folder / "run"):
        if (place / "metrics.jsonl").is_file() or (place / "checkpoint.pt").is_file():
            return place
    return None


def report_of(run: Run) -> Path | None:
    """The page of a run that has ended well."""
    path = run.folder / "report.html" if run.folder and run.state == "done" else None
    return path if path and path.is_file() else None


def views_of(run: Run) -> list[Path]:
    """Sheets of views as the model saw them, one for each stream of pictures."""
    home = training(run)
    return sorted((home / "views").glob("*.png")) if home else []


def curves(run: Run) -> dict[str, list[list[float]]]:
    """Every measure as its steps and its values, thinned to what a screen can show."""
    home = training(run)
    found: dict[str, tuple[list[float], list[float]]] = {}
    if home is not None and (home / "metrics.jsonl").is_file():
        for line in _lines((home / "metrics.jsonl").read_bytes()):
            for name, value in line.items():
                if name not in ("step", "progress", "epoch") and _is_number(value):
                    steps, values = found.setdefault(name, ([], []))
                    steps.append(line["step"])
                    values.append(value)
    return {name: thinned(*both) for name, both in found.items()}


def thinned(steps: list[float], values: list[float], most: int = POINTS) -> list[list[float]]:
    """At most so many points: each the mean of its neighbours, but the last as it is.

    >>> thinned([1, 2, 3, 4], [1.0, 3.0, 5.0, 5.0], most=2)
    [[1.5, 3.5, 4], [2.0, 5.0, 5.0]]
    """
    every = math.ceil(len(steps) / most)
    if every <= 1:
        return [list(steps), list(values)]
    cut = [slice(k, k + every) for k in range(0, len(steps), every)]
    shown = [[sum(x[c]) / len(x[c]) for c in cut] for x in (steps, values)]
    return [[*shown[0], steps[-1]], [*shown[1], values[-1]]]


def told(run: Run) -> dict[str, Any]:
    """What a run's folder says of it: what it was told, what it noted, how it was judged."""
    home = training(run)
    about = read_json(home / "run.json") if home else {}
    plain = {key: about[key] for key in ("method", "encoder", "seed") if key in about}
    settings = {k: v for k, v in about.get("settings", {}).items() if v is not None}
    scores = run.folder / "scores.json" if run.folder else None
    return {
        "settings": {**plain, **settings},
        "notes": list(about.get("notes", [])),
        "scores": _scores(scores) if scores and scores.is_file() else [],
    }


def warnings(said: str) -> list[str]:
    """What the collapse watch and others had to say, each once.

    >>> warnings("going\\nwarning: it collapses\\nwarning: it collapses")
    ['it collapses']
    """
    lines = [line.removeprefix("warning: ") for line in said.splitlines()
             if line.startswith("warning: ")]  # fmt: skip
    return list(dict.fromkeys(lines))


def tail(path: Path, most: int = TAIL) -> str:
    """The end of what was written, from the beginning of a line."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - most))
        text = file.read().decode(errors="replace")
    return text if size <= most else text.partition("\n")[2]


def _scores(path: Path) -> list[Any]:
    found = json.loads(path.read_bytes())
    return found if isinstance(found, list) else []


def _last(path: Path) -> tuple[dict[str, float], int]:
    """The latest value of each measure near the journal's end, and the journal's size."""
    if not path.exists():
        return {}, 0
    seen: dict[str, float] = {}
    for line in _lines(tail(path, 4000).encode()):
        seen |= {name: value for name, value in line.items() if _is_number(value)}
    return seen, path.stat().st_size


def _lines(text: bytes) -> list[Mapping[str, Any]]:
    """The whole lines; one may just be being written, and a killed run leaves half of one."""
    found: list[Mapping[str, Any]] = []
    for line in text.splitlines():
        try:
            one = json.loads(line)
        except ValueError:
            continue
        if isinstance(one, dict) and _is_number(one.get("step")):
            found.append(one)
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
