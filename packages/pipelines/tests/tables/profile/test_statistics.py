"""Statistics of tasks, duplicates, scaffolds and sampling, against hand counts and definitions."""

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
from molpool_pipelines.tables.profile._page import limits_note, scale_note
from molpool_pipelines.tables.profile._statistics import (
    ALPHAS,
    TaskProfile,
    overlap,
    profile_duplicates,
    profile_scaffolds,
    profile_tasks,
    quality_mix,
    sampling_settings,
    suggested_scale,
)

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


def test_classes_are_counted_and_have_no_frequent_values(make_table: MakeTable) -> None:
    (task,) = profile_tasks(make_table(SMILES, [[1], [0], [1], [1], [NAN]]))
    assert task.positives == 3
    assert task.frequent_values == []


def test_a_task_without_labels(make_table: MakeTable) -> None:
    full, empty = profile_tasks(make_table(SMILES, [[1.5, NAN]] * 5))
    assert (empty.labels, empty.molecules, empty.quantiles, empty.sd) == (0, 0, None, None)
    assert empty.positives is None
    assert [s.share for s in full.frequent_values] == [1.0]


def test_frequent_values_are_named_with_their_place(make_table: MakeTable) -> None:
    n = 40
    values = [0.3] * 8 + [2.0] * 5 + [9.0] * 6 + [3 + i / 10 for i in range(n - 19)]
    (task,) = profile_tasks(make_table(["C" * (i + 1) for i in range(n)], [[v] for v in values]))
    found = [(s.value, round(s.share * n), s.place, s.source) for s in task.frequent_values]
    assert found == [(0.3, 8, "floor", ""), (9.0, 6, "ceiling", ""), (2.0, 5, "inside", "")]


def test_limits_of_assays_are_said_with_the_share_that_stands_there(make_table: MakeTable) -> None:
    n = 100
    values = [150 * (i + 1) / 60 for i in range(60)] + [250.0] * 40
    table = make_table(
        ["C" * (i + 1) for i in range(n)], [[v, i % 2] for i, v in enumerate(values)]
    )
    said = limits_note(table, profile_tasks(table))
    assert said is not None
    assert "40 % of 100 labels at or above 250" in said
    table = table.of_tasks([1])
    assert limits_note(table, profile_tasks(table)) is None


def test_a_tenth_exactly_is_not_frequent(make_table: MakeTable) -> None:
    values = [0.0] * 4 + [float(i) for i in range(1, 37)]
    (task,) = profile_tasks(make_table(["C" * (i + 1) for i in range(40)], [[v] for v in values]))
    assert task.frequent_values == []


