"""One trial's fold: attention over bags, trained and scored on inner rows alone."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from mil_attn import (
    BagData,
    EpochRecord,
    FitResult,
    MILRunConfig,
    average_precisions,
    fit,
    fold_score,
    macro_ma_rae,
    predict,
)
from sampling_core import RarePositiveSampler

from molpool_pipelines.studies.mil.config import HPOMILConfig
from molpool_pipelines.studies.mil.data import StudyBags
from molpool_pipelines.studies.mil.space import ends, mil_space, with_params
from molpool_pipelines.studies.objective import Direction, FoldResult, Tell


class MILObjective:
    """`mil_attn.fit` over inner folds; see `molpool_pipelines.studies.objective.Objective`.

    Scaling, standardisation of auxiliary targets, weights of positives and rare tasks come from the
    inner training bags; best epoch and decision thresholds from the inner validation bags. Bags of
    the outer test are not here at all.

    Parameters
    ----------
    config : HPOMILConfig
        Everything that no parameter sets.
    bags : StudyBags
        Bags and folds.
    """

    def __init__(self, config: HPOMILConfig, bags: StudyBags) -> None:
        self._base = config.run
        self._weight = config.score_weight
        self._threshold_metric = config.threshold_metric
        self._bags = bags
        self.n_folds = len(bags.folds)
        self.epochs_per_fold = most_epochs(config)
        self.direction: Direction = direction(config)
        self.metric = metric_name(config)

    def run_fold(self, params: Mapping[str, Any], fold: int, tell: Tell, seed: int) -> FoldResult:
        """Train on a fold's training bags, score its validation bags."""
        config: MILRunConfig = with_params(self._base, params)
        train, val = self._bags.fold(fold)
        score = self._scorer(config)
        with warnings.catch_warnings():
            # Tasks that a fold cannot score were named when the study began.
            warnings.filterwarnings("ignore", "validation: no positive label", UserWarning)
            result = fit(
                config,
                train,
                val,
                sampler=rare_positive_sampler(config, train, seed),
                on_epoch=lambda record: tell(record.epoch, score(record)),
                seed=seed,
                threshold_metric=self._threshold_metric,
            )
        best = result.records[result.best_epoch]
        return FoldResult(score(best), _numbers(result, val, config))

    def _scorer(self, config: MILRunConfig) -> Callable[[EpochRecord], float]:
        weight = config.training.min_w if self._weight is None else self._weight
        return lambda record: epoch_score(record, weight)


def epoch_score(record: EpochRecord, min_w: float) -> float:
    """Return the score of an epoch's validation: macro_plus_min AP, or the macro MA-RAE of values.

    Parameters
    ----------
    record : EpochRecord
        Of an epoch with validation.
    min_w : float
        Weight of the worst task.
    """
    if record.val_macro_ap is not None and record.val_min_ap is not None:
        return fold_score(record.val_macro_ap, record.val_min_ap, min_w)
    return float("nan") if record.val_macro_ma_rae is None else record.val_macro_ma_rae


def rare_positive_sampler(
    config: MILRunConfig, train: BagData, seed: int
) -> RarePositiveSampler | None:
    """Return what draws training bags with a rare positive more often; None: draw evenly."""
    if config.task_kind != "classification":
        return None
    section = config.sampling
    assert train.labels is not None
    return RarePositiveSampler.if_any_rare(
        train.labels,
        section.rare_prev_thr,
        section.rare_oversample_mult,
        section.sample_weight_cap,
        seed=seed,
    )


def _numbers(result: FitResult, val: BagData, config: MILRunConfig) -> dict[str, float]:
    best = result.records[result.best_epoch]
    numbers = {"best_epoch": result.best_epoch + 1.0, "epochs": float(len(result.records))}
    names = result.module.task_names
    p = predict(result.module, val)
    assert val.labels is not None
    if best.val_macro_ap is None or best.val_min_ap is None:
        for t, name in enumerate(names):
            error = macro_ma_rae(val.labels[:, [t]], p[:, [t]])
            numbers |= {} if error is None else {f"ma_rae {name}": error}
        return numbers
    numbers |= {"macro_ap": best.val_macro_ap, "min_ap": best.val_min_ap}
    drawn = config.training.min_w
    numbers["score at drawn min_w"] = fold_score(best.val_macro_ap, best.val_min_ap, drawn)
    by_task = average_precisions(val.labels, p, names, warn=False).by_task
    numbers |= {f"ap {name}": value for name, value in by_task.items() if value is not None}
    return numbers | {
        f"threshold {name}": float(value)
        for name, value in zip(names, result.module.thresholds, strict=True)
    }


def direction(config: HPOMILConfig) -> Direction:
    """Return which scores are better."""
    return "maximize" if config.task_kind == "classification" else "minimize"


def metric_name(config: HPOMILConfig) -> str:
    """Return the name of the score."""
    if config.task_kind == "regression":
        return "macro MA-RAE"
    weight = config.score_weight
    return f"macro_plus_min AP (min_w {'drawn' if weight is None else format(weight, 'g')})"


def most_epochs(config: HPOMILConfig) -> int:
    """Return the most epochs that a trial may train."""
    entry = mil_space(config).entries.get("epochs")
    return max(int(value) for value in ends(entry)) if entry else config.training.epochs
