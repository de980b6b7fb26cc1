"""From pictures of torn pieces to groups: cut out, looked at once each, matched, laid together."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from fallow.images import FileProblem, Images
from fallow.images import open as open_images
from fallow.images.masks import with_masks
from fallow.images.tearing import Piece, on_ground
from fallow.methods.match.pairingnet import Match, Matcher, ranking
from fallow.methods.shared.assembling import Group, Join, Joining, Shape, assembled, good, laid
from fallow.methods.shared.pieces import Outline, seen, shrunk
from fallow.problems import SourceProblem
from fallow.regions.contours import NoOutline, outline
from fallow.regions.pieces import pieces_in
from fallow.regions.rigid import moved


@dataclass(frozen=True)
class Fragments:
    """Pieces with the names of the pictures they were cut from."""

    names: list[str]
    pieces: list[Piece]
    rows: list[int]  # of the pictures
    notes: list[str]

    def __len__(self) -> int:
        return len(self.pieces)


def gathered(images: Images) -> Fragments:
    """The pieces in all pictures; what cannot be used joins the pictures' problems.

    A picture of several pieces gives several; a piece that is there twice counts once.
    """
    names: list[str] = []
    pieces: list[Piece] = []
    rows: list[int] = []
    known: dict[bytes, str] = {}
    repeated: list[tuple[str, str]] = []
    refused: list[str] = []
    for row, key in enumerate(images.column("id").tolist()):
        found, reason = _cut(images, row)
        if reason:
            images.problems.add(FileProblem(key, reason))
            refused.append(f"{key}: {reason}")
        for number, piece in enumerate(found, 1):
            name = key if len(found) == 1 else f"{key} piece {number}"
            held = np.where(piece.mask[..., None], piece.pixels, 0)
            print_ = hashlib.blake2b(held.tobytes() + piece.mask.tobytes()).digest()
            if print_ in known:
                repeated.append((name, known[print_]))
                continue
            known[print_] = name
            names.append(name)
            pieces.append(piece)
            rows.append(row)
    if not pieces:
        raise SourceProblem(f"no piece in {images.name} can be used; {refused[0]}")
    if len(pieces) == 1:
        raise SourceProblem(
            f"all pieces in {images.name} are copies of {names[0]}: give pieces that differ"
            if repeated
            else f"{images.name} holds one piece, {names[0]}, and two are the least to match"
        )
    notes = []
    if repeated:
        one, other = repeated[0]
        count = len(repeated)
        notes.append(
            f"{count} {'piece is' if count == 1 else 'pieces are'} left out as a copy of another, "
            f"such as {one} of {other}."
        )
    return Fragments(names, pieces, rows, notes)


def _cut(images: Images, row: int) -> tuple[list[Piece], str]:
    """The pieces of one picture, or why there are none."""
    try:
        pixels = images.read(row)
    except SourceProblem:
        return [], ""  # it is among the problems already
    try:
        return pieces_in(pixels, images.opacity(row)), ""
    except SourceProblem as error:
        return [], str(error)


def to_learn_from(fragments: Fragments) -> Images:
    """The pieces as pictures with masks: torn further, they teach how pieces of them fit."""
    images = open_images([on_ground(piece) for piece in fragments.pieces], name="pieces")
    return with_masks(images, {k: p.mask.astype(np.uint8) for k, p in enumerate(fragments.pieces)})


@dataclass(frozen=True)
class Assembly:
    """What became of some pieces; lengths of joins in pixels of the matched scale."""

    fragments: Fragments
    scale: float  # of the pieces when they were matched
    alike: np.ndarray  # N N, -1 on the diagonal
    outlines: list[Outline]  # at the matched scale
    matches: dict[tuple[int, int], Match]
    joins: list[Join]  # the good ones, the best first
    groups: list[Group]

    def places(self, group: Group) -> dict[int, np.ndarray]:
        """A group's maps for the pieces at their full size.  each 2 3"""
        shift = _shift(self.scale)
        found = {}
        for k, place in group.places.items():
            whole = place.copy()
            whole[:, 2] = (place[:, :2] @ [shift, shift] + place[:, 2]) / self.scale
            found[k] = whole
        return found

    def map(self, join: Join) -> np.ndarray:
        """A join's map between the pieces at their full size.  2 3"""
        shift = np.full(2, _shift(self.scale))
        whole = join.map.copy()
        whole[:, 2] = (join.map[:, :2] @ shift + join.map[:, 2] - shift) / self.scale
        return whole

    def points(self, piece: int, places: np.ndarray) -> np.ndarray:
        """Some points of a piece's outline at its full size.  m 2"""
        return (self.outlines[piece].points[places] - _shift(self.scale)) / self.scale


