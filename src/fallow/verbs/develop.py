"""`develop`: pictures from raw files, in a learnt look, for another camera, or at night."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from fallow import declare
from fallow.device import best_device
from fallow.images import opened
from fallow.methods.shared.developing import (
    at_night,
    like_camera,
    like_photos,
    photo_sources,
    plainly,
    raw_sources,
    settled,
)
from fallow.outcomes.developed import Developed, developed, place_for
from fallow.problems import SettingProblem, did_you_mean
from fallow.report.develop import develop_page

METHODS = ("plain", "lightisp", "rawformer", "day2night")


@declare.verb(
    example="fallow develop raws/ --like photos/ --minutes 20",
    out="{name}-develop",
    systems="develop",
    system="method",
)
def develop(
    source: Annotated[Any, declare.Option("raw files (or photos, to night)", argument=True)],
    *,
    like: Annotated[
        Any, declare.Option("photos whose look to learn; raw files for rawformer; real nights")
    ] = None,
    method: Annotated[
        str | None, declare.Option("plain, lightisp, rawformer, day2night; chosen if left out")
    ] = None,
    to: Annotated[str | None, declare.Option("night: make nights of day photos")] = None,
    bits: Annotated[
        int, declare.Option("of a colour in the pictures: 8 or 16", int, seldom=True)
    ] = 8,
    where: declare.Where = None,
    minutes: declare.Minutes = None,
    out: declare.Out = None,
    preset: declare.Preset = None,
    settings: declare.Settings = None,
    seed: declare.Seed = 0,
    tell: declare.Tell = declare.silent,
) -> Developed:
    """Make pictures of raw files: plainly, in the look of photos, or of another camera's raw.

    Without `like`, files are developed plainly. With it a small network learns the look of
    unrelated photos (`lightisp`), and is written for phones, too. With `method="rawformer"`, `like`
    is raw files of another camera, and DNGs come out as that camera would have recorded them. With
    `to="night"`, photos become nights, as dark as those of `like`, if given.

    >>> from fallow.images.samples import shapes
    >>> result = develop(shapes(4, side=48), to="night")
    >>> result.table.num_rows, result.findings["facts"]["method"]
    (4, 'day2night')
    """
    how = _method(method, like, to)
    if bits not in (8, 16) or (bits == 16 and how not in ("plain", "lightisp")):
        raise SettingProblem("bits is 8, or 16 where raw files become pictures (plain, lightisp)")
    given = settled(how, settings, preset, minutes)
    place = place_for(out, source)
    about: dict[str, Any] = {
        "source": declare.stem(str(source)) if isinstance(source, str | Path) else "photos",
        "created": datetime.datetime.now().isoformat(" ", "minutes"),
        "settings": given,
        "seed": seed,
    }
    if how == "day2night":
        images = opened(source, where=where)
        nights = None if like is None else opened(like)
        files = photo_sources(images)
        way = at_night(images, nights, given, seed=seed)
        return developed(files, way, place, develop_page, about, tell)
    if where is not None:
        raise SettingProblem("where= chooses photos; raw files are chosen by their folder")
    files = raw_sources(source)
    training: Mapping[str, Any] = {
        "seed": seed,
        "folder": None if place is None else place / "training",
        "tell": tell,
        "device": best_device(),
    }
    if how == "plain":
        way = plainly(given, bits)
    elif how == "lightisp":
        way = like_photos(files, opened(like), given, bits=bits, **training)
    else:
        way = like_camera(files, raw_sources(like), given, **training)
    return developed(files, way, place, develop_page, about, tell)


def _method(method: str | None, like: Any, to: str | None) -> str:
    """Which system was meant; a SettingProblem where words contradict each other."""
    if to not in (None, "night"):
        raise SettingProblem(f"to is night, or left out, not {to!r}")
    chosen = method or ("day2night" if to else "plain" if like is None else "lightisp")
    if chosen not in METHODS:
        hint = did_you_mean(chosen, METHODS)
        raise SettingProblem(f"there is no method {chosen!r} to develop: {hint}")
    if (to == "night") != (chosen == "day2night"):
        raise SettingProblem('nights are made with to="night" (day2night), and nothing else is')
    if chosen in ("lightisp", "rawformer") and like is None:
        what = "photos whose look to learn" if chosen == "lightisp" else "the other camera's files"
        raise SettingProblem(f"{chosen} needs {what}: say so with like=")
    if chosen == "plain" and like is not None:
        raise SettingProblem("plain developing looks like nothing else: leave out like=")
    return chosen
