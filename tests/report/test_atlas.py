"""Every thumbnail can be read back from its sheet."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from fallow.report.atlas import SHEET_SIDE, build_atlas


def thumbnail(size: tuple[int, int], colour: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def colours() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (300, 3))


def test_tiles_show_their_own_thumbnail(colours: np.ndarray) -> None:
    sizes = [(96, 64), (48, 96), (200, 100)]
    thumbnails = [thumbnail(sizes[i % 3], tuple(c)) for i, c in enumerate(colours.tolist())]
    atlas = build_atlas(thumbnails, {128: range(10), 64: range(10, 300)})
    assert len(atlas.tiles) == 300
    sheets = [np.asarray(Image.open(io.BytesIO(sheet))) for sheet in atlas.sheets]
    for index, tile in atlas.tiles.items():
        seen = sheets[tile.sheet][tile.y : tile.y + tile.height, tile.x : tile.x + tile.width]
        assert seen.shape[:2] == (tile.height, tile.width)
        assert np.abs(seen[1:-1, 1:-1].astype(int) - colours[index]).max() < 24
        assert np.abs(seen[1:-1, 1:-1].mean((0, 1)) - colours[index]).max() < 6
    assert atlas.tiles[2].width == 128
    assert atlas.tiles[0].width == 96  # never enlarged
    assert (atlas.tiles[11].width, atlas.tiles[11].height) == (64, 32)


def test_sheets_stay_within_their_side() -> None:
    one = thumbnail((128, 128), (10, 200, 30))
    atlas = build_atlas([one] * 300)
    assert len(atlas.sheets) == 2
    assert max(Image.open(io.BytesIO(sheet)).width for sheet in atlas.sheets) <= SHEET_SIDE


def test_a_missing_thumbnail_is_a_blank() -> None:
    atlas = build_atlas([thumbnail((32, 32), (0, 0, 0)), b""])
    assert list(atlas.tiles) == [0]
    assert 'class="picture none"' in atlas.picture(1, "gone.jpg")
    assert 'aria-label="&lt;i&gt;.jpg"' in atlas.picture(0, "<i>.jpg")


def test_no_thumbnails_no_sheets() -> None:
    assert build_atlas([]).sheets == []


def test_threads_do_not_change_the_result(colours: np.ndarray) -> None:
    thumbnails = [thumbnail((96, 80), tuple(colour)) for colour in colours.tolist()]
    cells = {32: range(150), 64: range(150, 300)}
    one, many = (build_atlas(thumbnails, cells, threads=count) for count in (1, 4))
    assert one == many
