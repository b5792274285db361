"""A truth in a table of its own: joined by id or structure, and kinds from the model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from molpool_common import InputError
from molpool_pipelines.runs import ColumnsConfig, Metrics, SplitMetrics, TaskMetrics
from molpool_pipelines.scores import Predictions, aligned, pair_rows, read_predictions

SMILES = ["CCO", "c1ccccc1", "C[C@H](N)O", "C[C@@H](N)O"]
OTHERWISE = ["C(C)O", "C1=CC=CC=C1", "O[C@H](C)N", "O[C@@H](C)N"]
PREDICTED = [1.0, 2.0, 3.0, 4.0]
TRUE = [1.5, 2.5, 3.5, 4.5]


@pytest.fixture
def said(tmp_path: Path) -> Path:
    """Predictions of a run on a table without names: ids are numbers of rows."""
    path = tmp_path / "said.parquet"
    numbers = [1, 2, 3, 4]
    frame = {
        "row": numbers,
        "id": [str(n) for n in numbers],
        "SMILES": SMILES,
        "LogD predicted": PREDICTED,
        "KSOL predicted": PREDICTED,
    }
    pl.DataFrame(frame).write_parquet(path)
    return path


def truth(folder: Path, order: list[int], **columns: list[object]) -> Path:
    path = folder / "true.csv"
    own = {"SMILES": [OTHERWISE[i] for i in order], "LogD": [TRUE[i] for i in order]}
    pl.DataFrame({**own, **columns}).write_csv(path)
    return path


def test_another_order_without_ids_is_joined_by_structure(said: Path, tmp_path: Path) -> None:
    found = read_predictions(said, truth=truth(tmp_path, [3, 1, 0, 2]))
    np.testing.assert_array_equal(found.y_true[:, 0] - found.y_pred[:, 0], 0.5)
    assert found.ids.tolist() == ["4", "2", "1", "3"]
    assert "Predictions and true.csv are joined by structure." in found.notes


def test_numbers_of_rows_are_no_names_of_another_table(said: Path, tmp_path: Path) -> None:
    other = truth(tmp_path, [3, 1, 0, 2], id=["1", "2", "3", "4"])
    found = read_predictions(said, truth=other)
    np.testing.assert_array_equal(found.y_true[:, 0] - found.y_pred[:, 0], 0.5)
    # Unless that is asked for.
    for join in ("id", "row"):
        asked = read_predictions(said, truth=other, join=join)  # type: ignore[arg-type]
        assert asked.y_true[0, 0] - asked.y_pred[0, 0] == 3.5


def test_without_names_and_structures_there_is_no_join(said: Path, tmp_path: Path) -> None:
    path = tmp_path / "true.csv"
    pl.DataFrame({"LogD": TRUE, "id": [1, 2, 3, 4]}).write_csv(path)
    with pytest.raises(InputError, match=r"ids that number rows, .*--join row"):
        read_predictions(said, truth=path)


def test_a_salt_is_joined_to_its_base_where_there_is_one(said: Path, tmp_path: Path) -> None:
    path = tmp_path / "true.csv"
    amines = ["CCCN", "CCCCN"]
    frame = pl.read_parquet(said)[:2].with_columns(pl.Series("SMILES", amines))
    frame.write_parquet(said)
    pl.DataFrame({"SMILES": ["CCCC[NH3+].[Cl-]", "CCCN"], "LogD": [2.5, 1.5]}).write_csv(path)
    found = read_predictions(said, truth=path)
    np.testing.assert_array_equal(found.y_true[:, 0] - found.y_pred[:, 0], 0.5)
    assert any(
        note.startswith("1 rows of true.csv are joined by their parent") for note in found.notes
    )
    # Of a salt and its base that are both predicted, each row takes its own.
    both = frame.with_columns(pl.Series("SMILES", ["CCCN", "CCC[NH3+].[Cl-]"]))
    both.write_parquet(said)
    pl.DataFrame({"SMILES": ["CCC[NH3+].[Cl-]", "CCCN"], "LogD": [2.5, 1.5]}).write_csv(path)
    found = read_predictions(said, truth=path)
    np.testing.assert_array_equal(found.y_true[:, 0] - found.y_pred[:, 0], 0.5)


def test_stereoisomers_have_labels_of_their_own(said: Path, tmp_path: Path) -> None:
    found = read_predictions(said, truth=truth(tmp_path, [2]))
    assert found.y_pred[0, 0] == 3.0


def test_one_prediction_for_several_rows_is_said(said: Path, tmp_path: Path) -> None:
    found = read_predictions(said, truth=truth(tmp_path, [0, 1, 0, 0]))
    np.testing.assert_array_equal(found.y_pred[:, 0], [1, 2, 1, 1])
    assert found.ids.tolist() == ["1 (row 1)", "2", "1 (row 3)", "1 (row 4)"]
    assert any("3 rows of 1 structures that stand there more than once" in n for n in found.notes)


def test_several_predictions_of_a_structure_must_agree(said: Path, tmp_path: Path) -> None:
    frame = pl.read_parquet(said)
    again = frame[[0, 1, 2, 3, 0]].with_columns(
        pl.Series("row", range(1, 6)), pl.Series("id", [str(i) for i in range(1, 6)])
    )
    again.write_parquet(said)
    other = truth(tmp_path, [1, 0])
    assert read_predictions(said, truth=other).y_pred[:, 0].tolist() == [2, 1]
    values = pl.Series("LogD predicted", [*PREDICTED, 9.0])
    again.with_columns(values).write_parquet(said)
    with pytest.raises(InputError, match="different ones in rows 1 and 5"):
        read_predictions(said, truth=other)


def test_a_row_of_the_truth_without_a_prediction_is_named(said: Path, tmp_path: Path) -> None:
    path = tmp_path / "true.csv"
    pl.DataFrame({"SMILES": ["CCO", "CCCC"], "LogD": [1.0, 2.0]}).write_csv(path)
    with pytest.raises(InputError, match="none for 1 of 2 rows, ids 'CCCC'"):
        read_predictions(said, truth=path)


def test_bad_smiles_of_the_truth(said: Path, tmp_path: Path) -> None:
    path = tmp_path / "true.csv"
    pl.DataFrame({"SMILES": ["CCO", "xx", "c1ccccc1"], "LogD": [1.0, 2.0, 3.0]}).write_csv(path)
    with pytest.raises(InputError, match=r"'xx' in row 2.*--on-bad-smiles drop"):
        read_predictions(said, truth=path)
    found = read_predictions(said, truth=path, on_bad_smiles="drop")
    assert found.y_pred[:, 0].tolist() == [1, 2]
    assert found.rejected is not None
    assert found.rejected["row"].to_list() == [2]


def test_some_of_the_tasks_are_scored_and_the_others_named(said: Path, tmp_path: Path) -> None:
    found = read_predictions(said, truth=truth(tmp_path, [0, 1, 2, 3]))
    assert found.tasks == ("LogD",)
    assert "Not scored, as true.csv has no column of it: KSOL." in found.notes


def run_folder(folder: Path, kind: str) -> Path:
    """Write the predictions of a run whose test labels happen to be 0 and 1."""
    folder.mkdir()
    labels = [0.3, 0.7, 0.0, 1.0]
    frame = {
        "id": list("abcd"),
        "SMILES": SMILES,
        "split": ["train", "train", "test", "test"],
        "LogD": labels if kind == "regression" else [0.0, 1.0, 0.0, 1.0],
        "LogD predicted": [0.2, 0.6, 0.1, 0.8],
    }
    pl.DataFrame(frame).write_parquet(folder / "predictions.parquet")
    task = TaskMetrics(type=kind, n=2, metrics={})  # type: ignore[arg-type]
    metrics = Metrics(
        kind="chemprop", reported="test", splits={"test": SplitMetrics(tasks={"LogD": task})}
    )

    (folder / "metrics.json").write_text(json.dumps(metrics.to_dict()))
    return folder


@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_kinds_come_from_the_model_not_from_the_truth_that_is_scored(
    tmp_path: Path, kind: str
) -> None:
    run = run_folder(tmp_path / "run", kind)
    path = tmp_path / "true.csv"
    pl.DataFrame({"id": ["a", "b"], "LogD": [0, 1]}).write_csv(path)
    found = read_predictions(run, truth=path)
    assert found.task_types == (kind,)
    assert found.notes == ()
    # What the user says goes before.
    asked = read_predictions(run, truth=path, task_types={"LogD": "regression"})
    assert asked.task_types == ("regression",)


def test_a_guess_is_said(tmp_path: Path, said: Path) -> None:
    path = tmp_path / "true.csv"
    pl.DataFrame({"SMILES": SMILES, "LogD": [0, 1, 1, 0]}).write_csv(path)
    found = read_predictions(said, truth=path)
    assert found.task_types == ("classification",)
    assert any("--task-types TASK regression" in note for note in found.notes)


def model(ids: list[str], smiles: list[str], *, name: str = "m") -> Predictions:
    n = len(ids)
    return Predictions(
        name,
        np.array(ids, dtype=object),
        ("LogD",),
        ("regression",),
        np.array([[TRUE[SMILES.index(s) if s in SMILES else OTHERWISE.index(s)]] for s in smiles]),
        np.arange(n, dtype=float)[:, None],
        smiles=np.array(smiles, dtype=object),
    )


def test_models_of_equal_numbers_and_other_molecules_are_paired_by_structure() -> None:
    one = model(["1", "2", "3"], [SMILES[i] for i in (0, 1, 2)])
    two = model(["1", "2", "3"], [OTHERWISE[i] for i in (2, 0, 1)])
    models, notes = aligned([one, two], ["one", "two"], "auto")
    assert notes == ["Rows are paired by structure: their ids are of different tables."]
    paired = pair_rows(models, ["one", "two"])
    by_truth = dict(zip(paired.y_true[:, 0], paired.y_pred[:, :, 0].T.tolist(), strict=True))
    assert by_truth == {1.5: [0, 1], 2.5: [1, 2], 3.5: [2, 0]}


def test_models_of_equal_ids_and_molecules_keep_their_ids() -> None:
    one = model(["a", "b"], SMILES[:2])
    two = model(["b", "a"], OTHERWISE[1::-1])
    models, notes = aligned([one, two], ["one", "two"], "auto")
    assert notes == []
    assert models[0].ids.tolist() == ["a", "b"]
    by_row, _ = aligned([one, two], ["one", "two"], "row")
    assert by_row[1].ids.tolist() == ["1", "2"]


def test_structures_that_are_asked_for_must_be_there() -> None:

    bare = replace(model(["a"], SMILES[:1]), smiles=None)
    with pytest.raises(InputError, match="none in bare"):
        aligned([model(["a"], SMILES[:1]), bare], ["one", "bare"], "structure")


def test_columns_may_be_called_otherwise(said: Path, tmp_path: Path) -> None:
    path = tmp_path / "true.csv"
    pl.DataFrame({"Name": ["2", "1"], "LogD": [2.5, 1.5]}).write_csv(path)
    frame = pl.read_parquet(said).drop("row")
    frame.write_parquet(said)
    found = read_predictions(said, truth=path, columns=ColumnsConfig(truth_id="Name"))
    np.testing.assert_array_equal(found.y_true[:, 0] - found.y_pred[:, 0], 0.5)
