"""A study of bags, checked and ready to be run, and what follows it."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from mil_attn import BagData, MILError, read_split_bags, task_columns
from molpool_common import Float32Array, cache_folder, check_readable, structures_of

from molpool_pipelines.datasets import sha256
from molpool_pipelines.fitting import check_machine
from molpool_pipelines.models import named_features
from molpool_pipelines.runs import REJECTED, TableRows
from molpool_pipelines.studies._kinds import (
    BAG_FEATURES,
    MOLECULE_FEATURES,
    FeatureRows,
    Numbers,
    OuterTest,
    StudyKind,
    TabularFold,
    TabularStudy,
    Values,
    median_best_epoch,
    molecule_features,
    pooled_features,
)
from molpool_pipelines.studies._scoring import MacroScore
from molpool_pipelines.studies._space import Space
from molpool_pipelines.studies._trials import Problem
from molpool_pipelines.studies.mil._config import HPOMILConfig
from molpool_pipelines.studies.mil._objective import (
    MILObjective,
    StudyBags,
    cached_bags,
    data_files,
    direction,
    metric_name,
)
from molpool_pipelines.studies.mil._space import (
    SECTIONS,
    mil_space,
    own_values,
    with_params,
    without_effect,
)
from molpool_pipelines.tables import TaskType


def mil_problem(config: HPOMILConfig) -> Problem:
    """Return what is tuned, after everything that can be wrong with it was looked at.

    Raises
    ------
    InputError, MILError
        If configuration, space, table or folds are wrong.
    """
    check_machine(config)
    _check_metric(config)
    for path in data_files(config):
        check_readable(path, "data_path")
    space = mil_space(config)
    cached_bags.cache_clear()  # of an earlier study on a table that has changed since
    with warnings.catch_warnings(record=True) as messages:
        warnings.simplefilter("always", UserWarning)
        bags = cached_bags(_json(config))
    return Problem(
        kind="mil",
        build=partial(build_objective, _json(config)),
        n_folds=len(bags.folds),
        metric=metric_name(config),
        direction=direction(config),
        space=space,
        defaults=own_values(config, list(space.parameters)),
        identity=_identity(config, space),
        resolve=partial(resolve, config),
        notes=(*bags.notes, *_notes(config, bags), *(str(w.message) for w in messages)),
        rejected=bags.rejected,
        rows=bags.rows,
        unset=_settings(HPOMILConfig()),
    )


def build_objective(config_json: str) -> MILObjective:
    """Return the objective of a configuration as JSON: what a worker process calls."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # printed once, when the study began
        bags = cached_bags(config_json)
    return MILObjective(HPOMILConfig.model_validate_json(config_json), bags)


