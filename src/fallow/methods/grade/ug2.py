"""UG2: an enhancer is judged by what recognisers make of its pictures (VidalMata et al. 2019).

Not by how near they come to some original. The same recognisers see every picture before and
after, and are not trained on either. Each picture has one class, which may mean several labels
that a recogniser knows (the synsets of WordNet below it), and a label may belong to two classes.
Reported are M1, one right label among the best guesses; M2, as many right ones as there can be;
LRAP, how high all right labels rank; and for boxes their mean average precision: each before,
after, and the difference with the interval it takes when pictures (or whole videos) are drawn
again. A verdict needs all recognisers to agree.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from fallow.measure.detection import COCO, Boxes, matched, mean_average_precision
from fallow.measure.fidelity import psnr
from fallow.measure.labels import hits, label_ranking
from fallow.measure.paired import Range, mcnemar, mean_range, ranked, statistic_range
from fallow.methods.shared.enhancers import upscaled
from fallow.methods.shared.enhancing import SECONDS, Enhancer, enhanced
from fallow.methods.shared.recognisers import Pictures, Recogniser
from fallow.problems import Problem, SourceProblem

Detector = Callable[[Pictures], list[Boxes]]
MANY = 25  # labels; with fewer, five guesses say nothing


class Settings(BaseModel):
    """How an enhancer is judged."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    guesses: int | None = Field(
        None, ge=1, description="best guesses that count; none: 5, and 1 of 25 labels or fewer"
    )
    scale: int = Field(
        1, ge=1, le=8, description="how many times larger the enhancer's pictures are"
    )
    seconds: float = Field(SECONDS, gt=0, description="time limit for one picture")
    confidence: float = Field(0.9, gt=0.5, lt=1, description="of the intervals")
    batch: int = Field(64, ge=1, description="pictures a recogniser is given at once")
    seed: int = Field(0, ge=0, description="of the pictures drawn again")


# the authors' five guesses, whatever the number of labels
PRESETS: dict[str, dict[str, Any]] = {"paper": {"guesses": 5}}


# --- classes and labels ---


def read_classes(path: str | PathLike[str]) -> dict[str, frozenset[str]]:
    """A table of classes: a label and its class a line; lines repeated count once.

    A first line of which neither the label looks like those below nor the class comes again is a
    heading.

    >>> import tempfile
    >>> table = Path(tempfile.mkdtemp()) / "classes.csv"
    >>> _ = table.write_text("ID,Class\\nn0151,Bird\\nn0152,Bird\\nn0298,Car\\nn0298,Car\\n")
    >>> sorted((name, len(labels)) for name, labels in read_classes(table).items())
    [('Bird', 2), ('Car', 1)]
    """
    path = Path(path)
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceProblem(f"{path.name} cannot be read: {error}") from error
    mark = max(",;\t", key=text.splitlines()[0].count) if text.strip() else ","
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines(), delimiter=mark)]
    rows = [row for row in rows if any(row)]
    if not rows or any(len(row) < 2 or not row[0] or not row[1] for row in rows):
        raise SourceProblem(f"{path.name} needs a label and its class on every line")
    if len(rows) > 1 and _is_heading(rows):
        rows = rows[1:]
    return classes_of((row[0], row[1]) for row in rows)


def classes_of(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, frozenset[Any]]:
    """Which labels each class means, from pairs of label and class.

    >>> classes_of([(3, "Car1"), (3, "Car2"), (4, "Car1"), (4, "Car1")])["Car1"] == {3, 4}
    True
    """
    found: dict[Any, set[Any]] = {}
    for label, name in pairs:
        found.setdefault(name, set()).add(label)
    return {name: frozenset(labels) for name, labels in found.items()}


def _is_heading(rows: Sequence[Sequence[str]]) -> bool:
    first, rest = rows[0], rows[1:]
    if any(row[1] == first[1] for row in rest):
        return False
    shape = [any(letter.isdigit() for letter in row[0]) for row in rest]
    return all(shape) and not any(letter.isdigit() for letter in first[0])


