"""molpool's estimators within other libraries' pipelines, tried outside of CI.

    uv pip install scikit-mol molpipeline skrub
    uv run python studies/other_libraries.py

Of November 2026, all as expected: scikit-mol 0.6.1, MolPipeline 0.13.1 and skrub 0.11.0 (molecules
and fingerprints into estimators, columns of a frame, data operations), MLflow 3.17.2 (a model
that is saved, loaded, and asked through pyfunc; as cloudpickle, since a pickle brings its run),
joblib (cross-validation in two workers).
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import molpool
import numpy as np

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


def joblib() -> Any:
    from sklearn.model_selection import cross_val_score

    return cross_val_score(quick(), SMILES, Y, cv=2, n_jobs=2)


def main() -> None:
    warnings.simplefilter("ignore")
    trials: tuple[Callable[[], Any], ...] = (scikit_mol, mol_pipeline, skrub, mlflow, joblib)
    for trial in trials:
        print(f"{trial.__name__:<14} {np.round(np.asarray(trial(), dtype=float), 2)}", flush=True)


if __name__ == "__main__":
    main()
