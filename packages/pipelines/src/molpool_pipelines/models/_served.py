"""A run as an MLflow model: `mlflow models serve` answers SMILES with predictions and intervals.

What MLflow keeps is the model of the run folder as it is, and the name of this module, which reads
it again: no pickle, and one way to predict.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import polars as pl
from molpool_common import InputError

from molpool_pipelines.models._config import LEVEL, PredictConfig
from molpool_pipelines.models._files import reads_feature_tables, run_key
from molpool_pipelines.models._predict_table import STRATUM, Serving
from molpool_pipelines.runs import (
    BAGS_FOLDER,
    CALIBRATION,
    CONFIG,
    MODEL,
    MODELS,
    PREDICTIONS,
    TABULAR_FOLDER,
    as_file,
)

if TYPE_CHECKING:
    import pandas as pd

_NEEDED = (CONFIG, MODEL, MODELS, TABULAR_FOLDER, BAGS_FOLDER, CALIBRATION, PREDICTIONS)
"""Of a run folder; predictions name the training molecules, and those that calibrate."""

_SMILES = "SMILES"
_ROWS = 2048


class ServedModel:
    """Predicts tables of SMILES as `molpool-evaluate predict` does.

    Parameters
    ----------
    path : Path
        A run folder, or what `save_served` keeps of it.
    """

    def __init__(self, path: Path) -> None:
        self._serving = Serving.load(PredictConfig(model_dir=str(path)), [path])
        (predictor,) = self._serving.predictors
        calibration = predictor.calibration
        has_strata = calibration is not None and calibration.has_strata
        self.strata_column = run_key(path, "strata_column") if has_strata else None

    def predict(
        self, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None
    ) -> pd.DataFrame:
        """Return a row per row of the input, in its order.

        Parameters
        ----------
        model_input : DataFrame
            With column ``SMILES``, and that of strata where the run has them.
        params : mapping, optional
            ``level``, the share of new molecules that intervals shall cover.

        Raises
        ------
        InputError
            If a column is missing.
        """
        return self.described(model_input, float((params or {}).get("level", LEVEL)))[0]

    def described(
        self, model_input: pd.DataFrame, level: float = LEVEL
    ) -> tuple[pd.DataFrame, dict[str, Any]]:
        """Return what `predict` does, and which column says what of which task."""
        import pandas as pd

        wanted = [_SMILES, *([self.strata_column] if self.strata_column else [])]
        missing = [name for name in wanted if name not in model_input.columns]
        if missing:
            raise InputError(
                "input", expected=f"columns {wanted}", found=f"{list(model_input.columns)}"
            )
        predictors = [replace(one, levels=(level,)) for one in self._serving.predictors]
        serving = replace(self._serving, predictors=predictors)
        frame = self._chunk(model_input)
        found = pl.concat(
            [serving.predict(frame[i : i + _ROWS]) for i in range(0, max(len(frame), 1), _ROWS)]
        )
        combined = serving.combined
        table, said = as_file(found, combined.tasks, of_tasks=combined.of_tasks())
        # Without the row numbers, which are of the request.
        return pd.DataFrame(table.drop("row", "id").to_dict(as_series=False)), said

    def _chunk(self, given: pd.DataFrame) -> pl.DataFrame:
        n = len(given)
        columns = {
            "row": pl.Series(range(1, n + 1), dtype=pl.Int64),
            "id": pl.Series([str(i) for i in range(1, n + 1)], dtype=pl.String),
            _SMILES: pl.Series([t if isinstance(t, str) else None for t in given[_SMILES]]),
        }
        if self.strata_column:
            cells = given[self.strata_column].tolist()
            columns[STRATUM] = pl.Series(cells, dtype=pl.String, strict=False)
        return pl.DataFrame(columns).with_columns(pl.col(_SMILES).cast(pl.String))


def save_served(run: Path, folder: Path, example: Sequence[str]) -> None:
    """Write an MLflow model of a run, with signature and input example.

    Parameters
    ----------
    run : Path
        The run folder, with its model.
    folder : Path
        A new folder.
    example : sequence of str
        SMILES by which the signature is found.

    Raises
    ------
    InputError
        If the model reads features from tables, which no request of SMILES has.
    """
    if reads_feature_tables(run):
        raise InputError(
            "model", expected="one that reads SMILES", found="one of bags of features in tables"
        )
    with warnings.catch_warnings():
        # MLflow warns of types of its own, and of packages that it does not find.
        warnings.simplefilter("ignore")
        _save(run, folder, example)


def _save(run: Path, folder: Path, example: Sequence[str]) -> None:
    import pandas as pd
    from mlflow.models import infer_signature
    from mlflow.pyfunc import save_model

    model = ServedModel(run)
    given = pd.DataFrame({_SMILES: list(example)})
    if model.strata_column:
        given[model.strata_column] = ""
    params = {"level": LEVEL}
    signature = infer_signature(given, model.predict(given, params), params)
    with TemporaryDirectory() as temporary:
        kept = Path(temporary) / "run"
        kept.mkdir()
        for name in _NEEDED:
            if (run / name).is_dir():
                shutil.copytree(run / name, kept / name)
            elif (run / name).is_file():
                shutil.copy2(run / name, kept / name)
        save_model(
            folder,
            loader_module=__name__,
            data_path=str(kept),
            signature=signature,
            input_example=given,
            # Named here: MLflow finds them by loading the model in another process.
            pip_requirements=[f"molpool-pipelines=={version('molpool-pipelines')}"],
        )


def _load_pyfunc(data_path: str) -> ServedModel:
    """Return what answers; MLflow calls it by this name."""
    return ServedModel(Path(data_path))
