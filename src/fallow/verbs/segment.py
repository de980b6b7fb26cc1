"""`segment`: masks for all pictures, learnt from the few that have one."""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fallow.files import inside
from fallow.images import opened
from fallow.images.masks import Classes, Masked, read_masks, without_masks
from fallow.images.volumes import (
    Volumes,
    holds_volumes,
    open_volumes,
    read_volume_masks,
    write_volume,
)
from fallow.methods import find
from fallow.methods.shared.segment import SegmentMethod, disagreement, enlarged, look, uncertainty
from fallow.outcomes.result import Result, writable
from fallow.problems import SettingProblem, SourceProblem, did_you_mean
from fallow.train import Run, fit, launch, make_settings
from fallow.verbs.spot import _plain

if TYPE_CHECKING:
    from torch import Tensor

MINUTES = 10.0
SMALLEST_VIEW, LARGEST_VIEW = 64, 160  # the latter without a GPU
SHOWN = 1024  # long side of overlays and uncertainty maps


@dataclass
class Written:
    """What is known of one picture or volume once its mask is written."""

    id: str
    given: bool  # the user's own mask
    disagreement: float
    uncertainty: float
    shares: list[float]  # of the classes
    pictures: list[bytes] = field(default_factory=list)  # overlay and disagreement as JPEG


class Segmented(Result):
    """What `segment` returns: the table from the picture to label next on, and the run."""

    def __init__(
        self, table: pa.Table, findings: Mapping[str, Any], *, run: Run, classes: Classes
    ) -> None:
        super().__init__(table, headlines=findings["headlines"], findings=findings, page=_page)
        self.run, self.classes = run, classes

    @property
    def method(self) -> SegmentMethod:
        return self.run.method  # type: ignore[return-value]

    def mask(self, row: int) -> np.ndarray:
        """The mask of a row of the table, as it was written."""
        if self.folder is None:
            raise SettingProblem("the masks were not written: call save first")
        from PIL import Image

        with Image.open(self.folder / self.table.column("mask")[row].as_py()) as picture:
            return np.array(picture)


def segment(
    source: Any,
    masks: Any = None,
    *,
    method: str | None = None,
    encoder: str | None = None,
    classes: Any = None,
    ignore: Sequence[Any] = (),
    more: Any = None,
    labeller: Any = None,
    concepts: Any = None,
    where: str | None = None,
    minutes: float | None = None,
    epochs: float | None = None,
    out: str | os.PathLike[str] | None = None,
    preset: str | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    tell: Callable[[str], None] = lambda line: None,
    progress_bar: bool = False,
) -> Segmented:
    """Write a mask for every picture of `source`, learning from the few that have one.

    `masks` is a folder of masks called like the pictures; without it the pictures' own column
    `mask` counts. Values of the masks are the classes unless `classes` names them ({name: value},
    a list, or a YAML file); `ignore` lists values not to be judged. Volumes (NIfTI, DICOM) are
    treated as such, with the extra `scans`. Everything is written into `out`, by default
    `<name>-segment`. Pictures are looked at by `encoder`, tiny unless told otherwise; "unet/16"
    begins at random.

    `more` are foreign pictures, labelled once before training: by `labeller` (a run of segment, a
    folder of masks, or "hf:NAME" of a CLIPSeg), by the masks that came with them, or by a CLIPSeg
    that `concepts` (words for each class, or a YAML file of them) tells what to look for.

    >>> import tempfile
    >>> from fallow.images.masks import with_masks, without_masks
    >>> from fallow.images.samples import cells
    >>> images = cells(8, side=32)
    >>> few = with_masks(without_masks(images), {k: images.mask(k) > 0 for k in (0, 1)})
    >>> quick = {"size": 32, "batch": 4}
    >>> found = segment(few, epochs=2, encoder="unet/4", settings=quick, out=tempfile.mkdtemp())
    >>> found.table.num_rows, found.mask(0).shape
    (8, (32, 32))
    """
    import torch

    import fallow

    slug = method or ("semiovs" if more is not None else "bcp")
    kind = find("segment", slug)
    if not issubclass(kind, SegmentMethod):
        raise SettingProblem(f"{slug} does not write masks")
    given = _given(kind, slug, settings, preset, minutes, epochs)
    known = _known(source, masks, classes, ignore, where)
    fabric = launch()
    for line in known.notes:
        tell(line)
    total = len(known.labelled) + len(known.bare)
    if not len(known.bare):
        raise SourceProblem(
            f"all {total} pictures have a mask already: add some without, whose masks are wanted"
        )
    tell(
        f"{len(known.labelled)} with a mask, {len(known.bare)} without; "
        f"{len(known.classes)} classes: {', '.join(known.classes.names[:8])}"
    )
    volumes = isinstance(known.labelled, Volumes)
    given = {**_sizes(known, torch.cuda.is_available()), **given}
    given = kind.suited(given, _codes(known.labelled))
    chosen = make_settings(kind.Settings, {**given, "classes": len(known.classes)})
    place = writable(out if out is not None else f"{_plain(known.labelled.name)}-segment")
    # presets are the papers' set-ups, whose networks begin at random
    name = encoder or ("unet/8" if volumes else "unet/16" if preset else "tiny")
    options = {"dimensions": 3, "inputs": 1} if volumes else {}
    bare = known.bare if len(known.bare) > 1 else _everything(known)

    def noted(line: str) -> None:
        known.notes.append(line)  # the report says it, too
        tell(line)

    named = kind.streams(
        {"unlabelled": bare, "labelled": known.labelled},
        more=more,
        labeller=labeller,
        concepts=concepts,
        classes=known.classes,
        tell=noted,
    )
    run = fit(
        kind,
        named,
        encoder=fallow.encoder(name, seed=seed, size=chosen.size, **options),
        settings=chosen,
        out=place / "run",
        seed=seed,
        fabric=fabric,
        tell=tell,
        about={"source": str(source) if isinstance(source, str | Path) else None},
        progress_bar=progress_bar,
    )
    if fabric.global_rank == 0:
        result = _result(run, known, slug, place, tell)
    fabric.barrier()  # the other ranks read what the first has written
    return result if fabric.global_rank == 0 else _read(run, known, place)


