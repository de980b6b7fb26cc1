"""Every block of every tutorial runs, in its order, in a folder of its own."""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path

import pytest
import typer

from fallow import verbs
from fallow.cli import app

PAGES = Path(__file__).resolve().parents[2] / "docs" / "tutorials"
NAMES = sorted(page.stem for page in PAGES.glob("*.md") if page.stem != "index")
NEEDS = {"separate": ("soundfile",)}


def blocks(page: Path) -> list[tuple[str, str, int]]:
    """Kind, text and line of the fenced blocks that are to be run."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(r"^```(pycon|console)\n(.*?)^```$", text, re.M | re.S)
    return [(one[1], one[2], text.count("\n", 0, one.start(2))) for one in found]


def test_every_verb_has_one_and_the_list_names_all():
    assert set(verbs.names()) <= set(NAMES)
    page = (PAGES / "index.md").read_text()
    chapters = re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", page, re.M | re.S)
    listed = {title: tuple(re.findall(r"\]\((\w+)\.md\)", text)) for title, text in chapters}
    assert listed == verbs.by_purpose()
    assert sorted(name for names in listed.values() for name in names) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_what_it_says_works(name, tmp_path, monkeypatch, capsys):
    for package in NEEDS.get(name, ()):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FALLOW_DATA", str(tmp_path / "data"))
    space: dict[str, object] = {}
    command = typer.main.get_command(app)
    for kind, text, line in blocks(PAGES / f"{name}.md"):
        if kind == "pycon":
            test = doctest.DocTestParser().get_doctest(text, space, name, str(PAGES), line)
            test.globs = space  # blocks of a page share their names
            said: list[str] = []
            runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
            runner.run(test, out=said.append, clear_globs=False)
            assert not runner.failures, "".join(said)
        else:
            for words in re.findall(r"^\$ fallow (.*)$", text, re.M):
                command.main(shlex.split(words), prog_name="fallow", standalone_mode=False)
