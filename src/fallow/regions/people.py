"""Finding people, faces and other things in pictures: built-in cascades, and the user's own models.

A detector is called with a picture and answers with what it has seen; its name says which model it
is, so that answers can be kept. Scores are 0 to 1, and from 0.5 on the detector means it.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fallow.annotations.boxes import unsuppressed
from fallow.files import fingerprint
from fallow.problems import MissingPackage, Problem

Pixels = np.ndarray  # H W 3, uint8


@dataclass(frozen=True)
class Seen:
    """One thing in a picture: what, how surely, and where in pixels (xmin, ymin, xmax, ymax)."""

    label: str
    score: float
    box: tuple[float, float, float, float]


class Detector(Protocol):
    """What answers with the things in a picture, each of which has one of its labels."""

    @property
    def name(self) -> str: ...
    @property
    def labels(self) -> Sequence[str]: ...

    def __call__(self, pixels: Pixels) -> list[Seen]: ...


# --- OpenCV's cascades ---

FACES = {"frontalface_default": "face", "profileface": "face"}
BODIES = {"upperbody": "person", "fullbody": "person"}
SURE = 4  # windows that agree on one thing: as many make a score of one half
LONG = 640  # pixels of the long side that is looked at; enlarging finds more, and much that is none
STEP, SMALLEST = 1.15, (24, 24)  # from one size that is looked for to the next; the least of them


class Cascades:
    """OpenCV's cascades: fast, on any processor, and blind to most people in everyday photos.

    A score is the share of windows that agree, n / (n + 4).
    """

    def __init__(self, kinds: dict[str, str] | None = None) -> None:
        try:
            import cv2
        except ImportError as error:
            raise MissingPackage("opencv-python-headless", "people") from error
        self.kinds = FACES if kinds is None else kinds
        self.name = f"opencv-{cv2.__version__}-{'-'.join(self.kinds)}-{LONG}-{STEP}"
        self.labels = sorted(set(self.kinds.values()))
        self._folder = getattr(getattr(cv2, "data", None), "haarcascades", "")
        for kind in self.kinds:
            if not Path(self._file(kind)).is_file():
                raise Problem(
                    f"OpenCV {cv2.__version__} comes without the cascade {kind}: "
                    'install a version below 5, as pip install "fallow[people]" does'
                )
        self._own = threading.local()  # a cascade may not be used by two threads at once

    def __reduce__(self) -> tuple[Any, ...]:  # loaded anew wherever it travels
        return Cascades, (self.kinds,)

    def _file(self, kind: str) -> str:
        return f"{self._folder}haarcascade_{kind}.xml"

    def __call__(self, pixels: Pixels) -> list[Seen]:
        import cv2

        if not hasattr(self._own, "loaded"):
            self._own.loaded = {
                kind: cv2.CascadeClassifier(self._file(kind)) for kind in self.kinds
            }
        height, width = pixels.shape[:2]
        scale = min(LONG / max(height, width), 1.0)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        grey = cv2.equalizeHist(cv2.resize(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), size,
                                           interpolation=cv2.INTER_AREA))  # fmt: skip
        found = []
        for kind, cascade in self._own.loaded.items():
            views = [(grey, False)]
            if kind == "profileface":  # it knows one side of the face only
                views.append((np.ascontiguousarray(grey[:, ::-1]), True))
            for view, mirrored in views:
                boxes, windows = cascade.detectMultiScale2(view, STEP, 2, minSize=SMALLEST)
                for box, count in zip(boxes, windows, strict=True):
                    x, y, w, h = (float(side) for side in box)
                    x = size[0] - x - w if mirrored else x
                    placed = (x / scale, y / scale, (x + w) / scale, (y + h) / scale)
                    score = float(count) / (float(count) + SURE)
                    found.append(Seen(self.kinds[kind], score, placed))
        return sorted(found, key=lambda seen: -seen.score)


# --- RetinaFace ---

STRIDES = (8, 16, 32)
SIDES = ((16, 32), (64, 128), (256, 512))  # of the anchors in each cell, in pixels
MEAN = (104.0, 117.0, 123.0)  # of blue, green and red
VARIANCES = (0.1, 0.2)
FAINTEST, APART = 0.02, 0.4  # scores looked at at all; overlap up to which two faces are two
CANDIDATES, MOST = 5000, 750


def anchors(height: int, width: int) -> np.ndarray:
    """The boxes RetinaFace's answers are relative to: centre and size, as shares of the picture.

    >>> anchors(32, 32).shape, anchors(32, 32)[0].tolist()
    ((42, 4), [0.125, 0.125, 0.5, 0.5])
    """
    found = []
    for stride, sides in zip(STRIDES, SIDES, strict=True):
        rows, columns = math.ceil(height / stride), math.ceil(width / stride)
        y, x, side = np.meshgrid(np.arange(rows), np.arange(columns), sides, indexing="ij")
        centres = ((x + 0.5) * stride / width, (y + 0.5) * stride / height)
        found.append(np.stack([*centres, side / width, side / height], -1).reshape(-1, 4))
    return np.concatenate(found)


def decoded(places: np.ndarray, around: np.ndarray) -> np.ndarray:
    """RetinaFace's answers (P 4) as corners, in shares of the picture."""
    centre = around[:, :2] + places[:, :2] * VARIANCES[0] * around[:, 2:]
    half = around[:, 2:] * np.exp(places[:, 2:] * VARIANCES[1]) / 2
    return np.concatenate([centre - half, centre + half], 1)


