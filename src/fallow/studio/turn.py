"""One run of a queue in this process: its turn waited for, then `python -m fallow VERB ...`.

It says who it is and how it ended itself, so that this is known whoever is killed meanwhile.
"""

from __future__ import annotations

import os
import runpy
import sys
import time
import traceback
from pathlib import Path

from fallow.files import cache_dir, locked, write_json
from fallow.studio.processes import born


def main(files: Path, module: str, words: list[str]) -> int:
    """The exit code of the command line."""
    who = {"pid": os.getpid(), "born": born(os.getpid())}
    write_json(files / "process.json", who)
    turn = cache_dir() / "studio" / "turn.lock"
    turn.parent.mkdir(parents=True, exist_ok=True)
    with locked(turn):  # studios of other collections have queues of their own, on the same cores
        write_json(files / "process.json", {**who, "turn": time.time()})
        code = _run(module, words)
    write_json(files / "ended.json", {"code": code})
    return code


def _run(module: str, words: list[str]) -> int:
    sys.argv = [module, *words]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
