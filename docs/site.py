"""What mkdocs is told beyond mkdocs.yml: the pages that are found, and one that lies elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
TINY = "src/fallow/encoders/tiny/README.md"  # the encoder's card lies beside its weights


def on_config(config: Any) -> Any:
    """Put every tutorial, question and system in its place of the navigation."""
    docs = Path(config.docs_dir)

    def pages(folder: str, but: str = "index.md") -> list[str]:
        return [f"{folder}/{p.name}" for p in sorted((docs / folder).glob("*.md")) if p.name != but]

    for section in config.nav:
        for name, entries in section.items():
            if name == "Tutorials":
                entries += [{Path(page).stem: page} for page in pages("tutorials")]
            elif name == "What was measured":
                entries[1:1] = questions(docs / "questions" / "index.md")
            elif name == "Settings":
                entries[-1]["Systems"] = [{Path(p).stem: p} for p in pages("methods")]
    return config


def questions(index: Path) -> list[dict[str, str]]:
    """The pages of questions in the order of their list, by their whole titles."""
    found = re.findall(r"^- \[([^\]]+)\]\(([\w-]+\.md)\)", index.read_text(encoding="utf-8"), re.M)
    return [{title: f"questions/{page}"} for title, page in found]


def on_files(files: Files, config: Any) -> Files:
    """The built-in encoder's card is a page like the others."""
    text = (ROOT / TINY).read_text(encoding="utf-8")
    files.append(File.generated(config, "tiny.md", content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links to that card lead to its page."""
    return markdown.replace(f"../{TINY}", "tiny.md")
