"""Errors a user can act on: one sentence that says what is wrong and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class Problem(Exception):
    """Something the user can put right; the command line prints it and exits with 2."""


class SourceProblem(Problem):
    """The images cannot be opened as asked."""


class SettingProblem(Problem):
    """A setting, verb, column or encoder name is not one we know."""


class MissingPackage(Problem):
    """An optional package is needed; the message names the extra that brings it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f'this needs the package {package}: pip install "fallow[{extra}]"')


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """A tail for an error sentence: the nearest known word, or the list of all of them.

    >>> did_you_mean("resnet19", ["resnet18", "resnet50", "vit-tiny"])
    'did you mean resnet18?'
    >>> did_you_mean("zebra", ["resnet8", "vit-tiny"])
    'known: resnet8, vit-tiny'
    """
    known = sorted(choices)
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"


def out_of_memory(error: BaseException) -> bool:
    """Whether something failed because it did not fit into memory.

    >>> out_of_memory(MemoryError()), out_of_memory(RuntimeError("shapes differ"))
    (True, False)
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return any(words in str(error) for words in NO_ROOM)


NO_ROOM = (  # what torch, threads, C++, Arrow, Python and its loader say then
    "can't allocate memory",
    "can't start new thread",
    "std::bad_alloc",
    "Failed to launch worker thread",
    "returned NULL without setting an exception",
    "error return without exception set",
    "failed to map segment from shared object",
)
