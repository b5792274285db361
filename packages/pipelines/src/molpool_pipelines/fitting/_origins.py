"""Models of earlier origins, whose errors on later rows calibrate intervals under a time split.

Validation rows lie just before the test rows and chose the epoch: their errors are smaller than
those farther ahead. As far ahead as the test rows reach, models of fewer rows say how large these
are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from chemprop_multitask import ChempropError
from molpool_common import InputError, IntArray, told

from molpool_pipelines.fitting._config import TrainChempropConfig
from molpool_pipelines.fitting._evaluate import Part, predict_part
from molpool_pipelines.fitting._inputs import Inputs
from molpool_pipelines.fitting._jobs import TrainingJob, build_jobs
from molpool_pipelines.fitting._predicted import PredictedRows
from molpool_pipelines.tables import MoleculeTable, SplitTables, fold_rows

_BLOCKS_OF_VAL = 8
"""Blocks of an origin's rows in time, the last of which validates."""


def of_earlier_origins(
    config: TrainChempropConfig, inputs: Inputs
) -> tuple[list[PredictedRows], list[str]]:
    """Return rows in the later half that are not tested, as models of the rows before predict them.

    Parameters
    ----------
    config : TrainChempropConfig
        The run, its groups as lists.
    inputs : Inputs
        Its rows.

    Returns
    -------
    rows : list of PredictedRows
        None where the split is not by time, or where folds or the validation rows calibrate alone.
    notes : list of str
        Why there are none, where there might be.
    """
    by_time = config.data.split_type == "time" and len(inputs.tables.val) > 0
    if not by_time or len(inputs.folds) > 1 or not config.origins or config.shift != "none":
        return [], []
    tested = set(inputs.tables.test.units)
    rows = [i for i, unit in enumerate(inputs.table.units) if unit not in tested]
    rest = inputs.table.take(np.array(rows, dtype=np.int64))
    try:
        folds = fold_rows(rest, "time", max(2, 2 * config.origins - 1), seed=config.seed)
        origins = folds[-config.origins :]
        stage = told(origins, "Models of earlier origins", len(origins))
        return [_predicted(config, inputs, rest, *origin) for origin in stage], []
    except (InputError, ChempropError) as error:
        return [], [f"Validation rows alone calibrate, without earlier origins: {error}"]


def _predicted(
    config: TrainChempropConfig,
    inputs: Inputs,
    table: MoleculeTable,
    known: IntArray,
    later: IntArray,
) -> PredictedRows:
    """Return later rows as models of the rows before them predict them."""
    before, ahead = table.take(known), table.take(later)
    train, val = fold_rows(before, "time", _BLOCKS_OF_VAL - 1, seed=config.seed)[-1]
    tables = SplitTables(before.take(train), before.take(val), ahead, n_left_out=0)
    jobs = build_jobs(config, replace(inputs, folds=[tables], tables=tables))
    fit_aside(jobs)
    return predict_part(Part("val", ahead), jobs, inputs)


def fit_aside(jobs: Sequence[TrainingJob]) -> None:
    """Fit models that are not kept, and leave nothing behind."""
    for job in jobs:
        with TemporaryDirectory(prefix="molpool-") as folder:
            job.model.fit(
                job.train,
                job.val if len(job.val) else None,
                sampler=job.sampling.sampler,
                callbacks=[*job.sampling.callbacks],
                checkpoint_dir=Path(folder),
                seed=job.seed,
            )
