from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from sampling_core import CurriculumConfig, CurriculumState, SamplingError
from sampling_core._curriculum import PHASES, resolve_phase_weights

EVEN = {"a": 1.0, "b": 1.0, "c": 1.0, "d": 1.0}


def test_defaults_go_by_name() -> None:
    weights = resolve_phase_weights(("low", "high", "medium"))
    assert list(weights) == ["warmup", "expand", "robust", "polish"]
    assert weights["warmup"] == {"low": 0.0, "high": 0.9, "medium": 0.1}
    assert weights["expand"] == {"low": 0.1, "high": 0.6, "medium": 0.3}
    assert weights["robust"] == {"low": 0.15, "high": 0.5, "medium": 0.35}
    assert weights["polish"] == {"low": 0.1, "high": 0.7, "medium": 0.2}


def test_own_labels_take_defaults_by_position() -> None:
    weights = resolve_phase_weights(("gold", "rest"))
    assert weights["warmup"] == {"gold": 0.9, "rest": 0.1}
    assert weights["expand"] == pytest.approx({"gold": 2 / 3, "rest": 1 / 3}, rel=1e-15)
    assert resolve_phase_weights(("only",))["polish"] == {"only": 1.0}


def test_given_phases_replace_the_defaults() -> None:
    weights = resolve_phase_weights(("gold", "rest"), {"polish": {"rest": 0, "gold": 2}})
    assert weights["polish"] == {"gold": 2.0, "rest": 0.0}
    assert weights["warmup"] == {"gold": 0.9, "rest": 0.1}


def test_many_labels_need_every_phase() -> None:
    assert resolve_phase_weights(tuple("abcd"), dict.fromkeys(PHASES, EVEN))["robust"] == EVEN
    with pytest.raises(SamplingError, match=r"4 qualities .* in phase 'expand'"):
        resolve_phase_weights(tuple("abcd"), {"warmup": EVEN})


@pytest.mark.parametrize(
    ("qualities", "weights", "message"),
    [
        ((), None, "expected a list of labels"),
        ("high", None, "expected a list of labels, found 'high'"),
        (("a", ""), None, "expected labels of text, found ''"),
        (("a", 1), None, "found 1"),
        (("a", "b", "a"), None, "each label once, found again a"),
        (("a",), {"warm-up": {"a": 1}}, "unknown phase 'warm-up'. Did you mean 'warmup'"),
        (("high", "low"), {"warmup": {"hihg": 1}}, "unknown label 'hihg'. Did you mean 'high'"),
        (("a", "b"), {"warmup": {"a": 1}}, r"phase_weights\['warmup'\]: no weight for 'b'"),
        (("a",), {"warmup": {"a": -1}}, "finite weight >= 0, found -1"),
        (("a",), {"warmup": {"a": float("nan")}}, "found nan"),
        (("a",), {"warmup": {"a": "1"}}, "found '1'"),
        (("a", "b"), {"robust": {"a": 0, "b": 0}}, r"\['robust'\]: expected a weight above 0"),
        (("a",), {"warmup": 1}, "expected a mapping, found 1"),
        (("a",), [1], "phase_weights: expected a mapping"),
    ],
)
def test_bad_weights_are_named(qualities: Any, weights: Any, message: str) -> None:
    with pytest.raises(SamplingError, match=message):
        resolve_phase_weights(qualities, weights)


def test_scripted_losses() -> None:
    state = CurriculumState(patience=2)
    script = [
        (1.0, "warmup"),
        (0.9, "warmup"),
        (0.9, "warmup"),  # equal is no improvement
        (0.95, "expand"),  # second in a row
        (0.93, "expand"),  # worse than the best, which the change kept
        (0.8, "expand"),  # better: counting starts anew
        (math.nan, "expand"),
        (math.inf, "robust"),
        (0.81, "robust"),
        (0.82, "polish"),
        (0.9, "polish"),
        (0.9, "polish"),
        (0.9, "polish"),  # never further
    ]
    changes = []
    for update, (loss, phase) in enumerate(script, start=1):
        if state.update(loss):
            changes.append((update, state.phase))
        assert state.phase == phase
        assert state.phase_index == PHASES.index(phase)
    assert changes == [(4, "expand"), (8, "robust"), (10, "polish")]
    assert state.history == changes
    assert state.best == 0.8


def test_improvement_must_exceed_min_delta() -> None:
    state = CurriculumState(patience=1, min_delta=0.5)
    assert not state.update(2.0)
    assert state.update(1.5)
    assert not state.update(1.4)


