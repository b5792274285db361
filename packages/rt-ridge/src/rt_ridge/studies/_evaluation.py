"""Errors and coverage of intervals by support, of several artefacts on the same rows, in chunks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from molpool_common import FloatArray, IntArray

from rt_ridge._errors import RTRidgeError, did_you_mean, listed
from rt_ridge.prediction._backoff import LEVELS
from rt_ridge.prediction._conformal import SUPPORT_EDGES, check_edges
from rt_ridge.prediction._summaries import Prediction, Stage1CoeffSummaries
from rt_ridge.tables._keys import pack

if TYPE_CHECKING:
    import polars as pl

    from rt_ridge.prediction._summaries import Prediction

COVERAGES = (0.5, 0.8, 0.95)
"""Nominal coverage of the central intervals that are checked."""

PERCENTILES = (50, 90, 99)
"""Percentiles of the pairs' RMSE."""

_COMPACT = 200_000
"""Pairs that may wait unmerged before equal ones are added up."""

RARE_ROWS = 2
"""Most training rows of a rare pair."""


@dataclass(frozen=True)
class EvaluationColumns:
    """Columns of the rows that are evaluated.

    Parameters
    ----------
    compound, target : str
        Compound id and measured retention time.
    parent : str or None
        Supercategory, for groups that a fit has not seen; not needed in the table.
    """

    compound: str = "comp_id"
    target: str = "rt"
    parent: str | None = "species_cluster"


@dataclass(frozen=True)
class Evaluation:
    """What the artefacts were worth.

    Attributes
    ----------
    metrics : dict of str to SupportMetrics
        Of each artefact, all on the same rows and binned by the support of the reference.
    own : dict of str to SupportMetrics
        Of each artefact on all rows, with and without a prediction, binned by its own support.
    rare : dict of str to SupportMetrics
        As `metrics`, of the rows whose pair has few training rows: none, and 1 to `rare_rows`.
    levels : dict of str to dict of str to int
        Rows of each artefact by the level that their coefficients came from; rows of pairs never
        seen are left out where seen ones are required.
    n_read : int
        Rows read.
    n_unseen : int
        Rows left out since an artefact has not seen their pair, if that was required.
    n_not_common : int
        Rows left out since an artefact has no prediction for them.
    """

    metrics: dict[str, SupportMetrics]
    own: dict[str, SupportMetrics]
    rare: dict[str, SupportMetrics]
    levels: dict[str, dict[str, int]]
    n_read: int
    n_unseen: int
    n_not_common: int


def evaluate(
    chunks: Iterable[pl.DataFrame],
    artefacts: Mapping[str, Stage1CoeffSummaries],
    *,
    columns: EvaluationColumns | None = None,
    reference: str | None = None,
    require_seen_group: bool = False,
    edges: Sequence[int] = SUPPORT_EDGES,
    rare_rows: int = RARE_ROWS,
) -> Evaluation:
    """Compare artefacts on rows that come in chunks.

    Parameters
    ----------
    chunks : iterable of DataFrame
        Rows with ids, covariates and the measured retention time.
    artefacts : mapping of str to Stage1CoeffSummaries
        The fits, by name. Each reads the group from its own `group_col`.
    columns : EvaluationColumns or None
        Where things stand; None takes the defaults.
    reference : str or None
        Artefact whose pairs and support define the bins; None: the first.
    require_seen_group : bool
        Leave out rows whose coefficient group, the pair, is new to any artefact.
    edges : sequence of int
        See `SupportMetrics`.
    rare_rows : int
        Most training rows of a rare pair.

    Raises
    ------
    RTRidgeError
        If there is no artefact or no row, or a column is missing.
    """
    evaluator = Evaluator(
        artefacts,
        columns=columns,
        reference=reference,
        require_seen_group=require_seen_group,
        edges=edges,
        rare_rows=rare_rows,
    )
    for chunk in chunks:
        evaluator.add(chunk)
    return evaluator.result()


@dataclass(frozen=True)
class EvaluatedChunk:
    """A chunk of rows that was added.

    Attributes
    ----------
    predictions : dict of str to Prediction
        Of each artefact, for all rows of the chunk.
    used : ndarray of bool, [N]
        Rows that count.
    """

    predictions: dict[str, Prediction]
    used: npt.NDArray[np.bool_]


