"""SkyScript: captions for pictures from above, from a map of the same place (Wang et al. 2024).

What a map says is joined to the pictures it lies in, kept where it can be seen at that resolution,
put into words by rule, and filtered by how well picture and words fit.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from fallow.images.joins import joined
from fallow.images.maps import Thing
from fallow.problems import Problem, SourceProblem

RULES = Path(__file__).with_suffix(".csv")
SPOKEN = {"highway": "road"}
Tag = tuple[str, str]


class Settings(BaseModel):
    """What the joining of pictures and a map can be told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keep: float = Field(
        0.5, gt=0, le=1, description="share that is kept, of the pairs that fit best"
    )
    others: int = Field(5, ge=0, description="other things named around the main one, at most")
    tags: int = Field(4, ge=1, description="tags said of one thing, at most")
    focus: str = Field(
        "rarest", pattern="^(rarest|largest)$", description="the main thing of a picture"
    )
    rules: str | None = Field(None, description="CSV of key, value, metres, said in place of ours")


presets: dict[str, dict[str, Any]] = {"paper": {"keep": 0.5}}


class Rule(NamedTuple):
    """Up to how many metres a pixel a tag can be seen, and the word between key and value."""

    metres: float
    said: str


@cache
def rules(path: str | None = None) -> dict[Tag, Rule]:
    """By key and value; with an empty value for every other value of the key."""
    place = Path(path) if path else RULES
    try:
        with place.open(encoding="utf-8", newline="") as file:
            return {
                (row["key"], row["value"]): Rule(float(row["metres"]), row["said"])
                for row in csv.DictReader(file)
            }
    except (OSError, KeyError, ValueError) as error:
        raise SourceProblem(
            f"{place.name} is no table of key, value, metres, said: {error}"
        ) from error


def seen(tags: Mapping[str, str], metres: float, table: Mapping[Tag, Rule]) -> list[Tag]:
    """The tags that can be seen where a pixel is that many metres, in the order of the map.

    >>> seen({"power": "pole", "ref": "7"}, 0.1, rules()), seen({"power": "pole"}, 10, rules())
    ([('power', 'pole')], [])
    """
    found = []
    for key, value in tags.items():
        rule = table.get((key, value)) or table.get((key, ""))
        if rule is not None and metres <= rule.metres and value not in ("no", ""):
            found.append((key, value))
    return found


# --- words ---


def spoken(text: str) -> str:
    """A key or a value as it is said.

    >>> spoken("plant:output_kind")
    'plant output kind'
    """
    return text.replace("_", " ").replace(":", " ").strip()


def said(tag: Tag, table: Mapping[Tag, Rule] | None = None) -> str:
    """One tag in words.

    >>> said(("power", "pole")), said(("highway", "footway"))
    ('power pole', 'road of footway')
    """
    key, value = tag
    table = rules() if table is None else table
    rule = table.get(tag) or table.get((key, ""))
    word = "of" if rule is None else rule.said
    if value == "yes":
        return spoken(SPOKEN.get(key, key))
    between = f" {word} " if word else " "
    return f"{spoken(SPOKEN.get(key, key))}{between}{spoken(value)}"


def alone(tags: Sequence[Tag], table: Mapping[Tag, Rule] | None = None) -> str:
    """What is said of one thing by itself.

    >>> alone([("landuse", "quarry"), ("resource", "bauxite")])
    'landuse of quarry, resource of bauxite'
    """
    return ", ".join(said(tag, table) for tag in tags)


def described(tags: Sequence[Tag], table: Mapping[Tag, Rule] | None = None) -> str:
    """The same as one phrase: the first tag, and with it the others."""
    first, *rest = [said(tag, table) for tag in tags]
    return first + (" with " + " and ".join(rest) if rest else "")


def among(
    tags: Sequence[Tag],
    others: Iterable[Sequence[Tag]],
    table: Mapping[Tag, Rule] | None = None,
) -> str:
    """What is said of one thing and of what lies around it; what is alike is said once.

    >>> among([("man_made", "pier")], [[("waterway", "river")]] * 2)
    'man made pier, surrounded by waterway of river'
    """
    around = dict.fromkeys(described(one, table) for one in others if one)
    main = described(tags, table)
    around.pop(main, None)
    return main + (", surrounded by " + "; ".join(around) if around else "")


