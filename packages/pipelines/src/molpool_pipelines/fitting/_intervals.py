"""Intervals for the rows of a run, whatever kind of model predicted them.

Rows that the models have not seen calibrate (the validation split, or all rows out of fold); the
test rows get intervals, and show whether these hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from molpool_common import FloatArray, InputError, IntArray, parse_smiles, scaffolds_of_smiles

from molpool_pipelines.fitting._predicted import PredictedRows
from molpool_pipelines.models import LEVEL, Basis, Calibration, Shift, ShiftKind, ShiftModel
from molpool_pipelines.scores import NearestTraining, packed_fingerprints
from molpool_pipelines.tables import MoleculeTable, TaskType

if TYPE_CHECKING:
    from multitask_models import AssayLimits

_KEPT = 2**17
"""Fingerprints that are kept, of some 400 B each."""

_MOST_PAIRS = 2_000_000_000
"""Pairs of molecules whose similarity takes about a minute; beyond, widths depend on the models'
own spread alone."""


_BY_TIME = ("rolling origin", "later validation", "spans of time")
"""Bases of runs whose split is by time."""


@dataclass(frozen=True)
class IntervalRequest:
    """What intervals are asked for.

    Parameters
    ----------
    level : float
        Share of new molecules that they shall cover.
    limits : AssayLimits or None
        Floor and ceiling of each assay, at which they end.
    extremes : (ndarray [T], ndarray [T]) or None
        Least and largest label of all rows that are not tested.
    basis : Basis or None
        What the rows that calibrate are to the models that predict them.
    shift : {"none", "similarity", "structure"}
        By what those rows are weighted toward the test rows.
    farther : sequence of PredictedRows
        Validation rows once more, as models of earlier origins predict them.
    """

    level: float = LEVEL
    limits: AssayLimits | None = None
    extremes: tuple[FloatArray, FloatArray] | None = None
    basis: Basis | None = None
    shift: ShiftKind = "none"
    farther: Sequence[PredictedRows] = ()

    @property
    def ends(self) -> tuple[FloatArray, FloatArray] | None:
        """Where intervals end: at the extreme label of an assay that has a limit there.

        Not at the limit itself, above which labels of a plateau scatter: what the assay reports of
        a compound beyond it would be counted as outside.
        """
        if self.limits is None or self.extremes is None:
            return None
        (low, high), floor, ceiling = self.extremes, self.limits.floor, self.limits.ceiling
        return (
            np.where(np.isfinite(floor), np.fmin(low, floor), -np.inf),
            np.where(np.isfinite(ceiling), np.fmax(high, ceiling), np.inf),
        )


def extremes(labels: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the least and the largest label of each task [T] each; NaN of a task without any."""
    low = np.nanmin(np.where(np.isnan(labels), np.inf, labels), axis=0, initial=np.inf)
    high = np.nanmax(np.where(np.isnan(labels), -np.inf, labels), axis=0, initial=-np.inf)
    return np.where(np.isfinite(low), low, np.nan), np.where(np.isfinite(high), high, np.nan)


def calibrate(
    parts: Sequence[PredictedRows], kinds: Sequence[TaskType], wanted: IntervalRequest
) -> tuple[list[PredictedRows], Calibration | None]:
    """Return the rows, those of the test split with intervals, and what gives them.

    Parameters
    ----------
    parts : sequence of PredictedRows
        All rows of the run.
    kinds : sequence of {"regression", "classification"}, length T
        Of the tasks.
    wanted : IntervalRequest
        Level, limits and weights.

    Returns
    -------
    parts : list of PredictedRows
        As given where no row validates.
    calibration : Calibration or None
    """
    known = [part for part in parts if part.split == "val"]
    if not known:
        return list(parts), None
    unseen = [*known, *wanted.farther]
    tables = [part.table for part in unseen]
    signs = [
        np.zeros(t.targets.shape, dtype=np.int8) if t.censoring is None else t.censoring
        for t in tables
    ]
    calibration = Calibration.fit(
        np.concatenate([t.targets for t in tables]),
        np.concatenate([part.mean for part in unseen]),
        kinds,
        sd=_joined([part.sd for part in unseen]),
        # As a project grows its molecules come nearer to those known, and are not told better: on
        # origins of ExpansionRx widths by distance shrank from one to the next, and covered less.
        distance=None if wanted.basis in _BY_TIME else _joined([p.distance for p in unseen]),
        censoring=np.concatenate(signs),
        limits=wanted.ends,
        assays=wanted.limits,
        strata=_strata(tables),
        rows=_numbers(known, wanted.farther),
        basis=wanted.basis,
        series=_scaffolds([smiles for t in tables for smiles in t.compared]),
    )
    shift = _shift(known, [part for part in parts if part.split == "test"], wanted.shift)
    return [_with_ends(part, calibration, wanted.level, shift) for part in parts], calibration


