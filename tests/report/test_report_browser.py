"""A real browser draws the map and answers the pointer."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from shutil import which

import numpy as np
import pytest
import report_sample
from PIL import Image

from fallow.report import explore_page, learn_page

BROWSER = which("chromium")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs the Debian package chromium")

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-dev-shm-usage", "--hide-scrollbars", "--virtual-time-budget=6000",
         "--window-size=1200,1400")  # fmt: skip


def browse(page: Path, profile: Path, *flags: str, hash_: str = "") -> str:
    address = page.as_uri() + hash_
    done = subprocess.run(
        [BROWSER, *FLAGS, f"--user-data-dir={profile}", *flags, address],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return done.stdout


def said(dom: str) -> dict[str, str]:
    """The data attributes that the scripts set on the root element."""
    return dict(re.findall(r'data-([a-z]+)="(.*?)"', re.search(r"<html.*?>", dom).group(0)))


def with_script(page: str, script: str) -> str:
    """The page without its policy and with one more script at its end."""
    bare = re.sub(r'<meta http-equiv="Content-Security-Policy".*?>', "", page)
    return bare.replace("</body>", f"<script>{script}</script></body>")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="module")
def page() -> str:
    found = report_sample.findings(240)
    found["items"][7]["path"] = "<script>document.documentElement.dataset.harm='yes'</script>.jpg"
    return explore_page(found)


def test_map_is_drawn_and_a_link_shows_an_item(folder: Path, page: str) -> None:
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    dom = browse(path, folder / "one", "--dump-dom", hash_="#map=7&item=7")
    state = said(dom)
    assert "error" not in state
    assert "harm" not in state
    assert state["map"] == "ready"
    assert state["drawn"] == "240"
    assert int(state["pictures"]) > 0
    assert float(state["zoom"]) > 1
    hover = re.search(r'<div id="hover".*?<aside', dom, re.S).group(0)
    assert "&lt;script&gt;" in hover or "script&gt;.jpg" in hover
    detail = re.search(r"<aside.*?</aside>", dom, re.S).group(0)
    assert "&lt;script&gt;document" in detail
    assert detail.count('class="tile"') == 12
    assert "hidden" not in re.search(r"<aside.*?>", detail).group(0)


def test_searching_hides_the_rest(folder: Path, page: str) -> None:
    path = folder / "find.html"
    path.write_text(page, encoding="utf-8")
    dom = browse(path, folder / "two", "--dump-dom", hash_="#find=COFFEE&colour=sharpness")
    state = said(dom)
    assert "error" not in state
    matches = len(re.findall(r'"holiday 2024/coffee/', page.split('id="data">')[1]))
    assert 0 < matches < 240
    assert state["drawn"] == str(matches)
    assert f"{matches} of 240" in dom
    tiles = re.findall(r'<button type="button" class="tile" title="(.*?)"(.*?)>', dom)
    assert {("coffee" in title) != ("hidden" in rest) for title, rest in tiles} == {True}
    assert re.search(r'id="legend">sharpness', dom)


POINTER = """
const send = (kind, x, y, more = {}) => {
  const box = canvas.getBoundingClientRect();
  canvas.dispatchEvent(new (kind === "wheel" ? WheelEvent : PointerEvent)(kind, {
    clientX: box.left + x, clientY: box.top + y, bubbles: true, cancelable: true,
    pointerId: 1, ...more }));
};
canvas.setPointerCapture = () => {};
const start = setInterval(() => {
  if (root.dataset.map !== "ready") return;
  clearInterval(start);
  draw();
  const report = {};
  send("pointermove", toX(40), toY(40));
  report.hovered = !hover.hidden && hover.textContent.includes("IMG_");
  report.unasked = view.zoom;
  send("wheel", 300, 200, { deltaY: -600 });
  report.ignored = view.zoom === report.unasked;
  canvas.focus();
  const place = () => [view.x + (300 - width / 2) / spanX(), view.y + (200 - height / 2) / spanY()];
  const before = place();
  send("wheel", 300, 200, { deltaY: -600 });
  report.zoomed = view.zoom > 2;
  report.anchored = Math.hypot(place()[0] - before[0], place()[1] - before[1]) < 1e-6;
  draw();
  report.apart = placed.every((i, k) => placed.slice(0, k).every(j =>
    Math.abs(toX(i) - toX(j)) >= side() - 1e-3 || Math.abs(toY(i) - toY(j)) >= side() - 1e-3));
  const at = view.x;
  send("pointerdown", 300, 200); send("pointermove", 200, 200); send("pointerup", 200, 200);
  report.dragged = Math.abs((view.x - at) * spanX() - 100) < 1;
  report.closed = detail.hidden;
  const i = placed.find(j => toX(j) > 0 && toX(j) < width && toY(j) > 0 && toY(j) < height);
  send("pointerdown", toX(i), toY(i)); send("pointerup", toX(i), toY(i));
  report.opened = !detail.hidden && one("h2", detail).textContent === items.path[i];
  document.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
  report.shut = detail.hidden;
  one("[data-show-group]").click();
  draw();
  report.grouped = +root.dataset.drawn === colouring.codes.filter(code => code === 0).length;
  const copied = [];
  Object.defineProperty(navigator, "clipboard", {
    value: { writeText: async text => copied.push(text) } });
  one("#outliers [data-paths]").click();
  setTimeout(() => {
    report.copied = copied.length === 1 && copied[0].split("\\n").length === 24;
    root.dataset.report = JSON.stringify(report).replaceAll('"', "'");
  }, 50);
}, 50);
"""


def test_pointer_keys_and_buttons(folder: Path, page: str) -> None:
    path = folder / "pointer.html"
    path.write_text(with_script(page, POINTER), encoding="utf-8")
    state = said(browse(path, folder / "three", "--dump-dom"))
    assert "error" not in state
    report = dict(re.findall(r"'(\w+)':(\w+)", state["report"]))
    assert report.pop("unasked") == "1"
    assert set(report) == {"hovered", "ignored", "zoomed", "anchored", "apart", "dragged", "closed",
                           "opened", "shut", "grouped", "copied"}  # fmt: skip
    assert [name for name, value in report.items() if value != "true"] == []


def test_the_screen_is_not_blank(folder: Path, page: str) -> None:
    path, shot = folder / "shot.html", folder / "shot.png"
    path.write_text(page, encoding="utf-8")
    browse(path, folder / "four", f"--screenshot={shot}")
    pixels = np.asarray(Image.open(shot).convert("RGB")).astype(int)
    colourful = np.ptp(pixels, axis=2) > 60  # paper and text are nearly gray
    assert colourful.sum() > 20_000
    assert colourful[700:1300].any(axis=1).mean() > 0.5  # where the map is


CHART = """
const chart = one("svg[data-series]"), box = chart.getBoundingClientRect();
chart.dispatchEvent(new PointerEvent("pointermove", {
  clientX: box.left + box.width / 2, clientY: box.top + 9 }));
root.dataset.report = one(".cursor", chart).textContent;
"""


def test_charts_read_out_values(folder: Path) -> None:
    path = folder / "learn.html"
    path.write_text(with_script(learn_page(report_sample.run()), CHART), encoding="utf-8")
    state = said(browse(path, folder / "five", "--dump-dom"))
    assert "error" not in state
    found = re.search(r"([\d.]+) minutesLoss: ([\d.]+)", state["report"])
    assert 4 < float(found.group(1)) < 6
    assert 2.4 < float(found.group(2)) < 3.2
