"""What `molpool-data list` and `molpool-data fetch` print."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from molpool_common import answer, console, size, tell
from molpool_pipelines.datasets import (
    DATA_VARIABLE,
    DataFile,
    Dataset,
    Outcome,
    cache_folder,
    dataset,
    fetch,
    find,
    registry,
)
from rich.padding import Padding


class Place(StrEnum):
    """Where a file or a whole data set was found."""

    NAMED = DATA_VARIABLE
    CACHE = "cache"
    PARTLY = "partly"
    ABSENT = "not here"


def place(entry: Dataset) -> Place:
    """Return where the files of a data set lie; `PARTLY` if some lie nowhere or elsewhere."""
    places = {_place_of(find(entry, file)) for file in entry.files}
    return places.pop() if len(places) == 1 else Place.PARTLY


def _place_of(path: Path | None) -> Place:
    if path is None:
        return Place.ABSENT
    return Place.CACHE if path.is_relative_to(cache_folder()) else Place.NAMED


def print_table() -> None:
    """Print name, rows, size, licence and place of each data set, and its title below."""
    out = console()
    entries = registry().values()
    rows = [("name", "rows", "size", "licence", "found")] + [_cells(entry) for entry in entries]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    # A title has a line of its own, so that at 80 columns neither name nor licence is ever cut.
    out.print(_line(rows[0], widths), style="bold", soft_wrap=True)
    for entry, row in zip(entries, rows[1:], strict=True):
        out.print(_line(row, widths), soft_wrap=True)
        out.print(Padding(entry.title, (0, 0, 0, 2), expand=False), style="dim", markup=False)
    out.print(
        f"\nfound: in a folder of {DATA_VARIABLE}, in the cache ({cache_folder()}), or not here; "
        "partly: some files only. NOASSERTION: the owner states no licence.",
        markup=False,
    )


def _cells(entry: Dataset) -> tuple[str, ...]:
    rows = f"{entry.rows:,}" if entry.rows else "-"
    return (entry.name, rows, size(entry.bytes), entry.licence.id, str(place(entry)))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    name, rows, bytes_, *rest = cells
    numbers = [rows.rjust(widths[1]), bytes_.rjust(widths[2])]
    words = [text.ljust(width) for text, width in zip(rest, widths[3:], strict=True)]
    return "  ".join([name.ljust(widths[0]), *numbers, *words]).rstrip()


def registry_values() -> list[dict[str, Any]]:
    """Return every entry with its addresses and where each file was found."""
    return [_as_json(entry) for entry in registry().values()]


def _as_json(entry: Dataset) -> dict[str, Any]:
    files = [_file_as_json(entry, file) for file in entry.files]
    return {
        **entry.model_dump(mode="json"),
        "rows": entry.rows,
        "bytes": entry.bytes,
        "found": str(place(entry)),
        "files": files,
    }


def _file_as_json(entry: Dataset, file: DataFile) -> dict[str, Any]:
    path = find(entry, file)
    return {
        **file.model_dump(mode="json"),
        "format": file.format,
        "location": entry.location(file),
        "address": entry.address(file),
        "path": None if path is None else str(path),
    }


class _Bytes:
    """Tells how many bytes of a fetch are there and keeps what became of each file."""

    def __init__(self, entry: Dataset) -> None:
        self.entry, self.there = entry, 0
        self.done: list[tuple[Path, Outcome]] = []

    def advanced(self, file: DataFile, count: int) -> None:
        """Count the bytes that came."""
        self.there += count
        tell(f"Fetching {self.entry.name}", self.there // 1000, self.entry.bytes // 1000, "kB")

    def finished(self, file: DataFile, path: Path, outcome: Outcome) -> None:
        """Keep the outcome; a file that was there counts at once."""
        self.done.append((path, outcome))
        if outcome is Outcome.PRESENT:
            self.advanced(file, file.bytes)


def fetch_and_report(name: str, into: Path | None) -> None:
    """Fetch a data set, and print each file, the licence, the citation and the caveats.

    Raises
    ------
    InputError
        As `molpool_pipelines.datasets.fetch`; what was fetched until then is printed all the same.
    """
    entry = dataset(name)
    came = _Bytes(entry)
    try:
        fetch(name, into=into, progress=came)
    finally:
        if came.done:
            _report(entry, came.done)


def _report(entry: Dataset, done: list[tuple[Path, Outcome]]) -> None:
    answer(
        files=[path for path, _ in done],
        outcomes=[str(outcome) for _, outcome in done],
        licence=entry.licence.model_dump(mode="json"),
        citation=entry.citation,
        notes=list(entry.notes),
    )
    out = console()
    for path, outcome in done:
        # A path is to be copied by hand or by a pipe: it is never broken over lines.
        out.print(f"{outcome}: {path}", soft_wrap=True, markup=False)
    licence = f"{entry.licence.id}. {entry.licence.note}".strip()
    for label, text in [("Licence", licence), ("Cite", entry.citation)]:
        out.print(f"\n{label}", style="bold")
        out.print(Padding(text, (0, 0, 0, 2), expand=False), markup=False)
    if entry.notes:
        out.print("\nNote", style="bold")
        for note in entry.notes:
            out.print(Padding(note, (0, 0, 0, 2), expand=False), markup=False)
