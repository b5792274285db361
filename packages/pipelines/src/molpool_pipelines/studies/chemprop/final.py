"""After a study of Chemprop models: the final training, and several models as one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from chemprop_multitask import with_listed_groups

from molpool_pipelines.studies.chemprop.config import HPOChempropConfig
from molpool_pipelines.studies.chemprop.problem import resolve
from molpool_pipelines.studies.chemprop.tabular import (
    chemprop_outer,
    chemprop_score,
    chemprop_tabular,
)
from molpool_pipelines.studies.kinds import Numbers, StudyKind, Values, middle_epoch


def chemprop_kind(config: HPOChempropConfig) -> StudyKind:
    """Return what retraining needs to know of a study of Chemprop models."""
    config = with_listed_groups(config, config.data.target_columns)
    return StudyKind(
        name="chemprop",
        tasks=tuple(config.data.target_columns),
        seed=config.seed,
        resolve=partial(resolve, config),
        final=final_values,
        score=lambda _values: chemprop_score(config),
        tabular=partial(chemprop_tabular, config),
        outer=partial(chemprop_outer, config),
        join=join,
    )


def final_values(values: Values, folds: Sequence[Numbers]) -> Values:
    """Return the configuration that trains on all rows but those of the outer test.

    Nothing validates then: the number of epochs is the median over the inner folds of the best, and
    the schedule of the learning rate ends there. A curriculum moves on by the validation loss: it
    keeps the validation side of the configuration's split, and stops early by it.

    Parameters
    ----------
    values : dict
        A whole configuration.
    folds : sequence of mapping
        Numbers that each inner fold of the trial kept.
    """
    joint = values["joint_sampling"]
    if joint["enabled"] and joint["curriculum"]["enabled"]:
        return values
    training = values["training"]
    epochs = middle_epoch(folds) or training["epochs"]
    return {
        **values,
        "data": {**values["data"], "train_on_val": True},
        "training": {**training, "epochs": epochs, "patience": None},
    }


def join(runs: Sequence[Path], folder: Path) -> None:
    """Write the models of run folders as one `Ensemble`, which `chemprop predict` averages too."""
    from chemprop_multitask import Ensemble

    Ensemble([m for run in runs for m in Ensemble.load(run).members]).save(folder)