def columns_of(classes: Mapping[Any, Any], labels: Sequence[Any]) -> dict[Any, frozenset[int]]:
    """Classes by columns of a recogniser's scores; labels it does not know are left out.

    >>> columns_of({"Bird": {"n1", "n2"}, "Car": {"n9"}}, ["n2", "n1", "n9"])["Bird"] == {0, 1}
    True
    """
    place = {label: column for column, label in enumerate(labels)}
    found = {
        name: frozenset(place[label] for label in wanted if label in place)
        for name, wanted in classes.items()
    }
    empty = sorted(str(name) for name, columns in found.items() if not columns)
    if empty:
        raise Problem(
            f"the recogniser knows no label of {', '.join(empty[:3])}"
            f"{' and others' if len(empty) > 3 else ''}: leave these pictures out"
        )
    return found


# --- scores of single pictures ---


@dataclass(frozen=True)
class Answers:
    """What one recogniser made of the pictures: each measure has one value a picture."""

    m1: np.ndarray  # N, bool
    m2: np.ndarray  # N, bool
    lrap: np.ndarray  # N


def answers(
    scores: np.ndarray, truth: Sequence[Any], classes: Mapping[Any, frozenset[int]], guesses: int
) -> Answers:
    """M1, M2 and LRAP of every picture, from scores (N K) and the names of the true classes.

    >>> found = answers(np.array([[0.9, 0.5, 0.1]]), ["b"], {"a": {0}, "b": {1, 2}}, 2)
    >>> found.m1.tolist(), found.m2.tolist(), found.lrap.round(3).tolist()
    ([True], [False], [0.583])
    """
    if len(scores) != len(truth):
        raise Problem(f"a recogniser gave {len(scores)} answers to {len(truth)} pictures.")
    if np.isnan(scores).any():
        raise Problem("a recogniser gives scores that are not numbers.")
    best = np.argsort(-scores, axis=1, kind="stable")[:, :guesses]
    m1, m2 = hits(best, truth, classes)
    right = np.zeros(scores.shape, bool)
    for row, name in enumerate(truth):
        right[row, list(classes[name])] = True
    return Answers(m1, m2, label_ranking(scores, right))


def guesses_for(settings: Settings, labels: int) -> int:
    """How many best guesses count among so many labels.

    >>> guesses_for(Settings(), 1000), guesses_for(Settings(), 10)
    (5, 1)
    """
    if settings.guesses is not None:
        return min(settings.guesses, labels)
    return 5 if labels > MANY else 1


# --- the judgement ---


@dataclass(frozen=True)
class Row:
    """One measure of one recogniser on one collection, before and after."""

    recogniser: str
    collection: str
    measure: str  # M1, M2, LRAP or mAP
    pictures: int
    before: float
    after: float
    difference: Range
    chance: float | None = None  # of so uneven a change if there is none; M1 and M2 only

    @property
    def says(self) -> str:
        """helps, harms or no difference shown."""
        if self.difference.low > 0:
            return "helps"
        return "harms" if self.difference.high < 0 else "no difference shown"


@dataclass(frozen=True)
class Judgement:
    """All rows of one enhancer, and what they say together."""

    rows: tuple[Row, ...]
    verdict: str
    guesses: int | None = None
    psnr_before: float | None = None  # to clean originals, where there are some
    psnr_after: float | None = None
    # of every recogniser, LRAP of each picture before and after: for rankings
    values: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None


def _parts(
    run: Any, pictures: Sequence[tuple[str, np.ndarray]], settings: Settings
) -> Iterator[tuple[int, list[np.ndarray], list[np.ndarray]]]:
    """Where each batch begins, its pictures at the size of the enhanced ones, and these."""
    made = enhanced(run, pictures, settings.scale)
    for first in range(0, len(pictures), settings.batch):
        part = pictures[first : first + settings.batch]
        new = [next(made) for _ in part]
        old = [
            pixels if settings.scale == 1 else upscaled(pixels, settings.scale)
            for _, pixels in part
        ]
        yield first, old, new


