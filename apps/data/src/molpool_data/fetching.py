"""The command `molpool-data fetch`: a progress bar, then what was done and on which terms."""

from __future__ import annotations

from pathlib import Path

from molpool_common import _cli as console
from molpool_pipelines.datasets import DataFile, Dataset, Outcome, dataset, fetch
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn


class _Bar:
    """Shows the bytes of a fetch as one bar and keeps what became of each file."""

    def __init__(self, entry: Dataset, err: Console) -> None:
        # On stderr and gone at the end, so that a pipe gets the report alone.
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            console=err,
            transient=True,
            disable=not err.is_terminal,
        )
        self.task = self.progress.add_task(entry.name, total=entry.bytes)
        self.done: list[tuple[Path, Outcome]] = []

    def advanced(self, file: DataFile, count: int) -> None:
        """Move the bar by the bytes that came."""
        self.progress.advance(self.task, count)

    def finished(self, file: DataFile, path: Path, outcome: Outcome) -> None:
        """Keep the outcome; a file that was there moves the bar at once."""
        self.done.append((path, outcome))
        if outcome is Outcome.PRESENT:
            self.progress.advance(self.task, file.bytes)


def fetch_and_report(name: str, into: Path | None) -> None:
    """Fetch a data set, and print each file, the licence, the citation and the caveats.

    Raises
    ------
    InputError
        As `molpool_pipelines.datasets.fetch`; what was fetched until then is printed all the same.
    """
    entry = dataset(name)
    bar = _Bar(entry, console(stderr=True))
    try:
        with bar.progress:
            fetch(name, into=into, progress=bar)
    finally:
        if bar.done:
            _report(entry, bar.done)


def _report(entry: Dataset, done: list[tuple[Path, Outcome]]) -> None:
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
