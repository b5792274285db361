"""Every range, choice and scale of the study, held against 10 000 draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from mil_attn._config import MILConfig
from mil_attn._errors import MILError
from mil_attn.training._search_space import search_space

N = 10_000
LOG = True
# The document of the search space, section 4: (low, high, log) or the set of choices.
RANGES: dict[str, tuple[float, float, bool]] = {
    "mol_dropout": (0.10, 0.25, False),
    "inst_dropout": (0.05, 0.15, False),
    "attn_dropout": (0.05, 0.2, False),
    "mixer_dropout": (0.05, 0.2, False),
    "lr": (8e-5, 8e-4, LOG),
    "weight_decay": (3e-6, 3e-4, LOG),
    **{f"posw_clip_t{t}": (10, 200, LOG) for t in range(4)},
    **{f"gamma_t{t}": (0, 4, False) for t in range(4)},
    **{f"lam_t{t}": (0.25, 3.0, LOG) for t in range(4)},
    "rare_oversample_mult": (0, 200, False),
    "rare_prev_thr": (0.005, 0.05, False),
    "sample_weight_cap": (2.0, 20.0, False),
    "lam_floor": (0.25, 1.0, False),
    "lam_ceil": (1.0, 3.5, False),
    "lambda_aux_abs": (0.05, 0.5, False),
    "lambda_aux_fluo": (0.05, 0.5, False),
    "min_w": (0.1, 0.6, False),
}
CHOICES: dict[str, set[Any]] = {
    "mol_hidden": {1024, 2048},
    "mol_layers": {2, 3, 4, 5},
    "inst_hidden": {256, 512, 1024},
    "inst_layers": {3, 4, 5},
    "proj_dim": {512, 1024},
    "attn_heads": {8, 16},
    "mixer_hidden": {512, 1024},
    "mixer_layers": {3, 4, 5},
    "activation": {"GELU", "SiLU", "Mish", "ReLU", "LeakyReLU"},
    "batch_size": {128, 256, 512},
    "accumulate_grad_batches": {8, 16},
    "reg_loss_type": {"mse"},
    "objective_mode": {"macro_plus_min"},
}


class RandomTrial:
    """Draws as Optuna's RandomSampler does: uniform, uniform in the logarithm, or a choice."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        if log:
            return math.exp(self.rng.uniform(math.log(low), math.log(high)))
        return float(self.rng.uniform(low, high))

    def suggest_int(self, name: str, low: int, high: int) -> int:
        return int(self.rng.integers(low, high, endpoint=True))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return choices[int(self.rng.integers(len(choices)))]


@pytest.fixture(scope="module")
def drawn() -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [search_space(RandomTrial(rng)) for _ in range(N)]


def test_names(drawn: list[dict[str, Any]]) -> None:
    assert set(drawn[0]) == RANGES.keys() | CHOICES.keys()


@pytest.mark.parametrize("name", RANGES)
def test_ranges_are_filled_to_their_ends_on_their_scale(
    name: str, drawn: list[dict[str, Any]]
) -> None:
    low, high, log = RANGES[name]
    values = np.array([d[name] for d in drawn])
    assert values.min() >= low * (1 - 1e-12)
    assert values.max() <= high * (1 + 1e-12)
    unit = np.log(values / low) / np.log(high / low) if log else (values - low) / (high - low)
    # Of 10 000 uniform draws each end's 0.2 % stays empty once in e^20, the mean is off by
    # 0.02 (7 standard errors) as rarely; on the wrong scale it would be off by 0.09 or more.
    assert unit.min() < 0.002
    assert unit.max() > 0.998
    assert abs(unit.mean() - 0.5) < 0.02


@pytest.mark.parametrize("name", CHOICES)
def test_choices_are_all_drawn(name: str, drawn: list[dict[str, Any]]) -> None:
    assert {d[name] for d in drawn} == CHOICES[name]


def test_heads_divide_the_width(drawn: list[dict[str, Any]]) -> None:
    assert all(d["inst_hidden"] % d["attn_heads"] == 0 for d in drawn)


def test_what_is_drawn_is_a_configuration(drawn: list[dict[str, Any]]) -> None:
    preset = MILConfig.preset("euos25")
    for params in drawn[:200]:
        config = preset.with_params(params)
        assert config.model.inst_hidden == params["inst_hidden"]
        assert config.loss.lam == [params[f"lam_t{t}"] for t in range(4)]
        assert config.aux["fluo"].weight == params["lambda_aux_fluo"]


def test_names_follow_the_number_of_tasks() -> None:
    names = search_space(RandomTrial(np.random.default_rng(0)), n_tasks=2)
    assert [n for n in names if n.startswith("gamma_t")] == ["gamma_t0", "gamma_t1"]
    with pytest.raises(MILError, match="n_tasks"):
        search_space(RandomTrial(np.random.default_rng(0)), n_tasks=0)


def test_optuna_draws_from_it() -> None:
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(50):
        trial = study.ask()
        found = search_space(trial)
        assert found == trial.params
        study.tell(trial, 0.0)


@pytest.mark.parametrize("groups", [(), ("lab",), ("abs", "in vivo", "lr")])
def test_auxiliary_groups_are_those_of_the_configuration(groups: tuple[str, ...]) -> None:
    trial = RandomTrial(np.random.default_rng(0))
    params = search_space(trial, n_tasks=2, aux_groups=groups)
    aux = {group: {"columns": ["t"], "weight": 9.0} for group in groups}
    config = MILConfig.model_validate({"tasks": ["a", "b"], "aux": aux}).with_params(params)
    drawn = {group: params[f"lambda_aux_{group}"] for group in groups}
    assert {name: group.weight for name, group in config.aux.items()} == drawn
    assert config.training.lr == params["lr"]
