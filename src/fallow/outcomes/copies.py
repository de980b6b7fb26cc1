"""Changed copies of pictures: where they go, what they are called, and how far they are changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fallow.files import inside
from fallow.images.places import Local
from fallow.images.stores import Folder
from fallow.measure import psnr, ssim
from fallow.outcomes.pictures import save_picture
from fallow.outcomes.result import writable
from fallow.problems import SourceProblem

if TYPE_CHECKING:
    from fallow.images import Images

CENTRE = 512  # px, the middle of a picture that SSIM looks at
SHOWN = 12  # pictures in the report


def folders_apart(images: Images, out: Any, private: Any) -> tuple[Path, Path]:
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
    store = images.store
    if type(store) is not Folder or not isinstance(store.root, Local) or len(store.names) < 2:
        return None
    return Path(store.root.path).resolve()


def copy_names(ids: Sequence[str]) -> list[str]:
    """A PNG file for each image, where it lay; two that would share a name keep their endings.

    >>> copy_names(["a/b.jpg", "a/b.webp", "../c.png"])
    ['a/b.jpg.png', 'a/b.webp.png', 'c.png']
    """
    safe = [PurePosixPath(inside(key)) for key in ids]
    short = [str(path.with_suffix(".png")) for path in safe]
    often: dict[str, int] = {}
    for name in short:
        often[name.lower()] = often.get(name.lower(), 0) + 1
    return [
        name if often[name.lower()] == 1 else f"{path}.png"
        for name, path in zip(short, safe, strict=True)
    ]


def refuse_existing(place: Path, names: Sequence[str]) -> None:
    there = next((name for name in names if (place / name).exists()), None)
    if there is not None:
        raise SourceProblem(
            f"{place} already holds {there}: choose an empty folder for the copies with out="
        )


def write_copies(
    images: Images, made: Any, clusters: np.ndarray, place: Path, names: Sequence[str]
) -> tuple[pa.Table, list[tuple[np.ndarray, np.ndarray]]]:
    """All copies, a row for each, and a few pictures with their copies for the report."""

    rows: list[dict[str, Any]] = []
    shown: list[tuple[np.ndarray, np.ndarray]] = []
    wanted = set(_spread_out(clusters))
    known = images.table.select(["id", "path", "hash"]).to_pylist()
    for row, pixels in images.map(lambda pixels: pixels):
        cluster = int(clusters[row])
        if not isinstance(pixels, np.ndarray) or cluster < 0:
            continue
        copy = made.protect(pixels, cluster)
        save_picture(place / names[row], copy)
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
