"""Tables of results: CSV, Parquet, Excel or SDF by the file's name, whole or not at all.

What a table cannot say in its cells (units, scales, the model) goes with it as metadata: in the
schema of a Parquet file, or in ``NAME-metadata.json`` beside any other, where the W3C's CSV on the
Web looks for it.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

import polars as pl

from molpool_common._errors import InputError, did_you_mean
from molpool_common._folders import atomic_path, write_text
from molpool_common.tables._files import is_parquet
from molpool_common.tables._footer import KEY, parquet_metadata
from molpool_common.tables._formulas import formulas_marked
from molpool_common.tables._structures import sdf_line

OUTPUT_FORMATS = (".parquet", ".csv", ".tsv", ".xlsx", ".sdf")
"""Endings of files that `frames_written` writes, by which it knows their format."""

_GROUP_ROWS, _GROUP_BYTES = 1 << 16, 1 << 25
"""Of frames that become one row group. Each is a read of its own, and 100 bytes a column of the
footer, which stay in memory until the end."""

_MOST_ROWS, _MOST_COLUMNS, _MOST_CHARACTERS = 1_048_576, 16_384, 32_767
_WIDEST = 40


class FrameWriter(Protocol):
    """Takes frames of the same columns, one after the other."""

    def write(self, frame: pl.DataFrame) -> None:
        """Append rows."""


def check_output(
    path: Path, *, key: str = "--output", overwrite: bool = False, inputs: Iterable[Path] = ()
) -> None:
    """Refuse a table that cannot be written, before there is anything to write.

    Parameters
    ----------
    path : Path
        The file.
    key : str
        The flag that names it, for messages.
    overwrite : bool
        Whether a file that is there may be replaced.
    inputs : iterable of Path
        Files that are read, which are never replaced.

    Raises
    ------
    InputError
        If its ending is none of `OUTPUT_FORMATS`, its folder is not there or not writable, or it is
        there.
    """
    formats = ", ".join(OUTPUT_FORMATS)
    ending = path.suffix.lower()
    if ending not in OUTPUT_FORMATS:
        meant = did_you_mean(ending, OUTPUT_FORMATS)
        raise InputError(
            key,
            expected=f"a file that ends in {formats}",
            found=repr(str(path)),
            hint=meant if meant.startswith("Did") else None,
        )
    folder = path.absolute().parent
    if not folder.is_dir():
        raise InputError(key, expected="a file in an existing folder", found=repr(str(path)))
    if path.is_dir():
        raise InputError(key, expected="a file", found=f"the folder {str(path)!r}")
    if not os.access(folder, os.W_OK):
        raise InputError(key, expected="a folder that may be written to", found=str(path))
    # Also with overwrite: the table would be replaced while it is read.
    if path.exists() and any(other.exists() and path.samefile(other) for other in inputs):
        raise InputError(key, expected="another file than data_path", found=str(path))
    # Also a link that leads nowhere.
    if os.path.lexists(path) and not overwrite:
        raise InputError(
            key,
            expected="a new file",
            found=f"{str(path)!r}, which is there",
            hint="--overwrite true replaces it.",
        )


@contextmanager
def frames_written(
    path: Path, *, metadata: Mapping[str, Any] | None = None, smiles: str | None = None
) -> Iterator[FrameWriter]:
    """Give a writer whose rows become the file `path` when the block ends, and nothing before.

    Parameters
    ----------
    path : Path
        Ending in one of `OUTPUT_FORMATS`; any other name is Parquet, small frames joined to row
        groups, each page with a checksum that `read_table` looks at (needs the extra ``parquet``;
        Excel the extra ``excel``, SDF the extra ``chem``). If the block raises, nothing is left of
        it.
    metadata : mapping, optional
        What JSON can hold; `table_metadata` reads it back.
    smiles : str, optional
        Column of the structures that an SDF file has; by default ``SMILES``.

    Raises
    ------
    InputError
        If there are more rows or columns than a worksheet has.
    """
    ending = path.suffix.lower()
    writer: _Parquet | _Text | _Excel | _Structures
    with atomic_path(path) as temporary:
        if ending in {".csv", ".tsv"}:
            writer = _Text(temporary, "," if ending == ".csv" else "\t")
        elif ending == ".xlsx":
            writer = _Excel(temporary, path.name)
        elif ending == ".sdf":
            writer = _Structures(temporary, smiles or "SMILES")
        else:
            writer = _Parquet(temporary, metadata)
        try:
            yield writer
        except BaseException:
            writer.close()
            raise
        writer.close()
    if not isinstance(writer, _Parquet):
        _write_beside(path, metadata, writer.columns)


def write_table(
    path: Path,
    frame: pl.DataFrame,
    *,
    metadata: Mapping[str, Any] | None = None,
    smiles: str | None = None,
) -> Path:
    """Write one frame as `frames_written` does, and return its path."""
    with frames_written(path, metadata=metadata, smiles=smiles) as writer:
        writer.write(frame)
    return path


def metadata_beside(path: Path) -> Path:
    """Return the file of a table's metadata, for formats that hold none."""
    return path.with_name(f"{path.name}-metadata.json")


