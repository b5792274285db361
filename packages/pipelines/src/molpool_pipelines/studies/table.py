"""The trials of a study as a table."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial, TrialState

from molpool_pipelines.studies.owners import Owner
from molpool_pipelines.studies.queue import OWNER, origin, retried
from molpool_pipelines.studies.stored import StoredStudy
from molpool_pipelines.studies.trials import error_text, folds_of, params_of

if TYPE_CHECKING:
    import polars as pl

_STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


def state_of(trial: FrozenTrial, again: set[int]) -> str:
    """Return the state of a trial in words; `again` are those that another takes the place of."""
    return "tried again" if trial.number in again else _STATES[trial.state]


def seconds_of(trial: FrozenTrial) -> float | None:
    """Return how long a trial ran, in seconds."""
    return None if trial.duration is None else trial.duration.total_seconds()


def trials_frame(stored: StoredStudy) -> pl.DataFrame:
    """Return the trials as a table.

    Returns
    -------
    DataFrame
        A row a trial: number, state, value, the mean over folds that it told last and at which
        step, the number of the trial that it tries again, start,
        seconds, host, pid, ``source`` (``defaults``, ``enqueued``, ``sampler``), error, a column
        ``fold_k`` of each fold's score and one ``param: NAME`` of each parameter.
    """
    import polars as pl

    again = retried(stored.trials)
    n_folds = stored.identity["n_folds"]
    names = sorted({name for t in stored.trials for name in params_of(t)})
    rows = [_row(t, again, n_folds) for t in stored.trials]
    columns: dict[str, Any] = {
        "number": pl.Int64,
        "state": pl.String,
        "value": pl.Float64,
        "last_told": pl.Float64,
        "last_step": pl.Int64,
        "tries_again": pl.Int64,
        "started": pl.Datetime("us"),
        "seconds": pl.Float64,
        "host": pl.String,
        "pid": pl.Int64,
        "source": pl.String,
        "error": pl.String,
        **{f"fold_{k}": pl.Float64 for k in range(n_folds)},
    }
    frame = pl.DataFrame(rows, schema=columns)
    values = [_column(f"param: {n}", [params_of(t).get(n) for t in stored.trials]) for n in names]
    return frame.with_columns(values)


def _row(trial: FrozenTrial, again: set[int], n_folds: int) -> dict[str, Any]:
    owner = trial.user_attrs.get(OWNER)
    process = Owner.from_dict(owner) if owner else None
    folds = [fold["value"] for fold in folds_of(trial)]
    return {
        "number": trial.number,
        "state": state_of(trial, again),
        "value": trial.value if trial.state == TrialState.COMPLETE else None,
        "last_told": trial.intermediate_values.get(trial.last_step),
        "last_step": trial.last_step,
        "tries_again": origin(trial) if origin(trial) != trial.number else None,
        "started": trial.datetime_start,
        "seconds": seconds_of(trial),
        "host": process.host if process else None,
        "pid": process.pid if process else None,
        "source": trial.user_attrs.get("source", "sampler"),
        "error": error_text(trial),
        **{f"fold_{k}": folds[k] if k < len(folds) else None for k in range(n_folds)},
    }


def _column(name: str, values: list[Any]) -> pl.Series:
    import polars as pl

    given = [v for v in values if v is not None]
    if given and all(isinstance(v, bool) for v in given):
        return pl.Series(name, values, dtype=pl.Boolean)
    if given and all(isinstance(v, int) and not isinstance(v, bool) for v in given):
        return pl.Series(name, values, dtype=pl.Int64)
    if given and all(isinstance(v, int | float) and not isinstance(v, bool) for v in given):
        return pl.Series(name, values, dtype=pl.Float64)
    texts = [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]
    return pl.Series(name, texts, dtype=pl.String)
