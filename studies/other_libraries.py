"""molpool's estimators within other libraries' pipelines, tried outside of CI.

    uv pip install scikit-mol molpipeline skrub
    uv run python studies/other_libraries.py            # all of them
    uv run python studies/other_libraries.py joblib     # what no other library is needed for

Of November 2026, all as expected: scikit-mol 0.6.1, MolPipeline 0.13.1 and skrub 0.11.0 (molecules
and fingerprints into estimators, columns of a frame, data operations), MLflow 3.17.2 (a model
that is saved, loaded, and asked through pyfunc; as cloudpickle, since a pickle brings its run),
joblib (every estimator cloned, cross-validated and searched in two workers).
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import molpool
import numpy as np
import pandas as pd

TABLE = molpool.build_demo(n=150, seed=0).to_pandas()
SMILES, Y = TABLE["SMILES"], TABLE["LogP"].fillna(TABLE["LogP"].mean())
OPTIONS = {"folds": 2, "baselines": "none", "data": {"split_type": "random"}, "limits": "none"}


def quick() -> Any:
    return molpool.AutoRegressor(model=["neighbours"], features="maccs", options=OPTIONS)


def scikit_mol() -> Any:
    from scikit_mol.conversions import SmilesToMolTransformer
    from scikit_mol.fingerprints import MorganFingerprintTransformer
    from sklearn.pipeline import make_pipeline

    mlp = molpool.MultitaskMLP(members=2, hidden=16, epochs=3)
    for steps in ((quick(),), (MorganFingerprintTransformer(), mlp)):
        model = make_pipeline(SmilesToMolTransformer(), *steps).fit(SMILES.to_numpy(), Y)
    return model.predict(SMILES.to_numpy()[:3])


def mol_pipeline() -> Any:
    from molpipeline import Pipeline
    from molpipeline.any2mol import SmilesToMol
    from molpipeline.mol2any import MolToMorganFP

    fingerprint = ("fp", MolToMorganFP(return_as="dense"))
    for steps in ([("model", quick())], [fingerprint, ("model", molpool.MultitaskGP())]):
        model = Pipeline([("mol", SmilesToMol()), *steps]).fit(SMILES.tolist(), Y.to_numpy())
    return model.predict(SMILES.tolist()[:3])


def skrub() -> Any:
    import skrub
    from sklearn.pipeline import make_pipeline

    make_pipeline(skrub.SelectCols(["SMILES"]), quick()).fit(TABLE, Y)
    columns = skrub.var("table", TABLE).skb.select(["SMILES"])
    return columns.skb.apply(quick(), y=skrub.var("y", Y)).skb.eval()[:3]


def mlflow() -> Any:
    import mlflow

    model = quick().fit(SMILES, Y)
    with tempfile.TemporaryDirectory() as folder:
        mlflow.sklearn.save_model(model, f"{folder}/m", serialization_format="cloudpickle")
        read: Any = mlflow.sklearn.load_model(f"{folder}/m")
        np.testing.assert_array_equal(read.predict(SMILES[:3]), model.predict(SMILES[:3]))
        return mlflow.pyfunc.load_model(f"{folder}/m").predict(TABLE[["SMILES"]][:3])


def every_estimator() -> dict[str, tuple[Any, Any, Any, dict[str, list[Any]]]]:
    """Return each estimator, small, with X, y and what a search tries."""
    few, plain = {"baselines": "none"}, {"models": ["minmax_kernel"]}
    smiles, y = SMILES.to_numpy()[:80], Y.to_numpy()[:80]
    called = np.where(y > np.median(y), "high", "low")
    rng = np.random.default_rng(0)
    bags = [rng.normal(size=(rng.integers(2, 5), 3)) for _ in range(80)]
    top = np.array([bag[:, 0].max() for bag in bags])
    features, drift = rng.normal(size=(80, 5)), rng.normal(size=160)
    pairs = pd.DataFrame({"species": np.arange(160) % 2, "comp_id": np.arange(160) // 2 % 4})
    lab = pairs.assign(run=np.arange(160) // 8, drift=drift[np.arange(160) // 8])
    rt = lab["comp_id"] + 0.1 * lab["drift"] + rng.normal(scale=0.02, size=160)
    blend, graph = {"folds": 2, **few}, {"epochs": 1, "hidden_size": 16, "options": few}
    sets = {"options": {**few, "blend": {"folds": 2}}, **plain}
    automatic = {"model": ["neighbours"], "options": {**OPTIONS, **blend}}
    return {
        "AutoRegressor": (automatic, smiles, y, {"features": ["maccs", "morgan_bit"]}),
        "AutoClassifier": (
            automatic | {"features": "maccs"},
            smiles,
            called,
            {"model": [["mean"]]},
        ),
        "ChempropRegressor": (graph, smiles, y, {"depth": [2]}),
        "ChempropClassifier": (graph, smiles, called, {"depth": [2]}),
        "BagRegressor": (sets, bags, top, {"random_state": [0, 1]}),
        "BagClassifier": (sets, bags, top > np.median(top), {"random_state": [0, 1]}),
        "RetentionRidge": ({}, lab, rt, {"model": ["ridge", "supercategory"]}),
        "MultitaskMLP": ({"members": 2, "epochs": 3}, features, y, {"hidden": [8, 16]}),
        "MultitaskGP": ({}, features, y, {"random_state": [0]}),
        "PartialPoolingRidge": ({}, features, y, {"method": ["reml", "ml"]}),
    }


def joblib() -> Any:
    """Clone and search each estimator in two worker processes, which its pickle has to reach."""
    from sklearn.base import clone
    from sklearn.model_selection import GridSearchCV, cross_val_score

    found = []
    for name, (parameters, X, y, grid) in every_estimator().items():
        model = getattr(molpool, name)(**parameters)
        assert clone(model).get_params() == model.get_params()
        scores = cross_val_score(model, X, y, cv=2, n_jobs=2)
        search = GridSearchCV(model, grid, cv=2, n_jobs=2, refit=False).fit(X, y)
        print(f"  {name:<20} {np.round(scores, 2)} {search.best_params_}", flush=True)
        found.append(scores.mean())
    return found


def main() -> None:
    warnings.simplefilter("ignore")
    trials: tuple[Callable[[], Any], ...] = (scikit_mol, mol_pipeline, skrub, mlflow, joblib)
    names = sys.argv[1:]
    for trial in trials if not names else [t for t in trials if t.__name__ in names]:
        print(f"{trial.__name__:<14} {np.round(np.asarray(trial(), dtype=float), 2)}", flush=True)


if __name__ == "__main__":
    main()
