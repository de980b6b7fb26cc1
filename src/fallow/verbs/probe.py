"""`probe`: how well labels can be read off an encoder's vectors, beside plain baselines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa

from fallow import declare, encoders
from fallow.device import best_device
from fallow.images import opened
from fallow.measure.scores import raw_pixels, scores, sentences, split_of
from fallow.methods import find, settle, slugs
from fallow.methods.probe import faces
from fallow.outcomes import Result
from fallow.problems import SettingProblem


@declare.verb(
    example="fallow probe my-encoder --labels labels.csv", systems="probe", system="protocol"
)
def probe(
    run: Annotated[Any, declare.Option("folder of a run, or an encoder name", argument=True)],
    source: Annotated[
        Any, declare.Option("images; the run's own if left out", argument=True)
    ] = None,
    *,
    labels: declare.Labels = None,
    where: declare.Where = None,
    protocol: Annotated[
        str | None,
        declare.Option(
            "faces: several tasks with few labels, and what repeats itself", seldom=True
        ),
    ] = None,
    tasks: Annotated[
        Sequence[str],
        declare.Option("columns to be told from the images; points for key points", list),
    ] = ("label",),
    subject: Annotated[
        str | None, declare.Option("column that names whom or what an image shows", seldom=True)
    ] = None,
    settings: declare.Settings = None,
    out: declare.Out = None,
    seed: declare.Seed = 0,
) -> Result:
    """k-NN and linear probe of a run's encoder on labelled images.

    Without `source`, the images the run was trained on. Rows whose `split` is train teach and
    those of test are asked; without such a column, one image in five of each class is asked.
    With `protocol`, every column of `tasks` is asked with few labels and with all; the images of
    one `subject` are never on both sides, and whether two show the same one is asked, too.

    >>> import fallow
    >>> from fallow.images.samples import shapes
    >>> result = probe(fallow.encoder("resnet8/8"), shapes(120, seed=0, side=24))
    >>> result.table.column("name").to_pylist()
    ['encoder', 'raw pixels']
    """
    named = isinstance(run, str | Path)
    encoder = encoders.encoder(str(run)).to(best_device()) if named else run
    if source is None:
        about = _trained_on(run)
        source, labels = about["source"], labels or about.get("labels")
        where = where or about.get("where")
    images = opened(source, labels, where)
    if protocol is not None:
        given = settle("probe", protocol, settings)
        return _by_protocol(encoder, images, tasks, subject, faces.Settings(**given), seed).saved(
            out
        )
    rows = scores({"encoder": encoder}, images, seed=seed)
    headlines = sentences(rows)
    if _was_taught(run) and split_of(images) is None:
        headlines.append(
            "warning: the run was taught labels, maybe those of the images asked: use others, or "
            "train with a column split (train, test)"
        )
    found = Result(pa.Table.from_pylist(rows), headlines=headlines, findings={"scores": rows})
    return found.saved(out)


def _by_protocol(
    encoder: Any,
    images: Any,
    names: Sequence[str],
    subject: str | None,
    settings: faces.Settings,
    seed: int,
) -> Result:
    """Several tasks asked of the encoder, of raw pixels and of nothing at all."""
    tasks = [faces.task(images, name) for name in names]
    shown = None if subject is None else faces.task(images, subject).targets
    points = any(one.kind == "points" for one in tasks)
    seen = {"encoder": faces.see(encoder, images, points)}
    pixels = raw_pixels(images)
    seen["raw pixels"] = faces.Seen(pixels, pixels if points else None, seen["encoder"].frame)
    blind = np.ones(
        (len(images), 1)
    )  # the mean, or the commonest class: what no look is needed for
    seen["nothing"] = faces.Seen(blind, blind if points else None, seen["encoder"].frame)
    rows = faces.judged(seen, images, tasks, shown, settings, seed)
    repeats = faces.repeated(seen["encoder"], images, tasks, shown, settings, seed)
    headlines = [
        f"{row['task']}, {row['labels'] or 'no'} labels, {row['measure']}: {row['mean']:.3f} "
        f"({row['encoder']})"
        for row in rows
        if row["labels"] in (0, max(r["labels"] for r in rows if r["task"] == row["task"]))
        and ", low" not in row["measure"]
        and ", high" not in row["measure"]
    ]
    headlines.append(
        f"{repeats['pictures']:,} images that teach spread like "
        f"{repeats['effective number']:,.0f} that have nothing in common"
    )
    return Result(
        pa.Table.from_pylist(rows),
        headlines=headlines,
        findings={"scores": rows, "redundancy": repeats, "settings": settings.model_dump()},
    )


def _was_taught(run: Any) -> bool:
    """Whether a run's method learnt from labels."""
    path = Path(run) / "run.json" if isinstance(run, str | Path) else None
    if path is None or not path.is_file():
        return False
    slug = json.loads(path.read_text())["method"].lower()
    return slug in slugs("learn") and find("learn", slug).learns_labels


def _trained_on(run: Any) -> dict[str, Any]:
    """What a run's folder remembers of its images."""
    path = Path(run) / "run.json" if isinstance(run, str | Path) else None
    if path is None or not path.is_file():
        raise SettingProblem("say which images to probe with: only the folder of a run knows")
    about = json.loads(path.read_text()).get("about", {})
    if not about.get("source"):
        raise SettingProblem(f"{run} does not say which images it was trained on: name them")
    return about
