"""Models fitted again without some rows: which rows, and the errors on them, by scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from molpool_common import InputError
from molpool_pipelines.retention import EvaluateConfig, FitConfig, evaluate, fit
from molpool_pipelines.retention._splits import Splits
from molpool_pipelines.tables import TableFiles
from sklearn.linear_model import Ridge

N_RUNS, N_COMPOUNDS = 12, 3


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    run = np.repeat(np.arange(N_RUNS), 2 * N_COMPOUNDS)
    n = len(run)
    reading = rng.normal(size=N_RUNS)[run]
    compound, species = np.arange(n) % N_COMPOUNDS, np.arange(n) // N_COMPOUNDS % 2
    return pl.DataFrame(
        {
            "species": species,
            "species_cluster": 0,
            "comp_id": compound,
            "run": [f"r{(7 * r) % N_RUNS:02d}" for r in run],
            "IS_0": reading,
            "rt": compound + 0.3 * reading + 0.1 * rng.normal(size=n),
            "part": np.where(run < 8, "training", np.where(run < 10, "", "test")),
        }
    )


@pytest.fixture(scope="module")
def folder(table, tmp_path_factory):
    path = tmp_path_factory.mktemp("held_out")
    table.write_parquet(path / "t.parquet")
    models: dict[str, dict[str, Any]] = {
        "ridge": {"model": "ridge", "alpha": 1.0},
        "pooled": {"structure": "fixed"},
    }
    for name, keys in models.items():
        config = FitConfig(
            data=[str(path / "t.parquet")],
            calibrate={"enabled": False},
            flag_threshold=None,
            **keys,
        )
        fit(config).write(config.open_folder(path / name))
    return path


def splits(folder, **keys):
    config = EvaluateConfig(artefacts=["x"], **keys)
    file = str(folder / "t.parquet")
    return Splits.read(config, [FitConfig(data=[file])], TableFiles.find([file], "data"))


@pytest.mark.parametrize(
    ("how", "column"), [("run", "run"), ("compound", "comp_id"), ("species", "species")]
)
@pytest.mark.parametrize("folds", [2, "all"])
def test_groups_are_held_out_whole_and_each_once(folder, table, how, column, folds):
    found = splits(folder, split_type=how, cv={"folds": folds, "repeats": 2})
    groups = table[column].to_numpy()
    n_folds = len(set(groups)) if folds == "all" else folds
    cells = [(cell.repeat, cell.fold) for cell in found.cells]
    assert cells == [(r, f) for r in range(2) for f in range(n_folds)]
    for repeat in range(2):
        of_repeat = [cell for cell in found.cells if cell.repeat == repeat]
        assert (np.sum([cell.test for cell in of_repeat], axis=0) == 1).all()
        for cell in of_repeat:
            assert not set(groups[cell.train]) & set(groups[cell.test])
            assert (cell.train ^ cell.test).all()
    first, second = ([c.test.tolist() for c in found.cells if c.repeat == r] for r in range(2))
    # Runs are drawn anew; two species can be divided in one way only.
    assert how != "run" or first != second


def test_later_runs_are_tested_by_earlier_ones(folder, table):
    place = {name: k for k, name in enumerate(table["run"].unique(maintain_order=True))}
    in_table = table["run"].replace_strict(place).to_numpy()
    by_name = table["run"].str.slice(1).cast(pl.Int64).to_numpy()
    for keys, order in (({}, in_table), ({"time_column": "run"}, by_name)):
        found = splits(folder, split_type="time", cv={"folds": 3}, **keys)
        assert len(found.cells) == 3
        for cell in found.cells:
            assert order[cell.train].max() < order[cell.test].min()
        # The first quarter only trains, and every later run is tested once.
        tested = np.sum([cell.test for cell in found.cells], axis=0)
        assert (tested == (order >= 3)).all()


def test_a_column_says_what_trains(folder, table):
    (cell,) = splits(folder, split_column="part").cells
    assert (cell.train == (table["part"] == "training").to_numpy()).all()
    assert (cell.test == (table["part"] == "test").to_numpy()).all()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"split_type": "species", "cv": {"folds": 3}}, "2 to the number of them, 2"),
        ({"split_type": "run", "run_col": "runn"}, "run_col.*expected a column"),
        ({"split_type": "time", "cv": {"folds": 12}}, "fewer than the 12 runs"),
        ({"split_type": "time", "cv": {"folds": 3, "repeats": 2}}, "time has one order"),
        ({"split_column": "run"}, "train, val or test"),
    ],
)
def test_splits_that_cannot_be_are_refused(folder, keys, message):
    with pytest.raises(InputError, match=message):
        splits(folder, **keys)


def test_errors_are_those_of_fits_without_the_run(folder, table):
    artefacts = [str(folder / "ridge"), str(folder / "pooled")]
    found = evaluate(EvaluateConfig(artefacts=artefacts, split_type="run", cv={"folds": "all"}))
    errors = []
    for run in table["run"].unique():
        train, test = table.filter(pl.col("run") != run), table.filter(run=run)
        for row in test.iter_rows(named=True):
            pair = train.filter(species=row["species"], comp_id=row["comp_id"])
            line = Ridge(1.0).fit(pair.select("IS_0").to_numpy(), pair["rt"].to_numpy())
            errors.append(row["rt"] - line.predict([[row["IS_0"]]])[0])
    ridge, pooled = (scored.table.row(-1, named=True) for scored in found.scored)
    assert ridge["n"] == pooled["n"] == table.height
    assert ridge["rmse"] == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-9)
    assert found.rows == {"read": table.height, "used": table.height, "rejected": 0}
    assert any("held out by run in 12 folds" in note for note in found.notes)
    folds = found.folds
    assert folds is not None
    assert folds["artefact"].to_list() == ["ridge", "pooled"] * N_RUNS
    total = folds.filter(artefact="ridge").select((pl.col("mae") * pl.col("n")).sum()).item()
    assert total / table.height == pytest.approx(ridge["mae"], rel=1e-9)


def test_compounds_that_a_ridge_never_saw_are_rejected_by_their_row(folder, table):
    config = EvaluateConfig(
        artefacts=[str(folder / "ridge")], split_type="compound", cv={"folds": "all"}
    )
    found = evaluate(config)
    assert found.rejected is not None
    assert sorted(found.rejected["row"].to_list()) == list(range(1, table.height + 1))
    assert set(found.rejected["source"]) == {"t.parquet"}
    assert found.rows["rejected"] == table.height
