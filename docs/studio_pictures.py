"""Photograph the studio's pages for the documentation: python docs/studio_pictures.py

The demo is made, explored and spotted for it, unless folders of such runs are given:
python docs/studio_pictures.py EXPLORED SPOTTED. Names behind them make only those pictures.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

HERE = Path(__file__).resolve().parent
SIZE = {"width": 1280, "height": 820}
PATIENCE = 120_000  # milliseconds; the first form imports every verb
FALLOW = [sys.executable, "-m", "fallow"]
CELLS = [(0.21, 0.11), (0.73, 0.12), (0.60, 0.36), (0.56, 0.48), (0.81, 0.52), (0.36, 0.76)]

MOVE = """(node, share) => {
  node.value = +node.min + share * (node.max - node.min);
  node.dispatchEvent(new Event("input"));
}"""

LEARNT = "method=simclr&encoder=resnet8%2F8&minutes=1&where=path+like+'shapes%25'"

Press = Callable[[Any], None]


def collection(page: Any) -> None:
    page.get_by_role("button", name="near duplicate").first.click()
    tiles = page.locator(".grid [role=gridcell], .grid .cell")
    tiles.nth(3).click()
    page.keyboard.press("Enter")  # what is known of it


def map_(page: Any) -> None:
    page.get_by_label("Colour by").select_option("label")
    page.get_by_role("button", name="Lasso").click()
    box = page.locator("canvas").first.bounding_box()
    around = [(0.2, 0.3), (0.5, 0.2), (0.55, 0.55), (0.3, 0.65), (0.2, 0.35)]
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in around]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=6)
    page.mouse.up()


def findings(page: Any) -> None:
    page.get_by_text("Suspected wrong labels").first.click()


def drawing(page: Any) -> None:
    """A dab of a wider brush on some cells of the first picture, which is square."""
    page.wait_for_selector(".page-findings[data-easel]")
    page.keyboard.press("]")
    page.keyboard.press("]")
    box = page.locator(".easel canvas").bounding_box()
    side = min(box["width"], box["height"]) - 32
    left, top = box["x"] + (box["width"] - side) / 2, box["y"] + (box["height"] - side) / 2
    for x, y in CELLS:
        page.mouse.click(left + x * side, top + y * side)


def anomalies(page: Any) -> None:
    """The threshold among the scores, and heat shown from its middle on."""
    page.wait_for_selector(".page-findings[data-heat]")
    for slider, share in (("#threshold", 0.38), ("#heat", 0.4)):
        page.locator(slider).evaluate(MOVE, share)


def form(page: Any) -> None:
    """With a mistake, which is said beside its field."""
    for name, text in (("source", "photos"), ("method", "swav"), ("minutes", "soon")):
        page.locator(f"#field-{name}").fill(text)


def runs(page: Any) -> None:
    """A run that has ended, beside one that works: shapes are learnt at two rates."""
    for rate in ("0.3", "0.05"):
        page.evaluate("place => { location.hash = place }", f"#/runs?new=learn&{LEARNT}")
        page.wait_for_selector("#field-minutes")
        page.click("summary:has-text('Settings of simclr')")
        for name, text in (("size", "32"), ("batch", "64"), ("learning_rate", rate)):
            page.locator(f"[id='field-settings.{name}']").fill(text)
        page.click("button:has-text('Start')")
        page.wait_for_selector(".run[aria-current] [data-state=running]")
        page.wait_for_selector(".chart path.curve")
        if rate == "0.3":
            page.wait_for_selector(".run[aria-current] [data-state=done]", timeout=5 * PATIENCE)
    share = page.locator(".run-details > progress")
    while not share.evaluate("bar => bar.value > 0.6"):
        page.wait_for_timeout(500)
    page.select_option(".run-actions select", index=1)
    page.wait_for_selector(".chart path.curve-1")


def as_it_opens(page: Any) -> None:
    """Nothing is pressed first."""


OF_EXPLORE: dict[str, tuple[str, Press]] = {
    "collection": ("collection", collection),
    "map": ("map", map_),
    "findings": ("findings", findings),
    "drawing": ("findings?draw=0", drawing),
    "papers": ("papers", as_it_opens),
    "runs-form": ("runs?new=learn", form),
    "runs": ("runs", runs),
}
OF_SPOT: dict[str, tuple[str, Press]] = {"anomalies": ("findings?part=spotted", anomalies)}


def photographed(
    browser: Any, run: Path, pages: Mapping[str, tuple[str, Press]], folder: str
) -> None:
    """Open the studio on a run, and take a picture of some of its pages; runs write to `folder`."""
    words = [*FALLOW, "studio", str(run.resolve()), "--no-browser"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=folder) as studio:
        try:
            assert studio.stdout is not None
            address = studio.stdout.readline().split()[-1]
            page = browser.new_page(viewport=SIZE)
            page.set_default_timeout(PATIENCE)
            page.goto(address)
            for name, (where, press) in pages.items():
                page.goto(f"{address.split('?')[0]}#/{where}")
                page.wait_for_selector(f'html[data-shown="{where.split("?")[0]}"]')
                press(page)
                page.wait_for_timeout(2500)
                seen = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
                seen.quantize(256).save(HERE / f"studio-{name}.png", optimize=True)
                print(f"docs/studio-{name}.png", flush=True)
            page.close()
        finally:
            studio.terminate()


def made(folder: str) -> tuple[Path, Path]:
    """The demo explored, and its parts spotted."""
    subprocess.run([*FALLOW, "demo", f"{folder}/demo"], check=True)
    quick = ["--encoder", "tiny", "--set", "size=128", "--out", f"{folder}/spotted"]
    subprocess.run([*FALLOW, "spot", f"{folder}/demo/pictures/parts", *quick], check=True)
    return Path(f"{folder}/demo/explore"), Path(f"{folder}/spotted")


def main() -> None:
    """Take a picture of every page."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as started:
        given, wanted = sys.argv[1:3], sys.argv[3:]
        explored, spotted = (Path(given[0]), Path(given[1])) if len(given) == 2 else made(folder)
        browser = started.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for run, pages in ((explored, OF_EXPLORE), (spotted, OF_SPOT)):
            some = {name: pages[name] for name in pages if name in wanted or not wanted}
            if some:
                photographed(browser, run, some, folder)
        browser.close()


if __name__ == "__main__":
    main()
