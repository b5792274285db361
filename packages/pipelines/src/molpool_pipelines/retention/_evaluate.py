"""Errors and coverage of fits on held-out rows, by the training rows of their pair.

`evaluate` scores one fit or several on the same rows, some at a time, and returns an `Evaluation`:
tables that `Evaluation.write` leaves as `evaluation.json`, `evaluation.csv` and `drift.csv`, and
that `Evaluation.load` reads for figures and reports.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
from molpool_common import (
    InputError,
    ReadConfig,
    RunFolder,
    checked,
    formulas_marked,
    formulas_unmarked,
    listed,
    told,
)
from rt_ridge import (
    CompoundDescriptors,
    EvaluatedChunk,
    Evaluator,
    SupportMetrics,
)

from molpool_pipelines.retention._baselines import fit_baselines
from molpool_pipelines.retention._batches import Artefact, Batch, BatchReader
from molpool_pipelines.retention._by_column import (
    drift_sums,
    mean_drift,
    mean_strata,
    strata_sums,
)
from molpool_pipelines.retention._compounds import read_descriptors
from molpool_pipelines.retention._config import (
    EVALUATION,
    EvaluateConfig,
    FitConfig,
    Progress,
    ScoreConfig,
    silent,
)
from molpool_pipelines.retention._covariates import FILE, ROW
from molpool_pipelines.retention._fit import fit
from molpool_pipelines.retention._identifiers import PreparedNames, as_prepared, names_copied
from molpool_pipelines.retention._rejected import Rejected
from molpool_pipelines.retention._splits import Cell, Splits, each_cell, refitted
from molpool_pipelines.runs import write_rejected
from molpool_pipelines.tables import TableFiles


@dataclass(frozen=True)
class Scored:
    """Errors and coverage of one artefact.

    Attributes
    ----------
    name, path, method, group_col : str
        Of the artefact.
    share_unseen : float
        Share of the rows whose pair has no training row.
    levels : dict of str to int
        Rows by the level that their coefficients came from, the most frequent first.
    calibrated : bool
        Whether the intervals are conformal.
    table : DataFrame
        Of all rows, by support in this artefact: see `rt_ridge.SupportMetrics.table`.
    common : DataFrame
        Of the rows that all artefacts predict, by support in the first.
    rare : DataFrame
        Of those rows, the ones of pairs with few training rows: none, some, and both together.
    """

    name: str
    path: str
    method: str
    group_col: str
    share_unseen: float
    levels: dict[str, int]
    calibrated: bool
    table: pl.DataFrame
    common: pl.DataFrame
    rare: pl.DataFrame

    @property
    def tables(self) -> dict[str, pl.DataFrame]:
        """The tables by the rows that they are of, as files call them."""
        return {"all": self.table, "common": self.common, "rare": self.rare}


@dataclass(frozen=True)
class Evaluation:
    """Several artefacts on the same rows.

    Attributes
    ----------
    scored : list of Scored
        In the order given.
    n_rows, n_left_out, n_common : int
        Rows scored; left out as of pairs never seen; predicted by all artefacts.
    drift : DataFrame or None
        artefact, run, n, then means over the rows of each run: observed, predicted, without_drift
        (predicted at the centre of the covariates), bias, z_mean; and rmse.
    rejected : DataFrame or None
        Rows that not all artefacts predict, or that were left out: row, id, source, reason.
    notes : list of str
        How the table was read, and which rows were held out.
    strata : DataFrame or None
        artefact, column, stratum, n, and of the rows of each stratum that the model predicts: mae,
        rmse, bias, coverage and mean width of the 80 and 95 % intervals.
    folds : DataFrame or None
        Where models were fitted again: artefact, repeat, fold, n, mae, rmse, and coverage and width
        of the 80 and 95 % intervals, of the rows held out in each fold that the model predicts.
    """

    scored: list[Scored]
    n_rows: int
    n_left_out: int
    n_common: int
    drift: pl.DataFrame | None = None
    rejected: pl.DataFrame | None = None
    notes: list[str] = field(default_factory=list)
    folds: pl.DataFrame | None = None
    strata: pl.DataFrame | None = None

    @property
    def rows(self) -> dict[str, int]:
        """Rows read, those that all artefacts are compared on, and the others."""
        read = self.n_rows + self.n_left_out
        return {"read": read, "used": self.n_common, "rejected": read - self.n_common}

    def frame(self) -> pl.DataFrame:
        """Return all tables below one another, with the columns artefact and rows before."""
        parts = [
            table.select(
                pl.lit(scored.name).alias("artefact"), pl.lit(rows).alias("rows"), pl.all()
            )
            for scored in self.scored
            for rows, table in scored.tables.items()
        ]
        return pl.concat(parts, how="vertical_relaxed")

    def write(self, run: RunFolder) -> None:
        """Write evaluation.json and .csv; drift, strata, folds and rejected.csv if there are."""
        fits = [
            {key: getattr(scored, key) for key in _PLAIN}
            | {rows: table.to_dicts() for rows, table in scored.tables.items()}
            for scored in self.scored
        ]
        # Plain lists rather than a schema: files of version 0.1.0 have these keys too.
        counts = {key: getattr(self, key) for key in _COUNTS}
        said = {"rows": self.rows, "notes": self.notes, "artefacts": fits}
        run.write_json(EVALUATION, {**counts, **said})
        run.write_text("evaluation.csv", formulas_marked(self.frame()).write_csv())
        for name in _TABLES:
            if (table := getattr(self, name)) is not None:
                run.write_text(f"{name}.csv", formulas_marked(table).write_csv())
        if self.rejected is not None:
            write_rejected(run, self.rejected)
        run.log("finished", rows=self.n_rows)

    @classmethod
    def load(cls, folder: str | Path) -> Evaluation:
        """Read the folder of an evaluation.

        Raises
        ------
        InputError
            If it holds none.
        """
        path = Path(folder) / EVALUATION
        if not path.is_file():
            raise InputError(
                "evaluation",
                expected=f"a folder with {EVALUATION}",
                found=f"none in {str(folder)!r}",
            )
        checked(path)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            scored = [_scored(entry) for entry in content["artefacts"]]
            rows, left_out, common = (int(content[key]) for key in _COUNTS)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                "evaluation",
                expected="what molpool-rt evaluate writes",
                found=f"{type(error).__name__}: {error}",
                where=str(path),
            ) from None
        files = {name: path.with_name(f"{name}.csv") for name in _TABLES}
        # Strata called 1 and 2 are names all the same.
        text = {"column": pl.String, "stratum": pl.String}
        tables = {
            name: formulas_unmarked(pl.read_csv(checked(file), schema_overrides=text))
            for name, file in files.items()
            if file.is_file()
        }
        notes = [str(note) for note in content.get("notes", [])]
        return cls(scored, rows, left_out, common, notes=notes, **tables)


_TABLES = ("drift", "strata", "folds")
_COUNTS = ("n_rows", "n_left_out", "n_common")
_PLAIN = ("name", "path", "method", "group_col", "share_unseen", "levels", "calibrated")


def _scored(entry: dict[str, Any]) -> Scored:
    # Evaluations of version 0.1.0 do not say whether intervals were calibrated.
    plain = {"calibrated": False} | {key: entry[key] for key in _PLAIN if key in entry}
    table, common, rare = (
        # All rows: the first bins are often empty, and their nulls would set the type.
        pl.DataFrame(entry[rows], infer_schema_length=None)
        for rows in ("all", "common", "rare")
    )
    return Scored(**plain, table=table, common=common, rare=rare)


def nonempty(table: pl.DataFrame) -> pl.DataFrame:
    """Return the bins that have rows, with or without a prediction, and the row of all."""
    return table.filter((pl.col("n") + pl.col("n_missing") > 0) | (pl.col("support") == "all"))


def evaluate(config: EvaluateConfig, progress: Progress = silent) -> Evaluation:
    """Score every artefact on the rows of a table; writes nothing.

    Parameters
    ----------
    config : EvaluateConfig
        Artefacts, tables, bins of support, which rows count, and whether models are fitted again
        without those that they are scored on.
    progress : callable
        Called with what is being done.

    Raises
    ------
    InputError, RTRidgeError
        If an artefact is wrong, two have one name, the table lacks what one was fitted with, a
        value is wrong, or no row is left.
    """
    artefacts = load_artefacts(config.artefacts)
    if config.refits:
        return _fitted_again(config, artefacts, progress)
    table = TableFiles.find(config.data, "data", read=config.read)
    if config.baselines:
        progress("Fitting baselines")
        first = refitted(artefacts[:1])[0]
        trained = TableFiles.find(first.data, "data", read=first.read)
        artefacts += fit_baselines(config.baselines, first, trained)
    config = as_prepared(config, table)
    scores = _Scores(config)
    scores.add(table, artefacts, progress, f"Evaluating on {table.name}")
    seen = _seen_runs(table, config.run_col, artefacts)
    return scores.evaluation([*table.notes(), *seen, *scores.notes])


def _seen_runs(table: TableFiles, run_col: str | None, artefacts: Sequence[Artefact]) -> list[str]:
    """Return a warning for each model that some runs of the table trained."""
    if run_col is None or run_col not in table:
        return []
    runs = {str(run) for chunk in table.chunks([run_col]) for run in chunk.frame[run_col].unique()}
    seen = {of.name: len(runs & of.runs()) for of in artefacts}
    return [
        f"{n:,} of the {len(runs):,} runs trained {name}: errors of new runs are larger. "
        "--split-type run fits again without the runs that test."
        for name, n in seen.items()
        if n
    ]


def _fitted_again(
    config: EvaluateConfig, artefacts: Sequence[Artefact], progress: Progress
) -> Evaluation:
    """Fit the models of artefacts again without some rows, and score them on these."""
    fits = refitted(artefacts)
    given = config.data or fits[0].data
    read = config.read if config.data else fits[0].read
    table = TableFiles.find(given, "data", read=read)
    config = as_prepared(config, table)
    if config.descriptors is None:
        # Of compounds that are held out.
        known = next((fit.descriptors for fit in fits if fit.descriptors is not None), None)
        config = config.model_copy(update={"descriptors": known})
    splits = Splits.read(config, [as_prepared(fit, table) for fit in fits], table)
    scores = _Scores(config)
    folds = list[pl.DataFrame]()
    cells = told(each_cell(splits), "Held-out folds", len(splits.cells))
    for number, (cell, train, test) in enumerate(cells, start=1):
        what = f"Fold {number} of {len(splits.cells)}"
        with TemporaryDirectory() as folder:
            place = Path(folder)
            names_copied(table.files[0], place)
            train.write_parquet(place / "train.parquet")
            test.write_parquet(place / "test.parquet")
            again = [
                _again(artefact, as_prepared(own, table), place / "train.parquet", progress, what)
                for artefact, own in zip(artefacts, fits, strict=True)
            ]
            rows = TableFiles.find([place / "train.parquet"], "data")
            again += fit_baselines(config.baselines, as_prepared(fits[0], table), rows)
            held_out = TableFiles.find([place / "test.parquet"], "data")
            part = scores.add(held_out, again, progress, f"{what}: evaluating", test)
        folds += [_of_fold(name, cell, metrics.table()) for name, metrics in part.own.items()]
    notes = [*table.notes(), f"Models are fitted again: {splits.how}."]
    found = scores.evaluation(notes)
    return replace(found, folds=pl.concat(folds, how="vertical_relaxed"))


def _again(
    artefact: Artefact, config: FitConfig, train: Path, progress: Progress, what: str
) -> Artefact:
    """Return the fit of a model to some rows."""
    changed = config.model_copy(
        update={
            "data": [str(train)],
            "read": ReadConfig(),
            "save_dir": None,
            # Residuals of the training rows are of no use here.
            "flag_threshold": None,
        }
    )
    fitted = fit(changed, progress=lambda step: progress(f"{what}, {artefact.name}: {step}"))
    return Artefact(artefact.name, artefact.path, fitted.summaries)


_BY_FOLD = ("n", "mae", "rmse", "coverage_80", "coverage_95", "width_80", "width_95")


def _of_fold(name: str, cell: Cell, table: pl.DataFrame) -> pl.DataFrame:
    place = {"artefact": pl.lit(name), "repeat": pl.lit(cell.repeat), "fold": pl.lit(cell.fold)}
    return table.tail(1).select(**place, **{column: pl.col(column) for column in _BY_FOLD})


class _Scores:
    """Sums over tables, whose rows fits of the same names predict.

    Parameters
    ----------
    config : EvaluateConfig
        Names of columns, bins, and which rows count.
    """

    def __init__(self, config: EvaluateConfig) -> None:
        self.config = config
        self.artefacts: Sequence[Artefact] = ()
        self.evaluator: Evaluator | None = None
        self.drift = list[pl.DataFrame]()
        self.strata = list[pl.DataFrame]()
        self.rejected = Rejected()
        self.calibrated = dict[str, bool]()
        self.notes = list[str]()

    def add(
        self,
        table: TableFiles,
        artefacts: Sequence[Artefact],
        progress: Progress,
        what: str,
        origin: pl.DataFrame | None = None,
    ) -> Evaluator:
        """Add the rows of a table, and return the sums over these alone.

        Parameters
        ----------
        table : TableFiles
            The rows.
        artefacts : sequence of Artefact
            Fits, of the same names at every call.
        progress, what
            What is called with how many rows of what there were.
        origin : DataFrame or None
            File and row that each row comes from, where these are others.
        """
        config, self.artefacts = self.config, artefacts
        # Its default need not be in a user's table; without it there is no drift.
        run = config.run_col if config.run_col in table else None
        strata = [table.require(name, "strata_column") for name in config.strata_column]
        reader = BatchReader(
            table,
            artefacts,
            config,
            with_target=True,
            extra=list(dict.fromkeys([*([] if run is None else [run]), *strata])),
            descriptors=_descriptors(config, artefacts, PreparedNames.beside(table.files[0])),
            absent=config.absent_covariates,
        )
        found = Evaluator(
            {artefact.name: artefact.summaries for artefact in artefacts},
            columns=reader.columns,
            require_seen_group=config.require_seen_group,
            edges=config.support_edges,
            rare_rows=config.rare_rows,
        )
        for batch in reader.batches(config.max_test_rows):
            progress(f"{what}: {found.n_read:,} rows")
            chunk = found.add(batch.frame)
            _set_aside(self.rejected, batch, reader, chunk, origin)
            for a in artefacts:
                of_rows = (chunk.predictions[a.name], chunk.used)
                if run is not None:
                    self.drift.append(drift_sums(a, batch, reader, run, *of_rows))
                self.strata += strata_sums(a, batch, config.target_col, strata, *of_rows)
        self._check(found, table)
        self.notes = reader.notes()
        for artefact in artefacts:
            there = artefact.summaries.calibration is not None
            self.calibrated[artefact.name] = self.calibrated.get(artefact.name, True) and there
        self.evaluator = found if self.evaluator is None else self.evaluator.merge(found)
        return found

    def _check(self, found: Evaluator, table: TableFiles) -> None:
        # After the loop: whether any row counts is not known before the last batch.
        if found.n_read == found.n_unseen:
            seen = self.config.require_seen_group
            why = "of pairs that were seen in training" if seen else "at all"
            raise InputError(
                "data",
                expected=f"rows {why}",
                found=f"none in {found.n_read:,}",
                where=table.name,
            )

    def evaluation(self, notes: list[str]) -> Evaluation:
        """Return what was found."""
        assert self.evaluator is not None
        found = _evaluation(
            self.config, self.artefacts, self.evaluator, self.rejected.frame(), self.calibrated
        )
        names = [artefact.name for artefact in self.artefacts]
        drift, strata = mean_drift(self.drift, names), mean_strata(self.strata, names)
        return replace(found, drift=drift, strata=strata, notes=notes)


def _set_aside(
    rejected: Rejected,
    batch: Batch,
    reader: BatchReader,
    found: EvaluatedChunk,
    origin: pl.DataFrame | None,
) -> None:
    """Take the rows that not all artefacts predict, and those left out."""
    names = list(found.predictions)
    unknown = np.stack([np.isnan(p.mean) for p in found.predictions.values()])
    gone = np.flatnonzero(unknown.any(axis=0) | ~found.used)
    if not len(gone):
        return
    reasons = [
        "no prediction by " + ", ".join(n for n, none in zip(names, row, strict=True) if none)
        if used
        else "pair never seen in training"
        for row, used in zip(unknown[:, gone].T, found.used[gone], strict=True)
    ]
    source = pl.Series([batch.where]).new_from_index(0, len(gone))
    rows = pl.Series(gone + batch.first_row)
    if origin is not None:
        came = origin[rows.to_numpy() - 1]
        source, rows = came[FILE], came[ROW]
    rejected.add(rows, batch.raw[reader.compound].gather(gone), source, pl.Series(reasons))


def load_artefacts(given: Sequence[str]) -> list[Artefact]:
    """Load fits with distinct names.

    Raises
    ------
    InputError, RTRidgeError
        If none is given, one cannot be read, or two have one name.
    """
    if not given:
        raise InputError("artefacts", expected="at least one run folder of a fit", found="none")
    artefacts = [Artefact.load(text) for text in given]
    repeated = [name for name, times in Counter(a.name for a in artefacts).items() if times > 1]
    if repeated:
        raise InputError(
            "artefacts",
            expected="distinct names",
            found=f"{listed([repr(n) for n in repeated])} more than once",
            hint="Name them as NAME=PATH.",
        )
    return artefacts


def _descriptors(
    config: ScoreConfig, artefacts: Sequence[Artefact], prepared: PreparedNames
) -> CompoundDescriptors | None:
    effects = (a.summaries.coefficients.descriptors for a in artefacts)
    names = list(dict.fromkeys(n for e in effects if e is not None for n in e.names))
    if config.descriptors is None or not names:
        return None
    return read_descriptors(
        config.descriptors, config.compound_col, names, read=config.read, prepared=prepared
    )


def _evaluation(
    config: ScoreConfig,
    artefacts: Sequence[Artefact],
    evaluator: Evaluator,
    rejected: pl.DataFrame,
    calibrated: Mapping[str, bool],
) -> Evaluation:
    result = evaluator.result()
    n_used = evaluator.n_read - evaluator.n_unseen
    scored = [
        Scored(
            name=artefact.name,
            path=str(artefact.path),
            method=artefact.summaries.method,
            group_col=artefact.group_col,
            share_unseen=result.own[artefact.name].share_unseen,
            levels={k: n for k, n in Counter(result.levels[artefact.name]).most_common() if n},
            calibrated=calibrated[artefact.name],
            # `own` is of the rows that this artefact predicts, `metrics` of those that all predict:
            # only the latter may be compared between artefacts.
            table=result.own[artefact.name].table(),
            common=result.metrics[artefact.name].table(),
            rare=_rare(result.rare[artefact.name], config.rare_rows),
        )
        for artefact in artefacts
    ]
    n_common = n_used - result.n_not_common
    return Evaluation(scored, n_used, result.n_unseen, n_common, rejected=rejected)


def _rare(metrics: SupportMetrics, most: int) -> pl.DataFrame:
    """Return errors of pairs never seen, of those with at most `most` rows, and of both."""
    table = metrics.table().filter(pl.col("support") != f">={most + 1}")
    return table.with_columns(pl.col("support").replace("all", f"<={most}"))
