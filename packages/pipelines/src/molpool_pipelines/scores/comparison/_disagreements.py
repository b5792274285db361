"""Rows on which compared models are furthest apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from molpool_pipelines.scores.comparison._paired import PairedRows

MOST = 8


@dataclass(frozen=True)
class Disagreement:
    """One molecule of which models say different things.

    Parameters
    ----------
    name, task : str
        Of the row, and of the task.
    smiles : str or None
        The molecule, where it is known.
    truth : float
        The label.
    predicted : mapping of str to float
        By model.
    apart : float
        Largest less smallest prediction, in standard deviations of the task.
    """

    name: str
    task: str
    smiles: str | None
    truth: float
    predicted: Mapping[str, float]
    apart: float


def largest_disagreements(data: PairedRows) -> list[Disagreement]:
    """Return the labels on which the models are furthest apart, each molecule once.

    Parameters
    ----------
    data : PairedRows
        Rows of all models.
    """
    found: list[tuple[float, int, int]] = []
    for t in range(len(data.tasks)):
        rows = np.flatnonzero(np.isfinite(data.y_true[:, t]))
        spread = float(data.y_true[rows, t].std()) if len(rows) else 0.0
        if not spread:
            continue
        apart = np.ptp(data.y_pred[:, rows, t], axis=0) / spread
        # No more of a task than could be shown.
        top = np.argsort(-apart, kind="stable")[: 4 * MOST]
        found += [(float(apart[i]), int(rows[i]), t) for i in top if apart[i] > 0]
    found.sort(key=lambda of: (-of[0], of[1], of[2]))
    chosen: dict[str, Disagreement] = {}
    for apart_by, row, t in found:
        name = data.keys[row][0]
        if name not in chosen and len(chosen) < MOST:
            predicted = dict(zip(data.models, data.y_pred[:, row, t].tolist(), strict=True))
            smiles = None if data.smiles is None else data.smiles[row]
            chosen[name] = Disagreement(
                name, data.tasks[t], smiles, float(data.y_true[row, t]), predicted, apart_by
            )
    return list(chosen.values())
