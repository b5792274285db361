"""Molecules with targets, quality and times, row by row."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import polars as pl

from molpool_common._arrays import BoolArray, FloatArray, IntArray, SignArray
from molpool_common._scales import from_scale
from molpool_common._stored_texts import StoredTexts
from molpool_common.tables._settings import ScaleName


@dataclass(frozen=True)
class MoleculeTable:
    """Molecules with targets, row by row; all columns have N rows.

    Parameters
    ----------
    task_names : tuple of str
        Names of the T tasks.
    smiles : sequence of str
        SMILES as given; each parses.
    groups : sequence of str
        First block of the InChIKey of the structure that is compared, by default the parent: rows
        of equal block are one molecule. Of a long table that is only counted numbers stand for
        blocks (`array` of 8 bytes), and texts are `StoredTexts`.
    targets : ndarray [N, T]
        Values after conversion, NaN where there is no label.
    quality : list of str or None
        Quality label of each row.
    times : list or None
        Raw values of the time column.
    hold_out : ndarray of bool [N]
        Whether a row may go to validation or test.
    origin : DataFrame [N]
        ``id``, ``source`` and ``row`` (from 1) of each row.
    dropped : DataFrame
        ``row``, ``id``, ``source``, ``SMILES`` and ``reason`` of the rows that do not parse.
    censoring : ndarray of int8 [N, T] or None
        -1 where a target is an upper bound (``<``), +1 where it is a lower one (``>``), 0 where it
        is the value; None where nothing says so.
    notes : tuple of str
        How the table was read, where that is worth a word.
    structures : sequence of str or None
        SMILES of the structure that is compared (`standardize`), for scaffolds and clusters; None
        where it is that of `smiles`.
    model_smiles : list of str or None
        SMILES of the structure that models see (`structures_of`); None where it is as given.
    series : list or None
        Key of the molecules and series that stay on one side of every split (`joined_groups`);
        None where molecules alone do.
    given : list of str or None
        Split that the user gave each row: train, val, test, or "" where a method divides.
    n_as_given : int
        Molecules of the tables as read that could not be standardised, for their size or by RDKit:
        they are compared as given.
    columns : tuple of str
        All columns of the tables as read, used or not.
    units_of_tasks : tuple of (str or None), length T or 0
        Unit of each task's values, where a header or cells say it.
    strata : list of str or None
        Stratum of each row, within which intervals shall hold; None where none are asked for.
    scales : tuple of str
        Scale of each task's `targets`, as `from_scale` takes it; empty where all are in the units
        of the table.
    """

    task_names: tuple[str, ...]
    smiles: Sequence[str]
    groups: Sequence[Any]
    targets: FloatArray
    quality: list[str] | None
    times: list[Any] | None
    hold_out: BoolArray
    origin: pl.DataFrame
    dropped: pl.DataFrame
    censoring: SignArray | None = None
    notes: tuple[str, ...] = ()
    structures: Sequence[str] | None = None
    model_smiles: list[str] | None = None
    series: list[Any] | None = None
    given: list[str] | None = None
    n_as_given: int = 0
    columns: tuple[str, ...] = ()
    units_of_tasks: tuple[str | None, ...] = ()
    strata: list[str] | None = None
    scales: tuple[ScaleName, ...] = ()

    def __len__(self) -> int:
        return len(self.smiles)

    @property
    def units(self) -> Sequence[Any]:
        """Key of what stays on one side of every split: the molecule, or all of its series."""
        return self.groups if self.series is None else self.series

    @property
    def compared(self) -> Sequence[str]:
        """SMILES of the structures that are compared."""
        return self.smiles if self.structures is None else self.structures

    @property
    def modelled(self) -> Sequence[str]:
        """SMILES of the structures that models see."""
        return self.smiles if self.model_smiles is None else self.model_smiles

    @property
    def of_scales(self) -> tuple[ScaleName, ...]:
        """Scale of each task, ``none`` where targets are in the units of the table."""
        none: tuple[ScaleName, ...] = ("none",)
        return self.scales or none * len(self.task_names)

    def in_units(self) -> MoleculeTable:
        """Return the rows with targets in the units of the table."""
        return replace(self, targets=from_scale(self.targets, self.of_scales), scales=())

    def take(self, rows: IntArray) -> MoleculeTable:
        """Return the rows at these positions, in this order."""

        def some(column: Sequence[Any] | None) -> list[Any] | None:
            return None if column is None else [column[i] for i in rows]

        return replace(
            self,
            smiles=[self.smiles[i] for i in rows],
            groups=[self.groups[i] for i in rows],
            targets=self.targets[rows],
            quality=some(self.quality),
            times=some(self.times),
            hold_out=self.hold_out[rows],
            origin=self.origin[rows],
            censoring=self.censoring[rows] if self.censoring is not None else None,
            structures=some(self.structures),
            model_smiles=some(self.model_smiles),
            series=some(self.series),
            given=some(self.given),
            strata=some(self.strata),
        )

    def of_tasks(self, columns: Sequence[int]) -> MoleculeTable:
        """Return these columns of the targets, and the rows that have a label in one of them."""
        own = replace(
            self,
            task_names=tuple(self.task_names[t] for t in columns),
            targets=self.targets[:, list(columns)],
            units_of_tasks=tuple(self.units_of_tasks[t] for t in columns if self.units_of_tasks),
            censoring=None if self.censoring is None else self.censoring[:, list(columns)],
            scales=tuple(self.scales[t] for t in columns) if self.scales else (),
        )
        return own.take(np.flatnonzero(np.isfinite(own.targets).any(axis=1)))


def stack(parts: Sequence[MoleculeTable]) -> MoleculeTable:
    """Return the rows of all tables, one after the other.

    Parameters
    ----------
    parts : sequence of MoleculeTable
        At least one; equal tasks and scales, and quality and times in all or in none.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    return MoleculeTable(
        task_names=first.task_names,
        smiles=_joined([p.smiles for p in parts]),
        groups=_joined([p.groups for p in parts]),
        targets=np.concatenate([p.targets for p in parts]),
        quality=[q for p in parts for q in p.quality or []] if first.quality is not None else None,
        # Parts agree on whether there are times, as one configuration reads them all.
        times=[t for p in parts for t in p.times or []] if first.times is not None else None,
        hold_out=np.concatenate([p.hold_out for p in parts]),
        origin=pl.concat([p.origin for p in parts]),
        dropped=pl.concat([p.dropped for p in parts]),
        censoring=_stacked_censoring(parts),
        notes=tuple(dict.fromkeys(note for p in parts for note in p.notes)),
        structures=_joined([p.compared for p in parts])
        if any(p.structures is not None for p in parts)
        else None,
        model_smiles=[s for p in parts for s in p.modelled]
        if any(p.model_smiles is not None for p in parts)
        else None,
        series=[s for p in parts for s in p.units]
        if any(p.series is not None for p in parts)
        else None,
        given=_stacked_splits(parts),
        n_as_given=sum(p.n_as_given for p in parts),
        columns=tuple(dict.fromkeys(name for p in parts for name in p.columns)),
        units_of_tasks=_stacked_units(parts),
        strata=[s for p in parts for s in p.strata or []] if first.strata is not None else None,
        scales=first.scales,
    )


