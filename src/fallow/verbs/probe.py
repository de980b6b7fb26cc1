"""`probe`: how well labels can be read off an encoder's vectors, beside plain baselines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa

from fallow import encoders
from fallow.declare import Labels, Option, Seed, Where, verb
from fallow.device import best_device
from fallow.images import opened
from fallow.measure.scores import scores, sentences, split_of
from fallow.methods import find, slugs
from fallow.outcomes import Result
from fallow.problems import SettingProblem


@verb(example="fallow probe my-encoder --labels labels.csv")
def probe(
    run: Annotated[Any, Option("folder of a run, or an encoder name", argument=True)],
    source: Annotated[Any, Option("images; the run's own if left out", argument=True)] = None,
    *,
    labels: Labels = None,
    where: Where = None,
    seed: Seed = 0,
) -> Result:
    """k-NN and linear probe of a run's encoder on labelled images.

    Without `source`, the images the run was trained on. Rows whose `split` is train teach and
    those of test are asked; without such a column, one image in five of each class is asked.

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
    rows = scores({"encoder": encoder}, images, seed=seed)
    headlines = sentences(rows)
    if _was_taught(run) and split_of(images) is None:
        headlines.append(
            "warning: the run was taught labels, maybe those of the images asked: use others, or "
            "train with a column split (train, test)"
        )
    return Result(pa.Table.from_pylist(rows), headlines=headlines, findings={"scores": rows})


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
