"""What terminal and page say: sentences, tables of the screen, and a bar while measuring."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from molpool_common import tell
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from task_affinity import AffinityResult

from molpool_pipelines.affinity._group import Affinity, Pair, ranked_pairs

if TYPE_CHECKING:
    from task_affinity import AffinityProgress

_PAIRS_PER_END = 3
_SECONDS = 0.5
MOST_PRINTED = 40
"""Tasks up to which the matrix is printed; a larger one is for the file."""

ADVICE = (
    "Go by rank and by error bar, not by absolute thresholds. On real assays cosines of task"
    " gradients mostly lie between 0 and 0.3, so that limits such as 0.7 for tasks that belong"
    " together would never be met; what counts is who agrees with whom more than with others, by"
    " more than the standard errors.",
    "A group whose tasks stand together in most resamples is one that these data support. Where"
    " that share is low, the tasks could as well stand elsewhere: measure longer (affinity_epochs),"
    " ask for fewer groups, or let n_groups be auto.",
    "Standard errors are over the batches of one short training. Another seed adds a spread that"
    " they do not hold; two or three seeds show it.",
    "Agreeing gradients do not promise lower errors. Compare the groups with one model of all"
    " tasks, and with single tasks, on molecules that neither saw.",
)
"""How to read affinities and groups."""


def score_words(affinity: Affinity) -> str:
    """Return how the groups were found, their score, and how sure they are."""
    grouping = affinity.grouping
    words = [f"By {method_words(affinity)}: {_score(affinity)}."]
    if grouping.silhouettes:
        tried = ", ".join(
            f"{n}: {_number(score)}" for n, score in sorted(grouping.silhouettes.items())
        )
        words.append(f"Number of groups by silhouette ({tried}).")
    if affinity.stability is not None:
        words.append(
            f"{affinity.stability.n_bootstrap} resamples of the batches agree with them to"
            f" {affinity.stability.agreement:.2f} (adjusted Rand index; 1: always the same,"
            " 0: random)."
        )
    return " ".join(words)


def method_words(affinity: Affinity) -> str:
    """Return the method; of tag, which search ran."""
    grouping = affinity.grouping
    if grouping.method == "tag":
        return f"tag ({'exact' if grouping.exact else 'beam search'})"
    return "average linkage" if grouping.method == "agglomerative" else "spectral clustering"


def _score(affinity: Affinity) -> str:
    grouping = affinity.grouping
    if grouping.method == "tag":
        return f"a task receives {_number(grouping.score)} in the group that serves it, on average"
    if math.isnan(grouping.score):
        return "no silhouette, which needs 2 groups or more, and fewer than tasks"
    return f"mean silhouette {_number(grouping.score)}"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


_MEASURES = {
    "cosine": "the cosine of their gradients, averaged over the batches that had labels of both",
    "dot_product": "the product of their gradients, averaged over the batches that had labels of"
    " both and divided at the end by the root of both tasks' own",
    "lookahead": "the share of one task's loss that a gradient step on the other removes from it,"
    " averaged over the batches that had labels of both (TAG, Fifty et al. 2021)",
}


def measured_words(result: AffinityResult) -> str:
    """Return what was trained and what an affinity is."""
    config = result.config
    kind = config.affinity_type
    if kind == "dot_product" and config.normalize_gradients:
        kind = "cosine"  # products of unit gradients
    words = [
        "A Chemprop model of default size was trained on all tasks at once for"
        f" {_count(config.affinity_epochs, 'epoch')} (Adam, learning rate {config.affinity_lr:g},"
        f" {config.affinity_batch_size} molecules per batch). The affinity of two tasks is"
        f" {_MEASURES[kind]}."
    ]
    if kind != "lookahead":
        of = (
            "encoder's output" if config.gradient_scope == "representation" else "encoder's weights"
        )
        words.append(f"Gradients are with respect to the {of}.")
    if result.estimator == "probe":
        words.append(f"They were estimated from {config.n_probes} random directions per step.")
    if config.every_n_steps > 1:
        words.append(f"One step in {config.every_n_steps} was measured.")
    return " ".join(words)


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


class AffinityScreen:
    """A progress bar above the pairs of highest and lowest affinity so far.

    Parameters
    ----------
    console : Console
        Where to render; where that is no terminal, steps are told alone.
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
        self._rendered_at = 0.0
        # Drawn by hand between steps: a thread would take turns from the training.
        self._live = Live(self._progress, console=console, auto_refresh=False, transient=True)
        self._console = console

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Draw inside the block; what stands there is removed after it."""
        # A file or a pipe would fill with frames of the bar.
        if not self._console.is_terminal:
            yield
            return
        with self._live:
            yield

    def __call__(self, progress: AffinityProgress) -> None:
        """Draw where the measurement stands, twice a second at most."""
        now = time.monotonic()
        if not self._live.is_started:
            if progress.n_steps is not None:
                tell("Measuring", progress.step, progress.n_steps, "steps")
            return
        if now - self._rendered_at < _SECONDS:
            return
        self._rendered_at = now
        self._progress.update(self._bar, completed=progress.step, total=progress.n_steps)
        pairs = progress.pairs
        leading = ranked_pairs(
            self._names,
            pairs.matrix,
            pairs.standard_errors,
            pairs.counts.astype(np.int64),
            symmetric=self._symmetric,
            limit=_PAIRS_PER_END,
        )
        self._live.update(
            Group(self._progress, pair_table(leading, symmetric=self._symmetric)), refresh=True
        )


def pair_table(pairs: Sequence[Pair], *, symmetric: bool, title: str | None = None) -> Table:
    """Return a table of pairs for the terminal, a rule where ranks are left out."""
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("rank", justify="right")
    for head in ("task", "task") if symmetric else ("receives", "from"):
        table.add_column(head)
    for head in ("affinity", "± s.e.", "batches"):
        table.add_column(head, justify="right")
    # strict=False: one longer by the leading None.
    for before, pair in zip((None, *pairs), pairs, strict=False):
        if before is not None and pair.rank > before.rank + 1:
            table.add_section()
        # NaN differs from itself: an affinity of a single batch has no error.
        error = f"{pair.error:.3f}" if pair.error == pair.error else "–"
        row = (pair.receiver, pair.giver, f"{pair.affinity:+.3f}", error, f"{pair.batches:,}")
        table.add_row(f"{pair.rank:,}", *row)
    return table


@contextmanager
def printing_matrix(console: Console | None, n_tasks: int) -> Iterator[None]:
    """Print what task_affinity logs inside the block, unless a matrix would flood the screen.

    Without a console nothing is printed, which task_affinity does itself where nobody listens.
    """
    logger = logging.getLogger("task_affinity")
    handler: logging.Handler = logging.NullHandler()
    if console is not None and n_tasks <= MOST_PRINTED:
        handler = _ConsoleHandler(console)
    # The library's own messages; a handler on the root logger would print those of others too.
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


def print_outcome(console: Console, notes: Sequence[str], affinity: Affinity) -> None:
    """Print notes, pairs and groups."""
    for note in notes:
        console.print(note, markup=False)
    pairs = affinity.pairs(_PAIRS_PER_END)
    if pairs:
        console.print(
            pair_table(
                pairs, symmetric=affinity.is_symmetric, title="Highest and lowest affinities"
            )
        )
    console.print(_group_table(affinity))
    console.print(score_words(affinity), markup=False)


def _group_table(affinity: Affinity) -> Table:
    table = Table(title="Groups", title_justify="left", title_style="bold")
    table.add_column("group", justify="right")
    table.add_column("tasks")
    table.add_column("together", justify="right")
    shares = affinity.cohesion()
    for k, (tasks, share) in enumerate(zip(affinity.grouping.groups, shares, strict=True)):
        served = affinity.grouping.assignment
        named = [task if served[task] == k else f"({task})" for task in tasks]
        table.add_row(str(k), ", ".join(named), "–" if math.isnan(share) else f"{share:.0%}")
    return table
