"""Tables read whole or in chunks, whatever their format, and how they were read.

All ways of reading agree on what a table is: a header, rows, and text cells that stay text until a
column is used, so that what is wrong in a column that nobody asked for stops nobody.
"""

from __future__ import annotations

import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl

from molpool_common._errors import InputError, listed
from molpool_common.tables._expansion import check_expansion, without_panic
from molpool_common.tables._files import (
    compression_of,
    expand_tables,
    format_of,
    located,
    opened,
    shards,
)
from molpool_common.tables._formulas import formulas_unmarked
from molpool_common.tables._layout import TextLayout, gone_through, refuse_repeated, text_layout
from molpool_common.tables._marks import Mark, marks_of, rewritten, undecided
from molpool_common.tables._settings import ReadConfig

CHUNK_ROWS = 1_000_000
"""Rows in memory at a time, for each thread."""

_SURVEYED = 10_000
"""Rows of which a table that is read in chunks learns how its numbers are marked."""

_SEPARATOR_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


@dataclass(frozen=True)
class Reading:
    """How a table was read.

    Parameters
    ----------
    format : str
        ``CSV``, ``Parquet``, ``Excel``, ``SDF`` or ``SMILES``.
    compression : str or None
        ``gzip`` or ``zstd``.
    encoding, separator : str or None
        Of text.
    sheet : str or None
        Of a worksheet.
    commas : tuple of str
        Columns whose decimal mark is a comma.
    thousands : tuple of str
        Columns with marks of thousands, or commas that are these.
    missing : mapping of str to mapping of str to int
        How often each word or error of a worksheet stands for a missing value, by column; of text
        `missing_words` looks for them.
    notes : tuple of str
        What else the user should know, as sentences.
    """

    format: str
    compression: str | None = None
    encoding: str | None = None
    separator: str | None = None
    sheet: str | None = None
    commas: tuple[str, ...] = ()
    thousands: tuple[str, ...] = ()
    missing: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def plain(self) -> bool:
        """Whether it was read as most tables are, and nothing need be said of it."""
        usual = self.encoding in (None, "utf-8", "utf-8-sig") and self.separator in (None, ",")
        told = self.commas or self.thousands or self.notes or self.sheet
        return usual and not told

    def facts(self) -> dict[str, str]:
        """Return what a page or a screen says of it, by name."""
        compressed = f", compressed by {self.compression}" if self.compression else ""
        found = {"Format": f"{self.format}{compressed}"}
        if self.sheet:
            found["Sheet"] = self.sheet
        if self.encoding:
            found["Encoding"] = self.encoding.removesuffix("-sig")
        if self.separator:
            found["Separator"] = _SEPARATOR_NAMES.get(self.separator, repr(self.separator))
            found["Decimal mark"] = f"comma in {listed(self.commas)}" if self.commas else "point"
        if self.thousands:
            found["Marks of thousands"] = listed(self.thousands)
        return found

    def sentences(self) -> list[str]:
        """Return how the table was read, where it was not as most tables are."""
        if self.plain:
            return []
        said = ", ".join(f"{name.lower()} {value}" for name, value in self.facts().items())
        return [f"Read as: {said}.", *self.notes]


def read_table(
    path: str | Path, read: ReadConfig | None = None, *, key: str = "data_path"
) -> pl.DataFrame:
    """Read a table; see `open_table`."""
    return open_table(path, read, key=key)[0]