def test_losses_that_are_never_finite_move_on_too() -> None:
    state = CurriculumState(patience=2)
    assert [state.update(math.nan) for _ in range(4)] == [False, True, False, True]


def test_probabilities_are_scaled_weights() -> None:
    weights = {"warmup": {"a": 3.0, "b": 1.0}}
    state = CurriculumState(("a", "b"), phase_weights=weights)
    assert state.weights("warmup") == {"a": 3.0, "b": 1.0}
    assert state.sampling_probs() == {"a": 0.75, "b": 0.25}
    state.sampling_probs()["a"] = 9.0
    state.weights("warmup")["a"] = 9.0
    assert state.weights("warmup") == {"a": 3.0, "b": 1.0}


def test_default_probabilities_change_with_the_phase() -> None:
    state = CurriculumState(patience=1)
    assert state.sampling_probs() == {"high": 0.9, "medium": 0.1, "low": 0.0}
    state.update(math.nan)
    expected = pytest.approx({"high": 0.6, "medium": 0.3, "low": 0.1}, rel=1e-15)
    assert state.sampling_probs() == expected


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=30), st.integers(0, 30))
def test_restored_state_goes_on_alike(losses: list[float], cut: int) -> None:
    whole, part = CurriculumState(patience=2), CurriculumState(patience=2)
    for loss in losses[:cut]:
        part.update(loss)
    restored = CurriculumState(patience=2)
    # Strict JSON has no infinity.
    restored.load_state_dict(json.loads(json.dumps(part.state_dict(), allow_nan=False)))
    for loss in losses[cut:]:
        restored.update(loss)
    for loss in losses:
        whole.update(loss)
    assert restored.state_dict() == whole.state_dict()


def test_built_from_configuration() -> None:
    config = CurriculumConfig(qualities=["a", "b"], patience=3, min_delta=0.1, count_normalize=True)
    state = CurriculumState.from_config(config)
    assert (state.qualities, state.patience) == (("a", "b"), 3)
    assert (state.min_delta, state.count_normalize) == (0.1, True)
    assert CurriculumState.from_config(CurriculumConfig(phase_epochs=4)).phase_epochs == (4, 4, 4)
    with pytest.raises(ValidationError, match="phase_epochs: expected one number"):
        CurriculumConfig(phase_epochs=[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"patience": 0}, "patience: expected a whole number >= 1, found 0"),
        ({"patience": 1.5}, "patience"),
        ({"patience": True}, "patience"),
        ({"min_delta": -1.0}, "min_delta: expected a finite number >= 0"),
        ({"min_delta": math.nan}, "min_delta"),
        ({"phase_epochs": 0}, "phase_epochs: expected a whole number >= 1, found 0"),
        ({"phase_epochs": [1, 2]}, "phase_epochs: expected one number, or one for each of warmup"),
        ({"phase_epochs": [1, 2, 3, 4, 5]}, "found 5"),
        ({"phase_epochs": [1, 0, 3]}, "found 0"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SamplingError, match=message):
        CurriculumState(**arguments)


def test_a_fixed_schedule_follows_epochs_alone() -> None:
    state = CurriculumState(patience=1, phase_epochs=[1, 2, 1])
    phases = []
    for _ in range(6):
        assert not state.update(math.nan), "the loss moves nothing"
        state.end_epoch()
        phases.append(state.phase)
    assert phases == ["expand", "expand", "robust", "polish", "polish", "polish"]


def test_state_of_before_fixed_schedules_is_read() -> None:
    saved = CurriculumState(patience=2).state_dict()
    for key in ("epochs", "epochs_of_phase"):
        del saved[key]
    state = CurriculumState(patience=2)
    state.load_state_dict(saved)
    assert state.phase == "warmup"


def test_unknown_phase_is_named() -> None:
    with pytest.raises(SamplingError, match=r"unknown 'polsih'\. Did you mean 'polish'"):
        CurriculumState().weights("polsih")


@pytest.mark.parametrize(
    ("change", "message"),
    [({"phase": "warm"}, "unknown 'warm'. Did you mean 'warmup'"), ({"best": "x"}, "best")],
)
def test_bad_state_is_refused_and_changes_nothing(change: dict[str, Any], message: str) -> None:
    state = CurriculumState(patience=1)
    state.update(0.5)
    before = state.state_dict()
    with pytest.raises(SamplingError, match=message):
        state.load_state_dict(before | {"phase": "polish"} | change)
    assert state.state_dict() == before
    with pytest.raises(SamplingError, match="no 'phase', 'best', 'stale', 'updates', 'history'"):
        state.load_state_dict({})
