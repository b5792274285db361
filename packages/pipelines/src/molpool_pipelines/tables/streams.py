"""Tables larger than memory, read some rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]  # it has no types
import pyarrow.csv as pc  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from molpool_common import MISSING, InputError, did_you_mean, listed

_BLOCK = 1 << 20
"""Bytes of text read at a time."""

_SURVEY_ROWS = 65_536


@dataclass(frozen=True)
class TableStream:
    """A table on disk, of which some columns are read a number of rows at a time.

    Make one with `open_table`.

    Parameters
    ----------
    path : Path
        CSV or TSV, gzipped or not, or Parquet.
    columns : list of str
        Names of all columns.
    """

    path: Path
    columns: list[str]

    def chunks(self, names: Sequence[str], rows: int) -> Iterator[pl.DataFrame]:
        """Yield frames of text of these columns, each of `rows` rows but the last.

        Raises
        ------
        InputError
            At a line that does not fit the header, or a damaged file.
        """
        kept: list[pa.Table] = []
        waiting = 0
        for table in self._tables(list(dict.fromkeys(names)), rows):
            kept.append(table)
            waiting += table.num_rows
            while waiting >= rows:
                whole = pa.concat_tables(kept)
                yield _texts(whole.slice(0, rows))
                kept, waiting = [whole.slice(rows)], waiting - rows
        if waiting:
            yield _texts(pa.concat_tables(kept))

    def _tables(self, names: list[str], rows: int) -> Iterator[pa.Table]:
        try:
            if self.path.suffix == ".parquet":
                with pq.ParquetFile(self.path) as file:
                    for batch in file.iter_batches(batch_size=rows, columns=names):
                        yield pa.Table.from_batches([batch])
                return
            convert = pc.ConvertOptions(
                include_columns=names,
                column_types=dict.fromkeys(names, pa.string()),
                null_values=list(MISSING),
                strings_can_be_null=True,
            )
            with _csv(self.path, convert) as reader:
                for batch in reader:
                    yield pa.Table.from_batches([batch])
        except (pa.ArrowException, OSError) as error:
            raise _malformed(self.path, error) from None


def open_table(path: Path) -> TableStream:
    """Return a table whose header could be read.

    Raises
    ------
    InputError
        If there is no such file, it is no table, or a column name stands twice.
    """
    if not path.is_file():
        folder = path.parent
        names = [p.name for p in folder.iterdir() if p.is_file()] if folder.is_dir() else []
        hint = did_you_mean(path.name, names) if names else None
        raise InputError(
            "data_path",
            expected="an existing file",
            found=f"{'the folder' if path.is_dir() else 'no file'} {str(path)!r}",
            hint=hint if hint and hint.startswith("Did") else None,
        )
    try:
        if path.suffix == ".parquet":
            columns = list(pq.read_schema(path).names)
        else:
            with _csv(path, pc.ConvertOptions()) as reader:
                columns = list(reader.schema.names)
    except (pa.ArrowException, OSError) as error:
        raise _malformed(path, error) from None
    twice = sorted({c for c in columns if columns.count(c) > 1})
    if twice:
        raise InputError(
            "columns", expected="distinct names", found=f"twice {listed(twice)}", where=path.name
        )
    return TableStream(path, columns)


def survey(table: TableStream, column: str, *, distinct: bool) -> int:
    """Read one column to its end and return the number of rows.

    Parameters
    ----------
    table : TableStream
        The table.
    column : str
        One of its columns.
    distinct : bool
        Whether each of its values must be there, once.

    Raises
    ------
    InputError
        If the file is damaged or has no row, or values are missing or stand more than once (with
        counts and the first of them).
    """
    n = 0
    missing: list[int] = []
    hashes = []
    for frame in table.chunks([column], _SURVEY_ROWS):
        if distinct:
            missing += (frame[column].is_null().arg_true() + n + 1).to_list()
            hashes.append(frame[column].hash().to_numpy())
        n += frame.height
    where = table.path.name
    if n == 0:
        raise InputError("data_path", expected="at least one row", found="none", where=where)
    if missing:
        raise InputError(
            f"column {column!r}",
            expected="an id in every row",
            found=f"none in {len(missing)} rows: {listed(missing, limit=5)}",
            where=where,
        )
    if distinct:
        _refuse_repeated(table, column, np.sort(np.concatenate(hashes)))
    return n


def _refuse_repeated(table: TableStream, column: str, hashes: Any) -> None:
    twice = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
    if not len(twice):
        return
    counts: dict[str, int] = {}
    for frame in table.chunks([column], _SURVEY_ROWS):
        suspects = frame[column].filter(frame[column].hash().is_in(pl.Series(twice).implode()))
        for name in suspects.to_list():
            counts[name] = counts.get(name, 0) + 1
    more = {name: n for name, n in counts.items() if n > 1}
    if more:  # two texts may have one hash
        raise InputError(
            f"column {column!r}",
            expected="each id once",
            found=f"{len(more)} ids more than once: "
            f"{listed([f'{name!r} ({n} times)' for name, n in more.items()], limit=5)}",
            where=table.path.name,
        )


@contextmanager
def _csv(path: Path, convert: pc.ConvertOptions) -> Iterator[pc.CSVStreamingReader]:
    separator = "\t" if ".tsv" in path.suffixes else ","
    with (
        pa.input_stream(path, compression="detect") as stream,
        pc.open_csv(
            stream,
            read_options=pc.ReadOptions(block_size=_BLOCK),
            parse_options=pc.ParseOptions(delimiter=separator, newlines_in_values=True),
            convert_options=convert,
        ) as reader,
    ):
        yield reader


def _texts(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame.with_columns(pl.all().cast(pl.String))


def _malformed(path: Path, error: Exception) -> InputError:
    kind = "a Parquet file" if path.suffix == ".parquet" else "a UTF-8 CSV file with a header"
    found = str(error).splitlines()[0] if str(error) else type(error).__name__
    return InputError("data_path", expected=kind, found=found, where=path.name)
