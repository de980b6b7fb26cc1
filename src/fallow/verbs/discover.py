"""`discover`: sort everything when only some classes are labelled, and count the new ones."""

from __future__ import annotations

import csv
import datetime
import io
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from fallow.encoders import chosen_encoder
from fallow.images import opened
from fallow.outcomes.result import Result, writable
from fallow.problems import SettingProblem, SourceProblem, did_you_mean

if TYPE_CHECKING:
    from fallow.images import Images
    from fallow.inventory.discovered import Discovery

SHOWN = 12  # pictures of a group
DOUBTFUL = 48  # images that could go either way, in the report
WRITTEN = ("path", "group", "confidence", "second", "second_confidence", "labelled", "truth")
MINUTES = 10.0  # for a method that cannot do without training, when none are given


class Discovered(Result):
    """What `discover` returns: a row for every image with its group and how sure that is."""

    def __init__(self, table: pa.Table, findings: Mapping[str, Any], images: Images) -> None:
        super().__init__(table, headlines=findings["headlines"], findings=findings, page=_page)
        self.images = images

    @property
    def count(self) -> int:
        """The estimated number of classes, known and new."""
        return int(self.findings["classes"])

    @property
    def interval(self) -> tuple[int, int]:
        """Between which numbers the starts ended."""
        low, high = self.findings["interval"]
        return int(low), int(high)

    def accept(self, groups: Mapping[str, str], *, sure: float = 0.0, out: Any = None) -> Result:
        """Turn found groups into labels: {"new 1": "oak"}; see the verb."""
        if self.folder is None and out is None:
            raise SettingProblem(
                "say where to write the labels with out=, or save the result first"
            )
        place = Path(out) if out is not None else self.folder / "labels.csv"  # type: ignore[operator]
        return _accepted(self.table, self.findings["groups"], groups, sure, place)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write assignments.csv, the table, the report and run.json."""
        from fallow.files import atomic_write

        place = super().save(folder)
        kept = [name for name in WRITTEN if name in self.table.column_names]
        _write_csv(place / "assignments.csv", self.table.select(kept))
        with atomic_write(place / "run.json") as target:
            about = {k: v for k, v in self.findings.items() if k not in ("pictures", "paths")}
            target.write(json.dumps({"verb": "discover", **about}, indent=1, default=str).encode())
        return place


def discover(
    source: Any,
    *,
    labels: Any = None,
    hide: str | None = None,
    truth: Any = None,
    where: str | None = None,
    masks: Any = None,
    names: Any = None,
    regions: Any = None,
    method: str = "gpc",
    classes: int | None = None,
    encoder: Any = None,
    minutes: float | None = None,
    epochs: float | None = None,
    accept: Mapping[str, str] | None = None,
    sure: float = 0.0,
    out: str | os.PathLike[str] | None = None,
    preset: str | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    tell: Callable[[str], None] = lambda line: None,
    progress_bar: bool = False,
) -> Any:
    """Put every unlabelled image into a known class or a new one, and say how many there are.

    `labels` is a CSV of two columns, path and label, that names some images of some classes.
    Without `minutes` or `epochs` the encoder stays as it is and the answer takes seconds; with
    them, gpc and simgcd train it. `classes` says how many there are instead of counting them.
    What is known beyond the labels only judges the result: `truth` is such a CSV for all images,
    and `hide`, like "gcd = 'unlabelled'", keeps the labels of some images from the method.
    Everything is written into `out`, if given.

    With `masks`, a folder of masks of some images, every pixel of the others is sorted instead
    (method gcdss, see `discover_pixels`): `names` name the masks' values, `regions` says what cuts
    images up, and `truth` is a folder of masks of all classes.

    With `accept`, `source` is the folder of such a run: {"new 1": "oak"} turns the group into
    labels of those at least `sure`, written with the old ones into its labels.csv.

    >>> from fallow.images.samples import shapes
    >>> images = shapes(120, seed=0, side=32)
    >>> kinds = images.column("label")
    >>> old = sorted(set(kinds))[:3]
    >>> known = [k if k in old and n % 5 < 3 else None for n, k in enumerate(kinds)]
    >>> result = discover(images, labels={"path": images.column("path"), "label": known})
    >>> result.count >= 3, result.table.num_rows
    (True, 120)
    """
    if accept is not None:
        return _accept_run(source, accept, sure, out)
    if masks is not None or method == "gcdss":
        from fallow.verbs.discover_pixels import discover_pixels

        _only_images(labels=labels, hide=hide, classes=classes, epochs=epochs)
        return discover_pixels(
            opened(source, None, where), masks, classes=names, truth=truth, regions=regions,
            encoder=encoder, method="gcdss" if method == "gpc" else method, minutes=minutes or 0.0,
            out=out, preset=preset, settings=settings, seed=seed, tell=tell,
        )  # fmt: skip
    if names is not None or regions is not None:
        raise SettingProblem("names and regions belong to masks: give a folder of masks too")
    chosen = _method(method)
    given = _given(chosen, method, settings, preset, classes, minutes, epochs)
    asked = read(source, labels, hide, truth, where)
    notes = check(asked, given.get("classes"))
    clock = time.perf_counter()
    kind = chosen.trained
    budget = given.get("minutes") or given.get("epochs")
    if budget or chosen.frozen is None:
        if kind is None:
            raise SettingProblem(
                f"{method} does not train: leave minutes and epochs out, or use gpc"
            )
        if not budget:
            given["minutes"] = MINUTES
        if chosen.frozen is None and "classes" not in given:
            given["classes"] = _counted(asked, encoder, seed, tell)
        seen, found, name, note = _trained(
            kind, asked, encoder, given, out, seed, tell, progress_bar
        )
    else:
        network, note = chosen_encoder(encoder)
        name = network.name
        seen = _finite(asked.images, network.embed(asked.images), name)
        tell(f"{len(seen.rows):,} images seen by {name}")
        values = chosen.settings(**given)
        found = chosen.frozen(seen.vectors, asked.known[seen.rows], values, seed)
    findings = _findings(asked, seen, found)
    findings |= {
        "created": datetime.datetime.now().isoformat(" ", "minutes"),
        "method": method,
        "mode": "trained" if budget or chosen.frozen is None else "frozen encoder",
        "encoder": name,
        "settings": given,
        "seed": seed,
        "seconds": round(time.perf_counter() - clock, 2),
    }
    notes += [*found.notes, *([note] if note else [])]
    findings["notes"] = notes
    findings["headlines"] = [*_headlines(findings), *notes]
    result = Discovered(_table(asked, seen, found, findings), findings, asked.images)
    findings["pictures"] = _Pictures(asked.images)
    result.findings = findings
    if out is not None:
        result.save(out)
    return result


# --- what is asked ---


def _only_images(**given: Any) -> None:
    for name, value in given.items():
        if value is not None:
            raise SettingProblem(
                f"{name} sorts whole images and masks sort pixels: leave one of them out"
            )


class _Chosen(NamedTuple):
    """A method: what it does with vectors as they are, and what it trains."""

    frozen: Any  # (vectors, known, settings, seed) -> Discovery, or None
    trained: Any  # Method, or None
    settings: Any
    presets: Mapping[str, Mapping[str, Any]]


def _method(name: str) -> _Chosen:
    from fallow.methods import find, slugs

    # a method of this room sorts vectors, trains, or both
    known = [one for one in slugs("discover") if one != "gcdss"]
    if name not in known:
        raise SettingProblem(
            f"there is no method {name!r} to discover: {did_you_mean(name, known)}"
        )
    module = import_module(f"fallow.methods.discover.{name}")
    frozen = getattr(module, "discover", None)
    if hasattr(module, "Settings"):
        return _Chosen(frozen, None, module.Settings, module.PRESETS)
    kind = find("discover", name)
    return _Chosen(frozen, kind, kind.Settings, kind.presets)


def _given(
    chosen: _Chosen,
    method: str,
    settings: Mapping[str, Any] | None,
    preset: str | None,
    classes: int | None,
    minutes: float | None,
    epochs: float | None,
) -> dict[str, Any]:
    from fallow.train.method import make_settings

    if preset is not None and preset not in chosen.presets:
        hint = did_you_mean(preset, chosen.presets)
        raise SettingProblem(f"{method} has no preset {preset!r}: {hint}")
    given = {**(chosen.presets[preset] if preset else {}), **(settings or {})}
    if classes is not None:
        given["classes"] = classes
    if minutes is not None or epochs is not None:
        given = {k: v for k, v in given.items() if k not in ("minutes", "epochs")}
        given |= {k: v for k, v in (("minutes", minutes), ("epochs", epochs)) if v is not None}
        if chosen.trained is None:
            raise SettingProblem(
                f"{method} does not train: leave minutes and epochs out, or use gpc"
            )
    make_settings(chosen.settings, given)  # a mistake must show before any image is read
    return given


class Asked(NamedTuple):
    """Images, which of them are known, and what they really are as far as anybody says."""

    images: Images
    names: list[str]  # known classes, by code
    known: np.ndarray  # N, code or -1
    truth: list[str | None]  # N


def read(source: Any, labels: Any, hide: str | None, truth: Any, where: str | None) -> Asked:
    """Open the images and split what is known from what only judges."""
    images = opened(source)
    own = _label_names(images)
    if labels is not None:
        images = images.join(label_table(labels))
    known = _label_names(images)
    real: list[str | None] = [None] * len(images)
    if truth is not None:
        real = _label_names(images.join(label_table(truth)))
    elif hide is not None:
        real = list(known)
    elif labels is not None and _agree(own, known):
        real = own
    if hide is not None:
        from fallow.images.where import where as holds

        hidden = set(np.flatnonzero(holds(images.table, hide)).tolist())
        known = [None if row in hidden else name for row, name in enumerate(known)]
    if where is not None:
        from fallow.images.where import where as holds

        kept = np.flatnonzero(holds(images.table, where)).tolist()
        images = images.select(kept)
        known, real = ([values[row] for row in kept] for values in (known, real))
    names = sorted({name for name in known if name is not None})
    place = {name: code for code, name in enumerate(names)}
    codes = np.array([-1 if name is None else place[name] for name in known], np.int64)
    return Asked(images, names, codes, real)


def label_table(labels: Any) -> Any:
    """Labels as a table with the columns path and label; two columns may have other names.

    >>> label_table({"file": ["a.jpg"], "species": ["oak"]}).column_names
    ['path', 'label']
    """
    from fallow.images import tables
    from fallow.images.sources import SUFFIXES

    if isinstance(labels, str | os.PathLike):
        path, name = Path(labels), Path(labels).name
        if not path.is_file():
            raise SourceProblem(f"there is no label file {labels}: check the name")
        table = tables.read_table(path.read_bytes(), name)
    else:
        table, name = tables.as_table(labels), "the label table"
    columns = list(table.column_names)
    if len(columns) == 2 and Path(columns[0]).suffix.lower() in SUFFIXES:  # there is no header
        first = pa.table({"path": [columns[0]], "label": [columns[1]]})
        rest = table.rename_columns(["path", "label"]).cast(first.schema)
        table = pa.concat_tables([first, rest])
    elif len(columns) == 2 and "label" not in columns:
        spoken = [one for one in columns if one in tables.PATH_COLUMNS] or columns[:1]
        table = table.rename_columns(["path" if one in spoken else "label" for one in columns])
    elif len(columns) == 2:
        table = table.rename_columns(["label" if one == "label" else "path" for one in columns])
    if "label" not in table.column_names:
        raise SourceProblem(
            f"{name} has no column label: {did_you_mean('label', table.column_names)}"
        )
    return table


def _label_names(images: Images) -> list[str | None]:
    codes, names = images.labels
    shown = [name.strip() for name in names]
    return [shown[code] if code >= 0 and shown[code] else None for code in codes.tolist()]


def _agree(own: Sequence[str | None], known: Sequence[str | None]) -> bool:
    """Whether the source's own labels say of every labelled image what the given labels say."""
    pairs = [(a, b) for a, b in zip(own, known, strict=True) if b is not None]
    return bool(pairs) and all(a == b for a, b in pairs)


