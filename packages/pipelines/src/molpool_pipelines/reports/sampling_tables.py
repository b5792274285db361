"""Tables of a report that say what was drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl
from molpool_common import Cell, Table


def statistics_table(frame: pl.DataFrame) -> Table:
    """Return the weight statistics of each epoch.

    Parameters
    ----------
    frame : DataFrame
        Of `SamplingLog`.
    """
    heads = {
        "epoch": "epoch",
        "phase": "phase",
        "min": "smallest p",
        "max": "largest p",
        "entropy": "entropy (nats)",
        "effective_samples": "effective rows",
        "distinct_rows": "distinct rows drawn",
    }
    if frame["phase"].is_null().all():
        del heads["phase"]  # no curriculum
    rows = frame.select(list(heads)).with_columns(
        pl.col("epoch") + 1,
        pl.col("min", "max").map_elements(lambda v: f"{v:.2e}", return_dtype=pl.String),
    )
    return Table(
        list(heads.values()),
        [list(row) for row in rows.iter_rows()],
        caption="Row distribution of each epoch; effective rows are 1/Σp².",
        digits=2,
    )


def positives_table(
    frame: pl.DataFrame, held: Mapping[str, int], tasks: Sequence[str], n_rows: int
) -> Table:
    """Return positives among the rows and among the draws of an average epoch, by task.

    Parameters
    ----------
    frame : DataFrame
        Of `SamplingLog`, with positives.
    held : mapping of str to int
        Its `held`.
    tasks : sequence of str
        Names of the tasks.
    n_rows : int
        Rows drawn from; an epoch draws as many.
    """
    rows: list[list[Cell]] = []
    for task in tasks:
        n, drawn = held[f"positives: {task}"], float(frame[f"positives: {task}"].mean())  # type: ignore[arg-type]
        rows.append([task, n, 100 * n / n_rows, drawn, 100 * drawn / n_rows])
    return Table(
        ["task", "positives", "of the bags, %", "drawn an epoch", "of the draws, %"],
        rows,
        caption="Positives of each task among the training bags and, on average, in an epoch.",
        digits=2,
    )
