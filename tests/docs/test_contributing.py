"""docs/contributing.md does what it says: its verb and its system, in a copy of the package."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def copied(tmp_path_factory) -> Path:
    """The package with the page's two files, and the one line that makes a room of systems."""
    place = tmp_path_factory.mktemp("contributed")
    package = place / "fallow"
    shutil.copytree(ROOT / "src" / "fallow", package, ignore=shutil.ignore_patterns("__pycache__"))
    files = re.findall(r"`src/fallow/(\S+\.py)`.*?```python\n(.*?)```", PAGE, re.S)
    assert [name for name, _ in files] == ["verbs/tint.py", "methods/tint/plain.py"]
    for name, text in files:
        (package / name).parent.mkdir(exist_ok=True)
        (package / name).write_text(text)
    (package / "methods/tint/__init__.py").write_text('"""Ways to say what colour it has."""\n')
    return place


def python(copied: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, cwd=copied,
        env={"PYTHONPATH": str(copied), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_verb_is_there_in_python_and_the_shell(copied):
    python(copied, "-c", "from fallow.images.samples import demo; demo('pictures')")
    code = (
        "import fallow; r = fallow.tint('pictures', settings={'power': 2});"
        "print(fallow.__file__, r.table.column('colour')[0])"
    )
    said = python(copied, "-c", code).split()
    assert said[0].startswith(str(copied))
    assert re.fullmatch("#[0-9a-f]{6}", said[1])
    shell = python(copied, "-m", "fallow", "tint", "pictures", "--set", "power=2")
    assert "pictures" in shell
    assert (copied / "pictures-tint" / "table.parquet").is_file()


def test_its_help_and_its_form_are_there_too(copied):
    assert "tint" in python(copied, "-m", "fallow", "--help")
    shown = python(copied, "-m", "fallow", "tint", "--help")
    assert "how colours are averaged" in shown
    assert "power [1.0]  of the generalised mean" in shown
    code = "from fallow.verbs import declaration; print(declaration('tint').schema()['required'])"
    assert python(copied, "-c", code).strip() == "['source']"
    assert "tint" in python(copied, "-m", "fallow", "papers")
