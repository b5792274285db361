"""Rows to predict, some at a time: ids, covariates and whatever else was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from rt_ridge import (
    CompoundDescriptors,
    EvaluationColumns,
    Prediction,
    Rows,
    predict_frame,
    read_rows,
)

from molpool_pipelines.retention.artefacts import Artefact
from molpool_pipelines.retention.config import TableConfig
from molpool_pipelines.retention.descriptors import described
from molpool_pipelines.retention.tables import Wanted
from molpool_pipelines.tables import TableChunk, TableFiles

Ints = npt.NDArray[np.int64]

LOW = 0xFFFFFFFF
"""The half of a key that holds the compound, or the parent."""


@dataclass(frozen=True)
class Batch:
    """Consecutive rows, checked.

    Attributes
    ----------
    raw : DataFrame
        The columns read, as the table has them.
    first_row : int
        Number of the first row in its file, from 1 below the header.
    where : str
        The file.
    frame : DataFrame
        Ids (int64), covariates, and the target and descriptors where they were asked for.
    """

    raw: pl.DataFrame
    first_row: int
    where: str
    frame: pl.DataFrame


class BatchReader:
    """Reads what some artefacts need of a table.

    Parameters
    ----------
    table: TableFiles
        The files.
    artefacts : sequence of Artefact
        Whose covariates and groups are read.
    config : TableConfig
        Names of columns.
    with_target : bool
        Whether the target is read.
    extra : sequence of str
        Further columns, taken as they are.
    descriptors : CompoundDescriptors or None
        Of compounds that the fits have not seen.

    Raises
    ------
    InputError
        If the table lacks a column.
    """

    def __init__(
        self,
        table: TableFiles,
        artefacts: Sequence[Artefact],
        config: TableConfig,
        *,
        with_target: bool,
        extra: Sequence[str] = (),
        descriptors: CompoundDescriptors | None = None,
    ) -> None:
        for artefact in artefacts:
            artefact.require(table)
        self.table, self.config = table, config
        self.compound = table.require(config.compound_col, "compound_col")
        self.groups = list(dict.fromkeys(a.group_col for a in artefacts))
        self.parent = config.parent_col if config.parent_col in table else None
        covariates = dict.fromkeys(n for a in artefacts for n in a.summaries.feature_names)
        target = [table.require(config.target_col, "target_col")] if with_target else []
        self.numeric = [*covariates, *(t for t in target if t not in covariates)]
        self.extra, self.descriptors = list(extra), descriptors

    @property
    def id_columns(self) -> list[str]:
        """Columns of ids, each once."""
        parent = [] if self.parent is None else [self.parent]
        return list(dict.fromkeys([*self.groups, self.compound, *parent]))

    def batches(self, most: int | None = None) -> Iterator[Batch]:
        """Yield the rows, at most the first `most`."""
        wanted = [*self.id_columns, *self.numeric, *self.extra]
        for chunk in self.table.chunks(wanted, most):
            yield self._batch(chunk)

    def _batch(self, chunk: TableChunk) -> Batch:
        def read(group: str, numeric: Sequence[str]) -> Rows:
            # Rows always have a target; without one of its own the compound's id stands for it.
            columns = Wanted(group, self.compound, self.parent, tuple(numeric), self.compound)
            return read_rows(chunk.frame, columns, chunk.where, chunk.first_row)

        first, *others = self.groups
        rows = read(first, self.numeric)
        ids = {self.compound: rows.keys & LOW}
        if self.parent is not None and rows.parents is not None:
            ids[self.parent] = rows.parents & LOW
        ids |= {group: read(group, ()).keys >> 32 for group in others} | {first: rows.keys >> 32}
        frame = pl.DataFrame(rows.values[:, :-1], schema=self.numeric)
        frame = frame.with_columns(pl.Series(name, ids[name]) for name in self.id_columns)
        if self.descriptors is not None:
            frame = described(frame, self.compound, self.descriptors)
        return Batch(chunk.frame, chunk.first_row, chunk.where, frame)

    def predict(self, artefact: Artefact, frame: pl.DataFrame) -> Prediction:
        """Predict the rows of a batch by one artefact."""
        return predict_frame(frame, artefact.summaries, self.columns)

    @property
    def columns(self) -> EvaluationColumns:
        """Where ids and target of a batch stand."""
        return EvaluationColumns(self.compound, self.config.target_col, self.parent)

    def support(self, artefact: Artefact, frame: pl.DataFrame) -> tuple[Ints, Ints]:
        """Return the training rows of the pair of each row in one artefact, and the pairs."""
        group, compound = (frame[c].to_numpy() for c in (artefact.group_col, self.compound))
        return artefact.summaries.support(group, compound), (group << 32) + compound
