"""The outer test is put away before folds are made; folds are what they are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from molpool_common import InputError
from molpool_pipelines.studies._molecules import read_study_data
from molpool_pipelines.studies.chemprop._problem import chemprop_problem
from molpool_pipelines.tables import fold_tables, load_molecules, split_table

FOLDS = [
    {"fold_type": "random"},
    {"fold_type": "scaffold"},
    {"fold_type": "time"},
    {"fold_type": "stored", "fold_column": "Fold"},
]


@pytest.mark.parametrize("study", FOLDS, ids=lambda study: study["fold_type"])
@pytest.mark.parametrize("split_type", ["random", "time"])
def test_no_molecule_is_on_two_sides(make_config: Any, study: Any, split_type: str) -> None:
    config = make_config(study=study, data={"split_type": split_type})
    data = read_study_data(config)
    outer = split_table(load_molecules(config.data, config.data_path), config.data, config.seed)
    tested = set(outer.test.groups)
    assert data.n_test == len(tested)
    assert not tested & set(data.rest.groups)
    validated = []
    for fold in data.folds:
        train, val = set(fold.train.groups), set(fold.val.groups)
        assert train
        assert val
        assert not train & val
        assert not tested & (train | val)
        validated += fold.val.groups
    assert len(validated) == len(set(validated)), "each row validates at most once"
    if study["fold_type"] != "time":
        labelled = [np.isfinite(row).any() for row in data.rest.targets]
        assert set(validated) == {
            g for g, there in zip(data.rest.groups, labelled, strict=True) if there
        }


def test_folds_of_time_look_ahead(make_config: Any, molecules: pl.DataFrame) -> None:
    day = dict(zip(molecules["SMILES"], molecules["Day"], strict=True))
    data = read_study_data(make_config(study={"fold_type": "time", "n_folds": 3}))
    before: set[str] = set()
    for fold in data.folds:
        latest = max(day[s] for s in fold.train.smiles)
        assert latest < min(day[s] for s in fold.val.smiles)
        assert before < set(fold.train.smiles), "the window expands"
        before = set(fold.train.smiles)


def test_stored_folds_validate_once_each(make_config: Any, molecules: pl.DataFrame) -> None:
    data = read_study_data(make_config(study={"fold_type": "stored", "fold_column": "Fold"}))
    name = dict(zip(molecules["SMILES"], molecules["Fold"], strict=True))
    assert [{name[s] for s in fold.val.smiles} for fold in data.folds] == [{"x"}, {"y"}, {"z"}]


def test_rows_for_training_only_never_validate(
    make_config: Any, molecules: pl.DataFrame, table: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.csv"
    molecules.head(40).with_columns(pl.col("a") + 100).write_csv(other)
    columns = {task: task for task in "abc"}
    sources = [
        {"path": str(table), "columns": columns},
        {"path": str(other), "columns": columns, "hold_out": False},
    ]
    data = read_study_data(make_config(data_path=None, data={"sources": sources}))
    for fold in data.folds:
        assert set(fold.val.origin["source"]) == {"table.csv"}
        assert set(fold.train.origin["source"]) == {"table.csv", "other.csv"}
        assert not set(fold.train.groups) & set(fold.val.groups)


def test_labels_of_the_outer_test_are_never_looked_at(
    make_config: Any, molecules: pl.DataFrame, tmp_path: Path
) -> None:
    """Absurd labels there, or none, leave everything that a study sees as it was."""
    config = make_config()
    outer = split_table(load_molecules(config.data, config.data_path), config.data, config.seed)
    tested = pl.Series(range(1, 73)).is_in(outer.test.origin["row"].to_list())
    clean = read_study_data(config)
    for poison in (1e9, None):
        path = tmp_path / "poisoned.csv"
        cells = [pl.when(tested).then(poison).otherwise(pl.col(t)).alias(t) for t in "abc"]
        molecules.with_columns(cells).write_csv(path)
        found = read_study_data(make_config(data_path=str(path)))
        assert found.task_types == clean.task_types
        for one, other in zip(
            [found.rest, *(t for f in found.folds for t in (f.train, f.val))],
            [clean.rest, *(t for f in clean.folds for t in (f.train, f.val))],
            strict=True,
        ):
            assert one.smiles == other.smiles
            np.testing.assert_array_equal(one.targets, other.targets)


def test_a_task_without_labels_in_a_fold_is_left_out_of_it(
    make_config: Any, molecules: pl.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "late.csv"
    early = pl.col("Day") < 45
    molecules.with_columns(pl.when(early).then(None).otherwise(pl.col("c")).alias("c")).write_csv(
        path
    )
    config = make_config(data_path=str(path), study={"fold_type": "time", "n_folds": 3})
    data = read_study_data(config)
    assert [fold.columns for fold in data.folds] == [(0, 1), (0, 1), (0, 1, 2)]
    assert data.folds[0].train.task_names == data.folds[0].val.task_names == ("a", "b")
    assert "Fold 1 neither trains nor scores c: fewer than two training labels." in data.notes


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pl.Series(["x", None, "y"] * 24), r"a fold in 'F'.* none in 24 rows: row 2 of t\.csv"),
        (pl.Series(["x"] * 72), "two folds or more outside the test split; found 1: x"),
    ],
)
def test_stored_folds_are_checked(
    make_config: Any, molecules: pl.DataFrame, tmp_path: Path, column: pl.Series, message: str
) -> None:
    path = tmp_path / "t.csv"
    molecules.with_columns(column.alias("F")).write_csv(path)
    study = {"fold_type": "stored", "fold_column": "F"}
    with pytest.raises(InputError, match=message):
        read_study_data(make_config(data_path=str(path), study=study))


def test_a_molecule_in_two_stored_folds_is_named(
    make_config: Any, molecules: pl.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "t.csv"
    again = molecules.head(1).with_columns(pl.lit("z").alias("Fold"))
    pl.concat([molecules, again]).write_csv(path)
    study = {"fold_type": "stored", "fold_column": "Fold"}
    with pytest.raises(InputError, match=r"folds 'x' and 'z' of 'CO' \(row 73 of t\.csv\)"):
        read_study_data(make_config(data_path=str(path), study=study))


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"study": {"fold_type": "time"}, "data": {"time_column": None}},
            "data.time_column: expected a column for study.fold_type time",
        ),
        (
            {"study": {"fold_type": "stored", "fold_column": "Flod"}},
            "study.fold_column.*Did you mean 'Fold'",
        ),
        ({"study": {"n_folds": 70}}, "study.n_folds: expected at least 70 molecules for 70 folds"),
    ],
)
def test_folds_that_cannot_be_are_refused(make_config: Any, sections: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_study_data(make_config(**sections))


def test_quality_is_read_where_it_is(make_config: Any) -> None:
    assert set(read_study_data(make_config()).rest.quality or ()) == {"high", "medium", "low"}
    elsewhere = make_config(joint_sampling={"curriculum": {"quality_col": "Grade"}})
    assert read_study_data(elsewhere).rest.quality is None
    declared = {"joint_sampling.curriculum.enabled": False}
    off = make_config(joint_sampling={"curriculum": {"quality_col": "Grade"}}, space=declared)
    assert chemprop_problem(off).space.parameters["joint_sampling.curriculum.enabled"].holds(False)
    with pytest.raises(InputError, match=r"quality_col.*'Grade'"):
        read_study_data(elsewhere, needs_quality=True)


@pytest.mark.parametrize("method", ["random", "scaffold"])
def test_inner_folds_are_those_of_an_ensemble(make_config: Any, method: str) -> None:
    """One way to make folds: with one seed, members and trials validate the same molecules."""
    config = make_config(study={"fold_type": method, "n_folds": 2, "seed": 7})
    table = load_molecules(config.data, config.data_path)
    split = split_table(table, config.data, config.seed)
    settings = config.data.model_copy(update={"split_type": method})
    members = fold_tables(table, split, settings, 2, 7)
    for fold, member in zip(read_study_data(config).folds, members, strict=True):
        assert list(fold.val.smiles) == list(member.val.of_tasks(fold.columns).smiles)
        assert list(fold.train.smiles) == list(member.train.of_tasks(fold.columns).smiles)