def open_table(
    path: str | Path,
    read: ReadConfig | None = None,
    *,
    key: str = "data_path",
    names: Sequence[str] | None = None,
) -> tuple[pl.DataFrame, Reading]:
    """Read a table: text, Parquet, Excel, SDF or SMILES.

    Parameters
    ----------
    path : str or Path
        The file, compressed or not; a folder of Parquet files; ``-`` for standard input; or, where
        no such thing is there, a pattern that stands for files. What one is, its content says
        before its name.
    read : ReadConfig, optional
        What is known of it.
    key : str
        The configuration key that named it, for messages.
    names : sequence of str, optional
        Of its columns those to read; by default all.

    Returns
    -------
    frame : DataFrame
        At least one row. Columns of all but Parquet are strings, so that each is converted, and
        complained of, only where it is used; numbers among them have a decimal point.
    reading : Reading

    Raises
    ------
    InputError
        If the file is missing, is not a table, names a column twice, has lines that do not fit, or
        has no row.
    """
    read = read or ReadConfig()
    files = expand_tables(path, key)
    if len(files) > 1:
        return _several(files, read, key, names)
    file = files[0]
    kind = format_of(file)
    with _complaints(file, kind, key):
        check_expansion(file, read, key)
        if kind == "Parquet":
            frame, reading = _parquet(file, names), Reading(kind)
        elif kind == "text":
            frame, reading = _text(file, read, key, names)
        else:
            frame, reading = _whole(file, kind, read, key)
            frame = frame if names is None else frame.select(names)
    if frame.height == 0:
        raise InputError(
            key, expected="at least one row", found="a table without rows", where=file.name
        )
    return frame, reading


def _several(
    files: list[Path], read: ReadConfig, key: str, names: Sequence[str] | None
) -> tuple[pl.DataFrame, Reading]:
    """Return the rows of all files, of the columns that all of them have."""
    parts = [open_table(file, read, key=key, names=names) for file in files]
    frames = [frame for frame, _ in parts]
    shared = [c for c in frames[0].columns if all(c in frame.columns for frame in frames)]
    try:
        frame = pl.concat([frame.select(shared) for frame in frames], how="vertical_relaxed")
    except pl.exceptions.PolarsError as error:
        raise _unreadable(files[0], "", key, error) from None
    names = listed([file.name for file in files])
    said = [f"{file.name}: {s}" for file, (_, r) in zip(files, parts, strict=True) for s in r.notes]
    note = f"One table of {len(files)} files, its rows numbered through: {names}."
    return frame, replace(parts[0][1], notes=(note, *said))


def _whole(file: Path, kind: str, read: ReadConfig, key: str) -> tuple[pl.DataFrame, Reading]:
    found = file.stat()
    changed = (found.st_mtime_ns, found.st_size)
    return _structures(file, kind, read.model_dump_json(), key, changed)


# Header, ids and rows of one table are asked for one after the other.
@lru_cache(maxsize=1)
def _structures(
    file: Path, kind: str, settings: str, key: str, changed: tuple[int, int]
) -> tuple[pl.DataFrame, Reading]:
    del changed
    from molpool_common.tables._excel import read_excel
    from molpool_common.tables._structures import read_sdf, read_smi

    read = ReadConfig.model_validate_json(settings)
    check_expansion(file, read, key)
    reading = Reading(kind, compression_of(file))
    written = None
    if kind == "Excel":
        frame, written, name, notes, errors = read_excel(file, read, key)
        written = _without_words(written, read)
        reading = replace(reading, sheet=name)
        notes += [f"Excel errors read as missing: {_counted(errors)}."] if errors else []
    else:
        reader = read_sdf if kind == "SDF" else read_smi
        frame, encoding, notes = reader(file, read, key)
        reading, errors = replace(reading, encoding=encoding), {}
    reading = replace(reading, missing=_words_of(frame, read, errors), notes=tuple(notes))
    return _finished(_without_words(frame, read), read, reading, written)


def _words_of(
    frame: pl.DataFrame, read: ReadConfig, errors: Mapping[str, Mapping[str, int]]
) -> dict[str, dict[str, int]]:
    """Return how often each word that stands for a missing value does so, beside the errors."""
    words = pl.Series([word for word in read.words if word], dtype=pl.String).implode()
    found = {name: Counter(counts) for name, counts in errors.items()}
    for column in frame.iter_columns():
        counts = _occurrences(column, words)
        if counts:
            found.setdefault(column.name, Counter()).update(counts)
    return {name: dict(counts) for name, counts in found.items()}


def _counted(found: Mapping[str, Mapping[str, int]]) -> str:
    """Return counts by column in words, such as ``KSOL 2 '#DIV/0!', 1 '#N/A'``."""
    return "; ".join(
        f"{name} " + ", ".join(f"{n:,} {word!r}" for word, n in counts.items())
        for name, counts in found.items()
    )