def judged(
    pictures: Sequence[tuple[str, np.ndarray]],
    truth: Sequence[Any],
    run: Enhancer,
    recognisers: Mapping[str, Recogniser],
    classes: Mapping[Any, frozenset[int]],
    settings: Settings | None = None,
    *,
    collections: Sequence[str] | None = None,
    groups: Sequence[Any] | None = None,
    clean: Sequence[np.ndarray] | None = None,
) -> Judgement:
    """An enhancer judged by recognisers of whole pictures.

    `pictures` are names and pixels, `truth` the class of each, `classes` the columns of scores
    each class means (the same for every recogniser). `collections` are judged apart, besides all
    together; `groups` are videos, whose frames are drawn again together. `clean` originals only
    add PSNR, which the verdict takes no notice of. Where the enhancer enlarges, the pictures
    before are enlarged by plain resampling, or its gain would be that of resampling.
    """
    settings = settings or Settings.model_validate({})
    if not len(pictures) or not recognisers:
        raise Problem("judging an enhancer needs pictures and at least one recogniser.")
    for known in (truth, collections, groups, clean):
        if known is not None and len(known) != len(pictures):
            raise Problem(f"{len(pictures)} pictures need as many classes, not {len(known)}.")
    before: dict[str, list[np.ndarray]] = {name: [] for name in recognisers}
    after: dict[str, list[np.ndarray]] = {name: [] for name in recognisers}
    nearness: list[tuple[float, float]] = []
    for first, old, new in _parts(run, pictures, settings):
        for name, recognise in recognisers.items():
            before[name].append(np.asarray(recognise(old), np.float64))
            after[name].append(np.asarray(recognise(new), np.float64))
        if clean is not None:
            originals = clean[first : first + settings.batch]
            nearness += [
                (psnr(original, one), psnr(original, other))
                for original, one, other in zip(originals, old, new, strict=True)
            ]
    rows: list[Row] = []
    values = {}
    guesses = 0
    for name in recognisers:
        old_scores, new_scores = np.concatenate(before[name]), np.concatenate(after[name])
        guesses = guesses_for(settings, old_scores.shape[1])
        pair = tuple(answers(one, truth, classes, guesses) for one in (old_scores, new_scores))
        rows += _rows(name, pair[0], pair[1], settings, collections, groups)
        values[name] = (pair[0].lrap, pair[1].lrap)
    near = [float(one) for one in np.mean(nearness, 0)] if nearness else [None, None]
    return Judgement(
        tuple(rows),
        verdict([row for row in rows if row.measure == "M1" and row.collection == "all"]),
        guesses,
        near[0],
        near[1],
        values,
    )


def _rows(
    name: str,
    old: Answers,
    new: Answers,
    settings: Settings,
    collections: Sequence[str] | None,
    groups: Sequence[Any] | None,
) -> list[Row]:
    count = len(old.m1)
    parts = {"all": np.ones(count, bool)}
    if collections is not None and len(set(collections)) > 1:
        kinds = np.asarray(collections)
        parts.update({str(kind): kinds == kind for kind in sorted(set(kinds.tolist()))})
    videos = None if groups is None else np.asarray(groups)
    rows = []
    for collection, here in parts.items():
        for measure, one, other in (
            ("M1", old.m1, new.m1),
            ("M2", old.m2, new.m2),
            ("LRAP", old.lrap, new.lrap),
        ):
            before, after = one[here].astype(np.float64), other[here].astype(np.float64)
            change = mean_range(
                after - before,
                None if videos is None else videos[here],
                confidence=settings.confidence,
                seed=settings.seed,
            )
            chance = None if measure == "LRAP" else mcnemar(before, after)
            size = int(here.sum())
            means = float(before.mean()), float(after.mean())
            rows.append(Row(name, collection, measure, size, *means, change, chance))
    return rows