# --- what is asked ---


def _given(
    kind: Any,
    slug: str,
    settings: Mapping[str, Any] | None,
    preset: str | None,
    minutes: float | None,
    epochs: float | None,
) -> dict[str, Any]:
    """Settings by hand, over a preset, with one budget; a mistake shows before images are read."""
    given = dict(settings or {})
    if preset is not None:
        if preset not in kind.presets:
            hint = did_you_mean(preset, kind.presets)
            raise SettingProblem(f"{slug} has no preset {preset!r}: {hint}")
        given = kind.presets[preset] | given
    if epochs is not None or minutes is not None:
        given = {k: v for k, v in given.items() if k not in ("epochs", "minutes")}
        given |= {"epochs": epochs, "minutes": minutes}
    elif "epochs" not in given and "minutes" not in given:
        given["minutes"] = MINUTES
    if "classes" in given:
        raise SettingProblem("the masks say how many classes there are: leave classes out")
    make_settings(kind.Settings, given)
    return given


def _known(
    source: Any, masks: Any, classes: Any, ignore: Sequence[Any], where: str | None
) -> Masked:
    """Pictures or volumes, sorted by whether they have a mask."""
    from fallow.images.scans import stretched

    if isinstance(source, Volumes):
        return read_volume_masks(source, classes, ignore)
    if holds_volumes(source):
        return read_volume_masks(open_volumes(source, masks), classes, ignore)
    images, note = stretched(opened(source, None, where))
    found = read_masks(images, masks, classes, ignore)
    if note:
        found.notes.append(note)
    return found


