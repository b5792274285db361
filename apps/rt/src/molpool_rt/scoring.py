"""Sums over batches of rows, for every artefact at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl
from rt_ridge import Prediction, SupportMetrics

from molpool_rt.artefacts import Artefact
from molpool_rt.batches import Batch, BatchReader
from molpool_rt.config import ScoreConfig
from molpool_rt.evaluation import Evaluation, Scored

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
        self.own = [SupportMetrics(config.support_edges) for _ in artefacts]
        self.common = [SupportMetrics(config.support_edges) for _ in artefacts]
        self.levels: list[Counter[str]] = [Counter() for _ in artefacts]
        self._drift: list[pl.DataFrame] = []
        self.n_read = self.n_used = self.n_common = 0

    def add(self, batch: Batch) -> None:
        """Add the rows of a batch."""
        frame = batch.frame
        y = frame[self.config.target_col].to_numpy()
        predictions = [self.reader.predict(a, frame) for a in self.artefacts]
        pairs = [self.reader.support(a, frame) for a in self.artefacts]
        used = np.ones(len(y), dtype=np.bool_)
        if self.config.require_seen_group:
            used = np.logical_and.reduce([support > 0 for support, _ in pairs])
        common = used & np.logical_and.reduce([~np.isnan(p.mean) for p in predictions])
        self.n_read += len(y)
        self.n_used += int(used.sum())
        self.n_common += int(common.sum())
        for j, (artefact, prediction) in enumerate(zip(self.artefacts, predictions, strict=True)):
            support, keys = (column[used] for column in pairs[j])
            mine = prediction.take(used)
            self.own[j].update(y[used], mine, support, keys)
            support, keys = (column[common] for column in pairs[0])
            self.common[j].update(y[common], prediction.take(common), support, keys)
            self.levels[j].update(Counter(mine.level.tolist()))
            self._add_drift(artefact, batch, prediction, used)

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
        scored = [
            Scored(
                name=artefact.name,
                path=str(artefact.path),
                method=artefact.summaries.method,
                group_col=artefact.group_col,
                share_unseen=own.share_unseen,
                levels=dict(levels.most_common()),
                table=own.table(),
                common=common.table(),
            )
            for artefact, own, common, levels in zip(
                self.artefacts, self.own, self.common, self.levels, strict=True
            )
        ]
        left_out = self.n_read - self.n_used
        return Evaluation(scored, self.n_used, left_out, self.n_common, self._drift_table())

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
