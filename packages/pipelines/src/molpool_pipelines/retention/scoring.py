"""Sums over batches of rows, for every artefact at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl
from rt_ridge import Evaluator, Prediction, SupportMetrics

from molpool_pipelines.retention.artefacts import Artefact
from molpool_pipelines.retention.batches import Batch, BatchReader
from molpool_pipelines.retention.config import ScoreConfig
from molpool_pipelines.retention.evaluation import Evaluation, Scored

Bools = npt.NDArray[np.bool_]


class Scorer:
    """Adds up errors and coverage, batch by batch.

    Parameters
    ----------
    config : ScoreConfig
        Bins, and which rows count.
    artefacts : sequence of Artefact
        All are scored on the same rows.
    reader : BatchReader
        Of the rows, with the target.
    run : str or None
        Column of the run, for drift.
    """

    def __init__(
        self,
        config: ScoreConfig,
        artefacts: Sequence[Artefact],
        reader: BatchReader,
        run: str | None,
    ) -> None:
        self.config, self.artefacts, self.reader, self.run = config, artefacts, reader, run
        self.evaluator = Evaluator(
            {artefact.name: artefact.summaries for artefact in artefacts},
            columns=reader.columns,
            require_seen_group=config.require_seen_group,
            edges=config.support_edges,
            rare_rows=config.rare_rows,
        )
        self._drift: list[pl.DataFrame] = []

    @property
    def n_read(self) -> int:
        """Rows read."""
        return self.evaluator.n_read

    @property
    def n_used(self) -> int:
        """Rows that count."""
        return self.n_read - self.evaluator.n_unseen

    def add(self, batch: Batch) -> None:
        """Add the rows of a batch."""
        judged = self.evaluator.add(batch.frame)
        for artefact in self.artefacts:
            self._add_drift(artefact, batch, judged.predictions[artefact.name], judged.used)

    def _add_drift(
        self, artefact: Artefact, batch: Batch, prediction: Prediction, used: Bools
    ) -> None:
        if self.run is None:
            return
        y = batch.frame[self.config.target_col]
        center = artefact.summaries.feature_center
        still = batch.frame.with_columns(
            pl.lit(value).alias(name)
            for name, value in zip(artefact.summaries.feature_names, center, strict=True)
        )
        at_center = self.reader.predict(artefact, still)
        error = y - prediction.mean
        frame = pl.DataFrame(
            {
                "run": batch.raw[self.run].cast(pl.String),
                "observed": y,
                "predicted": prediction.mean,
                "without_drift": at_center.mean,
                "bias": error,
                "z_mean": error / prediction.std,
                "rmse": error**2,
            }
        )
        kept = frame.filter(pl.Series(used) & pl.col("bias").is_not_nan())
        sums = kept.group_by("run").agg(pl.len().alias("n"), pl.exclude("run").sum())
        self._drift.append(sums.select(pl.lit(artefact.name).alias("artefact"), pl.all()))

    def evaluation(self) -> Evaluation:
        """Return what was found."""
        found = self.evaluator.result()
        scored = [
            Scored(
                name=name,
                path=str(artefact.path),
                method=artefact.summaries.method,
                group_col=artefact.group_col,
                share_unseen=found.own[name].share_unseen,
                levels=_filled(found.levels[name]),
                table=found.own[name].table(),
                common=found.metrics[name].table(),
                rare=_rare(found.rare[name], self.config.rare_rows),
            )
            for name, artefact in ((a.name, a) for a in self.artefacts)
        ]
        n_common = self.n_used - found.n_not_common
        return Evaluation(scored, self.n_used, found.n_unseen, n_common, self._drift_table())

    def _drift_table(self) -> pl.DataFrame | None:
        if not self._drift:
            return None
        names = {artefact.name: j for j, artefact in enumerate(self.artefacts)}
        sums = pl.concat(self._drift).group_by("artefact", "run").sum()
        numbers = sums["run"].cast(pl.Int64, strict=False)
        if numbers.null_count() == sums["run"].null_count():
            # Run 10 comes after run 9, also in tables of text.
            sums = sums.with_columns(numbers)
        order = pl.col("artefact").replace_strict(names, return_dtype=pl.Int64)
        means = sums.with_columns(pl.exclude("artefact", "run", "n") / pl.col("n"))
        return means.with_columns(pl.col("n").cast(pl.Int64), pl.col("rmse").sqrt()).sort(
            order, "run"
        )


def _filled(levels: dict[str, int]) -> dict[str, int]:
    """Return the levels that have rows, the most frequent first."""
    return {name: n for name, n in sorted(levels.items(), key=lambda item: -item[1]) if n}


def _rare(metrics: SupportMetrics, most: int) -> pl.DataFrame:
    """Return errors of pairs never seen, of the few rows of others, and of both."""
    table = metrics.table().filter(pl.col("support") != f">={most + 1}")
    return table.with_columns(pl.col("support").replace("all", f"<={most}"))
