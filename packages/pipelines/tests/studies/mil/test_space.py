"""The literature's search space, and what a user may do to it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from mil_attn import MILError
from molpool_common import InputError
from molpool_pipelines.studies.mil._config import HPOMILConfig
from molpool_pipelines.studies.mil._space import default_space, mil_space, own_values, with_params

MakeConfig = Callable[..., HPOMILConfig]
EUOS25 = {
    "tasks": [
        "Transmittance_340",
        "Transmittance_450",
        "Fluorescence_340_450",
        "Fluorescence_more_than_480",
    ],
    "aux": {"abs": {"columns": ["a", "b"]}, "fluo": {"columns": ["c", "d"]}},
}
FULL = HPOMILConfig.model_validate(EUOS25)

# The table of section 4 of the description of the model that the package follows, read by hand.
CHOICES = {
    "mol_hidden": {1024, 2048},
    "inst_hidden": {256, 512, 1024},
    "proj_dim": {512, 1024},
    "attn_heads": {8, 16},
    "mixer_hidden": {512, 1024},
    "activation": {"GELU", "SiLU", "Mish", "ReLU", "LeakyReLU"},
    "batch_size": {128, 256, 512},
    "accumulate_grad_batches": {8, 16},
    "reg_loss_type": {"mse"},
    "objective_mode": {"macro_plus_min"},
}
WHOLE = {"mol_layers": (2, 5), "inst_layers": (3, 5), "mixer_layers": (3, 5)}
LOG = {
    "lr": (8e-5, 8e-4),
    "weight_decay": (3e-6, 3e-4),
    **{f"posw_clip_t{t}": (10, 200) for t in range(4)},
    **{f"lam_t{t}": (0.25, 3.0) for t in range(4)},
}
LINEAR = {
    "mol_dropout": (0.10, 0.25),
    "inst_dropout": (0.05, 0.15),
    "attn_dropout": (0.05, 0.2),
    "mixer_dropout": (0.05, 0.2),
    **{f"gamma_t{t}": (0, 4) for t in range(4)},
    "rare_oversample_mult": (0, 200),
    "rare_prev_thr": (0.005, 0.05),
    "sample_weight_cap": (2.0, 20.0),
    "lam_floor": (0.25, 1.0),
    "lam_ceil": (1.0, 3.5),
    "lambda_aux_abs": (0.05, 0.5),
    "lambda_aux_fluo": (0.05, 0.5),
    "min_w": (0.1, 0.6),
}


class Drawn:
    """Draws as `optuna.Trial` does, without a study behind it."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def suggest_float(
        self, _name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        assert step is None
        if log:
            return float(np.exp(self._rng.uniform(np.log(low), np.log(high))).clip(low, high))
        return float(self._rng.uniform(low, high))

    def suggest_int(
        self, _name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        assert (step, log) == (1, False)
        return int(self._rng.integers(low, high + 1))

    def suggest_categorical(self, _name: str, choices: Sequence[Any]) -> Any:
        return choices[int(self._rng.integers(len(choices)))]


def test_ten_thousand_draws_stay_in_the_ranges_and_fill_them() -> None:
    space = mil_space(FULL)
    assert set(space.parameters) == {*CHOICES, *WHOLE, *LOG, *LINEAR}
    trial: Any = Drawn(0)
    draws = [space.suggest(trial) for _ in range(10_000)]
    for name, choices in CHOICES.items():
        assert {d[name] for d in draws} == choices, name
    for name, (low, high) in WHOLE.items():
        assert {d[name] for d in draws} == set(range(low, high + 1)), name
    for name, (low, high) in (LOG | LINEAR).items():
        values = np.array([d[name] for d in draws])
        assert low <= values.min(), name
        assert values.max() <= high, name
        # Of 10 000 even draws the mean is off the middle by more than 5 of its standard errors,
        # width / sqrt(12 n), in less than 1 of 10^6 columns.
        x, a, b = (
            (np.log(values), math.log(low), math.log(high)) if name in LOG else (values, low, high)
        )
        assert abs(x.mean() - (a + b) / 2) < 5 * (b - a) / math.sqrt(12 * len(x)), name
    assert all(d["inst_hidden"] % d["attn_heads"] == 0 for d in draws)
    assert all(d["lam_floor"] <= d["lam_ceil"] for d in draws)
    for values in draws[:200]:
        resolved = with_params(FULL.run, values)
        assert resolved.training.lr == values["lr"]
        assert resolved.loss.gamma == [values[f"gamma_t{t}"] for t in range(4)]
        assert resolved.aux["fluo"].weight == values["lambda_aux_fluo"]


def test_what_has_no_effect_is_not_drawn(config: MakeConfig) -> None:
    one = set(default_space(config(data={"kind": "bags", "target_columns": ["easy"]})))
    assert {"posw_clip_t0", "gamma_t0", "inst_hidden"} <= one
    assert not one & {"lam_t0", "lam_floor", "min_w", "mol_hidden", "lambda_aux_abs", "gamma_t1"}
    values = set(
        default_space(
            config(data={"kind": "bags", "target_columns": ["value"]}, task_kind="regression")
        )
    )
    assert not values & {"gamma_t0", "posw_clip_t0", "rare_oversample_mult", "min_w"}
    assert {"lr", "inst_dropout", "activation"} <= values


def test_dotted_paths_narrow_fix_and_add(config: MakeConfig) -> None:
    space = mil_space(
        config(
            space={
                "model.inst_hidden": {"choices": [64, 128]},
                "training.lr": {"low": 1e-4, "high": 1e-3, "log": True},
                "batch_size": 32,
                "loss.gamma": {"low": 0, "high": 2, "type": "float"},
                "top_k": {"choices": [2, 4], "when": {"model.pool_source": ["inputs"]}},
                "pool_source": {"choices": ["inputs", "attn_out"]},
            }
        )
    )
    assert "gamma_t0" not in space.parameters
    trial: Any = Drawn(1)
    draws = [space.suggest(trial) for _ in range(200)]
    assert {d["inst_hidden"] for d in draws} == {64, 128}
    assert {d["batch_size"] for d in draws} == {32}
    assert all(1e-4 <= d["lr"] <= 1e-3 for d in draws)
    assert all(("top_k" in d) == (d["pool_source"] == "inputs") for d in draws)
    assert all(isinstance(d["gamma"], float) for d in draws)


def test_space_from_nothing(config: MakeConfig) -> None:
    space = mil_space(
        config(space={"lr": {"low": 1e-4, "high": 1e-3}}, study={"default_space": False})
    )
    assert list(space.parameters) == ["lr"]


def test_first_trial_is_the_configuration(config: MakeConfig) -> None:
    made = config(loss={"gamma": [1.0, 3.0]}, training={"lr": 2e-4})
    space = mil_space(made)
    own = own_values(made, list(space.parameters))
    assert (own["gamma_t0"], own["gamma_t1"], own["posw_clip_t1"]) == (1.0, 3.0, 50.0)
    assert own["lr"] == 2e-4
    # The default of 16 is not a width that can be drawn: the nearest is.
    assert space.clip(own)["inst_hidden"] == 256


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"inst_hiden": 64}, "Did you mean 'inst_hidden'"),
        ({"training.lrr": 64}, "found 'lrr'. Did you mean 'lr'"),
        ({"attn_heads": {"choices": [8, 12]}}, "divisors of every inst_hidden, 256 .*found 12"),
        ({"inst_hidden": {"choices": [60]}}, "space.attn_heads: expected divisors of every"),
        ({"lam_floor": {"low": 0.5, "high": 2}}, "at most the least lam_ceil, 1; found 2"),
        ({"lr": {"low": -1, "high": 1}}, r"training\.lr"),
        ({"gamma_t5": {"low": 0, "high": 1}}, "gamma_t: expected one for each task"),
        ({"activation": {"choices": ["Tanh"]}}, "activation"),
    ],
)
def test_refuses(config: MakeConfig, space: dict[str, Any], message: str) -> None:
    with pytest.raises((InputError, MILError), match=message):
        mil_space(config(space=space))
