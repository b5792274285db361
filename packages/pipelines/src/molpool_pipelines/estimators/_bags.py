"""`molpool-train mil` as estimators."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from molpool_common import Float32Array, InputError, IntArray, validate_values
from sklearn.utils.validation import check_is_fitted

from molpool_pipelines.estimators._estimator import merged
from molpool_pipelines.estimators._inputs import Targets, smiles_of
from molpool_pipelines.estimators._molecules import (
    MoleculeClassifier,
    MoleculeEstimator,
    MoleculeRegressor,
)
from molpool_pipelines.models import LEVEL, PredictConfig, predict_table, run_section

if TYPE_CHECKING:
    import pandas as pd

_BAG = "bag_id"


@dataclass(kw_only=True, eq=False, repr=False)
class _Bags(MoleculeEstimator):
    models: Sequence[str] = ()
    epochs: int | None = None

    def _table(self, X: Any, targets: Targets) -> pl.DataFrame:
        if not _is_instances(X):
            return super()._table(X, targets)
        targets.check_rows(len(X), "bags")
        frame, bag = _instances(X)
        labels = dict(zip(targets.names, targets.values[bag].T, strict=True))
        return frame.with_columns(**labels).fill_nan(None)

    def _values(self, X: Any, targets: Targets) -> dict[str, Any]:
        data: dict[str, Any] = {"target_columns": list(targets.names)}
        if _is_instances(X):
            names = [name for name in _instances(X)[0].columns if name != _BAG]
            data |= {"kind": "bags", "feature_columns": names}
        return {"task_kind": self.task_type, "page": False, "data": data}

    def _train(self, values: dict[str, Any]) -> None:
        # What trains takes seconds to import.
        from molpool_pipelines.fitting import TrainMILConfig, train_mil

        own: dict[str, Any] = {"blend": {"models": list(self.models)}, "export": {"attention": []}}
        if values["data"].get("kind") == "bags":
            own["split"] = {"split_type": "random"}
        if self.epochs is not None:
            own["training"] = {"epochs": self.epochs}
        train_mil(validate_values(TrainMILConfig, merged(own, values)))

    def _predicted(self, X: Any, level: float) -> pd.DataFrame:
        check_is_fitted(self, "run_")
        if self._reads_molecules:
            return super()._predicted(X, level)
        with self._table_of(X, level) as config:
            done = predict_table(config)
            found: pd.DataFrame = pl.read_parquet(done.path).drop("row", "id").to_pandas()
        return found

    @property
    def _reads_molecules(self) -> bool:
        return bool(run_section(self.run_, "data").get("kind", "smiles") == "smiles")

    @contextmanager
    def _table_of(self, X: Any, level: float = LEVEL) -> Iterator[PredictConfig]:
        """Write bags as a table, and yield what predicts it."""
        names = run_section(self.run_, "data")["feature_columns"]
        with TemporaryDirectory(prefix="molpool-") as folder:
            table, output = Path(folder) / "bags.parquet", Path(folder) / "found.parquet"
            _instances(X, names)[0].write_parquet(table)
            yield PredictConfig(
                model_dir=str(self.run_), data_path=str(table), output=str(output), level=[level]
            )

    def encode(self, X: Any) -> Float32Array:
        """Return the embeddings [N, H] of bags or molecules, NaN for those without features.

        What the heads of attention read, task after task, and the last hidden units of ``mlp``,
        side by side.

        Raises
        ------
        InputError
            If neither is among the models: kernels and trees have no embedding.
        """
        check_is_fitted(self, "run_")
        # What predicts bags takes seconds to import.
        from molpool_pipelines.models import MILModel

        model = MILModel.load(self.run_)
        if self._reads_molecules:
            return model.encode([text or "" for text in smiles_of(X, self.smiles_column)])
        with self._table_of(X) as config:
            return model.encode_table(config)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


def _is_instances(X: Any) -> bool:
    """Return whether X has bags as tables of instances, not molecules."""
    try:
        first = next(iter(X))
    except (TypeError, StopIteration):
        return False
    return np.ndim(first) == 2


def _instances(X: Any, names: Sequence[str] | None = None) -> tuple[pl.DataFrame, IntArray]:
    """Return a table of all instances, and the number of each one's bag.

    Parameters
    ----------
    X : sequence, length N, of array or frame [n_i, F]
        A bag each.
    names : sequence of str, length F, or None
        Of the features of the model; None: those of the first bag.

    Raises
    ------
    InputError
        If bags differ in their features.
    """
    bags = [np.asarray(bag, dtype=np.float64) for bag in X]
    if not bags or any(bag.ndim != 2 for bag in bags):
        raise InputError("X", expected="bags of instances [n, F]", found="none")
    widths = sorted({bag.shape[1] for bag in bags})
    if names is None:
        columns = getattr(X[0], "columns", None)
        names = [str(c) for c in columns] if columns is not None else _numbered(widths[0])
    if widths != [len(names)]:
        raise InputError(
            "X", expected=f"{len(names)} features in each bag", found=", ".join(map(str, widths))
        )
    bag = np.repeat(np.arange(len(bags)), [len(one) for one in bags])
    features = dict(zip(names, np.concatenate(bags).T, strict=True))
    # Of equal width, so that their order is that of their numbers.
    width = len(str(len(bags)))
    ids = pl.Series(_BAG, [str(number).zfill(width) for number in bag.tolist()])
    return pl.DataFrame(features).insert_column(0, ids), bag


def _numbered(n: int) -> list[str]:
    return [f"f{i + 1}" for i in range(n)]


class BagRegressor(MoleculeRegressor, _Bags):
    """A model of bags of instances: of the conformers of molecules, or of whatever bags hold.

    X is a list of arrays or frames of instances [n_i, F], or molecules, whose conformers are
    computed. One fold of the bags tests, and stands in the report.

    Parameters
    ----------
    models : sequence of str
        Models that are mixed, as ``molpool-train mil --models`` takes them; empty: those for as
        many bags as there are.
    epochs : int or None
        Epochs of attention; None: the command's.
    options, smiles_column, save_dir, random_state, verbose
        As of `MoleculeEstimator`.

    Examples
    --------
    >>> model = BagRegressor(models=["minmax_kernel"])  # doctest: +SKIP
    >>> mean = model.fit(bags, y).predict(new_bags)  # doctest: +SKIP
    """


class BagClassifier(MoleculeClassifier, _Bags):
    """A model of classes of bags: a bag is positive where one of its instances makes it so.

    Parameters
    ----------
    models, epochs
        As of `BagRegressor`.
    options, smiles_column, save_dir, random_state, verbose
        As of `MoleculeEstimator`.
    """