def check(asked: Asked, classes: int | None) -> list[str]:
    """One sentence for what cannot work; what can work but should be known comes back."""
    images, known, name = asked.images, asked.known, asked.images.name
    sizes = np.bincount(known[known >= 0], minlength=len(asked.names))
    free = int((known < 0).sum())
    if not len(images):
        raise SourceProblem(f"no image of {name} is left: loosen where")
    if not len(asked.names):
        raise SourceProblem(
            f"no image of {name} is labelled: give labels= for some images of some classes, "
            "or look at groups without labels with explore"
        )
    if not free:
        raise SourceProblem(
            f"all {len(images):,} images of {name} are labelled: there is nothing to discover"
        )
    if len(asked.names) == 1:
        raise SourceProblem(
            f"only {asked.names[0]} is labelled: label a second class, so that it shows how far "
            "apart two classes are"
        )
    if sizes.max() == 1:
        raise SourceProblem(
            "every class has one labelled image: label at least two of some class, so that it "
            "shows how far apart images of one class are"
        )
    if classes is not None and classes < len(asked.names):
        raise SettingProblem(
            f"{len(asked.names)} classes are labelled, more than the {classes} asked for"
        )
    if classes is not None and classes - len(asked.names) > free:
        raise SettingProblem(
            f"{classes} classes cannot be found in {len(images):,} images, of which {free:,} are "
            "not labelled: ask for fewer"
        )
    notes = [note for note in images.notes if "match no image" in note or "alone" in note]
    single = [asked.names[k] for k in np.flatnonzero(sizes == 1)]
    if single:
        notes.append(
            f"{_many(len(single), 'class', 'classes')} with a single labelled image "
            f"({', '.join(single[:3])}): how wide they are is taken from the others."
        )
    return notes + _copies(asked)


