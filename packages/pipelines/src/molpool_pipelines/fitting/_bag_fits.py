"""Models of bags out of fold, and what share each has in what predicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from mil_attn import BagData, MILError, decision_thresholds
from molpool_common import (
    FloatArray,
    InputError,
    IntArray,
    Split,
    TaskType,
    UndefinedMetricError,
    mae,
    roc_auc,
    told,
)
from multitask_models import ModelError

from molpool_pipelines.models import (
    BagMember,
    BagMemberName,
    bag_member_words,
    blend_weights,
    mix,
)

FitMember = Callable[[BagMemberName, BagData, Split], BagMember]
"""Fits a model to the bags of a fold that train, and by those that validate."""

_LEAST_SHARE = 0.05
"""Mean share below which a network of attention is not worth its time, nor its explanation."""


@dataclass(frozen=True)
class OutOfFold:
    """What M models say of N bags that they were not fitted to.

    Parameters
    ----------
    names : tuple of str, length M
        The models.
    mean, sd : ndarray [M, N, T]
        NaN for bags that no fold tests, and where a model has no sd.
    notes : tuple of str
        What was left out, and why.
    """

    names: tuple[BagMemberName, ...]
    mean: FloatArray
    sd: FloatArray
    notes: tuple[str, ...] = ()

    def mixed(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return what the models say together, mean and sd [N, T]."""
        return mix(self.mean, self.sd, weights)

    def only(self, kept: Sequence[int]) -> OutOfFold:
        """Return some of the models."""
        at = list(kept)
        names = tuple(self.names[i] for i in at)
        return OutOfFold(names, self.mean[at], self.sd[at], self.notes)


def out_of_fold(
    names: Sequence[BagMemberName],
    data: BagData,
    folds: Sequence[Split],
    fit: FitMember,
    known: Mapping[BagMemberName, tuple[FloatArray, FloatArray]] | None = None,
    keep: Callable[[BagMemberName, FloatArray, FloatArray], None] = lambda *_: None,
) -> OutOfFold:
    """Predict each bag by models of the folds that do not hold it.

    Parameters
    ----------
    names : sequence of str
        The models.
    data : BagData
        N labelled bags.
    folds : sequence of Split
        Of these bags; train and val of a fold are fitted to.
    fit : callable
        Fits a model.
    known : mapping of str to (ndarray, ndarray), optional
        What models are known to say, mean and sd.
    keep : callable
        Given what each of the others says.

    Raises
    ------
    MILError, InputError, ModelError
        If no model can be fitted: that of the first.
    """
    said, notes = dict(known or {}), []
    first: Exception | None = None
    for name in [name for name in names if name not in said]:
        try:
            said[name] = _one_out_of_fold(name, data, folds, fit)
        except (MILError, InputError, ModelError) as error:
            first = first or error
            notes.append(f"Left out, {bag_member_words(name)}: {error}")
            continue
        keep(name, *said[name])
    fitted = tuple(name for name in names if name in said)
    if not fitted:
        assert first is not None
        raise first
    means, sds = (np.stack([said[name][i] for name in fitted]) for i in range(2))
    return OutOfFold(fitted, means, sds, tuple(notes))


def _one_out_of_fold(
    name: BagMemberName,
    data: BagData,
    folds: Sequence[Split],
    fit: FitMember,
) -> tuple[FloatArray, FloatArray]:
    mean, sd = (np.full((len(data), len(data.task_names)), np.nan) for _ in range(2))
    for fold in told(folds, f"Out of fold, {bag_member_words(name)}", len(folds), "folds"):
        mean[fold.test], sd[fold.test] = fit(name, data, fold).predict_with_sd(data.take(fold.test))
    return mean, sd


def choose(
    tried: OutOfFold, labels: FloatArray, kind: TaskType, how: str
) -> tuple[OutOfFold, FloatArray, list[str]]:
    """Return the models that predict, their weights [M, T], and what is to be said of it.

    Parameters
    ----------
    tried : OutOfFold
        All models.
    labels : ndarray [N, T]
        NaN where missing.
    kind : {"regression", "classification"}
        What they are.
    how : {"fitted", "equal"}
        How models are mixed.
    """
    kinds = (kind,) * labels.shape[1]
    m = len(tried.names)
    if how == "equal":
        return tried, np.full((m, len(kinds)), 1 / m), [*tried.notes, scores(tried, labels, kind)]
    weights = blend_weights(labels, tried.mean, kinds)
    said = [*tried.notes, scores(tried, labels, kind)]
    kept = [i for i in range(m) if weights[i].max() > 0]
    if "attention" in tried.names and m > 1:
        at = tried.names.index("attention")
        share = float(weights[at].mean())
        if share < _LEAST_SHARE:
            kept = [i for i in kept if i != at]
            said.append(
                f"Attention earns nothing here: its share would be {share:.0%} by what the models "
                "say of bags out of fold. The simpler models predict without it."
            )
    left = tried.only(kept)
    return left, blend_weights(labels, left.mean, kinds), said


def scores(tried: OutOfFold, labels: FloatArray, kind: TaskType) -> str:
    """Return how well each model predicts out of fold, in words: mean over tasks."""
    name, score = ("ROC-AUC", roc_auc) if kind == "classification" else ("MAE", mae)
    said = []
    for member, mean in zip(tried.names, tried.mean, strict=True):
        found = []
        for t in range(labels.shape[1]):
            rows: IntArray = np.flatnonzero(np.isfinite(labels[:, t]) & np.isfinite(mean[:, t]))
            try:
                found.append(score(labels[rows, t], mean[rows, t]))
            except UndefinedMetricError:
                continue
        said.append(f"{bag_member_words(member)} {np.mean(found):.3f}" if found else "")
    return f"Out of fold, {name}: {', '.join(filter(None, said))}."


def thresholds(
    labels: FloatArray,
    mean: FloatArray,
    metric: str,
    given: Mapping[str, float],
    tasks: Sequence[str],
    least: int,
) -> tuple[float, ...]:
    """Return from which probability on class 1 is called, chosen out of fold unless given."""
    there = np.isfinite(mean).all(axis=1)
    chosen = decision_thresholds(labels[there], mean[there], metric, least=least)
    return tuple(float(given.get(task, cut)) for task, cut in zip(tasks, chosen, strict=True))
