"""Pictures for people: small ones for pages, whole ones as files; written whole or not at all."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fallow.files import atomic_write

if TYPE_CHECKING:
    from fallow.images import Images

THUMBNAIL = 80  # short side, pixels
_FORMS = {".png": "PNG", ".jpg": "JPEG", ".tif": "TIFF", ".webp": "WEBP"}


def save_picture(path: str | Path, picture: Any) -> Path:
    """An array (H W or H W 3) or a Pillow picture as a file; the ending says which kind.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "below" / "grey.png"
    >>> save_picture(file, np.zeros((2, 3), np.uint8)).stat().st_size > 50
    True
    """
    from PIL import Image

    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    made = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    with atomic_write(target) as file:
        made.save(file, _FORMS[target.suffix])
    return target


def jpeg(pixels: np.ndarray, side: int, quality: int = 80) -> bytes:
    """A picture that fits into a square of that side, as JPEG."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return _bytes(picture, quality)


def thumbnail(pixels: np.ndarray, side: int = THUMBNAIL) -> bytes:
    """A picture whose short side is at most `side`, as JPEG; very long ones lose their ends."""
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
    return _bytes(picture, 70)


def _bytes(picture: Any, quality: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


def shrunk(pixels: np.ndarray, longest: int) -> np.ndarray:
    """A picture whose long side is at most `longest`.

    >>> shrunk(np.zeros((100, 50, 3), np.uint8), 20).shape
    (20, 10, 3)
    """
    from PIL import Image

    height, width = pixels.shape[:2]
    scale = max(1.0, max(height, width) / longest)
    size = (max(1, round(width / scale)), max(1, round(height / scale)))
    return np.array(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))


def stretched(values: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """A map (h w, or N h w) at another size, in between its places linearly."""
    import torch
    from torch.nn import functional as F

    flat = torch.from_numpy(np.ascontiguousarray(values, np.float32))
    many = flat[None] if flat.ndim == 2 else flat
    large = F.interpolate(many[:, None], tuple(size), mode="bilinear", align_corners=False)[:, 0]
    return large[0].numpy() if flat.ndim == 2 else large.numpy()  # type: ignore[no-any-return]


def thumbnails(images: Images) -> Callable[[Sequence[int], int], Iterator[bytes]]:
    """Small pictures of some rows, read when a report asks for them; empty where unreadable."""

    def read(rows: Sequence[int], side: int) -> Iterator[bytes]:
        chosen = images.select(list(rows))
        for _, seen in chosen.map(lambda pixels: thumbnail(pixels, side), side=2 * side):
            yield seen if isinstance(seen, bytes) else b""

    return read


def pairs_of_jpegs(
    pictures: Iterable[tuple[np.ndarray, np.ndarray]], side: int
) -> Iterator[tuple[bytes, bytes]]:
    """Pictures side by side with what was made of them, for a page."""
    for one, other in pictures:
        yield jpeg(one, side), jpeg(other, side)
