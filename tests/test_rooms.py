"""A room imports only from rooms below it, and no modules in circles: read from the imports."""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "fallow"
PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"


def modules() -> dict[str, Path]:
    found = {}
    for path in SOURCE.rglob("*.py"):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path, known: dict[str, Path]) -> set[str]:
    """Modules of fallow that a file imports, anywhere in it, also for types alone."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {n.name.removeprefix("fallow").strip(".") for n in node.names
                      if n.name.split(".")[0] == "fallow"}  # fmt: skip
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "fallow":
            base = (node.module or "").removeprefix("fallow").strip(".")
            for name in node.names:
                inner = f"{base}.{name.name}".strip(".")
                found.add(inner if inner in known else base)
    return found


def order() -> list[str]:
    """The rooms from the lowest on, as docs/architecture.md lists them."""
    lines = PAGE.read_text(encoding="utf-8").split("## Order of rooms")[1].splitlines()
    return [match[1] for line in lines if (match := re.match(r"\d+\. `(\w+)`", line))]


def room(module: str) -> str:
    return module.split(".")[0]


def test_every_room_has_a_place_in_the_order():
    rooms = order()
    assert len(rooms) == len(set(rooms))
    assert {room(m) for m in modules() if m} == set(rooms)


def test_no_room_imports_from_one_above_it():
    place, known = {name: k for k, name in enumerate(order())}, modules()
    wrong = [
        f"{module} imports {other}"
        for module, path in known.items()
        for other in imported(path, known)
        # the package itself holds its version, and hands out verbs by name
        if module and other and place[room(other)] > place[room(module)]
    ]
    assert wrong == []


def test_no_modules_import_each_other_in_circles():
    known = modules()
    graph = {
        module: {other for other in imported(path, known) if other and other != module}
        for module, path in known.items()
        if module
    }
    # a package's __init__ gathers its modules, which therefore never import from it
    TopologicalSorter(graph).prepare()