def _copies(asked: Asked) -> list[str]:
    """What to know of pictures that are there twice."""
    hashes = asked.images.table.column("hash").to_pylist()
    first: dict[str, int] = {}
    copies, torn = 0, None
    for row, value in enumerate(hashes):
        before = first.setdefault(value, row)
        if before == row:
            continue
        copies += 1
        a, b = int(asked.known[before]), int(asked.known[row])
        if a >= 0 and b >= 0 and a != b and torn is None:
            torn = (before, row)
    paths = asked.images.table.column("path")
    notes = []
    if copies:
        notes.append(
            f"{_many(copies, 'image repeats', 'images repeat')} another byte for byte; copies "
            "count in their group like other images."
        )
    if torn is not None:
        a, b = (paths[row].as_py() for row in torn)
        notes.append(
            f"{a} and {b} are the same picture but labelled {asked.names[asked.known[torn[0]]]} "
            f"and {asked.names[asked.known[torn[1]]]}: correct one."
        )
    return notes


# --- what the encoder sees ---


class _Looked(NamedTuple):
    rows: np.ndarray  # of the images that could be read
    vectors: np.ndarray


def _finite(images: Images, vectors: np.ndarray, encoder: str) -> _Looked:
    """Leave out what could not be read; numbers that are none are the encoder's fault."""
    good = np.isfinite(vectors).all(1)
    broken = {problem.path for problem in images.problems}
    paths = images.table.column("path").to_pylist()
    strange = [paths[row] for row in np.flatnonzero(~good) if paths[row] not in broken]
    if strange:
        raise SourceProblem(
            f"the features of {_many(len(strange), 'image', 'images')} are not finite numbers, "
            f"{strange[0]} first: the encoder {encoder} is broken, choose another"
        )
    rows = np.flatnonzero(good)
    if not len(rows):
        raise SourceProblem(f"none of the {len(images):,} images in {images.name} can be decoded")
    return _Looked(rows, vectors[rows])