def test_a_floor_is_that_of_its_source(make_table: MakeTable) -> None:
    values = [5.0] * 5 + [6 + i for i in range(15)] + [float(i) for i in range(20)]
    table = make_table(
        ["C" * (i + 1) for i in range(40)],
        [[v] for v in values],
        sources=["a.csv"] * 20 + ["b.csv"] * 20,
    )
    (task,) = profile_tasks(table)
    assert [(s.value, s.share, s.place, s.source) for s in task.frequent_values] == [
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


REPEATED = ["CCO", "OCC", "CCC", "CCC", "CCN", "CCN"]
REPEATED_TARGETS = [[1.0, NAN], [2.0, 5.0], [3.0, 4.0], [7.0, 4.0], [0.0, 1.0], [0.0, NAN]]


def test_conflicts_by_task_and_worst_first(make_table: MakeTable) -> None:
    table = make_table(REPEATED, REPEATED_TARGETS)
    profile = profile_duplicates(table, profile_tasks(table))
    assert (profile.within.n_repeated, len(profile.within.conflicts)) == (4, 2)
    (task,) = profile.by_task
    assert (task.name, task.conflicts, task.largest_spread) == ("t0", 2, 4.0)
    sd = statistics.stdev([1, 2, 3, 7, 0, 0])
    assert task.median_spread == 2.5
    assert task.relative == pytest.approx(2.5 / sd, rel=1e-12)
    assert [c.smiles for c, _ in profile.worst] == ["CCC", "CCO"]
    assert [r for _, r in profile.worst] == pytest.approx([4 / sd, 1 / sd], rel=1e-12)


def test_across_puts_qualities_together(make_table: MakeTable) -> None:
    table = make_table(REPEATED, REPEATED_TARGETS, quality=["high", "low"] * 3)
    profile = profile_duplicates(table, profile_tasks(table))
    assert profile.within.n_repeated == 0
    assert (profile.across.n_repeated, len(profile.across.conflicts)) == (4, 2)


def test_the_worst_are_as_many_as_asked(make_table: MakeTable) -> None:
    table = make_table(REPEATED, REPEATED_TARGETS)
    profile = profile_duplicates(table, profile_tasks(table), n_worst=1)
    assert [c.smiles for c, _ in profile.worst] == ["CCC"]


def test_scaffolds_by_hand(make_table: MakeTable) -> None:
    # Toluene, in two spellings, and phenol on benzene; pyridine alone; ethanol without a ring.
    smiles = ["Cc1ccccc1", "c1ccccc1C", "Oc1ccccc1", "c1ccncc1", "CCO"]
    profile = profile_scaffolds(make_table(smiles, [[1.0]] * 5))
    assert (profile.n_molecules, profile.n_acyclic) == (4, 1)
    assert (profile.n_scaffolds, profile.n_singletons) == (2, 1)
    assert profile.largest == [("c1ccccc1", 2), ("c1ccncc1", 1)]


def test_only_the_largest_are_listed(make_table: MakeTable) -> None:
    smiles = ["c1ccccc1", "c1ccncc1", "C1CC1"]
    profile = profile_scaffolds(make_table(smiles, [[1.0]] * 3), n_largest=2)
    assert profile.n_scaffolds == 3
    assert len(profile.largest) == 2


TARGETS = np.array(
    [[1, NAN, NAN], [1, 1, NAN], [1, NAN, NAN], [NAN, 1, 1], [NAN, NAN, NAN], [1, NAN, NAN]]
)
ALKANES = ["C", "CC", "CCC", "CCCC", "CCCCC", "CCCCCC"]


def rows_multiplicative(alpha: float) -> np.ndarray:
    counts = np.isfinite(TARGETS).sum(axis=0)
    weights = []
    for row in TARGETS:
        own = counts[np.isfinite(row)]
        weights.append((own.min() + 1e-6) ** -alpha if own.size else 0.0)
    return np.array(weights) / sum(weights)


def rows_hierarchical(alpha: float) -> np.ndarray:
    held = np.isfinite(TARGETS)
    counts = held.sum(axis=0)
    p_task = counts**-alpha / (counts**-alpha).sum()
    p: np.ndarray = (held / counts * p_task).sum(axis=1)
    return p


def test_both_modes_at_every_alpha(make_table: MakeTable) -> None:
    settings = sampling_settings(make_table(ALKANES, TARGETS))
    assert [(s.mode, s.alpha) for s in settings] == [
        (mode, alpha) for mode in ("multiplicative", "hierarchical") for alpha in ALPHAS
    ]
    for setting in settings:
        rows = {"multiplicative": rows_multiplicative, "hierarchical": rows_hierarchical}
        p = rows[setting.mode](setting.alpha)
        # Closed forms over six rows: only rounding lies between.
        assert setting.effective_rows == pytest.approx(1 / (p**2).sum(), rel=1e-9)
        np.testing.assert_allclose(setting.task_share, p @ np.isfinite(TARGETS), rtol=1e-9)
        # Five rows have a label, and an epoch has as many draws.
        assert setting.distinct_rows == pytest.approx((1 - (1 - p) ** 5).sum(), rel=1e-9)


def test_alpha_0_of_the_multiplicative_mode_is_uniform(
    make_table: MakeTable,
) -> None:
    first = sampling_settings(make_table(ALKANES, TARGETS))[0]
    assert first.effective_rows == pytest.approx(5, rel=1e-12)


def test_one_labelled_row(make_table: MakeTable) -> None:
    (first, *_) = sampling_settings(make_table(["C", "CC"], [[1.0], [NAN]]))
    assert (first.effective_rows, first.distinct_rows) == (1.0, 1.0)


def test_no_label(make_table: MakeTable) -> None:
    assert sampling_settings(make_table(["C"], [[NAN]])) == []


@pytest.mark.parametrize(
    ("labels", "scale"),
    [
        (lambda z: z, "none"),
        (lambda z: 10**z, "log10"),
        (lambda z: np.maximum(10**z - 0.5, 0), "log10p1"),
        (lambda z: np.sinh(3 * z) + (z > 1.5) * 400, "asinh"),
        (lambda z: 1 / (1 + np.exp(4 - 2 * z)), "logit"),
        (lambda z: (z > 0).astype(float), "none"),
        (lambda z: 10 ** z[:20], "none"),
    ],
)
def test_a_scale_is_suggested_where_labels_have_a_tail(labels, scale) -> None:
    z = np.random.default_rng(0).normal(size=500)
    assert suggested_scale(labels(z)) == scale


def test_the_note_has_the_flag() -> None:
    tails = [
        TaskProfile("KSOL (uM)", 9, 9, None, None, None, [], scale="log10"),
        TaskProfile("LogD", 9, 9, None, None, None, []),
    ]
    said = scale_note(tails)
    assert said is not None
    assert said.endswith("--data.transform 'KSOL (uM)=log10'")
    assert scale_note(tails[1:]) is None
