"""Every picture judged by its own reference: found, laid over it, and compared place by place."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fallow.encoders.maps import look
from fallow.files import inside
from fallow.images import Images
from fallow.inventory.registered import laid_over
from fallow.methods.shared.crowd import Crowd, described
from fallow.methods.shared.nearness import mirrored, points_of, searching
from fallow.methods.shared.oddness import Found, Tell
from fallow.problems import SourceProblem

WINDOW = 1  # patches by which a registered reference may still lie beside its picture
TOLD = 100  # pictures after which is said how far it has got


class Partners(NamedTuple):
    """Which reference belongs to each picture, and how that was found."""

    rows: np.ndarray  # N
    by_name: bool


class Beside(NamedTuple):
    """How pictures and their references met."""

    by_name: bool
    laid: int  # pictures whose reference could be registered
    astray: list[str]  # paths of the others, which are compared as they are


def stem(path: str) -> str:
    """The name of a file without folder and ending.

    >>> stem("a/b/part 7.front.PNG")
    'part 7.front'
    """
    name = inside(path).rsplit("/", 1)[-1]
    return name.rpartition(".")[0] or name


def by_name(paths: list[str], references: list[str]) -> np.ndarray | None:
    """The reference of the same name for each picture; None unless each has exactly one.

    >>> by_name(["a/1.png", "a/2.png"], ["b/2.jpg", "b/1.jpg"])
    array([1, 0])
    """
    names = [stem(path) for path in references]
    often = Counter(names)
    place = {name: row for row, name in enumerate(names)}
    wanted = [stem(path) for path in paths]
    if any(often[name] != 1 for name in wanted):
        return None
    return np.array([place[name] for name in wanted])


class Paired(Crowd):
    """Patches compared with those at their place in the picture's own reference."""

    def partners(self, images: Images, references: Images) -> Partners:
        """By name where every picture has one of its name, else by likeness."""
        paths = (list(each.column("path")) for each in (images, references))
        named = by_name(*paths)
        if named is not None:
            return Partners(named, True)
        ours, _ = self.vectors(images)
        theirs, rows = self.vectors(references)
        theirs = theirs[rows]
        return Partners(np.array(rows)[(ours @ theirs.T).argmax(1).numpy()], False)

    def vectors(self, images: Images) -> tuple[Tensor, list[int]]:
        """Unit vectors, zero for what cannot be read; and the rows that can."""
        seen = list(look(self.encoder, images, self.how))
        if not seen:
            raise SourceProblem(f"none of the images in {images.name} can be decoded")
        rows = [row for each in seen for row in each.rows]
        found = torch.cat([each.vectors for each in seen]).cpu()
        held = torch.zeros(len(images), found.shape[1])
        held[rows] = found
        return held, rows

    def beside(self, images: Images, references: Images, tell: Tell) -> tuple[Found, Beside]:
        """Patch scores of pictures beside their references."""
        partners = self.partners(images, references)
        near = searching(int(np.prod(self.how.grid)), self._window, self.how.grid)
        rows, scores, vectors, astray = [], [], [], []
        for row in range(len(images)):
            try:
                picture = images.read(row)
                other = references.read(int(partners.rows[row]))
            except SourceProblem:
                continue  # the collection lists it among its problems
            laid = laid_over(picture, other)
            seen = laid.seen
            if not laid.lies:
                astray.append(str(images.column("path")[row]))
                laid, seen = laid._replace(pixels=other), np.ones_like(seen)
            (both,) = look(self.encoder, [picture, laid.pixels], self.how)
            apart = torch.zeros(self.how.grid)
            for degree in self.settings.degrees:
                features = described([each.cpu() for each in both.maps], degree)
                points = points_of(features, features.mean((0, 1)), bf16=False)
                ((_, there, _),) = near(points[0], mirrored(points[1:]), 0)
                apart += (-2 * there[0]).clamp(min=0).sqrt().view(self.how.grid)
            rows.append(row)
            vectors.append(both.vectors[:1].cpu())
            scores.append(
                np.where(shown(seen, self.how.grid), apart / len(self.settings.degrees), 0)
            )
            if len(rows) % TOLD == 0:
                tell(f"{len(rows)} of {len(images)} images beside their references")
        if not rows:
            raise SourceProblem(f"no image of {images.name} can be read beside its reference")
        found = Found(np.array(rows), np.stack(scores).astype(np.float32), torch.cat(vectors))
        return found, Beside(partners.by_name, len(rows) - len(astray), astray)

    @property
    def _window(self) -> int:
        return WINDOW if self.settings.window is None else int(self.settings.window)


def shown(seen: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """The places of a grid that the reference shows nearly all of.

    >>> shown(np.arange(8).reshape(1, 8).repeat(4, 0) < 6, (1, 4)).tolist()
    [[True, True, True, False]]
    """
    whole = torch.from_numpy(seen.astype(np.float32))[None]
    return (torch.nn.functional.adaptive_avg_pool2d(whole, grid)[0] > 0.9).numpy()
