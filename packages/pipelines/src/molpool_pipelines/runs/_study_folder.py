"""What a study leaves in its folder: names of files and columns, and their reader.

`molpool_pipelines.studies` writes these files; pages and the terminal read them here, without
Optuna and without the storage. Files of earlier versions are read too: `study.json` without metric,
folds and space, and the columns and states that had other names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from molpool_common import InputError, checked

from molpool_pipelines.runs._folder import METRICS

STUDY = "study.json"
"""Which study it is and where it is stored; by this file a folder is known as that of a study."""
TRIALS = "trials.parquet"
"""A row per trial, with its parameters in columns `PARAMETER` + name."""
IMPORTANCES = "importances.json"
"""Share of the variance of scores that each parameter explains, the largest first."""
BASELINES = "baselines.json"
"""Scores of baselines under the inner folds."""
RETRAINED = "retrained"
"""Folder of the retrained models, a folder below it for each choice of trials."""
OUTER_SCORES = METRICS
"""Of a retraining, in its folder: scores on the outer test split."""
PARAMETER = "param: "

RETRIED = "retried"
"""State of a trial whose process was lost or interrupted; another trial repeats it."""

_EARLIER_COLUMNS = {"last_told": "last_value", "tries_again": "retry_of"}
_EARLIER_STATES = {"tried again": RETRIED}


@dataclass(frozen=True, eq=False)
class StudyTables:
    """The files of a study's folder.

    Parameters
    ----------
    facts : mapping of str to Any
        `study.json`: ``name``, ``n_trials``, ``direction``, and of studies written now ``kind``,
        ``metric``, ``n_folds`` and ``space``.
    trials : DataFrame
        A row per trial, by number.
    importances : mapping of str to float
        By parameter, the largest first; empty where none were computed.
    baselines : mapping of str to Any or None
        ``metric``, ``features`` and ``models``.
    outer_tests : mapping of str to mapping
        Scores on the outer test split by name of the retraining: ``models`` and what they are of.
    """

    facts: Mapping[str, Any]
    trials: pl.DataFrame
    importances: Mapping[str, float]
    baselines: Mapping[str, Any] | None
    outer_tests: Mapping[str, Mapping[str, Any]]

    @property
    def direction(self) -> str | None:
        """``minimize`` or ``maximize``, where the folder says so."""
        return self.facts.get("direction")

    @property
    def metric(self) -> str:
        """Name of the score of a trial."""
        return str(self.facts.get("metric", "inner score"))

    @property
    def parameters(self) -> list[str]:
        """Names of the parameters that a trial has a value of."""
        columns = self.trials.columns
        return [c.removeprefix(PARAMETER) for c in columns if c.startswith(PARAMETER)]

    def complete(self) -> pl.DataFrame:
        """Return the trials with a score, the best first where the direction is known.

        Of equal ones the earlier comes first.
        """
        done = self.trials.filter(pl.col("state") == "complete", pl.col("value").is_not_null())
        if self.direction is None:
            return done
        # By number second: ties keep the trial that was run first, on every machine.
        return done.sort("value", "number", descending=[self.direction == "maximize", False])


def read_study_tables(folder: Path) -> StudyTables:
    """Read the folder of a study.

    Raises
    ------
    InputError
        If the folder is not that of a study, or a file in it cannot be read.
    """
    absent = [n for n in (STUDY, TRIALS) if not (folder / n).is_file()]
    if absent:
        raise InputError(
            "--study",
            expected=f"the folder of a study, with {STUDY} and {TRIALS}",
            found=f"{str(folder)!r} without {' and '.join(absent)}",
        )
    return StudyTables(
        facts=_read_json(folder / STUDY),
        trials=_read_trials(folder / TRIALS),
        importances=_read_json(folder / IMPORTANCES) if (folder / IMPORTANCES).is_file() else {},
        baselines=read_baselines(folder),
        outer_tests=read_outer_scores(folder),
    )


def read_baselines(folder: Path) -> dict[str, Any] | None:
    """Return the scores of baselines under the inner folds of a study, if there are any."""
    file = folder / BASELINES
    return _read_json(file) if file.is_file() else None


def read_outer_scores(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the scores on the outer test split by name of the retraining."""
    files = sorted(folder.glob(f"{RETRAINED}/*/{OUTER_SCORES}"))
    return {file.parent.name: _read_json(file) for file in files}


def _read_json(file: Path) -> dict[str, Any]:
    try:
        read = json.loads(checked(file).read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(file.name, expected="JSON", found=str(error), where=str(file)) from None
    if not isinstance(read, dict):
        raise InputError(
            file.name, expected="a JSON object", found=type(read).__name__, where=str(file)
        )
    return read


def _read_trials(file: Path) -> pl.DataFrame:
    try:
        trials = pl.read_parquet(checked(file))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError("--study", expected="files of a study", found=str(error)) from None
    lacking = {"number", "state", "value"} - set(trials.columns)
    if lacking:
        raise InputError(
            "--study", expected="trials with their values", found=f"no {', '.join(sorted(lacking))}"
        )
    # Studies of 2026 had these names; strict=False, as later files have none of them.
    trials = trials.rename(_EARLIER_COLUMNS, strict=False)
    return trials.with_columns(pl.col("state").replace(_EARLIER_STATES)).sort("number")
