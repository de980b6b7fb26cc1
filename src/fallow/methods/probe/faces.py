"""FRL: one encoder asked for several tasks with few labels (Bulat et al. 2022).

Who it is, what the face expresses, how strongly, where its points are: or any other tasks of any
other pictures, a column each. Every task gets the same pictures to learn from, few at first, and
a head of its own on frozen features; a subject is never on both sides. How much a collection
repeats itself is asked in the same way: what is lost with a part of it?
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from fallow.measure.landmarks import point_errors
from fallow.measure.pairs import accepted_at, curve, equal_error
from fallow.measure.probe import ridge_probe
from fallow.measure.ratings import (
    concordance,
    consistency,
    correlation,
    root_mean_square,
    sign_agreement,
)
from fallow.measure.redundancy import effective_number, nearest_within, spread_out
from fallow.measure.ridge import ridge
from fallow.measure.scores import split_of
from fallow.problems import Problem, did_you_mean
from fallow.vectors.space import unit

if TYPE_CHECKING:
    from fallow.encoders import Encoder
    from fallow.images import Images

POINTS = "points"  # the task made of all pairs of columns NAME_x, NAME_y
STRIDE = 8  # pixels between the features that points are found by, at most
LEAST = 4  # pictures that teach, or are asked, below which nothing is measured


class Settings(BaseModel):
    """What the protocol can be told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    budgets: tuple[int, ...] = Field(
        (10, 50, 100), description="pictures with a label that a head learns from; and all"
    )
    draws: int = Field(3, ge=1, description="of the pictures that teach, each in the next larger")
    asked: float = Field(0.3, gt=0, lt=1, description="share that is asked, without a split")
    kept: tuple[float, ...] = Field(
        (0.5, 0.25, 0.1), description="shares of the pictures left, to see what repeats itself"
    )
    size: Literal["box", "diagonal"] = Field(
        "box", description="of the true points, that distances are a share of"
    )
    rates: tuple[float, ...] = Field((1e-2, 1e-3), description="wrongly let in, at most")


presets: dict[str, dict[str, Any]] = {}


@dataclass(frozen=True)
class Task:
    """One thing to be told from pictures: a class, numbers, or where points are."""

    name: str
    kind: Literal["classes", "numbers", "points"]
    targets: np.ndarray  # N codes (-1: none), N numbers (NaN: none) or N L 2

    @property
    def known(self) -> np.ndarray:
        """Rows that have an answer."""
        if self.kind == "classes":
            return self.targets >= 0
        if self.kind == "numbers":
            return np.isfinite(self.targets)
        return np.isfinite(self.targets).all((1, 2))


def task(images: Images, name: str) -> Task:
    """A task from a column: text is a class, a number is a number, `points` all points."""
    if name == POINTS and name not in images.columns:
        stems = [
            c[:-2] for c in images.columns if c.endswith("_x") and f"{c[:-2]}_y" in images.columns
        ]
        if not stems:
            raise Problem(f"{images.name} has no points: give columns such as nose_x and nose_y")
        pairs = [
            np.stack([_numbers(images, f"{s}_x"), _numbers(images, f"{s}_y")], 1) for s in stems
        ]
        return Task(name, "points", np.stack(pairs, 1))
    if name not in images.columns:
        raise Problem(f"{images.name} has no column {name!r}: {did_you_mean(name, images.columns)}")
    values = images.column(name)
    if np.issubdtype(np.asarray(values).dtype, np.floating):
        return Task(name, "numbers", _numbers(images, name))
    words = ["" if value is None else str(value) for value in values.tolist()]
    names = sorted(set(words) - {""})
    codes = {word: code for code, word in enumerate(names)} | {"": -1}
    return Task(name, "classes", np.array([codes[word] for word in words]))


def _numbers(images: Images, name: str) -> np.ndarray:
    column = images.table.column(name).to_pylist()
    return np.array([np.nan if value is None else float(value) for value in column])


@dataclass(frozen=True)
class Seen:
    """What an encoder makes of the pictures."""

    vectors: np.ndarray  # N D, NaN where unreadable
    places: np.ndarray | None  # N P, features kept by place; only where points are asked for
    frame: np.ndarray | None  # N 2, width and height of the pictures


