"""`explore`: what is in a folder of images, found without being told anything about it."""

from __future__ import annotations

import datetime
import io
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from fallow.encoders import chosen_encoder
from fallow.images import opened
from fallow.inventory import duplicates, groups, layout, outliers, quality, store, suspects
from fallow.inventory.statistics import DIMENSION, MEASURES, Described, describe
from fallow.outcomes.result import Result, writable
from fallow.problems import SettingProblem, SourceProblem
from fallow.vectors import space
from fallow.verbs.embed import DECODE_SIDE

if TYPE_CHECKING:
    from fallow.images import FileProblem, Images

THUMBNAIL = 80  # short side, pixels
ENCODING = min(4, os.cpu_count() or 1)  # batches encoded at once
RANKED = 60  # strays listed, whether or not they stand out
NEIGHBOURS = 15


class Explored(Result):
    """What `explore` returns: a Result that can also be searched and listed without copies."""

    def __init__(
        self,
        table: pa.Table,
        findings: Mapping[str, Any],
        *,
        images: Images,
        encoder: Any,
        key: str,
        measured: store.Measured,
        place: space.Space,
        vectors: np.ndarray,
        combined: bool,
    ) -> None:
        super().__init__(table, headlines=findings["headlines"], findings=findings, page=_page)
        self.images = images
        self.encoder = encoder
        self.key = key
        self.measured = measured
        self.space = place
        self.vectors = vectors  # N K, unit length, in the table's order
        self._combined = combined

    def search(self, image: int | str | os.PathLike[str] | np.ndarray, k: int = 12) -> pa.Table:
        """The k images most like one: a row, an id or path of the table, a file, or pixels.

        A row of the collection is not listed as its own neighbour. Columns: row, id, path,
        similarity (cosine).
        """
        ids = self.table.column("id").to_pylist()
        own = -1
        if isinstance(image, (int, np.integer)):
            if not -len(ids) <= image < len(ids):
                raise SettingProblem(f"there is no row {image}: the collection has {len(ids):,}")
            own = int(image) % len(ids)
        elif not isinstance(image, np.ndarray) and os.fspath(image) in ids:
            own = ids.index(os.fspath(image))
        query = self.vectors[own] if own >= 0 else self._place(image)
        similarity = self.vectors @ query
        order = np.argsort(-similarity, kind="stable")
        order = order[order != own][:k]
        return pa.table(
            {
                "row": order,
                "id": self.table.column("id").take(pa.array(order)),
                "path": self.table.column("path").take(pa.array(order)),
                "similarity": similarity[order],
            }
        )

    def _place(self, image: Any) -> np.ndarray:
        if not isinstance(image, np.ndarray):
            import fallow

            path = Path(image)
            if not path.is_file():
                raise SourceProblem(f"there is no image {image}: give a row, an id or a file")
            from fallow.images.decode import Unreadable, decode

            try:
                image = decode(path.read_bytes(), DECODE_SIDE)
            except Unreadable as error:
                raise fallow.problems.SourceProblem(f"{path} cannot be used: {error}") from error
        blocks = [self.encoder.embed([image])]
        if self._combined:
            blocks.append(describe(image).statistics[None])
        return self.space.place(*blocks)[0]

    def clean(self) -> pa.Table:
        """The keep list: readable, not blank, one of each set of copies; nothing is touched."""
        copies = self.table.column("copy_of").is_null().to_numpy()
        near = self.table.column("near_copy_of").is_null().to_numpy()
        blank = np.array(["blank" in flags for flags in self.table.column("flags").to_pylist()])
        kept = np.flatnonzero(copies & near & ~blank)
        names = [name for name in ("id", "label", "split") if name in self.table.column_names]
        address = getattr(self.images, "address", None)
        rows = self.table.column("row").to_numpy()[kept]
        paths = self.table.column("path").take(pa.array(kept)).to_pylist()
        if address is not None:
            paths = [address(int(row)) for row in rows]
        table = self.table.select(names).take(pa.array(kept))
        return table.add_column(0, "path", pa.array(paths, pa.string()))

    def export_clean(self, file: str | os.PathLike[str]) -> Path:
        """Write the keep list as CSV."""
        import pyarrow.csv as csv

        from fallow.files import atomic_write

        path = Path(file)
        writable(path.parent)
        with atomic_write(path) as target:
            csv.write_csv(self.clean(), target)
        return path

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write images.lance (a new version), findings.json, settings.json and report.html."""
        import json

        from fallow.files import atomic_write

        place = writable(folder)
        store.write(place, self.table, self.measured, self.vectors, self.key)
        with atomic_write(place / "findings.json") as target:
            target.write(store.plain(self.findings).encode())
        with atomic_write(place / "settings.json") as target:
            target.write(json.dumps(self.findings["settings"], indent=1).encode())
        self.report(place / "report.html")
        self.folder = place
        return place


def explore(
    source: Any,
    *,
    labels: Any = None,
    encoder: Any = None,
    out: str | os.PathLike[str] | None = None,
    seed: int = 0,
    groups: int | None = None,
    export_clean: str | os.PathLike[str] | None = None,
    threads: int = 2,
) -> Explored:
    """Look through a collection: copies, groups, strays, poor pictures, doubtful labels, a map.

    Writes `report.html`, `images.lance` (one row per image, a version per run), `findings.json`
    and `settings.json` into `out`, by default `<name>-explore` in the working directory. A second
    run into the same folder decodes and encodes only content it has not seen. `groups` asks for
    that many groups instead of the proposed number; `export_clean` names a CSV for the keep list.
    Nothing of the source is changed.
    """
    if groups is not None and groups < 1:
        raise SettingProblem(f"groups={groups} is not possible: ask for one or more")
    clock = _Clock()
    # the encoder loads while files are listed and decoded
    with ThreadPoolExecutor(ENCODING, thread_name_prefix="fallow-encode") as encoding:
        ready = encoding.submit(_encoder, encoder)
        images = opened(source, labels)
        place = writable(out if out is not None else f"{_plain_name(images.name)}-explore")
        clock.lap("open")
        storing = threading.Thread(target=import_module, args=("fallow.inventory.lance",))
        storing.start()
        known = store.read(place, ready.result().key) if store.exists(place) else None
        rows, measured, fresh = _measured(images, encoding, ready, known, threads)
    chosen, note, key, restore = ready.result()
    restore()
    clock.lap("pixels")
    # the products are small: a second BLAS thread mostly waits, and waiting burns the other core
    with threadpool_limits(1, user_api="blas"):
        found = _found(images, rows, measured, combined=bool(note), seed=seed, groups=groups)
    clock.lap("analyse")
    result = _result(images, chosen, key, note, rows, measured, found, fresh)
    result.findings["settings"] |= {
        "encoder": chosen.name,
        "seed": seed,
        "groups": groups,
        "out": str(place),
        "newly measured": fresh,
    }
    clock.lap("result")
    result.findings["seconds"] = clock.laps
    storing.join()
    result.save(place)
    clock.lap("save")
    if export_clean is not None:
        result.export_clean(export_clean)
    return result


class _Clock:
    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = round(now - self._last, 3)
        self._last = now


class _Ready(NamedTuple):
    encoder: Any
    note: str
    key: str
    restore: Callable[[], None]  # training mode and thread count as they were


def _encoder(encoder: Any) -> _Ready:
    """The encoder, in eval mode for all batches: they are encoded side by side."""
    chosen, note = chosen_encoder(encoder)
    modules = list(chosen.modules()) if hasattr(chosen, "modules") else []
    training = [module for module in modules if module.training]
    for module in training:
        module.training = False
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else 0

    def restore() -> None:
        for module in training:
            module.training = True
        if torch:
            torch.set_num_threads(before)

    return _Ready(chosen, note, store.encoder_key(chosen), restore)


def _plain_name(name: str) -> str:
    return re.sub(r"\W+", "-", Path(name).name.split(".")[0]).strip("-") or "images"


def _page(findings: Mapping[str, Any]) -> str:
    from fallow.report import explore_page

    return explore_page(findings)


# --- pixels ---


class _Seen(NamedTuple):
    described: Described
    thumbnail: bytes
    pixels: np.ndarray


def _look(pixels: np.ndarray) -> _Seen:
    return _Seen(describe(pixels), thumbnail(pixels), pixels)


def thumbnail(pixels: np.ndarray, side: int = THUMBNAIL) -> bytes:
    """A small JPEG of one picture; very long pictures are cut to their middle."""
    from PIL import Image

    picture = Image.fromarray(pixels)
    width, height = picture.size
    longest = 3 * min(width, height)
    if max(width, height) > longest:
        left, top = max(0, (width - longest) // 2), max(0, (height - longest) // 2)
        picture = picture.crop((left, top, min(width, left + longest), min(height, top + longest)))
    scale = side / min(picture.size)
    if scale < 1:
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=70)
    return file.getvalue()


def _measured(
    images: Images,
    encoding: Executor,
    ready: Future[_Ready],
    known: tuple[list[str], store.Measured] | None,
    threads: int,
    batch: int = 64,
    ahead: int = 6,
) -> tuple[np.ndarray, store.Measured, int]:
    """Readable rows, their measurements, and how many contents had to be looked at.

    Decoding runs at most `ahead` batches before encoding, so that memory stays bounded.
    """
    hashes = images.table.column("hash").to_pylist()
    where = {key: row for row, key in enumerate(known[0])} if known else {}
    stored = len(known[0]) if known else 0
    news: dict[str, int] = {}  # unseen content -> the first row that has it
    for row, key in enumerate(hashes):
        if key not in where:
            news.setdefault(key, row)
    failed: dict[str, FileProblem] = {}
    described: list[Described] = []
    thumbnails: list[bytes] = []
    embedded: list[Future[np.ndarray]] = []
    waiting: list[np.ndarray] = []

    def encode(pixels: list[np.ndarray]) -> np.ndarray:
        encoder = ready.result().encoder
        # batches share the cores; threads inside one that wait for each other would burn them
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(max(1, (os.cpu_count() or 1) // ENCODING))
        return np.asarray(encoder.embed(pixels), np.float32)

    if news:
        unseen = images.select(list(news.values()))
        for key, (_, seen) in zip(
            news, unseen.map(_look, side=DECODE_SIDE, threads=threads), strict=True
        ):
            if not isinstance(seen, _Seen):
                failed[key] = seen  # the first such file; Images has it among its problems
                continue
            where[key] = stored + len(described)
            described.append(seen.described)
            thumbnails.append(seen.thumbnail)
            waiting.append(seen.pixels)
            if len(waiting) == batch:
                embedded.append(encoding.submit(encode, waiting))
                waiting = []
                if len(embedded) > ahead:
                    embedded[-1 - ahead].result()
    if waiting:
        embedded.append(encoding.submit(encode, waiting))
    paths = images.table.column("path")
    for row, key in enumerate(hashes):
        if key in failed and row != news[key]:
            images.problems.append(replace(failed[key], path=paths[row].as_py()))
    rows = np.array([row for row, key in enumerate(hashes) if key in where], np.int64)
    if len(rows) == 0:
        reason = f" ({images.problems[0].reason})" if images.problems else ""
        raise SourceProblem(f"none of the images in {images.name} can be decoded{reason}")
    fresh = len(described)
    if fresh:
        new = store.Measured(
            np.stack([each.measures for each in described]),
            np.array([each.hash for each in described], np.uint64),
            np.stack([each.statistics for each in described]).reshape(fresh, DIMENSION),
            np.concatenate([each.result() for each in embedded]),
            thumbnails,
        )
        everything = known[1].append(new) if known else new
    else:
        assert known is not None
        everything = known[1]
    return rows, everything.take([where[hashes[row]] for row in rows]), fresh


# --- findings ---


class _Found(NamedTuple):
    place: space.Space
    vectors: np.ndarray
    combined: bool
    near: space.Neighbours
    groups: groups.Groups
    positions: np.ndarray
    strays: np.ndarray
    exact: list[list[int]]
    alike: list[duplicates.NearGroup]
    quality: dict[str, np.ndarray]
    codes: np.ndarray
    names: list[str]
    suspects: suspects.Suspects


def _found(
    images: Images,
    rows: np.ndarray,
    measured: store.Measured,
    *,
    combined: bool,
    seed: int,
    groups: int | None,
) -> _Found:
    blocks = [measured.embedding, measured.statistics] if combined else [measured.embedding]
    place = space.fit(*blocks, seed=seed)
    vectors = place.place(*blocks)
    # groups and the rest do not need one another: two cores, two threads
    aside = ThreadPoolExecutor(1, thread_name_prefix="fallow-groups")
    grouped = aside.submit(_grouped, vectors, groups, seed)
    aside.shutdown(wait=False)
    near = space.neighbours(vectors, NEIGHBOURS, seed=seed)
    table = images.table.take(pa.array(rows))
    width, height = table.column("width").to_numpy(), table.column("height").to_numpy()
    exact = duplicates.exact_groups(table.column("hash").to_pylist())
    single = np.ones(len(rows), bool)
    for same in exact:
        single[same[1:]] = False
    chosen = np.flatnonzero(single)
    worth = np.stack(
        [width * height, table.column("bytes").to_numpy(), measured.measures[:, 4]], axis=1
    ).astype(np.float64)
    alike = [
        duplicates.NearGroup(chosen[group.items].tolist(), int(chosen[group.keep]), group.distances)
        for group in duplicates.near_groups(measured.hashes[chosen], vectors[chosen], worth[chosen])
    ]
    measures = {name: measured.measures[:, i] for i, name in enumerate(MEASURES)}
    codes, names = images.labels
    codes = np.asarray(codes)[rows]
    positions = layout.layout(vectors, near, seed=seed)
    return _Found(
        place,
        vectors,
        combined,
        near,
        grouped.result(),
        positions,
        outliers.outlier_scores(near),
        exact,
        alike,
        quality.quality({**measures, "width": width, "height": height}),
        codes,
        list(names),
        suspects.suspects(near, codes),
    )


def _grouped(vectors: np.ndarray, count: int | None, seed: int) -> groups.Groups:
    return groups.group(vectors, count=count, seed=seed)


def _result(
    images: Images,
    encoder: Any,
    key: str,
    note: str,
    rows: np.ndarray,
    measured: store.Measured,
    found: _Found,
    fresh: int,
) -> Explored:
    count = len(rows)
    flags: list[list[str]] = [[] for _ in range(count)]
    for name, listed in found.quality.items():
        for row in listed:
            flags[row].append(name)
    standing_out = outliers.outliers(found.strays)
    for row in standing_out:
        flags[row].append("outlier")
    ids = images.table.column("id").take(pa.array(rows)).to_pylist()
    copy_of: list[str | None] = [None] * count
    near_copy_of: list[str | None] = [None] * count
    for same in found.exact:
        for row in same:
            flags[row].append("exact_duplicate")
        for row in same[1:]:
            copy_of[row] = ids[same[0]]
    for group in found.alike:
        for row in group.items:
            flags[row].append("near_duplicate")
            if row != group.keep:
                near_copy_of[row] = ids[group.keep]
    suggested: list[str | None] = [None] * count
    confidence: list[float | None] = [None] * count
    doubted = found.suspects
    for row, code, sure in zip(doubted.rows, doubted.suggested, doubted.confidence, strict=True):
        flags[row].append("suspect")
        suggested[row], confidence[row] = found.names[code], float(sure)
    own: dict[str, Any] = {
        "row": rows,
        **{name: measured.measures[:, i] for i, name in enumerate(MEASURES)},
        "looks": measured.hashes,
        "x": found.positions[:, 0],
        "y": found.positions[:, 1],
        "group": found.groups.member,
        "outlier": found.strays,
        "copy_of": pa.array(copy_of, pa.string()),
        "near_copy_of": pa.array(near_copy_of, pa.string()),
        "suggested": pa.array(suggested, pa.string()),
        "confidence": pa.array(confidence, pa.float32()),
        "flags": pa.array(flags, pa.list_(pa.string())),
    }
    table = images.table.take(pa.array(rows))
    table = table.rename_columns(
        [f"{name}_given" if name in own else name for name in table.column_names]
    )
    for name, values in own.items():
        table = table.append_column(name, values if isinstance(values, pa.Array) else [values])
    findings = _findings(images, encoder, note, table, measured, found, flags, standing_out)
    return Explored(
        table,
        findings,
        images=images,
        encoder=encoder,
        key=key,
        measured=measured,
        place=found.place,
        vectors=found.vectors,
        combined=found.combined,
    )


def _findings(
    images: Images,
    encoder: Any,
    note: str,
    table: pa.Table,
    measured: store.Measured,
    found: _Found,
    flags: Sequence[Sequence[str]],
    standing_out: np.ndarray,
) -> dict[str, Any]:
    named = [found.names[code] if code >= 0 else None for code in found.codes]
    taken = ["id", "path", "width", "height", "bytes", "x", "y", "group", "outlier"]
    taken += ["sharpness", "focus", "brightness"]
    columns = {name: table.column(name).to_pylist() for name in taken}
    for name in ("x", "y", "outlier", "sharpness", "focus", "brightness"):
        columns[name] = np.round(table.column(name).to_numpy().astype(float), 4).tolist()
    columns["label"] = named
    columns["flags"] = list(flags)
    names = list(columns)
    items = [
        dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
    problems = [{"path": each.path, "reason": each.reason} for each in images.problems]
    doubted = found.suspects
    counts: dict[str, Any] = {
        "images": len(items),
        "unreadable": len(problems),
        "groups": found.groups.count,
        "exact_duplicate_groups": len(found.exact),
        "exact_duplicates": sum(len(same) for same in found.exact),
        "near_duplicate_groups": len(found.alike),
        "near_duplicates": sum(len(group.items) for group in found.alike),
        "outliers": len(standing_out),
        **{name: len(listed) for name, listed in found.quality.items()},
        "labelled": int((found.codes >= 0).sum()),
        "suspects": len(doubted.rows),
    }
    ranked = np.argsort(-found.strays, kind="stable")
    ranked = ranked[: max(len(standing_out), min(RANKED, len(items) // 20))]
    return {
        "name": images.name,
        "created": datetime.datetime.now().isoformat(" ", "minutes"),
        "settings": {"source": images.name, "fingerprint": images.fingerprint},
        "encoder": {"name": encoder.name, "note": note},
        "counts": counts,
        "headlines": _headlines(counts, found, note),
        "problems": problems,
        "items": items,
        "thumbnails": measured.thumbnails,
        "groups": [
            {
                "group": number,
                "size": int((found.groups.member == number).sum()),
                "representatives": representatives,
                "labels": _tally(named, found.groups.member == number),
            }
            for number, representatives in enumerate(found.groups.representatives)
        ],
        "group_scores": {str(k): round(v, 4) for k, v in found.groups.scores.items()},
        "separation": round(found.groups.separation, 4),
        "exact_duplicates": found.exact,
        "near_duplicates": [
            {"items": group.items, "keep": group.keep, "distances": group.distances}
            for group in found.alike
        ],
        "outliers": ranked.tolist(),
        "quality": {name: listed.tolist() for name, listed in found.quality.items()},
        "suspects": [
            {
                "item": int(row),
                "label": named[row],
                "suggested": found.names[code],
                "confidence": round(float(sure), 4),
            }
            for row, code, sure in zip(
                doubted.rows, doubted.suggested, doubted.confidence, strict=True
            )
        ],
        "label_agreement": None if doubted.agreement is None else round(doubted.agreement, 4),
    }


def _tally(named: Sequence[str | None], chosen: np.ndarray) -> dict[str, int]:
    """How often each label occurs among the chosen rows, most frequent first."""
    tally: dict[str, int] = {}
    for row in np.flatnonzero(chosen).tolist():
        name = named[row]
        if name is not None:
            tally[name] = tally.get(name, 0) + 1
    return dict(sorted(tally.items(), key=lambda pair: -pair[1]))


def _headlines(counts: Mapping[str, int], found: _Found, note: str) -> list[str]:
    """Short sentences for a terminal: the numbers somebody would ask for first."""
    unread = counts["unreadable"]
    first = _many(counts["images"], "image")
    lines = [f"{first}, {unread:,} unreadable" if unread else f"{first}, all readable"]
    copies = []
    for kind, name in (("exact", "exact-duplicate"), ("near", "near-duplicate")):
        number = counts[f"{kind}_duplicate_groups"]
        if number:
            total = _many(counts[f"{kind}_duplicates"], "image")
            copies.append(f"{_many(number, f'{name} group')} ({total})")
    lines.append(", ".join(copies) or "no duplicates")
    if found.groups.count > 1:
        clear = found.groups.separation >= groups.CLEAR
        vague = "" if clear else ", without clear borders between them"
        lines.append(f"{_many(found.groups.count, 'group')} of similar images{vague}")
    poor = [f"{counts[name]:,} {name.replace('_', '-')}" for name in found.quality if counts[name]]
    lines.append(", ".join(poor) if poor else "none blurry, dark, bright, small or oddly shaped")
    if counts["outliers"]:
        stands = "stands" if counts["outliers"] == 1 else "stand"
        lines.append(f"{_many(counts['outliers'], 'image')} {stands} apart from all others")
    judged = found.suspects
    if judged.agreement is not None:
        if not judged.judged:
            lines.append(
                "labels not judged: they do not follow from looks "
                f"(neighbours confirm {judged.agreement:.0%})"
            )
        elif counts["suspects"]:
            doubt = _many(counts["suspects"], "suspected wrong label")
            lines.append(f"{doubt} (neighbours confirm {judged.agreement:.0%} of all labels)")
        else:
            lines.append(f"no suspected wrong label (neighbours confirm {judged.agreement:.0%})")
    if note:
        lines.append(note)
    return lines


def _many(count: int, word: str) -> str:
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"
