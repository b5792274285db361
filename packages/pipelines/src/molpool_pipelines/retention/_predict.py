"""Predict a table by the artefact of a fit, some rows at a time.

`Artefact` is what a fit left, `BatchReader` reads what artefacts need of a table, `predict_frames`
yields predictions and `predict` writes them. Evaluation and calibration read their rows by the same
two classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from molpool_common import InputError, IntArray, frames_written, is_parquet, listed
from rt_ridge import (
    COVERAGES,
    LEVELS,
    Columns,
    CompoundDescriptors,
    EvaluationColumns,
    Prediction,
    Rows,
    Stage1CoeffSummaries,
    predict_frame,
    read_rows,
)

from molpool_pipelines.retention._compounds import read_descriptors, with_descriptors
from molpool_pipelines.retention._config import (
    COEFFICIENTS,
    PredictConfig,
    Progress,
    TableConfig,
    free_file,
    silent,
)
from molpool_pipelines.tables import TableChunk, TableFiles

_LOW = 0xFFFFFFFF
"""The half of a key that holds the compound, or the parent."""


@dataclass(frozen=True)
class Artefact:
    """Coefficients of one fit.

    Parameters
    ----------
    name : str
        In tables and figures.
    path : Path
        The file.
    summaries : Stage1CoeffSummaries
        Its content, checked.
    """

    name: str
    path: Path
    summaries: Stage1CoeffSummaries

    @classmethod
    def load(cls, given: str) -> Artefact:
        """Load from a run folder or a file; ``NAME=PATH`` names it.

        Raises
        ------
        RTRidgeError
            If there is none, or anything in it is wrong.
        """
        named, _, rest = given.partition("=")
        # A path may hold an equals sign itself.
        text = rest if rest and not Path(given).exists() else given
        path = Path(text)
        folder = path if path.is_dir() else path.parent
        file = path / COEFFICIENTS if path.is_dir() else path
        name = named if text is rest else folder.resolve().name
        return cls(name, file, Stage1CoeffSummaries.load(file))

    @property
    def group_col(self) -> str:
        """Column that its groups are read from."""
        return self.summaries.group_col

    def require(self, table: TableFiles) -> None:
        """Raise `InputError` unless a table has the columns that the fit was made with."""
        fitted = self.summaries.feature_names
        missing = [name for name in fitted if name not in table]
        if missing:
            raise InputError(
                "covariates",
                expected=f"those that {self.name} was fitted with: {listed(fitted, 30)}",
                found=f"a table without {listed(missing, 30)}; it has {listed(table.columns, 30)}",
                where=table.name,
            )
        table.require(self.group_col, "group_col")


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


class _AnyColumns(Columns):
    """Columns whose roles may overlap, as where the compound's id stands in for the target."""

    # The base class refuses a column of two roles, which is right for fits only.
    def __post_init__(self) -> None:
        """Skip the check of roles."""


