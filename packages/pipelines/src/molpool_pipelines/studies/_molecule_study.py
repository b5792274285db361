"""What a study of molecules is to trees, to its identity and to its outer test."""

from __future__ import annotations

import hashlib

import numpy as np
from molpool_common import cache_folder

from molpool_pipelines.studies._kinds import (
    MOLECULE_FEATURES,
    FeatureRows,
    OuterTest,
    TabularFold,
    TabularStudy,
    molecule_features,
)
from molpool_pipelines.studies._molecules import (
    FoldScorer,
    InnerFold,
    StudyData,
    StudyOfMolecules,
    choose_metric,
)
from molpool_pipelines.studies._scoring import MacroScore
from molpool_pipelines.tables import (
    DataConfig,
    MoleculeTable,
    exact_labels,
    load_molecules,
    merge_duplicates,
    split_table,
)


def digest(data: StudyData) -> str:
    """Return a digest of all that trials see: no row of the outer test."""
    found = hashlib.sha256()
    for table in (data.rest, *(t for fold in data.folds for t in (fold.train, fold.val))):
        # Content rather than paths: the same table may lie elsewhere on another machine.
        found.update("\n".join([*table.task_names, *table.smiles]).encode())
        found.update(table.targets.tobytes())
        found.update("\n".join(table.quality or []).encode())
        if table.censoring is not None:
            found.update(table.censoring.tobytes())
    return found.hexdigest()


def study_score(config: StudyOfMolecules, data: StudyData) -> MacroScore:
    """Return the study's score, which tasks of another kind have no part in."""
    metric = choose_metric(config.study.metric, data.task_types)
    return MacroScore(
        tuple(metric.name if kind == metric.task_type else None for kind in data.task_types)
    )


def tabular_study(config: StudyOfMolecules, data: StudyData) -> TabularStudy:
    """Return rows and inner folds of a study of molecules; labels that are bounds are left out."""
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

    return TabularStudy(
        rest=_feature_rows(config.data, data.rest),
        folds=[rows(fold) for fold in data.folds],
        task_names=data.task_names,
        task_types=data.task_types,
        score=study_score(config, data),
        features=MOLECULE_FEATURES,
        scales=data.rest.scales,
    )


def outer_test(config: StudyOfMolecules) -> OuterTest:
    """Return the outer test of a study of molecules."""
    table = merge_duplicates(
        load_molecules(
            config.data,
            config.data_path,
            on_bad_smiles=config.on_bad_smiles,
            read=config.read,
        ),
        config.duplicates,
    )
    test = split_table(table, config.data, config.seed).test
    return OuterTest(_feature_rows(config.data, test), tuple(test.smiles))


def _feature_rows(config: DataConfig, table: MoleculeTable) -> FeatureRows:
    features = molecule_features(table.modelled, cache=cache_folder(config.cache_dir))
    return FeatureRows(features, exact_labels(table.targets, table.censoring))


def _keys(table: MoleculeTable) -> list[tuple[str, int]]:
    return list(table.origin.select("source", "row").iter_rows())
