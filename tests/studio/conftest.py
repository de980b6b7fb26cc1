"""One studio for all tests that only look, on a thread; and a browser where there is one."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from fallow import verbs
from fallow.images.samples import shapes
from fallow.studio.app import build
from fallow.studio.desk import Desk, Verbs
from fallow.studio.serve import address, listening

TOKEN = "a-token-of-the-tests"
BROWSER = shutil.which("chromium")


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
    from fallow.outcomes import save_picture

    made = shapes(count, seed=3, side=48)
    labels = made.column("label").tolist()
    lines = ["path,label"]
    for row in range(count):
        name = f"{labels[row]}/{row:03d}.png" if row else "<b>bold</b> & 'quoted'.png"
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


@pytest.fixture(scope="session")
def explored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of explore on generated pictures, which lie beside it in `pictures`."""
    from fallow.verbs.explore import explore

    folder = tmp_path_factory.mktemp("studio")
    explore(pictures(folder / "pictures"), encoder="tiny", out=folder / "explore")
    return folder / "explore"


@pytest.fixture(scope="session")
def studio(explored: Path) -> Iterator[Studio]:
    """A running studio on that run; tests that change labels undo it, or start one of their own."""
    known = Verbs(verbs.names(), verbs.declaration, verbs.summary)
    yield from started(Desk.opened(explored, verbs=known))


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's chromium, driven by Playwright."""
    if BROWSER is None:
        pytest.skip("needs the Debian package chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any, studio: Studio) -> Iterator[Any]:
    """A page of the studio, 1280 x 900; a console error or a failed script fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    shown = context.new_page()
    errors: list[str] = []
    shown.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    shown.on("pageerror", lambda error: errors.append(str(error)))
    shown.goto(studio.address)
    yield shown
    context.close()
    assert errors == []