def _without_words(frame: pl.DataFrame, read: ReadConfig) -> pl.DataFrame:
    """Return a frame of text with null for the words that say that there is no value."""
    words = pl.Series(list(read.words), dtype=pl.String)
    text = pl.col(pl.String)
    return frame.with_columns(pl.when(~text.is_in(words.implode())).then(text))


def _finished(
    frame: pl.DataFrame, read: ReadConfig, reading: Reading, written: pl.DataFrame | None = None
) -> tuple[pl.DataFrame, Reading]:
    """Return a frame of text with its numbers written plainly.

    Numbers that a worksheet holds as such have no mark that could be misread: there only the
    `written` cells, null elsewhere, are looked at and changed.
    """
    cells = frame if written is None else written
    marks = marks_of(cells, read.decimal)
    commas = tuple(name for name, mark in marks.items() if mark == "comma")
    thousands = tuple(name for name, mark in marks.items() if mark != "comma")
    notes = reading.notes
    if read.decimal == "auto" and (left := undecided(cells, marks)):
        notes += (
            f"Points in {listed(left)} read as decimal points; --read.decimal , takes them for "
            "marks of thousands.",
        )
    reading = replace(reading, commas=commas, thousands=thousands, notes=notes)
    plain = rewritten(cells, marks)
    if written is not None:
        plain = frame.with_columns(plain[name].fill_null(frame[name]) for name in marks)
    return plain, reading


# --- text ---


def _text(
    file: Path, read: ReadConfig, key: str, names: Sequence[str] | None
) -> tuple[pl.DataFrame, Reading]:
    layout = text_layout(file, read, key)
    try:
        frame = _parsed(layout, names=names)
    except pl.exceptions.PolarsError:
        # One line too short and one too long: counts do not tell, and the parser names no line.
        layout = gone_through(layout, key)
        frame = _parsed(layout, names=names)
    reading = _text_reading(file, layout)
    # No cell has the separator in it unless cells are quoted.
    if layout.separator == "," and not layout.quoted:
        return frame, reading
    return _finished(frame, read, reading)


def _text_reading(file: Path, layout: TextLayout) -> Reading:
    return Reading(
        "CSV", compression_of(file), layout.encoding, layout.separator, notes=layout.notes
    )


def _parsed(
    layout: TextLayout, rows: int | None = None, names: Sequence[str] | None = None
) -> pl.DataFrame:
    kept = [
        i
        for i, name in enumerate(layout.names)
        if name is not None and (names is None or name in names)
    ]
    try:
        frame = pl.read_csv(
            layout.file,
            separator=layout.separator,
            quote_char='"' if layout.quoted else None,
            # Types guessed from the first rows fail at the first text after them.
            infer_schema=False,
            # Empty cells are null without a list to compare with.
            null_values=list(layout.words) if any(layout.words) else None,
            glob=False,
            n_rows=rows,
            columns=None if names is None else kept,
        )
    except pl.exceptions.NoDataError:
        return pl.DataFrame(schema=dict.fromkeys(layout.columns, pl.String))
    places = kept if names is None else range(len(kept))
    # By place: names, of which the layout has taken marks already, are those of the layout.
    bare = formulas_unmarked(frame)
    return pl.DataFrame(
        [bare.to_series(p).alias(layout.names[i] or "") for p, i in zip(places, kept, strict=True)]
    )


