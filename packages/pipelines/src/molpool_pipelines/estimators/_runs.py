"""Run folders as estimators."""

from __future__ import annotations

from pathlib import Path

from molpool_pipelines.estimators._auto import AutoClassifier, AutoRegressor
from molpool_pipelines.estimators._chemprop import ChempropClassifier, ChempropRegressor
from molpool_pipelines.estimators._molecules import MoleculeEstimator


def from_run(path: str | Path) -> MoleculeEstimator:
    """Return the model of a run folder as a fitted estimator.

    Parameters
    ----------
    path : str or path
        Run folder of ``molpool-train auto``, ``tabular``, ``blend`` or ``chemprop``.

    Raises
    ------
    InputError
        If there is no such model.
    """
    from molpool_pipelines.models import load_model

    model = load_model(Path(path))
    classes = set(model.task_types) == {"classification"}
    kind: type[MoleculeEstimator]
    if model.kind == "chemprop":
        kind = ChempropClassifier if classes else ChempropRegressor
    else:
        kind = AutoClassifier if classes else AutoRegressor
    return kind(save_dir=str(path)).attached(Path(path), model.task_names)
