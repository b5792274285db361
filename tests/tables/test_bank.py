"""The bank of tables, by every command: the same values or the same refusal, no row lost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from molpool_common import (
    InputError,
    ReadConfig,
    measured_column,
    open_table,
    table_chunks,
    text_column,
    validate_values,
)
from molpool_pipelines.fitting import (
    TrainChempropConfig,
    TrainMILConfig,
    read_bag_inputs,
    read_inputs,
)
from molpool_pipelines.models import PredictConfig, Predicted, predict_table
from molpool_pipelines.runs import ColumnsConfig, read_run_predictions
from molpool_pipelines.scores import read_predictions
from molpool_pipelines.tables import Columns, read_named

NAMES = [f"{i:03d}" for i in range(25)]
"""Ids of the base table."""


def said(error, case):
    return bool(case.says) and all(words in str(error) for words in case.says)


def check_values(case, table):
    """Hold the targets of a table against the base table and the case's own cells."""
    assert len(table) + table.dropped.height == case.rows
    assert table.dropped.height == case.rejected
    for place, row in enumerate(table.origin["row"].to_list()):
        for t in (0, 1):
            value, sign = case.expected(row - 1, t)
            found = table.targets[place, t]
            assert np.isnan(found) if value is None else found == value
            assert (0 if table.censoring is None else table.censoring[place, t]) == sign
    assert all(any(words in note for note in table.notes) for words in case.notes), table.notes


def test_there_are_many_cases(bank):
    assert len(bank.CASES) >= 120
    assert len({case.name for case in bank.CASES}) == len(bank.CASES)
    assert bank.NAMES == NAMES


def used(frame, case):
    text_column(frame, "SMILES", where="t.csv")
    for task in case.tasks:
        measured_column(frame, task, where="t.csv")


def test_reading(case, tmp_path):
    path = case.make(tmp_path)
    read = validate_values(ReadConfig, case.read)
    if case.says:
        with pytest.raises(InputError) as caught:
            used(open_table(path, read)[0], case)
        assert said(caught.value, case), str(caught.value)
        return
    frame, reading = open_table(path, read)
    assert frame.height == case.rows
    if case.given is None:
        parts = list(table_chunks(path, frame.columns, 4, read=read))
        assert pl.concat(parts).equals(frame)
    assert frame["Name"].to_list()[: len(NAMES)] == NAMES
    assert reading.facts()["Format"]


def test_training(case, tmp_path):
    values = {
        "data_path": case.make(tmp_path),
        "on_bad_smiles": "drop",
        "read": dict(case.read),
        "data": {"target_columns": list(case.tasks), "id_column": "Name"},
    }
    config = validate_values(TrainChempropConfig, values)
    if case.says:
        with pytest.raises(InputError) as caught:
            read_inputs(config)
        assert said(caught.value, case), str(caught.value)
        return
    inputs = read_inputs(config)
    check_values(case, inputs.table)
    assert all(note in inputs.notes for note in inputs.table.notes)


def test_describing(case, tmp_path):
    columns = Columns(smiles="SMILES", identity="Name", targets=case.tasks)
    path, read = case.make(tmp_path), validate_values(ReadConfig, case.read)
    if case.says:
        with pytest.raises(InputError) as caught:
            read_named(path, None, columns, read=read)
        assert said(caught.value, case), str(caught.value)
        return
    found = read_named(path, None, columns, read=read)
    check_values(case, found.table)
    assert all(any(words in note for note in found.notes) for words in case.notes)


class Stub:
    """A model that predicts the length of each SMILES."""

    kind = "tabular"
    task_names = ("LogD", "KSOL")
    task_types = ("regression", "regression")
    n_members = 1
    chunk_rows = 10

    def predict(self, smiles: Sequence[str], batch_size: int) -> Predicted:
        mean = np.array([[len(text)] * 2 for text in smiles], dtype=float).reshape(-1, 2)
        return Predicted(mean, None, None, [None] * len(smiles))


