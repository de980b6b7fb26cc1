"""`spot`: which of many unlabelled images are odd, and where; they judge each other."""

from __future__ import annotations

import datetime
import io
import json
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from fallow.device import best_device
from fallow.encoders import chosen_encoder
from fallow.images import opened
from fallow.outcomes.result import Result, writable
from fallow.problems import SettingProblem, SourceProblem, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

    from fallow.encoders import Encoder
    from fallow.encoders.maps import Sight
    from fallow.images import Images
    from fallow.methods.spot.musc import Settings

FEW = 10  # below this many images, what stands out may be chance
FARTHEST = 2.0  # of two unit vectors: the full range of the 16-bit maps
EVALUATED = 512  # long side at which maps are compared with masks
OVERLAY = 1024  # long side of the overlay pictures
GOOD_NAMES = {"good", "ok", "okay", "normal", "nominal", "fine", "pass", "sound"}


class Spotted(Result):
    """What `spot` returns: the table from oddest to most ordinary, and a map for every row."""

    def __init__(
        self,
        table: pa.Table,
        findings: Mapping[str, Any],
        *,
        images: Images,
        patches: np.ndarray,
        bank: Bank | None = None,
    ) -> None:
        super().__init__(table, headlines=findings["headlines"], findings=findings, page=_page)
        self.images = images
        self.patches = patches  # N h w, in the table's order
        self._bank = bank

    @property
    def threshold(self) -> float:
        return float(self.findings["threshold"])

    def map(self, row: int, size: tuple[int, int] | None = None) -> np.ndarray:
        """The heat map of a row of the table, by default at its picture's height and width."""
        if size is None:
            size = tuple(self.table.column(name)[row].as_py() for name in ("height", "width"))
        return upsample(self.patches[row][None], size)[0]

    def picture(self, row: int) -> np.ndarray:
        """The pixels of a row of the table."""
        return self.images.read(int(self.table.column("row")[row].as_py()))

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write scores.csv, heat maps, masks, overlays, the report and what later runs need."""
        from fallow.files import atomic_write

        place = writable(folder)
        if self._bank is not None:
            self._bank.save(place)
        super().save(place)
        _write_scores(place / "scores.csv", self.table)
        for row in range(self.table.num_rows):
            self._write_pictures(place, row)
        with atomic_write(place / "run.json") as target:
            about = {k: v for k, v in self.findings.items() if k not in ("items", "pictures")}
            target.write(json.dumps(about, indent=1, default=str).encode())
        return place

    def _write_pictures(self, place: Path, row: int) -> None:
        from PIL import Image

        from fallow.colours import colours, heat
        from fallow.files import atomic_write, inside

        low, high = self.findings["heat"]
        values = self.map(row)
        name = inside(self.table.column("id")[row].as_py())
        pixels = self.picture(row)
        shrink = math.ceil(max(pixels.shape[:2]) / OVERLAY)
        laid = heat(pixels[::shrink, ::shrink], values[::shrink, ::shrink], low, high, opacity=0.5)
        share = (values - low) / (high - low) if high > low else np.zeros_like(values)
        deep = np.rint(values / FARTHEST * 65535).clip(0, 65535).astype(np.uint16)
        drawn = {
            "heat": (Image.fromarray(colours(share)), "PNG", ".png"),
            "tiff": (Image.fromarray(deep), "TIFF", ".tif"),
            "masks": (Image.fromarray(values > self.findings["mask_threshold"]), "PNG", ".png"),
            "overlays": (Image.fromarray(laid), "JPEG", ".jpg"),
        }
        for kind, (picture, form, ending) in drawn.items():
            path = place / kind / f"{name}{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as target:
                picture.save(target, form)


def spot(
    source: Any,
    *,
    labels: Any = None,
    encoder: Any = None,
    good: Any = None,
    against: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    window: int | None = None,
    tiles: Any = None,
    preset: str | None = None,
    settings: Mapping[str, Any] | None = None,
    in_steps: bool = False,
    seed: int = 0,
    tell: Callable[[str], None] = lambda line: None,
) -> Spotted:
    """Rank images by how odd they are among each other, and show where.

    Every image is compared with all others; with `good`, with known-good images instead; with
    `against`, with the images a saved run kept, in that run's way. `window` compares only patches
    that many places apart (aligned parts), `tiles` cuts large pictures into several inputs.
    Labels and masks, where there are any, only serve to measure the result; `in_steps` measures
    AUPRO with 200 thresholds, as papers do. Everything is written into `out`, by default
    `<name>-spot`; nothing of the source is changed. A defect that most images share is invisible.

    >>> import tempfile
    >>> from fallow.images.samples import parts
    >>> quick = {"size": 64, "degrees": [1]}
    >>> result = spot(parts(12, side=48), settings=quick, out=tempfile.mkdtemp())
    >>> result.table.num_rows, result.map(0).shape
    (12, (48, 48))
    """

    if good is not None and against is not None:
        raise SettingProblem("give good or against, not both: a saved run brings its own images")
    given = dict(settings or {})
    given |= {k: v for k, v in {"window": window, "tiles": tiles}.items() if v is not None}
    saved = None if against is None else load_run(against)
    if saved is not None:
        _only_new_ones(given, preset, encoder)
    chosen_settings = saved.settings if saved is not None else _settings(given, preset)
    images = opened(source, labels)
    pool = None if good is None else opened(good)
    if len(images) == 1 and pool is None and saved is None:
        raise SourceProblem(
            f"{images.name} holds one image, which nothing can be compared with: "
            "add more of the same kind, or give known-good ones with good="
        )
    place = writable(out if out is not None else f"{_plain(images.name)}-spot")
    truth = read_truth(images)
    clock = time.perf_counter()
    if saved is not None:
        chosen, note, how = saved.encoder, "", saved.sight
    else:
        chosen, note = chosen_encoder(encoder)
        how = _sight(chosen, chosen_settings, images)
    device = best_device()
    chosen.to(device)
    work = _Work(chosen, how, chosen_settings, device)
    bank: Bank | None = None
    ordinary: Ordinary | None = None
    if saved is not None:
        found, ordinary = _against(work, images, saved.bank, tell), saved.ordinary
    elif pool is not None:
        bank, ordinary = _good(work, pool, seed, tell)
        found = _against(work, images, bank, tell)
    else:
        found, bank = _mutual(work, images, seed, tell)
    seconds = time.perf_counter() - clock
    result = _result(work, images, found, truth, ordinary, in_steps)
    findings = result.findings
    findings |= {
        "mode": "against" if saved is not None else "good" if pool is not None else "mutual",
        "source": images.name,
        "fingerprint": images.fingerprint,
        "created": datetime.datetime.now().isoformat(" ", "minutes"),
        "encoder": chosen.name,
        "sight": asdict(how),
        "settings": chosen_settings.model_dump(),
        "compared with": _compared(images, pool, against, found),
        "seed": seed,
        "seconds": round(seconds, 2),
    }
    notes = [
        *_notes(images, found, truth, pool, saved is not None),
        *findings.pop("mask_notes"),
        *([note] if note else []),
    ]
    findings["headlines"] = result.headlines = [*result.headlines, *notes]
    findings["notes"] = notes
    if bank is not None and chosen_settings.keep:
        result._bank = bank.sampled(chosen_settings.keep, seed)
        result._bank.encoder = chosen
    findings["kept"] = 0 if result._bank is None else len(result._bank.vectors)
    result.save(place)
    return result


# --- what is asked ---


def _settings(given: Mapping[str, Any], preset: str | None) -> Settings:
    from fallow.methods.spot.musc import PRESETS, Settings
    from fallow.train.method import make_settings

    if preset is not None and preset not in PRESETS:
        raise SettingProblem(f"spot has no preset {preset!r}: {did_you_mean(preset, PRESETS)}")
    return make_settings(Settings, {**(PRESETS[preset] if preset else {}), **given})


def _only_new_ones(given: Mapping[str, Any], preset: str | None, encoder: Any) -> None:
    told = [*given, *(["preset"] if preset else []), *(["encoder"] if encoder is not None else [])]
    if told:
        raise SettingProblem(
            f"{told[0]} cannot be chosen when scoring against a saved run: "
            "images are comparable only when they are looked at in the run's own way"
        )


def _sight(encoder: Encoder, settings: Settings, images: Images) -> Sight:
    from fallow.encoders.maps import sight

    if not hasattr(encoder, "look"):
        raise SettingProblem("spot needs an encoder with patch features: use one of fallow.encoder")
    first = sight(
        encoder,
        size=settings.size,
        layers=settings.layers,
        norm=settings.norm,
        side=settings.side,
    )
    if settings.tiles == "auto":
        sides = [float(np.median(images.column(name))) for name in ("height", "width")]
        rows, columns = (min(4, max(1, round(side / first.size))) for side in sides)
        tiles = (rows, columns)
    else:
        tiles = settings.tiles
    return sight(
        encoder,
        size=first.size,
        layers=first.layers,
        norm=first.norm,
        side=first.side,
        tiles=tiles,
    )


# --- scores ---


@dataclass
class _Work:
    encoder: Encoder
    how: Sight
    settings: Settings
    device: Any

    @property
    def bf16(self) -> bool:
        from fallow.device import fast_bf16

        wanted = self.settings.precision
        return wanted == "bf16" or (wanted == "auto" and fast_bf16(self.device))

    @property
    def options(self) -> dict[str, Any]:
        return {"window": self.settings.window, "grid": self.how.grid, "bf16": self.bf16}


class Found(NamedTuple):
    """Rows that could be read, their patch scores and image vectors."""

    rows: np.ndarray
    patches: np.ndarray  # N h w
    vectors: Tensor  # N D


@dataclass
class Bank:
    """Images others can be scored against: standardised maps per layer, and vectors."""

    maps: list[Tensor]  # each M h w C, float16
    vectors: Tensor  # M D
    encoder: Encoder | None = None

    def sampled(self, count: int, seed: int) -> Bank:
        """At most `count` of them, drawn by `seed`."""
        import torch

        drawn = np.random.default_rng(seed).permutation(len(self.vectors))[:count]
        rows = torch.from_numpy(np.sort(drawn))
        return Bank([each[rows] for each in self.maps], self.vectors[rows], self.encoder)

    def save(self, place: Path) -> None:
        """bank.safetensors, and the encoder unless a hub has it."""
        from safetensors.torch import save as to_bytes

        from fallow.encoders import save
        from fallow.files import atomic_write

        if self.encoder is not None and not self.encoder.name.startswith(("hf:", "timm:")):
            save(self.encoder, place / "encoder")
        held = {f"layer{n}": each.contiguous() for n, each in enumerate(self.maps)}
        with atomic_write(place / "bank.safetensors") as target:
            target.write(to_bytes(held | {"vectors": self.vectors.contiguous()}))


class Saved(NamedTuple):
    """A run that new images can be scored against."""

    encoder: Encoder
    sight: Sight
    settings: Settings
    bank: Bank
    ordinary: Ordinary


class Ordinary(NamedTuple):
    """Where ordinary scores end, and the colours of the heat maps."""

    threshold: float
    heat: tuple[float, float]


def load_run(folder: str | os.PathLike[str]) -> Saved:
    """What `spot` saved; a Problem that says what is missing."""
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    import fallow
    from fallow.encoders.maps import Sight
    from fallow.methods.spot.musc import Settings

    place = Path(folder)
    try:
        about = json.loads((place / "run.json").read_text())
        held = from_bytes((place / "bank.safetensors").read_bytes())
        plain: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in about["sight"].items()
        }
        how, settings = Sight(**plain), Settings(**about["settings"])
        bank = Bank([held[f"layer{n}"] for n in range(len(how.layers))], held["vectors"])
        ordinary = Ordinary(float(about["mask_threshold"]), tuple(about["heat"]))
    except FileNotFoundError:
        raise SourceProblem(
            f"{place} is not a saved run of spot: it needs run.json and bank.safetensors "
            "(a run with keep=0 saves no images to compare with)"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise SourceProblem(f"the run in {place} cannot be used: {error}") from error
    name = about["encoder"]
    where = name if name.startswith(("hf:", "timm:")) else str(place / "encoder")
    return Saved(fallow.encoder(where), how, settings, bank, ordinary)


def _looked(work: _Work, images: Images) -> tuple[list[int], Bank]:
    """Readable rows, and their maps as they are kept: standardised, in half precision."""
    import torch

    from fallow.encoders.maps import look
    from fallow.methods.spot.musc import standardised

    rows: list[int] = []
    vectors: list[Tensor] = []
    maps: list[list[Tensor]] = [[] for _ in work.how.layers]
    for seen in look(work.encoder, images, work.how):
        rows += seen.rows
        vectors.append(seen.vectors.cpu())
        for held, each in zip(maps, seen.maps, strict=True):
            held.append(standardised(each).half().cpu())
    if not rows:
        reason = f" ({images.problems[0].reason})" if images.problems else ""
        raise SourceProblem(f"none of the images in {images.name} can be decoded{reason}")
    return rows, Bank([torch.cat(each) for each in maps], torch.cat(vectors))


def _scored(work: _Work, seen: Bank, bank: Bank | None) -> np.ndarray:
    """Mean over layers and degrees of the patch scores, among each other or against a bank."""
    import torch

    from fallow.methods.spot.musc import mutual_scores, neighbourhoods, scores_against

    total = torch.zeros(len(seen.vectors), math.prod(work.how.grid))
    for layer, maps in enumerate(seen.maps):
        for degree in work.settings.degrees:
            features = neighbourhoods(maps.to(work.device).float(), degree)
            if bank is None:
                scores = mutual_scores(features, work.settings.interval, **work.options)
            else:
                known = neighbourhoods(bank.maps[layer].to(work.device).float(), degree)
                scores = scores_against(features, known, work.settings.interval, **work.options)
            total += scores.cpu()
    mean = total / (len(seen.maps) * len(work.settings.degrees))
    return mean.unflatten(1, work.how.grid).numpy()


def _parts(count: int, subset: int | None, seed: int) -> list[np.ndarray]:
    """Rows in as few random parts of nearly one size as `subset` allows.

    >>> [len(part) for part in _parts(10, 4, seed=0)]
    [4, 3, 3]
    """
    number = 1 if subset is None else math.ceil(count / subset)
    if number == 1:
        return [np.arange(count)]
    order = np.random.default_rng(seed).permutation(count)
    return [np.sort(part) for part in np.array_split(order, number)]


def _mutual(
    work: _Work, images: Images, seed: int, tell: Callable[[str], None]
) -> tuple[Found, Bank]:
    parts = _parts(len(images), work.settings.subset, seed)
    kept: Bank | None = None
    done: list[Found] = []
    for number, part in enumerate(parts):
        rows, seen = _looked(work, images.select(part))
        if len(rows) < 2:
            raise SourceProblem(
                f"only one image of {images.name} can be decoded: there is nothing to compare"
            )
        if len(parts) > 1:
            tell(f"part {number + 1} of {len(parts)}: {len(rows)} images")
        done.append(Found(part[rows], _scored(work, seen, None), seen.vectors))
        kept = kept or seen  # the first part is as random as any
    assert kept is not None
    return _together(done), kept


def _against(work: _Work, images: Images, bank: Bank, tell: Callable[[str], None]) -> Found:
    done = []
    parts = [np.arange(start, min(start + 64, len(images))) for start in range(0, len(images), 64)]
    for number, part in enumerate(parts):
        rows, seen = _looked(work, images.select(part))
        if len(parts) > 1:
            tell(f"part {number + 1} of {len(parts)}: {len(rows)} images")
        done.append(Found(part[rows], _scored(work, seen, bank), seen.vectors))
    return _together(done)


def _together(done: Sequence[Found]) -> Found:
    import torch

    rows, patches, vectors = zip(*done, strict=True)
    return Found(np.concatenate(rows), np.concatenate(patches), torch.cat(vectors))


def _good(
    work: _Work, pool: Images, seed: int, tell: Callable[[str], None]
) -> tuple[Bank, Ordinary | None]:
    """Known-good images, and from five of them on where their own scores end."""
    limit = work.settings.subset
    if limit is not None and len(pool) > limit:
        tell(f"{limit} of the {len(pool)} good images are used")
        pool = pool.sample(limit, seed)
    _, bank = _looked(work, pool)
    if len(bank.vectors) < 5:
        return bank, None
    patches = _scored(work, bank, None)
    scores = _image_scores(patches, work.how)
    ordinary = _ordinary(patches, scores, work.settings.strictness)
    # none of them is odd, and the next good one may lie a little beyond
    beyond = float(scores.max() + scores.std())
    return bank, ordinary._replace(threshold=max(ordinary.threshold, beyond))


def upsample(patches: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Patch scores as maps of height x width pixels.

    >>> upsample(np.zeros((2, 3, 3), np.float32), (5, 4)).shape
    (2, 5, 4)
    """
    import torch

    from fallow.methods.spot.musc import upsampled

    height, width = size
    return upsampled(torch.from_numpy(patches), (int(height), int(width))).numpy()


