"""What a user sees while affinities are measured: a bar, and the pairs that lead so far."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from molpool_pipelines.affinity.pairs import Pair, ranked

if TYPE_CHECKING:
    from task_affinity import AffinityProgress

_SHOWN = 3
_SECONDS = 0.5
MOST_LOGGED = 40
"""Tasks up to which the matrix is printed; a larger one is for the file."""


class AffinityScreen:
    """A progress bar above the pairs of highest and lowest affinity so far.

    Parameters
    ----------
    console : Console
        Where to draw; nothing is drawn where that is no terminal.
    task_names : sequence of str
        The tasks.
    symmetric : bool
        Whether both directions of a pair are one.
    """

    def __init__(self, console: Console, task_names: Sequence[str], *, symmetric: bool) -> None:
        self._names = task_names
        self._symmetric = symmetric
        self._progress = Progress(
            TextColumn("Measuring"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps"),
            TimeRemainingColumn(),
            console=console,
        )
        self._bar = self._progress.add_task("", total=None)
        self._drawn = 0.0
        # Drawn by hand between steps: a thread would take turns from the training.
        self._live = Live(self._progress, console=console, auto_refresh=False, transient=True)
        self._console = console

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Draw inside the block; what stands there is removed after it."""
        if not self._console.is_terminal:
            yield
            return
        with self._live:
            yield

    def __call__(self, progress: AffinityProgress) -> None:
        """Draw where the measurement stands, twice a second at most."""
        now = time.monotonic()
        if not self._live.is_started or now - self._drawn < _SECONDS:
            return
        self._drawn = now
        self._progress.update(self._bar, completed=progress.step, total=progress.n_steps)
        pairs = progress.pairs
        leading = ranked(
            self._names,
            pairs.matrix,
            pairs.standard_errors,
            pairs.counts,
            symmetric=self._symmetric,
            limit=_SHOWN,
        )
        self._live.update(
            Group(self._progress, pair_table(leading, symmetric=self._symmetric)), refresh=True
        )


def pair_table(pairs: Sequence[Pair], *, symmetric: bool, title: str | None = None) -> Table:
    """Return a table of pairs for the terminal, a rule where ranks are left out."""
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("rank", justify="right")
    for head in ("task", "task") if symmetric else ("receives", "from"):
        table.add_column(head, overflow="fold")
    for head in ("affinity", "± s.e.", "batches"):
        table.add_column(head, justify="right")
    for before, pair in zip((None, *pairs), pairs, strict=False):
        if before is not None and pair.rank > before.rank + 1:
            table.add_section()
        error = f"{pair.error:.3f}" if pair.error == pair.error else "–"
        row = (pair.receiver, pair.giver, f"{pair.affinity:+.3f}", error, f"{pair.batches:,}")
        table.add_row(f"{pair.rank:,}", *row)
    return table


@contextmanager
def printing_matrix(console: Console, n_tasks: int) -> Iterator[None]:
    """Print what task_affinity logs inside the block, unless a matrix would flood the screen."""
    if n_tasks > MOST_LOGGED:
        yield
        return
    logger = logging.getLogger("task_affinity")
    handler = _ConsoleHandler(console)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _ConsoleHandler(logging.Handler):
    """Prints records above whatever the console draws live."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self._console.print(self.format(record), highlight=False, markup=False, soft_wrap=True)