def _sizes(known: Masked, gpu: bool) -> dict[str, Any]:
    """Sides of views that suit the pictures: whole steps of 16, as the networks halve four times.

    >>> from fallow.images.samples import cells
    >>> _sizes(Masked(cells(2, side=128), cells(2, side=128), None, []), False)
    {'size': 96}
    """
    labelled = known.labelled
    short = int(np.median(np.minimum(labelled.column("width"), labelled.column("height"))))
    if isinstance(labelled, Volumes):
        depth = int(np.median([len(scan) for scan in labelled.arrays]))
        most = 112 if gpu else 64
        size = min(most, max(32, short // 16 * 16))
        return {"size": size, "depth": min(size, max(16, depth // 16 * 16)), "batch": 2}
    most = 256 if gpu else LARGEST_VIEW
    return {"size": min(most, max(SMALLEST_VIEW, round(short * 3 / 4 / 16) * 16))}


def _codes(labelled: Any) -> list[np.ndarray]:
    if isinstance(labelled, Volumes):
        return [mask for mask in labelled.masks if mask is not None]
    return [labelled.mask(row) for row in range(len(labelled))]


def _everything(known: Masked) -> Any:
    """All that can be looked at without a mask, where the bare ones are too few for a stream."""
    if isinstance(known.labelled, Volumes):
        return Volumes(
            [*known.bare.arrays, *known.labelled.arrays],
            names=[*known.bare.names, *known.labelled.names],
            name=known.bare.name,
        )
    both = pa.concat_tables(
        [known.bare.table, without_masks(known.labelled).table], promote_options="default"
    )
    return known.bare._with(both)


# --- masks ---


def _result(
    run: Run, known: Masked, slug: str, place: Path, tell: Callable[[str], None]
) -> Segmented:
    from fallow.encoders.segmenter import Segmenter, save_segmenter

    method = run.method
    assert isinstance(method, SegmentMethod)
    tell("writing masks")
    write = _volumes_written if method.dimensions == 3 else _pictures_written
    written = list(write(method, known, place, run.choice.precision == "bf16"))
    if not written:
        raise SourceProblem("no picture could be read a second time: are the files still there?")
    order = sorted(range(len(written)), key=lambda k: (written[k].given, -written[k].disagreement))
    written = [written[k] for k in order]
    ending = ".nii.gz" if method.dimensions == 3 else ".png"
    columns: dict[str, Any] = {
        "id": [one.id for one in written],
        "mask": [f"masks/{_mask_name(one.id)}{ending}" for one in written],
        "given": [one.given for one in written],
        "disagreement": [one.disagreement for one in written],
        "uncertainty": [one.uncertainty for one in written],
    }
    for code, name in enumerate(known.classes.names):
        columns[f"share of {name}"] = [one.shares[code] for one in written]
    next_ones = [one for one in written if not one.given]
    headlines = [
        f"{slug}: {len(next_ones)} masks from {len(known.labelled)}, in "
        f"{run.seconds / 60:.1f} minutes of training",
        f"label next: {', '.join(one.id for one in next_ones[:3])}",
        *(f"warning: {text}" for text in run.warnings),
    ]
    findings: dict[str, Any] = {
        "source": known.labelled.name,
        "created": datetime.datetime.now().isoformat(" ", "minutes"),
        "method": slug,
        "headlines": headlines,
        "notes": known.notes,
        "warnings": run.warnings,
        "counts": {"masks given": len(known.labelled), "masks written": len(next_ones)},
        "classes": [
            {
                "name": name,
                "value": value,
                "colour": "#{:02x}{:02x}{:02x}".format(*colour),
                "given": float(np.mean([w.shares[k] for w in written if w.given] or [0.0])),
                "written": float(np.mean([w.shares[k] for w in next_ones])),
            }
            for k, (name, value, colour) in enumerate(
                zip(known.classes.names, known.classes.values, known.classes.colours, strict=True)
            )
        ],
        "items": [
            {
                "path": one.id,
                "given": one.given,
                "disagreement": one.disagreement,
                "uncertainty": one.uncertainty,
            }
            for one in written
        ],
        "metrics": run.history,
        "settings": {
            "encoder": run.encoder.name,
            **run.settings.model_dump(exclude_none=True),
        },
        "machine": {
            "processor": platform.machine(),
            "computing": str(run.choice),
            "notes": "; ".join(run.notes),
        },
        "problems": [{"path": one.path, "reason": one.reason} for one in known.labelled.problems],
        "seconds": round(run.seconds, 1),
    }
    about = {"names": known.classes.names, "values": known.classes.values, "side": method.side}
    network = method.predictor()
    if isinstance(network, Segmenter):
        save_segmenter(network, place / "segmenter", about)
    plain = {k: v for k, v in findings.items() if k not in ("items", "metrics")}
    _write(place / "run.json", json.dumps(plain, indent=1, default=str).encode())
    findings["pictures"] = [one.pictures for one in written]
    result = Segmented(pa.table(columns), findings, run=run, classes=known.classes)
    result.save(place)
    _write_table(place / "masks.csv", result.table)
    return result


def _read(run: Run, known: Masked, place: Path) -> Segmented:
    """What another rank wrote."""
    import pyarrow.parquet as pq

    table = pq.read_table(place / "table.parquet")
    result = Segmented(table, {"headlines": []}, run=run, classes=known.classes)
    result.folder = place
    return result


def _pictures_written(
    method: SegmentMethod, known: Masked, place: Path, bf16: bool
) -> Iterator[Written]:
    """Masks, overlays and uncertainty maps of pictures."""
    for images, given in ((known.labelled, True), (known.bare, False)):
        keys = images.column("id")
        for row, pixels in images.map(np.asarray):
            if not isinstance(pixels, np.ndarray):
                continue
            first, apart, unsure = _opinions(method, pixels, bf16)
            codes = images.mask(row) if given else enlarged(first, pixels.shape[:2])
            one = _measured(str(keys[row]), given, codes, apart, unsure, len(known.classes))
            name = _mask_name(one.id)
            _save_mask(place / "masks" / f"{name}.png", codes, known.classes)
            one.pictures = _save_pictures(place, name, pixels, codes, apart, unsure, known.classes)
            yield one


def _volumes_written(
    method: SegmentMethod, known: Masked, place: Path, bf16: bool
) -> Iterator[Written]:
    """Masks of volumes; their middle slices as pictures."""
    for volumes, given in ((known.labelled, True), (known.bare, False)):
        for row, name in enumerate(volumes.names):
            first, apart, unsure = _opinions(method, volumes.normalised(row), bf16)
            codes = volumes.masks[row] if given else first.argmax(0).byte().numpy()
            one = _measured(name, given, codes, apart, unsure, len(known.classes))
            affine = volumes.headers[row]
            (place / "masks").mkdir(parents=True, exist_ok=True)
            write_volume(
                place / "masks" / f"{_mask_name(name)}.nii.gz",
                known.classes.written(codes),
                np.eye(4) if affine is None else affine,
            )
            fullest = int((codes > 0).sum((1, 2)).argmax())
            scan = volumes.arrays[row][fullest].astype(float)
            low, high = np.percentile(scan, [0.5, 99.5])
            grey = ((scan - low) / max(high - low, 1e-6) * 255).clip(0, 255).astype(np.uint8)
            pixels = np.repeat(grey[..., None], 3, 2)
            one.pictures = _save_pictures(
                place, _mask_name(name), pixels, codes[fullest], apart[fullest], unsure[fullest],
                known.classes,
            )  # fmt: skip
            yield one


def _opinions(
    method: SegmentMethod, pixels: np.ndarray, bf16: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """What the predictor says, where opinions differ, and where the predictor is unsure."""
    networks = [method.predictor(), *(n for n in method.opinions() if n is not method.predictor())]
    said = look(method, pixels, networks, bf16=bf16)
    return said[0], disagreement(said), uncertainty(said[0])


def _measured(
    key: str, given: bool, codes: np.ndarray, apart: Tensor, unsure: Tensor, classes: int
) -> Written:
    judged = max(1, int((codes != 255).sum()))
    shares = [float((codes == code).sum() / judged) for code in range(classes)]
    return Written(key, given, float(apart.mean()), float(unsure.mean()), shares)


def _mask_name(key: str) -> str:
    """A picture's id without its ending, as a path below a folder."""
    name = inside(key)
    stem, dot, _ = name.rpartition(".")
    return stem if dot and "/" not in name[len(stem) :] else name


def _save_mask(path: Path, codes: np.ndarray, classes: Classes) -> None:
    """A PNG with a palette that holds the user's own values."""
    from PIL import Image

    unjudged = classes.ignore[0] if classes.ignore and classes.ignore[0] < 256 else 255
    values = np.where(codes == 255, unjudged, classes.written(np.where(codes == 255, 0, codes)))
    picture = Image.fromarray(values.astype(np.uint8))
    picture.putpalette(classes.palette())
    _save(path, picture, "PNG")


def _save_pictures(
    place: Path,
    name: str,
    pixels: np.ndarray,
    codes: np.ndarray,
    apart: Tensor,
    unsure: Tensor,
    classes: Classes,
) -> list[bytes]:
    """An overlay and an uncertainty map as files; overlay and disagreement for the report."""
    from PIL import Image

    from fallow.colours import heat, tinted
    from fallow.images.decode import reduced_size
    from fallow.images.masks import resized
    from fallow.verbs.explore import thumbnail

    height, width = pixels.shape[:2]
    shrink = max(1.0, max(height, width) / SHOWN)
    size = (max(1, round(height / shrink)), max(1, round(width / shrink)))
    small = np.array(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR))
    laid = tinted(small, resized(codes, size), classes.colours)
    doubt = heat(small, _stretched(unsure, size), 0.0, 1.0, opacity=0.6)
    differ = heat(small, _stretched(apart, size), 0.0, 0.5, opacity=0.6)
    _save(place / "overlays" / f"{name}.jpg", Image.fromarray(laid), "JPEG")
    _save(place / "uncertainty" / f"{name}.jpg", Image.fromarray(doubt), "JPEG")
    side = min(reduced_size(width, height, 176))
    return [thumbnail(laid, side=side), thumbnail(differ, side=side)]


def _stretched(values: Tensor, size: tuple[int, int]) -> np.ndarray:
    from torch.nn import functional as F

    return F.interpolate(values[None, None], size, mode="bilinear")[0, 0].numpy()


def _save(path: Path, picture: Any, form: str) -> None:
    from fallow.files import atomic_write

    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as target:
        picture.save(target, form)


def _write(path: Path, data: bytes) -> None:
    from fallow.files import atomic_write

    with atomic_write(path) as target:
        target.write(data)


def _write_table(path: Path, table: pa.Table) -> None:
    import pyarrow.csv as csv

    from fallow.files import atomic_write

    with atomic_write(path) as target:
        csv.write_csv(table, target)


def _page(findings: Mapping[str, Any]) -> str:
    from fallow.report.segment import segment_page

    return segment_page(findings)