def _image_scores(patches: np.ndarray, how: Sight) -> np.ndarray:
    """The maximum of each map at the size the encoder saw."""
    return np.array([upsample(one[None], how.pixels).max() for one in patches])


def robust_threshold(scores: np.ndarray, strictness: float) -> float:
    """Where ordinary scores end, found without labels.

    The densest half of the scores is taken for ordinary; the spread is measured below its middle,
    where defects do not reach.

    >>> sound = np.random.default_rng(0).normal(1, 0.1, 60)
    >>> 1.2 < robust_threshold(np.r_[sound, np.full(40, 2.0)], 3) < 1.4
    True
    """
    ordered = np.sort(np.asarray(scores, float))
    half = len(ordered) // 2 + 1
    widths = ordered[half - 1 :] - ordered[: len(ordered) - half + 1]
    first = int(widths.argmin())
    middle = float(np.median(ordered[first : first + half]))
    below = middle - ordered[ordered <= middle]
    return middle + strictness * 1.4826 * float(np.median(below))


def _ordinary(patches: np.ndarray, scores: np.ndarray, strictness: float) -> Ordinary:
    """Threshold and colour scale of a set: one scale, so that ordinary images stay calm."""
    threshold = robust_threshold(scores, strictness)
    low = float(np.median(patches))
    high = max(threshold + 0.5 * (threshold - low), float(np.quantile(scores, 0.95)))
    return Ordinary(threshold, (low, max(high, low + 1e-6)))


