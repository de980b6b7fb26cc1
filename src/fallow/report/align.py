"""The report of `align`: do pictures and words find each other, and which captions to doubt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fallow.report.atlas import Atlas, build_atlas
from fallow.report.figures import line_chart
from fallow.report.page import Html, Page, element, join, table
from fallow.report.sections import closing, group, opening, row, subtitle

SIDE, EACH = 128, 6  # pixels of a picture; pictures shown of a class


def align_page(found: Mapping[str, Any]) -> str:
    """One run of `align` as one HTML text.

    `found` may hold: source, method, encoder, headlines, notes, asked, doubts [{row, path, caption,
    doubt, fits_better, similarity, words [[word, what it adds]]}], classes [{row, path, class,
    probability}], read (rows, side -> JPEGs), run (history), problems, settings.

    >>> "There are no captions" in align_page({})
    True
    """
    page = Page(str(found.get("source", "images")), subtitle=subtitle(found, "method", "encoder"))
    page.lead(opening({}, found.get("headlines") or [], found.get("notes") or []))
    asked = found.get("asked") or []
    page.section(
        "Finding each other",
        table(list(asked[0]), [list(one.values()) for one in asked]) if asked else None,
        intro="Asked of pictures and texts that nothing was learnt from.",
        empty="There were too few pictures to keep some for asking.",
    )
    doubts: Sequence[Mapping[str, Any]] = found.get("doubts") or []
    classes = _by_class(found.get("classes") or [])
    shown = [one["row"] for one in doubts]
    shown += [one["row"] for _, members in classes for one in members[:EACH]]
    read = found.get("read")
    jpegs = list(read(shown, SIDE)) if read and shown else []
    atlas = build_atlas(jpegs, {SIDE: range(len(jpegs))})
    page.section(
        "Captions to doubt",
        element("div", *(_doubt(atlas, k, one) for k, one in enumerate(doubts)), class_="captions")
        if doubts and jpegs
        else None,
        element("style", Html(STYLE)) if doubts else None,
        intro="The most doubtful first. A green word speaks for its picture, a brown one against "
        "it. All are in doubts.csv; captions that were learnt from may have been learnt by heart.",
        empty="There are no captions.",
    )
    if classes:
        page.section("Sorted by words alone", *_classes(atlas, classes, len(doubts)))
    history = [line for line in (found.get("run") or []) if "loss" in line]
    curve = ([line["step"] for line in history], [line["loss"] for line in history])
    page.section(
        "Training", line_chart({"loss": curve}, "Loss", x_label="step") if history else None
    )
    closing(page, found, found.get("settings"))
    page.tail(atlas.style())
    return page.html()


STYLE = """.captions article{display:flex;gap:1rem;align-items:flex-start;margin:.8rem 0}
.captions p{margin:.1rem 0}.captions mark{color:inherit;border-radius:3px;padding:0 2px}"""


def _doubt(atlas: Atlas, place: int, one: Mapping[str, Any]) -> Html:
    most = max((abs(value) for _, value in one.get("words") or []), default=0.0) or 1.0
    words = [_word(word, value / most) for word, value in one.get("words") or []]
    said = element(
        "div",
        element("p", join(words)),
        element("p", "better: ", one["fits_better"], class_="hint")
        if one["fits_better"] != one["caption"]
        else None,
        element("p", f"{one['doubt']:.0%} of others fit better, {one['path']}", class_="hint"),
    )
    return element("article", atlas.picture(place, str(one["path"]), SIDE), said)


def _word(word: str, share: float) -> Html:
    """A word on the colour of what it adds, -1 to 1."""
    hue = "71 105 58" if share > 0 else "154 75 18"
    style = f"background:rgb({hue} / {abs(share) * 0.45:.2f})"
    return join([element("mark", word, style=style), " "])


def _by_class(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Classes with their pictures, the surest first; the largest class first."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for one in sorted(rows, key=lambda row: -row["probability"]):
        found.setdefault(one["class"], []).append(one)
    return sorted(found.items(), key=lambda pair: -len(pair[1]))


def _classes(
    atlas: Atlas, classes: Sequence[tuple[str, list[Mapping[str, Any]]]], place: int
) -> list[Html]:
    made = []
    for name, members in classes:
        first = members[:EACH]
        pictures = [atlas.picture(place + k, str(one["path"]), SIDE) for k, one in enumerate(first)]
        made.append(group(name, [f"{len(members):,} pictures"], row(pictures)))
        place += len(first)
    return made
