"""What `learn` leaves behind: curves, scores, and how the encoder sees some of the images."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fallow.files import write_json
from fallow.inventory import groups
from fallow.measure.scores import sentences
from fallow.outcomes.pictures import thumbnail
from fallow.outcomes.result import Result, writable
from fallow.vectors import space

if TYPE_CHECKING:
    from fallow.encoders import Encoder
    from fallow.images import Images
    from fallow.train import Run


BEFORE, WHITENED = "before", "before, whitened"  # rows beside the trained encoder's


def paid(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence where the encoder tells labels no better than it did, and what to do instead.

    >>> paid(
    ...     [
    ...         {"name": "trained", "knn": 0.7, "probe": 0.8},
    ...         {"name": BEFORE, "knn": 0.7, "probe": 0.9},
    ...     ]
    ... )
    ['learning did not help here: take the encoder as it was, or give it more images or minutes']
    """
    known = {row["name"]: row["knn"] + row["probe"] for row in rows}
    before = {name: known[name] for name in (BEFORE, WHITENED) if name in known}
    if not before or known["trained"] > max(before.values()):
        return []
    best = max(before, key=before.__getitem__)
    how = " and whiten it by these images (fallow.encoders.whiten)" if best == WHITENED else ""
    return [
        f"learning did not help here: take the encoder as it was{how}, or give it more images or "
        "minutes"
    ]


class Learnt(Result):
    """What `learn` returns: the run, its encoder, its curves as `.table`, its scores."""

    def __init__(
        self,
        run: Run,
        images: Images,
        method: str,
        reasons: Sequence[str],
        rows: Sequence[Mapping[str, Any]],
        page: Callable[[Mapping[str, Any]], str],
        unscored: str = "",
    ) -> None:
        self.run, self.images = run, images
        headlines = [
            f"{method}: {run.steps:,} steps of {run.settings.batch} images in "
            f"{run.seconds / 60:.1f} minutes"
        ]
        if run.history:
            first, last = run.history[0]["loss"], _last_loss(run.history)
            headlines.append(f"loss from {first:.3f} to {last:.3f}")
        headlines += [*sentences(rows), *paid(rows)]
        if unscored:
            headlines.append(f"not scored: {unscored}")
        headlines += [f"warning: {text}" for text in run.warnings]
        if run.folder is not None:
            headlines.append(f"encoder: {run.folder / 'encoder'}")
        findings = {
            "name": f"{method} on {images.name}",
            "created": datetime.datetime.now().isoformat(" ", "minutes"),
            "counts": {"images": len(images), "steps": run.steps},
            "chosen": [*reasons, *run.notes],
            "warnings": run.warnings,
            "metrics": run.history,
            "scores": list(rows),
            "settings": run.settings.model_dump(exclude_none=True),
            "machine": {"processor": platform.machine(), "computing": str(run.choice)},
        }
        super().__init__(
            pa.Table.from_pylist(run.history), headlines=headlines, findings=findings, page=page
        )

    @property
    def encoder(self) -> Encoder:
        return self.run.encoder

    def report(self, file: str | PathLike[str]) -> Path:
        """Write the report; the pictures in it are looked up now."""
        if "thumbnails" not in self.findings:
            self.findings |= pictures(self.run.encoder, self.images)
            some = self.images.sample(min(9, len(self.images)), 0)
            read = [one for _, one in some.map(np.asarray, side=self.run.settings.size)]
            shown = [image for image in read if isinstance(image, np.ndarray)]
            self.findings["figures"] = self.run.method.pictures(shown)
        return super().report(file)

    def save(self, folder: str | PathLike[str]) -> Path:
        """Write the report and the scores; the run itself is kept in its folder as it trains."""
        self.folder = writable(folder)
        if self.findings["scores"]:
            write_json(self.folder / "scores.json", self.findings["scores"])
        self.report(self.folder / "report.html")
        return self.folder


def pictures(
    encoder: Encoder, images: Images, *, most: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """Clusters of a sample of the images and the neighbours of a few, with thumbnails.

    >>> import fallow
    >>> from fallow.images.samples import shapes
    >>> shown = pictures(fallow.encoder("resnet8/8"), shapes(40, seed=0, side=24))
    >>> len(shown["neighbours"][0])
    8
    """

    sample = images.sample(min(most, len(images)), seed)
    vectors = encoder.embed(sample)
    rows = np.flatnonzero(np.isfinite(vectors).all(1))
    unit = space.unit(vectors[rows])
    found = groups.group(unit, seed=seed)
    clusters = [[int(rows[k]) for k in members[:12]] for members in found.representatives]
    queries = np.random.default_rng(seed).permutation(len(rows))[:8]
    near = np.argsort(-(unit[queries] @ unit.T), axis=1)[:, :8]
    neighbours = [[int(rows[k]) for k in line] for line in near]
    shown = sorted({k for line in [*clusters, *neighbours] for k in line})
    place = {row: number for number, row in enumerate(shown)}
    made = dict(sample.select(np.array(shown)).map(thumbnail, side=96))
    blank = thumbnail(np.zeros((8, 8, 3), np.uint8))
    return {
        "thumbnails": [
            made[k] if isinstance(made.get(k), bytes) else blank for k in range(len(shown))
        ],
        "clusters": [[place[k] for k in line] for line in clusters],
        "neighbours": [[place[k] for k in line] for line in neighbours],
    }


def _last_loss(history: Sequence[Mapping[str, float]]) -> float:
    return next(line["loss"] for line in reversed(history) if "loss" in line)
