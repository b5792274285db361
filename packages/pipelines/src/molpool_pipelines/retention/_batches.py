"""What a fit left, and the rows of a table as it needs them, some at a time.

`Artefact` is the fit, `BatchReader` reads what artefacts need of a table: for predictions,
evaluation and calibration alike.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import polars as pl
from molpool_common import MISSING, InputError, IntArray, checked, listed, read_table
from rt_ridge import (
    Columns,
    CompoundDescriptors,
    EvaluationColumns,
    Prediction,
    Rows,
    Stage1CoeffSummaries,
    predict_frame,
    read_rows,
)

from molpool_pipelines.retention._compounds import with_descriptors
from molpool_pipelines.retention._config import (
    COEFFICIENTS,
    METRICS,
    RESIDUALS,
    AbsentCovariates,
    TableConfig,
)
from molpool_pipelines.retention._covariates import (
    CENTER,
    PREPARE,
    CentredFiles,
    lacking,
    run_names,
)
from molpool_pipelines.retention._identifiers import id_column
from molpool_pipelines.retention._plausible import FarReadings
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

    @property
    def folder(self) -> Path:
        """The run folder that it lies in."""
        return self.path.parent

    def target(self, given: str) -> str:
        """Return what its fit calls the retention time; the name given where that is not known."""
        file = checked(self.folder / METRICS)
        try:
            stored = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return given
        return str(stored.get("target") or given) if isinstance(stored, dict) else given

    def runs(self) -> set[str]:
        """Return the names of the runs that trained it; empty where its folder has none."""
        file = self.folder / RESIDUALS
        if not file.is_file():
            return set()
        return set(read_table(checked(file))["run"])

    def digest(self) -> str:
        """Return the digest of its file."""
        return sha256(self.path.read_bytes()).hexdigest()

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
                where=listed(list(lacking(table, missing))),
                # A raw table has its standards as rows.
                hint=PREPARE if set(fitted) <= set(missing) else CENTER,
            )
        id_column(table, self.group_col, "group_col")

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
        gone = _absent(table, artefacts) if absent == "center" else {}
        self.rows = CentredFiles(table, gone, _centers(artefacts, gone))
        self.with_gaps = with_gaps
        for artefact in artefacts:
            artefact.require(table, gone)
        self.table, self.config = table, config
        self.compound = id_column(table, config.compound_col, "compound_col")
        self.groups = list(dict.fromkeys(a.group_col for a in artefacts))
        self.parent = config.parent_col if config.parent_col in table else None
        # The union over the artefacts: each row is read once for all of them.
        covariates = dict.fromkeys(n for a in artefacts for n in a.summaries.feature_names)
        target = [table.require(config.target_col, "target_col")] if with_target else []
        self.numeric = [*covariates, *(t for t in target if t not in covariates)]
        self.extra, self.descriptors = list(extra), descriptors
        effects = [a.summaries.runs for a in artefacts]
        self.runs = list(dict.fromkeys(e.column for e in effects if e and e.column in table))
        self.far = [FarReadings.of(a.name, a.summaries) for a in artefacts]

    def notes(self) -> list[str]:
        """Return what is said of the rows read so far."""
        return [note for far in self.far for note in far.notes()]

    @property
    def id_columns(self) -> list[str]:
        """Columns of ids, each once."""
        parent = [] if self.parent is None else [self.parent]
        return list(dict.fromkeys([*self.groups, self.compound, *parent]))

    def batches(self, most: int | None = None) -> Iterator[Batch]:
        """Yield the rows, at most the first `most`."""
        wanted = [*self.id_columns, *self.numeric, *self.extra, *self.runs]
        for chunk in self.table.told(self.rows.chunks(wanted, most), "Predicting"):
            yield self._batch(chunk)

    def _batch(self, chunk: TableChunk) -> Batch:
        whole, gaps = chunk.frame, None
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
        for far in self.far:
            far.add(frame if gaps is None else frame.filter(gaps.is_null()))
        frame = frame.with_columns(pl.Series(name, ids[name]) for name in self.id_columns)
        if self.with_gaps and self.parent is not None and unknown is not None:
            # A group may be placed without its supercategory.
            frame = frame.with_columns(frame[self.parent].set(unknown, None))
        frame = frame.with_columns(run_names(whole[name]).alias(name) for name in self.runs)
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
    return lacking(
        table, list(dict.fromkeys(n for a in artefacts for n in a.summaries.feature_names))
    )


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
