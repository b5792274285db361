"""Digests of tables: order-free, and what changed is told by row and task."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mil_attn import BagData
from molpool_common import InputError, MoleculeTable, RunFolder, SignArray
from molpool_pipelines.runs import TABLE_ROWS, TableRows, check_same_table

SMILES = ["CCO", "CCN", "CCO", "CCC", "CCCC"]
LABELS = np.array([[1.0, np.nan], [2.0, 0.0], [3.0, 1.0], [np.nan, 2.0], [-0.0, 3.0]])


def table(
    smiles: list[str] | None = None,
    labels: np.ndarray | None = None,
    *,
    times: list[str] | None = None,
    censoring: SignArray | None = None,
    names: list[str] | None = None,
) -> MoleculeTable:
    smiles = SMILES if smiles is None else smiles
    labels = LABELS if labels is None else labels
    n = len(smiles)
    origin = {
        "id": names or [str(i + 1) for i in range(n)],
        "source": ["t.csv"] * n,
        "row": list(range(1, n + 1)),
    }
    return MoleculeTable(
        task_names=("A", "B"),
        smiles=smiles,
        groups=smiles,
        targets=labels,
        quality=None,
        times=times,
        hold_out=np.ones(n, dtype=bool),
        origin=pl.DataFrame(origin),
        dropped=pl.DataFrame(),
        censoring=censoring,
    )


def rows(of: MoleculeTable, *, named: bool = False) -> TableRows:
    return TableRows.of_molecules(of, named=named)


@given(st.permutations(range(len(SMILES))))
def test_the_order_of_rows_counts_for_nothing(order: list[int]) -> None:
    first, other = rows(table()), rows(table().take(np.array(order)))
    assert first.digest == other.digest
    assert first.changes(other) == []


def test_the_order_of_instances_in_a_bag_counts_for_nothing() -> None:
    def read(instances: list[float]) -> TableRows:
        values = np.array(instances, dtype=np.float32)[:, None]
        bags = BagData(ids=["a", "b"], instances=values, offsets=np.array([0, 2, 4]))
        return TableRows.of_bags(bags, "t.csv", named=True, with_features=True)

    first = read([1, 2, 3, 4])
    assert first.changes(read([2, 1, 4, 3])) == []
    assert first.changes(read([1, 3, 2, 4])) == [
        "2 times, qualities or splits changed (row 1 'a', row 2 'b')"
    ]


def test_both_zeros_are_one_label() -> None:
    labels = LABELS.copy()
    labels[4, 0] = 0.0
    assert rows(table()).digest == rows(table(labels=labels)).digest


def test_a_label_of_zero_is_not_a_missing_one() -> None:
    labels = LABELS.copy()
    labels[1, 1] = np.nan
    assert rows(table()).changes(rows(table(labels=labels))) == ["1 labels of 'B' changed (row 2)"]


def test_rows_that_came_and_went_are_named() -> None:
    more = [*SMILES, "CCCCC"]
    labels = np.vstack([LABELS, [[7.0, 7.0]]])
    assert rows(table()).changes(rows(table(more, labels))) == ["1 rows added (row 6)"]
    assert rows(table(more, labels)).changes(rows(table())) == ["1 rows gone (row 6)"]


def test_one_more_repeat_of_a_molecule_is_a_row_more() -> None:
    again = table([*SMILES, "CCO"], np.vstack([LABELS, LABELS[:1]]))
    assert rows(table()).changes(rows(again))[0].startswith("1 rows added")


def test_a_row_inserted_above_moves_no_other() -> None:
    below = table(["CCCCC", *SMILES], np.vstack([[[7.0, 7.0]], LABELS]))
    assert rows(table()).changes(rows(below)) == ["1 rows added (row 1)"]


def test_changed_labels_are_told_by_task() -> None:
    labels = LABELS.copy()
    labels[3, 1] = 2.5
    labels[4] = [9.0, 9.0]
    assert rows(table()).changes(rows(table(labels=labels))) == [
        "1 labels of 'A' changed (row 5)",
        "2 labels of 'B' changed (row 4, row 5)",
    ]


def test_a_sign_is_part_of_its_label() -> None:
    signs = np.zeros(LABELS.shape, dtype=np.int8)
    assert rows(table()).digest == rows(table(censoring=signs)).digest
    signs[1, 0] = -1
    assert rows(table()).changes(rows(table(censoring=signs))) == [
        "1 labels of 'A' changed (row 2)"
    ]


def test_times_count_where_they_are_read() -> None:
    years = ["2020", "2021", "2022", "2023", "2024"]
    later = [*years[:4], "2030"]
    assert rows(table(times=years)).changes(rows(table(times=later))) == [
        "1 times, qualities or splits changed (row 5)"
    ]


def test_tasks_that_came_and_went() -> None:
    other = replace(table(), task_names=("A", "C"))
    assert rows(table()).changes(rows(other)) == ["task 'B' gone", "task 'C' added"]


def test_names_tell_rows_where_there_are_any() -> None:
    before, after = (table(names=list(n)) for n in ("abcde", "abcdf"))
    assert rows(before, named=True).changes(rows(after, named=True)) == [
        "1 rows added (row 5 'f')",
        "1 rows gone (row 5 'e')",
    ]


def test_the_file_is_read_back_and_holds_no_values(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run")
    written = rows(table())
    written.write(run)
    read = TableRows.read(run.path)
    assert read is not None
    assert read.digest == written.digest
    # The digest of a table is the same on every machine and in every version.
    assert read.digest == "c31b98fe327e6e893a3896f3646c21023db9cf9e804241b222d6b37204e5f624"
    frame = pl.read_parquet(run.path / TABLE_ROWS)
    assert frame.columns == ["source", "row", "id", "molecule", "other", "label A", "label B"]
    assert frame["label B"][0] == 0
    assert frame.select(pl.col("^label .*$")).dtypes == [pl.UInt64, pl.UInt64]


def test_a_changed_table_is_refused_with_the_flag_that_accepts_it(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run")
    now = rows(table([*SMILES, "C"], np.vstack([LABELS, [[7.0, 7.0]]])))
    # Of an earlier version, which left no digests.
    assert check_same_table(run.path, now, accept=False) == []
    rows(table()).write(run)
    with pytest.raises(InputError, match=r"1 rows added \(row 6\).*--accept-changed-table true"):
        check_same_table(run.path, now, accept=False)
    (note,) = check_same_table(run.path, now, accept=True)
    assert note == "The table has changed since the run was started: 1 rows added (row 6)."
    assert check_same_table(run.path, rows(table()), accept=False) == []