def table_metadata(path: Path) -> dict[str, Any] | None:
    """Return what was written with a table; None where nothing was, or it is of another table."""
    if not path.is_file():
        return None
    if is_parquet(path):
        return parquet_metadata(path)
    beside = metadata_beside(path)
    if not beside.is_file():
        return None
    try:
        described = json.loads(beside.read_text(encoding="utf-8"))
        return dict(described["metadata"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_beside(path: Path, metadata: Mapping[str, Any] | None, columns: list[str]) -> None:
    beside = metadata_beside(path)
    if metadata is None:
        # That of a table which this one replaced would be wrong of it.
        beside.unlink(missing_ok=True)
        return
    described = {"url": path.name, "columns": columns, "metadata": metadata}
    write_text(beside, json.dumps(described, indent=1, ensure_ascii=False) + "\n")


class _Parquet:
    def __init__(self, path: Path, metadata: Mapping[str, Any] | None) -> None:
        self._path = path
        self._metadata = metadata
        self._writer: Any = None
        self._waiting: list[pl.DataFrame] = []
        self._rows = self._bytes = 0

    def write(self, frame: pl.DataFrame) -> None:
        self._waiting.append(frame)
        self._rows += frame.height
        self._bytes += int(frame.estimated_size())
        if self._rows >= _GROUP_ROWS or self._bytes >= _GROUP_BYTES:
            self._write_group()

    def _write_group(self) -> None:
        import pyarrow.parquet as pq  # type: ignore[import-untyped]  # it has no types

        # 64-bit strings and views are read by few others.
        table = pl.concat(self._waiting).to_arrow(compat_level=pl.CompatLevel.oldest())
        self._waiting, self._rows, self._bytes = [], 0, 0
        if self._metadata is not None:
            said = json.dumps(self._metadata, ensure_ascii=False).encode()
            table = table.replace_schema_metadata({KEY: said})
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self._path, table.schema, compression="zstd", write_page_checksum=True
            )
        self._writer.write_table(table)

    def close(self) -> None:
        if self._waiting:
            self._write_group()
        if self._writer is not None:
            self._writer.close()


class _Text:
    def __init__(self, path: Path, separator: str) -> None:
        self._handle = path.open("wb")
        self._separator = separator
        self.columns: list[str] = []

    def write(self, frame: pl.DataFrame) -> None:
        formulas_marked(frame).write_csv(
            self._handle, include_header=not self.columns, separator=self._separator
        )
        self.columns = frame.columns

    def close(self) -> None:
        self._handle.close()


class _Excel:
    def __init__(self, path: Path, name: str) -> None:
        try:
            import xlsxwriter  # type: ignore[import-untyped]  # it has no types
        except ImportError as error:
            raise ImportError(
                "Excel files need xlsxwriter, which the extra `excel` installs: "
                "pip install 'molpool-common[excel]'"
            ) from error
        self._name = name
        self._handle = path.open("wb")
        # Texts stay texts: a name that begins with = is no formula, and none is a link.
        options = {
            "constant_memory": True,
            "strings_to_formulas": False,
            "strings_to_urls": False,
            "strings_to_numbers": False,
        }
        self._book = xlsxwriter.Workbook(self._handle, options)
        self._sheet = self._book.add_worksheet("table")
        self._done = 0
        self.columns: list[str] = []

    def write(self, frame: pl.DataFrame) -> None:
        if not self.columns:
            self._head(frame)
        if self._done + 1 + frame.height > _MOST_ROWS:
            raise self._too_large(f"at most {_MOST_ROWS - 1:,} rows", "more")
        dates = [c for c, kind in frame.schema.items() if kind.is_temporal()]
        for row in frame.with_columns(pl.col(dates).cast(pl.String)).iter_rows():
            self._done += 1
            for column, value in enumerate(row):
                self._cell(column, value)

    def _head(self, frame: pl.DataFrame) -> None:
        self.columns = frame.columns
        if frame.width > _MOST_COLUMNS:
            raise self._too_large(f"at most {_MOST_COLUMNS:,} columns", str(frame.width))
        bold = self._book.add_format({"bold": True, "bottom": 1})
        for place, name in enumerate(frame.columns):
            texts = frame[name].head(100).cast(pl.String, strict=False).drop_nulls()
            longest = int(texts.str.len_chars().max() or 0)  # type: ignore[arg-type]  # of counts
            self._sheet.set_column(place, place, min(max(longest, len(name), 6) + 2, _WIDEST))
            self._sheet.write_string(0, place, name, bold)
        self._sheet.freeze_panes(1, 0)

    def _cell(self, column: int, value: Any) -> None:
        number = _number(value)
        if isinstance(value, bool):
            self._sheet.write_boolean(self._done, column, value)
        elif number is not None:
            self._sheet.write_number(self._done, column, number)
        elif value is not None:
            text = str(value)
            if len(text) > _MOST_CHARACTERS:
                raise self._too_large(
                    f"at most {_MOST_CHARACTERS:,} characters in a cell",
                    f"{len(text):,} in row {self._done} of {self.columns[column]!r}",
                )
            self._sheet.write_string(self._done, column, text)

    def _too_large(self, expected: str, found: str) -> InputError:
        return InputError(
            "--output",
            expected=f"{expected}, as a worksheet has",
            found=found,
            where=self._name,
            hint="Name a .parquet or .csv file.",
        )

    def close(self) -> None:
        if self.columns:
            self._sheet.autofilter(0, 0, self._done, len(self.columns) - 1)
        self._book.close()
        self._handle.close()


def _number(value: Any) -> float | None:
    """Return what a cell holds as a number: one, or text that says no more than the number does.

    Columns of text files are text; ``5.2`` is a number to a spreadsheet, ``007`` is a name.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        # Excel has neither infinity nor numbers of more than 15 digits.
        return float(value) if math.isfinite(value) and abs(value) < 1e15 else None
    if isinstance(value, str) and value[:1] in "-0123456789" and 0 < len(value) < 16:
        try:
            number = float(value)
        except ValueError:
            return None
        same = value in (repr(number), repr(number).removesuffix(".0"))
        return number if same and math.isfinite(number) else None
    return None


class _Structures:
    """Records of an SDF file: a structure drawn from its SMILES, and all columns as properties."""

    def __init__(self, path: Path, smiles: str) -> None:
        self._handle: IO[str] = path.open("w", encoding="utf-8", newline="\n")
        self._smiles = smiles
        self.columns: list[str] = []

    def write(self, frame: pl.DataFrame) -> None:
        from molpool_common._chem import mol_blocks

        self.columns = frame.columns
        if self._smiles not in frame.columns:
            raise InputError(
                "--output",
                expected=f"a column {self._smiles!r} of structures, as an SDF file holds them",
                found="none",
                hint="Name a .parquet, .csv or .xlsx file.",
            )
        titles = frame["id"] if "id" in frame.columns else frame.to_series(0)
        names = [name.replace("<", "(").replace(">", ")") for name in frame.columns]
        blocks = mol_blocks(frame[self._smiles].cast(pl.String).to_list())
        texts = frame.select(pl.all().cast(pl.String))
        rows = zip(blocks, titles.cast(pl.String), texts.iter_rows(), strict=True)
        for block, title, values in rows:
            # The first line of a block is its title.
            first = "" if title is None or title == "" else str(title).splitlines()[0]
            self._handle.write(sdf_line(first) + block[block.index("\n") :])
            for name, value in zip(names, values, strict=True):
                if value is not None:
                    # A blank line would end the value.
                    lines = [sdf_line(line) for line in value.splitlines() if line.strip()]
                    self._handle.write(f">  <{name}>\n" + "\n".join([*lines, "", ""]))
            self._handle.write("$$$$\n")

    def close(self) -> None:
        self._handle.close()