def _shift(scale: float) -> float:
    """Where the corner pixel of a piece lies once it is shrunk."""
    return (scale - 1) / 2 + 1


def put_together(
    matcher: Matcher,
    fragments: Fragments,
    *,
    candidates: int = 10,
    how: Joining | None = None,
    seed: int = 0,
    tell: Callable[[str], None] = lambda line: None,
) -> Assembly:
    """Rank every piece's neighbours, match the likeliest of them, and lay together what fits."""
    how = how or Joining()
    fragments, scale, small, outlines = _at_scale(matcher, fragments)
    known = matcher.know(outlines)
    alike = ranking(known.codes, known.met_codes)
    tell(f"{len(fragments)} pieces looked at, at {scale:.0%} of their size")
    pairs = _likeliest(alike, candidates)
    matches = {pair: matcher.match(known, outlines, *pair, seed) for pair in pairs}
    shapes = [Shape.of(piece, outline(piece.mask)) for piece in small]
    joins = []
    for pair, match in matches.items():  # of a pair's maps the one that lies best
        tried = (laid(shapes, *pair, fit.map) for fit in match.fits)
        best = max((one for one in tried if good(one, how)), key=_score, default=None)
        if best is not None:
            joins.append(best)
    joins.sort(key=lambda one: -one.score)
    tell(f"{len(pairs)} pairs tried, {len(joins)} of them fit")
    groups = assembled(shapes, joins, how)
    return Assembly(fragments, scale, alike, outlines, matches, joins, groups)


def _at_scale(
    matcher: Matcher, fragments: Fragments
) -> tuple[Fragments, float, list[Piece], list[Outline]]:
    """All pieces at the one scale at which they are as large as those that were learnt from."""
    lengths = []
    for piece in fragments.pieces:
        with suppress(NoOutline):
            lengths.append(len(outline(piece.mask)))
    if not lengths:
        raise SourceProblem("none of the pieces has an outline: give larger pictures of them")
    scale = float(np.clip(matcher.typical / np.median(lengths), 0.02, 2.0))
    kept: list[int] = []
    small: list[Piece] = []
    outlines: list[Outline] = []
    lost: list[str] = []
    for k, piece in enumerate(fragments.pieces):
        made = shrunk(piece, scale)
        try:
            outlines.append(seen(made, matcher.look))
        except NoOutline:
            lost.append(fragments.names[k])
            continue
        kept.append(k)
        small.append(made)
    if len(kept) < 2:
        raise SourceProblem(
            f"{lost[0]} is far smaller than the other piece: scan both at the same resolution"
        )
    notes = list(fragments.notes)
    if lost:
        notes.append(
            f"{len(lost)} of the pieces are far smaller than the others and left out, such as "
            f"{lost[0]}."
        )
    some = Fragments(
        [fragments.names[k] for k in kept],
        [fragments.pieces[k] for k in kept],
        [fragments.rows[k] for k in kept],
        notes,
    )
    return some, scale, small, outlines


def _score(join: Join) -> float:
    return join.score


def _likeliest(alike: np.ndarray, candidates: int) -> list[tuple[int, int]]:
    """Pairs (each once) of which one is among the other's first neighbours.

    >>> _likeliest(np.array([[-1.0, 0.9, 0.1], [0.9, -1.0, 0.2], [0.1, 0.2, -1.0]]), 1)
    [(0, 1), (1, 2)]
    """
    count = min(candidates, len(alike) - 1)
    order = np.argsort(-alike, axis=1, kind="stable")[:, :count]
    found = {(min(k, int(j)), max(k, int(j))) for k, row in enumerate(order) for j in row}
    return sorted(found)


def rightly_placed(
    group: dict[int, np.ndarray], truth: Sequence[np.ndarray], size: float, near: float = 0.05
) -> int:
    """How many pieces of a group lie as in their picture, up to a common turn and shift.

    `truth` holds for each piece the map from its picture (2 3); a piece lies right when its middle
    is within `near` of the picture's size where the group's first piece says it should be.
    """
    from fallow.regions.rigid import after, inverse

    first = min(group)
    back = after(inverse(truth[first]), inverse(group[first]))  # the group's plane -> the picture
    middle = np.zeros((1, 2))
    right = 0
    for k, place in group.items():
        said = moved(moved(middle, place), back)
        true = moved(middle, inverse(truth[k]))
        right += bool(np.linalg.norm(said - true) <= near * size)
    return right