def decoded_points(points: np.ndarray, around: np.ndarray) -> np.ndarray:
    """Its answers for eyes, nose and mouth (P 10) as places, x and y in turn."""
    moved = points.reshape(len(points), -1, 2) * VARIANCES[0] * around[:, None, 2:]
    return (around[:, None, :2] + moved).reshape(len(points), -1)


def faces(places: np.ndarray, scores: np.ndarray, height: int, width: int) -> list[Seen]:
    """Faces in the answers to a picture of that size, the surest first."""
    rows = np.flatnonzero(scores > FAINTEST)
    rows = rows[np.argsort(-scores[rows], kind="stable")][:CANDIDATES]
    boxes = decoded(places[rows], anchors(height, width)[rows]) * ((width, height) * 2)
    kept = unsuppressed(boxes, scores[rows], APART, edge=1)[:MOST]
    return [Seen("face", float(scores[rows[k]]), _box(boxes[k])) for k in kept]


# --- ONNX models ---


class Onnx:
    """A model file of the user's, run by ONNX Runtime."""

    def __init__(self, path: str | Path) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingPackage("onnxruntime", "people") from error
        try:
            data = Path(path).read_bytes()
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 3
            self.session = onnxruntime.InferenceSession(data, options, ["CPUExecutionProvider"])
        except OSError as error:
            raise Problem(f"{path} cannot be read: {error.strerror or error}") from error
        except Exception as error:  # the runtime's errors have no common ancestor of their own
            raise Problem(f"{path} is no ONNX model that can be run here: {error}") from error
        self.name = f"{Path(path).name}-{fingerprint(data)[:12]}"
        self.path = path
        entry = self.session.get_inputs()[0]
        shape = list(entry.shape)
        if len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != 3):
            raise Problem(f"{path} must take pictures as 1 x 3 x height x width, not {shape}")
        self.input = entry.name
        fixed = shape[2:]
        self.size = (fixed[0], fixed[1]) if all(isinstance(side, int) for side in fixed) else None

    def __reduce__(self) -> tuple[Any, ...]:  # the file is opened anew wherever it travels
        return type(self), (self.path,)

    def run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs of one batch by their names."""
        names = [output.name for output in self.session.get_outputs()]
        return dict(zip(names, self.session.run(names, {self.input: batch}), strict=True))

    def fitted(self, pixels: Pixels, long: int) -> tuple[Pixels, float]:
        """The picture at the model's size, its short side filled up, and the scale."""
        height, width = pixels.shape[:2]
        target = self.size or (long, long)
        scale = min(target[0] / height, target[1] / width)
        if self.size is None:
            scale = min(scale, 1.0)
        small = _resized(pixels, max(1, round(height * scale)), max(1, round(width * scale)))
        if self.size is None:
            return small, scale
        whole = np.full((*target, 3), 114, np.uint8)
        whole[: small.shape[0], : small.shape[1]] = small
        return whole, scale


class RetinaFace(Onnx):
    """Faces by a RetinaFace model: the outputs are boxes (4), scores (2) and points (10)."""

    labels = ("face",)
    long = 1600  # larger pictures are looked at in this size

    def __call__(self, pixels: Pixels) -> list[Seen]:
        shown, scale = self.fitted(pixels, self.long)
        blue_first = shown[..., ::-1].astype(np.float32) - np.array(MEAN, np.float32)
        outputs = list(self.run(blue_first.transpose(2, 0, 1)[None]).values())
        by_width = {output.shape[-1]: output[0].astype(np.float64) for output in outputs}
        if not {4, 2} <= set(by_width):
            raise Problem(
                f"{self.path} answers unlike RetinaFace: it needs outputs of width 4 and 2"
            )
        height, width = shown.shape[:2]
        scores = _probabilities(by_width[2])[:, 1]
        if len(scores) != len(anchors(height, width)):
            raise Problem(f"{self.path} has other anchors than RetinaFace has ({len(scores)})")
        return [_scaled(seen, scale) for seen in faces(by_width[4], scores, height, width)]


