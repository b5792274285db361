"""A space as declared: what is drawn, what is refused."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from molpool_common import ConfigModel, InputError
from molpool_pipelines.studies._space import Space, read_space
from pydantic import Field


class Inner(ConfigModel):
    rate: float = 0.1
    layers: int = 2
    weights: dict[str, float] = Field(default_factory=dict)


class Root(ConfigModel):
    inner: Inner = Field(default_factory=Inner)
    enabled: bool = True
    name: str | None = None


def draws(space: Space, n: int, base: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [space.suggest(study.ask(), base) for _ in range(n)]


class TestDraws:
    def test_ranges_choices_and_fixed_values(self) -> None:
        space = read_space(
            {
                "rate": {"low": "1e-4", "high": 1e-2, "log": True},
                "layers": {"low": 2, "high": 5},
                "even": {"low": 2, "high": 8, "step": 2},
                "size": {"choices": [300, 600]},
                "hidden": {"choices": [[1, 2], [3]]},
                "batch": 64,
            }
        )
        drawn = draws(space, 300)
        assert all(1e-4 <= d["rate"] <= 1e-2 for d in drawn)
        # Log-uniform: half below the geometric mean; 5 sd of 300 coins, 6e-7 to fail by chance.
        below = sum(d["rate"] < 1e-3 for d in drawn)
        assert abs(below - 150) < 5 * math.sqrt(75)
        assert {d["layers"] for d in drawn} == {2, 3, 4, 5}
        assert {d["even"] for d in drawn} == {2, 4, 6, 8}
        assert {d["size"] for d in drawn} == {300, 600}
        assert {tuple(d["hidden"]) for d in drawn} == {(1, 2), (3,)}
        assert {d["batch"] for d in drawn} == {64}
        assert space.sampled == ["rate", "layers", "even", "size", "hidden"]

    def test_condition_decides_what_is_drawn_whatever_the_order(self) -> None:
        space = read_space(
            {
                "deep": {"low": 0, "high": 9, "when": {"alpha": [0, 1], "on": True}},
                "alpha": {"low": 0, "high": 3, "when": {"on": True}},
                "on": {"choices": [True, False]},
            }
        )
        for drawn in draws(space, 100):
            assert ("alpha" in drawn) == drawn["on"]
            assert ("deep" in drawn) == (drawn.get("alpha") in (0, 1))

    def test_condition_on_what_the_configuration_says(self) -> None:
        space = read_space({"alpha": {"low": 0.0, "high": 1.0, "when": {"on": True}}})
        assert draws(space, 1, {"on": True})[0]
        assert not draws(space, 1, {"on": False})[0]
        assert not draws(space, 1, {"on": 1})[0]

    def test_configuration_says_what_is_a_whole_number(self) -> None:
        space = read_space(
            {
                "inner.rate": {"low": 0, "high": 1},
                "inner.layers": {"low": 1, "high": 3},
                "inner.weights.high": {"low": 0, "high": 1},
            },
            model=Root,
        )
        kinds = {name: parameter["type"] for name, parameter in space.describe().items()}
        assert kinds == {
            "inner.rate": "float", "inner.layers": "int", "inner.weights.high": "float",
        }  # fmt: skip


class TestOverDefaults:
    DEFAULT: ClassVar[dict[str, Any]] = {
        "rate": {"low": 0.001, "high": 0.1, "log": True, "when": {"on": True}},
        "on": {"choices": [True, False]},
    }

    def test_entry_replaces_another_but_keeps_kind_and_condition(self) -> None:
        space = read_space({"rate": {"low": 0, "high": 1}}, self.DEFAULT)
        assert space.describe()["rate"] == {
            "low": 0.0, "high": 1.0, "type": "float", "when": {"on": True},
        }  # fmt: skip
        free = read_space({"rate": {"low": 0, "high": 1, "when": {}}}, self.DEFAULT)
        assert "when" not in free.describe()["rate"]

    def test_value_fixes_a_parameter_under_its_condition(self) -> None:
        space = read_space({"rate": 0.5}, self.DEFAULT)
        assert {d.get("rate") for d in draws(space, 30) if d["on"]} == {0.5}
        assert {d.get("rate") for d in draws(space, 30) if not d["on"]} == {None}

    def test_description_reads_back_to_the_same_space(self) -> None:
        said = read_space({"k": {"low": 1, "high": 7, "step": 3}, "c": "x"}, self.DEFAULT)
        assert read_space(said.describe()).describe() == said.describe()


class TestClip:
    SPACE = read_space(
        {
            "rate": {"low": 0.1, "high": 1.0},
            "even": {"low": 2, "high": 9, "step": 2},
            "size": {"choices": [300, 600, 1200]},
            "kind": {"choices": ["a", "b"]},
            "batch": 64,
            "only_b": {"low": 1, "high": 2, "when": {"kind": "b"}},
        }
    )

    def test_nearest_point(self) -> None:
        own = {"rate": 7, "even": 12, "size": 700, "kind": "z", "batch": 1, "only_b": 5}
        assert self.SPACE.clip(own) == {
            "rate": 1.0, "even": 8, "size": 600, "kind": "a", "batch": 64,
        }  # fmt: skip

    @given(st.floats(-10, 10), st.integers(-5, 30))
    def test_point_is_of_the_space(self, rate: float, even: int) -> None:
        clipped = self.SPACE.clip({"rate": rate, "even": even})
        assert self.SPACE.check(clipped, "here") == clipped
        assert self.SPACE.clip(clipped) == clipped


BAD = [
    ({"x": {"low": 1}}, "space.x.high: expected a number; found None"),
    ({"x": {"low": 2, "high": 1}}, "space.x.low: expected at most high, 1; found 2"),
    ({"x": {"low": 0, "high": 1, "log": True}}, "more than 0 on a log scale; found 0"),
    ({"x": {"low": 0.5, "high": 2, "type": "int"}}, "whole low, high and step"),
    ({"x": {"low": 1, "high": 2, "step": 0}}, "a number above 0; found 0"),
    ({"x": {"low": 1, "high": 2, "logg": True}}, "found 'logg'. Did you mean 'log'?"),
    ({"x": {"choices": []}}, "a list of at least one value; found []"),
    ({"x": {"choices": [1, 1]}}, "each value once; found 1 twice"),
    ({"x": {"min": 1, "max": 2}}, "{low: …, high: …} or {choices: […]}; found a mapping of min"),
    ({"x": {"low": 1, "high": 2, "when": 3}}, "space.x.when: expected a mapping"),
    (
        {"x": {"choices": [1], "when": {"y": 1}}, "y": {"choices": [1], "when": {"x": 1}}},
        "conditions that end; found x -> y -> x",
    ),
]


class TestRefused:
    @pytest.mark.parametrize(("declared", "text"), BAD)
    def test_declaration(self, declared: dict[str, Any], text: str) -> None:
        with pytest.raises(InputError) as error:
            read_space(declared)
        assert text in str(error.value)

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("inner.ratee", "Did you mean 'inner.rate'?"),
            ("inner", "a section"),
            ("enabled.x", "expected a key of the configuration"),
        ],
    )
    def test_unknown_path(self, name: str, text: str) -> None:
        with pytest.raises(InputError, match=f"space.{name}") as error:
            read_space({name: {"low": 0, "high": 1}}, model=Root)
        assert text in str(error.value)

    def test_condition_on_an_unknown_path(self) -> None:
        with pytest.raises(InputError, match="Did you mean 'enabled'"):
            read_space({"inner.rate": {"low": 0, "high": 1, "when": {"enable": True}}}, model=Root)

    def test_enqueued_point_outside(self) -> None:
        space = read_space({"rate": {"low": 0.0, "high": 1.0}})
        with pytest.raises(InputError, match=r"trial 1: rate: expected .*'high': 1.0.*; found 2"):
            space.check({"rate": 2}, "trial 1")
        with pytest.raises(InputError, match=r"found 'rat'. Did you mean 'rate'"):
            space.check({"rat": 0.5}, "trial 1")
