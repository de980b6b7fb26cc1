"""Label tables: CSV, TSV, JSONL and Parquet read to Arrow, and joined to images by name."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fallow.problems import SourceProblem, did_you_mean, out_of_memory

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
NOTHING = re.compile(rb"(?:\A(?:\xef\xbb\xbf)?|[\r\n])\s*null")
PATH_COLUMNS = ("path", "file_name", "filename", "image", "file", "image_path")


def read_table(data: bytes, name: str) -> pa.Table:
    """The table in these bytes, by the ending of `name`.

    Numbers keep leading zeros by staying text, and empty cells are missing values.

    >>> read_table(b"path,frame,score\\na.jpg,007,1\\nb.jpg,,2\\n", "labels.csv").to_pylist()
    [{'path': 'a.jpg', 'frame': '007', 'score': 1}, {'path': 'b.jpg', 'frame': None, 'score': 2}]
    """
    lower = name.lower()
    try:
        if lower.endswith(".parquet"):
            import pyarrow.parquet

            table = pyarrow.parquet.read_table(io.BytesIO(data))
        elif lower.endswith((".jsonl", ".ndjson")):
            import pyarrow.json

            if NOTHING.search(data):  # of which the parser would end the whole process
                raise SourceProblem(f"{name} cannot be read as a table: a line says null")
            table = pyarrow.json.read_json(io.BytesIO(data))
        elif lower.endswith((".csv", ".tsv")):
            table = _read_csv(data, name)  # all text: typed below
        else:
            raise SourceProblem(
                f"{name} is not a table fallow reads: use {', '.join(TABLE_SUFFIXES)}"
            )
        table.validate(full=True)  # a JSON parser lets text through that is not UTF-8
        names = table.column_names
    except SourceProblem:
        raise
    except Exception as error:  # a parser of hostile bytes: anything may come out
        if out_of_memory(error):
            raise
        said = " ".join(str(error).split())[:200]
        raise SourceProblem(f"{name} cannot be read as a table: {said}") from error
    twice = sorted({column for column in names if names.count(column) > 1})
    if twice:
        raise SourceProblem(f"{name} has two columns called {twice[0]}: rename one of them")
    return typed(table) if lower.endswith((".csv", ".tsv")) else table


def _read_csv(data: bytes, name: str) -> pa.Table:
    import pyarrow.csv

    for encoding in ("utf-8-sig", "cp1252", "latin-1"):
        try:
            text = data.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    first = text.split("\n", 1)[0]
    if not first.strip():
        raise SourceProblem(f"{name} is empty: its first line must name the columns")
    separator = max("," if not name.lower().endswith(".tsv") else "\t", ";", "\t", key=first.count)
    names = [column.strip() for column in next(csv.reader([first.strip()], delimiter=separator))]
    table = pyarrow.csv.read_csv(
        io.BytesIO(text.encode()),
        read_options=pyarrow.csv.ReadOptions(column_names=names, skip_rows=1),
        parse_options=pyarrow.csv.ParseOptions(delimiter=separator, newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types={column: pa.string() for column in names},
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        ),
    )
    return table


def typed(table: pa.Table) -> pa.Table:
    """Text columns that hold nothing but numbers or true/false get that type."""
    columns = {
        column: _typed(table.column(column)) if column not in PATH_COLUMNS else table.column(column)
        for column in table.column_names
    }
    return pa.table(columns)


def _typed(values: pa.ChunkedArray) -> pa.ChunkedArray:
    if not pa.types.is_string(values.type) or values.null_count == len(values):
        return values
    for pattern, kind in (
        (r"^-?(0|[1-9]\d{0,17})$", pa.int64()),
        (r"^-?(0|[1-9]\d*)?(\.\d*)?([eE][-+]?\d+)?$", pa.float64()),
        (r"^(?i:true|false)$", pa.bool_()),
    ):
        if pc.all(pc.match_substring_regex(values, pattern)).as_py():
            try:
                return pc.cast(pc.utf8_lower(values) if kind == pa.bool_() else values, kind)
            except pa.ArrowInvalid:
                return values  # "." and "" fit the pattern of a number but are none
    return values


def as_table(labels: Any) -> pa.Table:
    """An Arrow table of whatever holds columns: Arrow, pandas, a dictionary."""
    if isinstance(labels, pa.Table):
        return labels
    if isinstance(labels, dict):
        return pa.table({key: column_of(values) for key, values in labels.items()})
    if hasattr(labels, "columns") and hasattr(labels, "to_dict"):
        return pa.Table.from_pandas(labels, preserve_index=False)
    raise SourceProblem(
        "labels must be a file, an Arrow table, a data frame or a dictionary of columns, "
        f"not {type(labels).__name__}"
    )


def column_of(values: Any) -> pa.Array:
    """One Arrow column of a list, an array or Arrow itself."""
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values
    try:
        return pa.array(values.tolist() if hasattr(values, "tolist") else list(values))
    except (pa.ArrowException, TypeError) as error:
        raise SourceProblem(f"a column of labels cannot be stored: {error}") from error


def path_column(table: pa.Table, name: str, wanted: str = "path") -> str:
    """The column that names the images."""
    choices = PATH_COLUMNS if wanted == "path" else (wanted,)
    for column in choices:
        if column in table.column_names:
            return column
    raise SourceProblem(
        f"{name} has no column {wanted}: {did_you_mean(wanted, table.column_names)}"
    )


def join(
    ids: Sequence[str],
    table: pa.Table,
    *,
    on: str = "path",
    name: str = "the label table",
    base: str = "",
    must_match: bool = True,
) -> tuple[pa.Table, list[str]]:
    """The table's columns in the order of `ids`, missing where it says nothing, and notes.

    Names are compared as they are, then below `base` (the table's own folder), and only when
    nothing fits, by the file's name alone.
    """
    key = path_column(table, name, on)
    names = [_tidy(value) for value in table.column(key).to_pylist()]
    if (missing := sum(not value for value in names)) > 0:
        raise SourceProblem(f"{name} has {missing} rows without a {key}: fill them or drop them")
    seen: set[str] = set()
    for value in names:
        if value in seen:
            raise SourceProblem(f"{name} names {value} twice: keep one row for each image")
        seen.add(value)
    rows = {value: row for row, value in enumerate(names)}
    notes: list[str] = []
    keys = list(ids)
    found = [_first(rows, _tidy(value), base) for value in keys]
    if ids and on == "path" and all(row is None for row in found):
        rows, single = _unique_rows(names), _unique_rows(keys)
        short = [value.rsplit("/", 1)[-1] for value in keys]
        found = [rows.get(value) if value in single else None for value in short]
        if any(row is not None for row in found):
            notes.append(f"{name} was matched by file name alone")
    used = {row for row in found if row is not None}
    if ids and names and not used:
        sentence = (
            f"no name in {name} matches an image: it says {names[0]}, images are like {keys[0]}"
        )
        if must_match:
            raise SourceProblem(sentence)
        return table.select([]), [sentence]
    elif len(used) < len(names):
        unknown = next(value for row, value in enumerate(names) if row not in used)
        notes.append(
            f"{len(names) - len(used):,} of {len(names):,} names in {name} match no image, "
            f"for example {unknown}"
        )
    rest = table.drop_columns([key])
    return rest.take(pa.array(found, pa.int64())), notes


def _tidy(value: Any) -> str:
    text = "" if value is None else str(value).strip().replace("\\", "/")
    return text.removeprefix("./")


def _first(rows: dict[str, int], value: str, base: str) -> int | None:
    if value in rows:
        return rows[value]
    if base and value.startswith(base + "/"):
        return rows.get(value[len(base) + 1 :])
    return None


def _unique_rows(names: Sequence[str]) -> dict[str, int]:
    """File name without folders -> row, for those that only one row has."""
    rows: dict[str, int] = {}
    twice: set[str] = set()
    for row, value in enumerate(names):
        short = value.rsplit("/", 1)[-1]
        if short in rows:
            twice.add(short)
        rows[short] = row
    return {short: row for short, row in rows.items() if short not in twice}