def missing_words(
    path: str | Path, names: Sequence[str], read: ReadConfig | None = None
) -> dict[str, dict[str, int]]:
    """Return how often each word that stands for a missing value does so, by column.

    Parameters
    ----------
    path : str or Path
        A table; of Parquet, whose missing values are nulls, there are none.
    names : sequence of str
        Columns of it.
    read : ReadConfig, optional
        As it was read.
    """
    read = read or ReadConfig()
    file = located(path)
    kind = format_of(file)
    if kind == "Parquet":
        return {}
    if kind != "text":
        missing = _whole(file, kind, read, "data_path")[1].missing
        return {name: dict(missing[name]) for name in names if name in missing}
    layout = text_layout(file, read, "data_path")
    columns = [i for i, name in enumerate(layout.names) if name in names]
    frame = pl.read_csv(
        layout.file,
        separator=layout.separator,
        quote_char='"' if layout.quoted else None,
        infer_schema=False,
        columns=columns,
        glob=False,
    )
    words = pl.Series([word for word in read.words if word]).implode()
    found: dict[str, dict[str, int]] = {}
    for i, column in zip(columns, frame.iter_columns(), strict=True):
        counts = _occurrences(column, words)
        if counts:
            found[layout.names[i] or ""] = counts
    return found


def _occurrences(column: pl.Series, words: pl.Series) -> dict[str, int]:
    """Return how often each of some words stands in a column, most often first."""
    there = column.alias("word").filter(column.is_in(words))
    return dict(there.value_counts(sort=True, name="n").rows())


# --- Parquet ---


@without_panic()
def _parquet(path: Path, names: Sequence[str] | None = None) -> pl.DataFrame:
    source = shards(path) if path.is_dir() else path
    columns = None if names is None else list(names)
    return _usual_types(pl.read_parquet(source, columns=columns, glob=False))


def _usual_types(frame: pl.DataFrame) -> pl.DataFrame:
    """Return labels as text, and decimals as numbers."""
    casts: list[pl.Series] = []
    for column in frame.iter_columns():
        dtype = column.dtype
        if isinstance(dtype, (pl.Categorical, pl.Enum)):
            casts.append(column.cast(pl.String))
        elif isinstance(dtype, pl.Decimal):
            casts.append(column.cast(pl.Float64 if dtype.scale else pl.Int64))
    return frame.with_columns(casts)


# --- in parts ---


def table_header(
    path: str | Path, key: str = "data_path", read: ReadConfig | None = None
) -> list[str]:
    """Return the names of a table's columns; of text and Parquet no row is read.

    Parameters
    ----------
    path : str or Path
        The table.
    key : str
        The configuration key that named it, for messages.
    read : ReadConfig, optional
        What is known of it.

    Raises
    ------
    InputError
        If the file is no table, has no header, or names a column twice.
    """
    read = read or ReadConfig()
    file = located(path, key)
    kind = format_of(file)
    with _complaints(file, kind, key):
        if kind == "text":
            return text_layout(file, read, key, rows=False).columns
        if kind != "Parquet":
            return _whole(file, kind, read, key)[0].columns
        import pyarrow.parquet as pq  # type: ignore[import-untyped]  # it has no types

        names = list(pq.read_schema(shards(file)[0] if file.is_dir() else file).names)
    refuse_repeated(names, file.name)
    return names


def table_chunks(
    path: str | Path,
    names: Sequence[str],
    rows: int = CHUNK_ROWS,
    key: str = "data_path",
    read: ReadConfig | None = None,
) -> Iterator[pl.DataFrame]:
    """Yield the rows of a table from first to last, some at a time.

    Parameters
    ----------
    path : str or Path
        The table.
    names : sequence of str
        Columns to read, each once; the others are not converted.
    rows : int
        Most rows of a frame; of text, a frame is also at most what one block of bytes holds.
    key : str
        The configuration key that named the table, for messages.
    read : ReadConfig, optional
        What is known of it.

    Yields
    ------
    DataFrame
        Columns of all but Parquet are strings, those of Parquet have their types.

    Raises
    ------
    InputError
        At a line that does not fit the header, or a damaged file.
    """
    read = read or ReadConfig()
    file = located(path, key)
    kind = format_of(file)
    with _complaints(file, kind, key):
        check_expansion(file, read, key)
        if kind == "text":
            frames = _text_frames(file, names, rows, key, read)
        elif kind == "Parquet":
            frames = _parquet_frames(file, names, rows)
        else:
            frames = iter([_whole(file, kind, read, key)[0].select(names)])
        for frame in frames:
            # Row groups and blocks may hold more rows than were asked for.
            yield from (frame.slice(i, rows) for i in range(0, frame.height, rows))


