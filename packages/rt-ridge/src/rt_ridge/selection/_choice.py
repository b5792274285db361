"""Which candidate is taken, or which mixture of them.

Judged is the error of rows left out; where errors do not differ, their log predictive density;
and last the marginal likelihood. A mixture (stacking: Yao et al. 2018, doi:10.1214/17-BA1091) is
taken only where it predicts better than the best alone by more than a tie, and than the standard
error over folds, and its mean does not err more: a few rows far off make densities prefer what fits
all the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from molpool_common import FloatArray

from rt_ridge.hierarchy._hierarchy import Hierarchy
from rt_ridge.prediction._structure import StructureTable
from rt_ridge.scales._mode import Optimum
from rt_ridge.scales._posterior import ScalePosterior
from rt_ridge.selection._candidates import Candidate
from rt_ridge.selection._judge import FOLLOW, Judge, Scores

TIE = 0.01
"""Difference of log errors that is no reason to prefer one."""

DENSITY_TIE = 0.02
"""Difference of log densities of a row that is none: the best of twenty gains it by chance."""

ROUNDING = 1e-9
"""Difference of log densities of models that do not differ."""

LEAST_WEIGHT = 0.05
"""Weight in a mixture below which a candidate is left out."""

STACKING_STEPS = 500


@dataclass(frozen=True)
class Trial:
    """A candidate, fitted to all rows and scored on those left out.

    Parameters
    ----------
    candidate : Candidate
        The structure.
    scales : ScalePosterior
        Its scales.
    best : Optimum
        Their mode.
    scores : Scores or None
        None where no runs could be left out.
    criterion : float
        Marginal log likelihood, less Schwarz's allowance for scales and flat effects.
    unseen : Scores or None
        Of pairs left out whole; None where none could be, or the candidate says nothing of them.
    """

    candidate: Candidate
    scales: ScalePosterior
    best: Optimum
    scores: Scores | None
    criterion: float
    unseen: Scores | None = None

    @classmethod
    def of(
        cls,
        candidate: Candidate,
        hierarchy: Hierarchy,
        scales: ScalePosterior,
        best: Optimum,
        judge: Judge | None,
        of_unseen: Judge | None = None,
    ) -> Trial:
        """Score a fitted candidate."""
        scores, unseen = (
            None if by is None else by.score(hierarchy, scales.mean) for by in (judge, of_unseen)
        )
        if unseen is not None and not np.isfinite(unseen.log_density).all():
            unseen = None
        size = hierarchy.layout.n_free + hierarchy.n_flat
        allowance = size * float(np.log(hierarchy.stats.n_rows)) / 2
        criterion = scales.log_likelihood - allowance
        return cls(candidate, scales, best, scores, criterion, unseen)


@dataclass(frozen=True)
class Choice:
    """What is taken.

    Parameters
    ----------
    trials : tuple of Trial
        One, or those of a mixture.
    weights : ndarray, [M]
        Of each; they sum to 1.
    follow : float
        Share of slopes that is followed beyond the training's range.
    table : StructureTable
        All candidates, for the reader.
    judge : Judge or None
        Who scored them.
    unseen : Choice or None
        What speaks of pairs never seen, by pairs left out; None where none could be.
    refused : str
        Why some candidates could not be fitted; empty where all could.
    """

    trials: tuple[Trial, ...]
    weights: FloatArray
    follow: float
    table: StructureTable
    judge: Judge | None = None
    unseen: Choice | None = None
    refused: str = ""

    @property
    def alone(self) -> Choice:
        """The heaviest candidate without the others."""
        first = (self.trials[int(np.argmax(self.weights))],)
        return replace(self, trials=first, weights=np.ones(1), unseen=None)

    @property
    def apart(self) -> Choice | None:
        """What speaks of pairs never seen, where that is another candidate than the one taken."""
        other = self.unseen
        if other is None or len(self.trials) > 1:
            return other
        same = other.trials[0].candidate == self.trials[0].candidate
        return None if same and other.follow == self.follow else other

    @property
    def scales(self) -> list[ScalePosterior]:
        """Of each trial, as they were found for the choice; last that of pairs never seen."""
        apart = () if self.apart is None else self.apart.trials
        return [trial.scales for trial in (*self.trials, *apart)]

    @cached_property
    def lines(self) -> FloatArray:
        """Mean coefficients of each cell of the judge's folds, by the other folds, [K, D]."""
        found = [t.scores.lines for t in self.trials if t.scores is not None]
        return np.asarray(np.tensordot(self.weights, np.stack(found), 1))


