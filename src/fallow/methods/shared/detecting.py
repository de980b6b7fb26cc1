"""Detectors as judges of pictures: what they find beside what is marked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fallow.annotations import named_as, read
from fallow.annotations.store import corners, key_of
from fallow.images import Images
from fallow.measure.detection import Boxes, boxes
from fallow.problems import SettingProblem, SourceProblem, did_you_mean
from fallow.regions.people import BODIES, FACES, Cascades, Detector, RetinaFace, Seen

BUILT_IN = {"faces": FACES, "people": BODIES}


def detector(what: Any) -> Detector:
    """A built-in detector by name, a RetinaFace as ONNX file, or one of the user's own."""
    if callable(what):
        return what  # type: ignore[no-any-return]
    if str(what) in BUILT_IN:
        return Cascades(BUILT_IN[str(what)])
    if str(what).endswith(".onnx"):
        return RetinaFace(Path(what))
    hint = did_you_mean(str(what), BUILT_IN)
    raise SettingProblem(f"there is no detector {what!r}: {hint} An ONNX file is one, too.")


def marked_boxes(images: Images, source: Any, labels: Sequence[str]) -> list[Boxes]:
    """The marked boxes of every picture in pixels, of those classes the detector knows."""
    paths = images.table.column("path").to_pylist()
    held = named_as(read(source), paths)
    rows = held.boxes
    named = np.array([held.name(one).lower() for one in rows.column("label").to_pylist()], object)
    known = {label.lower(): label for label in labels}
    wanted = np.isin(named, list(known))
    if not wanted.any():
        there = ", ".join(sorted(set(named.tolist()))[:5]) or "none"
        raise SourceProblem(
            f"no marked box is of a class the detector knows ({', '.join(labels)}): marked are "
            f"{there}"
        )
    sides, of = corners(rows), np.array(rows.column("image").to_pylist(), object)
    sizes = np.stack([images.column("width"), images.column("height")], 1).astype(float)
    found = []
    for path, size in zip(paths, sizes, strict=True):
        here = wanted & (of == key_of(path))
        places = sides[here] * np.tile(size, 2)
        found.append(boxes(places, [known[name] for name in named[here]]))
    return found


def in_boxes(detect: Detector) -> Callable[[Sequence[np.ndarray]], list[Boxes]]:
    """A detector as what is asked about several pictures."""

    def asked(pictures: Sequence[np.ndarray]) -> list[Boxes]:
        return [_boxes(detect(pixels)) for pixels in pictures]

    return asked


def _boxes(seen: Sequence[Seen]) -> Boxes:
    return boxes(
        [one.box for one in seen], [one.label for one in seen], [one.score for one in seen]
    )
