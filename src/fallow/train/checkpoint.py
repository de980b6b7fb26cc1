"""A training run on disk: written whole or not at all, and complete enough to go on exactly."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch

from fallow.files import atomic_write
from fallow.problems import Problem


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values so that a kill leaves the old file or the new one.

    The old one stays beside it under another name, should the new one be damaged later.
    """
    if path.exists():
        spare = path.with_name(f".{path.name}.tmp")
        spare.unlink(missing_ok=True)
        os.link(path, spare)  # at no moment is there none
        os.replace(spare, before(path))
    with atomic_write(path) as file:
        torch.save(state, file)


def before(path: Path) -> Path:
    """Where the checkpoint before the last one lies.

    >>> before(Path("run/checkpoint.pt")).as_posix()
    'run/checkpoint-before.pt'
    """
    return path.with_name(f"{path.stem}-before{path.suffix}")


def last_state(path: Path) -> tuple[dict[str, Any] | None, str]:
    """The last checkpoint, and a sentence where it is damaged and this is the one before it."""
    if not path.exists():
        return None, ""
    try:
        return load_state(path), ""
    except Problem as damaged:
        try:
            return load_state(before(path)), f"{damaged}: going on from the one before"
        except Problem:
            raise Problem(
                f"{damaged}, and there is none before it: choose another out folder"
            ) from None


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote; nothing but tensors and plain values is ever unpickled."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise Problem(f"{path} is not a checkpoint of fallow ({type(error).__name__})") from None


class Journal:
    """What a run logs: kept in memory and, in a folder, as metrics.jsonl and for TensorBoard.

    After a resume it goes on from the checkpoint's step.
    """

    every = 10  # steps between pairs of lines

    def __init__(self, folder: Path | None, step: int) -> None:
        self.history: list[dict[str, float]] = []
        self.file, self.board = None, None
        if folder is None:
            return
        from tensorboardX import SummaryWriter

        path = folder / "metrics.jsonl"
        self.history = [line for line in _lines(path) if line["step"] <= step]
        with atomic_write(path) as file:
            file.writelines((json.dumps(line) + "\n").encode() for line in self.history)
        self.file = path.open("a")
        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, values: dict[str, float], last: bool = False) -> None:
        """Log two steps in ten, as some alternate between two things, and the last."""
        if step % self.every in (0, 1) or last:
            self.add(step, values)

    def add(self, step: int, values: dict[str, float]) -> None:
        """Log these values whatever the step."""
        if not values:
            return
        line = {"step": step, **{name: round(value, 6) for name, value in values.items()}}
        self.history.append(line)
        if self.file is not None and self.board is not None:
            self.file.write(json.dumps(line) + "\n")
            self.file.flush()
            for name, value in values.items():
                self.board.add_scalar(name, value, step)

    def close(self) -> None:
        if self.file is not None and self.board is not None:
            os.fsync(self.file.fileno())
            self.file.close()
            self.board.close()


def _lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a journal; a kill may have cut the last one short."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
