"""Pieces that many reports share: what comes first, pictures with names, scales, settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fallow.colours import ramp
from fallow.report.atlas import Atlas, build_atlas
from fallow.report.figures import line_chart
from fallow.report.page import Html, Page, bullets, element, facts, join, paragraphs, tiles


def opening(
    numbers: Mapping[str, object], sentences: Sequence[object], notes: Sequence[object] = ()
) -> Html:
    """What a reader must know before scrolling: numbers, what was found, and what to doubt.

    >>> opening({"images": 3}, ["all alike"], ["3 are few."]).count("<li>")
    1
    """
    notice = element("div", paragraphs(notes), class_="notice", role="note")
    return join(
        [
            tiles(numbers) if numbers else None,
            bullets(sentences, class_="findings"),
            notice if notes else None,
        ]
    )


def subtitle(found: Mapping[str, Any], *names: str) -> str:
    """What is known of these, in one line.

    >>> subtitle({"method": "bcp", "created": None}, "created", "method")
    'bcp'
    """
    return ", ".join(str(found[name]) for name in names if found.get(name))


def pair_atlas(pairs: Sequence[Sequence[bytes]], side: int) -> Atlas:
    """JPEG pictures in twos: those of the k-th pair have the places 2k and 2k + 1."""
    return build_atlas([each for pair in pairs for each in pair], {side: range(2 * len(pairs))})


def file_name(path: str) -> str:
    """The last part of a path.

    >>> file_name("a/b.png"), file_name("c:" + chr(92) + "d.png")
    ('b.png', 'd.png')
    """
    return path.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1] or path


def scale(low: str, high: str) -> Html:
    """The colours of heat maps between two ends, and what they stand for."""
    colours = f"background:linear-gradient(90deg,{','.join(ramp())})"
    bar = element("span", class_="scale", style=colours)
    return element("p", f"{low} ", bar, f" {high}", class_="hint")


def card(
    atlas: Atlas,
    index: int,
    shown: Sequence[str],
    path: str,
    number: str,
    *,
    rank: int,
    side: int,
    said: str | None = None,
    above: bool = True,
    place: int | None = None,
) -> Html:
    """A pair of pictures (`shown` says of what) with rank, name and a number below."""
    pair = [atlas.picture(2 * index + k, f"{what}{path}", side) for k, what in enumerate(shown)]
    return element(
        "article",
        element("div", *pair, class_="pair"),
        element(
            "p",
            element("b", f"{rank}"),
            # names are cut at their beginning, from right to left: this one still reads forward
            element("span", element("bdi", file_name(path)), class_="name", title=path),
            element("span", number, class_="number"),
            element("span", said, class_="said") if said else None,
        ),
        class_="spotted" + (" above" if above else ""),
        data_place=place,
    )


def cards(made: Sequence[Html], rest: int = 0, where: str = "") -> Html | None:
    """Cards beside each other, and how many more are elsewhere; None without any."""
    if not made:
        return None
    more = element("p", f"{rest:,} more {where}", class_="hint") if rest else None
    return join([element("div", *made, class_="odd"), more])


def filled(found: Mapping[str, Any] | None) -> Html | None:
    """Names and values where there are any that say something."""
    known = {name: value for name, value in (found or {}).items() if value is not None}
    return facts(known) if known else None


def closing(page: Page, found: Mapping[str, Any], settings: Mapping[str, Any] | None) -> None:
    """The sections every report ends with: files that could not be read, and settings."""
    page.unreadable(found.get("problems") or [])
    page.section("Settings", filled(settings), empty="Everything ran with the defaults.")


def of_training(page: Page, found: Mapping[str, Any], curves: Html | None, atlas: Atlas) -> None:
    """The end of a trained run's page: its curves, then what `closing` says, then the machine."""
    page.section("Training", curves, empty="There are no curves.")
    closing(page, found, found.get("settings"))
    page.section("Machine", filled(found.get("machine")), empty="The machine was not recorded.")
    page.tail(atlas.style())


def group(title: object, lines: Sequence[object], *rows: object, more: object = None) -> Html:
    """Things of one kind: what they are called and said to be, beside rows of their pictures."""
    said = [element("p", line) for line in lines]
    about = element("div", element("h3", title), *said, more)
    return element("article", about, element("div", *rows), class_="group")


def row(tiles: Sequence[object]) -> Html | None:
    """Pictures in a line; None without any."""
    return element("div", *tiles, class_="row") if tiles else None


def gallery(
    atlas: Atlas,
    shown: Sequence[tuple[int, str, str, str]],
    side: int,
    count: int,
    where: str,
) -> Html | None:
    """Pictures (place in the atlas, what of, path, what is said) as tiles; where the rest is."""
    if not shown:
        return None
    tiles = []
    for place, what, path, said in shown:
        name = element("span", file_name(path), class_="name", title=path)
        note = element("span", said, class_="note")
        tiles.append(
            element("div", atlas.picture(place, f"{what}{path}", side), name, note, class_="tile")
        )
    rest = f"{count - len(tiles):,} more are in the folder {where}."
    more = element("p", rest, class_="hint") if len(tiles) < count else None
    return join([element("div", *tiles, class_="tiles"), more])


def step_curves(metrics: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> Html | None:
    """How training went: a chart over steps for each of some metrics; None without any."""
    charts = [
        line_chart(
            {title: ([row["step"] for row in used], [row[key] for row in used])},
            title,
            x_label="step",
        )
        for key, title in titles.items()
        if (used := [row for row in metrics if key in row and "step" in row])
    ]
    return element("div", *charts, class_="charts") if charts else None


def to_label_next(
    atlas: Atlas,
    items: Sequence[Mapping[str, Any]],
    shown: Sequence[str],
    number: Callable[[Mapping[str, Any]], str],
    *,
    most: int,
    side: int,
) -> Html | None:
    """Cards of the first items nobody labelled by hand, with the number that says why."""
    free = [k for k, item in enumerate(items) if not item["given"]][:most]
    made = [
        card(atlas, k, shown, str(items[k]["path"]), number(items[k]), rank=rank, side=side)
        for rank, k in enumerate(free, start=1)
    ]
    return cards(made)
