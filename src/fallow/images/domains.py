"""Groups of images that share hospital, camera or region: one number from some columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fallow.problems import SettingProblem, SourceProblem, did_you_mean

if TYPE_CHECKING:
    from fallow.images.collection import Images


@dataclass(frozen=True)
class Groups:
    """A group for every image, how many groups there are (some may be empty), and their names."""

    codes: np.ndarray  # N
    names: list[str]

    @property
    def count(self) -> int:
        return len(self.names)

    @property
    def sizes(self) -> np.ndarray:
        """Images of every group, also of those that have none."""
        return np.bincount(self.codes, minlength=self.count)


def group_codes(values: np.ndarray, counts: Sequence[int] | np.ndarray) -> np.ndarray:
    """Columns of small numbers (N, D) as one: the first column changes fastest.

    `counts` says how many values every column can have. No column: one group.

    >>> group_codes(np.array([[2, 0], [0, 1], [2, 1]]), [3, 2]).tolist()
    [2, 3, 5]
    """
    values = np.asarray(values)
    if values.size and values.min() < 0:
        raise SourceProblem(
            "a column to group by has unknown values, below 0: leave it out, or those images"
        )
    factors = np.cumprod([1, *counts[:-1]]) if len(counts) else np.zeros(0, np.int64)
    return (values * factors).sum(1).astype(np.int64)


def groups_of_numbers(
    values: np.ndarray,
    fields: Sequence[str],
    chosen: Sequence[str],
    names: Mapping[str, Sequence[str]] | None = None,
) -> Groups:
    """Groups by some columns of a table of numbers (N, D), as WILDS data sets hold them.

    Columns count in the order of the table, in numbers and names alike, whatever order they are
    chosen in. `names` says what a column's numbers stand for.

    >>> found = groups_of_numbers(np.array([[1, 0], [0, 2]]), ["site", "y"], ["y", "site"])
    >>> found.codes.tolist(), found.count, found.names[1]
    ([1, 4], 6, 'site = 1, y = 0')
    """
    for column in chosen:
        if column not in fields:
            raise SettingProblem(f"there is no column {column}: {did_you_mean(column, fields)}")
    places = [place for place, field in enumerate(fields) if field in chosen]
    if not places:
        return Groups(np.zeros(len(values), np.int64), ["all"])
    table = np.asarray(values)[:, places]
    shown = []
    for column, place in zip(table.T, places, strict=True):
        field, most = fields[place], int(column.max(initial=0)) + 1
        said = list((names or {}).get(field, []))
        said += [str(number) for number in range(len(said), most)]
        shown.append([f"{field} = {value}" for value in said])
    codes = group_codes(table, [len(some) for some in shown])
    together = shown[0]
    for some in shown[1:]:  # the first column changes fastest
        together = [f"{name}, {value}" for value in some for name in together]
    return Groups(codes, together)


def groups_of(images: Images, columns: Sequence[str]) -> Groups:
    """Groups by columns of a collection; a missing value is a value of its own, `unknown`.

    >>> from fallow.images.sources import open
    >>> table = {"label": ["a", "b", "b"], "site": ["x", "x", "y"]}
    >>> images = open([np.full((2, 2), v, np.uint8) for v in range(3)])
    >>> images = images.join({"path": images.column("path"), **table})
    >>> found = groups_of(images, ["site", "label"])
    >>> [found.names[code] for code in found.codes]
    ['label = a, site = x', 'label = b, site = x', 'label = b, site = y']
    """
    for column in columns:
        if column not in images.columns:
            raise SettingProblem(
                f"there is no column {column}: {did_you_mean(column, images.columns)}"
            )
    codes, names = [], {}
    ordered = [column for column in images.columns if column in columns]
    for column in ordered:
        values = ["unknown" if _missing(v) else str(v) for v in images.column(column).tolist()]
        known, code = np.unique(np.array(values, dtype=str), return_inverse=True)
        codes.append(code)
        names[column] = known.tolist()
    table = np.stack(codes, 1) if codes else np.zeros((len(images), 0), np.int64)
    return groups_of_numbers(table, ordered, ordered, names)


def _missing(value: object) -> bool:
    return value is None or value != value
