"""Lines of a text file one by one: those that fit no header named, the others written to a copy."""

from __future__ import annotations

import csv
import io
import tempfile
import weakref
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal, NamedTuple

from molpool_common._errors import InputError, listed
from molpool_common.tables._files import opened

_NAMED = 20
"""Lines that a message names."""

_LONGEST = 10_000
"""Lines of a cell after which its quote is taken for one too many."""

_End = Literal["closed", "open", "broken"]


class Record(NamedTuple):
    """A row of a text file.

    Parameters
    ----------
    line : int
        Where it begins, from 1.
    fields : list of str
        Its cells.
    fault : str or None
        What is wrong with its quotes.
    """

    line: int
    fields: list[str]
    fault: str | None = None


@dataclass
class Mended:
    """A copy of a text file that parsers read, for as long as this object is there.

    Parameters
    ----------
    path : Path
        UTF-8, one line end, quotes where they are needed.
    notes : list of str
        What was passed over.
    """

    path: Path
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        weakref.finalize(self, self.path.unlink, missing_ok=True)


def mend(
    path: Path, encoding: str, separator: str, width: int, *, quoted: bool, key: str
) -> Mended:
    """Copy a text file, or name the lines that do not fit its header.

    Blank lines, and empty fields beyond the header's, are passed over.

    Parameters
    ----------
    path : Path
        The file, perhaps compressed.
    encoding, separator : str
        How it is written.
    width : int
        Fields of its header.
    quoted : bool
        Whether double quotes enclose cells.
    key : str
        The configuration key that named the table, for messages.

    Raises
    ------
    InputError
        For lines of other widths and for quotes that do not close, with their numbers.
    """
    wrong: list[Record] = []
    passed: dict[str, int] = {"blank": 0, "longer": 0}
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", newline="", suffix=".csv", prefix="molpool-", delete=False
    ) as handle:
        copy = Mended(Path(handle.name))
        writer = csv.writer(handle, delimiter=separator, lineterminator="\n")
        for cells in _fitting(
            _records(path, encoding, separator, width, quoted=quoted), width, wrong, passed
        ):
            writer.writerow(cells)
    _refuse(wrong, width, separator, path, key)
    if passed["blank"]:
        copy.notes.append(f"Blank lines passed over: {passed['blank']:,}.")
    if passed["longer"]:
        copy.notes.append(
            f"Empty fields beyond the header passed over: {passed['longer']:,} lines."
        )
    return copy


def _fitting(
    records: Iterator[Record], width: int, wrong: list[Record], passed: dict[str, int]
) -> Iterator[list[str]]:
    """Yield the cells of the records that fit the header."""
    waiting = 0
    for record in records:
        cells = record.fields
        if record.fault is None and len(cells) == 1 and not cells[0].strip():
            waiting += 1
        elif record.fault is not None or len(cells) < width or any(map(str.strip, cells[width:])):
            wrong.append(record)
        else:
            # In a table of one column a blank line before others is a row without a value.
            yield from ([""] for _ in range(waiting if width == 1 else 0))
            passed["blank"] += waiting if width > 1 else 0
            passed["longer"] += len(cells) > width
            waiting = 0
            yield cells[:width]
    passed["blank"] += waiting


def _refuse(wrong: list[Record], width: int, separator: str, path: Path, key: str) -> None:
    quotes = [record for record in wrong if record.fault is not None]
    if not wrong:
        return
    # A quote too many may be why other lines do not fit.
    first = (quotes or wrong)[0]
    numbers = [record.line for record in quotes or wrong]
    lines = f"Lines: {listed(numbers, _NAMED)}. " if len(numbers) > 1 else ""
    raise InputError(
        key,
        expected="double quotes that open and close around whole cells"
        if quotes
        else "as many fields in each line as in the header",
        found=f"{first.fault} in line {first.line}"
        if quotes
        else f"{len(first.fields)} in line {first.line}, {width} in the header",
        where=path.name,
        hint=lines
        + (
            "Take the quote out, or write --read.quote none if quotes mean nothing here."
            if quotes
            else f"Lines were cut at {separator!r}; --read.separator names another."
        ),
    )