class Evaluator:
    """Compares artefacts on rows that come in chunks; parameters as of `evaluate`."""

    def __init__(
        self,
        artefacts: Mapping[str, Stage1CoeffSummaries],
        *,
        columns: EvaluationColumns | None = None,
        reference: str | None = None,
        require_seen_group: bool = False,
        edges: Sequence[int] = SUPPORT_EDGES,
        rare_rows: int = RARE_ROWS,
    ) -> None:
        if rare_rows < 1:
            raise RTRidgeError(f"rare_rows: expected at least 1; found {rare_rows}")
        self.artefacts, self.columns = artefacts, columns or EvaluationColumns()
        self.reference = artefacts[_reference(artefacts, reference)]
        self.require_seen_group, self.rare_rows = require_seen_group, rare_rows
        self.metrics = {name: SupportMetrics(edges) for name in artefacts}
        self.own = {name: SupportMetrics(edges) for name in artefacts}
        self.rare = {name: SupportMetrics((1, rare_rows + 1)) for name in artefacts}
        self.levels = {name: np.zeros(len(LEVELS), dtype=np.int64) for name in artefacts}
        self.n_read = self.n_unseen = self.n_not_common = 0

    def add(self, chunk: pl.DataFrame) -> EvaluatedChunk:
        """Add a chunk of rows.

        Raises
        ------
        RTRidgeError
            If a column is missing, or a retention time is not finite.
        """
        y = self._target(chunk)
        found = {name: predict_frame(chunk, a, self.columns) for name, a in self.artefacts.items()}
        used = np.ones(chunk.height, dtype=np.bool_)
        if self.require_seen_group:
            # Level 0 is the pair's own coefficients; higher levels are back-offs.
            used = np.all([p.level_code == 0 for p in found.values()], axis=0)
        # Artefacts are compared on rows that each of them predicts.
        known = used & ~np.any([np.isnan(p.mean) for p in found.values()], axis=0)
        self.n_read += chunk.height
        self.n_unseen += int((~used).sum())
        self.n_not_common += int((used & ~known).sum())
        support, keys = self._support(self.reference, chunk)
        # By the reference's support for all artefacts: otherwise each would be scored on rows of
        # its own.
        rare = known & (support <= self.rare_rows)
        for name, prediction in found.items():
            own, own_keys = self._support(self.artefacts[name], chunk)
            _update(self.own[name], used, y, prediction, own, own_keys)
            _update(self.metrics[name], known, y, prediction, support, keys)
            _update(self.rare[name], rare, y, prediction, support, keys)
            self.levels[name] += np.bincount(prediction.level_code[used], minlength=len(LEVELS))
        return EvaluatedChunk(found, used)

    def _support(
        self, artefact: Stage1CoeffSummaries, chunk: pl.DataFrame
    ) -> tuple[IntArray, IntArray]:
        """Return training rows of the pair of each row in an artefact, and the pairs."""
        ids = (artefact.group_col, self.columns.compound)
        groups, compounds = (chunk[name].to_numpy() for name in ids)
        return artefact.support(groups, compounds), pack(groups, compounds)

    def _target(self, chunk: pl.DataFrame) -> FloatArray:
        groups = (a.group_col for a in self.artefacts.values())
        missing = sorted({self.columns.compound, self.columns.target, *groups} - {*chunk.columns})
        if missing:
            hint = did_you_mean(missing[0], chunk.columns)
            raise RTRidgeError(f"columns: expected {missing[0]!r} in the table. {hint}")
        y = chunk[self.columns.target].to_numpy().astype(np.float64)
        bad = np.flatnonzero(~np.isfinite(y))
        if len(bad):
            rows = listed((self.n_read + bad).tolist())
            raise RTRidgeError(
                f"{self.columns.target}: expected a finite value in every row;"
                f" found {len(bad)} others (rows {rows})"
            )
        return y

    def merge(self, *others: Evaluator) -> Evaluator:
        """Return the sums of this and others, as of folds that fits of the same names predicted."""
        merged = Evaluator(
            self.artefacts,
            columns=self.columns,
            require_seen_group=self.require_seen_group,
            edges=next(iter(self.own.values())).edges,
            rare_rows=self.rare_rows,
        )
        every = (self, *others)
        for name in self.artefacts:
            for kind in ("metrics", "own", "rare"):
                first, *rest = (getattr(one, kind)[name] for one in every)
                getattr(merged, kind)[name] = first.merge(*rest)
            merged.levels[name] = np.sum([one.levels[name] for one in every], axis=0)
        for count in ("n_read", "n_unseen", "n_not_common"):
            setattr(merged, count, sum(getattr(one, count) for one in every))
        return merged

    def result(self) -> Evaluation:
        """Return what was found.

        Raises
        ------
        RTRidgeError
            If there was no row.
        """
        if not self.n_read:
            raise RTRidgeError("rows: expected at least one to evaluate; found none")
        levels = {
            name: dict(zip(LEVELS, count.tolist(), strict=True))
            for name, count in self.levels.items()
        }
        counts = (self.n_read, self.n_unseen, self.n_not_common)
        return Evaluation(self.metrics, self.own, self.rare, levels, *counts)


