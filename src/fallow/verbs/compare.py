"""`compare`: several training runs beside each other, as a table and as curves."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa

from fallow.declare import Address, Labels, Option, Out, Seed, Where, verb
from fallow.device import best_device
from fallow.encoders import encoder
from fallow.images import opened
from fallow.measure.scores import scores
from fallow.outcomes import Result
from fallow.problems import SettingProblem, SourceProblem
from fallow.report.learn import compare_page

# what a row of the table says of a run, where it is known
FACTS = ("method", "encoder", "steps", "minutes", "loss")


@verb(example="fallow compare run-a run-b --on photos/", out="fallow-compare")
def compare(
    runs: Annotated[Sequence[Address], Option("folders of runs of learn", list, argument=True)],
    *,
    on: Annotated[Any, Option("labelled images to score all of them on")] = None,
    labels: Labels = None,
    where: Where = None,
    out: Out = None,
    seed: Seed = 0,
) -> Result:
    """Put runs of `learn` beside each other: final values, scores, curves, settings that differ.

    With `on`, every encoder is scored on those labelled images; without, the runs' own scores are
    shown, which are comparable only if they were measured on the same images.

    >>> import tempfile
    >>> import fallow
    >>> from fallow.images.samples import shapes
    >>> folders = [f"{tempfile.mkdtemp()}/{name}" for name in ("a", "b")]
    >>> for seed, folder in enumerate(folders):
    ...     run = fallow.learn(
    ...         shapes(32, seed=0, side=24), encoder="resnet8/8", epochs=1, seed=seed, out=folder
    ...     )
    >>> compare(folders).table.column("run").to_pylist()
    ['a', 'b']
    """
    folders = [Path(run) for run in runs]
    if len({folder.resolve() for folder in folders}) < 2:
        raise SettingProblem("comparing takes at least two different runs: name their folders")
    if on is None and (labels is not None or where is not None):
        raise SettingProblem("labels= and where= belong to the images to score on: give on=")
    found = [_read(folder) for folder in folders]
    for one, name in zip(found, _short_names(folders), strict=True):
        one["name"] = name
    if on is not None:
        _score(found, folders, opened(on, labels, where), seed)
    rows = [_row(one) for one in found]
    keys = list(dict.fromkeys(key for row in rows for key in row))
    table = pa.table({key: [row.get(key) for row in rows] for key in keys})
    findings = {
        "title": "Runs compared",
        "created": datetime.datetime.now().isoformat(" ", "minutes"),
        "runs": found,
    }
    result = Result(
        table,
        headlines=[_sentence(row) for row in rows],
        findings=findings,
        page=lambda found: compare_page(found["runs"], found["title"]),
    )
    return result.saved(out)


def _read(folder: Path) -> dict[str, Any]:
    """What a run of `learn` left in its folder."""
    path = folder / "run.json"
    try:
        about = json.loads(path.read_text())
        lines = (folder / "metrics.jsonl").read_text().splitlines()
    except FileNotFoundError:
        raise SourceProblem(f"{folder} is not the folder of a run of learn") from None
    except (OSError, ValueError) as error:
        raise SourceProblem(f"the run in {folder} cannot be read: {error}") from None
    if not {"method", "encoder", "settings"} <= about.keys():
        raise SourceProblem(f"{folder} is not the folder of a run of learn")
    scores = folder / "scores.json"
    return {
        "about": about,
        # a run that was killed may have left half a line
        "metrics": [json.loads(line) for line in lines if line.endswith("}")],
        "scores": json.loads(scores.read_text()) if scores.is_file() else [],
        "settings": {"method": about["method"], "encoder": about["encoder"], "seed": about["seed"]}
        | {key: value for key, value in about["settings"].items() if value is not None},
    }


def _short_names(folders: Sequence[Path]) -> list[str]:
    """The folders' own names, or the whole paths where those are not enough.

    >>> _short_names([Path("x/a"), Path("x/b")]), _short_names([Path("x/a"), Path("y/a")])
    (['a', 'b'], ['x/a', 'y/a'])
    """
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def _score(
    found: Sequence[dict[str, Any]], folders: Sequence[Path], images: Any, seed: int
) -> None:
    """Replace the runs' own scores by ones on the same images."""
    encoders = {
        one["name"]: encoder(str(folder)).to(best_device())
        for one, folder in zip(found, folders, strict=True)
    }
    measured = {row["name"]: row for row in scores(encoders, images, seed=seed)}
    for one in found:
        row = measured[one["name"]]
        one["scores"] = [row | {"name": ""}]
    # a floor belongs to the images, so it is shown once
    found[-1]["scores"].append(measured["raw pixels"])


def _row(one: Mapping[str, Any]) -> dict[str, Any]:
    about = one["about"]
    losses = [line["loss"] for line in one["metrics"] if "loss" in line]
    known = {
        "method": about["method"],
        "encoder": about["encoder"],
        "steps": about.get("steps"),
        "minutes": round(about["seconds"] / 60, 2) if "seconds" in about else None,
        "loss": losses[-1] if losses else None,
    }
    row = {"run": one["name"], **{key: known[key] for key in FACTS}}
    for score in one["scores"]:
        if score["name"] in ("", "trained"):
            row |= {key: value for key, value in score.items() if key != "name"}
    return row


def _sentence(row: Mapping[str, Any]) -> str:
    parts = [f"{row['run']}: {row['method']}, {row['encoder']}"]
    if row["steps"] is None:
        parts.append("unfinished")
    else:
        parts.append(f"{row['steps']:,} steps in {row['minutes']:.1f} minutes")
    if row["loss"] is not None:
        parts.append(f"loss {row['loss']:.3f}")
    if "knn" in row:
        parts.append(f"k-NN {row['knn']:.3f}, probe {row['probe']:.3f}")
    return ", ".join(parts)
