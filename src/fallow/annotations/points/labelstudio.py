"""Label Studio key points: tasks with points in percent of their picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fallow.annotations.labelstudio import file_of, said_of
from fallow.annotations.points.reading import Row, gathered, told
from fallow.annotations.points.store import KeyPoints
from fallow.annotations.reading import json_of
from fallow.files import write_json
from fallow.images.places import place
from fallow.problems import SourceProblem

KIND = "keypointlabels"


def read(source: Any) -> KeyPoints:
    """The points of one exported file; where people said nothing, machines' count."""
    where = place(source)
    with told(where.name, "Label Studio"):
        return _read(json_of(where.read(), where.name, list), where.name)


def _read(tasks: list[Any], name: str) -> KeyPoints:
    found = []
    for task in tasks:
        for said, _ in said_of(task):
            results = [one for one in said["result"] if one["type"] == KIND]
            if results:
                found.append((file_of(task["data"]), results))
                break
    names = list(dict.fromkeys(_label(one) for _, results in found for one in results))
    rows: list[Row] = []
    for file, results in found:
        values, scores = np.zeros((len(names), 3)), np.full(len(names), np.nan)
        for one in results:
            place_ = names.index(_label(one))
            if values[place_, 2]:
                raise SourceProblem(
                    f"{name} marks {_label(one)} twice in {file}: fallow finds one in each picture"
                )
            size = np.array([one["original_width"], one["original_height"]], float)
            # percents count from the edge of the first pixel, not from its middle
            share = np.array([one["value"]["x"], one["value"]["y"]], float) / 100
            values[place_] = [*(share * size - 0.5), 2]
            scores[place_] = one.get("score", np.nan)
        scored = np.isfinite(scores).any()
        rows.append((file, values, size.tolist(), np.nan_to_num(scores) if scored else None))
    return gathered(rows, names, (), name)


def _label(one: dict[str, Any]) -> str:
    return str(one["value"][KIND][0])


def write(held: KeyPoints, path: Path) -> None:
    """Write tasks Label Studio can import; what a machine marked becomes predictions."""
    if held.sizes is None or not np.isfinite(held.sizes).all():
        raise SourceProblem("Label Studio counts in percent: give the sizes of the pictures first")
    tasks = []
    for row, (file, values, size) in enumerate(
        zip(held.files, held.values, held.sizes, strict=True)
    ):
        results = []
        for point, (x, y, seen) in enumerate(values):
            if not seen:
                continue
            share = 100 * (np.array([x, y]) + 0.5) / size
            one: dict[str, Any] = {
                "id": f"point{row}-{point}",
                "type": KIND,
                "from_name": "points",
                "to_name": "image",
                "original_width": int(size[0]),
                "original_height": int(size[1]),
                "value": {
                    "x": float(share[0]),
                    "y": float(share[1]),
                    "width": 0.5,
                    KIND: [held.names[point]],
                },
            }
            if held.scores is not None:
                one["score"] = float(held.scores[row, point])
            results.append(one)
        key = "annotations" if held.scores is None else "predictions"
        tasks.append({"data": {"image": file}, key: [{"result": results}]})
    write_json(path, tasks)