def test_predicting(case, tmp_path, monkeypatch):
    monkeypatch.setattr("molpool_pipelines.models._predict_table.load_model", lambda path: Stub())
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.pt").write_bytes(b"")
    output = tmp_path / "out.parquet"
    values = {
        "model_dir": str(tmp_path / "model"),
        "data_path": case.make(tmp_path),
        "output": str(output),
        "id_column": "Name",
        "read": dict(case.read),
        "applicability": {"enabled": False},
    }
    config = validate_values(PredictConfig, values)
    if case.says and not case.of_target:
        with pytest.raises(InputError) as caught:
            predict_table(config)
        assert said(caught.value, case), str(caught.value)
        assert not output.exists()
        return
    done = predict_table(config)
    frame = read_run_predictions(output.parent, output.name)
    assert (done.rows, done.bad) == (case.rows, case.rejected) == (frame.height, done.bad)
    assert frame["id"].to_list()[: len(NAMES)] == NAMES
    assert frame["error"].count() == case.rejected


def test_scoring(case, tmp_path):
    path, (logd, ksol) = case.make(tmp_path), case.tasks
    names = [*NAMES, *(["026"] * (case.rows - len(NAMES)))]
    # A record that is no molecule has the id of the first, from which it was made.
    if case.rows > len(NAMES):
        pytest.skip("ids repeat in this table")
    ours = {"Name": names, f"{logd} predicted": [0.5] * len(names)}
    predictions = pl.DataFrame({**ours, f"{ksol} predicted": [1.0] * len(names)})
    predictions.write_parquet(tmp_path / "ours.parquet")
    columns = ColumnsConfig(id="Name", tasks=[logd, ksol])
    read = validate_values(ReadConfig, case.read)
    arguments = {"columns": columns, "truth": path, "read": read}
    if case.says:
        if "column 'SMILES'" in case.says:
            pytest.skip("scoring by id looks at no SMILES")
        with pytest.raises(InputError) as caught:
            read_predictions(tmp_path / "ours.parquet", **arguments)
        assert said(caught.value, case), str(caught.value)
        return
    found = read_predictions(tmp_path / "ours.parquet", **arguments)
    assert len(found) == len(NAMES)
    for t in (0, 1):
        for row, y in enumerate(found.y_true[:, t]):
            value, sign = case.expected(row, t)
            assert np.isnan(y) if value is None or sign else y == value
        assert found.n_bounds[t] == sum(case.expected(r, t)[1] != 0 for r in range(len(NAMES)))


BAGS = {
    "task_kind": "regression",
    # Quick to compute; that features are right is tested elsewhere.
    "data": {
        "id_column": "Name",
        "cache_dir": "none",
        "features": {
            "descriptors_3d": [],
            "descriptors_2d": {"descriptors": False, "morgan_bits": 8},
        },
    },
    "split": {"split_type": "random", "n_folds": 3, "standardize": "none"},
}


def test_bags_of_molecules(case, tmp_path):
    if case.rows > len(NAMES):
        pytest.skip("ids repeat in this table")
    data = {**BAGS["data"], "target_columns": list(case.tasks)}
    values = {**BAGS, "data_path": case.make(tmp_path), "read": dict(case.read), "data": data}
    config = validate_values(TrainMILConfig, values)
    bounds = any(sign for _, sign in case.cells.values())
    if case.says or bounds:
        with pytest.raises(InputError) as caught:
            read_bag_inputs(config)
        # No loss of bags takes bounds.
        assert (
            "expected a number or nothing" in str(caught.value)
            if bounds
            else said(caught.value, case)
        )
        return
    inputs = read_bag_inputs(config)
    assert len(inputs.data) + inputs.rejected.height == case.rows
    assert inputs.rejected.height == case.rejected
    assert inputs.data.labels is not None
    for bag, found in zip(inputs.data.ids, inputs.data.labels, strict=True):
        for t in (0, 1):
            value, _ = case.expected(int(bag), t)
            assert np.isnan(found[t]) if value is None else found[t] == value
    assert all(any(words in note for note in inputs.notes) for words in case.notes), inputs.notes
