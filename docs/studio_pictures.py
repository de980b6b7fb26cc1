"""Photograph the studio's pages for the documentation: python docs/studio_pictures.py"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

HERE = Path(__file__).resolve().parent
SIZE = {"width": 1280, "height": 820}


def collection(page: Any) -> None:
    page.get_by_role("button", name="near_duplicate").first.click()
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


def as_it_opens(page: Any) -> None:
    """Nothing is pressed first."""


PAGES: dict[str, Callable[[Any], None]] = {
    "collection": collection,
    "map": map_,
    "findings": findings,
    "papers": as_it_opens,
}


def main() -> None:
    """Explore the drawn collection, open the studio on it, and take a picture of each page."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder:
        fallow = [sys.executable, "-m", "fallow"]
        subprocess.run([*fallow, "demo", f"{folder}/demo"], check=True)
        run = next(path.parent for path in Path(folder).rglob("images.lance"))
        words = [*fallow, "studio", str(run), "--no-browser"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as studio:
            assert studio.stdout is not None
            address = studio.stdout.readline().split()[-1]
            with sync_playwright() as started:
                browser = started.chromium.launch(
                    executable_path=shutil.which("chromium"), args=["--no-sandbox"]
                )
                page = browser.new_page(viewport=SIZE)
                page.goto(address)
                for name, press in PAGES.items():
                    page.goto(f"{address.split('?')[0]}#/{name}")
                    page.wait_for_selector(f'html[data-shown="{name}"]')
                    press(page)
                    page.wait_for_timeout(2500)
                    seen = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
                    seen.quantize(256).save(HERE / f"studio-{name}.png", optimize=True)
                    print(f"docs/studio-{name}.png")
                browser.close()
            studio.terminate()


if __name__ == "__main__":
    main()
