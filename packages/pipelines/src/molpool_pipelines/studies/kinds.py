"""What retraining and baselines need to know of a kind of model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from molpool_common import InputError, load_config

from molpool_pipelines.studies.scoring import MacroScore
from molpool_pipelines.studies.tabular import Outer, Tabular

Values = dict[str, Any]
Numbers = Mapping[str, float]
CONFIG = "config.resolved.yaml"


@dataclass(frozen=True)
class StudyKind:
    """A kind of model, after its study.

    Parameters
    ----------
    name : str
        Subcommand of molpool-train.
    tasks : tuple of str
        Names of the tasks.
    seed : int
        Of the run.
    resolve : callable
        Parameters of a trial to a whole configuration of molpool-train.
    final : callable
        That configuration, and what each inner fold kept, to one that trains on all but the outer
        test.
    score : callable
        A whole configuration to the study's score.
    tabular, outer : callable
        Rows of the study, and its outer test, as trees take them.
    join : callable
        Run folders of members, and a new folder, to an ensemble in it.
    """

    name: str
    tasks: tuple[str, ...]
    seed: int
    resolve: Callable[[Mapping[str, Any]], Values]
    final: Callable[[Values, Sequence[Numbers]], Values]
    score: Callable[[Values], MacroScore]
    tabular: Callable[[], Tabular]
    outer: Callable[[], Outer]
    join: Callable[[Sequence[Path], Path], None]


def study_kind(name: str, folder: Path) -> StudyKind:
    """Return the kind of a study from its folder.

    Parameters
    ----------
    name : str
        ``chemprop`` or ``mil``.
    folder : Path
        Of the study.

    Raises
    ------
    InputError
        If it is of another kind.
    """
    if name == "mil":
        from molpool_pipelines.studies.mil.config import HPOMILConfig
        from molpool_pipelines.studies.mil.final import mil_kind

        return mil_kind(load_config(HPOMILConfig, folder / CONFIG))
    if name == "chemprop":
        from molpool_pipelines.studies.chemprop.config import HPOChempropConfig
        from molpool_pipelines.studies.chemprop.final import chemprop_kind

        return chemprop_kind(load_config(HPOChempropConfig, folder / CONFIG))
    raise InputError("--study-dir", expected="a study of chemprop or mil", found=repr(name))


def middle_epoch(folds: Sequence[Numbers]) -> int | None:
    """Return the median over inner folds of the best epoch, from 1; None where none is known.

    The final training goes through its rows that often, as every fold did through fewer: per row
    the same number of passes, and more steps in all (Goodfellow, Bengio and Courville, Deep
    Learning (2016), section 7.8, the first of its two strategies).
    """
    best = [fold["best_epoch"] for fold in folds if "best_epoch" in fold]
    return max(1, round(float(np.median(best)))) if best else None
