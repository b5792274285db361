"""Names, ranges and defaults of the configuration against those of the search space."""

from __future__ import annotations

from typing import Any

import pytest
from mil_attn import MILConfig, MILError, MILModelConfig, search_space
from molpool_common import InputError, dump_config, load_config
from pydantic import ValidationError

RANGES: dict[str, tuple[float, float] | set[object]] = {
    "mol_hidden": {1024, 2048},
    "mol_layers": (2, 5),
    "mol_dropout": (0.10, 0.25),
    "inst_hidden": {256, 512, 1024},
    "inst_layers": (3, 5),
    "inst_dropout": (0.05, 0.15),
    "proj_dim": {512, 1024},
    "attn_heads": {8, 16},
    "attn_dropout": (0.05, 0.2),
    "mixer_hidden": {512, 1024},
    "mixer_layers": (3, 5),
    "mixer_dropout": (0.05, 0.2),
    "activation": {"GELU", "SiLU", "Mish", "ReLU", "LeakyReLU"},
    "lr": (8e-5, 8e-4),
    "weight_decay": (3e-6, 3e-4),
    "batch_size": {128, 256, 512},
    "accumulate_grad_batches": {8, 16},
    "posw_clip": (10, 200),
    "gamma": (0, 4),
    "rare_oversample_mult": (0, 200),
    "rare_prev_thr": (0.005, 0.05),
    "sample_weight_cap": (2, 20),
    "lam": (0.25, 3.0),
    "lam_floor": (0.25, 1.0),
    "lam_ceil": (1.0, 3.5),
    "reg_loss_type": {"mse"},
    "objective_mode": {"macro_plus_min"},
    "min_w": (0.1, 0.6),
}


class LowestTrial:
    """Draws the first choice and the lower bound."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        return low

    def suggest_int(self, name: str, low: int, high: int) -> int:
        return low

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        return choices[0]


@pytest.mark.parametrize("name", RANGES)
def test_defaults_lie_in_the_ranges_of_the_search(name: str) -> None:
    config = MILConfig()
    sections = (config.model, config.training, config.loss, config.sampling)
    (value,) = [getattr(s, name) for s in sections if name in type(s).model_fields]
    allowed = RANGES[name]
    if isinstance(allowed, set):
        assert value in allowed
    else:
        assert allowed[0] <= value <= allowed[1]


def test_the_preset_has_the_tasks_and_weights_of_its_source() -> None:
    config = MILConfig.preset("euos25")
    assert config.tasks == [
        "Transmittance_340",
        "Transmittance_450",
        "Fluorescence_340_450",
        "Fluorescence_more_than_480",
    ]
    assert {name: len(group.columns) for name, group in config.aux.items()} == {
        "abs": 2,
        "fluo": 4,
    }
    assert all(0.05 <= group.weight <= 0.5 for group in config.aux.values())
    with pytest.raises(MILError, match=r"preset: found 'euos'. Did you mean 'euos25'\?"):
        MILConfig.preset("euos")  # pyrefly: ignore[bad-argument-type]


def test_takes_every_parameter_of_the_search() -> None:
    trial: Any = LowestTrial()
    drawn = search_space(trial)
    config = MILConfig.preset("euos25").with_params(drawn)
    assert config.model.inst_hidden == 256
    assert config.training.lr == 8e-5
    assert config.loss.posw_clip == [10] * 4
    assert config.loss.lam == [0.25] * 4
    assert config.aux["abs"].weight == config.aux["fluo"].weight == 0.05
    assert config.sampling.rare_prev_thr == 0.005
    assert MILConfig.preset("euos25").model.inst_hidden == 512


def test_unknown_or_incomplete_parameters_are_named() -> None:
    with pytest.raises(MILError, match=r"found 'inst_hiden'. Did you mean 'inst_hidden'\?"):
        MILConfig().with_params({"inst_hiden": 256})
    with pytest.raises(MILError, match=r"found 'lambda_aux_abs'"):
        MILConfig().with_params({"lambda_aux_abs": 0.1})
    with pytest.raises(MILError, match=r"gamma_t: expected one for each task from 0; found \[1\]"):
        MILConfig().with_params({"gamma_t1": 1.0})
    with pytest.raises(InputError, match="lr: expected"):
        MILConfig().with_params({"lr": -1})


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        (MILModelConfig, {"inst_hidden": 100}, "divisor of inst_hidden 100; found 8"),
        (MILModelConfig, {"use_2d": False, "use_3d": False}, "at least one branch; found neither"),
        (MILModelConfig, {"top_k": 1}, "greater than or equal to 2"),
        (MILConfig, {"tasks": ["a", "a"]}, "each name once"),
        (MILConfig, {"tasks": ["a"], "loss": {"gamma": [1, 2]}}, r"one per task \(1\); found 2"),
        (MILConfig, {"loss": {"lam_floor": 3, "lam_ceil": 2}}, "at most lam_ceil 2; found 3"),
        (MILConfig, {"epochs": 3}, "Extra inputs are not permitted"),
    ],
)
def test_what_does_not_fit_is_refused(
    section: type[MILConfig], values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        section(**values)


def test_heads_need_not_divide_a_branch_that_is_not_used() -> None:
    assert MILModelConfig(use_3d=False, inst_hidden=100).inst_hidden == 100


def test_survives_yaml(tmp_path: Any) -> None:
    config = MILConfig.preset("euos25").with_params(
        {"gamma_t0": 1.5, "top_k": 4, **{f"gamma_t{t}": 2 for t in (1, 2, 3)}}
    )
    path = tmp_path / "mil.yaml"
    path.write_text(dump_config(config))
    assert load_config(MILConfig, path) == config


def test_few_bags_have_defaults_of_their_own_where_no_key_is_given() -> None:
    given = MILConfig.model_validate({"model": {"inst_hidden": 256}, "training": {"lr": 1e-3}})
    small = given.for_bags(90)
    assert small.size == "small"
    assert (small.model.inst_hidden, small.training.lr) == (256, 1e-3)
    assert small.model.mixer_hidden < MILConfig().model.mixer_hidden
    assert small.training.members > 1
    assert small.for_bags(10_000) == small
    assert MILConfig.model_validate(small.model_dump()).for_bags(90) == small
    large = given.for_bags(10_000)
    assert large == given.model_copy(update={"size": "large"})
    assert MILConfig(size="large").for_bags(90) == MILConfig(size="large")
    assert MILConfig(size="small").for_bags(10_000) == MILConfig().for_bags(90)
    few = MILConfig().for_bags(499)
    assert few == MILConfig().for_bags(90)
    for n in (500, 4999):
        medium = MILConfig().for_bags(n)
        assert medium == MILConfig(size="medium").for_bags(90)
        assert (medium.model, medium.loss) == (few.model, few.loss)
        # docs/mil.md: batches of 64 and three members, and the rest as of few bags.
        differs = {"batch_size": 64, "members": 3}
        assert medium.training == few.training.model_copy(update=differs)
    assert MILConfig().for_bags(5000) == MILConfig(size="large")


def test_a_default_that_does_not_go_with_what_is_given_is_named() -> None:
    config = MILConfig.model_validate({"model": {"attn_heads": 128}})
    with pytest.raises(InputError, match="attn_heads: expected a divisor of inst_hidden"):
        config.for_bags(90)
