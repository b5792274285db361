from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sampling_core import (
    CurriculumState,
    DynamicCurriculumSampler,
    JointSampler,
    SamplingError,
    TaskAwareSampler,
)
from sampling_core import _targets as targets_module
from scipy.stats import chisquare

NAN = np.nan
QUALITIES = ("high", "medium", "low")
MODES = ("multiplicative", "hierarchical")
Peers = dict[str, Callable[..., np.ndarray[Any, Any]]]

pytestmark = pytest.mark.filterwarnings(
    "ignore:.* rows have no label", "ignore:phase .* gives every row of task"
)


def in_phase(number: int, **options: Any) -> CurriculumState:
    state = CurriculumState(patience=1, **options)
    state.update(0.0)
    for _ in range(number):
        assert state.update(0.0)
    return state


@st.composite
def tables(draw: st.DrawFn) -> tuple[np.ndarray[Any, Any], list[str]]:
    n_rows, n_tasks = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    cell = st.sampled_from([NAN, 1.0])
    rows = st.lists(cell, min_size=n_tasks, max_size=n_tasks)
    table = np.array(draw(st.lists(rows, min_size=n_rows, max_size=n_rows)))
    quality = draw(st.lists(st.sampled_from(QUALITIES), min_size=n_rows, max_size=n_rows))
    on = [not np.isnan(row).all() for row in table]
    assume({"high", "medium"} & {q for q, o in zip(quality, on, strict=True) if o})
    return table, quality


@settings(max_examples=200)
@given(
    table=tables(),
    mode=st.sampled_from(MODES),
    alpha=st.floats(0, 1),
    phase=st.integers(0, 3),
    normalize=st.booleans(),
    chunk=st.integers(1, 20),
)
def test_distribution_and_statistics_against_rows(
    dense_peers: Peers,
    table: tuple[np.ndarray[Any, Any], list[str]],
    mode: Any,
    alpha: float,
    phase: int,
    normalize: bool,
    chunk: int,
) -> None:
    targets, quality = table
    state = in_phase(phase, count_normalize=normalize)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(targets_module, "CHUNK_ENTRIES", chunk)
        sampler = JointSampler(targets, quality, state, alpha, mode, seed=0)
    p = dense_peers[mode](targets, alpha, quality, state.weights(state.phase), normalize=normalize)
    found = sampler.probabilities()
    # Some thirty roundings of 2^-53 on either side.
    np.testing.assert_allclose(found, p, rtol=1e-12, atol=0)
    assert found.sum() == pytest.approx(1.0, rel=1e-12)
    assert set(sampler.draws().tolist()) <= set(np.flatnonzero(p).tolist())
    statistics = sampler.statistics()
    on = p[p > 0]
    assert statistics.as_dict() == pytest.approx(
        {
            "min": p.min(),
            "max": p.max(),
            "entropy": -(on * np.log(on)).sum(),
            "effective_samples": 1 / (p**2).sum(),
            "n_rows": len(p),
            "n_drawable": len(on),
        },
        rel=1e-12,
        abs=1e-12,
    )


def expansionrx_like() -> tuple[np.ndarray[Any, Any], list[str]]:
    rng = np.random.default_rng(8)
    # Label rates of the nine ExpansionRx endpoints, times 600 rows.
    rates = [0.95, 0.96, 0.71, 0.85, 0.41, 0.41, 0.24, 0.18, 0.04]
    targets = np.where(rng.random((600, 9)) < rates, 1.0, NAN)
    return targets, rng.choice(QUALITIES, 600, p=[0.5, 0.3, 0.2]).tolist()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("phase", [0, 2])
def test_draws_follow_the_closed_form(dense_peers: Peers, mode: Any, phase: int) -> None:
    targets, quality = expansionrx_like()
    state = in_phase(phase)
    p = dense_peers[mode](targets, 0.6, quality, state.weights(state.phase))
    sampler = JointSampler(targets, quality, state, 0.6, mode, num_samples=300_000, seed=21)
    counts = np.bincount(list(sampler), minlength=len(p))
    assert not counts[p == 0].any()
    # A sound sampler fails once in 10^6 seeds.
    assert chisquare(counts[p > 0], 300_000 * p[p > 0]).pvalue > 1e-6


