"""The configurations that the project's documents show, and the shipped ones, as files.

Written anew and shortened: every key of the documents is here, with the values that they give it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from molpool_common import read_yaml, validate_config
from molpool_pipelines.fitting import TrainChempropConfig, TrainMILConfig
from molpool_pipelines.migration._migrate import migrate_text
from sampling_core import JointSamplingConfig, migrate_legacy

CONFIGS = Path(__file__).parents[4] / "configs"

SEPARATE = """\
optimization:
  task_sampling_alpha: 0.1  # by task
curriculum:
  enabled: false  # not in production
  quality_col: "Quality"
  qualities: ["high", "medium", "low"]
"""
UNIFIED = """\
sampling:
  enabled: true
  task_oversampling: {enabled: true, alpha: 0.3}
  curriculum:
    enabled: true
    quality_col: "Quality"
    qualities: ["high", "medium", "low"]
    patience: 5
    strategy: "sampled"  # or "weighted"
    reset_early_stopping_on_phase_change: false
  composition_mode: "multiplicative"
  seed: 42
  increment_seed_per_epoch: true
  log_weight_statistics: true
  log_to_mlflow: true
"""
GROUPED = """\
model:
  type: "chemprop"
  message_passing: {depth: 4, hidden_size: 400, dropout: 0.1}
  ffn: {num_layers: 3, hidden_size: 400, dropout: 0.1}
task_affinity:
  enabled: true
  n_groups: 4
  clustering_method: "agglomerative"
  affinity_epochs: 2
  affinity_batch_size: 32
  affinity_lr: 0.0005
  affinity_type: "cosine"
  normalize_gradients: true
  encoder_param_patterns: []
  device: "cuda"
  seed: 42
  log_affinity_matrix: true
training:
  {epochs: 100, batch_size: 64, learning_rate: 0.001, warmup_epochs: 5, max_lr: 0.001,
   final_lr: 0.0001}
data:
  smiles_column: "SMILES"
  target_columns: ["LogD", "KSOL", "PAMPA", "Papp", "hERG", "CYP3A4", "CLint", "CLhep"]
  split_type: "scaffold"
  split_ratios: [0.8, 0.1, 0.1]
"""
BAGS = """\
data: {kind: smiles}
model: {mol_hidden: 1024, inst_hidden: 512, attn_heads: 8, mixer_hidden: 512}
training: {lr: 0.0003, weight_decay: 0.00003, batch_size: 128, accumulate_grad_batches: 8}
loss: {posw_clip: 50.0, gamma: [2.0, 2.0, 2.0, 2.0], lam: 1.0, lam_floor: 0.5, lam_ceil: 2.0}
"""
BAG_SAMPLING = """\
sampling:
  rare_oversample_mult: 20.0
  rare_prev_thr: 0.02
  sample_weight_cap: 10.0
"""
# What an early schema left empty.
NULLS = {
    "alpha": "optimization:\n  task_sampling_alpha: null\n",
    "alpha in braces": "optimization: {task_sampling_alpha: null}\n",
    "alpha, empty": "optimization:\n  task_sampling_alpha:   # off\n",
    "alpha beside a curriculum": "optimization:\n  task_sampling_alpha: ~\ncurriculum:\n"
    "  enabled: true\n  patience: null\n",
    "section": "optimization:\n",
    "all sections": "sampling: null\ncurriculum: null\noptimization: null\n",
    "keys of a curriculum": "curriculum:\n  enabled: true\n  quality_col: null\n  qualities: null\n"
    "  patience: null\n  strategy: null\n  reset_early_stopping_on_phase_change: null\n"
    "  count_normalize: null\n",
    "keys of sampling": "sampling:\n  enabled: true\n  task_oversampling: null\n"
    "  curriculum: null\n"
    "  composition_mode: null\n  num_samples: null\n  increment_seed_per_epoch: null\n"
    "  log_weight_statistics: null\n  log_to_mlflow: null\n",
    "alpha of sampling": "sampling:\n  enabled: true\n  task_oversampling:\n    alpha: null\n"
    "    enabled: null\n",
    "beside joint_sampling": "optimization:\n  task_sampling_alpha: null\n"
    "joint_sampling:\n  enabled: true\n",
    "joint_sampling itself": "joint_sampling: null\n",
}


def train(text: str, path: Path) -> TrainChempropConfig:
    """Return the configuration that `molpool-train chemprop` reads."""
    path.write_text(text)
    document = read_yaml(path)
    data, _ = migrate_legacy(document.data)
    return validate_config(TrainChempropConfig, type(document)(data, path.name))


@pytest.mark.parametrize(
    "text", [SEPARATE, UNIFIED, GROUPED, SEPARATE + GROUPED, UNIFIED + GROUPED]
)
def test_a_migrated_example_means_what_it_meant(text: str, tmp_path: Path) -> None:
    path = tmp_path / "example.yaml"
    before = train(text, path)
    outcome = migrate_text(path)
    assert outcome.state == ("unchanged" if text == GROUPED else "migrated")
    assert train(outcome.after, path) == before
    assert migrate_text(path).state == "unchanged", "nothing is left to migrate"


@pytest.mark.parametrize("sampling", ["", BAG_SAMPLING, "sampling: {}\n", "sampling:\n"])
def test_bags_keep_their_own_sampling(sampling: str, tmp_path: Path) -> None:
    path = tmp_path / "bags.yaml"
    path.write_text(BAGS + sampling)
    outcome = migrate_text(path)
    assert (outcome.state, outcome.after) == ("unchanged", BAGS + sampling)
    path.write_text(BAG_SAMPLING)
    assert migrate_text(path).state == "unchanged"


@pytest.mark.parametrize("name", NULLS)
def test_null_is_as_absent(name: str, tmp_path: Path) -> None:
    path = tmp_path / "nulls.yaml"
    text = NULLS[name]
    read = train(text, path)
    without = train(yaml.safe_dump(_without_nulls(yaml.safe_load(text))), tmp_path / "without.yaml")
    assert read == without
    outcome = migrate_text(path)
    assert train(outcome.after, path) == read
    assert migrate_text(path).state == "unchanged"
    if "optimization" in text:
        assert outcome.state == "migrated"
        assert "optimization" not in outcome.after


def _without_nulls(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    kept = {k: _without_nulls(v) for k, v in value.items() if v is not None}
    return {k: v for k, v in kept.items() if v != {}}


FIELDS = [name for name in JointSamplingConfig.model_fields if name != "seed"]


@given(st.sets(st.sampled_from(FIELDS)))
@settings(max_examples=40)
def test_any_null_of_joint_sampling_is_its_default(names: set[str]) -> None:
    assert JointSamplingConfig.model_validate(dict.fromkeys(names)) == JointSamplingConfig()


def test_a_null_seed_keeps_its_meaning() -> None:
    assert JointSamplingConfig.model_validate({"seed": None}).seed is None


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda p: p.name)
def test_what_ships_has_nothing_to_migrate(path: Path) -> None:
    assert migrate_text(path).state == "unchanged"


def test_bags_of_the_shipped_example_are_recognised() -> None:
    document = read_yaml(CONFIGS / "mil_euos25.yaml")
    assert validate_config(TrainMILConfig, document)
    assert migrate_text(CONFIGS / "mil_euos25.yaml").notes == []
