"""Which class is a kind of which other: a tree in which a class may have several parents."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from fallow.problems import SourceProblem


class Hierarchy:
    """Classes and their direct parents; a virtual root is no class and is in no answer.

    `parts` are pairs of a whole and a part of it: a wheel is no kind of car, and takes no part in
    what follows from being one.

    >>> tree = Hierarchy([("animal", "cat"), ("animal", "dog"), ("pet", "cat")])
    >>> sorted(tree.ancestors("cat")), sorted(tree.descendants("animal"))
    (['animal', 'pet'], ['cat', 'dog'])
    """

    def __init__(
        self,
        edges: Iterable[tuple[str, str]] = (),  # parent, child
        root: str | None = None,
        parts: Iterable[tuple[str, str]] = (),
    ) -> None:
        self.root = root
        self.edges = tuple(dict.fromkeys((str(p), str(c)) for p, c in edges))
        self.parts = tuple(dict.fromkeys(parts))
        self._refuse_circles()

    def __len__(self) -> int:
        return len(self.classes)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Every class of the tree, in the order in which it is named."""
        names = dict.fromkeys(name for edge in self.edges for name in edge)
        return tuple(name for name in names if name != self.root)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.classes)}

    @cached_property
    def parents(self) -> dict[str, tuple[str, ...]]:
        """The direct parents of every class."""
        return self._direct((child, parent) for parent, child in self.edges)

    @cached_property
    def children(self) -> dict[str, tuple[str, ...]]:
        """The direct kinds of every class."""
        return self._direct(self.edges)

    def _direct(self, pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
        found: dict[str, list[str]] = {name: [] for name in self.classes}
        for name, other in pairs:
            if self.root not in (name, other):
                found[name].append(other)
        return {name: tuple(others) for name, others in found.items()}

    def ancestors(self, name: str) -> frozenset[str]:
        """All classes this one is a kind of; none for a class the tree does not know."""
        return _reached(self.parents, name)

    def descendants(self, name: str) -> frozenset[str]:
        """All kinds of this class."""
        return _reached(self.children, name)

    def leaves(self) -> tuple[str, ...]:
        """Classes without further kinds."""
        return tuple(name for name, kinds in self.children.items() if not kinds)

    def upwards(self, labels: pa.ChunkedArray) -> tuple[np.ndarray, pa.Array]:
        """For a column of classes, row numbers and the ancestors of what stands there.

        >>> tree = Hierarchy([("animal", "cat")])
        >>> rows, names = tree.upwards(pa.chunked_array([["dog", "cat"]]))
        >>> rows.tolist(), names.to_pylist()
        ([1], ['animal'])
        """
        return self._spread(labels, self.ancestors)

    def downwards(self, labels: pa.ChunkedArray) -> tuple[np.ndarray, pa.Array]:
        """For a column of classes, row numbers and the descendants of what stands there."""
        return self._spread(labels, self.descendants)

    def _spread(self, labels: Any, related: Any) -> tuple[np.ndarray, pa.Array]:
        coded = pa.chunked_array(labels).combine_chunks().dictionary_encode()
        codes = coded.indices.to_numpy(zero_copy_only=False)
        names = [sorted(related(name)) for name in coded.dictionary.to_pylist()]
        sizes = np.array([len(each) for each in names] or [0])[codes] if len(codes) else codes
        starts = np.cumsum([0, *(len(each) for each in names)])[:-1]
        rows = np.repeat(np.arange(len(codes)), sizes)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        every = pa.array([name for each in names for name in each], pa.string())
        if not len(rows):
            return rows.astype(np.int64), pa.array([], pa.string())
        return rows, every.take(pa.array(starts[codes[rows]] + within))

    def _refuse_circles(self) -> None:
        """Take leaves away until nothing is left; what stays is a circle."""
        below: dict[str, set[str]] = {}
        above: dict[str, set[str]] = {}
        for parent, child in self.edges:
            below.setdefault(parent, set()).add(child)
            above.setdefault(child, set()).add(parent)
        ready = [name for name in above if name not in below]
        while ready:
            child = ready.pop()
            for parent in above.pop(child, ()):
                below[parent].discard(child)
                if not below[parent]:
                    del below[parent]
                    ready.append(parent)
        if below:
            name = min(below)
            circle = [name]
            while (name := min(below[name])) not in circle:
                circle.append(name)
            shown = " > ".join([*circle[circle.index(name) :], name])
            raise SourceProblem(f"the class hierarchy runs in a circle ({shown}): cut it somewhere")


def _reached(steps: Mapping[str, Sequence[str]], name: str) -> frozenset[str]:
    seen: set[str] = set()
    ahead = list(steps.get(name, ()))
    while ahead:
        other = ahead.pop()
        if other not in seen:
            seen.add(other)
            ahead += steps[other]
    return frozenset(seen)


def from_json(data: bytes | str, name: str = "the hierarchy") -> Hierarchy:
    """The tree of a JSON file as Open Images has it: nested LabelName, Subcategory, Part.

    >>> from_json('{"LabelName": "/m/0", "Subcategory": [{"LabelName": "/m/1"}]}').classes
    ('/m/1',)
    """
    try:
        top = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SourceProblem(f"{name} cannot be read as JSON: {error}") from error
    if not isinstance(top, dict) or not isinstance(top.get("LabelName"), str):
        raise SourceProblem(f"{name} has no LabelName at its top: it is not a class hierarchy")
    edges: list[tuple[str, str]] = []
    parts: list[tuple[str, str]] = []
    ahead: list[dict[str, Any]] = [top]
    while ahead:
        node = ahead.pop()
        for key, pairs in (("Subcategory", edges), ("Part", parts)):
            for child in _nodes(node.get(key, []), key, name):
                pairs.append((node["LabelName"], child["LabelName"]))
                ahead.append(child)
    return Hierarchy(edges, root=top["LabelName"], parts=parts)


def to_json(tree: Hierarchy) -> str:
    """The tree as Open Images has it; a class with several parents stands below each of them.

    >>> tree = Hierarchy([("root", "pet"), ("pet", "cat")], root="root")
    >>> from_json(to_json(tree)).edges == tree.edges
    True
    """
    parts: dict[str, list[str]] = {}
    for name, part in tree.parts:
        parts.setdefault(name, []).append(part)

    def node(name: str) -> dict[str, Any]:
        made: dict[str, Any] = {"LabelName": name}
        if kinds := tree.children.get(name):
            made["Subcategory"] = [node(kind) for kind in kinds]
        if name in parts:
            made["Part"] = [{"LabelName": part} for part in parts[name]]
        return made

    tops = [name for name in tree.classes if not tree.parents[name]]
    whole = {"LabelName": tree.root or "/m/0bl9f", "Subcategory": [node(name) for name in tops]}
    return json.dumps(whole, ensure_ascii=False, indent=1)


def _nodes(value: Any, key: str, name: str) -> Iterator[dict[str, Any]]:
    if not isinstance(value, list):
        raise SourceProblem(f"{key} in {name} must be a list of classes")
    for child in value:
        if not isinstance(child, dict) or not isinstance(child.get("LabelName"), str):
            raise SourceProblem(f"a class below {key} in {name} has no LabelName")
        yield child