def _counted(asked: Asked, encoder: Any, seed: int, tell: Callable[[str], None]) -> int:
    """How many classes gpc finds with the encoder as it is, for a method that must be told."""
    from fallow.methods.discover.gpc import discover as count

    network, _ = chosen_encoder(encoder)
    seen = _finite(asked.images, network.embed(asked.images), network.name)
    found = count(seen.vectors, asked.known[seen.rows], None, seed)
    tell(f"{found.count} classes, as counted by gpc with the encoder {network.name} as it is")
    return found.count


def _trained(
    kind: Any,
    asked: Asked,
    encoder: Any,
    given: dict[str, Any],
    out: Any,
    seed: int,
    tell: Callable[[str], None],
    progress_bar: bool,
) -> tuple[_Looked, Discovery, str, str]:
    """Train on all images, with the labels that are known, and sort by what was learnt."""
    import torch

    from fallow.methods.shared.plan import choose
    from fallow.train import fit, make_settings

    plan = choose(asked.images, given.get("minutes"), torch.cuda.is_available())
    network, _ = chosen_encoder(encoder)
    size = given.get("size", network.size)
    chosen = make_settings(kind.Settings, {"size": size, "batch": plan.batch} | given)
    column = [asked.names[code] if code >= 0 else None for code in asked.known.tolist()]
    table = pa.table({"path": asked.images.table.column("path"),
                      "label": pa.array(column, pa.string())})  # fmt: skip
    run = fit(
        kind,
        asked.images.join(table),
        encoder=network,
        settings=chosen,
        out=None if out is None else Path(out) / "training",
        seed=seed,
        tell=tell,
        progress_bar=progress_bar,
    )
    seen = _finite(asked.images, run.encoder.embed(asked.images), network.name)
    found = run.method.discover(seen.vectors, asked.known[seen.rows], seed)  # type: ignore[operator]
    return seen, found, network.name, " ".join(run.warnings)


