"""A studio on a thread, for the tests that need one that runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from fallow.images.samples import shapes
from fallow.outcomes import save_picture
from fallow.studio.app import build
from fallow.studio.desk import Desk
from fallow.studio.serve import address, listening

TOKEN = "a-token-of-the-tests"
HOSTILE = "<img src=x onerror=alert(1)> & 'quoted'.png"


@dataclass
class Studio:
    """A studio that is running."""

    desk: Desk
    port: int

    @property
    def address(self) -> str:
        """Where a browser arrives, with the token."""
        return address("127.0.0.1", self.port, TOKEN)


def pictures(folder: Path, count: int = 48) -> Path:
    """Generated pictures as files, with a hostile name among them and labels for a half."""
    made = shapes(count, seed=3, side=48)
    labels = made.column("label").tolist()
    lines = ["path,label"]
    for row in range(count):
        name = (
            f"{labels[row]}/{row:03d}.png" if row else "<img src=x onerror=alert(1)> & 'quoted'.png"
        )
        save_picture(folder / name, made[row])
        if row % 2:
            lines.append(f"{name},{labels[row]}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def started(desk: Desk) -> Iterator[Studio]:
    """A server of one desk on a thread."""
    door = listening("127.0.0.1", 0)
    port = door.getsockname()[1]
    settings = uvicorn.Config(build(desk, TOKEN, port), log_level="error", access_log=False)
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=server.run, args=([door],), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield Studio(desk, port)
    server.should_exit = True
    thread.join(10)
    door.close()
