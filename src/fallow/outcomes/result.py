"""What every verb returns: a table, a few sentences, and ways to keep both."""

from __future__ import annotations

import base64
import html
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from fallow.files import atomic_write
from fallow.outcomes.browsing import Browsed, browsed
from fallow.outcomes.pictures import THUMBNAIL, thumbnails
from fallow.outcomes.tables import save_parquet
from fallow.problems import SettingProblem, SourceProblem

SHOWN = 12  # pictures in a notebook
Kept = TypeVar("Kept", bound="Result")


class Result:
    """A verb's outcome: `.table`, `.headlines`, `.notes`, `.findings`; `.save()`, `.browse()`.

    >>> result = Result(pa.table({"id": ["a", "b"]}), headlines=["2 images"])
    >>> result
    Result: 2 images
    """

    def __init__(
        self,
        table: pa.Table,
        *,
        headlines: Sequence[str] = (),
        notes: Sequence[str] = (),
        findings: Mapping[str, Any] | None = None,
        page: Callable[[Mapping[str, Any]], str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.table = table
        self.headlines = list(headlines)
        self.notes = list(notes)  # what a reader must know before trusting it
        self.findings = dict(findings or {})
        self.page = page  # findings -> the whole report as HTML
        self.folder = folder  # where the run was saved, if it was

    def __repr__(self) -> str:
        text = "; ".join(self.headlines) or f"{self.table.num_rows:,} rows"
        return f"{type(self).__name__}: {text}"

    def lines(self) -> list[str]:
        """What a shell prints: headlines, notes, and where everything is."""
        report = None if self.folder is None else self.folder / "report.html"
        lines = [*self.headlines, *(f"note: {note}" for note in self.notes)]
        if report is not None and report.exists():
            lines.append(f"report: {report}")
        elif self.folder is not None:
            lines.append(f"saved: {self.folder}")
        return lines

    def saved(self: Kept, folder: str | os.PathLike[str] | None) -> Kept:
        """The result itself, saved if a folder is given."""
        if folder is not None:
            self.save(folder)
        return self

    def report(self, file: str | os.PathLike[str]) -> Path:
        """Write the report as one HTML file that opens offline; returns its path."""
        if self.page is None:
            raise SettingProblem("this result has no report: use .table or .save(folder)")
        path = Path(file)
        writable(path.parent)
        with atomic_write(path) as target:
            target.write(self.page(self.findings).encode())
        return path

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the table as Parquet, and the report if there is one, into a folder."""
        place = writable(folder)
        save_parquet(place / "table.parquet", self.table)
        if self.page is not None:
            self.report(place / "report.html")
        self.folder = place
        return place

    def pictures_shown(self, count: int) -> list[bytes]:
        """A few small pictures (JPEG) of what this is about, for a notebook; often none."""
        kept = self.findings.get("thumbnails")
        if isinstance(kept, list) and kept:
            return [kept[place] for place in _spread(len(kept), count)]
        images = getattr(self, "images", None)
        if images is None or len(images) == 0:
            return []
        rows = _spread(len(images), count)
        if "row" in self.table.column_names:  # of the pictures; what is worth a look comes first
            rows = self.table.column("row").slice(0, count).to_pylist()
        return [seen for seen in thumbnails(images)(rows, THUMBNAIL) if seen]

    def browse(self) -> Browsed:
        """Open the studio on this result, saved in a temporary folder if it has none yet."""
        folder = self.folder
        if folder is None:
            folder = self.save(tempfile.mkdtemp(prefix="fallow-"))
        return browsed(folder, getattr(getattr(self, "images", None), "source", ""))

    def _repr_html_(self) -> str:
        lines = "".join(f"<li>{html.escape(line)}</li>" for line in self.headlines)
        seen = [base64.b64encode(one).decode() for one in self.pictures_shown(SHOWN)]
        pictures = "".join(
            f'<img alt="" src="data:image/jpeg;base64,{one}" style="height:80px;margin:2px">'
            for one in seen
        )
        where = ""
        if self.folder is not None and (self.folder / "report.html").exists():
            path = (self.folder / "report.html").resolve()
            where = f'<p><a href="{path.as_uri()}">report.html</a></p>'
        return f"<div><b>{type(self).__name__}</b><ul>{lines}</ul>{pictures}{where}</div>"


def _spread(length: int, count: int) -> list[int]:
    """At most `count` places of a list, evenly apart.

    >>> _spread(7, 3), _spread(2, 3)
    ([0, 2, 4], [0, 1])
    """
    return [place * length // min(count, length) for place in range(min(count, length))]


def writable(folder: str | os.PathLike[str]) -> Path:
    """The folder, made if need be; a SourceProblem when nothing can be written there."""
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".fallow-{os.getpid()}.tmp"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise SourceProblem(
            f"cannot write to {path} ({error.strerror}): choose another folder with out="
        ) from error
    return path
