from __future__ import annotations

import math
import statistics
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from molpool_common import MoleculeTable
from molpool_pipelines.tables.profile._statistics import overlap, profile_tasks, quality_mix

NAN = math.nan
MakeTable = Callable[..., MoleculeTable]
SMILES = ["CCO", "OCC", "CCC", "CCN", "c1ccccc1"]


def test_numbers_of_a_task(make_table: MakeTable) -> None:
    values = [1.0, 3.0, NAN, 7.0, 2.0]
    (task,) = profile_tasks(make_table(SMILES, [[v] for v in values]))
    assert (task.labels, task.molecules) == (4, 3)
    assert task.quantiles is not None
    assert task.quantiles[[0, 2, 4]].tolist() == [1.0, 2.5, 7.0]
    assert task.sd == pytest.approx(statistics.stdev([1, 3, 7, 2]), rel=1e-12)
    assert task.positives is None


def test_classes_are_counted_and_have_no_spikes(make_table: MakeTable) -> None:
    (task,) = profile_tasks(make_table(SMILES, [[1], [0], [1], [1], [NAN]]))
    assert task.positives == 3
    assert task.spikes == []


def test_a_task_without_labels(make_table: MakeTable) -> None:
    full, empty = profile_tasks(make_table(SMILES, [[1.5, NAN]] * 5))
    assert (empty.labels, empty.molecules, empty.quantiles, empty.sd) == (0, 0, None, None)
    assert empty.positives is None
    assert [s.share for s in full.spikes] == [1.0]


def test_spikes_are_named_with_their_place(make_table: MakeTable) -> None:
    n = 40
    values = [0.3] * 8 + [2.0] * 5 + [9.0] * 6 + [3 + i / 10 for i in range(n - 19)]
    (task,) = profile_tasks(make_table(["C" * (i + 1) for i in range(n)], [[v] for v in values]))
    found = [(s.value, round(s.share * n), s.place, s.source) for s in task.spikes]
    assert found == [(0.3, 8, "floor", ""), (9.0, 6, "ceiling", ""), (2.0, 5, "inside", "")]


def test_a_tenth_exactly_is_no_spike(make_table: MakeTable) -> None:
    values = [0.0] * 4 + [float(i) for i in range(1, 37)]
    (task,) = profile_tasks(make_table(["C" * (i + 1) for i in range(40)], [[v] for v in values]))
    assert task.spikes == []


def test_a_floor_is_that_of_its_source(make_table: MakeTable) -> None:
    values = [5.0] * 5 + [6 + i for i in range(15)] + [float(i) for i in range(20)]
    table = make_table(
        ["C" * (i + 1) for i in range(40)],
        [[v] for v in values],
        sources=["a.csv"] * 20 + ["b.csv"] * 20,
    )
    (task,) = profile_tasks(table)
    assert [(s.value, s.share, s.place, s.source) for s in task.spikes] == [
        (5.0, 0.25, "floor", "a.csv")
    ]


def test_overlap_counts_molecules_once_over_their_rows(make_table: MakeTable) -> None:
    # Rows 0 and 1 are one molecule: its labels of t0 and t1 stand on different rows.
    table = make_table(
        SMILES,
        [[1, NAN, NAN], [NAN, 1, NAN], [1, 1, NAN], [1, NAN, NAN], [NAN, 1, NAN]],
    )
    assert overlap(table).tolist() == [[3, 2, 0], [2, 3, 0], [0, 0, 0]]


@given(hnp.arrays(float, (5, 3), elements=st.sampled_from([NAN, 1.0])))
def test_overlap_agrees_with_sets(make_table: MakeTable, targets: np.ndarray) -> None:
    table = make_table(SMILES, targets)
    held = [
        {g for g, v in zip(table.groups, column, strict=True) if not math.isnan(v)}
        for column in targets.T
    ]
    assert overlap(table).tolist() == [[len(a & b) for b in held] for a in held]


def test_quality_mix_by_task_best_first(make_table: MakeTable) -> None:
    table = make_table(
        SMILES,
        [[1, NAN], [1, 1], [NAN, 1], [1, 1], [1, NAN]],
        quality=["low", "high", "odd", "low", "medium"],
    )
    names, counts = quality_mix(table)
    assert names == ["high", "medium", "low", "odd"]
    assert counts.tolist() == [[1, 1, 2, 0], [1, 0, 1, 1]]


def test_a_table_without_quality(make_table: MakeTable) -> None:
    names, counts = quality_mix(make_table(["C"], [[1.0, 2.0]]))
    assert names == []
    assert counts.shape == (2, 0)