def see(encoder: Encoder, images: Images, points: bool) -> Seen:
    """Vectors of all pictures, and for points their features by place, on a grid."""
    vectors = encoder.embed(images)
    if not points:
        return Seen(vectors, None, None)
    stage = _fine(encoder)
    squashed = images.map(encoder.preprocessing.squash)
    rows: list[np.ndarray | None] = [None] * len(images)
    encoder.eval()
    for row, pixels in squashed:
        if isinstance(pixels, torch.Tensor):
            with torch.inference_mode():
                maps = encoder.patches(encoder._input(pixels[None]), [stage])[0]  # 1 h w C
            rows[row] = maps[0].float().flatten().cpu().numpy()
    width = max((len(row) for row in rows if row is not None), default=0)
    table = np.stack([np.full(width, np.nan, np.float32) if row is None else row for row in rows])
    frame = np.stack([images.column("width"), images.column("height")], 1).astype(np.float64)
    return Seen(vectors, table, frame)


def _fine(encoder: Encoder) -> int:
    """The last stage whose features lie at most STRIDE pixels apart."""
    size = encoder.size
    probe = torch.zeros(1, 3, size, size, device=encoder.device)
    for stage in (-1, -2, -3):
        with torch.inference_mode():
            if size / encoder.patches(probe, [stage])[0].shape[1] <= STRIDE:
                return stage
    return stage


