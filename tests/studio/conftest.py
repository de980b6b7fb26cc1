"""One studio for all tests that only look, on a thread; and a browser where there is one."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from studio_running import TOKEN, Studio, pictures, started  # noqa: F401 (TOKEN: for the tests)

from fallow import verbs
from fallow.studio.desk import Desk, Verbs

BROWSER = shutil.which("chromium")


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
    known = Verbs(verbs.names(), verbs.declaration, verbs.summary, verbs.by_purpose())
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
def visit(browser: Any) -> Iterator[Any]:
    """Arrive at a studio, 1280 x 900; a console error or a failed script fails the test."""
    contexts, errors = [], []

    def arrive(running: Studio) -> Any:
        context = browser.new_context(
            viewport={"width": 1280, "height": 900}, accept_downloads=True
        )
        contexts.append(context)
        shown = context.new_page()
        shown.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        shown.on("pageerror", lambda error: errors.append(str(error)))
        shown.errors = errors  # a test that asks for a refusal takes it out
        shown.goto(running.address)
        return shown

    yield arrive
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture(scope="session")
def start() -> Any:
    """`started`, for tests that put a desk of their own in place of `studio`."""
    return started


@pytest.fixture
def page(visit: Any, studio: Studio) -> Any:
    """A page of the studio that all tests share."""
    return visit(studio)


@pytest.fixture
def findings_of_axe() -> Any:
    """What axe-core finds wrong on a page that is shown, in both colour schemes."""
    from importlib.resources import files

    axe = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")

    def find(shown: Any) -> list[str]:
        found = []
        shown.evaluate(axe)
        for scheme, asked in (("light", ""), ("dark", "{runOnly: ['color-contrast']}")):
            shown.emulate_media(color_scheme=scheme)
            for one in shown.evaluate(f"axe.run({asked})")["violations"]:
                places = [" ".join(node["target"]) for node in one["nodes"][:4]]
                found.append(f"{scheme}: {one['id']}: {one['help']} at {places}")
        return found

    return find