# --- result ---


def group_names(names: Sequence[str], new: int) -> list[str]:
    """Known classes, then new 1, new 2, ...; a class that is called so is not hidden by it.

    >>> group_names(["oak", "new 1"], 2)
    ['oak', 'new 1', 'new 2', 'new 3']
    """
    free = (f"new {number}" for number in range(1, new + len(names) + 1))
    free_names = [name for name in free if name not in set(names)]
    return [*names, *free_names[:new]]


def _table(asked: Asked, seen: _Looked, found: Discovery, findings: dict[str, Any]) -> pa.Table:
    names = np.array([group["name"] for group in findings["groups"]], object)
    kept = asked.images.table.take(pa.array(seen.rows))
    columns: dict[str, Any] = {
        "path": kept.column("path"),
        "id": kept.column("id"),
        "group": pa.array(names[found.member], pa.string()),
        "confidence": found.chance,
        "second": pa.array(names[found.second], pa.string()),
        "second_confidence": found.second_chance,
        "labelled": asked.known[seen.rows] >= 0,
        "new": found.member >= found.old,
        "row": seen.rows,
    }
    if any(asked.truth):
        columns["truth"] = pa.array([asked.truth[row] for row in seen.rows], pa.string())
    return pa.table(columns)


def _findings(asked: Asked, seen: _Looked, found: Discovery) -> dict[str, Any]:
    known = asked.known[seen.rows]
    free = known < 0
    sure = np.where(free, found.chance, 1.0)
    names = group_names(asked.names, found.new)
    paths = asked.images.table.column("path").to_pylist()
    groups = []
    for k, name in enumerate(names):
        rows = np.flatnonzero((found.member == k) & (free | (k < found.old)))
        own = rows[free[rows]]
        # sure ones near the middle stand for a group; of known classes, what was put there
        shown = own if len(own) else rows
        typical = shown[np.lexsort((found.distance[shown], -np.round(sure[shown], 2)))]
        doubt = own[np.argsort(sure[own], kind="stable")]
        doubt = doubt[sure[doubt] < 0.6][:6]
        groups.append(
            {
                "name": name,
                "new": k >= found.old,
                "images": len(rows),
                "labelled": int((~free[rows]).sum()),
                "confidence": float(found.chance[own].mean()) if len(own) else None,
                "shown": seen.rows[typical[:SHOWN]].tolist(),
                "doubt": [_doubt(seen, found, names, row) for row in doubt],
            }
        )
    loose = np.flatnonzero(free)
    margin = found.chance[loose] - found.second_chance[loose]
    either = loose[np.argsort(margin, kind="stable")]
    either = either[found.chance[either] - found.second_chance[either] < 0.5][:DOUBTFUL]
    findings: dict[str, Any] = {
        "source": asked.images.name,
        "fingerprint": asked.images.fingerprint,
        "images": len(seen.rows),
        "labelled": int((~free).sum()),
        "known_classes": found.old,
        "classes": found.count,
        "new_classes": found.new,
        "interval": found.interval,
        "starts": found.counts,
        "groups": groups,
        "either": [_doubt(seen, found, names, row) for row in either],
        "unsure": int((margin < 0.5).sum()),
        "paths": paths,
        "problems": [{"path": p.path, "reason": p.reason} for p in asked.images.problems],
    }
    return findings | _judged(asked, seen, found, names)


