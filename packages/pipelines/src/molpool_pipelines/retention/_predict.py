"""Predict a table by the artefact of a fit, some rows at a time.

`Artefact` is what a fit left, `BatchReader` reads what artefacts need of a table, `predict_frames`
yields predictions and `predict` writes them. Evaluation and calibration read their rows by the same
two classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from molpool_common import (
    MISSING,
    InputError,
    IntArray,
    frames_written,
    is_parquet,
    listed,
    table_header,
)
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
    AbsentCovariates,
    PredictConfig,
    Progress,
    TableConfig,
    free_file,
    silent,
)
from molpool_pipelines.retention._covariates import CENTER
from molpool_pipelines.retention._rejected import Rejected
from molpool_pipelines.runs import write_rejected
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

    def require(self, table: TableFiles, absent: Mapping[str, Sequence[str]]) -> None:
        """Raise `InputError` unless a table has the columns that the fit was made with.

        Parameters
        ----------
        table : TableFiles
            The table.
        absent : mapping of str to sequence of str
            Covariates that files lack and that may be taken at their centre.
        """
        fitted = self.summaries.feature_names
        excused = {name for names in absent.values() for name in names}
        missing = [name for name in fitted if name not in table and name not in excused]
        if missing:
            raise InputError(
                "covariates",
                expected=f"those that {self.name} was fitted with: {listed(fitted, 30)}",
                found=f"a table without {listed(missing, 30)}; it has {listed(table.columns, 30)}",
                where=_lacking(table, missing),
                hint=CENTER,
            )
        table.require(self.group_col, "group_col")

    def center(self, name: str) -> float:
        """Return the mean of a covariate over the training rows.

        Raises
        ------
        InputError
            If the fit did not subtract it, and so does not know it.
        """
        features = self.summaries.features
        if not features.center.any():
            raise InputError(
                "absent_covariates",
                expected="error, as the fit does not know the mean of its covariates",
                found="center",
                hint="Fit with --feature-center global.",
            )
        return float(features.center[features.names.index(name)])


def _lacking(table: TableFiles, names: Sequence[str]) -> str:
    """Return the files that lack one of some columns, of several files."""
    if len(table.files) == 1:
        return table.name
    files = [
        f.name for f in table.files if set(names) - set(table_header(f, table.key, table.read))
    ]
    return listed(files)


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
    gaps : Series or None
        What a row lacks, null where nothing; its `frame` then holds stand-ins. None: no row may
        lack anything.
    """

    raw: pl.DataFrame
    first_row: int
    where: str
    frame: pl.DataFrame
    gaps: pl.Series | None = None


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
    absent : {"error", "center"}
        What becomes of covariates that a whole file lacks.
    with_gaps : bool
        Whether rows may lack an id or a covariate.

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
        absent: AbsentCovariates = "error",
        with_gaps: bool = False,
    ) -> None:
        self.absent = _absent(table, artefacts) if absent == "center" else {}
        self.centers = _centers(artefacts, self.absent)
        self.with_gaps = with_gaps
        for artefact in artefacts:
            artefact.require(table, self.absent)
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
        left = most
        for table, absent in self._tables():
            there = [name for name in self.numeric if name not in absent]
            chunks = table.chunks([*self.id_columns, *there, *self.extra], left)
            for chunk in table.told(chunks, "Predicting"):
                yield self._batch(chunk, absent)
                if left is not None:
                    left -= chunk.frame.height
            if left == 0:
                return

    def _tables(self) -> Iterator[tuple[TableFiles, Sequence[str]]]:
        """Yield files that lack the same covariates, together, and what they lack."""
        if not self.absent:
            yield self.table, ()
            return
        for file in self.table.files:
            header = table_header(file, self.table.key, self.table.read)
            yield TableFiles([file], header, self.table.key), self.absent.get(file.name, ())

    def _batch(self, chunk: TableChunk, absent: Sequence[str] = ()) -> Batch:
        centered = [pl.lit(self.centers[name]).alias(name) for name in absent]
        whole, gaps = chunk.frame.with_columns(centered), None
        unknown = None if self.parent is None else _is_missing(whole[self.parent])
        if self.with_gaps:
            whole, gaps = self._filled(whole)

        def read(group: str, numeric: Sequence[str]) -> Rows:
            # Rows always have a target; without one of its own the compound's id stands for it.
            columns = _AnyColumns(group, self.compound, self.parent, tuple(numeric), self.compound)
            return read_rows(whole, columns, chunk.where, chunk.first_row)

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
        if self.with_gaps and self.parent is not None and unknown is not None:
            # A group may be placed without its supercategory.
            frame = frame.with_columns(frame[self.parent].set(unknown, None))
        if self.descriptors is not None:
            frame = with_descriptors(frame, self.compound, self.descriptors)
        return Batch(chunk.frame, chunk.first_row, chunk.where, frame, gaps)

    def _filled(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
        """Return rows with stand-ins for what they lack, and what that is."""
        needed = [*self.groups, self.compound, *self.numeric]
        holes = {name: _is_missing(frame[name]) for name in dict.fromkeys(needed)}
        none = pl.Series([None], dtype=pl.String).new_from_index(0, frame.height)
        said = [none, *(none.set(hole, f"no {name}") for name, hole in holes.items() if hole.any())]
        reasons = pl.select(pl.concat_str(said, separator="; ", ignore_nulls=True)).to_series()
        if self.parent is not None:
            holes[self.parent] = _is_missing(frame[self.parent])
        filled = [
            frame[name].set(hole, "0" if frame[name].dtype == pl.String else 0)
            for name, hole in holes.items()
            if hole.any()
        ]
        return frame.with_columns(filled), reasons.set(reasons == "", None)

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


def _absent(table: TableFiles, artefacts: Sequence[Artefact]) -> dict[str, list[str]]:
    """Return the covariates that files lack, by file."""
    names = dict.fromkeys(n for a in artefacts for n in a.summaries.feature_names)
    headers = {file.name: table_header(file, table.key, table.read) for file in table.files}
    lacking = {file: [n for n in names if n not in h] for file, h in headers.items()}
    return {file: names for file, names in lacking.items() if names}


def _centers(
    artefacts: Sequence[Artefact], absent: Mapping[str, Sequence[str]]
) -> dict[str, float]:
    """Return the centres of covariates that files lack, on which all fits agree."""
    centers: dict[str, float] = {}
    for artefact in artefacts:
        own = artefact.summaries.feature_names
        for name in {n for names in absent.values() for n in names if n in own}:
            center = artefact.center(name)
            if centers.setdefault(name, center) != center:
                raise InputError(
                    "absent_covariates",
                    expected="error, as the fits have different means",
                    found=f"{centers[name]:.6g} and {center:.6g} of {name!r}",
                )
    return centers


def _is_missing(column: pl.Series) -> pl.Series:
    if column.dtype == pl.String:
        return column.is_null() | column.str.strip_chars().is_in(MISSING).fill_null(value=True)
    if column.dtype.is_float():
        return column.is_null() | column.is_nan().fill_null(value=True)
    return column.is_null()


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
    reasons : dict of str to int
        Rows without a prediction, by reason.
    rejected : Path or None
        The file that lists them, where there are any.
    """

    path: Path
    levels: dict[str, int]
    calibrated: bool
    reasons: dict[str, int]
    rejected: Path | None


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
    output = free_file(config.output, overwrite=config.overwrite, inputs=_inputs(config))
    if output.suffix != ".csv" and not is_parquet(output):
        raise InputError(
            "output", expected="a name that ends in .parquet or .csv", found=repr(output.name)
        )
    artefact, reader = _open(config)
    levels, reasons, rejected = Counter[str](), Counter[str](), Rejected()
    progress(f"Predicting {reader.table.name}")
    # Written beside and moved at the end: a table that fails in its last chunk leaves no half file.
    with frames_written(output) as writer:
        for frame in _predicted(artefact, reader):
            levels.update(dict(frame["level"].value_counts().iter_rows()))
            reasons.update(dict(frame["reason"].drop_nulls().value_counts().iter_rows()))
            _set_aside(rejected, frame, reader)
            writer.write(frame)
        if not levels:
            where = reader.table.name
            raise InputError("data", expected="at least one row", found="none", where=where)
    found = {level: levels[level] for level in LEVELS if levels[level]}
    calibrated = artefact.summaries.calibration is not None
    beside = write_rejected(output, rejected.frame())
    return PredictionFile(output, found, calibrated, dict(reasons.most_common()), beside)


def _set_aside(rejected: Rejected, frame: pl.DataFrame, reader: BatchReader) -> None:
    """Take the rows without a prediction."""
    rows = frame.drop_nulls("reason")
    one = pl.Series([reader.table.files[0].name]).new_from_index(0, rows.height)
    source = rows["file"] if "file" in rows.columns else one
    rejected.add(rows["row"], rows[reader.compound], source, rows["reason"])


def predict_frames(config: PredictConfig) -> Iterator[pl.DataFrame]:
    """Yield what `predict` writes, some rows at a time.

    Yields
    ------
    DataFrame
        file (where there are several), row, the ids as they came, the columns of `keep_cols`;
        predicted, sd (of a new measurement), sd_mean (of the expected time), the ends of the
        central intervals (lower_50 to upper_95), level, n_train and reason (why there is no
        prediction). Times and deviations in the unit of the target.
    """
    yield from _predicted(*_open(config))


def _inputs(config: PredictConfig) -> dict[str, list[Path]]:
    """Return the files that are read, which the output may not replace."""
    artefact = [] if config.artefact is None else [Path(config.artefact)]
    artefact += [path / COEFFICIENTS for path in artefact]
    descriptors = [] if config.descriptors is None else [Path(config.descriptors)]
    data = TableFiles.find(config.data, "data", read=config.read).files
    return {"data": data, "artefact": artefact, "descriptors": descriptors}


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
        table,
        [artefact],
        config,
        with_target=False,
        extra=extra,
        descriptors=descriptors,
        absent=config.absent_covariates,
        with_gaps=True,
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
    return [*ids, "predicted", "sd", "sd_mean", *ends, "level", "n_train", "reason"]


_UNSEEN = "never seen in training, and this fit has no level for it"


def _predicted(artefact: Artefact, reader: BatchReader) -> Iterator[pl.DataFrame]:
    for batch in reader.batches():
        frame, n_rows = batch.frame, batch.frame.height
        prediction = reader.predict(artefact, frame)
        gaps = pl.Series([None], dtype=pl.String).new_from_index(0, n_rows)
        gaps = gaps if batch.gaps is None else batch.gaps
        placed = pl.Series(gaps.is_null())
        level = pl.Series(prediction.level, dtype=pl.String).set(~placed, "none")
        numbers = {"predicted": prediction.mean, "sd": prediction.std}
        numbers["sd_mean"] = prediction.std_mean
        for coverage in COVERAGES:
            half = prediction.half_width(coverage)
            numbers[f"lower_{coverage * 100:.0f}"] = prediction.mean - half
            numbers[f"upper_{coverage * 100:.0f}"] = prediction.mean + half
        columns = {
            "file": pl.repeat(batch.where, n_rows, eager=True),
            # From 1, as a spreadsheet counts data lines.
            "row": np.arange(batch.first_row, batch.first_row + n_rows),
            **{name: batch.raw[name] for name in (*reader.id_columns, *reader.extra)},
            # Null, as CSV readers take NaN for text.
            **{k: pl.Series(v).fill_nan(None).set(~placed, None) for k, v in numbers.items()},
            "level": level,
            "n_train": pl.Series(reader.support(artefact, frame)[0]).set(~placed, 0),
            "reason": gaps.set(placed & (level == "none"), _UNSEEN),
        }
        yield pl.DataFrame(columns).select(_columns(reader))
