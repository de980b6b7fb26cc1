"""The folder of a job: `job.json` says what it is, and each part is one Parquet file, whole or not
there at all. A job that is begun again goes on after the parts that are."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fallow.images.places import Place, place
from fallow.images.stores import FileProblem
from fallow.problems import Problem, SourceProblem

ABOUT = b"fallow"  # where a part keeps its problems


class Parts:
    """Numbered tables below a folder or an address such as s3://bucket/vectors.

    >>> import tempfile
    >>> parts = Parts(tempfile.mkdtemp(), "part")
    >>> parts.write(3, pa.table({"a": [1, 2]}), [FileProblem("x.jpg", "damaged")])
    >>> parts.finished(), parts.read(3).num_rows, parts.problems(3)
    ([3], 2, [FileProblem(path='x.jpg', reason='damaged')])
    """

    def __init__(self, folder: Any, kind: str = "part") -> None:
        self.folder: Place = place(folder)
        self.kind = kind

    def begin(self, identity: Mapping[str, Any]) -> None:
        """Say what the job is; a Problem where the folder holds another one."""
        about = self.folder.child(f"{self.kind}s.json")
        asked = json.loads(json.dumps(identity))
        try:
            if not about.is_file():
                about.write((json.dumps(asked, indent=2) + "\n").encode())
                return
            held = json.loads(about.read())
        except (OSError, ValueError) as error:
            raise SourceProblem(
                f"cannot use {self.folder} for parts ({error}): choose another out folder"
            ) from error
        changed = sorted(key for key in asked | held if asked.get(key) != held.get(key))
        if changed:
            raise Problem(
                f"{self.folder} holds the parts of another job (its {', '.join(changed)} differ): "
                "choose another out folder, or repeat the command that began it"
            )

    def finished(self) -> list[int]:
        """Numbers of the parts that are whole."""
        if not self.folder.is_folder():
            return []
        start = f"{self.kind}-"
        named = [name for name in self.folder.walk() if name.startswith(start)]
        numbers = [name[len(start) :].removesuffix(".parquet") for name in named]
        return sorted(int(one) for one in numbers if one.isdigit() and self._whole(int(one)))

    def write(self, number: int, table: pa.Table, problems: Sequence[FileProblem] = ()) -> None:
        """Keep one part."""
        about = json.dumps([[one.path, one.reason] for one in problems])
        held = io.BytesIO()
        pq.write_table(table.replace_schema_metadata({ABOUT: about}), held)
        self.place(number).write(held.getvalue())

    def read(self, number: int, columns: Sequence[str] | None = None) -> pa.Table:
        """One part, or some of its columns."""
        with self.place(number).open() as file:
            return pq.read_table(file, columns=columns)

    def problems(self, number: int) -> list[FileProblem]:
        """What could not be read in a part."""
        with self.place(number).open() as file:
            held = pq.read_schema(file).metadata or {}
        return [FileProblem(*one) for one in json.loads(held.get(ABOUT, b"[]"))]

    def rows(self, number: int) -> int:
        """How many rows a part has, without reading them."""
        with self.place(number).open() as file:
            return int(pq.read_metadata(file).num_rows)

    def each(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The parts in order, one at a time."""
        for number in self.finished():
            yield self.read(number, columns)

    def place(self, number: int) -> Place:
        return self.folder.child(f"{self.kind}-{number:07d}.parquet")

    def _whole(self, number: int) -> bool:
        """A Parquet file ends with what it holds; one that was cut off has no end."""
        try:
            self.rows(number)
        except (pa.ArrowException, OSError):
            return False
        return True
