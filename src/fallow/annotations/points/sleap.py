"""SLEAP's labels as JSON: nodes, links between them, and instances frame by frame."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fallow.annotations.points.reading import Row, gathered, told
from fallow.annotations.points.store import KeyPoints
from fallow.annotations.reading import json_of
from fallow.files import write_json
from fallow.images.places import place
from fallow.problems import SourceProblem


def read(source: Any) -> KeyPoints:
    """The instances of one file, whose frames are pictures."""
    where = place(source)
    with told(where.name, "SLEAP"):
        return _read(json_of(where.read(), where.name, dict), where.name)


def _read(found: Mapping[str, Any], name: str) -> KeyPoints:
    skeletons = found["skeletons"]
    used = {_number(one.get("skeleton", 0)) for each in found["labels"] for one in _instances(each)}
    if len(used) > 1:
        raise SourceProblem(f"{name} mixes {len(used)} skeletons: keep the instances of one")
    skeleton = skeletons[min(used, default=0)]
    order = [_number(one) for one in skeleton["nodes"]]
    names = [str(found["nodes"][number]["name"]) for number in order]
    slots = {number: slot for slot, number in enumerate(order)}
    bones = [(slots[_number(one["source"])], slots[_number(one["target"])])
             for one in skeleton.get("links", [])]  # fmt: skip
    rows: list[Row] = []
    for frame in found["labels"]:
        for one in _instances(frame):
            values, scores = np.zeros((len(names), 3)), np.full(len(names), np.nan)
            for node, point in one["_points"].items():
                slot = slots[int(node)]
                if point.get("x") is None or not np.isfinite(point["x"]):
                    continue
                seen = 2 if point.get("visible", True) else 1
                values[slot] = [point["x"], point["y"], seen]
                scores[slot] = point.get("score", np.nan)
            file = _file(found["videos"][_number(frame["video"])], int(frame["frame_idx"]), name)
            scored = np.isfinite(scores).any()
            rows.append((file, values, (np.nan, np.nan), np.nan_to_num(scores) if scored else None))
    return gathered(rows, names, bones, name)


def _instances(frame: Mapping[str, Any]) -> list[Any]:
    return frame.get("_instances") or frame.get("instances") or []


def _number(said: Any) -> int:
    """References are numbers, texts of numbers, or objects with an id."""
    return int(said["id"]) if isinstance(said, Mapping) else int(said)


def _file(video: Mapping[str, Any], frame: int, name: str) -> str:
    about = video.get("backend", video)
    pictures = about.get("filenames") or about.get("filename")
    if isinstance(pictures, list):
        return str(pictures[frame])
    raise SourceProblem(
        f"{name} marks frames of the video {pictures}: save these frames as pictures and name them "
        "under filenames"
    )


def write(held: KeyPoints, path: Path) -> None:
    """Write labels whose one video is the list of pictures."""
    labels = []
    for row, values in enumerate(held.values):
        points = {}
        for point, (x, y, seen) in enumerate(values):
            if seen:
                one: dict[str, Any] = {"x": float(x), "y": float(y), "visible": bool(seen > 1)}
                one["complete"] = True
                if held.scores is not None:
                    one["score"] = float(held.scores[row, point])
                points[str(point)] = one
        instance = {"skeleton": "0", "_points": points, "track": None}
        labels.append({"video": "0", "frame_idx": row, "_instances": [instance] if points else []})
    links = [
        {"edge_insert_idx": place, "key": 0, "source": a, "target": b}
        for place, (a, b) in enumerate(held.bones)
    ]
    skeleton = {
        "directed": True,
        "graph": {"name": "skeleton", "num_edges_inserted": len(links)},
        "links": links,
        "multigraph": True,
        "nodes": [{"id": number} for number in range(len(held.names))],
    }
    write_json(
        path,
        {
            "version": "2.0.0",
            "skeletons": [skeleton],
            "nodes": [{"name": name, "weight": 1.0} for name in held.names],
            "videos": [{"backend": {"filenames": list(held.files)}}],
            "tracks": [],
            "labels": labels,
        },
    )
