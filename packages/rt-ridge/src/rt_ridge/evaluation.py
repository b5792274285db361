"""Several artefacts on the same rows, a chunk at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rt_ridge.backoff import LEVELS
from rt_ridge.errors import RTRidgeError, did_you_mean
from rt_ridge.keys import pack
from rt_ridge.summaries import Prediction, Stage1CoeffSummaries
from rt_ridge.support import SUPPORT_EDGES, SupportMetrics

if TYPE_CHECKING:
    import polars as pl

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


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
    levels : dict of str to dict of str to int
        Rows of each artefact by the level that their coefficients came from, before any was left
        out.
    n_read : int
        Rows read.
    n_unseen : int
        Rows left out since an artefact has not seen their pair, if that was required.
    n_not_common : int
        Rows left out since an artefact has no prediction for them.
    """

    metrics: dict[str, SupportMetrics]
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
    common_support: bool = True,
    edges: Sequence[int] = SUPPORT_EDGES,
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
    common_support : bool
        Leave out rows for which any artefact has no prediction, so that all are scored on the
        same rows; False counts such rows as missing.
    edges : sequence of int
        See `SupportMetrics`.

    Raises
    ------
    RTRidgeError
        If there is no artefact or no row, or a column is missing.
    """
    columns = columns or EvaluationColumns()
    names = list(artefacts)
    if not names:
        raise RTRidgeError("artefacts: expected at least one; found none")
    reference = reference or names[0]
    if reference not in artefacts:
        hint = did_you_mean(reference, names)
        raise RTRidgeError(f"reference: no artefact is called {reference!r}. {hint}")
    metrics = {name: SupportMetrics(edges) for name in names}
    counts = {name: np.zeros(len(LEVELS), dtype=np.int64) for name in names}
    n_read = n_unseen = n_not_common = 0
    for chunk in chunks:
        scored = _Scored.of(chunk, artefacts, columns)
        for name, prediction in scored.predictions.items():
            counts[name] += np.bincount(prediction.level_code, minlength=len(LEVELS))
        kept = np.ones(chunk.height, dtype=np.bool_)
        if require_seen_group:
            kept = np.all([p.level_code == 0 for p in scored.predictions.values()], axis=0)
        known = kept
        if common_support:
            known = kept & np.all([~np.isnan(p.mean) for p in scored.predictions.values()], axis=0)
        n_read += chunk.height
        n_unseen += int((~kept).sum())
        n_not_common += int((kept & ~known).sum())
        scored.add_to(metrics, artefacts[reference], known)
    if not n_read:
        raise RTRidgeError("rows: expected at least one to evaluate; found none")
    levels = {
        name: dict(zip(LEVELS, count.tolist(), strict=True)) for name, count in counts.items()
    }
    return Evaluation(metrics, levels, n_read, n_unseen, n_not_common)


@dataclass(frozen=True)
class _Scored:
    """A chunk and what each artefact predicts of it."""

    chunk: pl.DataFrame
    columns: EvaluationColumns
    predictions: dict[str, Prediction]

    @classmethod
    def of(
        cls,
        chunk: pl.DataFrame,
        artefacts: Mapping[str, Stage1CoeffSummaries],
        columns: EvaluationColumns,
    ) -> _Scored:
        needed = {columns.compound, columns.target, *(a.group_col for a in artefacts.values())}
        missing = sorted(needed - set(chunk.columns))
        if missing:
            hint = did_you_mean(missing[0], chunk.columns)
            raise RTRidgeError(f"columns: expected {missing[0]!r} in the table. {hint}")
        predictions = {name: predict_frame(chunk, a, columns) for name, a in artefacts.items()}
        return cls(chunk, columns, predictions)

    def add_to(
        self,
        metrics: Mapping[str, SupportMetrics],
        reference: Stage1CoeffSummaries,
        rows: BoolArray,
    ) -> None:
        groups = self.chunk[reference.group_col].to_numpy()[rows]
        compounds = self.chunk[self.columns.compound].to_numpy()[rows]
        support, keys = reference.support(groups, compounds), pack(groups, compounds)
        y = self.chunk[self.columns.target].to_numpy()[rows].astype(np.float64)
        for name, prediction in self.predictions.items():
            metrics[name].update(y, prediction.take(rows), support, keys)


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