def judged_boxes(
    pictures: Sequence[tuple[str, np.ndarray]],
    marked: Sequence[Boxes],
    run: Enhancer,
    detectors: Mapping[str, Detector],
    settings: Settings | None = None,
    *,
    thresholds: Sequence[float] = COCO,
    groups: Sequence[Any] | None = None,
) -> Judgement:
    """The same by detectors: mean average precision of boxes, which must not move.

    Where the enhancer enlarges, found boxes are brought back to the pictures' own size.
    """
    settings = settings or Settings.model_validate({})
    if not len(pictures) or len(pictures) != len(marked) or not detectors:
        raise Problem(
            f"judging needs detectors, and marked boxes for each picture: there are "
            f"{len(pictures)} pictures and {len(marked)} with boxes."
        )
    before: dict[str, list[Boxes]] = {name: [] for name in detectors}
    after: dict[str, list[Boxes]] = {name: [] for name in detectors}
    for _, old, new in _parts(run, pictures, settings):
        for name, detect in detectors.items():
            before[name] += [_back(one, settings.scale) for one in detect(old)]
            after[name] += [_back(one, settings.scale) for one in detect(new)]
    rows = []
    for name in detectors:
        pair = [matched(found[name], marked, thresholds) for found in (before, after)]
        if not pair[0]:
            raise Problem("no picture has a marked box: there is nothing to detect.")

        def change(times: np.ndarray, pair: Any = pair) -> float:
            return mean_average_precision(pair[1], times) - mean_average_precision(pair[0], times)

        difference = statistic_range(
            change, len(pictures), groups, confidence=settings.confidence, seed=settings.seed
        )
        means = mean_average_precision(pair[0]), mean_average_precision(pair[1])
        rows.append(Row(name, "all", "mAP", len(pictures), *means, difference))
    return Judgement(tuple(rows), verdict(rows))


def _back(found: Boxes, scale: int) -> Boxes:
    return Boxes(found.boxes / scale, found.classes, found.scores)


def verdict(rows: Sequence[Row]) -> str:
    """helps or harms where every recogniser says so; else who disagrees, or nothing is shown.

    >>> row = Row("a", "all", "M1", 9, 0.5, 0.6, Range(0.1, 0.02, 0.2))
    >>> verdict([row]), verdict([row, Row("b", "all", "M1", 9, 0.5, 0.4, Range(-0.1, -0.2, -0.02))])
    ('helps', 'helps a; harms b')
    """
    said: dict[str, list[str]] = {}
    for row in rows:
        said.setdefault(row.says, []).append(row.recogniser)
    if len(said) == 1:
        return next(iter(said))
    parts = [f"{word} {', '.join(said[word])}" for word in ("helps", "harms") if word in said]
    if open_ones := said.get("no difference shown"):
        parts.append(f"no difference shown for {', '.join(open_ones)}")
    return "; ".join(parts)


@dataclass(frozen=True)
class Standing:
    """Where an enhancer stands among others, over all recognisers."""

    enhancer: str
    lrap: Range
    rank: Range
    by_recogniser: Mapping[str, float]


def standings(
    judgements: Mapping[str, Judgement],
    *,
    groups: Sequence[Any] | None = None,
    confidence: float = 0.9,
    seed: int = 0,
) -> list[Standing]:
    """Enhancers judged on the same pictures, best first, "none" among them.

    The order is that of LRAP, averaged over recognisers; its interval and that of the rank come
    from pictures drawn again, the same for all.
    """
    found: dict[str, dict[str, np.ndarray]] = {}
    for name, judgement in judgements.items():
        if judgement.values is None:
            raise Problem(f"{name} was judged by boxes only, which have no value for each picture.")
        found[name] = {recogniser: pair[1] for recogniser, pair in judgement.values.items()}
        found["none"] = {recogniser: pair[0] for recogniser, pair in judgement.values.items()}
    means = {name: np.mean(list(values.values()), 0) for name, values in found.items()}
    if len({len(one) for one in means.values()}) > 1:
        raise Problem("enhancers are ranked on the same pictures: judge them on one collection.")
    return [
        Standing(
            place.name,
            place.mean,
            place.rank,
            {who: float(values.mean()) for who, values in found[place.name].items()},
        )
        for place in ranked(means, groups, confidence=confidence, seed=seed)
    ]
