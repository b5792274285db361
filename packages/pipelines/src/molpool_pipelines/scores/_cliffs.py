"""Activity cliffs: molecules that look alike and measure far apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from molpool_common import parse_smiles

from molpool_pipelines.scores._predictions import Predictions
from molpool_pipelines.scores._strata import NearestTraining

ALIKE = 0.8
"""Tanimoto similarity of Morgan fingerprints above which two molecules look alike."""

_FAR = 1.5
"""Difference of a cliff at least, in standard deviations of the task's measured values."""

_MOST_PAIRS = 150_000_000
"""Pairs of molecules that are compared; about five seconds."""


@dataclass(frozen=True)
class Cliff:
    """Two rows that look alike and differ in a task.

    Parameters
    ----------
    task : int
        Its column.
    row, other : int
        Rows of the predictions.
    similarity : float
        Tanimoto similarity of Morgan fingerprints.
    difference : float
        Of the measured values, in standard deviations of the task.
    """

    task: int
    row: int
    other: int
    similarity: float
    difference: float


def activity_cliffs(found: Predictions, split: str, most: int = 6) -> list[Cliff]:
    """Return the steepest cliffs between rows of a split and any other rows.

    Parameters
    ----------
    found : Predictions
        All rows, with SMILES.
    split : str
        One row of each pair is of it; "all": of any.
    most : int
        Cliffs; a molecule is in one of them only.

    References
    ----------
    Maggiora, "On Outliers and Activity Cliffs", J. Chem. Inf. Model. 46 (2006) 1535; Stumpfe, Hu
    and Bajorath, "Evolving Concept of Activity Cliffs", ACS Omega 4 (2019) 14360-14368.
    """
    if found.smiles is None:
        return []
    regression = [t for t, kind in enumerate(found.task_types) if kind == "regression"]
    labelled = np.flatnonzero(np.isfinite(found.y_true[:, regression]).any(axis=1))
    ours = labelled if split == "all" or found.split is None else _of(found, split, labelled)
    pairs = _alike(found, ours, labelled)
    steep = []
    for t in regression:
        y = found.y_true[:, t]
        spread = float(np.nanstd(y)) if np.isfinite(y).any() else 0.0
        if not spread:
            continue
        for row, other, similarity in pairs:
            difference = abs(y[row] - y[other]) / spread
            if difference >= _FAR:  # NaN where one has no label
                steep.append(Cliff(t, row, other, similarity, float(difference)))
    steep.sort(key=lambda c: (-c.difference, c.task, c.row, c.other))
    return _distinct(found, steep, most)


def _of(found: Predictions, split: str, rows: np.ndarray) -> np.ndarray:
    assert found.split is not None
    return np.asarray(rows[found.split[rows] == split])


def _alike(found: Predictions, ours: np.ndarray, every: np.ndarray) -> list[tuple[int, int, float]]:
    """Return pairs of rows that look alike, each once."""
    assert found.smiles is not None
    if not len(ours):
        return []
    most = max(1, _MOST_PAIRS // len(every))
    if len(ours) > most:
        ours = ours[np.linspace(0, len(ours) - 1, most).round().astype(np.int64)]
    mols = parse_smiles([found.smiles[i] for i in every]).mols
    there = [(int(i), mol) for i, mol in zip(every, mols, strict=True) if mol is not None]
    wanted = set(ours.tolist())
    queries = [(i, mol) for i, mol in there if i in wanted]
    if not queries:
        return []
    near = NearestTraining([mol for _, mol in there]).pairs([mol for _, mol in queries], ALIKE)
    # Rows of one structure are repeats of one measurement, and no cliff.
    return [
        (queries[a][0], there[b][0], similarity)
        for a, b, similarity in near
        if queries[a][0] != there[b][0]
        and found.smiles[queries[a][0]] != found.smiles[there[b][0]]
        and (there[b][0] not in wanted or queries[a][0] < there[b][0])
    ]


def _distinct(found: Predictions, cliffs: list[Cliff], most: int) -> list[Cliff]:
    """Return the first cliffs, no molecule in two of them: one outlier would fill them all."""
    assert found.smiles is not None
    used: set[str] = set()
    kept = []
    for cliff in cliffs:
        both = {found.smiles[cliff.row], found.smiles[cliff.other]}
        if both & used:
            continue
        used |= both
        kept.append(cliff)
        if len(kept) == most:
            break
    return kept