# --- labels and masks ---


class Truth(NamedTuple):
    """What is known: 1 odd, 0 good, -1 unknown; whether there are masks; sentences about both."""

    odd: np.ndarray
    masked: bool
    notes: list[str]


def read_truth(images: Images) -> Truth:
    """Column `anomaly`, else the names in `label`, else whether a mask marks anything."""
    notes: list[str] = []
    masked = "mask" in images.columns
    odd = np.full(len(images), -1)
    codes, names = images.labels
    good = [name.strip().lower() in GOOD_NAMES for name in names]
    if "anomaly" in images.columns:
        values = [_flag(value) for value in images.table.column("anomaly").to_pylist()]
        odd = np.array(values)
    elif any(good):
        odd = np.where(codes < 0, -1, 1 - np.append(good, False)[codes].astype(int))
    elif masked:
        odd = np.array([_marks(images, row) for row in range(len(images))])
        notes.append("No labels: a picture counts as odd where its mask marks something.")
    elif names:
        notes.append(
            f"The labels ({', '.join(names[:3])}…) name no good images, so nothing is measured: "
            "call them good, or add a column anomaly with 0 and 1."
            if len(names) > 3
            else f"The labels ({', '.join(names)}) name no good images, so nothing is measured: "
            "call them good, or add a column anomaly with 0 and 1."
        )
    return Truth(odd, masked, notes)