class Errors:
    """Errors and densities of trials, by fold.

    Parameters
    ----------
    trials : sequence of Trial
        All scored by `judge`.
    judge : Judge
        Of C trials, K cells in B folds.
    """

    def __init__(self, trials: Sequence[Trial], judge: Judge) -> None:
        scores = [t.scores for t in trials if t.scores is not None]
        self.n, self.fold, self.judge = judge.n, judge.fold, judge
        self.lines = [s.lines for s in scores]
        self.squared = np.stack([s.squared for s in scores])
        self.density = np.stack([s.log_density for s in scores]) / judge.n
        self.absolute = np.sqrt(self.squared / judge.n)

    @property
    def log_error(self) -> FloatArray:
        """Mean of log RMSE and log MAE, [C, F]: neither the worst rows nor the bulk alone.

        Of folds of several kinds each kind counts alike, however large its errors.
        """
        kinds = np.unique(self.judge.kind)
        if len(kinds) == 1:
            return log_errors(self.squared, self.n)
        of_kind = [self.judge.kind == kind for kind in kinds]
        parts = [log_errors(self.squared[..., of], self.n[of]) for of in of_kind]
        return np.asarray(np.mean(parts, axis=0))

    def of_mixture(self, weights: FloatArray, share: int) -> float:
        """Return `log_error` of the weighted mean of candidates, [C]."""
        taken = np.flatnonzero(weights)
        lines = sum(weights[i] * self.lines[i] for i in taken.tolist())
        squared = self.judge.squared_errors(np.asarray(lines), FOLLOW[share])
        return float(log_errors(squared, self.n))

    def by_fold(self, values: FloatArray) -> FloatArray:
        """Return means over the rows of each fold, [..., B]."""
        weighted = values * self.n
        parts = [weighted[..., self.fold == b].sum(axis=-1) for b in np.unique(self.fold)]
        rows = np.bincount(self.fold, self.n)
        return np.stack(parts, axis=-1) / rows[np.unique(self.fold)]

    def log_error_by_fold(self) -> FloatArray:
        """`log_error` of each fold alone, [C, F, B]."""
        rmse = np.log(np.maximum(self.by_fold(self.squared / self.n), TINY)) / 2
        return np.asarray((rmse + np.log(np.maximum(self.by_fold(self.absolute), TINY))) / 2)

    def mean(self, values: FloatArray) -> FloatArray:
        """Return means over the rows of all folds."""
        return np.asarray((values * self.n).sum(axis=-1) / self.n.sum())


TINY = float(np.finfo(float).tiny)


def log_errors(squared: FloatArray, n: FloatArray) -> FloatArray:
    """Return the mean of log RMSE and log MAE from squared errors [..., K] of cells of n rows."""
    rmse = np.log(np.maximum(squared.sum(axis=-1) / n.sum(), TINY)) / 2
    mae = np.log(np.maximum(np.sqrt(squared * n).sum(axis=-1) / n.sum(), TINY))
    return np.asarray((rmse + mae) / 2)


def choose(trials: Sequence[Trial], judge: Judge | None, *, mix: bool = True) -> Choice:
    """Return the candidate or the mixture that is taken.

    Parameters
    ----------
    trials : sequence of Trial
        At least one.
    judge : Judge or None
        Who scored them; None: no runs could be left out, and marginal likelihoods decide.
    mix : bool
        Whether several may be taken together.
    """
    if judge is None:
        order = np.argsort([-t.criterion for t in trials], kind="stable")
        best = trials[int(order[0])]
        table = _unmeasured([trials[i] for i in order])
        return Choice((best,), np.ones(1), 1.0, table)
    errors = Errors(trials, judge)
    best_at, share = _best(errors, [t.criterion for t in trials])
    weights = np.eye(len(trials))[best_at]
    if mix:
        weights = _stacked(errors, best_at, share)
    taken = np.flatnonzero(weights)
    return Choice(
        tuple(trials[i] for i in taken.tolist()),
        weights[taken],
        FOLLOW[share],
        _measured(trials, errors, weights, best_at, share),
        judge,
    )


def settled_choice(choice: Choice, trials: Sequence[Trial], judge: Judge | None) -> Choice:
    """Return a choice of the same candidates, their scales now at the mode itself.

    The weights of a mixture are found again: those of scales that a line search stopped at would
    depend on the last digits of the table.
    """
    weights = choice.weights
    if len(trials) > 1 and judge is not None:
        density = Errors(trials, judge).density[:, FOLLOW.index(choice.follow)]
        weights = stacking_weights(density, judge.n)
    table = choice.table
    of_name = {t.candidate.name: w for t, w in zip(trials, weights, strict=True)}
    found = np.array([of_name.get(name, 0.0) for name in table.names])
    return replace(
        choice, trials=tuple(trials), weights=weights, table=replace(table, weight=found)
    )


def _best(errors: Errors, criteria: Sequence[float]) -> tuple[int, int]:
    """Return the best candidate and share to follow: by error, then density, then likelihood."""
    log_error, by_fold = errors.log_error, errors.log_error_by_fold()
    least = np.unravel_index(int(np.argmin(log_error)), log_error.shape)
    unsure = _standard_error(by_fold - by_fold[least])
    # fmin: of one fold nothing is known of what folds differ by.
    tied = log_error <= log_error[least] + np.fmax(TIE, np.fmin(unsure, 2 * TIE))
    density = np.where(tied, errors.mean(errors.density), -np.inf)
    top = np.unravel_index(int(np.argmax(density)), density.shape)
    by_fold = errors.by_fold(errors.density)
    behind = by_fold[top] - by_fold
    # Densities that differ by less than folds do, or hardly, are no reason either.
    equal = density >= density.max() - np.maximum(_standard_error(behind), DENSITY_TIE)
    last = np.where(equal, np.asarray(criteria)[:, None], -np.inf)
    best = int(np.unravel_index(int(np.argmax(last)), last.shape)[0])
    return best, _share(log_error[best])


