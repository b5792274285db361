from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from molpool_common import InputError, MoleculeTable
from molpool_pipelines.tables._molecules import load_molecules
from molpool_pipelines.tables._splits import fold_tables, split_table
from molpool_pipelines.tables._table_config import DataConfig, SourceConfig

ALKANES = ["C" * n for n in range(1, 31)]


def table(tmp_path: Path, extra: list[str], hold_out: bool = True) -> MoleculeTable:
    """Thirty alkanes that may be held out, and others that may not."""
    for name, smiles in (("main.csv", ALKANES), ("extra.csv", extra)):
        rows = "".join(f"{s},{i}\n" for i, s in enumerate(smiles))
        (tmp_path / name).write_text(f"SMILES,y\n{rows}")
    sources = [
        SourceConfig(path=str(tmp_path / "main.csv"), columns={"y": "y"}, hold_out=hold_out),
        SourceConfig(path=str(tmp_path / "extra.csv"), columns={"y": "y"}, hold_out=False),
    ]
    config = DataConfig(target_columns=["y"], sources=sources if extra else sources[:1])
    return load_molecules(config, None)


def config(**values: object) -> DataConfig:
    return DataConfig.model_validate({"target_columns": ["y"], **values})


def test_training_only_rows_train_unless_their_molecule_is_held_out(tmp_path: Path) -> None:
    extra = [*ALKANES, "CCO", "CCN", "CCCO"]
    both = table(tmp_path, extra)
    sides = split_table(both, config(split_ratios=(0.6, 0.2, 0.2)), seed=3)
    assert (len(sides.val), len(sides.test)) == (6, 6)
    held = {*sides.val.groups, *sides.test.groups}
    assert not held & set(sides.train.groups)
    assert sides.n_left_out == 12, "the second copies of the 12 that are held out"
    assert {"CCO", "CCN", "CCCO"} <= set(sides.train.smiles)
    assert len(sides.train) == 18 + 18 + 3
    for side in (sides.val, sides.test):
        assert set(side.origin["source"]) == {"main.csv"}


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), extra=st.lists(st.sampled_from(ALKANES), max_size=8))
def test_every_row_is_on_one_side_or_counted_as_left_out(
    tmp_path_factory: pytest.TempPathFactory, seed: int, extra: list[str]
) -> None:
    both = table(tmp_path_factory.getbasetemp(), extra)
    sides = split_table(both, config(), seed)
    tables = (sides.train, sides.val, sides.test)
    assert sum(map(len, tables)) + sides.n_left_out == len(both)
    rows = [(s, r) for t in tables for s, r in t.origin.select("source", "row").iter_rows()]
    assert len(rows) == len(set(rows))
    groups = [set(t.groups) for t in tables]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]


def test_seed_of_the_split_goes_before_that_of_the_run(tmp_path: Path) -> None:
    one = table(tmp_path, [])

    def drawn_side(seed: int, **values: object) -> list[str]:
        return list(split_table(one, config(**values), seed).test.smiles)

    assert drawn_side(1) == drawn_side(1)
    assert drawn_side(1) != drawn_side(2)
    assert drawn_side(1, split_seed=7) == drawn_side(2, split_seed=7)


def test_validation_rows_may_train_and_the_test_side_stays(tmp_path: Path) -> None:
    both = table(tmp_path, [*ALKANES, "CCO"])
    ratios = {"split_ratios": (0.6, 0.2, 0.2)}
    apart = split_table(both, config(**ratios), seed=3)
    merged = split_table(both, config(**ratios, train_on_val=True), seed=3)
    assert merged.test.smiles == apart.test.smiles
    assert len(merged.val) == 0
    assert {*apart.train.groups, *apart.val.groups} == set(merged.train.groups)
    assert not set(merged.test.groups) & set(merged.train.groups)
    assert merged.n_left_out == 6, "the second copies of the 6 that test"


def test_rows_come_with_their_targets(tmp_path: Path) -> None:
    sides = split_table(table(tmp_path, []), config(), 0)
    for side in (sides.train, sides.val, sides.test):
        lengths = np.array([len(s) for s in side.smiles])
        np.testing.assert_array_equal(side.targets[:, 0], lengths - 1)


def test_nothing_to_hold_out(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.sources: expected a source with hold_out: true"):
        split_table(table(tmp_path, [], hold_out=False), config(), 0)


def test_no_label_left_for_training(tmp_path: Path) -> None:
    one = table(tmp_path, [])
    times = [str(2000 + i) for i in range(30)]
    targets = np.where(np.arange(30) < 29 - 6, np.nan, 1.0)[:, None]
    sparse = replace(one, times=times, targets=targets)
    late = config(split_type="time", time_column="t", split_ratios=(0.6, 0.2, 0.2))
    with pytest.raises(InputError) as caught:
        split_table(sparse, late, 0)
    assert str(caught.value).startswith(
        "task 'y': expected at least two labels in the training part; found none."
    )


class TestFolds:
    def test_each_molecule_that_is_not_tested_validates_once(self, tmp_path: Path) -> None:
        both = table(tmp_path, [*ALKANES, "CCO", "CCN"])
        settings = config(split_ratios=(0.6, 0.2, 0.2))
        sides = split_table(both, settings, seed=3)
        folds = fold_tables(both, sides, settings, 3, seed=3)
        validated = [s for fold in folds for s in fold.val.smiles]
        assert sorted(validated) == sorted(set(ALKANES) - set(sides.test.smiles))
        for fold in folds:
            assert fold.test is sides.test
            assert not set(fold.train.groups) & {*fold.val.groups, *fold.test.groups}
            assert {"CCO", "CCN"} <= set(fold.train.smiles)
            assert set(fold.val.origin["source"]) == {"main.csv"}
            # 24 of main.csv that are not tested, twice each but for those that validate here.
            assert fold.n_left_out == len(fold.val) == 8
            assert len(fold.train) == 2 * 16 + 2

    def test_those_of_a_time_split_are_spans_of_time(self, tmp_path: Path) -> None:
        # Methane is the latest, and was measured in 1990 too.
        dated = [*range(2029, 1999, -1), 1990]
        both = replace(table(tmp_path, ["C"]), times=dated, hold_out=np.ones(31, dtype=bool))
        settings = config(split_type="time", time_column="when", split_ratios=(0.7, 0.1, 0.2))
        sides = split_table(both, settings, seed=0)
        folds = fold_tables(both, sides, settings, 3, seed=0)
        first = {
            s: min(w for s2, w in zip(both.smiles, dated, strict=True) if s2 == s) for s in ALKANES
        }
        spans = [sorted({first[s] for s in fold.val.smiles}) for fold in folds]
        each = [when for span in spans for when in span]
        assert sorted(each) == each, "one after the other"
        rest = {first[s] for s in ALKANES} - {first[s] for s in sides.test.smiles}
        assert set(each) == rest
        assert max(map(len, spans)) - min(map(len, spans)) <= 1
        assert all(len(f.train) + len(f.val) == len(both) - len(sides.test) for f in folds)

    def test_one_fold_is_the_split_itself(self, tmp_path: Path) -> None:
        one = table(tmp_path, [])
        sides = split_table(one, config(), 0)
        assert fold_tables(one, sides, config(), 1, 0) == [sides]

    def test_more_folds_than_molecules(self, tmp_path: Path) -> None:
        one = table(tmp_path, [])
        sides = split_table(one, config(), 0)
        with pytest.raises(InputError, match="at least 40 molecules for 40 folds"):
            fold_tables(one, sides, config(), 40, 0)
