"""`protect`: copies of images that teach strangers less, and how much less was measured."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fallow.encoders import chosen_encoder
from fallow.images import opened
from fallow.methods import find
from fallow.outcomes.result import Result, writable
from fallow.problems import SettingProblem, SourceProblem, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

    from fallow.encoders import Encoder
    from fallow.images import Images
    from fallow.methods.protect.uc import UC, Protector

MINUTES = 5.0  # for the patterns, when no budget is given
LEAST = 8  # px, the smallest side a pattern makes sense on
CENTRE = 512  # px, the middle of a picture that SSIM looks at
SHOWN = 12  # pictures in the report
CUT = 0.25  # share of a pattern lost at black and white that is worth a sentence
LIMITS = (
    "This is not a guarantee: adversarial training, strong augmentation, greyscale and JPEG weaken "
    "such patterns, and only copies that are all protected protect each other."
)


@dataclass(frozen=True)
class Verification:
    """How a stranger's model is trained to test the copies."""

    epochs: int = 15
    images: int = 1000  # that it learns from, at most; as many more are half asked
    side: int = 64  # px, at most
    seeds: int = 1

    def __post_init__(self) -> None:
        for name in ("epochs", "images", "side", "seeds"):
            if getattr(self, name) < 1:
                raise SettingProblem(f"verification: {name} must be 1 or more")


def protect(
    source: Any,
    *,
    out: str | os.PathLike[str],
    private: str | os.PathLike[str] | None = None,
    protector: str | os.PathLike[str] | None = None,
    labels: Any = None,
    encoder: Any = None,
    minutes: float | None = None,
    epochs: float | None = None,
    preset: str | None = None,
    settings: Mapping[str, Any] | None = None,
    verify: bool | Verification = False,
    seed: int = 0,
    tell: Callable[[str], None] = lambda line: None,
    progress_bar: bool = False,
) -> Protected:
    """Write protected copies (PNG) of all images into `out`; the originals are never touched.

    `private`, by default `<out>-private`, gets the report and the protector, with which later
    images are protected in the same way (`protector=`). It is not to be published: the patterns in
    it can be taken off again. Labels are never used for the patterns, only by `verify`, which
    trains a stranger's model on the copies under label maps the patterns knew nothing of.

    >>> import tempfile
    >>> from fallow.images.samples import shapes
    >>> place = Path(tempfile.mkdtemp())
    >>> result = protect(shapes(12, side=24), out=place / "copies", epochs=1, settings={"width": 4})
    >>> result.table.num_rows, (place / "copies" / "shapes_0003.png").is_file()
    (12, True)
    """
    given = dict(settings or {})
    if protector is not None:
        _only_applied(given, preset, encoder, minutes, epochs)
    kind: Any = find("protect", "uc")
    wanted: dict[str, Any] = {}
    if protector is None:
        wanted = _settings(kind, given, preset, minutes, epochs)
    images = opened(source, labels)
    place, hidden = _folders(images, out, private)
    names = copy_names(images.column("id").tolist())
    _refuse_existing(place, names)
    if verify:
        _labels_of(images)  # what is missing must show before the work
    note = ""
    if protector is not None:
        from fallow.methods.protect.uc import load_protector

        made = load_protector(Path(protector))
        about: dict[str, Any] = {"patterns from": Path(protector).name}
    else:
        chosen, note = chosen_encoder(encoder)
        how = _fitted(kind, images, wanted, tell)
        made, about = _trained(kind, images, chosen, how, hidden, seed, tell, progress_bar)
        made.save(hidden / "protector")
    clusters = made.clusters(images)
    table, shown = _write(images, made, clusters, place, names)
    measured: dict[str, Any] = {}
    if verify:
        plan = verify if isinstance(verify, Verification) else Verification()
        measured = verified(images, made, clusters, plan, seed=seed, tell=tell)
    findings = {
        "source": images.name,
        "created": datetime.datetime.now().isoformat(" ", "minutes"),
        "fingerprint": images.fingerprint,
        "encoder": made.encoder.name,
        "clusters": _sizes(clusters, len(made.patterns)),
        "budget": {"eps": made.budget.size, "norm": made.budget.norm},
        "copies": str(place),
        "private": str(hidden),
        "psnr": _median(table, "psnr"),
        "ssim": _median(table, "ssim"),
        "measured": measured,
        "patterns": pattern_pictures(made),
        "examples": shown,
        "items": table.select(["path", "copy", "cluster", "psnr", "ssim"]).to_pylist(),
        "problems": [{"path": each.path, "reason": each.reason} for each in images.problems],
        "seed": seed,
        **about,
    }
    notes = _notes(images, table, made, hidden, note)
    findings["notes"] = notes
    findings["verdict"] = sentences(measured)
    findings["headlines"] = [
        f"{table.num_rows:,} protected copies in {place}, PSNR {findings['psnr']:.1f} dB, "
        f"SSIM {findings['ssim']:.3f} (medians)",
        *(findings["verdict"] or [UNTESTED]),
        *map(_said, measured.get("maps", [])),
        *notes,
    ]
    result = Protected(table, findings, made)
    result.save(hidden)
    return result


