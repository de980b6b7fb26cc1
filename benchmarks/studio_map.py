"""The studio's map in motion: 100,000 dots in a browser that draws them without a graphics card."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.record import Line, line

ALONE = True  # beside all dots in every frame, as the map would move without a pace
DOTS = 100_000
SECONDS = 6.0
# frames are counted where dots are cleared; a pointer that is held down moves once a frame
MOVE = """async ([seconds, paced]) => {
  const [plot, canvas] = document.querySelectorAll(".field canvas"), gl = plot.getContext("webgl2");
  const box = canvas.getBoundingClientRect();
  const clear = gl.clear.bind(gl), draw = gl.drawElements.bind(gl);
  const send = (kind, x, y) => canvas.dispatchEvent(new PointerEvent(kind,
    { clientX: box.left + x, clientY: box.top + y, bubbles: true, pointerId: 1 }));
  let frames = 0, dots = 0, turn = 0;
  canvas.setPointerCapture = () => {};
  gl.clear = what => { frames += 1; clear(what); };
  gl.drawElements = (kind, count, type, from) => {
    const drawn = paced ? count : +document.querySelector(".page-map").dataset.shown;
    dots += drawn;
    draw(kind, drawn, type, from);
  };
  send("pointerdown", 500, 300);
  const start = performance.now();
  while (performance.now() - start < 1000 * seconds) {
    turn += 1;
    send("pointermove", 500 + 200 * Math.sin(turn / 9), 300 + 120 * Math.cos(turn / 7));
    await new Promise(requestAnimationFrame);
  }
  const took = (performance.now() - start) / 1000;
  send("pointerup", 500, 300);
  Object.assign(gl, { clear, drawElements: draw });
  return [frames / took, dots / frames, frames];
}"""


def run(data: Path, python: str | None, quick: bool) -> list[Line]:
    from playwright.sync_api import sync_playwright

    rounds, seconds = (1, 2.0) if quick else (3, SECONDS)
    pairs, work, seen = [], [], []
    flags = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    with served() as address, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        page.goto(address)
        page.goto(f"{address.split('?')[0]}#/map")
        page.wait_for_selector("html[data-shown=map]", timeout=120_000)
        for _ in range(rounds):
            (own, dots, cost), (all_, _, whole) = (
                moved(page, seconds, paced) for paced in (True, False)
            )
            pairs.append((own, all_))
            work.append((1 / cost, 1 / whole))
            seen.append(dots)
        chromium.close()
    load = f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    shown = f"{np.mean(seen):,.0f} of {DOTS:,} dots in a frame that moves, all at rest; {load}"
    return [
        line(f"frames a second ({shown})", "all dots in every frame", "", pairs, 1.0),
        line("1 / seconds of computing a frame", "all dots in every frame", "", work, 1.0),
    ]


def moved(page: Any, seconds: float, paced: bool) -> tuple[float, float, float]:
    """Frames a second, dots a frame, and seconds of all the browser's processes a frame."""
    before = computed()
    rate, dots, frames = page.evaluate(MOVE, [seconds, paced])
    page.wait_for_timeout(500)
    return rate, dots, (computed() - before) / frames


def computed() -> float:
    """Seconds of computing so far, of all processes this one started."""
    parents: dict[int, int] = {}
    spent: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # gone since
        own = int(path.parent.name)
        parents[own], spent[own] = int(words[1]), int(words[11]) + int(words[12])

    def below(one: int) -> bool:
        while one := parents.get(one, 0):
            if one == os.getpid():
                return True
        return False

    return sum(time for one, time in spent.items() if below(one)) / os.sysconf("SC_CLK_TCK")


@contextmanager
def served() -> Iterator[str]:
    """A studio on a table with places and groups, and no pictures: only dots are looked at."""
    import uvicorn

    from fallow.studio.app import build
    from fallow.studio.desk import Desk
    from fallow.studio.opening import Opened
    from fallow.studio.serve import address, listening

    draw = np.random.default_rng(0)
    group = draw.integers(0, 14, DOTS)
    middle = draw.uniform(0.1, 0.9, (14, 2))
    place = middle[group] + 0.05 * draw.normal(size=(DOTS, 2))
    table = pa.table({"id": np.arange(DOTS).astype(str), "group": group,
                      "x": place[:, 0], "y": place[:, 1]})  # fmt: skip
    with tempfile.TemporaryDirectory() as kept:
        desk, door = Desk(Opened("dots", table, Path(kept))), listening("127.0.0.1", 0)
        port = door.getsockname()[1]
        settings = uvicorn.Config(build(desk, "token", port), log_level="error")
        server = uvicorn.Server(settings)
        thread = threading.Thread(target=server.run, args=([door],), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield address("127.0.0.1", port, "token")
        server.should_exit = True
        thread.join(10)
        door.close()
