from __future__ import annotations

from typing import Any

import pytest
from sampling_core import SamplingError
from sampling_core.phases import PHASES, resolve_phase_weights

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
        (("a",), {"warm-up": {"a": 1}}, "unknown phase 'warm-up'; did you mean 'warmup'"),
        (("high", "low"), {"warmup": {"hihg": 1}}, "unknown label 'hihg'; did you mean 'high'"),
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
