"""Molecular property models where data are thin: the names that a notebook starts from.

``import molpool`` imports nothing else; a name loads what it needs on first use. All of each
area is in `molpool_pipelines` and in the packages.

Examples
--------
>>> import molpool
>>> table = molpool.build_demo(n=200, seed=0)
>>> table.height
200
"""

from __future__ import annotations

from typing import Any

_HOMES = {
    "AffinityCommandConfig": "molpool_pipelines.affinity",
    "AutoClassifier": "molpool_pipelines.estimators",
    "AutoRegressor": "molpool_pipelines.estimators",
    "BagClassifier": "molpool_pipelines.estimators",
    "BagRegressor": "molpool_pipelines.estimators",
    "ChempropClassifier": "molpool_pipelines.estimators",
    "ChempropRegressor": "molpool_pipelines.estimators",
    "CompareConfig": "molpool_pipelines.scores",
    "CurriculumState": "sampling_core",
    "InputError": "molpool_common",
    "JointSampler": "sampling_core",
    "MoleculeFeaturizer": "molecule_features",
    "MultitaskGP": "multitask_models",
    "MultitaskMLP": "multitask_models",
    "PartialPoolingRidge": "rt_ridge",
    "PredictConfig": "molpool_pipelines.models",
    "RetentionRidge": "molpool_pipelines.estimators",
    "ScoreConfig": "molpool_pipelines.scores",
    "TrainChempropConfig": "molpool_pipelines.fitting",
    "TrainMILConfig": "molpool_pipelines.fitting",
    "build_demo": "molpool_pipelines.demo",
    "compare": "molpool_pipelines.evaluation",
    "from_run": "molpool_pipelines.estimators",
    "load_model": "molpool_pipelines.models",
    "load_molecules": "molpool_pipelines.tables",
    "locate": "molpool_pipelines.datasets",
    "measure_table": "molpool_pipelines.affinity",
    "predict_table": "molpool_pipelines.models",
    "score_predictions": "molpool_pipelines.evaluation",
    "train_chemprop": "molpool_pipelines.fitting",
    "train_mil": "molpool_pipelines.fitting",
}

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        # importlib.metadata alone takes a third of the time that `import molpool` may take.
        from importlib.metadata import version

        value: Any = version("molpool")
    elif name in _HOMES:
        from importlib import import_module

        value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module 'molpool' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