UNTESTED = (
    "How much this protects was not tested: with labels, --verify trains a stranger's model on "
    "the copies and says."
)


class Protected(Result):
    """What `protect` returns: a row for each copy, and the protector for later images."""

    def __init__(self, table: pa.Table, findings: Mapping[str, Any], protector: Protector) -> None:
        super().__init__(table, headlines=findings["headlines"], findings=findings, page=_page)
        self.protector = protector

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Table, report and run.json: all of it private."""
        from fallow.files import atomic_write

        place = super().save(folder)
        left_out = ("examples", "patterns", "items")
        about = {k: v for k, v in self.findings.items() if k not in left_out}
        with atomic_write(place / "protect.json") as target:
            target.write(json.dumps(about, indent=1, default=str).encode())
        return place


# --- what is asked ---


def _settings(
    kind: type[UC],
    given: Mapping[str, Any],
    preset: str | None,
    minutes: float | None,
    epochs: float | None,
) -> dict[str, Any]:
    """Settings as plain values, each mistake found before any image is read."""
    from fallow.train.method import make_settings

    if preset is not None and preset not in kind.presets:
        hint = did_you_mean(preset, kind.presets)
        raise SettingProblem(f"protect has no preset {preset!r}: {hint}")
    chosen = {**(kind.presets[preset] if preset else {}), **given}
    if epochs is not None or minutes is not None:
        chosen = {k: v for k, v in chosen.items() if k not in ("epochs", "minutes")}
        chosen |= {"epochs": epochs, "minutes": minutes}
    elif "epochs" not in chosen and "minutes" not in chosen:
        chosen["minutes"] = MINUTES
    make_settings(kind.Settings, chosen)
    return chosen


def _only_applied(given: Mapping[str, Any], preset: Any, encoder: Any, *budget: Any) -> None:
    told = [
        *given,
        *(["preset"] if preset else []),
        *(["encoder"] if encoder is not None else []),
        *(["a training budget"] if any(one is not None for one in budget) else []),
    ]
    if told:
        raise SettingProblem(
            f"{told[0]} cannot be chosen with a saved protector: its patterns are only applied"
        )


def _folders(images: Images, out: Any, private: Any) -> tuple[Path, Path]:
    """Where copies go and where what must stay private goes; neither among the originals."""
    place = Path(out)
    hidden = Path(private) if private is not None else place.with_name(f"{place.name}-private")
    if place.exists() and not place.is_dir():
        raise SourceProblem(f"{place} is a file: give a folder for the copies with out=")
    at, aside = place.resolve(), hidden.resolve()
    if at == aside or at in aside.parents:
        raise SourceProblem(
            f"{hidden} lies in the folder of the copies, which will be published: "
            "choose another with private="
        )
    if (here := _originals(images)) is not None:
        for folder in (at, aside):
            if folder == here or here in folder.parents:
                raise SourceProblem(
                    f"{folder} lies among the originals in {here}: choose a folder outside them"
                )
    return writable(place), writable(hidden)


def _originals(images: Images) -> Path | None:
    """The folder that was opened, if the images are all there is below one."""
    from fallow.images.places import Local
    from fallow.images.stores import Folder

    store = images.store
    if type(store) is not Folder or not isinstance(store.root, Local) or len(store.names) < 2:
        return None
    return Path(store.root.path).resolve()


def copy_names(ids: Sequence[str]) -> list[str]:
    """A PNG file for each image, where it lay; two that would share a name keep their endings.

    >>> copy_names(["a/b.jpg", "a/b.webp", "../c.png"])
    ['a/b.jpg.png', 'a/b.webp.png', 'c.png']
    """
    from fallow.files import inside

    safe = [PurePosixPath(inside(key)) for key in ids]
    short = [str(path.with_suffix(".png")) for path in safe]
    often: dict[str, int] = {}
    for name in short:
        often[name.lower()] = often.get(name.lower(), 0) + 1
    return [
        name if often[name.lower()] == 1 else f"{path}.png"
        for name, path in zip(short, safe, strict=True)
    ]


def _refuse_existing(place: Path, names: Sequence[str]) -> None:
    there = next((name for name in names if (place / name).exists()), None)
    if there is not None:
        raise SourceProblem(
            f"{place} already holds {there}: choose an empty folder for the copies with out="
        )


def _fitted(
    kind: type[UC], images: Images, given: dict[str, Any], tell: Callable[[str], None]
) -> Any:
    """Settings with a pattern size and a batch that suit these images."""
    import torch

    from fallow.train.method import make_settings

    side = int(np.median(np.minimum(images.column("width"), images.column("height"))))
    if side < LEAST:
        raise SourceProblem(
            f"the pictures in {images.name} are {side} px on their short side: "
            f"protect needs {LEAST} px or more"
        )
    gpu = torch.cuda.is_available()
    size = min(side, 224 if gpu else 64) // 4 * 4
    chosen: Any = make_settings(kind.Settings, {"size": size, "batch": 256 if gpu else 64} | given)
    if chosen.size > side:
        tell(
            f"patterns of {chosen.size} px are shrunk to the pictures' {side} px, "
            f"which weakens them: size={size} fits"
        )
    return chosen


# --- the patterns ---


def _trained(
    kind: type[UC],
    images: Images,
    encoder: Encoder,
    settings: Any,
    hidden: Path,
    seed: int,
    tell: Callable[[str], None],
    progress_bar: bool,
) -> tuple[Protector, dict[str, Any]]:
    from fallow.methods.protect.uc import Protector
    from fallow.train import fit

    learnt = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    try:
        run = fit(
            kind, images, encoder=encoder, settings=settings, out=hidden / "run", seed=seed,
            tell=tell, progress_bar=progress_bar,
        )  # fmt: skip
    finally:
        for parameter in learnt:  # the encoder is handed back as it came
            parameter.requires_grad_(True)
    method: Any = run.method
    pack = images.pack(side=_side(method))
    hashes = images.column("hash")[pack.rows].tolist()
    made = Protector(
        encoder,
        method.centres.cpu().numpy(),
        method.all_patterns().cpu(),
        method.budget,
        settings.resize,
        dict(zip(hashes, method.members[: len(pack)].tolist(), strict=True)),
    )
    return made, {
        "settings": run.settings.model_dump(exclude_none=True),
        "steps": run.steps,
        "seconds": round(run.seconds, 1),
        "loss": next((line["kl"] for line in reversed(run.history) if "kl" in line), None),
        "loss at first": next((line["kl"] for line in run.history if "kl" in line), None),
    }


def _side(method: UC) -> int:
    from fallow.train.loop import source_side

    return source_side(method.recipe())


# --- the copies ---


def _write(
    images: Images, made: Protector, clusters: np.ndarray, place: Path, names: Sequence[str]
) -> tuple[pa.Table, list[tuple[np.ndarray, np.ndarray]]]:
    """All copies, a row for each, and a few pictures with their copies for the report."""
    from PIL import Image

    from fallow.files import atomic_write
    from fallow.measure import psnr, ssim

    rows: list[dict[str, Any]] = []
    shown: list[tuple[np.ndarray, np.ndarray]] = []
    wanted = set(_spread_out(clusters))
    known = images.table.select(["id", "path", "hash"]).to_pylist()
    for row, pixels in images.map(lambda pixels: pixels):
        cluster = int(clusters[row])
        if not isinstance(pixels, np.ndarray) or cluster < 0:
            continue
        copy = made.protect(pixels, cluster)
        path = place / names[row]
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as target:
            Image.fromarray(copy).save(target, "PNG")
        change = made.change(cluster, *pixels.shape[:2])
        spent = np.abs(change).sum()
        kept = np.abs(copy.astype(np.int16) - pixels).sum()
        before, after = _middle(pixels, CENTRE), _middle(copy, CENTRE)
        rows.append(
            {
                **known[row],
                "copy": names[row],
                "cluster": cluster,
                "psnr": psnr(pixels, copy),
                "ssim": ssim(before, after),
                "cut": float(1 - kept / max(spent, 1)),
                "row": row,
            }
        )
        if row in wanted:
            shown.append((_middle(pixels, 160), _middle(copy, 160)))
    if not rows:
        reason = f" ({images.problems[0].reason})" if images.problems else ""
        raise SourceProblem(f"none of the images in {images.name} can be decoded{reason}")
    return pa.Table.from_pylist(rows), shown


def _spread_out(clusters: np.ndarray) -> list[int]:
    """Rows for the report: one of each cluster in turn."""
    queues = [np.flatnonzero(clusters == k).tolist() for k in np.unique(clusters[clusters >= 0])]
    turns = max((len(queue) for queue in queues), default=0)
    return [queue[t] for t in range(turns) for queue in queues if t < len(queue)][:SHOWN]


def _middle(pixels: np.ndarray, side: int) -> np.ndarray:
    """The middle of a picture, at most `side` px wide and high, at its own scale."""
    height, width = pixels.shape[:2]
    top, left = max(0, (height - side) // 2), max(0, (width - side) // 2)
    return pixels[top : top + side, left : left + side]


def pattern_pictures(made: Protector) -> list[np.ndarray]:
    """Patterns as uint8 pictures: grey where nothing changes, full strength at the extremes."""
    pictures = []
    for pattern in made.patterns:
        most = max(float(pattern.abs().max()), 1e-9)
        values = (pattern.permute(1, 2, 0).numpy() / most + 1) * 127.5
        pictures.append(np.rint(values).clip(0, 255).astype(np.uint8))
    return pictures


def _sizes(clusters: np.ndarray, count: int) -> list[int]:
    return np.bincount(clusters[clusters >= 0], minlength=count).tolist()


def _median(table: pa.Table, column: str) -> float:
    values = table.column(column).to_numpy()
    return float(np.median(values[np.isfinite(values)])) if np.isfinite(values).any() else 0.0


def _notes(images: Images, table: pa.Table, made: Protector, hidden: Path, note: str) -> list[str]:
    lines = [
        f"Keep {hidden} to yourself: whoever has the patterns in it can take them off the copies.",
        LIMITS,
    ]
    cut = _median(table, "cut")
    if cut > CUT:
        lines.append(
            f"Black or white areas cut away {cut:.0%} of the pattern (median): "
            "such pictures are protected less."
        )
    empty = sum(size == 0 for size in np.bincount(
        table.column("cluster").to_numpy(), minlength=len(made.patterns)))  # fmt: skip
    if empty:
        lines.append(f"{empty} of {len(made.patterns)} patterns are used by none of these images.")
    if images.problems:
        lines.append(f"{len(images.problems):,} files could not be read and have no copy.")
    return [*lines, *([note] if note else [])]


# --- what a stranger learns ---

ROWS = ("clean", "random signs", "protected")
CONDITIONS = ("as published", "JPEG 90", "crop + flip")


def verified(
    images: Images,
    made: Protector,
    clusters: np.ndarray,
    plan: Verification,
    *,
    seed: int = 0,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Train a stranger's model on clean, randomly changed and protected copies, and ask it.

    Every label map is one the patterns know nothing of; the pictures asked are always clean.
    """
    from fallow.measure.stranger import label_maps, trained_by_stranger

    codes, _ = _labels_of(images)
    teach, ask = _halves(images, codes, clusters, plan, seed)
    present = np.unique(codes[teach])
    if len(present) < 2:
        raise SourceProblem("a stranger's model needs two classes to learn from: give more labels")
    place = np.full(int(codes.max()) + 1, -1)
    place[present] = np.arange(len(present))
    ask = ask[place[codes[ask]] >= 0]
    sets, test, side = _learnt_from(images, made, clusters, teach, ask, plan, seed)
    maps = label_maps(len(present), seed)
    cells = [(row, condition) for row in ROWS for condition in CONDITIONS]
    tell(
        f"verifying: {len(maps) * len(cells) * plan.seeds} trainings of {plan.epochs} epochs on "
        f"{len(teach):,} pictures of {side} px"
    )
    found = []
    for one in maps:
        labels, truth = (one.groups[place[codes[rows]]] for rows in (teach, ask))
        scores: dict[str, dict[str, list[float]]] = {row: {} for row in ROWS}
        for row, condition in cells:
            pictures = sets[row]["JPEG 90" if condition == "JPEG 90" else "as published"]
            scores[row][condition] = [
                trained_by_stranger(
                    pictures, labels, test, truth, classes=one.count, epochs=plan.epochs,
                    augment=condition == "crop + flip", seed=seed + number,
                )
                for number in range(plan.seeds)
            ]  # fmt: skip
        chance = float(np.bincount(truth).max() / len(truth))
        found.append({"name": one.name, "groups": one.count, "chance": chance, "scores": scores})
        tell(_said(found[-1]))
    return {
        "maps": found,
        "side": side,
        "learnt from": len(teach),
        "asked": len(ask),
        "epochs": plan.epochs,
        "seeds": plan.seeds,
    }