def table_reading(
    path: str | Path, read: ReadConfig | None = None, *, key: str = "data_path"
) -> Reading:
    """Return how `table_chunks` reads a table."""
    read = read or ReadConfig()
    file = located(path, key)
    kind = format_of(file)
    with _complaints(file, kind, key):
        check_expansion(file, read, key)
        if kind == "Parquet":
            return Reading(kind)
        if kind != "text":
            return _whole(file, kind, read, key)[1]
        layout = text_layout(file, read, key)
        reading = _text_reading(file, layout)
        return _finished(_parsed(layout, _SURVEYED), read, reading)[1]


def _parquet_frames(path: Path, names: Sequence[str], rows: int) -> Iterator[pl.DataFrame]:
    import pyarrow.parquet as pq

    for part in shards(path) if path.is_dir() else [path]:
        # Read ahead, all bytes would be copied once more, and what is done with them takes the
        # cores.
        with pq.ParquetFile(part, pre_buffer=False, page_checksum_verification=True) as file:
            for batch in file.iter_batches(rows, columns=list(names)):
                yield _usual_types(_as_frame(batch))


def _as_frame(batch: Any) -> pl.DataFrame:
    frame = pl.from_arrow(batch)
    assert isinstance(frame, pl.DataFrame)
    return frame


def _text_frames(
    file: Path, names: Sequence[str], rows: int, key: str, read: ReadConfig
) -> Iterator[pl.DataFrame]:
    import pyarrow as pa

    layout = text_layout(file, read, key)
    marks: dict[str, Mark] = {}
    if layout.quoted or layout.separator != ",":
        marks = marks_of(_parsed(layout, _SURVEYED), read.decimal)
    try:
        for batch in _batches(layout, names, rows):
            yield rewritten(_as_frame(batch), marks)
    except pa.ArrowInvalid:
        # One line too short and one too long: counts do not tell. Names them.
        gone_through(layout, key)
        raise


def _batches(layout: TextLayout, names: Sequence[str], rows: int) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.csv as pc  # type: ignore[import-untyped]

    # About as many bytes as the rows have: a small chunk need not wait for a large block.
    block = min(max(64 * rows, 1 << 20), 1 << 26)
    nameless = [name or f"\0{i}" for i, name in enumerate(layout.names)]
    with (
        opened(layout.file) as raw,
        pc.open_csv(
            pa.PythonFile(raw, mode="r"),
            pc.ReadOptions(block_size=block, column_names=nameless, skip_rows=layout.header_lines),
            pc.ParseOptions(
                delimiter=layout.separator,
                newlines_in_values=layout.quoted,
                quote_char='"' if layout.quoted else False,
                ignore_empty_lines=len(layout.names) > 1,
            ),
            pc.ConvertOptions(
                include_columns=list(names),
                column_types=dict.fromkeys(names, pa.string()),
                null_values=list(layout.words),
                # By default Arrow takes "NA" in a text column for text.
                strings_can_be_null=True,
            ),
        ) as reader,
    ):
        yield from reader


# --- errors ---


@contextmanager
def _complaints(file: Path, kind: str, key: str) -> Iterator[None]:
    """Turn what libraries raise at a damaged file into one message of ours."""
    errors: tuple[type[Exception], ...] = (
        pl.exceptions.PolarsError,
        OSError,
        EOFError,
        UnicodeError,
        zipfile.BadZipFile,
        zlib.error,
    )
    try:
        yield
    except errors as error:
        raise _unreadable(file, kind, key, error) from None
    except Exception as error:
        # pyarrow and fastexcel are extras: their errors are known by the module they come from.
        if type(error).__module__.partition(".")[0] not in ("pyarrow", "_fastexcel"):
            raise
        raise _unreadable(file, kind, key, error) from None


def _unreadable(file: Path, kind: str, key: str, error: Exception) -> InputError:
    expected = {"text": "a CSV file with a header", "Excel": "an Excel file"}
    found = str(error).splitlines()[0] if str(error) else type(error).__name__
    return InputError(
        key, expected=expected.get(kind, f"a {kind} file"), found=found, where=file.name
    )