def _doubt(seen: _Looked, found: Discovery, names: Sequence[str], row: Any) -> dict[str, Any]:
    return {
        "row": int(seen.rows[row]),
        "group": names[found.member[row]],
        "confidence": float(found.chance[row]),
        "second": names[found.second[row]],
        "second_confidence": float(found.second_chance[row]),
    }


def _judged(asked: Asked, seen: _Looked, found: Discovery, names: Sequence[str]) -> dict[str, Any]:
    """Accuracy on what was not labelled, and who was taken for whom, where the truth is known."""
    from fallow.measure import discovery_accuracy
    from fallow.measure.discovery import matching

    rows = [
        place for place, row in enumerate(seen.rows.tolist())
        if asked.truth[row] is not None and asked.known[row] < 0
    ]  # fmt: skip
    if not rows:
        return {}
    real = [str(asked.truth[seen.rows[place]]) for place in rows]
    new_names = sorted(set(real) - set(asked.names))
    classes = [*asked.names, *new_names]
    place_of = {name: code for code, name in enumerate(classes)}
    codes = np.array([place_of[name] for name in real])
    member = found.member[rows]
    accuracy = discovery_accuracy(codes, member, codes < len(asked.names))
    counts = np.zeros((len(classes), len(names)), np.int64)
    np.add.at(counts, (codes, member), 1)
    stands = matching(codes, member)
    return {
        "accuracy": accuracy._asdict(),
        "judged": len(rows),
        "true_classes": len(classes),
        "confusion": {
            "truth": classes,
            "old": len(asked.names),
            "groups": list(names),
            "counts": counts.tolist(),
            "matched": [stands.get(k) for k in range(len(names))],
        },
    }


class _Pictures:
    """Small pictures for the report, read when it is written."""

    def __init__(self, images: Images) -> None:
        self._images = images

    def __call__(self, rows: Sequence[int], side: int) -> Iterator[bytes]:
        from fallow.verbs.explore import thumbnail

        chosen = self._images.select(list(rows))
        for _, seen in chosen.map(lambda pixels: thumbnail(pixels, side), side=2 * side):
            yield seen if isinstance(seen, bytes) else b""