def _flag(value: Any) -> int:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return -1
    if isinstance(value, str):
        word = value.strip().lower()
        if word in ("0", "1", "true", "false", "yes", "no"):
            return int(word in ("1", "true", "yes"))
        raise SourceProblem(f"column anomaly holds {value!r}: it must say 0 or 1 for each image")
    return int(bool(value))


def _marks(images: Images, row: int) -> int:
    if images.table.column("mask")[row].as_py() is None:
        return 0
    return int(images.mask(row).any())


def _compared_masks(
    images: Images, found: Found, truth: Truth
) -> tuple[list[np.ndarray], list[np.ndarray], list[str]]:
    """Masks and maps of the same size, of all pictures whose every pixel is known."""
    masks, maps, notes = [], [], []
    stretched = unfit = 0
    columns = images.table
    for row, patches in zip(found.rows.tolist(), found.patches, strict=True):
        height, width = (columns.column(name)[row].as_py() for name in ("height", "width"))
        step = max(1, math.ceil(max(height, width) / EVALUATED))
        size = (math.ceil(height / step), math.ceil(width / step))
        if columns.column("mask")[row].as_py() is None:
            if truth.odd[row] != 0:
                continue  # odd, and nobody said where
            mask = np.zeros(size, bool)
        else:
            marked = images.mask(row) != 0
            if marked.shape != (height, width):
                # one pixel of rounding is allowed for
                if abs(marked.shape[0] * width - marked.shape[1] * height) > max(height, width):
                    unfit += 1
                    continue
                stretched += 1
            mask = _shrunk(marked, size)
        masks.append(mask)
        maps.append(upsample(patches[None], size)[0])
    if stretched:
        notes.append(
            f"{_number(stretched, 'mask')} of another size than the picture: stretched to fit."
        )
    if unfit:
        notes.append(
            f"{_number(unfit, 'mask')} of another shape than the picture: left out of the "
            "pixel measures."
        )
    return masks, maps, notes


