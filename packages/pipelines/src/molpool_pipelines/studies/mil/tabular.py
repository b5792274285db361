"""Bags of a study as trees take them."""

from __future__ import annotations

import numpy as np
from mil_attn import BagData, read_bags
from mil_attn import split_bags as outer_split
from molpool_common import cache_folder
from numpy.typing import NDArray

from molpool_pipelines.studies.mil.config import HPOMILConfig
from molpool_pipelines.studies.mil.data import cached_bags
from molpool_pipelines.studies.scoring import MacroScore
from molpool_pipelines.studies.tabular import (
    BAG_FEATURES,
    MOLECULE_FEATURES,
    Outer,
    Side,
    Tabular,
    TabularFold,
    molecule_features,
    pooled_features,
)


def mil_tabular(config: HPOMILConfig) -> Tabular:
    """Return rows and inner folds of a study of bags.

    Molecules have Morgan counts and 2D descriptors; bags without SMILES mean, least and largest of
    each feature of their instances.
    """
    bags = cached_bags(config.model_dump_json())
    n_tasks = len(bags.rest.task_names)
    return Tabular(
        rest=_side(config, bags.rest),
        folds=[TabularFold(f.train, f.test, np.ones(n_tasks, dtype=bool)) for f in bags.folds],
        task_names=tuple(bags.rest.task_names),
        task_types=(config.task_kind,) * n_tasks,
        score=mil_score(config, n_tasks),
        features=BAG_FEATURES if bags.rest.smiles is None else MOLECULE_FEATURES,
    )


def mil_outer(config: HPOMILConfig) -> Outer:
    """Return the outer test of a study of bags."""
    assert config.data_path is not None
    bags = read_bags(config.data_path, config.data, config)
    test = bags.take(outer_split(bags, config).test)
    return Outer(_side(config, test), tuple(test.ids))


def mil_score(config: HPOMILConfig, n_tasks: int) -> MacroScore:
    """Return the study's score; where ``min_w`` is drawn, that of ``training.min_w``."""
    if config.task_kind == "regression":
        return MacroScore(("ma_rae",) * n_tasks)
    weight = config.score_weight
    return MacroScore(
        ("average_precision",) * n_tasks, config.training.min_w if weight is None else weight
    )


def _side(config: HPOMILConfig, bags: BagData) -> Side:
    assert bags.labels is not None
    return Side(_features(config, bags), np.asarray(bags.labels))


def _features(config: HPOMILConfig, bags: BagData) -> NDArray[np.float32]:
    if bags.smiles is None:
        return pooled_features(bags)
    cache = cache_folder(config.data.cache_dir)
    return molecule_features(bags.smiles, cache=cache, workers=config.data.workers)
