"""The noise ceiling: how well any model can do, by molecules that were measured more than once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from molpool_common import (
    N_RESAMPLES,
    FloatArray,
    Interval,
    parse_smiles,
    percentile_interval,
)

from molpool_pipelines.scores._predictions import Predictions

_LEAST = 10
"""Molecules with repeats from which a task has a ceiling."""


@dataclass(frozen=True)
class Ceiling:
    """What repeated measurements of a task allow.

    Parameters
    ----------
    n : int
        Molecules that were measured more than once.
    difference : float
        Mean absolute difference of two measurements of one molecule.
    mae, rae : float
        Errors, on the scored rows, of a model that knows each molecule's true value.
    interval : Interval
        Of `rae`, over molecules.
    """

    n: int
    difference: float
    mae: float
    rae: float
    interval: Interval | None


def noise_ceilings(found: Predictions, scored: Predictions) -> dict[str, Ceiling]:
    """Return the ceiling of each regression task in which molecules are repeated.

    Parameters
    ----------
    found : Predictions
        All rows, with SMILES, in which repeats are looked for.
    scored : Predictions
        Rows whose spread the relative error is taken of.

    Notes
    -----
    Two measurements with independent noise of one distribution differ by √2 times the mean
    absolute noise where that is normal (Brown, Muchmore and Hajduk, Drug Discov. Today 14 (2009)
    420-427), which is the error that remains where the true value is known.
    """
    if found.smiles is None or "regression" not in found.task_types:
        return {}
    groups = _repeated(found)
    known = {}
    for t, task in enumerate(found.tasks):
        if found.task_types[t] != "regression":
            continue
        y = found.y_true[:, t]
        each = [values for rows in groups if len(values := y[rows][np.isfinite(y[rows])]) > 1]
        truth = scored.y_true[:, t]
        truth = truth[np.isfinite(truth)]
        spread = float(np.abs(truth - truth.mean()).mean()) if len(truth) else 0.0
        apart = np.array([_difference(values) for values in each])
        # Repeats that all agree are copies of rows, and say nothing of the noise.
        if len(each) >= _LEAST and spread and apart.any():
            known[task] = _ceiling(apart, spread)
    return known


def _repeated(found: Predictions) -> list[list[int]]:
    """Return the rows of each structure that has several."""
    from rdkit import Chem

    assert found.smiles is not None
    mols = parse_smiles(found.smiles.tolist()).mols
    rows: dict[str, list[int]] = {}
    for i, mol in enumerate(mols):
        if mol is not None:
            rows.setdefault(Chem.MolToSmiles(mol), []).append(i)
    return [of for of in rows.values() if len(of) > 1]


def _difference(values: FloatArray) -> float:
    """Return the mean absolute difference of two of the values."""
    apart = np.abs(values[:, None] - values[None])
    return float(apart.sum() / (len(values) * (len(values) - 1)))


def _ceiling(each: FloatArray, spread: float) -> Ceiling:
    difference = float(each.mean())
    drawn = np.random.default_rng(0).integers(len(each), size=(N_RESAMPLES, len(each)))
    scale = np.sqrt(2) * spread
    return Ceiling(
        len(each),
        difference,
        difference / float(np.sqrt(2)),
        difference / float(scale),
        percentile_interval(each[drawn].mean(axis=1) / scale),
    )
