"""Errors and coverage of fits on held-out rows, by the training rows of their pair.

`evaluate` scores one fit or several on the same rows, some at a time, and returns an `Evaluation`:
tables that `Evaluation.write` leaves as `evaluation.json`, `evaluation.csv` and `drift.csv`, and
that `Evaluation.load` reads for figures and reports.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from molpool_common import BoolArray, InputError, RunFolder, listed
from rt_ridge import (
    CompoundDescriptors,
    EvaluatedChunk,
    Evaluator,
    Prediction,
    SupportMetrics,
)

from molpool_pipelines.retention._compounds import read_descriptors
from molpool_pipelines.retention._config import (
    EVALUATION,
    EvaluateConfig,
    Progress,
    ScoreConfig,
    silent,
)
from molpool_pipelines.retention._identifiers import as_prepared
from molpool_pipelines.retention._predict import Artefact, Batch, BatchReader
from molpool_pipelines.retention._rejected import Rejected
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
    """

    scored: list[Scored]
    n_rows: int
    n_left_out: int
    n_common: int
    drift: pl.DataFrame | None = None
    rejected: pl.DataFrame | None = None

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
        """Write evaluation.json and evaluation.csv; drift.csv and rejected.csv where there are."""
        fits = [
            {key: getattr(scored, key) for key in _PLAIN}
            | {rows: table.to_dicts() for rows, table in scored.tables.items()}
            for scored in self.scored
        ]
        # Plain lists rather than a schema: files of version 0.1.0 have these keys too.
        counts = {key: getattr(self, key) for key in _COUNTS}
        run.write_json(EVALUATION, {**counts, "rows": self.rows, "artefacts": fits})
        run.write_text("evaluation.csv", self.frame().write_csv())
        if self.drift is not None:
            run.write_text("drift.csv", self.drift.write_csv())
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
        drift = path.with_name("drift.csv")
        known = pl.read_csv(drift) if drift.is_file() else None
        return cls(scored, rows, left_out, common, known)


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
        Artefacts, tables, bins of support, and which rows count.
    progress : callable
        Called with what is being done.

    Raises
    ------
    InputError, RTRidgeError
        If an artefact is wrong, two have one name, the table lacks what one was fitted with, a
        value is wrong, or no row is left.
    """
    artefacts = load_artefacts(config.artefacts)
    table = TableFiles.find(config.data, "data", read=config.read)
    config = as_prepared(config, table)
    # Its default need not be in a user's table; without it there is no drift.
    run = config.run_col if config.run_col in table else None
    reader = BatchReader(
        table,
        artefacts,
        config,
        with_target=True,
        extra=[] if run is None else [run],
        descriptors=_descriptors(config, artefacts),
        absent=config.absent_covariates,
    )
    evaluator = Evaluator(
        {artefact.name: artefact.summaries for artefact in artefacts},
        columns=reader.columns,
        require_seen_group=config.require_seen_group,
        edges=config.support_edges,
        rare_rows=config.rare_rows,
    )
    drift, rejected = list[pl.DataFrame](), Rejected()
    for batch in reader.batches(config.max_test_rows):
        progress(f"Evaluating on {table.name}: {evaluator.n_read:,} rows")
        found = evaluator.add(batch.frame)
        _set_aside(rejected, batch, reader, found)
        if run is not None:
            drift += [
                _drift(artefact, batch, reader, run, found.predictions[artefact.name], found.used)
                for artefact in artefacts
            ]
    # After the loop: whether any row counts is not known before the last batch.
    if evaluator.n_read == evaluator.n_unseen:
        why = "of pairs that were seen in training" if config.require_seen_group else "at all"
        raise InputError(
            "data",
            expected=f"rows {why}",
            found=f"none in {evaluator.n_read:,}",
            where=table.name,
        )
    return _evaluation(config, artefacts, evaluator, drift, rejected.frame())


def _set_aside(
    rejected: Rejected, batch: Batch, reader: BatchReader, found: EvaluatedChunk
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


def _descriptors(config: ScoreConfig, artefacts: Sequence[Artefact]) -> CompoundDescriptors | None:
    effects = (a.summaries.coefficients.descriptors for a in artefacts)
    names = list(dict.fromkeys(n for e in effects if e is not None for n in e.names))
    if config.descriptors is None or not names:
        return None
    return read_descriptors(config.descriptors, config.compound_col, names, read=config.read)


def _drift(
    artefact: Artefact,
    batch: Batch,
    reader: BatchReader,
    run: str,
    prediction: Prediction,
    used: BoolArray,
) -> pl.DataFrame:
    """Return sums over the rows of each run; rmse: of the squares."""
    y = batch.frame[reader.config.target_col]
    center = artefact.summaries.feature_center
    # The covariates at their centre: what the pair would elute at without the drift that standards
    # show.
    still = batch.frame.with_columns(
        pl.lit(value).alias(name)
        for name, value in zip(artefact.summaries.feature_names, center, strict=True)
    )
    error = y - prediction.mean
    frame = pl.DataFrame(
        {
            "run": batch.raw[run].cast(pl.String),
            "observed": y,
            "predicted": prediction.mean,
            "without_drift": reader.predict(artefact, still).mean,
            "bias": error,
            "z_mean": error / prediction.std,
            "rmse": error**2,
        }
    )
    rows = frame.filter(pl.Series(used) & pl.col("bias").is_not_nan())
    # Sums rather than means: a run may lie in several batches, and means of parts cannot be joined.
    sums = rows.group_by("run").agg(pl.len().alias("n"), pl.exclude("run").sum())
    return sums.select(pl.lit(artefact.name).alias("artefact"), pl.all())


def _mean_drift(parts: Sequence[pl.DataFrame], names: Sequence[str]) -> pl.DataFrame | None:
    if not parts:
        return None
    sums = pl.concat(parts).group_by("artefact", "run").sum()
    # Only where every name is a number.
    numbers = sums["run"].cast(pl.Int64, strict=False)
    if numbers.null_count() == sums["run"].null_count():
        # Run 10 comes after run 9, also in tables of text.
        sums = sums.with_columns(numbers)
    place = {name: j for j, name in enumerate(names)}
    order = pl.col("artefact").replace_strict(place, return_dtype=pl.Int64)
    means = sums.with_columns(pl.exclude("artefact", "run", "n") / pl.col("n"))
    # The root last: until here the column held sums of squares.
    means = means.with_columns(pl.col("n").cast(pl.Int64), pl.col("rmse").sqrt())
    return means.sort(order, "run")


def _evaluation(
    config: ScoreConfig,
    artefacts: Sequence[Artefact],
    evaluator: Evaluator,
    drift: Sequence[pl.DataFrame],
    rejected: pl.DataFrame,
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
            calibrated=artefact.summaries.calibration is not None,
            # `own` is of the rows that this artefact predicts, `metrics` of those that all predict:
            # only the latter may be compared between artefacts.
            table=result.own[artefact.name].table(),
            common=result.metrics[artefact.name].table(),
            rare=_rare(result.rare[artefact.name], config.rare_rows),
        )
        for artefact in artefacts
    ]
    means = _mean_drift(drift, [artefact.name for artefact in artefacts])
    n_common = n_used - result.n_not_common
    return Evaluation(scored, n_used, result.n_unseen, n_common, means, rejected)


def _rare(metrics: SupportMetrics, most: int) -> pl.DataFrame:
    """Return errors of pairs never seen, of those with at most `most` rows, and of both."""
    table = metrics.table().filter(pl.col("support") != f">={most + 1}")
    return table.with_columns(pl.col("support").replace("all", f"<={most}"))
