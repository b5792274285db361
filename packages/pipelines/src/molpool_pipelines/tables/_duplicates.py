"""Rows that repeat a molecule: found, compared, merged.

Rows are one molecule where the first block of their parents' InChIKey is equal, as for every
split: a salt and its base, stereoisomers and isotopologues count as repeats of each other. Only
rows of one quality label are ever compared or merged, and rows for training only, or of another
given split, stay apart: a merged row then still has one quality and one split, and the tiers of a
curriculum stay what they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import polars as pl
from molpool_common import BoolArray, FloatArray, InputError, IntArray, MoleculeTable

from molpool_pipelines.tables._values import exact_labels, merge_bounds

DuplicateRule = Literal["error", "mean", "median", "keep"]
"""What becomes of repeats: refused if they differ, merged, or left as they are."""

SAME = 1e-9
"""Relative difference up to which two values agree: conversions of unit round differently."""

_MOST_LISTED = 10
_SIGN = {-1: "<", 0: "", 1: ">"}


@dataclass(frozen=True)
class Conflict:
    """A molecule with values of one task that cannot all be true.

    Parameters
    ----------
    smiles : str
        SMILES of its first row.
    task : int
        Column of the task.
    rows : tuple of int
        Positions in the table of the labelled rows, from 0 and ascending.
    values : tuple of float
        Their values.
    """

    smiles: str
    task: int
    rows: tuple[int, ...]
    values: tuple[float, ...]

    @property
    def spread(self) -> float:
        """Largest value less the smallest."""
        return max(self.values) - min(self.values)


@dataclass(frozen=True)
class DuplicateReport:
    """What repeats there are and whether they agree.

    Parameters
    ----------
    n_molecules : int
        Molecules, each within one quality, that have more than one row.
    n_rows : int
        Rows of these.
    n_repeated : int
        Pairs of molecule and task with more than one label.
    different : DataFrame
        Those of them whose labels differ: their ``task``, ``row`` and ``value``; a bound differs
        from what is on its wrong side.
    smiles : sequence of str
        Of the table.
    """

    n_molecules: int
    n_rows: int
    n_repeated: int
    different: pl.DataFrame
    smiles: Sequence[str] = field(repr=False)

    @property
    def n_conflicts(self) -> int:
        """Pairs whose labels differ."""
        return self.different.height

    @property
    def conflicts(self) -> list[Conflict]:
        """The pairs whose labels differ, by first row, then by task."""
        return self.conflicts_at(range(self.n_conflicts))

    def conflicts_at(self, positions: Sequence[int]) -> list[Conflict]:
        """Return some of the conflicts."""
        return [
            Conflict(self.smiles[rows[0]], task, tuple(rows), tuple(values))
            for task, rows, values in self.different[list(positions)].iter_rows()
        ]

    def spreads(self) -> tuple[IntArray, FloatArray]:
        """Return the task of each conflict, and its largest value less the smallest."""
        value = self.different["value"]
        spread = (value.list.max() - value.list.min()).to_numpy()
        return self.different["task"].to_numpy(), spread

    @property
    def n_agree(self) -> int:
        """Pairs of molecule and task with more than one label, all of them equal."""
        return self.n_repeated - self.n_conflicts


def find_duplicates(table: MoleculeTable) -> DuplicateReport:
    """Compare the labels of rows that repeat a molecule.

    Parameters
    ----------
    table : MoleculeTable
        Any table.

    Returns
    -------
    DuplicateReport
    """
    molecule = molecule_numbers(table, within=True)
    size = np.bincount(molecule)
    # Only rows of repeated molecules: the frame stays small in a table of millions.
    labelled = np.isfinite(table.targets) & (size[molecule] > 1)[:, None]
    row, task = np.nonzero(labelled)
    value = table.targets[row, task]
    sign = np.zeros(len(row)) if table.censoring is None else table.censoring[row, task]
    labels = pl.DataFrame(
        {
            "molecule": molecule[row],
            "task": task,
            "row": row,
            "value": value,
            # What a label allows is an interval, of length 0 if it is exact.
            "least": np.where(sign < 0, -np.inf, value),
            "most": np.where(sign > 0, np.inf, value),
        }
    )
    repeated = (
        labels.group_by("molecule", "task", maintain_order=True)
        .agg("row", "value", pl.col("least").max(), pl.col("most").min())
        .filter(pl.col("row").list.len() > 1)
        .sort("molecule", "task")
    )
    # Relative to the largest value of the molecule, as labels may be of any unit.
    magnitude = pl.col("value").list.eval(pl.element().abs()).list.max()
    # Labels agree where their intervals share a point: the greatest lower end against the least
    # upper one.
    different = repeated.filter(pl.col("least") - pl.col("most") > SAME * magnitude)
    return DuplicateReport(
        n_molecules=int((size > 1).sum()),
        n_rows=int(size[size > 1].sum()),
        n_repeated=repeated.height,
        different=different.select("task", "row", "value"),
        smiles=table.smiles,
    )


def merge_duplicates(table: MoleculeTable, how: DuplicateRule) -> MoleculeTable:
    """Return the table with the repeats of a molecule treated by a rule.

    Parameters
    ----------
    table : MoleculeTable
        Any table; it is not changed.
    how : {"error", "mean", "median", "keep"}
        ``keep`` leaves every row. ``error`` does too, but refuses labels that differ. ``mean`` and
        ``median`` make one row of each molecule, which stands where its first row stood and has
        that row's SMILES, id, source and row number, the quality of its rows, and the earliest of
        their times, which is the time of a molecule in a time split.

    Returns
    -------
    MoleculeTable
        A task that no row of a molecule measured stays without a label.

    Raises
    ------
    InputError
        With ``error``, listing the molecules whose labels differ.

    Notes
    -----
    Classes have no average: for a task whose labels are all 0 or 1, both ``mean`` and ``median``
    take the majority, and leave the label out where it is a tie. Bounds are merged only where a
    molecule has no exact label of the task (`molpool_pipelines.tables._values.merge_bounds`).
    """
    if how == "keep":
        return table
    if how == "error":
        _refuse_conflicts(table)
        return table
    molecule = molecule_numbers(table, within=True)
    # Molecules are numbered as they first come, so their first rows ascend.
    first = np.unique(molecule, return_index=True)[1].astype(np.int64)
    if len(first) == len(table):
        return table
    # Id, SMILES and origin are those of the first row, so that predictions name a row of the user's
    # table.
    merged = table.take(first)
    exact = exact_labels(table.targets, table.censoring)
    targets, censoring = _merged_targets(exact, molecule, how), None
    if table.censoring is not None:
        targets, censoring = merge_bounds(table.targets, table.censoring, molecule, targets)
    return replace(
        merged,
        targets=targets,
        censoring=censoring,
        times=_earliest_times(table, molecule),
    )


def molecule_numbers(table: MoleculeTable, *, within: bool = False) -> IntArray:
    """Return the number of each row's molecule: 0, 1, ... as they first come.

    Parameters
    ----------
    table : MoleculeTable
        N rows.
    within : bool
        Whether rows of another quality or split are another molecule.

    Returns
    -------
    ndarray of int64 [N]
    """
    apart = (table.quality, table.given, table.hold_out) if within else ()
    codes = _numbered(table.groups)
    for column in apart:
        if column is not None:
            own = _numbered(column)
            codes = codes * (own.max(initial=0) + 1) + own
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    order = np.empty(len(first), dtype=np.int64)
    order[np.argsort(first)] = np.arange(len(first))
    return order[inverse]


def _numbered(column: Sequence[Any] | BoolArray) -> IntArray:
    """Return a number for each cell, equal where cells are; what NumPy takes is freed at once."""
    return np.unique(np.asarray(column), return_inverse=True)[1].astype(np.int64)


def _merged_targets(
    targets: FloatArray, molecule: IntArray, how: Literal["mean", "median"]
) -> FloatArray:
    tasks = pl.exclude("molecule")
    average = tasks.mean() if how == "mean" else tasks.median()
    frame = pl.from_numpy(targets, schema=[str(t) for t in range(targets.shape[1])])
    merged = (
        frame.fill_nan(None)
        .with_columns(molecule=molecule)
        .group_by("molecule", maintain_order=True)
        .agg(average)
        .drop("molecule")
        .cast(pl.Float64)
        .fill_null(np.nan)
        .to_numpy()
        .copy()
    )
    for task in range(targets.shape[1]):
        labels = targets[:, task]
        if np.isin(labels[np.isfinite(labels)], (0.0, 1.0)).all():
            # A class of 0.5 is no class; `auto` would also take the task for regression.
            merged[:, task] = _majority(merged[:, task])
    return merged


def _majority(share: FloatArray) -> FloatArray:
    """Return the class that more than half of the labels have, NaN for none of them."""
    tie = np.isnan(share) | (share == 0.5)
    majority: FloatArray = np.where(tie, np.nan, np.round(share))
    return majority


def _earliest_times(table: MoleculeTable, molecule: IntArray) -> list[object] | None:
    if table.times is None:
        return None
    from molpool_common import parse_times

    # Rows for training only have no time, and are never merged with those that have one.
    moment = np.zeros(len(table))
    # Parsed as one column, since the format of dates is inferred from all of them.
    moment[table.hold_out] = parse_times([table.times[i] for i in np.flatnonzero(table.hold_out)])
    order = np.lexsort((moment, molecule))
    # The earliest: a molecule known before the cut-off must not count as new because it was
    # measured again.
    earliest = order[np.unique(molecule[order], return_index=True)[1]]
    return [table.times[i] for i in earliest]


def _refuse_conflicts(table: MoleculeTable) -> None:
    report = find_duplicates(table)
    if not report.n_conflicts:
        return
    first = report.conflicts_at(range(min(_MOST_LISTED, report.n_conflicts)))
    lines = [f"  {_describe(conflict, table)}" for conflict in first]
    rest = report.n_conflicts - _MOST_LISTED
    if rest > 0:
        lines.append(f"  and {rest} more")
    raise InputError(
        "duplicates",
        expected="equal values wherever a task of a molecule is repeated",
        found=f"{report.n_conflicts} of {report.n_repeated} repeats with different values "
        f"({report.n_agree} agree)",
        hint="mean or median merges them, keep leaves them as they are. Stereoisomers count as one "
        "molecule, and so do a salt and its base (first block of the parent's InChIKey).\n"
        + "\n".join(lines),
    )


def _describe(conflict: Conflict, table: MoleculeTable) -> str:
    places = table.origin[list(conflict.rows[:_MOST_LISTED])]
    signs = [_SIGN[_sign(table, row, conflict.task)] for row in conflict.rows]
    values = [
        f"{sign}{value:g} ({source}, row {row})"
        for sign, value, source, row in zip(
            signs, conflict.values, places["source"], places["row"], strict=False
        )
    ]
    rest = len(conflict.rows) - _MOST_LISTED
    more = f" and {rest} more" if rest > 0 else ""
    return f"{conflict.smiles}, {table.task_names[conflict.task]}: {', '.join(values)}{more}"


def _sign(table: MoleculeTable, row: int, task: int) -> int:
    return 0 if table.censoring is None else int(table.censoring[row, task])