def _shrunk(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask at another size; a cell is marked if anything in it is, so thin cracks stay.

    >>> _shrunk(np.eye(4, dtype=bool), (2, 2)).tolist()
    [[True, False], [False, True]]
    """
    if mask.shape == size:
        return mask
    edges = [np.arange(n) * length // n for n, length in zip(size, mask.shape, strict=True)]
    if min(m - s for m, s in zip(mask.shape, size, strict=True)) < 0:  # enlarged
        return mask[np.ix_(*edges)]
    rows = np.logical_or.reduceat(mask, edges[0], axis=0)
    return np.logical_or.reduceat(rows, edges[1], axis=1)


# --- result ---


def _result(
    work: _Work,
    images: Images,
    found: Found,
    truth: Truth,
    ordinary: Ordinary | None,
    in_steps: bool,
) -> Spotted:
    import torch

    from fallow.measure import image_measures, measures
    from fallow.methods.spot.musc import over_lookalikes

    alone = _image_scores(found.patches, work.how)
    scale = ordinary or _ordinary(found.patches, alone, work.settings.strictness)
    scores, threshold = alone, scale.threshold
    if work.settings.lookalikes:
        smooth = over_lookalikes(torch.from_numpy(alone), found.vectors, work.settings.lookalikes)
        scores = smooth.numpy()
        threshold = robust_threshold(scores, work.settings.strictness)
    order = np.argsort(-scores, kind="stable")
    rows = found.rows[order]
    kept = images.table.take(pa.array(rows))
    flagged = scores[order] > threshold + 1e-9
    known = {name: kept.column(name) for name in kept.column_names}
    columns: dict[str, Any] = {
        "rank": np.arange(1, len(rows) + 1),
        "id": known.pop("id"),
        "path": known.pop("path"),
        "score": scores[order].astype(np.float64),
        "flagged": flagged,
    }
    if work.settings.lookalikes:
        columns["score_alone"] = alone[order].astype(np.float64)
    table = pa.table({**columns, "row": rows, **known})
    measured: dict[str, Any] = {}
    notes: list[str] = []
    labelled = truth.odd[found.rows] >= 0
    if labelled.any():
        odd = truth.odd[found.rows][labelled]
        measured["image"] = image_measures(odd, scores[labelled])
        if work.settings.lookalikes:
            measured["image, without look-alikes"] = image_measures(odd, alone[labelled])
    if truth.masked:
        masks, maps, notes = _compared_masks(images, found, truth)
        if masks:
            kind = "pixel, AUPRO in 200 steps" if in_steps else "pixel"
            measured[kind] = measures(masks, maps, in_steps=in_steps)
    findings: dict[str, Any] = {
        "headlines": _headlines(images, table, measured, threshold),
        "threshold": threshold,
        "mask_threshold": scale.threshold,
        "heat": scale.heat,
        "measured": measured,
        "images": len(rows),
        "flagged": int(flagged.sum()),
        "problems": [{"path": p.path, "reason": p.reason} for p in images.problems],
        "mask_notes": notes,
        "items": [
            {
                "path": table.column("path")[k].as_py(),
                "score": float(scores[i]),
                "odd": int(truth.odd[found.rows[i]]),
                "label": str(known["label"][k].as_py() or "") if "label" in known else "",
            }
            for k, i in enumerate(order)
        ],
    }
    result = Spotted(table, findings, images=images, patches=found.patches[order])
    findings["pictures"] = _Pictures(result)
    result.findings = findings
    return result


class _Pictures:
    """Small pictures for the report, made when it is written: each beside its heat map."""

    def __init__(self, result: Spotted) -> None:
        self._result = result

    def __call__(self, count: int, side: int) -> Iterator[tuple[bytes, bytes]]:
        from fallow.colours import heat

        low, high = self._result.findings["heat"]
        for row in range(min(count, self._result.table.num_rows)):
            pixels = self._result.images.read(
                int(self._result.table.column("row")[row].as_py()), 2 * side
            )
            laid = heat(pixels, self._result.map(row, pixels.shape[:2]), low, high, opacity=0.55)
            yield _jpeg(pixels, side), _jpeg(laid, side)


def _jpeg(pixels: np.ndarray, side: int) -> bytes:
    from PIL import Image

    picture = Image.fromarray(pixels)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=80)
    return file.getvalue()


def _headlines(
    images: Images, table: pa.Table, measured: Mapping[str, Any], threshold: float
) -> list[str]:
    count = table.num_rows
    flagged = int(np.count_nonzero(table.column("flagged").to_numpy()))
    lines = [f"{count:,} images, {flagged:,} stand out (score above {threshold:.3f})"]
    scores = table.column("score").to_numpy()
    if scores[0] - scores[-1] < 1e-6 * max(1.0, scores[0]):
        lines = [f"{count:,} images, all alike to the encoder: nothing stands out"]
    else:
        first = ", ".join(table.column("path")[k].as_py() for k in range(min(3, count)))
        lines.append(f"first: {first}")
    for kind, values in measured.items():
        parts = [f"{_NAMES[name]} {_shown(value)}" for name, value in values.items()]
        lines.append(f"{kind}: {', '.join(parts)}")
    if images.problems:
        lines.append(f"{len(images.problems):,} files could not be read")
    return lines


_NAMES = {"auroc": "AUROC", "ap": "AP", "f1_max": "F1-max", "aupro": "AUPRO"}


def _shown(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _compared(images: Images, pool: Images | None, against: Any, found: Found) -> str:
    if against is not None:
        return f"the images kept in {Path(against).name}"
    if pool is not None:
        return f"{_number(len(pool), 'good image')} in {pool.name}"
    return f"each other ({len(found.rows):,} images)"


def _notes(
    images: Images, found: Found, truth: Truth, pool: Images | None, saved: bool
) -> list[str]:
    """What a reader must know before trusting the ranking."""
    notes = list(truth.notes)
    count = len(found.rows)
    if pool is None and not saved and count == 2:
        notes.append("Two images only show where they differ from each other, not which is odd.")
    elif pool is None and not saved and count < FEW:
        notes.append(f"{count} images are few: below {FEW}, what stands out may be chance.")
    if pool is None and not saved:
        notes.append("A defect that most of the images share does not stand out.")
        hashes = images.table.column("hash").to_pylist()
        own = [hashes[row] for row in found.rows.tolist()]
        copies = len(own) - len(set(own))
        if copies:
            notes.append(
                f"{_number(copies, 'image')} repeat another byte for byte: "
                "a defect that is repeated hides itself."
            )
    ratios = images.column("width")[found.rows] / images.column("height")[found.rows]
    if ratios.max() > 1.5 * ratios.min():
        notes.append("The images differ in shape; each is squashed to the same square.")
    return notes


def _page(findings: Mapping[str, Any]) -> str:
    from fallow.report.spot import spot_page

    return spot_page(findings)


def _write_scores(path: Path, table: pa.Table) -> None:
    import pyarrow.csv as csv

    from fallow.files import atomic_write

    names = ["rank", "path", "score", "score_alone", "flagged", "label", "anomaly"]
    with atomic_write(path) as target:
        csv.write_csv(table.select([n for n in names if n in table.column_names]), target)


def _plain(name: str) -> str:
    return re.sub(r"\W+", "-", Path(name).name.split(".")[0]).strip("-") or "images"
