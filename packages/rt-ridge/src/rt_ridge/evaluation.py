"""Several artefacts on the same rows, a chunk at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from molpool_common import FloatArray, IntArray

from rt_ridge.backoff import LEVELS
from rt_ridge.errors import RTRidgeError, did_you_mean, listed
from rt_ridge.intervals import SUPPORT_EDGES
from rt_ridge.keys import pack
from rt_ridge.summaries import Prediction, Stage1CoeffSummaries
from rt_ridge.support import SupportMetrics

if TYPE_CHECKING:
    import polars as pl


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
        Most training rows of a pair that is told as rare.

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


def _reference(artefacts: Mapping[str, Stage1CoeffSummaries], name: str | None) -> str:
    names = list(artefacts)
    if not names:
        raise RTRidgeError("artefacts: expected at least one; found none")
    if name is not None and name not in artefacts:
        hint = did_you_mean(name, names)
        raise RTRidgeError(f"reference: no artefact is called {name!r}. {hint}")
    return name or names[0]


@dataclass(frozen=True)
class Judged:
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

    def add(self, chunk: pl.DataFrame) -> Judged:
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
            used = np.all([p.level_code == 0 for p in found.values()], axis=0)
        known = used & ~np.any([np.isnan(p.mean) for p in found.values()], axis=0)
        self.n_read += chunk.height
        self.n_unseen += int((~used).sum())
        self.n_not_common += int((used & ~known).sum())
        support, keys = self._support(self.reference, chunk)
        rare = known & (support <= self.rare_rows)
        for name, prediction in found.items():
            own, own_keys = self._support(self.artefacts[name], chunk)
            _update(self.own[name], used, y, prediction, own, own_keys)
            _update(self.metrics[name], known, y, prediction, support, keys)
            _update(self.rare[name], rare, y, prediction, support, keys)
            self.levels[name] += np.bincount(prediction.level_code[used], minlength=len(LEVELS))
        return Judged(found, used)

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
    return artefact.predict(frame, groups, compounds, parents, descriptors)
