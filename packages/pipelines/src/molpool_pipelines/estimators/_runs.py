"""Run folders as estimators."""

from __future__ import annotations

from pathlib import Path

from molpool_pipelines.estimators._auto import AutoClassifier, AutoRegressor
from molpool_pipelines.estimators._bags import BagClassifier, BagRegressor
from molpool_pipelines.estimators._chemprop import ChempropClassifier, ChempropRegressor
from molpool_pipelines.estimators._estimator import RunEstimator
from molpool_pipelines.estimators._molecules import MoleculeEstimator
from molpool_pipelines.estimators._retention import RetentionRidge

_OF_KIND: dict[str, tuple[type[MoleculeEstimator], type[MoleculeEstimator]]] = {
    "chemprop": (ChempropRegressor, ChempropClassifier),
    "mil": (BagRegressor, BagClassifier),
    "tabular": (AutoRegressor, AutoClassifier),
}


def from_run(path: str | Path) -> RunEstimator:
    """Return the model of a run folder as a fitted estimator.

    Parameters
    ----------
    path : str or path
        Run folder of a command of ``molpool-train``, or of ``molpool-rt fit``.

    Raises
    ------
    InputError
        If there is no such model.
    """
    run = Path(path)
    if RetentionRidge.is_run(run):
        return RetentionRidge(save_dir=str(path)).attached(run)

    from molpool_pipelines.models import load_model

    model = load_model(run)
    kinds = _OF_KIND[model.kind]
    found = kinds[set(model.task_types) == {"classification"}](save_dir=str(path))
    return found.attached(run, model.task_names)