class BatchReader:
    """Reads what some artefacts need of a table.

    Parameters
    ----------
    table : TableFiles
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
        # The union over the artefacts: each row is read once for all of them.
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
            columns = _AnyColumns(group, self.compound, self.parent, tuple(numeric), self.compound)
            return read_rows(chunk.frame, columns, chunk.where, chunk.first_row)

        first, *others = self.groups
        rows = read(first, self.numeric)
        # `read_rows` packs ids as (group << 32) + compound; unpacking is cheaper than a second
        # check of the raw column.
        ids = {self.compound: rows.keys & _LOW}
        if self.parent is not None and rows.parents is not None:
            ids[self.parent] = rows.parents & _LOW
        ids |= {group: read(group, ()).keys >> 32 for group in others} | {first: rows.keys >> 32}
        # The last column is the stand-in target.
        frame = pl.DataFrame(rows.values[:, :-1], schema=self.numeric)
        frame = frame.with_columns(pl.Series(name, ids[name]) for name in self.id_columns)
        if self.descriptors is not None:
            frame = with_descriptors(frame, self.compound, self.descriptors)
        return Batch(chunk.frame, chunk.first_row, chunk.where, frame)

    @property
    def columns(self) -> EvaluationColumns:
        """Where ids and target of a batch stand."""
        return EvaluationColumns(self.compound, self.config.target_col, self.parent)

    def predict(self, artefact: Artefact, frame: pl.DataFrame) -> Prediction:
        """Predict the rows of a batch by one artefact."""
        return predict_frame(frame, artefact.summaries, self.columns)

    def support(self, artefact: Artefact, frame: pl.DataFrame) -> tuple[IntArray, IntArray]:
        """Return the training rows of the pair of each row in one artefact, and the pairs."""
        group, compound = (frame[c].to_numpy() for c in (artefact.group_col, self.compound))
        return artefact.summaries.support(group, compound), (group << 32) + compound


@dataclass(frozen=True)
class PredictionFile:
    """A file of predictions.

    Attributes
    ----------
    path : Path
        The file.
    levels : dict of str to int
        Rows by the level that their coefficients came from, the most specific first.
    calibrated : bool
        Whether the intervals are conformal.
    """

    path: Path
    levels: dict[str, int]
    calibrated: bool


def predict(config: PredictConfig, progress: Progress = silent) -> PredictionFile:
    """Write a row of predictions for each row of a table.

    Parameters
    ----------
    config : PredictConfig
        Artefact, tables and the file to write.
    progress : callable
        Called with what is being done.

    Raises
    ------
    InputError, RTRidgeError
        If the file exists, the artefact or the table is wrong, or there is no row.
    """
    output = free_file(config.output, overwrite=config.overwrite)
    if output.suffix != ".csv" and not is_parquet(output):
        raise InputError(
            "output", expected="a name that ends in .parquet or .csv", found=repr(output.name)
        )
    artefact, reader = _open(config)
    levels: Counter[str] = Counter()
    progress(f"Predicting {reader.table.name}")
    # Written beside and moved at the end: a table that fails in its last chunk leaves no half file.
    with frames_written(output) as writer:
        for frame in _predicted(artefact, reader):
            levels.update(dict(frame["level"].value_counts().iter_rows()))
            writer.write(frame)
        if not levels:
            where = reader.table.name
            raise InputError("data", expected="at least one row", found="none", where=where)
    found = {level: levels[level] for level in LEVELS if levels[level]}
    return PredictionFile(output, found, artefact.summaries.calibration is not None)


def predict_frames(config: PredictConfig) -> Iterator[pl.DataFrame]:
    """Yield what `predict` writes, some rows at a time.

    Yields
    ------
    DataFrame
        file (where there are several), row, the ids, the columns of `keep_cols`; predicted, sd (of
        a new measurement), sd_mean (of the expected time), the ends of the central intervals
        (lower_50 to upper_95), level and n_train. Times and deviations in the unit of the target.
    """
    yield from _predicted(*_open(config))


def _open(config: PredictConfig) -> tuple[Artefact, BatchReader]:
    if config.artefact is None:
        raise InputError("artefact", expected="the run folder of a fit", found="none")
    table = TableFiles.find(config.data, "data", read=config.read)
    artefact = Artefact.load(config.artefact)
    extra = [table.require(name, "keep_cols") for name in config.keep_cols]
    descriptors = None
    if config.descriptors is not None:
        effect = artefact.summaries.coefficients.descriptors
        if effect is None:
            raise InputError(
                "descriptors", expected="a fit with descriptors", found=f"{artefact.name} without"
            )
        descriptors = read_descriptors(
            config.descriptors, config.compound_col, effect.names, read=config.read
        )
    reader = BatchReader(
        table, [artefact], config, with_target=False, extra=extra, descriptors=descriptors
    )
    # Checked before the first row is read: the writer would refuse it only at the first chunk.
    repeated = [name for name, times in Counter(_columns(reader)).items() if times > 1]
    if repeated:
        raise InputError(
            "keep_cols",
            expected="columns that are not of the output anyway",
            found=listed([repr(n) for n in repeated]),
        )
    return artefact, reader


def _columns(reader: BatchReader) -> list[str]:
    """Return the columns of the output, in order."""
    ends = [f"{end}_{c * 100:.0f}" for c in COVERAGES for end in ("lower", "upper")]
    # Rows are numbered within their file, so that several files need its name.
    source = ["file"] if len(reader.table.files) > 1 else []
    ids = [*source, "row", *reader.id_columns, *reader.extra]
    return [*ids, "predicted", "sd", "sd_mean", *ends, "level", "n_train"]


def _predicted(artefact: Artefact, reader: BatchReader) -> Iterator[pl.DataFrame]:
    for batch in reader.batches():
        frame, n_rows = batch.frame, batch.frame.height
        prediction = reader.predict(artefact, frame)
        columns = {
            "file": pl.repeat(batch.where, n_rows, eager=True),
            # From 1, as a spreadsheet counts data lines.
            "row": np.arange(batch.first_row, batch.first_row + n_rows),
            **{name: frame[name] for name in reader.id_columns},
            **{name: batch.raw[name] for name in reader.extra},
            "predicted": prediction.mean,
            "sd": prediction.std,
            "sd_mean": prediction.std_mean,
        }
        for coverage in COVERAGES:
            half = prediction.half_width(coverage)
            columns[f"lower_{coverage * 100:.0f}"] = prediction.mean - half
            columns[f"upper_{coverage * 100:.0f}"] = prediction.mean + half
        columns |= {"level": prediction.level, "n_train": reader.support(artefact, frame)[0]}
        # Null, as CSV readers take NaN for text.
        found = pl.DataFrame(columns).with_columns(pl.selectors.float().fill_nan(None))
        yield found.select(_columns(reader))