def _joined(columns: Sequence[Sequence[Any]]) -> Sequence[Any]:
    """Return columns one after the other, held as the first one is."""
    cells, first = chain.from_iterable(columns), columns[0]
    if isinstance(first, StoredTexts):
        return StoredTexts(cells)
    return array(first.typecode, cells) if isinstance(first, array) else list(cells)


def _stacked_units(parts: Sequence[MoleculeTable]) -> tuple[str | None, ...]:
    """Return the unit of each task that the first part says which says one."""
    each = [p.units_of_tasks for p in parts if p.units_of_tasks]
    return tuple(next(filter(None, said), None) for said in zip(*each, strict=True))


def _stacked_splits(parts: Sequence[MoleculeTable]) -> list[str] | None:
    """Return the given splits of all rows; a method divides those of a part without."""
    if all(p.given is None for p in parts):
        return None
    return [
        split
        for p in parts
        for split in p.given or ["" if free else "train" for free in p.hold_out.tolist()]
    ]


def _stacked_censoring(parts: Sequence[MoleculeTable]) -> SignArray | None:
    """Return the censoring of all rows; those of a part without modifiers are exact."""
    if all(p.censoring is None for p in parts):
        return None
    return np.concatenate(
        [np.zeros(p.targets.shape, np.int8) if p.censoring is None else p.censoring for p in parts]
    )