def _reference(artefacts: Mapping[str, Stage1CoeffSummaries], name: str | None) -> str:
    names = list(artefacts)
    if not names:
        raise RTRidgeError("artefacts: expected at least one; found none")
    if name is not None and name not in artefacts:
        hint = did_you_mean(name, names)
        raise RTRidgeError(f"reference: no artefact is called {name!r}. {hint}")
    return name or names[0]


def _update(
    metrics: SupportMetrics,
    rows: npt.NDArray[np.bool_],
    y: FloatArray,
    prediction: Prediction,
    support: IntArray,
    keys: IntArray,
) -> None:
    metrics.update(y[rows], prediction.take(rows), support[rows], keys[rows])


def predict_frame(
    frame: pl.DataFrame,
    artefact: Stage1CoeffSummaries,
    columns: EvaluationColumns | None = None,
) -> Prediction:
    """Predict the rows of a table, with supercategories and descriptors where it has them.

    Parameters
    ----------
    frame : DataFrame
        Ids and covariates; the group is read from the artefact's `group_col`.
    artefact : Stage1CoeffSummaries
        The fit.
    columns : EvaluationColumns or None
        Where things stand; None takes the defaults.
    """
    columns = columns or EvaluationColumns()
    parents = descriptors = None
    if columns.parent in frame.columns and artefact.group_col != columns.parent:
        parents = frame[columns.parent].fill_null(-1).to_numpy()
    effect = artefact.coefficients.descriptors
    if effect is not None and set(effect.names) <= set(frame.columns):
        descriptors = frame.select(effect.names).to_numpy()
    groups, compounds = (frame[name].to_numpy() for name in (artefact.group_col, columns.compound))
    effects = artefact.runs
    runs = frame[effects.column] if effects and effects.column in frame.columns else None
    return artefact.predict(frame, groups, compounds, parents, descriptors, runs)


