"""The site is built without a warning, and asks nothing of other servers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    pytest.importorskip("mkdocs")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    place = tmp_path_factory.mktemp("site")
    build(load_config(str(ROOT / "mkdocs.yml"), strict=True, site_dir=str(place)))
    return place


def test_every_page_is_there(site):
    pages = {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")}
    built = {path.relative_to(site).with_suffix(".md") for path in site.rglob("*.html")}
    assert pages <= built


def test_nothing_is_loaded_from_elsewhere(site):
    loads = re.compile(
        r'<(?:script|img|iframe|source)\b[^>]*\bsrc="(?:https?:)?//[^"]+"'
        r'|<link\b[^>]*rel="(?:stylesheet|preconnect|icon)"[^>]*href="(?:https?:)?//[^"]+"'
    )
    found = {hit for path in site.rglob("*.html") for hit in loads.findall(path.read_text())}
    assert found == set()
    assert not [p for p in site.rglob("*.css") if re.search(r"url\(.?https?:", p.read_text())]


def test_each_question_has_its_picture(site):
    pages = [path for path in (site / "questions").glob("*.html") if path.stem != "index"]
    assert len(pages) >= 3
    for page in pages:
        assert f'src="{page.stem}.svg"' in page.read_text()
        assert (site / "questions" / f"{page.stem}.svg").is_file()
