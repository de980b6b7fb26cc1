"""Train an encoder on unlabelled images, and say how much it learnt."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fallow.encoders.whitening import LEAST
from fallow.images import opened
from fallow.measure.scores import scores, split_of
from fallow.methods import find
from fallow.outcomes.result import Result, writable
from fallow.problems import Problem, SettingProblem, did_you_mean
from fallow.train import Run, fit, launch, make_settings

if TYPE_CHECKING:
    from fallow.encoders import Encoder
    from fallow.images import Images

MINUTES = 10.0  # the budget when none is given
# forward and backward of both 32-px views through a ResNet-18 of width 64, images/s on two cores
CPU_SPEED = 45.0
GPU_SPEED = 8000.0
TINY_SPEED = 250.0  # the same for two views through tiny, on two cores
GENTLE = 0.03  # a learning rate at which what tiny knows is not lost


@dataclass(frozen=True)
class Plan:
    """What `learn` chose for a folder, each with a reason."""

    size: int
    encoder: str
    batch: int
    reasons: tuple[str, ...]
    method: str = "simclr"
    settings: Mapping[str, Any] = field(default_factory=dict)
    whitened: bool = False  # the encoder's vectors, by the images it learnt from


def from_tiny(images: Images, minutes: float | None) -> Plan:
    """Go on from the built-in encoder: what pays without a GPU.

    >>> from fallow.images.samples import shapes
    >>> plan = from_tiny(shapes(300, seed=0, side=32), minutes=2)
    >>> plan.method, plan.encoder, plan.size, plan.batch
    ('moco', 'tiny', 64, 128)
    """
    count = len(images)
    passes = TINY_SPEED * 60 * (minutes or MINUTES) / count
    reasons: tuple[str, ...] = (
        "views of 64 px: what the encoder was made for",
        f"encoder tiny: about {passes:.0f} passes fit the budget, and without a GPU no such "
        "budget brings random weights as far",
        f"batches of {_batch(count)}: there are {count} images",
        "method moco, gently: it adapts the encoder to these images",
    )
    enough = count >= LEAST
    if enough:
        reasons += ("vectors whitened half-way: what varies most among these images (light, say) "
                    "shall not decide alone what is alike",)  # fmt: skip
    return Plan(64, "tiny", _batch(count), reasons, "moco", {"learning_rate": GENTLE}, enough)


def _batch(count: int) -> int:
    return 256 if count >= 2048 else 128 if count >= 256 else max(2, count // 2)


def choose(images: Images, minutes: float | None, gpu: bool = False) -> Plan:
    """View size, random encoder and batch for a collection and a budget.

    >>> from fallow.images.samples import shapes
    >>> plan = choose(shapes(300, seed=0, side=32), minutes=2)
    >>> plan.size, plan.batch
    (32, 128)
    """
    side = int(np.median(np.minimum(images.column("width"), images.column("height"))))
    sizes = (32, 64, 128, 224) if gpu else (32, 64)
    size = max([s for s in sizes if s <= side] or [32])
    count = len(images)
    batch = _batch(count)
    seconds = 60 * (minutes or MINUTES)
    width, passes = 64, 0.0
    for width in (64, 32, 16):
        speed = (GPU_SPEED if gpu else CPU_SPEED) * (64 / width) ** 1.6 * (32 / size) ** 2
        passes = speed * seconds / count
        if passes >= 40:  # contrastive learning needs dozens of passes before it pays
            break
    stem = "small" if size <= 64 else "imagenet"
    reasons = (
        f"views of {size} px: the images are {side} px on their short side"
        + ("" if gpu or side <= 64 else ", and larger views are too slow without a GPU"),
        f"ResNet-18 of width {width}, {stem} stem: about {passes:.0f} passes fit the budget",
        f"batches of {batch}: there are {count} images",
    )
    return Plan(size, f"resnet18/{width}", batch, reasons)


def transformer_for(size: int, gpu: bool = False) -> tuple[str, str]:
    """A transformer for views of a size, and why.

    >>> transformer_for(32)[0], transformer_for(64)[0], transformer_for(224, gpu=True)[0]
    ('vit-pico/4', 'vit-pico/8', 'vit-small/16')
    """
    if size > 64:
        layout, most = "small", 16
    else:  # a CPU brings the smallest through twice as many images in the same minutes
        layout, most = "nano" if gpu else "pico", max(1, size // 8)
    patch = max(side for side in range(1, most + 1) if size % side == 0)
    return f"vit-{layout}/{patch}", (
        f"ViT-{layout} on patches of {patch} px: the method works on patches, and a view has "
        f"{size // patch} x {size // patch}"
    )


def learn(
    source: Any,
    *,
    method: str | None = None,
    encoder: str | None = None,
    labels: Any = None,
    where: str | None = None,
    minutes: float | None = None,
    epochs: float | None = None,
    out: str | Path | None = None,
    preset: str | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    tell: Callable[[str], None] = lambda line: None,
    progress_bar: bool = False,
) -> Learnt:
    """Train `method` on the images of `source` for some minutes or epochs.

    Without a method and an encoder, the built-in encoder goes on learning from these images, and
    its vectors are whitened by them (with a GPU, a larger one learns from random). With labels
    the result says how well nearest neighbours predict them, beside the encoder as it was before;
    without, its report shows clusters and neighbours. A method that learns from labels does not
    see images whose `split` is test. A run whose `out` folder holds a checkpoint goes on there.

    >>> from fallow.images.samples import shapes
    >>> run = learn(shapes(32, seed=0, side=24), epochs=1, encoder="resnet8/8")
    >>> run.run.steps
    2
    """
    import torch

    import fallow
    from fallow.encoders import save, whiten

    images = opened(source, labels, where)
    given = dict(settings or {})
    gpu = torch.cuda.is_available()
    asked = minutes or given.get("minutes")
    if method is None and encoder is None and not gpu:
        plan = from_tiny(images, asked)
    else:
        plan = choose(images, asked, gpu)
    method = method or plan.method
    kind = find("learn", method)
    if preset is not None:
        if preset not in kind.presets:
            hint = did_you_mean(preset, kind.presets)
            raise SettingProblem(f"{method} has no preset {preset!r}: {hint}")
        given = kind.presets[preset] | given
    if epochs is not None or minutes is not None:
        given = {k: v for k, v in given.items() if k not in ("epochs", "minutes")}
        given |= {"epochs": epochs, "minutes": minutes}
    elif "epochs" not in given and "minutes" not in given:
        given["minutes"] = MINUTES
    make_settings(kind.Settings, given)  # a mistake must show before any training
    taught, held = images, split_of(images)
    if kind.learns_labels and held is not None:
        taught = images.select(~held[1])
    suited = {"size": plan.size, "batch": plan.batch, **plan.settings}
    chosen = make_settings(kind.Settings, suited | given)
    name, reasons = plan.encoder, list(plan.reasons)
    if encoder is not None:
        name, reasons[1] = encoder, f"encoder {encoder}: as asked"
    elif kind.needs_transformer:
        name, reasons[1] = transformer_for(chosen.size, gpu)
    fabric = launch()
    first = fabric.global_rank == 0
    if "size" in given:
        reasons[0] = f"views of {chosen.size} px: as asked"
    if "batch" in given:
        reasons[2] = f"batches of {chosen.batch}: as asked"
    for line in reasons if first else ():
        tell(line)
    start = fallow.encoder(name, seed=seed, size=chosen.size)
    # what learns is the network: its last step is fitted again when it has learnt
    whitened, start.whitening = plan.whitened or start.whitening is not None, None
    run = fit(
        kind,
        taught,
        encoder=start,
        settings=chosen,
        out=out,
        seed=seed,
        fabric=fabric,
        tell=tell,
        about={
            "source": str(source) if isinstance(source, str | Path) else None,
            "labels": str(labels) if isinstance(labels, str | Path) else None,
            "where": where,
            "encoder": name,
        },
        progress_bar=progress_bar,
    )
    if whitened and first:
        whiten(run.encoder, taught)
        if run.folder is not None:
            save(run.encoder, run.folder / "encoder")
    rows, unscored = [], ""
    if kind.learns_labels and held is None:
        unscored = f"{method} was taught all labels; a column split (train, test) keeps some aside"
    elif first and "label" in images.columns:
        read = {key: value for key, value in run.encoder.options.items() if key == "pool"}
        before = fallow.encoder(name, seed=seed, size=chosen.size, **read).to(fabric.device)
        try:
            rows = scores({"trained": run.encoder, "before": before}, images, seed=seed)
        except Problem as problem:  # the run is whole; only its labels do not tell
            unscored = str(problem)
    result = Learnt(run, images, method, reasons, rows, unscored)
    if first and run.folder is not None:
        result.save(run.folder)
    return result


class Learnt(Result):
    """What `learn` returns: the run, its encoder, its curves as `.table`, its scores."""

    def __init__(
        self,
        run: Run,
        images: Images,
        method: str,
        reasons: Sequence[str],
        rows: Sequence[Mapping[str, Any]],
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
        headlines += [
            f"{row['name']}: k-NN {row['knn']:.3f}, probe {row['probe']:.3f}" for row in rows
        ]
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
            pa.Table.from_pylist(run.history), headlines=headlines, findings=findings, page=_page
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
        from fallow.files import write_json

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
    from fallow.inventory import groups
    from fallow.vectors import space
    from fallow.verbs.explore import thumbnail

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


def _page(findings: Mapping[str, Any]) -> str:
    from fallow.report import learn_page

    return learn_page(findings)
