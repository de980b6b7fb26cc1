"""A claim that is cut off goes on where it was: what each of its runs found is kept in build/."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.record import write_json

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "claims"


class Kept:
    """What the runs of one claim found, as long as neither the claim nor the library changes.

    >>> import tempfile
    >>> kept = Kept("some", {"steps": 3}, Path(tempfile.mkdtemp()))
    >>> kept("seed 0", lambda: 0.5), kept("seed 0", lambda: 0.7)
    seed 0: 0.5
    (0.5, 0.5)
    """

    def __init__(self, slug: str, plan: Mapping[str, Any], folder: Path = FOLDER) -> None:
        words = Path(__file__).with_name(f"{slug}.py")
        said = [json.dumps(plan, sort_keys=True, default=str), library(), slug]
        said += [words.read_text()] if words.is_file() else []
        self.place = folder / f"{slug}-{hashlib.sha256(''.join(said).encode()).hexdigest()[:12]}"
        self.spent: dict[str, float] = {}  # seconds of every run, whenever it was

    def __call__(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make` found, now or earlier: numbers, or a table of them."""
        file = self.place / f"{name.replace(' ', '-')}.json"
        if not file.is_file():
            begin = time.monotonic()
            found = make()
            self.place.mkdir(parents=True, exist_ok=True)
            write_json(file, {"found": found, "seconds": time.monotonic() - begin})
            print(f"{name}: {found}"[:300], flush=True)
        kept = json.loads(file.read_text())
        self.spent[name] = kept["seconds"]
        return kept["found"]

    @property
    def seconds(self) -> float:
        """What all runs that were asked for took together, one asked for twice counted once."""
        return sum(self.spent.values())

    def seeds(self, count: int, make: Callable[[int], Mapping[str, Any]], of: str = "seed") -> Any:
        """What each row reached, seed by seed: `make` tells it of all rows of one seed.

        >>> import tempfile
        >>> kept = Kept("some", {"steps": 4}, Path(tempfile.mkdtemp()))
        >>> kept.seeds(2, lambda seed: {"new": seed + 0.5, "old": 0.0})
        seed 0: {'new': 0.5, 'old': 0.0}
        seed 1: {'new': 1.5, 'old': 0.0}
        {'new': [0.5, 1.5], 'old': [0.0, 0.0]}
        """
        found = [self(f"{of} {seed}", partial(make, seed)) for seed in range(count)]
        return {row: [one[row] for one in found] for row in found[0]}

    def budget(self, minutes: float, **more: Any) -> dict[str, Any]:
        """What was asked for, and what all runs together took."""
        return {"minutes_asked": minutes, "minutes_spent": self.seconds / 60, **more}


def library() -> str:
    """The tree of the library, as it was last committed."""
    words = ["git", "-C", str(ROOT), "rev-parse", "HEAD:src"]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