def parts(
    images: Images, subjects: np.ndarray | None, settings: Settings, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Which rows teach and which are asked: by their split, else by lot, subject by subject."""
    if (given := split_of(images)) is not None:
        teach, ask = given
        if subjects is not None:
            both = np.intersect1d(subjects[teach], subjects[ask])
            both = both[both >= 0]
            if len(both):
                raise Problem(
                    f"{len(both)} of the subjects are on both sides of the column split: what is "
                    "asked must be of others; leave the column out, or the subjects"
                )
        return teach, ask
    names = np.arange(len(images)) if subjects is None else subjects
    kinds = np.random.default_rng(seed).permutation(np.unique(names))
    ask = np.isin(names, kinds[: max(1, round(settings.asked * len(kinds)))])
    return ~ask, ask


def nested(rows: np.ndarray, budgets: Sequence[int], seed: int) -> dict[int, np.ndarray]:
    """Rows for every budget, each set within the next larger one; the last one is all of them.

    >>> found = nested(np.arange(9), (2, 4, 99), seed=0)
    >>> [len(one) for one in found.values()], set(found[2]) < set(found[4])
    ([2, 4, 9], True)
    """
    order = np.random.default_rng(seed).permutation(rows)
    sizes = sorted({min(budget, len(rows)) for budget in budgets} | {len(rows)})
    return {size: order[:size] for size in sizes}


def ask(
    task: Task, seen: Seen, teach: np.ndarray, asked: np.ndarray, settings: Settings, seed: int = 0
) -> dict[str, float]:
    """What a head that learnt from some rows says of others, by the measures of its kind."""
    features = seen.vectors if task.kind != "points" else seen.places
    assert features is not None
    readable = np.isfinite(features).all(1) & task.known
    teach, asked = teach[readable[teach]], asked[readable[asked]]
    if len(teach) < LEAST or len(asked) < LEAST:
        raise Problem(
            f"{task.name}: {len(teach)} pictures teach and {len(asked)} are asked; both must be "
            f"{LEAST} or more"
        )
    if task.kind == "classes":
        return _classes(task, features, teach, asked, seed)
    if task.kind == "numbers":
        found, truth = (
            ridge(features[teach], task.targets[teach])(features[asked]),
            task.targets[asked],
        )
        measures = (concordance, correlation, consistency, root_mean_square, sign_agreement)
        return {one.__name__: one(found, truth) for one in measures}
    assert seen.frame is not None
    places = task.targets / seen.frame[:, None]  # as shares of the picture
    predicted = ridge(features[teach], places[teach].reshape(len(teach), -1))(features[asked])
    predicted = predicted.reshape(len(asked), -1, 2) * seen.frame[asked, None]
    errors = point_errors(predicted, task.targets[asked], settings.size)
    return {f"point error, % of {settings.size}": float(np.nanmean(errors))}


def _classes(
    task: Task, features: np.ndarray, teach: np.ndarray, asked: np.ndarray, seed: int
) -> dict[str, float]:
    """Accuracy among the classes that were taught; what was never taught cannot be told."""
    taught = np.unique(task.targets[teach])
    asked = asked[np.isin(task.targets[asked], taught)]
    if len(taught) < 2 or len(asked) < LEAST:
        return {"accuracy": float("nan")}
    found = ridge_probe(
        features[teach], task.targets[teach], features[asked], task.targets[asked], seed=seed
    )
    return {"accuracy": found.top1}


def verified(
    vectors: np.ndarray, names: np.ndarray, rates: Sequence[float], most: int = 3000, seed: int = 0
) -> dict[str, float]:
    """Whether two pictures show the same subject, told by their cosine; no head learns anything."""
    rows = np.flatnonzero(np.isfinite(vectors).all(1) & (names >= 0))
    if len(rows) > most:
        rows = np.random.default_rng(seed).choice(rows, most, replace=False)
    one, two = np.triu_indices(len(rows), 1)
    near = unit(vectors[rows].astype(np.float64))
    found = curve((near @ near.T)[one, two], names[rows][one] == names[rows][two])
    told = {"equal error": equal_error(found)}
    for rate in rates:
        share = accepted_at(found, rate)
        told[f"let in at {rate:g}"] = share.share
        told[f"let in at {rate:g}, low"], told[f"let in at {rate:g}, high"] = share.low, share.high
    return told


def judged(
    encoders: Mapping[str, Seen],
    images: Images,
    tasks: Sequence[Task],
    subjects: np.ndarray | None,
    settings: Settings,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """A row for every encoder, task, budget and measure: mean and spread over the draws."""
    teach, rest = parts(images, subjects, settings, seed)
    rows = []
    for name, seen in encoders.items():
        for one in tasks:
            pool = np.flatnonzero(teach & one.known)
            draws = [nested(pool, settings.budgets, seed + draw) for draw in range(settings.draws)]
            for budget in draws[0]:
                found = [
                    ask(one, seen, draw[budget], np.flatnonzero(rest), settings, seed)
                    for draw in (draws[:1] if budget == len(pool) else draws)
                ]
                for measure in found[0]:
                    values = np.array([each[measure] for each in found])
                    rows.append(_row(name, one.name, measure, budget, values))
        if subjects is not None:
            told = verified(seen.vectors[rest], subjects[rest], settings.rates, seed=seed)
            rows += [_row(name, "same subject", key, 0, np.array([v])) for key, v in told.items()]
    return rows


def _row(name: str, task: str, measure: str, labels: int, values: np.ndarray) -> dict[str, Any]:
    known = values[np.isfinite(values)]
    return {
        "encoder": name,
        "task": task,
        "labels": labels,
        "measure": measure,
        "mean": float(known.mean()) if len(known) else float("nan"),
        "spread": float(known.std(ddof=1)) if len(known) > 1 else 0.0,
        "draws": len(known),
    }


def repeated(
    seen: Seen,
    images: Images,
    tasks: Sequence[Task],
    clips: np.ndarray | None,
    settings: Settings,
    seed: int = 0,
) -> dict[str, Any]:
    """How much of the collection repeats itself: by its vectors, and by what tasks lose with less.

    The pictures that are left lie as far apart as can be; as many drawn by lot are beside them.
    """
    teach, rest = parts(images, clips, settings, seed)
    readable = np.isfinite(seen.vectors).all(1)
    rows, asked = np.flatnonzero(teach & readable), np.flatnonzero(rest)
    about: dict[str, Any] = {
        "pictures": len(rows),
        "effective number": effective_number(seen.vectors[rows]),
    }
    if clips is not None:
        about["nearest in its clip"] = nearest_within(seen.vectors[rows], clips[rows])
    lot = np.random.default_rng(seed).permutation(len(rows))
    order = spread_out(unit(seen.vectors[rows]), len(rows), seed)
    lost = []
    for share in (1.0, *settings.kept):
        count = max(LEAST, round(share * len(rows)))
        for way, chosen in (("far apart", order[:count]), ("by lot", lot[:count])):
            for one in tasks:
                told = ask(one, seen, rows[chosen], asked, settings, seed)
                lost += [
                    {"kept": share, "chosen": way, "task": one.name, "measure": key, "value": value}
                    for key, value in told.items()
                ]
    return {**about, "with less": lost}
