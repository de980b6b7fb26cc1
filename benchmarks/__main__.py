"""python -m benchmarks NAME [--data DIR] [--peers PYTHON] [--quick]; names are below."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from pathlib import Path

from benchmarks import record
from fallow.problems import Problem

HELPERS = {"__init__", "__main__", "galleries", "peer", "photos", "record"}


def names() -> list[str]:
    """Every module or package beside this one that is a benchmark."""
    here = Path(__file__).resolve().parent
    found = {path.stem for path in here.glob("*.py")}
    found |= {path.parent.name for path in here.glob("*/__init__.py")}
    return sorted(found - HELPERS)


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=names())
    parser.add_argument("--data", type=Path, default=Path("shared/data"), help="archives' folder")
    parser.add_argument(
        "--peers",
        default=os.environ.get("FALLOW_PEERS"),
        help="python of the peers' environment (default: the variable FALLOW_PEERS)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="a moment of each, to see that it runs; not written"
    )
    asked = parser.parse_args(words)
    module = import_module(f"benchmarks.{asked.name}")
    # ALONE: the other side is written in the benchmark itself
    if not asked.peers and not getattr(module, "ALONE", False):
        parser.error("name the peers' python with --peers; benchmarks/README.md makes one")
    try:
        found = module.run(asked.data, asked.peers, asked.quick)
        # a benchmark of several questions answers one after the other, so none is lost
        for name, lines in [(asked.name, found)] if isinstance(found, list) else found:
            if asked.quick:
                print(record.table(lines))
            else:
                record.write(name, lines)
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