def _share(log_error: FloatArray) -> int:
    """Return the share of slopes to follow beyond the training, by the errors of each, [F]."""
    if np.ptp(log_error) < ROUNDING:
        # No slopes, or nothing beyond.
        return 0
    # FOLLOW falls. A line that is followed in vain costs more than one that is not: where the
    # runs left out hardly tell, it is followed the least.
    return int(np.flatnonzero(log_error <= log_error.min() + TIE)[-1])


def _stacked(errors: Errors, best: int, share: int) -> FloatArray:
    """Return weights of a mixture, all on the best where it is not clearly better, [C]."""
    density = errors.density[:, share]
    alone = np.eye(len(density))[best]
    weights = stacking_weights(density, errors.n)
    weights = np.where(weights < LEAST_WEIGHT, 0.0, weights)
    weights /= weights.sum()
    top = density.max(axis=0)
    mixture = np.log(weights @ np.exp(density - top)) + top
    gain = errors.by_fold((mixture - density[best])[None])[0]
    # Over folds, for the rows of a run err together.
    clear = len(gain) > 1 and gain.mean() > max(gain.std(ddof=1) / np.sqrt(len(gain)), DENSITY_TIE)
    # Rounding is no error.
    allowed = errors.log_error[best, share] + ROUNDING
    return weights if clear and errors.of_mixture(weights, share) <= allowed else alone


def stacking_weights(density: FloatArray, n: FloatArray) -> FloatArray:
    """Return weights on the simplex that maximise the log density of a mixture.

    Parameters
    ----------
    density : ndarray, [C, K]
        Log predictive density of a row of each cell, for each candidate.
    n : ndarray, [K]
        Rows of each cell.
    """
    relative = np.exp(density - density.max(axis=0))
    weights = np.full(len(density), 1 / len(density))
    for _ in range(STACKING_STEPS):
        # The EM step of mixture proportions, which keeps to the simplex and never loses.
        share = weights[:, None] * relative
        weights = (share / share.sum(axis=0)) @ n / n.sum()
    return weights


def _measured(
    trials: Sequence[Trial], errors: Errors, weights: FloatArray, best: int, share: int
) -> StructureTable:
    log_error, density = errors.log_error[:, share], errors.density[:, share]
    order = np.argsort(log_error, kind="stable")
    order = np.concatenate([[best], order[order != best]])
    by_fold = errors.log_error_by_fold()[:, share]
    by_density = errors.by_fold(density)
    return StructureTable(
        names=tuple(trials[i].candidate.name for i in order),
        rmse=np.sqrt(errors.squared[:, share].sum(axis=1) / errors.n.sum())[order],
        mae=(errors.absolute[:, share] @ errors.n / errors.n.sum())[order],
        error_se=_standard_error(by_fold - by_fold[best])[order],
        log_density=(density @ errors.n / errors.n.sum())[order],
        log_density_se=_standard_error(by_density - by_density[best])[order],
        log_likelihood=np.array([trials[i].scales.log_likelihood for i in order]),
        weight=weights[order],
    )


def _standard_error(differences: FloatArray) -> FloatArray:
    """Return the standard error of means over the last axis, folds; NaN of one fold."""
    n_folds = differences.shape[-1]
    if n_folds < 2:
        return np.full(differences.shape[:-1], np.nan)
    return np.asarray(differences.std(axis=-1, ddof=1) / np.sqrt(n_folds))


def _unmeasured(trials: Sequence[Trial]) -> StructureTable:
    nothing = np.full(len(trials), np.nan)
    weight = np.zeros(len(trials))
    weight[0] = 1.0
    return StructureTable(
        names=tuple(t.candidate.name for t in trials),
        rmse=nothing,
        mae=nothing,
        error_se=nothing,
        log_density=nothing,
        log_density_se=nothing,
        log_likelihood=np.array([t.scales.log_likelihood for t in trials]),
        weight=weight,
    )


def ranked(trials: Sequence[Trial], judge: Judge | None, most: int) -> list[Trial]:
    """Return the most promising trials, best first, and the one that would be taken of all."""
    if judge is None:
        order = np.argsort([-t.criterion for t in trials], kind="stable")[:most]
    else:
        errors = Errors(trials, judge)
        order = np.argsort(errors.log_error.min(axis=1), kind="stable")[:most]
        # What would be taken of these may err a little more than the best of them.
        best = _best(errors, [t.criterion for t in trials])[0]
        order = order if best in order else np.append(order, best)
    return [trials[i] for i in order]