def _records(
    path: Path, encoding: str, separator: str, width: int, *, quoted: bool
) -> Iterator[Record]:
    """Yield the header and the rows of a file."""
    with opened(path) as raw:
        lines = _Lines(_decoded(raw, encoding, path))
        for number, line in lines:
            if not quoted or '"' not in line:
                yield Record(number, line.split(separator))
                continue
            cells, end = cells_of(line, separator)
            if end == "closed":
                yield Record(number, cells)
            elif end == "open" and (whole := _over_lines(lines, line, separator, width)):
                yield Record(number, whole)
            else:
                shown = cells[-1] if len(cells[-1]) < 40 else cells[-1][:40] + "..."
                yield Record(number, cells, f"a quote that does not close its cell, {shown!r},")


class _Lines:
    """Numbered lines that can be put back."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = enumerate(lines, 1)
        self._back: deque[tuple[int, str]] = deque()

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> tuple[int, str]:
        return self._back.popleft() if self._back else next(self._lines)

    def put_back(self, lines: list[tuple[int, str]]) -> None:
        self._back.extendleft(reversed(lines))


def _over_lines(lines: _Lines, line: str, separator: str, width: int) -> list[str] | None:
    """Return the cells of a record that goes over lines; None, and nothing read, if it is none."""
    cells, end = cells_of(line, separator)
    taken: list[tuple[int, str]] = []
    while end == "open" and len(taken) < _LONGEST:
        following = next(lines, None)
        if following is None:
            break
        taken.append(following)
        more, end = cells_of(following[1], separator, inside=True)
        cells[-1] += "\n" + more[0]
        cells += more[1:]
    swallowed = len(taken) >= (1 if width > 2 else 2) and all(
        text.count(separator) == width - 1 for text in (line, *(text for _, text in taken))
    )
    # Each line alone is a row: two stray quotes are more likely than such a cell.
    if end == "closed" and not (swallowed and width > 1):
        return cells
    lines.put_back(taken)
    return None


def cells_of(line: str, separator: str, *, inside: bool = False) -> tuple[list[str], _End]:
    """Return the cells of a line, the last perhaps of an open quote, and how it ends.

    A quote that does not begin a cell is a character like others.
    """
    cells: list[str] = []
    at = 0
    while True:
        if inside or line[at : at + 1] == '"':
            text, at, end = _quoted(line, at + (not inside), separator)
            inside = False
            if end != "closed":
                return [*cells, text], end
        else:
            stop = line.find(separator, at)
            stop = len(line) if stop < 0 else stop
            text, at = line[at:stop], stop
        cells.append(text)
        if at >= len(line):
            return cells, "closed"
        at += 1


def _quoted(line: str, at: int, separator: str) -> tuple[str, int, _End]:
    """Return the text of a cell from behind its quote, where it ends, and how."""
    parts: list[str] = []
    while True:
        end = line.find('"', at)
        if end < 0:
            return "".join([*parts, line[at:]]), len(line), "open"
        parts.append(line[at:end])
        after = line[end + 1 : end + 2]
        if after in ("", separator):
            return "".join(parts), end + 1, "closed"
        if after != '"':
            return "".join([*parts, line[end:]]), len(line), "broken"
        parts.append('"')
        at = end + 2


def _decoded(raw: IO[bytes], encoding: str, path: Path) -> Iterator[str]:
    """Yield lines without their ends, whichever of the three these are."""
    with io.TextIOWrapper(raw, encoding=encoding, newline=None) as text:
        try:
            for i, line in enumerate(text):
                yield (line.removeprefix("\ufeff") if i == 0 else line).removesuffix("\n")
        except UnicodeError as error:
            raise InputError(
                "--read.encoding", expected=f"text in {encoding}", found=str(error), where=path.name
            ) from None
