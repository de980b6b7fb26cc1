"""`distil`: a few synthetic images that teach a network what a labelled folder teaches it."""

from __future__ import annotations

import datetime
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from fallow.device import best_device
from fallow.images import opened
from fallow.measure.scores import halves
from fallow.outcomes.result import Result, writable
from fallow.problems import Problem, SettingProblem, SourceProblem, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

    from fallow.images import Images
    from fallow.methods.distil import Host
    from fallow.methods.distil.fyi import Judgement
    from fallow.methods.shared.tiny import Real, Refined, Space

SIDES = (8, 16, 32, 64)  # of the synthetic images, the largest only with a GPU
ASKED = 20  # held-out images below which nothing is tested
NETWORKS = 3
EPOCHS = 300  # of a network on the tiny set; 1,000 in the papers


class TinySet(NamedTuple):
    """What is kept of a folder: pixels as networks take them, and what they stand for."""

    pixels: Tensor  # N 3 S S, standardised (and whitened), not clipped
    labels: Tensor  # N
    names: list[str]
    space: Space
    recipe: dict[str, Any]


class Distilled(Result):
    """What `distil` returns: `.tiny`, one row of `.table` per synthetic image, `.verified`."""

    def __init__(self, table: pa.Table, findings: Mapping[str, Any], tiny: TinySet) -> None:
        super().__init__(table, headlines=findings["headlines"], findings=findings, page=_page)
        self.tiny = tiny

    @property
    def verified(self) -> dict[str, list[float]]:
        """Held-out accuracies by what the networks were trained on; empty if not asked for."""
        return dict(self.findings["verified"])

    @property
    def pictures(self) -> np.ndarray:
        """The synthetic images for the eye, clipped.  N S S 3 uint8"""
        return self.tiny.space.leave(self.tiny.pixels)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write images/, labels.csv, set.safetensors, recipe.json, the table and the report."""
        from PIL import Image
        from pyarrow import csv
        from safetensors.torch import save as to_bytes

        from fallow.files import atomic_write

        place = writable(folder)
        for picture, name in zip(self.pictures, self.table["path"].to_pylist(), strict=True):
            path = place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as target:
                Image.fromarray(picture).save(target, "PNG")
        with atomic_write(place / "labels.csv") as target:
            csv.write_csv(self.table.select(["path", "label"]), target)
        arrays = {"pixels": self.tiny.pixels, "labels": self.tiny.labels}
        held = {**arrays, **self.tiny.space.arrays()}
        with atomic_write(place / "set.safetensors") as target:
            target.write(to_bytes({name: each.cpu().contiguous() for name, each in held.items()}))
        with atomic_write(place / "recipe.json") as target:
            target.write(json.dumps(self.tiny.recipe, indent=1, default=str).encode())
        return super().save(place)


def load_tiny(folder: str | os.PathLike[str]) -> TinySet:
    """The tiny set that `distil` wrote into a folder."""
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    from fallow.methods.shared.tiny import Space

    place = Path(folder)
    try:
        held = from_bytes((place / "set.safetensors").read_bytes())
        recipe = json.loads((place / "recipe.json").read_text())
        pixels, labels, names = held.pop("pixels"), held.pop("labels"), recipe["classes"]
        return TinySet(pixels, labels, names, Space(**held), recipe)
    except FileNotFoundError:
        raise SourceProblem(
            f"{place} holds no tiny set: it needs set.safetensors and recipe.json"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise SourceProblem(f"the tiny set in {place} cannot be used: {error}") from error


def distil(
    source: Any,
    *,
    labels: Any = None,
    where: str | None = None,
    per_class: int = 10,
    host: str = "dm",
    fyi: bool | None = None,
    verify: bool = False,
    minutes: float | None = None,
    out: str | os.PathLike[str] | None = None,
    preset: str | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    tell: Callable[[str], None] = lambda line: None,
) -> Distilled:
    """Make `per_class` synthetic images of every class that can stand in for the folder.

    `host` is how: dm (quick), dc, dsa, mtt. `fyi` uses every synthetic image together with its
    mirror image; left out, it does so unless held-out images say that mirroring changes what they
    mean. `verify` trains fresh networks on the synthetic images and, beside them, on as many real
    ones drawn at random, by k-centre and by herding. Held out are the images whose `split` is
    test, else one in five of each class; they never change a pixel.

    >>> import tempfile
    >>> from fallow.images.samples import shapes
    >>> quick = {"steps": 2, "width": 8, "size": 16, "real": 4}
    >>> tiny = distil(shapes(80, side=24), per_class=2, settings=quick, out=tempfile.mkdtemp())
    >>> tiny.table.num_rows, tiny.pictures.shape
    (16, (16, 16, 16, 3))
    """
    import torch

    from fallow.methods.distil import find_host
    from fallow.methods.shared.coreset import reference
    from fallow.methods.shared.tiny import Real, Space, refine, squares

    kind = find_host(host)
    if per_class < 1:
        raise SettingProblem(f"per_class={per_class} is not possible: use 1 or more")
    given = _given(kind, host, settings, preset, fyi, minutes)
    images = _known(opened(source, labels, where))
    size = _side(images, given.get("size"), torch.cuda.is_available())
    given["size"] = size
    _chosen(kind, given)  # a mistake must show before anything is decoded
    place = writable(out if out is not None else f"{_plain(images.name)}-distil")
    codes, names = images.labels
    teach, ask = halves(images, codes, seed)
    device = best_device()
    rows, pixels = squares(images.select(teach), size)
    real = Real.of(pixels, torch.from_numpy(codes[teach][rows]), names)
    if given.get("whiten"):
        real = Real.of(pixels, real.labels, names, space=Space.of(pixels, whiten=True))
    paths = images.select(teach).column("path")[rows]
    held = None
    if ask.any():
        asked, others = squares(images.select(ask), size)
        held = Real.of(others, torch.from_numpy(codes[ask][asked]), names, space=real.space).to(
            device
        )
    real = real.to(device)
    notes: list[str] = []

    depth = int(given.get("depth", kind.Settings.model_fields["depth"].default))
    depth = max(1, min(depth, size.bit_length() - 1))
    judge = None
    if verify or fyi is not False:
        tell(f"looking at {len(real):,} real images, and at the mirror images of those held out")
        judge = reference(real, seed=seed, depth=depth)
    judgement = _judged(judge, held, names)
    _mirror(given, fyi, judgement, notes)
    chosen = _chosen(kind, given)
    maker = kind(real, per_class, chosen, seed=seed)
    refined = refine(maker, steps=chosen.steps, minutes=chosen.minutes, tell=tell)

    flips = judgement.keeps is not False
    verified: dict[str, list[float]] = {}
    if verify:
        if held is None or judge is None or len(held) < ASKED:
            raise Problem(
                f"{0 if held is None else len(held)} held-out images are too few to verify with: "
                f"{ASKED} are needed, in a split column or as one in five of each class"
            )
        verified = _verified(maker, refined, held, judge, flips, seed, tell)
    recipe = {
        "classes": names,
        "per_class": per_class,
        "host": host,
        "settings": chosen.model_dump(exclude_none=True),
        "steps": refined.steps,
        "seed": seed,
        "size": size,
        "source": images.name,
        "fingerprint": images.fingerprint,
        "train": {
            "optimiser": "sgd", "rate": 0.01, "momentum": 0.9, "weight_decay": 5e-4,
            "epochs": 1000, "batch": 256, "augment": True, "mirror": flips, **maker.recipe(),
        },
    }  # fmt: skip
    tiny = TinySet(refined.pixels.cpu(), refined.labels.cpu(), names, real.space.to(_cpu()), recipe)
    table = _table(tiny, refined, maker, paths, per_class)
    findings = _findings(images, real, held, table, tiny, refined, verified, judgement, notes)
    findings["pictures"] = {"start": tiny.space.leave(refined.start.cpu())}
    result = Distilled(table, findings, tiny)
    findings["pictures"]["end"] = result.pictures
    result.findings = findings
    result.save(place)
    return result


# --- what is asked ---


def _given(
    kind: type[Host], name: str, settings: Mapping[str, Any] | None, preset: str | None,
    fyi: bool | None, minutes: float | None,
) -> dict[str, Any]:  # fmt: skip
    given = dict(settings or {})
    if preset is not None:
        if preset not in kind.presets:
            raise SettingProblem(
                f"{name} has no preset {preset!r}: {did_you_mean(preset, kind.presets)}"
            )
        given = {**kind.presets[preset], **given}
    if fyi is not None:
        if "copies" in given:
            raise SettingProblem("give fyi or the setting copies, not both: they say the same")
        given["copies"] = "mirror" if fyi else "none"
    if minutes is not None:
        given = {k: v for k, v in given.items() if k != "steps"} | {"minutes": minutes}
    return given


def _chosen(kind: type[Host], given: Mapping[str, Any]) -> Any:
    from fallow.train.method import make_settings

    return make_settings(kind.Settings, given)


def _known(images: Images) -> Images:
    """The labelled images, of at least two classes."""
    labelled = images.labelled
    if not len(labelled):
        raise SourceProblem(
            f"{images.name} has no labels, and a tiny set is made class by class: give labels="
        )
    codes, names = labelled.labels
    if len(names) < 2:
        raise SourceProblem(
            f"all images of {images.name} are labelled {names[0]}: a tiny set needs two classes"
        )
    counts = np.bincount(codes)
    if counts.max() < 2:
        raise SourceProblem(
            f"every class of {images.name} has a single image: there is nothing to distil"
        )
    return labelled


def _side(images: Images, asked: Any, gpu: bool) -> int:
    """The side of the synthetic images, which no real image is enlarged to."""
    short = np.minimum(images.column("width"), images.column("height"))
    if asked is not None:
        small = int((short < int(asked)).sum())
        if small:
            raise SourceProblem(
                f"{small:,} of {len(images):,} images are smaller than size={asked} "
                f"(the smallest is {short.min()} px): use size={short.min()} or leave them out "
                "with where="
            )
        return int(asked)
    fitting = [side for side in SIDES if side <= short.min() and (gpu or side <= 32)]
    if not fitting:
        raise SourceProblem(
            f"the smallest image has {short.min()} px on its short side, too little to distil: "
            f'leave it out with where="width >= {SIDES[0]} and height >= {SIDES[0]}"'
        )
    return fitting[-1]


# --- mirroring ---


def _judged(judge: Any, held: Real | None, names: list[str]) -> Judgement:
    from fallow.methods.distil.fyi import Judgement, judged, named
    from fallow.methods.shared.coreset import predicted

    if judge is None or held is None or len(held) < ASKED:
        found = named(names)
        return Judgement(found.keeps, found.sentence or (
            "whether mirroring changes what the images mean was not tested"
        ))  # fmt: skip
    seen, turned = (predicted(judge, held, turned=flag).cpu().numpy() for flag in (False, True))
    return judged(seen, turned, held.labels.cpu().numpy(), names)


def _mirror(
    given: dict[str, Any], fyi: bool | None, judgement: Judgement, notes: list[str]
) -> None:
    """Decide on mirroring where it was left open, and say what was decided or should be."""
    sentence = judgement.sentence
    if judgement.keeps is not False:
        notes.append(f"{sentence[0].upper()}{sentence[1:]}.")
        return
    on = given.get("copies") in ("mirror", "random") or given.get("flip") in ("always", "drawn")
    if on:
        notes.append(f"Warning: {sentence}; yet mirror images are used, as asked.")
    else:
        notes.append(f"Mirror images are not used: {sentence}.")
    given.setdefault("copies", "none")
    given.setdefault("flip", "never")


# --- what comes out ---


def _verified(
    host: Host, refined: Refined, held: Real, judge: Any, flips: bool, seed: int,
    tell: Callable[[str], None],
) -> dict[str, list[float]]:  # fmt: skip
    """Held-out accuracies of fresh networks, trained alike on the same number of images."""
    import torch

    from fallow.methods.shared.coreset import accuracy_of, embedded, picked, trained

    real, s = host.real, host.settings
    features = embedded(judge, real)
    found: dict[str, list[float]] = {}
    for number in range(NETWORKS):
        draws = torch.Generator().manual_seed(seed + 1 + number)
        drawn = [real.some(code, host.per_class, draws) for code in range(host.classes)]
        rows = {"random real": torch.cat(drawn)}
        for rule in ("k-centre", "herding"):
            rows[rule] = picked(real, features, host.per_class, rule)
        sets = {"distilled": (refined.pixels, refined.labels, host.recipe().get("rate", 0.01))}
        sets |= {name: (real.take(own), real.labels[own], 0.01) for name, own in rows.items()}
        for name, (x, labels, rate) in sets.items():
            net = trained(
                x, labels, host.classes, seed=seed + number, epochs=EPOCHS, mirror=flips,
                rate=rate, width=s.width, depth=s.depth,
            )  # fmt: skip
            found.setdefault(name, []).append(accuracy_of(net, held))
        told = ", ".join(f"{name} {scores[-1]:.3f}" for name, scores in found.items())
        tell(f"network {number + 1} of {NETWORKS}: {told}")
    return found


def _table(
    tiny: TinySet, refined: Refined, host: Host, paths: np.ndarray, per_class: int
) -> pa.Table:
    from fallow.methods.distil.fyi import asymmetry

    folders = _folders(tiny.names)
    codes = tiny.labels.tolist()
    return pa.table(
        {
            "path": [
                f"images/{folders[code]}/{row % per_class:0{len(str(per_class))}d}.png"
                for row, code in enumerate(codes)
            ],
            "label": [tiny.names[code] for code in codes],
            "began_as": [str(paths[row]) for row in host.chosen.tolist()],
            "asymmetry": asymmetry(refined.pixels).tolist(),
            "asymmetry_at_start": asymmetry(refined.start).tolist(),
        }
    )


def _findings(
    images: Images, real: Real, held: Real | None, table: pa.Table, tiny: TinySet,
    refined: Refined, verified: dict[str, list[float]], judgement: Judgement, notes: list[str],
) -> dict[str, Any]:  # fmt: skip
    before, after = (
        float(np.mean(table[name].to_numpy())) for name in ("asymmetry_at_start", "asymmetry")
    )
    recipe = tiny.recipe
    headlines = [
        f"{len(real):,} images of {len(tiny.names)} classes distilled into {table.num_rows:,} "
        f"({recipe['per_class']} a class) by {recipe['host']} in {refined.steps:,} steps, "
        f"{refined.seconds / 60:.1f} minutes",
        f"left-right asymmetry from {before:.2f} to {after:.2f}",
    ]
    if refined.history:
        first, last = refined.history[0]["loss"], refined.history[-1]["loss"]
        headlines.append(f"loss from {first:.4g} to {last:.4g}")
    for name, scores in verified.items():
        spread = float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0
        headlines.append(
            f"networks trained on {name}: {np.mean(scores):.3f} ± {spread:.3f} of "
            f"{0 if held is None else len(held):,} held-out images right"
        )
    if images.problems:
        headlines.append(f"{len(images.problems):,} files could not be read")
    return {
        "name": f"{recipe['host']} on {images.name}",
        "created": datetime.datetime.now().isoformat(" ", "minutes"),
        "headlines": [*headlines, *notes],
        "notes": notes,
        "warned": judgement.keeps is False,
        "counts": {"images": len(real), "classes": len(tiny.names), "kept": table.num_rows},
        "classes": tiny.names,
        "per_class": recipe["per_class"],
        "asymmetry": {"at start": before, "at the end": after},
        "judgement": asdict(judgement),
        "metrics": refined.history,
        "verified": verified,
        "settings": recipe["settings"],
        "problems": [{"path": p.path, "reason": p.reason} for p in images.problems],
    }


def _folders(names: list[str]) -> list[str]:
    """A folder for every class, whatever its name.

    >>> _folders(["cat", "a/b", "a b"])
    ['cat', 'a_b', 'a_b_2']
    """
    taken: dict[str, int] = {}
    folders = []
    for name in names:
        plain = re.sub(r"[^\w-]+", "_", name).strip("_") or "class"
        taken[plain.lower()] = taken.get(plain.lower(), 0) + 1
        folders.append(plain if taken[plain.lower()] == 1 else f"{plain}_{taken[plain.lower()]}")
    return folders


def _plain(name: str) -> str:
    return re.sub(r"\W+", "-", Path(name).name.split(".")[0]).strip("-") or "images"


def _cpu() -> Any:
    import torch

    return torch.device("cpu")


def _page(findings: Mapping[str, Any]) -> str:
    from fallow.report.distil import distil_page

    return distil_page(findings)