def _headlines(found: Mapping[str, Any]) -> list[str]:
    low, high = found["interval"]
    between = f", between {low} and {high} from other starts" if low < high else ""
    free = found["images"] - found["labelled"]
    new = sum(group["images"] for group in found["groups"] if group["new"])
    lines = [
        f"{found['classes']} classes{between}: {found['known_classes']} known, "
        f"{found['new_classes']} new",
        f"{free:,} unlabelled images sorted: {free - new:,} into known classes, {new:,} into new "
        f"ones; {found['unsure']:,} could go either way",
    ]
    if "accuracy" in found:
        parts = ", ".join(
            f"{name} {value:.3f}" for name, value in found["accuracy"].items() if value == value
        )
        lines.append(f"accuracy of {found['judged']:,} judged images: {parts}; "
                     f"{found['true_classes']} classes in truth")  # fmt: skip
    if found["problems"]:
        lines.append(f"{_many(len(found['problems']), 'file', 'files')} could not be read")
    return lines


def _many(count: int, one: str, more: str) -> str:
    return f"{count:,} {one if count == 1 else more}"


def _page(findings: Mapping[str, Any]) -> str:
    from fallow.report.discover import discover_page

    return discover_page(findings)


# --- found groups become labels ---


def _accept_run(source: Any, accept: Mapping[str, str], sure: float, out: Any) -> Result:
    import pyarrow.parquet as pq

    place = Path(source) if isinstance(source, str | os.PathLike) else None
    if place is None or not (place / "run.json").is_file():
        raise SourceProblem(f"{source} is not a saved run of discover: name the folder it wrote")
    about = json.loads((place / "run.json").read_text())
    if about.get("kind") == "pixels":
        from fallow.verbs.discover_pixels import accept_pixels

        if sure:
            raise SettingProblem("sure is for whole images: leave it out for a run with masks")
        return accept_pixels(place, accept, out)
    if about.get("verb") != "discover":
        raise SourceProblem(f"{source} is a run of something else: name the folder discover wrote")
    table = pq.read_table(place / "table.parquet")
    target = Path(out) if out is not None else place / "labels.csv"
    return _accepted(table, about["groups"], accept, sure, target)


def _accepted(
    table: pa.Table,
    groups: Sequence[Mapping[str, Any]],
    accept: Mapping[str, str],
    sure: float,
    target: Path,
) -> Result:
    """Labels of before, of accepted groups now, and of groups accepted earlier, as one CSV."""
    known = [group["name"] for group in groups]
    for name, label in accept.items():
        if name not in known:
            raise SettingProblem(f"there is no group {name!r}: {did_you_mean(name, known)}")
        if not str(label).strip():
            raise SettingProblem(f"give {name} a name: {name}=oak")
    labels: dict[str, str] = {}
    if target.is_file():
        with target.open(newline="", encoding="utf-8") as file:
            labels = {row["path"]: row["label"] for row in csv.DictReader(file)}
    added = 0
    chosen = table.select(["path", "group", "confidence", "labelled"]).to_pylist()
    for row in chosen:
        if row["labelled"]:
            labels.setdefault(row["path"], row["group"])
        elif row["group"] in accept and row["confidence"] >= sure:
            labels[row["path"]] = str(accept[row["group"]]).strip()
            added += 1
    if not added:
        raise SettingProblem(
            f"no image of {', '.join(accept)} is at least {sure:.0%} sure: lower sure"
        )
    order = sorted(labels)
    made = pa.table({"path": order, "label": [labels[path] for path in order]})
    writable(target.parent)
    _write_csv(target, made)
    named = ", ".join(f"{name} as {label}" for name, label in accept.items())
    return Result(
        made,
        headlines=[
            f"{named}: {_many(added, 'image', 'images')} labelled",
            f"{len(order):,} labels of {len(set(labels.values()))} classes in {target}",
        ],
        findings={"file": str(target), "added": added},
    )


def _write_csv(path: Path, table: pa.Table) -> None:
    from fallow.files import atomic_write

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.column_names)
    for row in zip(*(column.to_pylist() for column in table.columns), strict=True):
        writer.writerow([round(v, 4) if isinstance(v, float) else v for v in row])
    with atomic_write(path) as target:
        target.write(text.getvalue().encode())
