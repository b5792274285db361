"""Predictions of one or several models as a table says them."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from molpool_common import InputError
from molpool_pipelines.models._files import path_names
from molpool_pipelines.models._finished import AboutModel, Combined

KINDS: dict[str, Any] = {"y": "regression", "z": "regression"}


def about(name, scales: Any = ("none", "none"), kinds=KINDS):
    return AboutModel(name, Path(name), "tabular", kinds, scales)


def frame(y, *, z=None, similarity=0.5, error=None):
    n = len(y)
    return pl.DataFrame(
        {
            "row": list(range(1, n + 1)),
            "id": [f"m{i}" for i in range(n)],
            "SMILES": ["C"] * n,
            "y predicted": y,
            "y_sd": [0.1] * n,
            "y_lower": [v - 1 for v in y],
            "y_upper": [v + 1 for v in y],
            "z predicted": y if z is None else z,
            "similarity": [similarity] * n,
            "nearest": ["t1"] * n,
            "error": [error] * n,
        },
        schema_overrides={"error": pl.String},
    )


def test_values_come_back_in_the_units_of_the_table():
    found = about("a", ("log10", "none")).finished(frame([1.0, 2.0]))
    assert found["y predicted"].to_list() == pytest.approx([10, 100])
    assert found["y_lower"].to_list() == pytest.approx([1, 10])
    assert found["y_upper"].to_list() == pytest.approx([100, 1000])
    # 10^m is multiplied by about 1 + ln(10) sd.
    assert found["y_sd"].to_list() == pytest.approx([10 * np.log(10) * 0.1, 100 * np.log(10) * 0.1])
    assert found["z predicted"].to_list() == [1.0, 2.0]
    assert found["outside_domain"].to_list() == [False, False]
    assert about("a").finished(frame([1.0], similarity=0.2))["outside_domain"].to_list() == [True]


def test_a_mean_of_two_is_less_sure_where_they_differ():
    models = [about("a"), about("b")]
    combined = Combined.of(models, "mean")
    frames = [frame([1.0, 2.0]), frame([1.0, 4.0], similarity=0.1)]
    found = combined.join([m.finished(f) for m, f in zip(models, frames, strict=True)])
    assert found["y predicted"].to_list() == [1.0, 3.0]
    assert found["y_sd"].to_list() == pytest.approx([0.1, np.sqrt(0.01 + 1)], rel=1e-6)
    assert found["y_lower"].to_list() == [0.0, 2.0]
    assert found["similarity"].to_list() == [0.1, 0.1]
    assert found["outside_domain"].to_list() == [True, True]


def test_one_that_cannot_predict_leaves_it_to_the_other():
    models = [about("a"), about("b")]
    lost = frame([1.0, np.nan], error="no features").with_columns(
        pl.col("y predicted", "y_lower", "y_upper").fill_nan(None)
    )
    found = Combined.of(models, "mean").join([m.finished(f) for m, f in zip(
        models, [lost, frame([3.0, 5.0])], strict=True)])  # fmt: skip
    assert found["y predicted"].to_list() == [2.0, 5.0]


def test_columns_apart_are_called_after_the_models():
    models = [about("a"), about("b")]
    combined = Combined.of(models, "none")
    assert list(combined.tasks) == ["y (a)", "z (a)", "y (b)", "z (b)"]
    found = combined.join([m.finished(frame([1.0])) for m in models])
    assert {"y (a) predicted", "y (b)_lower"} <= set(found.columns)


def test_models_that_do_not_fit_together_are_refused():
    other = about("b", kinds={"y": "classification", "z": "regression"})
    with pytest.raises(InputError, match="one kind of task 'y'"):
        Combined.of([about("a"), other], "mean")
    with pytest.raises(InputError, match="models of the same tasks"):
        Combined.of([about("a"), about("b", ("none",), {"y": "regression"})], "blend")


def test_names_are_as_long_as_it_takes():
    paths = [Path("/runs/a/one"), Path("/runs/b/one")]
    assert path_names(paths) == ["a/one", "b/one"]
    assert path_names([Path("/x/run")]) == ["run"]
