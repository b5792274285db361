"""Tables on the screen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from rich.table import Table

from molpool_pipelines.retention.evaluation import Evaluation, Scored, with_rows

OFFSET = "sigma_offset["
"""Before the group of an entry that is no scale but a group's offset of log σ, one each."""

SHOWN = 20
"""Scales on the screen; metrics.json has all of them."""


def scale_table(scales: Mapping[str, Mapping[str, float]]) -> Table:
    """Return the scales with their 95 % intervals; a scale at exactly 0 is said to be."""
    table = Table(title="Standard deviations", title_justify="left", title_style="bold")
    table.add_column("scale")
    for name in ("estimate", "95 % from", "to"):
        table.add_column(name, justify="right")
    named = [item for item in scales.items() if not item[0].startswith(OFFSET)]
    for name, scale in named[:SHOWN]:
        mean = "0 (exactly)" if scale["mean"] == 0 else number(scale["mean"])
        table.add_row(name, mean, number(scale["low"]), number(scale["high"]))
    if len(scales) > min(len(named), SHOWN):
        table.caption = f"and {len(scales) - min(len(named), SHOWN)} more in metrics.json"
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
    table = Table(title=scored.name, title_justify="left", title_style="bold", caption=caption)
    table.caption_justify = "left"
    filled = with_rows(scored.table)
    shown = [c for c in _SUPPORT if c.column != "n_missing" or filled["n_missing"].sum()]
    for column in shown:
        justify: Literal["left", "right"] = "left" if column.column == "support" else "right"
        table.add_column(column.head, justify=justify, no_wrap=True)
    for row in filled.iter_rows(named=True):
        if row["support"] == "all":
            table.add_section()
        table.add_row(*(_cell(row[c.column], c.digits) for c in shown))
    return table


def _cell(value: Any, digits: int) -> str:
    return f"{value:.{digits}f}" if isinstance(value, float) else number(value)


class _Column(NamedTuple):
    head: str
    column: str
    digits: int = 3


_SUPPORT = (
    _Column("support", "support"),
    _Column("rows", "n"),
    _Column("none", "n_missing"),
    _Column("RMSE", "rmse"),
    _Column("pair p99", "pair_rmse_p99"),
    _Column("50 %", "coverage_50"),
    _Column("80 %", "coverage_80"),
    _Column("95 %", "coverage_95"),
    _Column("z sd", "z_sd", 2),
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
    rare = [scored.rare.row(-1, named=True) for scored in evaluation.scored]
    if rare[0]["n"]:
        found = [row["rmse"] for row in rare]
        label = f"rare, {rare[0]['support']}"
        table.add_row(label, number(rare[0]["n"]), *(number(rmse) for rmse in found))
    return table
