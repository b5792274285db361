"""Tables on the screen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.table import Table

from molpool_rt.evaluation import Evaluation, Scored, with_rows

SHOWN = 20
"""Scales on the screen; metrics.json has all of them."""


def scale_table(scales: Mapping[str, Mapping[str, float]]) -> Table:
    """Return the scales with their 95 % intervals; a scale at exactly 0 is said to be."""
    table = Table(title="Standard deviations", title_justify="left", title_style="bold")
    table.add_column("scale")
    for name in ("estimate", "95 % from", "to"):
        table.add_column(name, justify="right")
    for name, scale in list(scales.items())[:SHOWN]:
        mean = "0 (exactly)" if scale["mean"] == 0 else number(scale["mean"])
        table.add_row(name, mean, number(scale["low"]), number(scale["high"]))
    if len(scales) > SHOWN:
        table.caption = f"and {len(scales) - SHOWN} more in metrics.json"
    return table


def number(value: Any, digits: int = 4) -> str:
    """Return a number for the screen; a dash where there is none."""
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return "–"
    if isinstance(value, float):
        return f"{value:.{digits}g}" if abs(value) < 1e-3 and value else f"{value:.{digits}f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def support_table(scored: Scored, caption: str) -> Table:
    """Return errors and coverage by support, pairs never seen first."""
    title = scored.name
    table = Table(title=title, title_justify="left", title_style="bold", caption=caption)
    table.caption_justify = "left"
    for head, _ in _SUPPORT:
        table.add_column(head, justify="left" if head == "support" else "right", no_wrap=True)
    for row in with_rows(scored.table).iter_rows(named=True):
        if row["support"] == "all":
            table.add_section()
        table.add_row(*(_decimals(row[name]) for _, name in _SUPPORT))
    return table


def _decimals(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else number(value)


_SUPPORT = (
    ("support", "support"),
    ("rows", "n"),
    ("none", "n_missing"),
    ("RMSE", "rmse"),
    ("pair p99", "pair_rmse_p99"),
    ("50 %", "coverage_50"),
    ("80 %", "coverage_80"),
    ("95 %", "coverage_95"),
    ("z sd", "z_sd"),
)


def comparison_table(evaluation: Evaluation) -> Table:
    """Return the RMSE of each fit side by side, on the rows that all of them predict."""
    table = Table()
    table.add_column("support")
    table.add_column("rows", justify="right")
    for scored in evaluation.scored:
        table.add_column(scored.name, justify="right")
    first = evaluation.scored[0].common.with_row_index("place")
    for row in with_rows(first).iter_rows(named=True):
        if row["support"] == "all":
            table.add_section()
        found = [scored.common["rmse"][row["place"]] for scored in evaluation.scored]
        table.add_row(row["support"], number(row["n"]), *(number(rmse) for rmse in found))
    return table
