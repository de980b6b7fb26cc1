"""How well labels can be read off an encoder's vectors, beside plain baselines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fallow.device import best_device
from fallow.problems import Problem, SettingProblem
from fallow.result import Result
from fallow.verbs.embed import opened

if TYPE_CHECKING:
    from fallow.encoders import Encoder
    from fallow.images import Images

RAW_SIDE = 32


def probe(
    run: str | Path | Encoder,
    source: Any = None,
    *,
    labels: Any = None,
    where: str | None = None,
    seed: int = 0,
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
    import fallow

    encoder = fallow.encoder(str(run)).to(best_device()) if isinstance(run, str | Path) else run
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


def sentences(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each row of `scores`."""
    return [f"{row['name']}: k-NN {row['knn']:.3f}, probe {row['probe']:.3f}" for row in rows]


def scores(
    encoders: Mapping[str, Encoder], images: Images, *, seed: int = 0
) -> list[dict[str, Any]]:
    """One row per encoder and one for raw pixels: name, knn, probe (accuracies on held-out)."""
    from fallow.measure import knn_accuracy, logistic_probe

    known = images.labelled
    if not len(known):
        raise Problem(f"{images.name} has no labels to probe with: give --labels")
    codes, names = known.labels
    if len(names) < 2:
        raise Problem(f"a probe needs at least two classes; {images.name} has {len(names)}")
    teach, ask = halves(known, codes, seed)
    vectors = {name: encoder.embed(known) for name, encoder in encoders.items()}
    vectors["raw pixels"] = raw_pixels(known)
    found = []
    for name, table in vectors.items():
        readable = np.isfinite(table).all(1)
        one, two = teach & readable, ask & readable
        arrays = table[one], codes[one], table[two], codes[two]
        found.append(
            {
                "name": name,
                "knn": knn_accuracy(*arrays).top1,
                "probe": logistic_probe(*arrays, seed=seed).top1,
            }
        )
    return found


def halves(images: Images, codes: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Which images teach and which are asked: by their split, else one in five of each class.

    >>> from fallow.images.samples import shapes
    >>> images = shapes(60, seed=0, side=24)
    >>> teach, ask = halves(images, images.labels[0], seed=0)
    >>> int(teach.sum() + ask.sum()), bool((teach & ask).any())
    (60, False)
    """
    if (parts := split_of(images)) is not None:
        return parts
    draw = np.random.default_rng(seed)
    ask = np.zeros(len(codes), bool)
    for code in np.unique(codes):
        members = draw.permutation(np.flatnonzero(codes == code))
        ask[members[: max(1, len(members) // 5)] if len(members) > 1 else members[:0]] = True
    if not ask.any():
        raise Problem("every class has a single image: a probe needs two of some class")
    return ~ask, ask


def split_of(images: Images) -> tuple[np.ndarray, np.ndarray] | None:
    """Which images are for training and which for testing, where a column says so."""
    if "split" not in images.columns:
        return None
    split = images.column("split")
    teach, ask = split == "train", split == "test"
    return (teach, ask) if teach.any() and ask.any() else None


def raw_pixels(images: Images, side: int = RAW_SIDE) -> np.ndarray:
    """The pixels of small square copies as vectors (N, side * side * 3); NaN where unreadable."""
    from fallow.encoders import Preprocessing

    shrink = Preprocessing(size=side, short=side)
    vectors = np.full((len(images), 3 * side * side), np.nan, np.float32)
    for row, pixels in images.map(shrink.fit, side=side):
        if hasattr(pixels, "numpy"):
            values = pixels.numpy().astype(np.float32).ravel()
            vectors[row] = values - values.mean()
    return vectors


def _was_taught(run: Any) -> bool:
    """Whether a run's method learnt from labels."""
    from fallow.methods import find, slugs

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
