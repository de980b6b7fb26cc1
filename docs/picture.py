"""Photograph a report for the README: python docs/picture.py report.html docs/explore.png"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from shutil import which

QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--hide-scrollbars", "--virtual-time-budget=8000")  # fmt: skip


def photograph(
    report: Path, picture: Path, width: int, height: int, *, dark: bool, hash_: str
) -> None:
    """The top of a page as a PNG; the hash says what the page should show, such as map=12."""
    browser = which("chromium")
    if browser is None:
        sys.exit("no chromium here: apt-get install chromium")
    scheme = 0 if dark else 1
    # windows narrower than 500 pixels do not exist, so a phone is a frame in a wider page
    with tempfile.TemporaryDirectory() as profile:
        address = report.resolve().as_uri() + (f"#{hash_}" if hash_ else "")
        frame = Path(profile) / "frame.html"
        frame.write_text(
            f'<body style="margin:0"><iframe src="{address}" width="{width}" height="{height}" '
            'style="border:0;display:block"></iframe>'
        )
        target = frame.as_uri() if width < 500 else address
        subprocess.run(
            [browser, *QUIET, f"--user-data-dir={profile}/profile",
             f"--blink-settings=preferredColorScheme={scheme}",
             f"--window-size={width},{height}", f"--screenshot={picture.resolve()}", target],
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path)
    parser.add_argument("picture", type=Path, nargs="?", default=Path("docs/explore.png"))
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=1160)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--hash", default="", help="what the page should show, such as map=12")
    given = parser.parse_args()
    photograph(
        given.report, given.picture, given.width, given.height, dark=given.dark, hash_=given.hash
    )


if __name__ == "__main__":
    main()
