"""python -m claims <slug> --data DIR [--minutes 10]: run one claim, write its results."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

from claims import record
from fallow.problems import Problem, did_you_mean

HELPERS = {"__init__", "__main__", "arms", "captioned", "carried", "kept", "masks", "record"}


def slugs() -> list[str]:
    """Every module beside this one that is a claim."""
    here = Path(__file__).resolve().parent
    return sorted(path.stem for path in here.glob("*.py") if path.stem not in HELPERS)


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m claims", description=__doc__)
    parser.add_argument("slug", help="one of: " + ", ".join(slugs()))
    parser.add_argument("--data", type=Path, required=True, help="folder of archives")
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="for the whole claim, shared by all its runs"
    )
    asked = parser.parse_args(words)
    try:
        if asked.slug not in slugs():
            raise Problem(f"no claim {asked.slug}: {did_you_mean(asked.slug, slugs())}")
        module = import_module(f"claims.{asked.slug.replace('-', '_')}")
        target = record.write(asked.slug, module.run(asked.data, asked.minutes))
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 2
    print(f"claims/results/{target.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