def _scaffolds(smiles: Sequence[str]) -> list[str] | None:
    """Return the scaffold of each molecule; None where one does not parse."""
    try:
        return scaffolds_of_smiles(smiles)
    except InputError:
        return None


def _numbers(known: Sequence[PredictedRows], farther: Sequence[PredictedRows]) -> IntArray | None:
    """Return the place among the validation rows of each row that calibrates."""
    if not farther:
        return None
    places: dict[tuple[str, int], int] = {}
    for part in (*known, *farther):
        for place in part.table.origin.select("source", "row").iter_rows():
            places.setdefault(place, len(places))
    found = [
        places[place]
        for part in (*known, *farther)
        for place in part.table.origin.select("source", "row").iter_rows()
    ]
    return np.array(found, dtype=np.int64)


def _strata(tables: Sequence[MoleculeTable]) -> list[str] | None:
    if any(table.strata is None for table in tables):
        return None
    return [stratum for table in tables for stratum in table.strata or []]


def _shift(
    known: Sequence[PredictedRows], new: Sequence[PredictedRows], kind: ShiftKind
) -> ShiftModel | None:
    if kind == "none" or not new:
        return None
    distances = [_joined([part.distance for part in parts]) for parts in (known, new)]
    if distances[0] is None or distances[1] is None:
        return None
    smiles = [[s for part in parts for s in part.table.smiles] for parts in (known, new)]
    return ShiftModel(kind, smiles[0], distances[0], smiles[1], distances[1])


def _with_ends(
    part: PredictedRows, calibration: Calibration, level: float, shift: ShiftModel | None
) -> PredictedRows:
    # Those of rows that calibrate would cover by construction.
    if part.split != "test":
        return part
    weights: Shift | None = None
    if shift is not None and part.distance is not None:
        weights = shift.of(part.table.smiles, part.distance)
    ends = calibration.ends(
        part.mean,
        level,
        sd=part.sd,
        distance=part.distance,
        strata=part.table.strata,
        shift=weights,
    )
    # As `predict` gives them: one run, one probability.
    mean = calibration.probabilities(part.mean)
    called, odds = calibration.called(mean), calibration.at_limits(part.mean)
    return replace(part, mean=mean, ends=ends, called=called, at_limits=odds)


def _joined(each: Sequence[FloatArray | None]) -> FloatArray | None:
    there = [values for values in each if values is not None]
    return np.concatenate(there) if len(there) == len(each) else None


def distance_to(known: Sequence[str], smiles: Sequence[str]) -> FloatArray | None:
    """Return 1 - Tanimoto similarity of each molecule to the nearest of those that trained.

    Parameters
    ----------
    known, smiles : sequence of str
        Molecules that parse.

    Returns
    -------
    ndarray [N] or None
        None where none trained, or pairs are too many.
    """
    distinct = list(dict.fromkeys(known))
    if not distinct or len(distinct) * len(smiles) > _MOST_PAIRS:
        return None
    if not len(smiles):
        return np.empty(0)
    trained, others = (
        np.frombuffer(b"".join(map(_fingerprint, each)), dtype=np.uint8).reshape(len(each), -1)
        for each in (distinct, smiles)
    )
    return np.asarray(1 - NearestTraining.of_packed(trained).find_packed(others).similarity)


@lru_cache(maxsize=_KEPT)
def _fingerprint(smiles: str) -> bytes:
    """Return a molecule's packed fingerprint: fold after fold compares the same ones."""
    return packed_fingerprints(parse_smiles([smiles]).require_all()).tobytes()
