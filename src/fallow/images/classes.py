"""Classes of masks: their names, the values that stand for them, what is not to be judged."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fallow.files import plain_yaml
from fallow.problems import SettingProblem, SourceProblem

if TYPE_CHECKING:
    pass

IGNORE = 255
MOST = 64  # classes; more are instances, or a mask saved as JPEG


@dataclass(frozen=True)
class Classes:
    """The classes of a set of masks: names, the values files hold, colours to show them in."""

    names: tuple[str, ...]
    values: tuple[int, ...]
    colours: tuple[tuple[int, int, int], ...]
    ignore: tuple[int, ...] = ()
    instances: bool = False  # numbered objects: any number but 0 is the one class
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __len__(self) -> int:
        return len(self.values)

    def codes(self, mask: np.ndarray, name: str = "a mask") -> np.ndarray:
        """A file's values as class codes, uint8; a value nobody named is a Problem.

        >>> classes = named_classes({"ground": 0, "cell": 7}, ignore=[9])
        >>> classes.codes(np.array([[0, 7, 9]])).tolist()
        [[0, 1, 255]]
        """
        if self.instances:
            return (mask != 0).astype(np.uint8)
        codes = np.full(mask.shape, 254, np.uint8)
        for code, value in enumerate(self.values):
            codes[mask == value] = code
        for value in self.ignore:
            codes[mask == value] = IGNORE
        unknown = codes == 254
        if unknown.any():
            value = int(mask[unknown][0])
            raise SourceProblem(
                f"{name} holds {shown(value)} ({unknown.mean():.1%} of it), which is no class: "
                f"known are {', '.join(shown(v) for v in (*self.values, *self.ignore))}; "
                "add it to classes, or to ignore"
            )
        return codes

    def written(self, codes: np.ndarray) -> np.ndarray:
        """Codes as the values of the user's own files, where a byte can hold them.

        >>> classes = named_classes({"ground": 0, "cell": 7}, ignore=[9])
        >>> classes.written(np.array([[0, 1, 255]])).tolist()
        [[0, 7, 9]]
        """
        left = codes == IGNORE
        values = np.where(left, 0, codes)
        if max(self.values) < 256:
            values = np.array(self.values, np.uint8)[values]
        unjudged = self.ignore[0] if self.ignore and self.ignore[0] < 256 else IGNORE
        return np.where(left, unjudged, values).astype(np.uint8)

    def palette(self) -> list[int]:
        """768 numbers: the colours of the values `written` gives."""
        table = np.zeros((256, 3), int)
        where = range(len(self)) if max(self.values) > 255 else self.values
        for place, colour in zip(where, self.colours, strict=True):
            table[place] = colour
        return table.ravel().tolist()


def shown(value: int) -> str:
    """A mask value as people know it: a small number, or a colour.

    >>> shown(7), shown(0xFF0080)
    ('7', '#ff0080')
    """
    return str(value) if value < 65536 else f"#{value:06x}"


def named_classes(classes: Any, ignore: Sequence[Any] = ()) -> Classes:
    """Classes a user names: {name: value}, a list of names for 0, 1, ..., or a YAML file of these.

    A value is a number, "#rrggbb" or [red, green, blue]. A key `ignore` lists values that are
    not to be judged.

    >>> named_classes({"ground": "#000000", "car": [255, 0, 0]}).values
    (0, 16711680)
    """
    if isinstance(classes, (str, os.PathLike)):
        classes = _yaml(Path(classes))
    if isinstance(classes, Sequence):
        classes = {str(name): value for value, name in enumerate(classes)}
    if not isinstance(classes, Mapping):
        raise SettingProblem("classes are names with their mask values, such as {ground: 0}")
    said = dict(classes)
    skipped = said.pop("ignore", [])
    given = [*ignore, *(skipped if isinstance(skipped, list) else [skipped])]
    values = [_value(value) for value in said.values()]
    if len(set(values)) != len(values):
        raise SettingProblem("two classes have the same mask value: give each its own")
    if len(values) < 2:
        raise SettingProblem("name at least two classes, of which one may be the background")
    order = np.argsort(values, kind="stable")
    names = [str(name) for name in said]
    return _classes(
        [names[k] for k in order], [values[k] for k in order], [_value(v) for v in given]
    )


def _classes(
    names: Sequence[str],
    values: Sequence[int],
    ignore: Sequence[int] = (),
    instances: bool = False,
    notes: Sequence[str] = (),
) -> Classes:
    from fallow.colours import palette

    if max(values) > 65535:
        colours = [(v >> 16 & 255, v >> 8 & 255, v & 255) for v in values]
    else:
        hues = [
            tuple(int(c[k : k + 2], 16) for k in (1, 3, 5)) for c in palette(len(values) + 1)[2:]
        ]
        colours = [(0, 0, 0), *hues]  # type: ignore[list-item]
    return Classes(
        tuple(names), tuple(values), tuple(colours), tuple(ignore), instances, tuple(notes)
    )


def _value(value: Any) -> int:
    if isinstance(value, str) and re.fullmatch(r"#[0-9a-fA-F]{6}", value):
        return int(value[1:], 16)
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 3:
        red, green, blue = (int(part) for part in value)
        return red << 16 | green << 8 | blue
    try:
        return int(value)
    except (TypeError, ValueError):
        raise SettingProblem(
            f"{value!r} is no mask value: give a number, #rrggbb or [red, green, blue]"
        ) from None


def _yaml(path: Path) -> Any:
    import yaml

    try:
        return plain_yaml(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise SettingProblem(f"cannot read classes from {path}: {error}") from None


def found_classes(masks: Mapping[str, np.ndarray], ignore: Sequence[Any] = ()) -> Classes:
    """Classes read off the masks themselves.

    Values in their order are the classes; 255 beside 0 ... K - 1 is left unjudged, as usual; masks
    that number their objects make two classes, background and object.

    >>> found_classes({"a": np.array([[0, 1], [2, 255]])}).ignore
    (255,)
    """
    skipped = [_value(value) for value in ignore]
    seen = {name: np.setdiff1d(np.unique(mask), skipped) for name, mask in masks.items()}
    values = [int(v) for v in np.unique(np.concatenate(list(seen.values())))]
    notes = []
    if _numbered(masks, seen):
        note = "the masks number their objects: all of them are taken for one class"
        return _classes(["background", "object"], [0, 1], skipped, True, [note])
    if len(values) > MOST or _smeared(masks, values):
        raise SourceProblem(
            f"the masks hold {len(values):,} different values such as {shown(values[1])}: "
            "save masks as PNG with one value for each class (JPEG smears them), or name "
            "their classes"
        )
    if len(values) > 2 and values == [*range(len(values) - 1), IGNORE]:
        skipped.append(values.pop())
        notes.append("the value 255 is taken for places that are not to be judged")
    if len(values) < 2:
        only = shown(values[0]) if values else "nothing but ignored places"
        raise SourceProblem(
            f"all masks hold one class only ({only}): there is nothing to tell apart; "
            "mark what you look for in at least one of them"
        )
    names = [f"class {shown(value)}" for value in values]
    if len(values) == 2:
        names = ["background", "object"]
    return _classes(names, values, skipped, False, notes)


def _smeared(masks: Mapping[str, np.ndarray], values: Sequence[int]) -> bool:
    """Whether most values are next to none of the pixels, as around the edges of a JPEG."""
    if len(values) < 6 or not 2 * len(values) <= values[-1] <= 255:
        return False
    seen = [np.bincount(mask[mask < 256].ravel(), minlength=256) for mask in masks.values()]
    counts = np.sum(seen, 0)
    share = counts[np.array(values)] / max(1, int(counts.sum()))
    return bool((share < 0.01).sum() > len(values) / 2)


def _numbered(masks: Mapping[str, np.ndarray], seen: Mapping[str, np.ndarray]) -> bool:
    """Whether values number objects: 1 ... n, each of a single piece, n unlike in each mask."""
    from scipy.ndimage import label

    most = [int(values.max()) if len(values) else 0 for values in seen.values()]
    full = all(len(v) >= v.max() for v in seen.values() if len(v) and v.max())
    if max(most) < 5 or not full or max(most) > 65535 or (len(most) > 1 and len(set(most)) == 1):
        return False
    whole = total = 0
    for name, values in seen.items():
        for value in values[values > 0][:64]:
            total += 1
            whole += label(masks[name] == value, np.ones((3, 3)))[1] == 1
    return whole >= 0.9 * total
