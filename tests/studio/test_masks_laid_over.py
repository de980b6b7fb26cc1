"""Masks laid over pictures: in the grid and on one shown whole, with a legend and a slider."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from playwright.sync_api import expect
from starlette.testclient import TestClient
from test_drawn import segmented

from fallow.outcomes.tables import save_json, save_parquet
from fallow.studio.app import build
from fallow.studio.desk import Desk
from fallow.studio.drawn import Drawn

WAIT = 15_000


def asked(desk: Desk) -> TestClient:
    return TestClient(build(desk, "t", 8000).app)  # without the guard


def laid(body: bytes, count: int) -> list[np.ndarray | None]:
    """The masks of an answer, as red, green, blue and how opaque they are."""
    lengths = np.frombuffer(body, "<u4", count)
    ends = 4 * count + np.cumsum(lengths)
    files = [body[end - length : end] for end, length in zip(ends, lengths, strict=True)]
    return [
        np.asarray(Image.open(io.BytesIO(one)).convert("RGBA")) if one else None for one in files
    ]


def test_masks_come_in_the_colours_of_their_classes(tmp_path: Path) -> None:
    pictures, run = segmented(tmp_path)
    desk = Desk.opened(run, pictures)
    client = asked(desk)
    legend = client.get("/api/findings/legend").json()
    assert legend == {"there": True, "classes": {"cell": "#40a060"}}
    answer = client.get("/api/findings/overlays", params={"rows": "0,1", "side": 96})
    for mask in laid(answer.content, 2):
        assert mask is not None
        assert mask.shape == (6, 8, 4)
        assert (mask[2:4, 2:5] == (0x40, 0xA0, 0x60, 255)).all()
        assert np.count_nonzero(mask[..., 3]) == 6
    again = {"if-none-match": answer.headers["etag"]}
    assert client.get("/api/findings/overlays?rows=0,1&side=96", headers=again).status_code == 304
    codes = np.full((6, 8), 1, np.uint8)
    codes[0, 0] = 255  # nobody is to judge it
    Drawn(desk).save_mask(0, codes)
    answer = client.get("/api/findings/overlays?rows=0,1&side=96", headers=again)
    first, second = laid(answer.content, 2)
    assert first is not None
    assert second is not None
    assert [np.count_nonzero(one[..., 3]) for one in (first, second)] == [47, 6]


def test_what_has_no_mask_gets_none(tmp_path: Path) -> None:
    pictures, run = segmented(tmp_path)
    plain = asked(Desk.opened(pictures))
    assert plain.get("/api/findings/legend").json() == {"there": False, "classes": {}}
    columns = {"id": ["a.png", "sub/b.png"], "mask": ["masks/a.nii.gz", "masks/sub/b.png"]}
    save_parquet(run / "table.parquet", pa.table(columns))
    (run / "masks" / "sub" / "b.png").write_bytes(b"no picture")
    client = asked(Desk.opened(run, pictures))
    answer = client.get("/api/findings/overlays?rows=0,1")  # a volume's, and one that is broken
    assert laid(answer.content, 2) == [None, None]
    wrong = client.get("/api/findings/overlays?rows=0&side=7")
    assert (wrong.status_code, wrong.json()) == (
        400, {"problem": "masks have a side of 96, 160, 320, 1600"})  # fmt: skip


def test_a_run_finds_its_pictures_by_itself(tmp_path: Path) -> None:
    pictures, run = segmented(tmp_path)
    classes = [{"name": "ground", "value": 0, "colour": "#000000"},
               {"name": "cell", "value": 7, "colour": "#40a060"}]  # fmt: skip
    save_json(run / "run.json", {"source": "photos", "address": str(pictures), "classes": classes})
    assert Desk.opened(run).images is not None


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, start: Callable[..., Any]) -> Iterator[Any]:
    pictures, run = segmented(tmp_path_factory.mktemp("masks"))
    yield from start(Desk.opened(run, pictures))


def test_masks_are_laid_over_the_grid_and_the_picture(page: Any, findings_of_axe: Any) -> None:
    page.goto(page.url.split("#")[0] + "#/collection")
    masks = page.locator(".grid .cell img.mask")
    expect(masks).to_have_count(2, timeout=WAIT)
    expect(page.locator(".legend li")).to_have_text(["cell"])
    expect(page.locator(".legend i")).to_have_css("background-color", "rgb(64, 160, 96)")
    expect(masks.first).to_have_css("opacity", "0.55")
    slider = page.get_by_label("Strength of masks")
    slider.press("End")
    expect(masks.first).to_have_css("opacity", "1")
    page.locator(".grid").focus()
    page.keyboard.press("m")
    expect(masks.first).to_have_css("opacity", "0")
    expect(page.locator(".legend")).to_be_hidden()
    page.keyboard.press("m")  # as strong as before
    expect(masks.first).to_have_css("opacity", "1")
    page.keyboard.press("Enter")
    large = page.locator(".one .laid-over img.mask")
    expect(large).to_have_count(1, timeout=WAIT)
    assert page.locator(".one .whole").first.bounding_box() == large.bounding_box()
    assert findings_of_axe(page) == []
