"""Counts and lists as words: one small vocabulary for everything that is said to people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def counted(count: int, one: str, many: str = "") -> str:
    """A number of things.

    >>> counted(1, "file"), counted(1200, "copy", "copies")
    ('1 file', '1,200 copies')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def some(names: Sequence[Any], most: int = 3) -> str:
    """The first few of many.

    >>> some(["a", "b"]), some("abcde")
    ('a, b', 'a, b, c, ...')
    """
    shown = ", ".join(str(name) for name in names[:most])
    return shown + (", ..." if len(names) > most else "")


def unreadable(problems: Sequence[Any]) -> list[str]:
    """A line on files that could not be read, where there are any.

    >>> unreadable([]), unreadable(["a.jpg"])
    ([], ['1 file could not be read'])
    """
    return [f"{counted(len(problems), 'file')} could not be read"] if len(problems) else []
