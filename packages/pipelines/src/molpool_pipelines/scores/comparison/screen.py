"""What `compare` shows on the screen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from molpool_common import LABELS
from rich.console import Console
from rich.table import Table

from molpool_pipelines.scores.comparison.result import MACRO, Comparison
from molpool_pipelines.scores.comparison.words import headline, method


def show_comparison(found: Comparison, console: Console, files: Sequence[Path]) -> None:
    """Print values by the first metrics, records, notes and the files."""
    for metric in found.metrics[:2]:
        console.print(_values(found, metric))
    console.print(_records(found))
    console.print(method(found))
    for note in found.notes:
        console.print(f"[yellow]Note:[/yellow] {note}")
    console.print(f"[bold]{headline(found)}[/bold]")
    for file in files:
        console.print(str(file), soft_wrap=True)


def _values(found: Comparison, metric: str) -> Table:
    table = Table(title=LABELS[metric], box=None, title_justify="left")
    table.add_column("task")
    for model in found.models:
        table.add_column(model, justify="right", overflow="fold")
    for task in dict.fromkeys(t for t, m in found.places if m == metric):
        cells = [
            "–" if v.value is None else f"{v.value:.3f}" for v in found.values_of(task, metric)
        ]
        table.add_row(task, *cells, style="bold" if task == MACRO else None)
    return table


def _records(found: Comparison) -> Table:
    title = "Wins - losses - cannot tell, over tasks and opponents"
    table = Table(title=title, box=None, title_justify="left")
    table.add_column("model", overflow="fold")
    for metric in found.metrics:
        table.add_column(LABELS[metric], justify="right")
    for model in found.models:
        records = [found.record(model, metric) for metric in found.metrics]
        table.add_row(model, *(f"{w}-{lost}-{t}" for w, lost, t in records))
    return table
