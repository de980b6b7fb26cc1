"""Thumbnails in a page: many small pictures in a few JPEG sheets instead of an image each."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from PIL import Image

from fallow.report.page import Html, element, join

SHEET_SIDE = 2048  # every browser decodes this without trouble


@dataclass(frozen=True)
class Tile:
    """Where one thumbnail lies."""

    sheet: int
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Atlas:
    """Sheets (JPEG), their widths, and the tile of each thumbnail that has one."""

    sheets: list[bytes]
    widths: list[int]
    tiles: dict[int, Tile]

    def style(self) -> Html:
        """One CSS class per sheet; lists and the map read the same bytes."""
        rules = [
            f".sheet{number}{{--sheet:{width};background-image:url(data:image/jpeg;base64,"
            f"{base64.b64encode(sheet).decode()})}}"
            for number, (sheet, width) in enumerate(zip(self.sheets, self.widths, strict=True))
        ]
        return join(element("style", Html(rule)) for rule in rules)

    def picture(self, index: int, alt: str, side: int = 112) -> Html:
        """Thumbnail `index` at most `side` pixels wide and high."""
        tile = self.tiles.get(index)
        if tile is None:
            return element("span", class_="picture none", role="img", aria_label=alt)
        scale = min(side / max(tile.width, tile.height), 2)
        style = (
            f"--x:{tile.x};--y:{tile.y};--w:{tile.width};--h:{tile.height};--k:{round(scale, 3):g}"
        )
        return element(
            "span", class_=f"picture sheet{tile.sheet}", role="img", aria_label=alt, style=style
        )


def build_atlas(
    thumbnails: Sequence[bytes],
    cells: Mapping[int, Sequence[int]] | None = None,
    *,
    quality: int = 74,
    threads: int = 2,
) -> Atlas:
    """Sheets for `cells`: {cell side: indices of the thumbnails to hold at that side}.

    >>> buffer = io.BytesIO()
    >>> Image.new("RGB", (80, 60)).save(buffer, "JPEG")
    >>> build_atlas([buffer.getvalue()], {64: [0]}).tiles[0]
    Tile(sheet=0, x=0, y=0, width=64, height=48)
    """
    jobs: list[tuple[int, list[int]]] = []
    for side, chosen in (cells or {128: range(len(thumbnails))}).items():
        indices = [index for index in chosen if thumbnails[index]]
        side = _useful_side(thumbnails, indices, side)
        room = (SHEET_SIDE // side) ** 2
        jobs += [(side, indices[at : at + room]) for at in range(0, len(indices), room)]

    def draw(job: tuple[int, list[int]]) -> tuple[bytes, int, list[tuple[int, int, int, int]]]:
        side, indices = job
        columns = min(math.ceil(math.sqrt(len(indices))), SHEET_SIDE // side)
        rows = math.ceil(len(indices) / columns)
        sheet = Image.new("RGB", (columns * side, rows * side), (127, 127, 127))
        places = []
        for slot, index in enumerate(indices):
            picture = Image.open(io.BytesIO(thumbnails[index]))
            if max(picture.size) > side:
                picture.thumbnail((side, side), Image.Resampling.BILINEAR)
            x, y = slot % columns * side, slot // columns * side
            sheet.paste(picture, (x, y))
            _extend(sheet, picture, x, y, side)
            places.append((x, y, picture.width, picture.height))
        buffer = io.BytesIO()
        sheet.save(buffer, "JPEG", quality=quality)
        return buffer.getvalue(), sheet.width, places

    with ThreadPoolExecutor(threads) as pool:
        drawn = list(pool.map(draw, jobs))
    atlas = Atlas([sheet for sheet, _, _ in drawn], [width for _, width, _ in drawn], {})
    for number, ((_, indices), (_, _, places)) in enumerate(zip(jobs, drawn, strict=True)):
        for index, place in zip(indices, places, strict=True):
            atlas.tiles[index] = Tile(number, *place)
    return atlas


def _extend(sheet: Image.Image, picture: Image.Image, x: int, y: int, side: int) -> None:
    """The last row and column once more, so that JPEG blocks do not mix the gray into them."""
    width, height = picture.size
    below, right = min(16, side - height), min(16, side - width)
    if below:
        edge = picture.crop((0, height - 1, width, height))
        sheet.paste(edge.resize((width, below), Image.Resampling.NEAREST), (x, y + height))
    if right:
        edge = picture.crop((width - 1, 0, width, height))
        sheet.paste(edge.resize((right, height), Image.Resampling.NEAREST), (x + width, y))


def _useful_side(thumbnails: Sequence[bytes], indices: Sequence[int], side: int) -> int:
    """No cell larger than the pictures; whole JPEG blocks, so that neighbours do not bleed."""
    largest = 16
    for index in indices[:: max(1, len(indices) // 32)]:
        with Image.open(io.BytesIO(thumbnails[index])) as picture:
            largest = max(largest, *picture.size)
    return min(side, math.ceil(largest / 16) * 16)
