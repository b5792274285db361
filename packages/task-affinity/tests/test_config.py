from __future__ import annotations

from pathlib import Path

import pytest
from molpool_common import InputError, dump_config, load_config, validate_values
from task_affinity import TaskAffinityConfig

SEED_DEFAULTS = {  # the "Configuration Parameters" of the seed, key by key
    "enabled": False,
    "n_groups": 3,
    "affinity_epochs": 1,
    "affinity_batch_size": 64,
    "affinity_lr": 1e-3,
    "affinity_type": "cosine",
    "normalize_gradients": True,
    "clustering_method": "agglomerative",
    "encoder_param_patterns": [],
    "device": "auto",
    "seed": 42,
    "log_affinity_matrix": True,
}

SEED_ADVANCED = {  # "Configuration with all parameters explicitly set"
    "enabled": True,
    "n_groups": 4,
    "affinity_epochs": 2,
    "affinity_batch_size": 32,
    "affinity_lr": 0.0005,
    "affinity_type": "cosine",
    "normalize_gradients": True,
    "clustering_method": "agglomerative",
    "encoder_param_patterns": [],
    "device": "cuda:0",
    "seed": 123,
    "log_affinity_matrix": True,
}


def test_defaults_are_the_seeds() -> None:
    values = TaskAffinityConfig().model_dump()
    assert {key: values[key] for key in SEED_DEFAULTS} == SEED_DEFAULTS


@pytest.mark.parametrize(
    "values",
    [
        SEED_ADVANCED,
        {"affinity_type": "lookahead", "clustering_method": "tag", "n_groups": "auto"},
        {"estimator": "probe", "n_probes": 32, "gradient_scope": "representation"},
    ],
)
def test_yaml_round_trip(values: dict[str, object], tmp_path: Path) -> None:
    config = TaskAffinityConfig.model_validate(values)
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config))
    assert load_config(TaskAffinityConfig, path) == config
    assert values.items() <= config.model_dump().items()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n_groups": 0}, "n_groups.*1 to that of tasks"),
        ({"n_groups": "many"}, "n_groups"),
        ({"affinity_epochs": 0}, "affinity_epochs"),
        ({"affinity_batch_size": 0}, "affinity_batch_size"),
        ({"affinity_lr": 0.0}, "affinity_lr"),
        ({"affinity_type": "euclidean"}, "affinity_type.*cosine"),
        ({"every_n_steps": 0}, "every_n_steps"),
        ({"n_probes": 0}, "n_probes"),
        ({"device": "gpu"}, "device"),
        ({"n_group": 2}, "n_groups"),
        ({"affinity_type": "lookahead", "estimator": "probe"}, "'exact' or 'auto'"),
        ({"affinity_type": "lookahead", "clustering_method": "spectral"}, "symmetric"),
    ],
)
def test_out_of_range(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        validate_values(TaskAffinityConfig, values)


def test_defaults_are_no_more_than_there_is() -> None:
    config = TaskAffinityConfig()
    assert (config.n_groups_of(2), config.n_groups_of(9)) == (2, 3)
    assert (config.batch_size_of(40), config.batch_size_of(400)) == (40, 64)
    assert TaskAffinityConfig(affinity_batch_size=50).batch_size_of(40) == 50