class Things(Onnx):
    """Things by a detector: YOLO's one output (1 x 4+classes x boxes), or boxes, labels, scores.

    `names` are those of its classes in their order; COCO's model has "person" first.
    """

    long = 640
    least, apart = 0.05, 0.5

    def __init__(self, path: str | Path, names: Sequence[str]) -> None:
        super().__init__(path)
        self.labels = list(names)
        self.name += f"-{fingerprint(','.join(self.labels).encode())[:6]}"

    def __reduce__(self) -> tuple[Any, ...]:
        return Things, (self.path, self.labels)

    def __call__(self, pixels: Pixels) -> list[Seen]:
        shown, scale = self.fitted(pixels, self.long)
        batch = (shown.astype(np.float32) / 255).transpose(2, 0, 1)[None]
        outputs = self.run(batch)
        boxes, labels, scores = self._answers(outputs)
        found = []
        for label in np.unique(labels[scores >= self.least]):
            rows = np.flatnonzero((labels == label) & (scores >= self.least))
            for row in rows[unsuppressed(boxes[rows], scores[rows], self.apart)]:
                if not 0 <= label < len(self.labels):
                    raise Problem(
                        f"{self.path} says class {label}, but {len(self.labels)} have names"
                    )
                box = _box(boxes[row])
                found.append(_scaled(Seen(self.labels[label], float(scores[row]), box), scale))
        return sorted(found, key=lambda seen: -seen.score)

    def _answers(self, outputs: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if len(outputs) == 1:
            whole = next(iter(outputs.values()))[0].astype(np.float64)
            if whole.ndim != 2 or whole.shape[0] != 4 + len(self.labels):
                raise Problem(
                    f"{self.path} answers with {whole.shape}, not with 4 + {len(self.labels)} rows"
                )
            middle, half = whole[:2].T, whole[2:4].T / 2
            scores = whole[4:]
            boxes = np.concatenate([middle - half, middle + half], 1)
            return boxes, scores.argmax(0), scores.max(0)
        named = {
            key: next((v for k, v in outputs.items() if key in k.lower()), None)
            for key in ("box", "label", "score")
        }
        if any(value is None for value in named.values()):
            raise Problem(f"{self.path} must answer with boxes, labels and scores, by these names")
        boxes, labels, scores = (np.asarray(value) for value in named.values())
        return boxes.reshape(-1, 4), labels.reshape(-1).astype(np.int64), scores.reshape(-1)


class Marks(Onnx):
    """A classifier: one probability for a picture, or one for each of `names`.

    Its input is 0 to 1, less `mean` and over `spread`.
    """

    def __init__(
        self,
        path: str | Path,
        names: Sequence[str] = ("flagged",),
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        spread: Sequence[float] = (0.229, 0.224, 0.225),
    ) -> None:
        super().__init__(path)
        self.labels = list(names)
        self.mean, self.spread = np.array(mean, np.float32), np.array(spread, np.float32)
        self.name += f"-{fingerprint(','.join(self.labels).encode())[:6]}"

    def __reduce__(self) -> tuple[Any, ...]:
        return Marks, (self.path, self.labels, self.mean, self.spread)

    def __call__(self, pixels: Pixels) -> list[Seen]:
        height, width = self.size or (224, 224)
        small = _resized(pixels, height, width).astype(np.float32) / 255
        batch = ((small - self.mean) / self.spread).transpose(2, 0, 1)[None]
        values = next(iter(self.run(batch).values())).reshape(-1).astype(np.float64)
        if len(values) != len(self.labels):
            raise Problem(f"{self.path} answers {len(values)} numbers for {len(self.labels)} names")
        if len(values) > 1:
            values = _probabilities(values[None])[0]
        whole = (0.0, 0.0, float(pixels.shape[1]), float(pixels.shape[0]))
        return [
            Seen(name, float(value), whole) for name, value in zip(self.labels, values, strict=True)
        ]


def _probabilities(values: np.ndarray) -> np.ndarray:
    """Rows that sum to 1: as they are, or by softmax.  N K"""
    if (values >= 0).all() and np.allclose(values.sum(1), 1, atol=1e-3):
        return values
    shifted = np.exp(values - values.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


def _box(values: np.ndarray) -> tuple[float, float, float, float]:
    xmin, ymin, xmax, ymax = values.tolist()
    return xmin, ymin, xmax, ymax


def _scaled(seen: Seen, scale: float) -> Seen:
    return Seen(seen.label, seen.score, _box(np.array(seen.box) / scale))


def _resized(pixels: Pixels, height: int, width: int) -> Pixels:
    from PIL import Image

    if pixels.shape[:2] == (height, width):
        return pixels
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
