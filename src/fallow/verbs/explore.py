"""`explore`: what is in a folder of images, found without being told anything about it."""

from __future__ import annotations

import shutil
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

from threadpoolctl import threadpool_limits

from fallow import declare
from fallow.images import Images, opened
from fallow.inventory import store
from fallow.inventory.look import ENCODING, Ready, measured, ready_encoder
from fallow.inventory.survey import survey
from fallow.outcomes import thumbnail, writable
from fallow.outcomes.explored import Explored
from fallow.problems import SettingProblem
from fallow.report.explore import explore_page


@declare.verb(
    example="fallow explore photos/ --labels labels.csv --out found/", out="{name}-explore"
)
def explore(
    source: declare.Source,
    *,
    labels: declare.Labels = None,
    where: declare.Where = None,
    encoder: declare.EncoderName = None,
    out: declare.Out = None,
    seed: declare.Seed = 0,
    groups: Annotated[
        int | None, declare.Option("so many groups, not the proposed number", int)
    ] = None,
    export_clean: Annotated[
        declare.Address | None,
        declare.Option("write the list of images worth keeping here", seldom=True),
    ] = None,
    threads: int = 2,
    engine: declare.Engine = "here",
    workers: declare.Workers = None,
) -> Explored:
    """Map a folder: groups, duplicates, outliers, poor and broken pictures, doubtful labels.

    With `out`, writes `report.html`, `images.lance` (one row per image, a version per run),
    `findings.json` and `settings.json`; a second run into the same folder decodes and encodes only
    content it has not seen. `groups` asks for that many groups instead of the proposed number;
    `export_clean` names a CSV for the keep list. With engine ray pixels are read by its workers,
    part by part below `out`/parts, and an interrupted run goes on after the last finished part.
    Nothing of the source is changed.

    >>> from fallow.images.samples import shapes
    >>> explore(shapes(30, side=24)).table.num_rows
    30
    """
    if groups is not None and groups < 1:
        raise SettingProblem(f"groups={groups} is not possible: ask for one or more")
    clock = _Clock()
    parts = declare.parts_below(out, engine, workers)
    # the encoder loads while files are listed and decoded
    with ThreadPoolExecutor(ENCODING, thread_name_prefix="fallow-encode") as encoding:
        ready = encoding.submit(_encoder, encoder, out)
        known = before = None
        if parts is not None:
            images, known = _spread(source, labels, where, ready, parts, workers)
        else:
            images = opened(source, labels, where)
        place = None if out is None else writable(out)
        clock.lap("open")
        storing = threading.Thread(target=import_module, args=("fallow.inventory.lance",))
        if place is not None:
            storing.start()
            before = store.made_with(place)
            if known is None and store.exists(place):
                known = store.read(place, ready.result().key)
        rows, seen, fresh = measured(images, encoding, ready, known, threads, thumbnail)
    chosen = ready.result()
    chosen.restore()
    clock.lap("pixels")
    # the products are small: a second BLAS thread mostly waits, and waiting burns the other core
    with threadpool_limits(1, user_api="blas"):
        found = survey(images, rows, seen, combined=bool(chosen.note), seed=seed, groups=groups)
    clock.lap("analyse")
    asked = {
        "encoder": chosen.encoder.name,
        "seed": seed,
        "groups": groups,
        "out": str(place),
        "address": getattr(images, "source", ""),
        "seen before with": before,
        "seen as before": known is not None,
    }
    result = Explored(images, chosen, found, explore_page, {**asked, "newly measured": fresh})
    clock.lap("result")
    result.findings["seconds"] = clock.laps
    if place is not None:
        storing.join()
        result.save(place)
        if parts is not None:
            shutil.rmtree(parts)
        clock.lap("save")
    if export_clean is not None:
        result.export_clean(export_clean)
    return result


def _spread(
    source: Any,
    labels: Any,
    where: str | None,
    ready: Future[Ready],
    parts: Path,
    workers: int | None,
) -> tuple[Images, tuple[list[str], store.Measured]]:
    """The collection and all that was read from its pixels, by workers of a cluster."""
    from fallow.scale.pictures import look

    encoder = ready.result().encoder
    images, seen, _ = look(
        source, parts, labels=labels, where=where, encoder=encoder, workers=workers
    )
    return images, seen


def _encoder(asked: Any, out: declare.Address | None) -> Ready:
    """The encoder; a collection goes on being seen as it was, so that only new content is new."""
    before = None if asked is not None or out is None else store.encoder_of(Path(out))
    return ready_encoder(asked or before)


class _Clock:
    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = round(now - self._last, 3)
        self._last = now
