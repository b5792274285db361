"""What a trained Chemprop model says of every row.

No held-out row is predicted by a model that saw it: with folds, a row is predicted by the models of
the fold that it validates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from chemprop_multitask import MoleculeData
from molpool_common import FloatArray

from molpool_pipelines.fitting._config import TrainChempropConfig
from molpool_pipelines.fitting._inputs import Inputs
from molpool_pipelines.fitting._intervals import IntervalRequest, distance_to, extremes
from molpool_pipelines.fitting._jobs import TrainingJob, data_of, ensemble_members
from molpool_pipelines.fitting._predicted import PredictedRows
from molpool_pipelines.fitting._results import Results, results_of
from molpool_pipelines.models import Basis
from molpool_pipelines.runs import SplitName
from molpool_pipelines.tables import MoleculeTable, SplitTables


def evaluate(
    config: TrainChempropConfig,
    inputs: Inputs,
    jobs: Sequence[TrainingJob],
    farther: Sequence[PredictedRows] = (),
) -> Results:
    """Predict every row and score each split, bounds left out.

    Parameters
    ----------
    config : TrainChempropConfig
        The run.
    inputs : Inputs
        The rows.
    jobs : sequence of TrainingJob
        Trained.
    farther : sequence of PredictedRows
        Rows that calibrate besides, as models of earlier origins predict them.
    """
    parts = [predict_part(part, jobs, inputs) for part in parts_of(inputs, jobs)]
    parts = [replace(part, distance=_distance(part, inputs)) for part in parts]
    basis: Basis = "rolling origin" if farther else _basis(config, inputs)
    wanted = IntervalRequest(
        config.level,
        inputs.limits,
        extremes(inputs.untested.targets),
        basis,
        config.shift,
        farther,
    )
    return results_of(parts, inputs.task_types, wanted)


def _basis(config: TrainChempropConfig, inputs: Inputs) -> Basis:
    by_time = config.data.split_type == "time"
    if len(inputs.folds) > 1:
        return "spans of time" if by_time else "folds"
    return "later validation" if by_time else "validation"


def _distance(part: PredictedRows, inputs: Inputs) -> FloatArray | None:
    """Return how far rows are from those that trained the models that predict them."""
    if part.split == "train":
        return None
    folds = inputs.folds if part.fold is None else [inputs.folds[part.fold]]
    known = [smiles for tables in folds for smiles in tables.train.smiles]
    return distance_to(known, part.table.smiles)


@dataclass(frozen=True)
class Part:
    """Rows that the same models predict.

    Parameters
    ----------
    split : {"train", "val", "test"}
        That they are of.
    table : MoleculeTable
        The rows.
    fold : int or None
        The fold, from 0, whose models predict them; None: all models.
    data : MoleculeData or None
        The rows featurised, where they are already.
    """

    split: SplitName
    table: MoleculeTable
    fold: int | None = None
    data: MoleculeData | None = None


def parts_of(inputs: Inputs, jobs: Sequence[TrainingJob]) -> list[Part]:
    """Return all rows that are predicted, splits in the order train, val, test.

    With folds every row that is not tested validates once, predicted by the models of that fold
    alone (out of fold); only rows of training-only sources remain as ``train``.
    """
    test = Part("test", inputs.tables.test)
    folds = {t.fold: t for t in jobs}
    if len(inputs.folds) == 1:
        parts = [
            _split_part("train", inputs.tables, None, jobs[0]),
            _split_part("val", inputs.tables, None, jobs[0]),
        ]
    else:
        # By molecule, not by row: repeats of a test molecule in a training-only source count as
        # test.
        tested = set(inputs.tables.test.units)
        table = inputs.table
        extra = [
            i for i in np.flatnonzero(~table.hold_out).tolist() if table.units[i] not in tested
        ]
        parts = [
            Part("train", table.take(np.array(extra, dtype=np.int64))),
            *(_split_part("val", inputs.folds[f], f, t) for f, t in sorted(folds.items())),
        ]
    return [part for part in (*parts, test) if len(part.table)]


def _split_part(
    split: Literal["train", "val"], tables: SplitTables, fold: int | None, job: TrainingJob
) -> Part:
    """Return a split's rows; those of a group's model are not all, so they are not its data."""
    # Reusing the job's data saves featurising again, but a group's job lacks the rows without a
    # label of its tasks.
    data = getattr(job, split) if job.group is None else None
    return Part(split, getattr(tables, split), fold, data)


def predict_part(part: Part, jobs: Sequence[TrainingJob], inputs: Inputs) -> PredictedRows:
    """Let the models of a part predict it."""
    members = ensemble_members(jobs)
    data = part.data if part.data is not None else data_of(part.table, inputs)
    chosen = [m.model for m in members if part.fold is None or m.fold == part.fold]
    each = np.stack([model.predict(data) for model in chosen])
    # The mean of one would round its numbers' last bit on some machines.
    mean = each[0] if len(each) == 1 else each.mean(axis=0)
    sd = _spread(each) if len(members) > 1 else None
    if inputs.limits is not None:
        mean, each = inputs.limits.report(mean), inputs.limits.report(each)
    return PredictedRows(
        part.split,
        part.table,
        mean=mean,
        sd=sd,
        fold=part.fold,
        with_folds=any(m.fold for m in members),
        each=list(each),
    )


def _spread(each: FloatArray) -> FloatArray:
    """Return the sample standard deviation of K models [K, N, T], NaN of one."""
    if len(each) == 1:
        # One member per fold has no spread; a 0 would read as certainty.
        return np.full(each[0].shape, np.nan)
    # ddof=1: members are a sample of the models that training could give.
    sd: FloatArray = each.std(axis=0, ddof=1)
    return sd
