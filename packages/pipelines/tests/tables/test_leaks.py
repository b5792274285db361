"""A salt and its base, or a series, are never on two sides, whichever way a table is divided."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from molpool_common import InputError, MoleculeTable
from molpool_pipelines.tables._duplicates import merge_duplicates
from molpool_pipelines.tables._molecules import load_molecules
from molpool_pipelines.tables._splits import SplitTables, fold_tables, split_table
from molpool_pipelines.tables._table_config import DataConfig, SplitType

RINGS = ("c1ccccc1", "C1CCCCC1", "c1ccncc1", "C1CCOCC1", "c1ccsc1", "C1CCNCC1")
BASES = [chain + ring for ring in RINGS for chain in ("NC", "NCC", "NCCC", "CNC", "CC(N)")]
TWINS = [f"{base}.OC(=O)C(O)C(O)C(O)=O" for base in BASES]
"""Tartrates: the counterion is larger than some of the bases, and has no ring."""

GIVEN = ("split_column", "split_file", "test_path")


@st.composite
def tables(draw: st.DrawFn) -> list[tuple[str, str, str]]:
    """SMILES, split and series; every base with its salt."""
    order = draw(st.permutations(range(2 * len(BASES))))
    words = draw(
        st.lists(st.sampled_from(["Train", "valid", "TEST", ""]), min_size=60, max_size=60)
    )
    series = draw(st.lists(st.sampled_from(["a", "b", ""]), min_size=60, max_size=60))
    smiles = [*BASES, *TWINS]
    return [(smiles[i], words[i], series[i]) for i in order]


def read(
    folder: Path, rows: list[tuple[str, str, str]], **values: Any
) -> tuple[MoleculeTable, DataConfig]:
    lines = [f"{s},{k % 7},{w},{p},{2000 + k % 50}" for k, (s, w, p) in enumerate(rows)]
    path = folder / "table.csv"
    path.write_text("\n".join(["SMILES,y,set,series,year", *lines]) + "\n")
    config = DataConfig.model_validate({"target_columns": ["y"], "cache_dir": "none", **values})
    return load_molecules(config, str(path)), config


def check(tables: SplitTables) -> None:
    # By what was written, not by the keys that are to be tested.
    parts = (tables.train, tables.val, tables.test)
    train, val, test = ({s.split(".")[0] for s in t.smiles} for t in parts)
    assert not train & test
    assert not train & val
    assert not val & test


@settings(max_examples=12, deadline=None)
@given(rows=tables(), method=st.sampled_from(get_args(SplitType)), seed=st.integers(0, 9))
@pytest.mark.parametrize("how", ["parent", "tautomer"])
def test_no_method_parts_a_salt_from_its_base(
    tmp_path_factory: pytest.TempPathFactory,
    how: str,
    rows: list[tuple[str, str, str]],
    method: str,
    seed: int,
) -> None:
    folder = tmp_path_factory.mktemp("leaks")
    table, config = read(folder, rows, split_type=method, time_column="year", standardize=how)
    sides = split_table(table, config, seed)
    check(sides)
    n = len(sides.train) + len(sides.val) + len(sides.test)
    assert n == len(table) == 2 * len(BASES)
    for fold in fold_tables(table, sides, config, 3, seed):
        check(fold)


@settings(max_examples=20, deadline=None)
@given(rows=tables(), way=st.sampled_from(GIVEN), seed=st.integers(0, 9), merge=st.booleans())
def test_no_given_split_does_either(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str]],
    way: str,
    seed: int,
    merge: bool,
) -> None:
    folder = tmp_path_factory.mktemp("leaks")
    values: dict[str, Any] = {"split_column": "set"}
    if way == "split_file":
        part = {"Train": "train", "valid": "val", "TEST": "test"}
        of = {p: [i for i, row in enumerate(rows) if part.get(row[1]) == p] for p in part.values()}
        (folder / "split.json").write_text(json.dumps([of]))
        values = {"split_file": str(folder / "split.json")}
    elif way == "test_path":
        read(folder, rows[:15])
        (folder / "table.csv").rename(folder / "test.csv")
        values = {"test_path": str(folder / "test.csv")}
        rows = rows[15:]
    assume(way == "test_path" or {"Train", "TEST"} <= {row[1] for row in rows})
    try:
        table, config = read(folder, rows, **values)
        if merge:
            table = merge_duplicates(table, "mean")
        sides = split_table(table, config, seed)
    except InputError as error:
        # All of a side may have been twins of the next one.
        assume("at least two labels" not in str(error) and "rows that train" not in str(error))
        raise
    check(sides)
    # What tests is what the user said, to the row.
    tested = {row[0] for row in rows if row[1] == "TEST"} if way != "test_path" else None
    if tested is not None and not merge:
        assert set(sides.test.smiles) == tested
    lost = len(table) - len(sides.train) - len(sides.val) - len(sides.test)
    assert any("two sides" in note for note in sides.notes) == (lost > 0)


@settings(max_examples=12, deadline=None)
@given(rows=tables(), method=st.sampled_from(get_args(SplitType)), seed=st.integers(0, 9))
def test_series_stay_together_with_their_molecules(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str]],
    method: str,
    seed: int,
) -> None:
    folder = tmp_path_factory.mktemp("series")
    # Series of which there are many enough for three sides.
    rows = [(s, w, f"{s.split('.')[0][-9:]}" if p == "a" else "") for s, w, p in rows]
    table, config = read(folder, rows, split_type=method, time_column="year", group_column="series")
    try:
        sides = split_table(table, config, seed)
    except InputError as error:
        assume("at least" not in str(error))
        raise
    check(sides)
    series = dict(zip([s for s, _, _ in rows], [p for _, _, p in rows], strict=True))
    found = [{series[s] for s in t.smiles} - {""} for t in (sides.train, sides.val, sides.test)]
    assert not found[0] & (found[1] | found[2])
    assert not found[1] & found[2]


class TestOverlap:
    ROWS = (("NCc1ccccc1", "train", ""), ("NCc1ccccc1.Cl", "test", ""), ("CCO", "train", ""),
            ("CCN", "train", ""), ("CCCO", "val", ""), ("CCC", "", ""))  # fmt: skip

    def test_is_left_out_and_said(self, tmp_path: Path) -> None:
        table, config = read(tmp_path, list(self.ROWS), split_column="set")
        sides = split_table(table, config, 0)
        assert sides.train.smiles == ["CCO", "CCN"]
        assert sides.test.smiles == ["NCc1ccccc1.Cl"]
        (note,) = sides.notes
        assert note.startswith(
            "1 molecules of the given split stand on two sides (1 training rows): 1 of table.csv; "
        )
        assert table.dropped["row"].to_list() == [6]
        assert table.dropped["reason"].to_list() == ["'set' names no split"]

    def test_is_kept_on_request_and_said(self, tmp_path: Path) -> None:
        table, config = read(tmp_path, list(self.ROWS), split_column="set", split_overlap="keep")
        sides = split_table(table, config, 0)
        assert sides.train.smiles == ["NCc1ccccc1", "CCO", "CCN"]
        assert "kept as given" in sides.notes[0]

    def test_is_refused_on_request(self, tmp_path: Path) -> None:
        table, config = read(tmp_path, list(self.ROWS), split_column="set", split_overlap="error")
        with pytest.raises(InputError, match="each molecule in one split; found 1 molecules"):
            split_table(table, config, 0)

    def test_is_none_where_salts_are_no_twins(self, tmp_path: Path) -> None:
        table, config = read(tmp_path, list(self.ROWS), split_column="set", standardize="none")
        sides = split_table(table, config, 0)
        assert sides.notes == []
        assert len(sides.train) == 3


def test_a_scaffold_is_that_of_the_parent(tmp_path: Path) -> None:
    # Benzenesulfonates of alkylamines have a ring that the amines lack.
    salts = [f"{'C' * n}N.OS(=O)(=O)c1ccccc1" for n in range(1, 9)]
    rings = [f"{'C' * n}c1ccccc1" for n in range(1, 9)]
    others = ["C1CCCC1", "c1ccncc1", "C1CCOC1"]
    rows = [(s, "", "") for s in [*salts, *rings, *others]]
    table, config = read(tmp_path, rows, split_type="scaffold", split_ratios=(0.6, 0.2, 0.2))
    sides = split_table(table, config, 0)
    place = {s: n for n, t in enumerate((sides.train, sides.val, sides.test)) for s in t.smiles}
    # Two scaffolds of eight cannot both fit into train, as one of sixteen would have to.
    assert len({place[s] for s in salts}) == 1
    assert len({place[s] for s in rings}) == 1
    assert place[salts[0]] != place[rings[0]]


def test_validation_labels_are_looked_at_before_training(tmp_path: Path) -> None:
    lines = [f"{'C' * (n + 1)},{n},{n if n < 18 else ''},{2000 + n}" for n in range(30)]
    (tmp_path / "t.csv").write_text("\n".join(["SMILES,a,b,year", *lines]) + "\n")
    both: dict[str, Any] = {
        "target_columns": ["a", "b"], "split_type": "time", "time_column": "year",
        "split_ratios": (0.6, 0.2, 0.2), "cache_dir": "none",
    }  # fmt: skip
    config = DataConfig.model_validate(both)
    sides = split_table(load_molecules(config, str(tmp_path / "t.csv")), config, 0)
    assert sides.notes == [
        "No validation label of b: the validation loss, which chooses the epoch, is that of a."
    ]
    alone = DataConfig.model_validate({**both, "target_columns": ["b"]})
    table = load_molecules(alone, str(tmp_path / "t.csv"))
    with pytest.raises(InputError, match="a validation label of some task; found none in 6"):
        split_table(table, alone, 0)
    fixed = alone.model_copy(update={"train_on_val": True})
    assert len(split_table(table, fixed, 0).train) == 24


def test_a_task_without_training_labels_is_left_out_on_request(tmp_path: Path) -> None:
    lines = [f"{'C' * (n + 1)},{n},{'' if n < 25 else n},{2000 + n}" for n in range(30)]
    (tmp_path / "t.csv").write_text("\n".join(["SMILES,a,b,year", *lines]) + "\n")
    values: dict[str, Any] = {
        "target_columns": ["a", "b"], "split_type": "time", "time_column": "year",
        "cache_dir": "none",
    }  # fmt: skip
    config = DataConfig.model_validate(values)
    table = load_molecules(config, str(tmp_path / "t.csv"))
    with pytest.raises(InputError, match=r"task 'b'.*--data.unlabelled-tasks drop"):
        split_table(table, config, 0)
    kept = split_table(table, config.model_copy(update={"unlabelled_tasks": "drop"}), 0)
    assert np.isfinite(kept.train.targets[:, 1]).sum() < 2
