"""What every verb returns: a table, a few sentences, and ways to keep both."""

from __future__ import annotations

import html
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from fallow.files import atomic_write
from fallow.outcomes.tables import save_parquet
from fallow.problems import SettingProblem, SourceProblem

Kept = TypeVar("Kept", bound="Result")


class Result:
    """A verb's outcome: `.table`, `.headlines`, `.notes`, `.findings`, `.save()`, `.report()`.

    >>> result = Result(pa.table({"id": ["a", "b"]}), headlines=["2 images"])
    >>> result
    Result: 2 images
    """

    def __init__(
        self,
        table: pa.Table,
        *,
        headlines: Sequence[str] | None = None,
        notes: Sequence[str] | None = None,
        findings: Mapping[str, Any] | None = None,
        page: Callable[[Mapping[str, Any]], str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.table = table
        self.findings = dict(findings or {})
        said = [self.findings.get(name, ()) for name in ("headlines", "notes")]
        self.headlines = list(said[0] if headlines is None else headlines)
        self.notes = list(said[1] if notes is None else notes)  # to be known before trusting it
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

    def _repr_html_(self) -> str:
        lines = "".join(f"<li>{html.escape(line)}</li>" for line in self.headlines)
        where = ""
        if self.folder is not None and (self.folder / "report.html").exists():
            path = (self.folder / "report.html").resolve()
            where = f'<p><a href="{path.as_uri()}">report.html</a></p>'
        return f"<div><b>{type(self).__name__}</b><ul>{lines}</ul>{where}</div>"


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
