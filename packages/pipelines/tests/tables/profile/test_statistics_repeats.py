from __future__ import annotations

import math
import statistics
from collections.abc import Callable

import pytest
from molpool_common import MoleculeTable
from molpool_pipelines.tables.profile._statistics import profile_repeats, profile_tasks

NAN = math.nan
SMILES = ["CCO", "OCC", "CCC", "CCC", "CCN", "CCN"]
TARGETS = [[1.0, NAN], [2.0, 5.0], [3.0, 4.0], [7.0, 4.0], [0.0, 1.0], [0.0, NAN]]


def test_conflicts_by_task_and_worst_first(make_table: Callable[..., MoleculeTable]) -> None:
    table = make_table(SMILES, TARGETS)
    profile = profile_repeats(table, profile_tasks(table))
    assert (profile.within.n_repeated, len(profile.within.conflicts)) == (4, 2)
    (task,) = profile.by_task
    assert (task.name, task.conflicts, task.largest_spread) == ("t0", 2, 4.0)
    sd = statistics.stdev([1, 2, 3, 7, 0, 0])
    assert task.median_spread == 2.5
    assert task.relative == pytest.approx(2.5 / sd, rel=1e-12)
    assert [c.smiles for c, _ in profile.worst] == ["CCC", "CCO"]
    assert [r for _, r in profile.worst] == pytest.approx([4 / sd, 1 / sd], rel=1e-12)


def test_across_puts_qualities_together(make_table: Callable[..., MoleculeTable]) -> None:
    table = make_table(SMILES, TARGETS, quality=["high", "low"] * 3)
    profile = profile_repeats(table, profile_tasks(table))
    assert profile.within.n_repeated == 0
    assert (profile.across.n_repeated, len(profile.across.conflicts)) == (4, 2)


def test_the_worst_are_as_many_as_asked(make_table: Callable[..., MoleculeTable]) -> None:
    table = make_table(SMILES, TARGETS)
    profile = profile_repeats(table, profile_tasks(table), n_worst=1)
    assert [c.smiles for c, _ in profile.worst] == ["CCC"]
