"""Sorting images into known and new classes: by vectors as they are, or after training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch

from fallow.encoders import chosen_encoder
from fallow.images import Images
from fallow.inventory.counting import Count, count_classes
from fallow.inventory.discovered import Discovery
from fallow.methods import budget, find, module_of, settings_of, settle
from fallow.methods.shared.known import Known
from fallow.methods.shared.plan import MINUTES, choose
from fallow.problems import SettingProblem, SourceProblem
from fallow.train import fit, make_settings
from fallow.vectors.space import unit


class Sorter(NamedTuple):
    """A system and what it was told; it sorts vectors as they are, trains, or can do both."""

    slug: str
    frozen: Any  # (vectors, known, settings, seed) -> Discovery, or None
    trained: Any  # Method, or None
    given: dict[str, Any]

    @property
    def trains(self) -> bool:
        return bool(self.given.get("minutes") or self.given.get("epochs"))


class Sorted(NamedTuple):
    """Where the images that could be read belong, and by what that was seen."""

    rows: np.ndarray  # of the images that could be read
    found: Discovery
    encoder: str
    settings: dict[str, Any]
    notes: list[str]


def sorter(
    slug: str,
    settings: Mapping[str, Any] | None = None,
    preset: str | None = None,
    *,
    classes: int | None = None,
    minutes: float | None = None,
    epochs: float | None = None,
) -> Sorter:
    """A system of `discover` as asked for; one that must train has a budget.

    >>> sorter("gpc").trains, sorter("gpc", epochs=2).trains, sorter("simgcd").given
    (False, True, {'minutes': 10.0})
    """
    module = module_of("discover", slug)
    frozen = getattr(module, "discover", None)
    trained = None if hasattr(module, "Settings") else find("discover", slug)
    given = settle("discover", slug, settings, preset, classes=classes)
    told = minutes is not None or epochs is not None
    if trained is None:
        if told:
            raise SettingProblem(f"{slug} does not train: leave minutes and epochs out, or use gpc")
    elif told or frozen is None:
        given = budget(given, minutes, epochs, MINUTES)
        make_settings(trained.Settings, given)
    return Sorter(slug, frozen, trained, given)


def sort_images(
    how: Sorter,
    known: Known,
    encoder: Any = None,
    *,
    folder: Path | None = None,
    seed: int = 0,
    tell: Callable[[str], None] = lambda line: None,
    progress_bar: bool = False,
) -> Sorted:
    """Sort all readable images; what trains first leaves its run in `folder`, if there is one."""
    network, note = chosen_encoder(encoder)
    given, notes = dict(how.given), [note] if note else []
    if how.trains:
        likely = None
        if _counts_first(how, given):
            count = _count(known, network, seed)
            given["classes"], likely = count.classes, (count.low, count.high)
            tell(f"{count.classes} classes (likely between {count.low} and {count.high}), as "
                 f"counted with the encoder {network.name} as it is")  # fmt: skip
        run = _trained(how.trained, known, network, given, folder, seed, tell, progress_bar)
        rows, vectors = _seen(known.images, run.encoder)
        found = run.method.discover(vectors, known.codes[rows], seed)  # type: ignore[operator]
        found = replace(found, likely=likely)
        notes = list(run.warnings)
    else:
        rows, vectors = _seen(known.images, network)
        tell(f"{len(rows):,} images seen by {network.name}")
        chosen = make_settings(settings_of("discover", how.slug)[0], given)
        found = how.frozen(vectors, known.codes[rows], chosen, seed)
    return Sorted(rows, found, network.name, given, [*found.notes, *notes])


def _seen(images: Images, encoder: Any) -> tuple[np.ndarray, np.ndarray]:
    """Rows that could be read, and their vectors; numbers that are none are the encoder's fault."""
    vectors = encoder.embed(images)
    good = np.isfinite(vectors).all(1)
    broken = {problem.path for problem in images.problems}
    paths = images.table.column("path").to_pylist()
    strange = [paths[row] for row in np.flatnonzero(~good) if paths[row] not in broken]
    if strange:
        raise SourceProblem(
            f"the features of {len(strange):,} {'image' if len(strange) == 1 else 'images'} are "
            f"not finite numbers, {strange[0]} first: the encoder {encoder.name} is broken, "
            "choose another"
        )
    rows = np.flatnonzero(good)
    if not len(rows):
        raise SourceProblem(f"none of the {len(images):,} images in {images.name} can be decoded")
    return rows, vectors[rows]


def _counts_first(how: Sorter, given: Mapping[str, Any]) -> bool:
    """Whether classes are counted before training: it makes labelled images look tight."""
    if given.get("classes") is not None:
        return False
    asked = make_settings(how.trained.Settings, given)
    return how.frozen is None or asked.counted == "by known classes"


def _count(known: Known, encoder: Any, seed: int) -> Count:
    """How many classes there are by the encoder as it is, for a system that must be told."""
    rows, vectors = _seen(known.images, encoder)
    return count_classes(unit(vectors), known.codes[rows], seed=seed)


def _trained(
    kind: Any,
    known: Known,
    encoder: Any,
    given: Mapping[str, Any],
    folder: Path | None,
    seed: int,
    tell: Callable[[str], None],
    progress_bar: bool,
) -> Any:
    """A run on all images, with the labels that are known."""
    plan = choose(known.images, given.get("minutes"), torch.cuda.is_available())
    suited = {"size": given.get("size", encoder.size), "batch": plan.batch}
    names = [known.names[code] if code >= 0 else None for code in known.codes.tolist()]
    table = {"path": known.images.table.column("path"), "label": pa.array(names, pa.string())}
    return fit(
        kind,
        known.images.join(pa.table(table)),
        encoder=encoder,
        settings=make_settings(kind.Settings, {**suited, **given}),
        out=folder,
        seed=seed,
        tell=tell,
        progress_bar=progress_bar,
    )