# --- pairs ---


@dataclass(frozen=True)
class Pair:
    """A picture and what the map says of it."""

    row: int
    focus: str  # of the map
    caption: str  # of the main thing
    captions: str  # with what lies around it
    tags: list[Tag]
    around: list[list[Tag]]

    def record(self) -> dict[str, Any]:
        """As the published lists have it."""
        return {
            "row": self.row,
            "thing": self.focus,
            "title": self.caption,
            "title_multi_objects": self.captions,
            "center_tags": json.dumps(dict(self.tags), ensure_ascii=False),
            "surrounding_tags": json.dumps([dict(one) for one in self.around], ensure_ascii=False),
        }


def pairs(
    boxes: np.ndarray, metres: np.ndarray, things: Sequence[Thing], settings: Settings
) -> list[Pair]:
    """A pair for every picture in which something of the map can be seen."""
    table = rules(settings.rules)
    inside = joined(boxes, things)
    shown: list[list[tuple[int, list[Tag]]]] = []
    counts: Counter[Tag] = Counter()
    for row, rows in enumerate(inside):
        some = [(int(one), seen(things[one].tags, float(metres[row]), table)) for one in rows]
        some = [(one, tags[: settings.tags]) for one, tags in some if tags]
        shown.append(some)
        counts.update(tags[0] for _, tags in some)
    found = []
    for row, some in enumerate(shown):
        if not some:
            continue
        order = sorted(some, key=lambda one: _rank(one, things, boxes[row], counts, settings))
        (main, tags), *rest = order
        around = list({described(t, table): t for _, t in rest}.values())[: settings.others]
        found.append(
            Pair(row, things[main].id, alone(tags, table), among(tags, around, table), tags, around)
        )
    return found


def _rank(
    one: tuple[int, list[Tag]],
    things: Sequence[Thing],
    box: np.ndarray,
    counts: Mapping[Tag, int],
    settings: Settings,
) -> tuple[float, ...]:
    place, tags = one
    size = -_covered(things[place], box)
    rare = float(counts[tags[0]])
    return (rare, size, place) if settings.focus == "rarest" else (size, rare, place)


def _covered(thing: Thing, box: np.ndarray) -> float:
    """The share of a picture's box that the box around a thing covers."""
    west, south, east, north = thing.box
    across = min(east, box[2]) - max(west, box[0])
    up = min(north, box[3]) - max(south, box[1])
    whole = (box[2] - box[0]) * (box[3] - box[1])
    return max(across, 0) * max(up, 0) / whole if whole > 0 else 0.0


def best(similarity: np.ndarray, share: float) -> np.ndarray:
    """Rows of the share that fits best, in their order; of equals the first.

    >>> best(np.array([0.1, 0.3, 0.2, 0.3]), 0.5).tolist()
    [1, 3]
    """
    values = np.asarray(similarity, np.float64)
    if not len(values):
        raise Problem("there are no pairs to choose from")
    count = int(np.rint(len(values) * share))
    return np.sort(np.argsort(-values, kind="stable")[:count])


class Detection(NamedTuple):
    """The cosine from which on a picture is said to show something, and how right that is."""

    threshold: float
    f1: float
    precision: float
    recall: float


def threshold_of(cosine: np.ndarray, labels: np.ndarray) -> Detection:
    """The best of 101 thresholds from -1 to 1 by F1, the lowest of equals."""
    cosine, labels = np.asarray(cosine, np.float64), np.asarray(labels).astype(bool)
    found = Detection(-1.0, -1.0, 0.0, 0.0)
    for bar in np.linspace(-1, 1, 101):
        said_so = cosine > bar
        hits = float((said_so & labels).sum())
        precision = hits / said_so.sum() if said_so.any() else 0.0
        recall = hits / labels.sum() if labels.any() else 0.0
        f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
        if f1 > found.f1:
            found = Detection(float(bar), float(f1), float(precision), float(recall))
    return found
