"""Molecules of a study as trees take them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from molpool_common import cache_folder

from molpool_pipelines.studies.chemprop.config import HPOChempropConfig
from molpool_pipelines.studies.chemprop.data import InnerFold, StudyData, read_study_data
from molpool_pipelines.studies.chemprop.scoring import FoldScorer, choose_metric
from molpool_pipelines.studies.scoring import MacroScore
from molpool_pipelines.studies.tabular import (
    MOLECULE_FEATURES,
    Outer,
    Side,
    Tabular,
    TabularFold,
    molecule_features,
)
from molpool_pipelines.tables import (
    DataConfig,
    MoleculeTable,
    exact_labels,
    load_molecules,
    merge_duplicates,
    split_table,
)


@lru_cache(maxsize=1)
def _read_again(config_json: str) -> StudyData:
    return read_study_data(HPOChempropConfig.model_validate_json(config_json))


def chemprop_score(config: HPOChempropConfig) -> MacroScore:
    """Return the study's score, which tasks of another kind have no part in."""
    data = _read_again(config.model_dump_json())
    metric = choose_metric(config.study.metric, data.task_types)
    return MacroScore(
        tuple(metric.name if kind == metric.task_type else None for kind in data.task_types)
    )


def chemprop_tabular(config: HPOChempropConfig) -> Tabular:
    """Return rows and inner folds of a study of molecules; labels that are bounds are left out."""
    data = _read_again(config.model_dump_json())
    metric = choose_metric(config.study.metric, data.task_types)
    place = {key: row for row, key in enumerate(_keys(data.rest))}

    def rows(fold: InnerFold) -> TabularFold:
        scorer = FoldScorer(metric, fold, data.task_types)
        scored = np.zeros(len(data.task_names), dtype=bool)
        scored[list(fold.columns)] = [n not in scorer.left_out for n in fold.val.task_names]
        train, val = (
            np.array([place[key] for key in _keys(table)], dtype=np.int64)
            for table in (fold.train, fold.val)
        )
        return TabularFold(train, val, scored)

    return Tabular(
        rest=_side(config.data, data.rest),
        folds=[rows(fold) for fold in data.folds],
        task_names=data.task_names,
        task_types=data.task_types,
        score=chemprop_score(config),
        features=MOLECULE_FEATURES,
    )


def chemprop_outer(config: HPOChempropConfig) -> Outer:
    """Return the outer test of a study of molecules."""
    table = merge_duplicates(
        load_molecules(config.data, config.data_path, on_bad_smiles=config.on_bad_smiles),
        config.duplicates,
    )
    test = split_table(table, config.data, config.seed).test
    return Outer(_side(config.data, test), tuple(test.smiles))


def _side(config: DataConfig, table: MoleculeTable) -> Side:
    features = molecule_features(table.smiles, cache=cache_folder(config.cache_dir))
    return Side(features, exact_labels(table.targets, table.censoring))


def _keys(table: MoleculeTable) -> list[tuple[str, int]]:
    return list(table.origin.select("source", "row").iter_rows())
