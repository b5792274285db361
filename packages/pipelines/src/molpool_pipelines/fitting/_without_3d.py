"""What conformers bring: the same model without them, trained in the same way, on the same bags."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mil_attn import BagData, fit, predict
from molpool_common import METRICS, FloatArray, resampled_scores
from sampling_core import RarePositiveSampler

from molpool_pipelines.fitting._config import TrainMILConfig

_METRIC = {"classification": "roc_auc", "regression": "mae"}
_LABELS = {"roc_auc": "AUC", "mae": "MAE"}
_LEVEL = (0.025, 0.975)


def against_2d(
    config: TrainMILConfig,
    train: BagData,
    val: BagData | None,
    test: BagData,
    predicted: FloatArray,
    sampler: RarePositiveSampler | None,
) -> list[str]:
    """Train a model without conformers and say of each task what they bring.

    Parameters
    ----------
    config : TrainMILConfig
        Of a model with both branches; all but the branch of conformers is kept.
    train, val, test : BagData
        The bags of the run.
    predicted : ndarray [N, T]
        What its model says of the bags that test.
    sampler : RarePositiveSampler or None
        Draws as for the run; a new one.
    """
    model = config.model.model_copy(update={"use_3d": False})
    flat = config.model_copy(update={"model": model})
    held = None if val is None else without_instances(val)
    module = fit(flat, without_instances(train), held, sampler=sampler, seed=config.seed).module
    assert test.labels is not None
    both = np.stack([predicted, predict(module, without_instances(test))])
    return differences(test.labels, both, test.task_names, _METRIC[config.task_kind], test.ids)


def without_instances(data: BagData) -> BagData:
    """Return bags of 2D features alone."""
    return data.replace(
        instances=None, offsets=None, instance_ids=None, energies=None, feature_names_3d=()
    )


def differences(
    labels: FloatArray, both: FloatArray, tasks: Sequence[str], metric: str, ids: Sequence[str]
) -> list[str]:
    """Return a sentence a task on a model with conformers and one without.

    Parameters
    ----------
    labels : ndarray [N, T]
        NaN where missing.
    both : ndarray [2, N, T]
        Predictions with conformers, and without.
    tasks : sequence of str, length T
        Their names.
    metric : {"roc_auc", "mae"}
        What is compared.
    ids : sequence of str, length N
        Names of the bags.
    """
    scored = METRICS[metric]
    found = resampled_scores(labels, both, [[scored]] * len(tasks), keys=list(ids))
    said = []
    for t, task in enumerate(tasks):
        there = ~np.isnan(labels[:, t])
        drawn = found[t][metric]
        drawn = (drawn[:, 0] - drawn[:, 1])[~np.isnan(drawn).any(axis=1)]
        if not len(drawn):
            continue
        ours, flat = (scored(labels[there, t], p[there, t]) for p in both)
        low, high = np.quantile(drawn, _LEVEL)
        better = (low > 0) if scored.higher_is_better else (high < 0)
        verdict = "they help" if better else "they are not shown to help"
        said.append(
            f"{task}: {_LABELS[metric]} {ours:.3f} with conformers, {flat:.3f} from 2D features "
            f"alone ({ours - flat:+.3f}, {low:+.3f} to {high:+.3f}): {verdict}."
        )
    return said
