"""Residuals of the training rows: run by run, and peaks that are likely not what they are called.

Every row is held against what the fit would expect without it, which needs no further fit: see
`rt_ridge.RowWeights`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from molpool_common import FloatArray, RunFolder, formulas_marked
from rt_ridge import Prediction, RowWeights, Stage1CoeffSummaries, row_weights

from molpool_pipelines.retention._batches import Artefact, Batch, BatchReader
from molpool_pipelines.retention._config import FLAGGED, RESIDUALS
from molpool_pipelines.retention._identifiers import CLUSTER, COMPOUND, SPECIES, PreparedNames
from molpool_pipelines.retention._training import Training

MOST_ROWS = 10_000_000
"""Rows that are looked at: the first of a longer table."""

MOST_FLAGGED = 1_000
"""Peaks that are listed, the farthest off."""

_PRIOR_ROWS = 5
"""Rows that the spread of all compounds counts for beside those of a compound."""


def weighed(y: FloatArray, prediction: Prediction, leave_out: float | None) -> RowWeights:
    """Return what a fit makes of rows that it was fitted to.

    Parameters
    ----------
    y : ndarray, [N]
        Retention times that were fitted.
    prediction : Prediction
        Of these rows, by that fit.
    leave_out : float or None
        Distance from which it left rows out.
    """
    line = prediction.std_mean**2
    sigma2 = (prediction.std**2 - line) / prediction.tails.variance
    return row_weights(y - prediction.mean, line, sigma2, prediction.tails, leave_out)


@dataclass(frozen=True)
class Residuals:
    """Residuals of a fit, each row left out.

    Attributes
    ----------
    runs : DataFrame
        run, in the order of the table; rows n; mean, sd, low and high (5 and 95 %) of the
        residuals; number of peaks flagged. Empty where the table has no runs.
    flagged : DataFrame
        Peaks that are farther off than usual, the farthest first: file, row, run, species,
        compound, observed, expected, difference, sd (of the fit), standardised (difference over
        sd), deviations (that over what is usual of the compound), weight (in the fit: 1 of an
        ordinary row, 0 of one left out), candidate (the compound of the species that is expected
        there, where there is one) and candidate_expected.
    n_rows, n_flagged : int
        Rows looked at, and peaks flagged, listed or not.
    threshold : float
        Deviations from which a peak is flagged.
    """

    runs: pl.DataFrame
    flagged: pl.DataFrame
    n_rows: int
    n_flagged: int
    threshold: float

    def write(self, run: RunFolder) -> None:
        """Write residuals.csv and flagged.csv."""
        run.write_text(RESIDUALS, formulas_marked(self.runs).write_csv())
        run.write_text(FLAGGED, formulas_marked(self.flagged).write_csv())


def residuals(training: Training, summaries: Stage1CoeffSummaries, threshold: float) -> Residuals:
    """Hold every training row against the fit to all others.

    Parameters
    ----------
    training : Training
        The rows.
    summaries : Stage1CoeffSummaries
        Their fit.
    threshold : float
        Usual deviations of a compound beyond which a peak is flagged.
    """
    config, files = training.config, training.table
    run_col = config.calibrate.run_col if config.calibrate.run_col in files.table else None
    artefact = Artefact("fit", Path(), summaries)
    reader = BatchReader(
        files.table,
        [artefact],
        config,
        with_target=True,
        extra=[] if run_col is None else [run_col],
        descriptors=training.descriptors,
        absent=config.absent_covariates,
    )
    most = min(config.max_train_rows or MOST_ROWS, MOST_ROWS)
    parts = [_of_batch(batch, reader, artefact, run_col) for batch in reader.batches(most)]
    rows = _with_deviations(pl.concat(parts), threshold)
    found = rows.filter("flag").sort(pl.col("deviations").abs(), descending=True)
    listed = found.head(MOST_FLAGGED)
    names = PreparedNames.beside(files.table.files[0])
    flagged = _listed(listed, _candidates(listed, reader, artefact, most), artefact, names)
    return Residuals(_by_run(rows), flagged, rows.height, found.height, threshold)


def _of_batch(
    batch: Batch, reader: BatchReader, artefact: Artefact, run_col: str | None
) -> pl.DataFrame:
    frame = batch.frame
    y = frame[reader.config.target_col].to_numpy()
    found = weighed(y, reader.predict(artefact, frame), artefact.summaries.leave_out)
    residual, sd = found.leave_one_out
    n_rows = frame.height
    none = pl.Series([None], dtype=pl.String).new_from_index(0, n_rows)
    rows = pl.DataFrame(
        {
            "file": pl.Series([batch.where]).new_from_index(0, n_rows),
            "row": np.arange(batch.first_row, batch.first_row + n_rows),
            "run": none if run_col is None else batch.raw[run_col].cast(pl.String),
            "group": frame[artefact.group_col],
            "compound": frame[reader.compound],
            "observed": y,
            "difference": residual,
            "sd": sd,
            "weight": found.weight,
        }
    )
    # Pairs that a trial did not draw have no fit.
    return rows.filter(pl.col("difference").is_finite())


def _with_deviations(rows: pl.DataFrame, threshold: float) -> pl.DataFrame:
    """Return rows with their standardised differences over what is usual of their compound.

    That is a median of absolute values, for peaks that are off must not hide one another; those of
    compounds with few rows are drawn toward the one of all. Standardised, as a row of which the
    others say little is often off.
    """
    rows = rows.with_columns(standardised=pl.col("difference") / pl.col("sd"))
    size = pl.col("standardised").abs()
    spread = 1.4826 * size.median()
    n, own, shared = pl.len().over("compound"), spread.over("compound"), spread
    usual = ((n * own**2 + _PRIOR_ROWS * shared**2) / (n + _PRIOR_ROWS)).sqrt()
    deviations = pl.when(usual > 0).then(pl.col("standardised") / usual)
    rows = rows.with_columns(deviations=deviations)
    far = (pl.col("deviations").abs() > threshold).fill_null(value=False)
    return rows.with_columns(flag=far | (pl.col("weight") == 0))


def _by_run(rows: pl.DataFrame) -> pl.DataFrame:
    residual = pl.col("difference")
    return (
        rows.drop_nulls("run")
        .group_by("run", maintain_order=True)
        .agg(
            pl.len().cast(pl.Int64).alias("n"),
            residual.mean().alias("mean"),
            residual.std().alias("sd"),
            residual.quantile(0.05, "linear").alias("low"),
            residual.quantile(0.95, "linear").alias("high"),
            pl.col("flag").sum().cast(pl.Int64).alias("flagged"),
        )
    )


def _candidates(
    flagged: pl.DataFrame, reader: BatchReader, artefact: Artefact, most: int
) -> pl.DataFrame:
    """Return for flagged peaks the compound of their species that is expected at their time."""
    found = list[tuple[str, int, int, float]]()
    wanted = flagged.select("file", "row")
    for batch in reader.batches(most) if flagged.height else ():
        rows = wanted.filter(pl.col("file") == batch.where)["row"].to_numpy() - batch.first_row
        for place in rows[(rows >= 0) & (rows < batch.frame.height)].tolist():
            nearest = _candidate(batch.frame[place], reader, artefact)
            if nearest is not None:
                found.append((batch.where, batch.first_row + place, *nearest))
    schema = {"file": pl.String, "row": pl.Int64, "candidate": pl.Int64}
    return pl.DataFrame(found, schema | {"candidate_expected": pl.Float64}, orient="row")


def _candidate(
    row: pl.DataFrame, reader: BatchReader, artefact: Artefact
) -> tuple[int, float] | None:
    summaries = artefact.summaries
    group, own = row[artefact.group_col].item(), row[reader.compound].item()
    compounds = summaries.keys[(summaries.keys >> 32) == group] & 0xFFFFFFFF
    others = compounds[compounds != own]
    if not len(others):
        return None
    frame = row[np.zeros(len(others), dtype=np.int64)]
    found = reader.predict(artefact, frame.with_columns(pl.Series(reader.compound, others)))
    distance = np.abs(row[reader.config.target_col].item() - found.mean)
    nearest = int(np.nanargmin(distance))
    if distance[nearest] > found.half_width(0.95)[nearest]:
        return None
    return int(others[nearest]), float(found.mean[nearest])


def _listed(
    flagged: pl.DataFrame, candidates: pl.DataFrame, artefact: Artefact, names: PreparedNames
) -> pl.DataFrame:
    """Return flagged peaks as a table for readers."""
    joined = flagged.join(candidates, on=["file", "row"], how="left", maintain_order="left")
    of_group = CLUSTER if artefact.group_col == "species_cluster" else SPECIES
    return joined.select(
        "file",
        "row",
        "run",
        names.apply(of_group, joined["group"]).alias("species"),
        names.apply(COMPOUND, joined["compound"]).alias("compound"),
        "observed",
        (pl.col("observed") - pl.col("difference")).alias("expected"),
        "difference",
        "sd",
        "standardised",
        "deviations",
        "weight",
        names.apply(COMPOUND, joined["candidate"]).alias("candidate"),
        "candidate_expected",
    )