def resolve(config: HPOMILConfig, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return a full configuration of `molpool-train mil` with the parameters of a trial.

    Its ``training.min_w`` is the weight that trials were compared by, so that the run's fold score
    is the study's score on other bags.
    """
    run = with_params(config.run, params)
    if config.score_weight is not None:
        # min_w enters no loss, only how a run's fold score is mixed.
        run.training.min_w = config.score_weight
    values: dict[str, Any] = run.model_dump(mode="json")
    # Alone, whatever stands beside it in a run of the same file: attention is what was tuned.
    return values | {"blend": {"models": ["attention"]}}


def _json(config: HPOMILConfig) -> str:
    return config.model_dump_json(exclude_unset=True)


def _check_metric(config: HPOMILConfig) -> None:
    own = "macro_plus_min" if config.task_kind == "classification" else "ma_rae"
    if config.study.metric not in (None, own):
        raise MILError(
            f"study.metric: expected {own!r}, what {config.task_kind} is tuned for here; found "
            f"{config.study.metric!r}."
        )


def _settings(config: HPOMILConfig) -> dict[str, Any]:
    """Return the settings that make two studies one."""
    run = config.run.model_dump(
        mode="json", exclude={"data_path", "thresholds", "threshold_metric", "export"}
    )
    data = run["data"]
    # Paths and machines may differ; the identity has digests of the files.
    for key in ("workers", "predict_path", "cache_dir", "features_3d", "features_2d"):
        del data[key]
    del data["aux_path"], data["test_path"]
    del run["split"]["fold_path"], run["training"]["accelerator"]
    return run


def _identity(config: HPOMILConfig, space: Space) -> dict[str, Any]:
    """Return what must stay while a study goes on: what no parameter sets, and the data."""
    of_study = config.study.model_dump(
        mode="json", include={"n_folds", "fold_type", "fold_column", "seed", "min_w"}
    )
    run = _settings(config)
    for section, name in product(SECTIONS, space.parameters):
        run[section].pop(name.rpartition("_t")[0] if name not in run[section] else name, None)
    # 16 digits distinguish files and keep messages of differences short.
    files = {path.name: sha256(path)[:16] for path in data_files(config)}
    return {**run, "study": of_study, "files": files}


def _notes(config: HPOMILConfig, bags: StudyBags) -> list[str]:
    rest = bags.rest
    notes = [
        f"{len(rest)} bags in {len(bags.folds)} inner folds ({config.study.fold_type}); "
        f"{bags.n_test} bags of the outer test are put away."
    ]
    if len(bags.rejected):
        notes.append(f"Left out {len(bags.rejected)} molecules without features ({REJECTED}).")
    n_tasks = len(task_columns(config.data, config))
    left_out = without_effect(config, n_tasks) if config.study.default_space else []
    if left_out:
        notes.append(f"Not sampled, since without effect here: {', '.join(left_out)}.")
    if config.task_kind == "classification" and n_tasks > 1:
        notes.append(_weight_note(config))
    return notes


def _weight_note(config: HPOMILConfig) -> str:
    weight = config.score_weight
    if weight is None:
        return (
            "min_w is sampled and weighs each trial's own score: since the worst task is never "
            "above the mean, a trial gains by a small one. Trials of different min_w are not "
            "compared like with like; study.min_w NUMBER compares all at one."
        )
    return (
        f"Trials are compared at min_w {weight:g}, whatever min_w a trial draws; its score at its "
        "own is recorded beside."
    )


def mil_tabular(config: HPOMILConfig) -> TabularStudy:
    """Return rows and inner folds of a study of bags.

    Molecules have Morgan counts and 2D descriptors; bags without SMILES mean, least and largest of
    each feature of their instances.
    """
    bags = cached_bags(_json(config))
    n_tasks = len(bags.rest.task_names)
    # Where ``min_w`` is sampled there is no one weight of the study.
    min_w = config.training.min_w if config.score_weight is None else config.score_weight
    return TabularStudy(
        rest=_feature_rows(config, bags.rest),
        folds=[TabularFold(f.train, f.test, np.ones(n_tasks, dtype=bool)) for f in bags.folds],
        task_names=tuple(bags.rest.task_names),
        task_types=(config.task_kind,) * n_tasks,
        score=_score(config.task_kind, n_tasks, min_w),
        scales=tuple(config.data.transform.get(t, "none") for t in bags.rest.task_names),
        features=BAG_FEATURES if bags.rest.smiles is None else MOLECULE_FEATURES,
    )


def mil_outer(config: HPOMILConfig) -> OuterTest:
    """Return the outer test of a study of bags."""
    describe_2d = partial(named_features, cache=config.data.cache_dir)
    found = read_split_bags(config, describe_2d=describe_2d)
    test = found.data.take(found.split.test)
    return OuterTest(_feature_rows(config, test), tuple(test.ids))


def _score(task_kind: TaskType, n_tasks: int, min_w: float) -> MacroScore:
    if task_kind == "regression":
        return MacroScore(("ma_rae",) * n_tasks)
    return MacroScore(("average_precision",) * n_tasks, min_w)


def _feature_rows(config: HPOMILConfig, bags: BagData) -> FeatureRows:
    assert bags.labels is not None
    return FeatureRows(_features(config, bags), np.asarray(bags.labels))


def _features(config: HPOMILConfig, bags: BagData) -> Float32Array:
    if bags.smiles is None:
        return pooled_features(bags)
    cache = cache_folder(config.data.cache_dir)
    seen = structures_of(bags.smiles, config.data.structure)
    return molecule_features(seen, cache=cache, workers=config.data.workers)


_THRESHOLD = "threshold "


def mil_kind(config: HPOMILConfig) -> StudyKind:
    """Return what retraining needs to know of a study of bags."""
    tasks = tuple(task_columns(config.data, config))
    return StudyKind(
        name="mil",
        tasks=tasks,
        seed=config.seed,
        resolve=partial(resolve, config),
        final=final_values,
        score=partial(_score_of_values, len(tasks)),
        tabular=partial(mil_tabular, config),
        outer=partial(mil_outer, config),
        join=join,
        rows=partial(_rows_now, config),
    )


def _rows_now(config: HPOMILConfig) -> TableRows:
    # A notebook may have read the table before it changed.
    cached_bags.cache_clear()
    return cached_bags(_json(config)).rows


def final_values(values: Values, folds: Sequence[Numbers]) -> Values:
    """Return the configuration that trains on all bags but those of the outer test.

    Nothing validates then: the number of epochs is the median over the inner folds of the best,
    and each decision threshold the median of those chosen on inner validation bags.

    Parameters
    ----------
    values : dict
        A full configuration.
    folds : sequence of mapping
        Numbers of each inner fold of the trial.
    """
    epochs = median_best_epoch(folds)
    training: Mapping[str, Any] = values["training"]
    return {
        **values,
        "split": {**values["split"], "val_ratio": 0},
        "training": {**training, "epochs": epochs or training["epochs"], "patience": None},
        "thresholds": {**_thresholds(folds), **values["thresholds"]},
    }


def _thresholds(folds: Sequence[Numbers]) -> dict[str, float]:
    names = [n for n in (folds[0] if folds else {}) if n.startswith(_THRESHOLD)]
    return {
        name.removeprefix(_THRESHOLD): float(np.median([fold[name] for fold in folds]))
        for name in names
    }


def _score_of_values(n_tasks: int, values: Values) -> MacroScore:
    return _score(values["task_kind"], n_tasks, float(values["training"]["min_w"]))


def join(runs: Sequence[Path], folder: Path) -> None:
    """Copy the models of run folders to ``member-000.pt`` and so on."""
    for i, run in enumerate(runs):
        shutil.copyfile(run / "model.pt", folder / f"member-{i:03d}.pt")
