"""Models that the studies of molecules compare: attention over conformers, and trees beside it.

Trees get what our models get: 2D features as they are, conformers as the mean, least and largest
value of each descriptor over a molecule. Everything that stops early stops by the inner validation
side of a fold, in either kind of model.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import polars as pl
from mil_attn import BagData, MILConfig, fit, predict
from molpool_common import FloatArray, Split

Model = Callable[[BagData, Split, int], FloatArray]
"""Of all molecules, a fold and a seed: predictions of the molecules that it tests [n, T]."""

MODEL = {
    "mol_hidden": 256,
    "mol_layers": 2,
    "mol_dropout": 0.2,
    "inst_hidden": 128,
    "inst_layers": 2,
    "inst_dropout": 0.2,
    "proj_dim": 128,
    "attn_heads": 4,
    "mixer_hidden": 128,
    "mixer_layers": 2,
    "mixer_dropout": 0.2,
}
"""A quarter of the default widths: the studies have hundreds to thousands of molecules."""

QUICK_FEATURES: dict[str, Any] = {
    "conformers": {"count": 2, "mmff": False, "max_seconds": 1},
    "descriptors_3d": ["usrcat"],
    "descriptors_2d": {"morgan_bits": 64},
}
"""What a study computes to show that it runs."""


def shortest(frame: pl.DataFrame, count: int) -> pl.DataFrame:
    """Return the molecules of the shortest SMILES, to show that a study runs."""
    return frame.sort(pl.col("SMILES").str.len_bytes(), "SMILES").head(count)


def ours(settings: dict[str, Any], *, conformers: int | None = None, **model: Any) -> Model:
    """Return the package's model, with the weights of its best epoch on inner validation.

    Parameters
    ----------
    settings : dict
        Of `MILConfig`; what it says of the model stands above `MODEL`.
    conformers : int, optional
        Use the lowest so many of each molecule; by default all.
    **model
        Of `MILModelConfig`.
    """
    config = MILConfig.model_validate(
        {**settings, "model": {**MODEL, **settings.get("model", {}), **model}}
    )

    def run(data: BagData, fold: Split, seed: int) -> FloatArray:
        data = data if conformers is None else lowest(data, conformers)
        train, val, test = (data.take(side) for side in (fold.train, fold.val, fold.test))
        return predict(fit(config, train, val, seed=seed).module, test)

    return run


def lightgbm(columns: Callable[[BagData], FloatArray], *, rounds: int = 500) -> Model:
    """Return gradient-boosted trees, one model a task, stopped early on inner validation.

    Parameters
    ----------
    columns : callable
        What they see of the molecules: `two_d`, `three_d` or `both`.
    rounds : int
        Most trees.
    """

    def run(data: BagData, fold: Split, seed: int) -> FloatArray:
        x = columns(data)
        assert data.labels is not None
        return np.column_stack([one(x, y, fold, seed, data.task_kind) for y in data.labels.T])

    def one(x: FloatArray, y: FloatArray, fold: Split, seed: int, kind: str) -> FloatArray:
        trees: Any = import_module("lightgbm")
        if kind == "classification" and len(np.unique(y[fold.train])) < 2:
            return np.full(len(fold.test), y[fold.train].mean())
        make = trees.LGBMClassifier if kind == "classification" else trees.LGBMRegressor
        metric = "average_precision" if kind == "classification" else "l2"
        # Without a positive to validate by, a fifth of the trees.
        blind = kind == "classification" and not y[fold.val].any()
        model = make(
            n_estimators=rounds // 5 if blind else rounds,
            learning_rate=0.05,
            num_leaves=31,
            colsample_bytree=0.5,
            metric=metric,
            random_state=seed,
            n_jobs=1,
            deterministic=True,
            verbosity=-1,
        )
        stopping = {
            "eval_X": (x[fold.val],),
            "eval_y": (y[fold.val],),
            "callbacks": [trees.early_stopping(50, verbose=False)],
        }
        model.fit(x[fold.train], y[fold.train], **({} if blind else stopping))
        if kind == "regression":
            return np.asarray(model.predict(x[fold.test]))
        return np.asarray(model.predict_proba(x[fold.test])[:, 1])

    return run


def forest(columns: Callable[[BagData], FloatArray], count: int = 200) -> Model:
    """Return a random forest of values on train and validation together: it never stops early."""

    def run(data: BagData, fold: Split, seed: int) -> FloatArray:
        ensemble: Any = import_module("sklearn.ensemble")
        x = np.nan_to_num(columns(data))
        assert data.labels is not None
        rows = np.concatenate([fold.train, fold.val])
        model = ensemble.RandomForestRegressor(count, max_features=0.3, random_state=seed, n_jobs=1)
        model.fit(x[rows], data.labels[rows, 0])
        return np.asarray(model.predict(x[fold.test]))[:, None]

    return run


def lowest(data: BagData, count: int) -> BagData:
    """Return the same molecules with their lowest conformers alone."""
    sizes = np.minimum(data.sizes, count)
    rank = np.arange(data.n_instances) - np.repeat(data.bounds[:-1], data.sizes)
    kept = rank < count
    assert data.instances is not None
    ids, energies = data.instance_ids, data.energies
    return data.replace(
        instances=data.instances[kept],
        offsets=np.concatenate([[0], np.cumsum(sizes)]),
        instance_ids=None if ids is None else [i for i, k in zip(ids, kept, strict=True) if k],
        energies=None if energies is None else energies[kept],
    )


def two_d(data: BagData) -> FloatArray:
    """Return the 2D features [N, F2]."""
    assert data.x2d is not None
    return data.x2d.astype(np.float64)


def three_d(data: BagData) -> FloatArray:
    """Return mean, least and largest value of each 3D descriptor over a molecule [N, 3 F3]."""
    assert data.instances is not None
    x, starts = data.instances.astype(np.float64), data.bounds[:-1]
    there = ~np.isnan(x)
    count = np.add.reduceat(there, starts, axis=0, dtype=np.float64)
    total = np.add.reduceat(np.where(there, x, 0), starts, axis=0)
    mean = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    least, largest = (f.reduceat(x, starts, axis=0) for f in (np.fmin, np.fmax))
    return np.column_stack([mean, least, largest])


def both(data: BagData) -> FloatArray:
    """Return 2D and 3D features [N, F2 + 3 F3]."""
    return np.column_stack([two_d(data), three_d(data)])