def _labels_of(images: Images) -> tuple[np.ndarray, list[str]]:
    codes, names = images.labels
    if len(names) < 2:
        has = f"one label, {names[0]}" if names else "no labels"
        raise SourceProblem(
            f"{images.name} has {has}: to verify, a stranger's model needs two classes or more "
            "to learn (give labels; the patterns never see them)"
        )
    return codes, names


def _halves(
    images: Images, codes: np.ndarray, clusters: np.ndarray, plan: Verification, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows that teach and rows that are asked, not more than planned."""
    from fallow.measure.scores import halves

    usable = np.flatnonzero((codes >= 0) & (clusters >= 0))
    teaches, asks = halves(images.select(usable), codes[usable], seed)
    draw = np.random.default_rng(seed)
    taken = []
    for mask, most in ((teaches, plan.images), (asks, max(1, plan.images // 2))):
        taken.append(usable[np.sort(draw.permutation(np.flatnonzero(mask))[:most])])
    return taken[0], taken[1]


def _learnt_from(
    images: Images,
    made: Protector,
    clusters: np.ndarray,
    teach: np.ndarray,
    ask: np.ndarray,
    plan: Verification,
    seed: int,
) -> tuple[dict[str, dict[str, Tensor]], Tensor, int]:
    """The pictures of every row of the test, with and without JPEG, and those asked."""
    import torch

    from fallow.encoders import Preprocessing
    from fallow.measure.stranger import jpeg
    from fallow.views.perturb import random_signs

    shorter = np.minimum(images.column("width"), images.column("height"))[teach]
    side = max(LEAST, min(plan.side, int(np.median(shorter))))
    shrink = Preprocessing(side, side).fit
    size = tuple(made.patterns.shape[-2:])
    signs = random_signs(len(made.patterns), size, made.budget, seed)  # type: ignore[arg-type]
    chance = replace(made, patterns=signs, _stretched={})
    held: dict[str, dict[str, list[Tensor]]] = {
        row: {"as published": [], "JPEG 90": []} for row in ROWS
    }
    for row, pixels in images.select(teach).map(lambda pixels: pixels):
        if not isinstance(pixels, np.ndarray):
            raise SourceProblem(f"{images.name} changed while it was read: run again")
        cluster = int(clusters[teach[row]])
        copies = (pixels, chance.protect(pixels, cluster), made.protect(pixels, cluster))
        for name, copy in zip(ROWS, copies, strict=True):
            held[name]["as published"].append(shrink(copy))
            held[name]["JPEG 90"].append(shrink(jpeg(copy)))
    test = [
        pixels for _, pixels in images.select(ask).map(shrink) if isinstance(pixels, torch.Tensor)
    ]
    sets = {row: {kind: torch.stack(x) for kind, x in each.items()} for row, each in held.items()}
    return sets, torch.stack(test), side


def _mean(scores: Mapping[str, Any], row: str, condition: str) -> float:
    return float(np.mean(scores[row][condition]))


def _lower(before: float, after: float, asked: int) -> bool:
    """Whether `after` is lower by more than two standard errors of two such accuracies."""
    error = np.sqrt((before * (1 - before) + after * (1 - after)) / max(asked, 1))
    return bool(before - after > 2 * error)


def _said(one: Mapping[str, Any]) -> str:
    clean, chance, ours = (_mean(one["scores"], row, "as published") for row in ROWS)
    return (
        f"{one['name']} ({one['groups']}): {clean:.1%} from the originals, {ours:.1%} from the "
        f"copies, {chance:.1%} with random signs (always the commonest: {one['chance']:.1%})"
    )


def sentences(measured: Mapping[str, Any]) -> list[str]:
    """What the test says, plainly.

    >>> same = {row: {kind: [0.5] for kind in CONDITIONS} for row in ROWS}
    >>> one = {"name": "classes", "groups": 4, "chance": 0.25, "scores": same}
    >>> sentences({"maps": [one], "asked": 100, "seeds": 1, "side": 32, "learnt from": 200})[0]
    'No protection was measured: a stranger learnt from the copies as well as from the originals.'
    """
    if not measured:
        return []
    asked = measured["asked"] * measured["seeds"]
    # where the originals teach nothing, copies cannot teach less
    maps = [
        one
        for one in measured["maps"]
        if _lower(_mean(one["scores"], ROWS[0], CONDITIONS[0]), one["chance"], asked)
    ]

    def less(than: str, condition: str) -> int:
        """On how many maps a stranger learnt less from the copies than from others."""
        pairs = [
            (_mean(one["scores"], than, condition), _mean(one["scores"], ROWS[-1], condition))
            for one in maps
        ]
        return sum(_lower(before, after, asked) for before, after in pairs)

    lines = []
    first, late, moved = (less(ROWS[0], condition) for condition in CONDITIONS)
    if first:
        lines += [
            f"Protection was measured on {first} of {len(maps)} ways to label the pictures: there "
            "a stranger learnt less from the copies than from the originals.",
            f"It remains on {late} of {len(maps)} after JPEG 90, and on {moved} against a stranger "
            "who crops and flips.",
            f"Better than a random pattern of the same strength on {less(ROWS[1], CONDITIONS[0])} "
            f"of {len(maps)}.",
        ]
    elif maps:
        lines.append(
            "No protection was measured: a stranger learnt from the copies as well as from the "
            "originals."
        )
    if silent := len(measured["maps"]) - len(maps):
        lines.append(
            f"{silent} of {len(measured['maps'])} ways to label the pictures say nothing: even the "
            "originals taught a stranger nothing there; more pictures or epochs may."
        )
    lines.append(
        f"Measured with one small network (ResNet-8) on {measured['learnt from']:,} pictures of "
        f"{measured['side']} px, {measured['asked']:,} clean ones asked; differences within two "
        "standard errors do not count."
    )
    return lines


def _page(findings: Mapping[str, Any]) -> str:
    from fallow.report.protect import protect_page

    return protect_page(findings)