class SupportMetrics:
    """Sums over rows, by the number of training rows of their pair.

    Sums add, so that chunks, files and machines give the answer of the whole table.

    Parameters
    ----------
    edges : sequence of int
        Least support of each bin, ascending, from 1 on; pairs never seen have a bin of their own.

    Raises
    ------
    RTRidgeError
        If the edges do not ascend from 1.
    """

    def __init__(self, edges: Sequence[int] = SUPPORT_EDGES) -> None:
        self.edges = check_edges(edges)
        n_bins = len(self.edges) + 1
        # Of rows, |e|, e², z, z²; then of hits and widths of each interval.
        self._sums = np.zeros((n_bins, 5 + 2 * len(COVERAGES)))
        self._missing = np.zeros(n_bins, dtype=np.int64)
        self._pairs = _Pairs()

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the bins: "unseen", "1", "2-4", ..., ">=100"."""
        inner = [
            str(low) if high == low + 1 else f"{low}-{high - 1}"
            for low, high in pairwise(self.edges)
        ]
        return ("unseen", *inner, f">={self.edges[-1]}")

    @property
    def n_rows(self) -> int:
        """Rows seen, with and without a prediction."""
        return int(self._sums[:, 0].sum() + self._missing.sum())

    @property
    def share_unseen(self) -> float:
        """Share of the rows whose pair has no training row."""
        return float((self._sums[0, 0] + self._missing[0]) / max(self.n_rows, 1))

    def update(
        self, y: FloatArray, prediction: Prediction, support: IntArray, keys: IntArray
    ) -> None:
        """Add a chunk of rows.

        Parameters
        ----------
        y : ndarray, [N]
            Measured retention times.
        prediction : Prediction
            Of the same rows; rows with NaN are counted as missing and left out of the rest.
        support : ndarray of int, [N]
            Training rows of each row's pair.
        keys : ndarray of int64, [N]
            The pairs, for the RMSE of each.
        """
        # Edges are the least support of a bin, hence side="right"; support 0 falls into bin 0,
        # unseen.
        bins = np.searchsorted(self.edges, support, side="right")
        there = ~np.isnan(prediction.mean)
        n_bins = len(self._sums)
        self._missing += np.bincount(bins[~there], minlength=n_bins)
        error, std, bins = (y - prediction.mean)[there], prediction.std[there], bins[there]
        z = error / std
        columns = [np.ones_like(error), np.abs(error), error**2, z, z**2]
        for coverage in COVERAGES:
            half = prediction.half_width(coverage)[there]
            columns += [(np.abs(error) <= half).astype(np.float64), 2 * half]
        for j, column in enumerate(columns):
            self._sums[:, j] += np.bincount(bins, column, minlength=n_bins)
        self._pairs.add(keys[there], bins, error**2)

    def merge(self, *others: SupportMetrics) -> SupportMetrics:
        """Return the metrics of all rows of this and the others.

        Raises
        ------
        RTRidgeError
            If their bins differ.
        """
        merged = SupportMetrics(self.edges)
        for part in (self, *others):
            if part.edges != self.edges:
                raise RTRidgeError(
                    f"edges: expected {list(self.edges)} in all parts; found {list(part.edges)}"
                )
            merged._sums += part._sums
            merged._missing += part._missing
            merged._pairs.extend(part._pairs)
        return merged

    def table(self) -> pl.DataFrame:
        """Return one row per bin, the least support first, and one of all rows.

        Returns
        -------
        DataFrame
            Columns support, n, n_missing, n_pairs, mae, rmse, coverage_50, coverage_80,
            coverage_95, width_50, width_80, width_95, z_mean, z_sd, pair_rmse_p50, pair_rmse_p90,
            pair_rmse_p99; null where a bin has no row.
        """
        import polars as pl

        sums = np.concatenate([self._sums, self._sums.sum(axis=0)[None]])
        columns: dict[str, object] = {
            "support": [*self.labels, "all"],
            "n": sums[:, 0].astype(np.int64),
            "n_missing": [*self._missing, self._missing.sum()],
        }
        with np.errstate(invalid="ignore", divide="ignore"):
            means = sums / sums[:, :1]
            columns |= self._pairs.summary(len(self._sums))
            columns |= {"mae": means[:, 1], "rmse": np.sqrt(means[:, 2])}
            for j, coverage in enumerate(COVERAGES):
                columns[f"coverage_{coverage * 100:.0f}"] = means[:, 5 + 2 * j]
                columns[f"width_{coverage * 100:.0f}"] = means[:, 6 + 2 * j]
            columns["z_mean"] = means[:, 3]
            # Uncentred sums are safe here: z is of order 1, its mean near 0, so little cancels.
            spread = sums[:, 4] - sums[:, 0] * means[:, 3] ** 2
            columns["z_sd"] = np.sqrt(np.maximum(spread, 0.0) / (sums[:, 0] - 1))
        return pl.DataFrame(columns).select(_ordered(columns)).fill_nan(None)


def _ordered(columns: dict[str, object]) -> list[str]:
    front = [name for name in columns if not name.startswith(("width", "pair_rmse", "z_"))]
    return front + [name for name in columns if name not in front]


class _Pairs:
    """Rows and squared errors of every pair, added up when there are many."""

    def __init__(self) -> None:
        self._parts: list[tuple[IntArray, IntArray, FloatArray, FloatArray]] = []

    def add(self, keys: IntArray, bins: IntArray, squares: FloatArray) -> None:
        self._parts.append(_by_pair(keys, bins, np.ones_like(squares), squares))
        # The first part is already merged: amortised, each row is merged a bounded number of times.
        if sum(len(part[0]) for part in self._parts[1:]) > _COMPACT:
            self._parts = [self._merged()]

    def extend(self, other: _Pairs) -> None:
        self._parts += other._parts

    def _merged(self) -> tuple[IntArray, IntArray, FloatArray, FloatArray]:
        if not self._parts:
            none = np.zeros(0, dtype=np.int64)
            return none, none, np.zeros(0), np.zeros(0)
        return _by_pair(*(np.concatenate(c) for c in zip(*self._parts, strict=True)))

    def summary(self, n_bins: int) -> dict[str, object]:
        keys, bins, rows, squares = self._merged()
        rmse = np.sqrt(squares / rows)
        _, _, rows, squares = _by_pair(keys, np.zeros_like(bins), rows, squares)
        parts = [rmse[bins == b] for b in range(n_bins)] + [np.sqrt(squares / rows)]
        columns: dict[str, object] = {"n_pairs": [len(part) for part in parts]}
        for q in PERCENTILES:
            columns[f"pair_rmse_p{q}"] = [
                float(np.percentile(part, q)) if len(part) else None for part in parts
            ]
        return columns


def _by_pair(
    keys: IntArray, bins: IntArray, rows: FloatArray, squares: FloatArray
) -> tuple[IntArray, IntArray, FloatArray, FloatArray]:
    """Return sums over the rows of each pair in each bin; fits of folds differ in support."""
    order = np.lexsort((keys, bins))
    keys, bins = keys[order], bins[order]
    new = np.ones(len(keys), dtype=np.bool_)
    new[1:] = (np.diff(keys) != 0) | (np.diff(bins) != 0)
    place = np.cumsum(new) - 1
    return keys[new], bins[new], *_sums_of(place, rows[order], squares[order])


def _sums_of(
    place: IntArray, rows: FloatArray, squares: FloatArray
) -> tuple[FloatArray, FloatArray]:
    # Without any row numpy counts in integers.
    counted = np.bincount(place, rows).astype(np.float64)
    return counted, np.bincount(place, squares).astype(np.float64)
