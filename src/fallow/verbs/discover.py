"""`discover`: sort everything when only some classes are labelled, and count the new ones."""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from fallow import declare
from fallow.images import Images, opened
from fallow.methods.shared.known import enough_to_discover, read_known
from fallow.methods.shared.pixels import (
    masked_in_part,
    measured,
    pixel_sorter,
    sort_pixels,
)
from fallow.methods.shared.sorting import sort_images, sorter
from fallow.outcomes.accepted import accept_run
from fallow.outcomes.discovered import Discovered
from fallow.outcomes.discovered_pixels import PixelDiscovery
from fallow.problems import SettingProblem
from fallow.report.discover import discover_page
from fallow.report.discover_pixels import discover_pixels_page


def _folder(name: str, given: Mapping[str, Any]) -> str | None:
    """Accepted groups go into the run they were found by."""
    return None if given.get("accept") else f"{name}-discover"


@declare.verb(
    example="fallow discover photos/ --labels some.csv --truth all.csv",
    out=_folder,
    systems="discover",
    system="method",
)
def discover(
    source: Annotated[
        Any, declare.Option("images; with --accept, the folder of a run", argument=True)
    ],
    *,
    labels: Annotated[
        Any, declare.Option("CSV of two columns: path, and label of some", Path)
    ] = None,
    hide: Annotated[
        str | None,
        declare.Option("labels that only judge, e.g. \"gcd = 'unlabelled'\"", seldom=True),
    ] = None,
    truth: Annotated[
        Any,
        declare.Option(
            "CSV with the label of all images, or masks; it only judges", Path, seldom=True
        ),
    ] = None,
    where: declare.Where = None,
    masks: Annotated[
        Any, declare.Option("sort pixels: folder of masks of some images", Path)
    ] = None,
    names: Annotated[
        Any, declare.Option("with masks: YAML of class names and their mask values", Path)
    ] = None,
    regions: Annotated[
        Any, declare.Option("with masks: superpixels, or sam:NAME of the hub", seldom=True)
    ] = None,
    ignore: Annotated[
        Sequence[Any] | None,
        declare.Option("with masks: a value that is no class", list, seldom=True),
    ] = None,
    segmenter: Annotated[
        Any,
        declare.Option(
            "with masks and minutes: the network that learns what was found", seldom=True
        ),
    ] = None,
    method: Annotated[
        str, declare.Option("gpc, gcd or simgcd; with masks gcdss or kmeans")
    ] = "gpc",
    classes: Annotated[int | None, declare.Option("how many there are, if known", int)] = None,
    encoder: declare.EncoderName = None,
    minutes: declare.Minutes = None,
    epochs: declare.Epochs = None,
    accept: Annotated[
        Mapping[str, str] | None,
        declare.Option('turn a found group into labels: "new 1=oak"', dict),
    ] = None,
    sure: Annotated[
        float, declare.Option("accept images at least so sure, 0 to 1", float, seldom=True)
    ] = 0.0,
    out: declare.Out = None,
    preset: declare.Preset = None,
    settings: declare.Settings = None,
    seed: declare.Seed = 0,
    tell: declare.Tell = declare.silent,
    progress_bar: declare.Bar = False,
) -> Any:
    """Put every unlabelled image into a known class or a new one, and say how many there are.

    `labels` is a CSV of two columns, path and label, that names some images of some classes.
    Without `minutes` or `epochs` the encoder stays as it is and the answer takes seconds; with
    them, gpc and simgcd train it. `classes` says how many there are instead of counting them.
    What is known beyond the labels only judges the result: `truth` is such a CSV for all images,
    and `hide`, like "gcd = 'unlabelled'", keeps the labels of some images from the method.
    Everything is written into `out`, if given.

    With `masks`, a folder of masks of some images, every pixel of the others is sorted instead
    (method gcdss, or the plain baseline kmeans). Images are cut into `regions`, "superpixels",
    "sam:NAME" or a callable, each is looked at by the encoder and sorted by its neighbours. `names`
    name the masks' values, `ignore` lists values that are no class, and `truth` is a folder of
    masks of all classes. With `minutes` a segmenter is trained on the masks and the maps found,
    and its maps are the result. What takes long is kept in the cache: a run that was stopped goes
    on where it was.

    With `accept`, `source` is the folder of such a run: {"new 1": "oak"} turns the group into
    labels of those at least `sure`, written with the old ones into its labels.csv, or into masks.

    >>> from fallow.images.samples import shapes
    >>> images = shapes(120, seed=0, side=32)
    >>> kinds = images.column("label")
    >>> old = sorted(set(kinds))[:3]
    >>> known = [k if k in old and n % 5 < 3 else None for n, k in enumerate(kinds)]
    >>> result = discover(images, labels={"path": images.column("path"), "label": known})
    >>> result.count >= 3, result.table.num_rows
    (True, 120)
    """
    if accept is not None:
        return accept_run(source, accept, sure, out)
    if masks is not None or method == "gcdss":
        _apart({"labels": labels, "hide": hide, "classes": classes, "epochs": epochs})
        way = pixel_sorter("gcdss" if method == "gpc" else method, settings, preset)
        images = opened(source, None, where)
        masked = masked_in_part(images, masks, names, ignore)
        clock = time.perf_counter()
        sort = sort_pixels(
            way,
            masked,
            regions=regions,
            encoder=encoder,
            minutes=minutes or 0.0,
            segmenter=segmenter,
            seed=seed,
            tell=tell,
        )
        scores = {} if truth is None else measured(sort, truth, names, ignore)
        facts = _facts(images, way.slug, way.settings.model_dump(), seed, clock)
        return PixelDiscovery(sort, scores, facts, discover_pixels_page).saved(out)
    if any(given is not None for given in (names, regions, segmenter)):
        raise SettingProblem(
            "names, regions and segmenter belong to masks: give a folder of masks too"
        )
    how = sorter(method, settings, preset, classes=classes, minutes=minutes, epochs=epochs)
    known = read_known(source, labels, hide, truth, where)
    enough_to_discover(known, how.given.get("classes"))
    clock = time.perf_counter()
    done = sort_images(
        how,
        known,
        encoder,
        folder=None if out is None else Path(out) / "training",
        seed=seed,
        tell=tell,
        progress_bar=progress_bar,
    )
    facts = _facts(known.images, method, done.settings, seed, clock)
    facts |= {"mode": "trained" if how.trains else "frozen encoder"}
    return Discovered(known, done, facts, discover_page).saved(out)


def _facts(
    images: Images, method: str, settings: dict[str, Any], seed: int, clock: float
) -> dict[str, Any]:
    return {
        "source": images.name,
        "address": getattr(images, "source", ""),  # the studio opens the pictures there
        "fingerprint": images.fingerprint,
        "created": datetime.datetime.now().isoformat(" ", "minutes"),
        "method": method,
        "settings": settings,
        "seed": seed,
        "seconds": round(time.perf_counter() - clock, 2),
        "problems": [{"path": one.path, "reason": one.reason} for one in images.problems],
    }


def _apart(given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if value is not None:
            raise SettingProblem(
                f"{name} sorts whole images and masks sort pixels: leave one of them out"
            )