def test_one_part_alone_is_the_sampler_of_that_part() -> None:
    targets, quality = expansionrx_like()
    targets[np.isnan(targets).all(axis=1), 0] = 1.0
    tasks = TaskAwareSampler(targets, 0.4, seed=0).probabilities()
    joint = JointSampler(targets, task_alpha=0.4, composition_mode="hierarchical", seed=0)
    np.testing.assert_allclose(joint.probabilities(), tasks, rtol=1e-12)
    by_quality = DynamicCurriculumSampler(quality, CurriculumState(), seed=0).probabilities()
    joint = JointSampler(targets, quality, CurriculumState(), seed=0)
    np.testing.assert_allclose(joint.probabilities(), by_quality, rtol=1e-12)


def test_phase_change_changes_the_distribution() -> None:
    targets, quality = expansionrx_like()
    state = CurriculumState(patience=1)
    sampler = JointSampler(targets, quality, state, 0.5, num_samples=2000, seed=0)
    low = np.array(quality) == "low"
    assert not low[list(sampler)].any()
    before = sampler.statistics()
    running = iter(sampler)
    next(running)
    state.update(1.0)
    state.update(1.0)
    # Draws keep the weights that their iteration started with.
    assert not low[list(running)].any()
    assert low[list(sampler)].any()
    assert sampler.statistics().n_drawable > before.n_drawable


def test_equal_counts_leave_the_lowest_column_primary() -> None:
    targets = np.array([[1.0, 1.0, NAN], [1.0, 1.0, 1.0], [NAN, NAN, 1.0]])
    cells = JointSampler(targets, task_alpha=1.0, seed=0).cell_table()
    assert [(cell.task, cell.quality, cell.size) for cell in cells] == [(0, None, 2), (2, None, 1)]


def test_cell_table_covers_the_distribution() -> None:
    targets, quality = expansionrx_like()
    sampler = JointSampler(targets, quality, CurriculumState(), 0.5, "hierarchical", seed=0)
    cells = sampler.cell_table()
    assert sum(cell.probability for cell in cells) == pytest.approx(1.0, rel=1e-12)
    assert sum(cell.size for cell in cells) == np.count_nonzero(~np.isnan(targets))
    assert {cell.quality for cell in cells} == set(QUALITIES)


@pytest.mark.filterwarnings("error")
def test_rows_without_labels_are_counted_in_one_warning() -> None:
    targets = np.array([[NAN], [1.0], [NAN]])
    with pytest.warns(UserWarning, match="2 of 3 rows have no label") as caught:
        sampler = JointSampler(targets, ["high"] * 3, CurriculumState(), 0.5, seed=0)
    assert len(caught) == 1
    # A second warning would be an error here.
    list(sampler)
    assert sampler.probabilities().tolist() == [0.0, 1.0, 0.0]


@pytest.mark.filterwarnings("error")
def test_tasks_without_weight_in_a_phase_are_left_out() -> None:
    targets = np.array([[1.0, NAN], [NAN, 1.0]])
    state = CurriculumState(patience=1)
    sampler = JointSampler(targets, ["high", "low"], state, 0.5, "hierarchical", seed=0)
    with pytest.warns(UserWarning, match="phase 'warmup' gives every row of task 1 weight 0"):
        probabilities = sampler.probabilities()
    assert probabilities.tolist() == [1.0, 0.0]
    # A second warning would be an error here.
    list(sampler)
    state.update(1.0)
    state.update(1.0)
    np.testing.assert_allclose(sampler.probabilities(), [0.5, 0.5], rtol=1e-15)


@pytest.mark.parametrize("mode", MODES)
def test_phase_without_weight_is_refused(mode: Any) -> None:
    with pytest.raises(SamplingError, match=r"phase 'warmup'.*'low': 0\.0.*\{'low': 2\}"):
        JointSampler([[1.0], [2.0]], ["low", "low"], CurriculumState(), 0.5, mode)


def test_later_phase_without_weight_is_refused_at_once() -> None:
    weights = {"polish": {"high": 0.0, "medium": 0.0, "low": 1.0}}
    state = CurriculumState(phase_weights=weights)
    with pytest.raises(SamplingError, match="phase 'polish'"):
        JointSampler([[1.0]], ["high"], state)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"composition_mode": "multiplicativ"}, "Did you mean 'multiplicative'"),
        ({"composition_mode": "hierarchical"}, "task_alpha: .* needs a number"),
        ({"curriculum_state": CurriculumState()}, "a curriculum needs the quality"),
        ({"quality_labels": ["high"]}, "expected 2, one per row, found 1"),
        ({"task_alpha": NAN}, "task_alpha: expected a finite number"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SamplingError, match=message):
        JointSampler([[1.0], [2.0]], **arguments)
