"""A ridge regression whose structure is chosen by how it predicts runs left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from molpool_common import FloatArray, IntArray
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from rt_ridge._config import RidgeConfig
from rt_ridge._estimators import (
    PartialPoolingRidge,
    as_groups,
    fitted,
    fitted_near,
    numbered,
    of_both,
    to_rows,
    to_statistics,
)
from rt_ridge.prediction._summaries import Stage1CoeffSummaries
from rt_ridge.robust._folds import weighted_folds
from rt_ridge.robust._rows import StoredRows
from rt_ridge.scales._mode import Near
from rt_ridge.scales._posterior import ScalePosterior
from rt_ridge.selection._choice import Choice, Trial
from rt_ridge.selection._held_out import HeldOut, RunFold, plan_folds
from rt_ridge.selection._mixture import mixed
from rt_ridge.selection._search import MAX_PAIRS, judged_pairs, search
from rt_ridge.statistics._sufficient import SufficientStatistics, spread_of_regressors
from rt_ridge.tables._compounds import CompoundClasses, CompoundDescriptors
from rt_ridge.tables._features import FeatureMap, ReadingRange
from rt_ridge.tables._keys import GroupParents


class AutoRidge(PartialPoolingRidge):
    """Ridge regression of every (group, compound), its structure chosen by runs left out.

    Tried are priors of intercepts, heads of slopes, one σ or one a group, one spread of slopes or
    one for each covariate. Each candidate is judged on runs that were left out: on blocks of
    acquisition order, and on the ends of the covariates' range, which also say how far slopes are
    to be followed beyond the training. Where several together predict better than the best one,
    they are mixed. Covariates are standardised inside, so that their units do not matter.

    Parameters are those of `PartialPoolingRidge`; keys of the structure that are not at their
    defaults are kept in all candidates.

    Attributes
    ----------
    structure_ : StructureTable
        Candidates, scores and what was taken.
    scales_, log_likelihood_, summaries_, idata_, notes_
        As in `PartialPoolingRidge`, of the heaviest candidate where several are mixed; the
        artefact is of the mixture.

    Examples
    --------
    >>> import numpy as np
    >>> from rt_ridge import AutoRidge
    >>> rng = np.random.default_rng(0)
    >>> groups = np.stack([np.zeros(200, dtype=int), np.tile(np.arange(5), 40)], axis=1)
    >>> runs = np.repeat(np.arange(40), 5)
    >>> drift = rng.normal(size=40)[runs]
    >>> y = 5 + groups[:, 1] + 0.5 * drift + rng.normal(scale=0.05, size=200)
    >>> model = AutoRidge().fit(drift[:, None], y, groups, runs=runs)
    >>> "no slopes" in model.structure_.names[0]
    False
    """

    def fit(
        self,
        X: Any,
        y: Any = None,
        groups: Any = None,
        *,
        runs: Any = None,
        held_out: Sequence[HeldOut] | None = None,
        folds: Sequence[RunFold] = (),
        features: FeatureMap | None = None,
        rows: StoredRows | None = None,
        descriptors: CompoundDescriptors | None = None,
        classes: CompoundClasses | None = None,
    ) -> Self:
        """Choose a structure and fit it; see `PartialPoolingRidge.fit` for the rest.

        Parameters
        ----------
        X, y, groups, features, rows, descriptors, classes
            As there; `rows` with the runs that `folds` are of. With statistics, the range of
            `features` is that of the training.
        runs : array_like, [N], or None
            With rows: the run of each, numbers or names in acquisition order. None: rows of equal
            covariates are of one run, and nothing is known of the order. With statistics and
            `run_effects`: the name of each run.
        held_out : sequence of HeldOut, or None
            With statistics: the sums of runs that are left out together. None: marginal
            likelihoods decide.
        folds : sequence of RunFold
            With `rows`: which runs those are.

        Returns
        -------
        self
        """
        self._held_out, self._folds = list(held_out or ()), list(folds)
        self._rows = None
        if not isinstance(X, SufficientStatistics):
            self._rows = (X, y, groups, runs)
        known: dict[str, Any] = {"descriptors": descriptors, "classes": classes}
        super().fit(X, y, groups, features=features, rows=rows, runs=runs, **known)
        self._rows = None
        return self

    def ridge_config(self) -> RidgeConfig:
        """Return what all candidates have."""
        return super().ridge_config().model_copy(update={"standardise": True})

    def refit(self, stats: SufficientStatistics, features: FeatureMap) -> AutoRidge:
        """Return what was chosen, fitted to other rows; this estimator stays as it is.

        Parameters
        ----------
        stats : SufficientStatistics
            Of these rows.
        features : FeatureMap
            As for `fit`.
        """
        check_is_fitted(self, "choice_")
        other: AutoRidge = clone(self)
        other._descriptors, other._classes = self._descriptors, self._classes
        other._with_groups, other.n_features_in_ = self._with_groups, self.n_features_in_
        # Of many pairs a part says all there is to say of the few scales.
        given = self.choice_.scales if stats.G > MAX_PAIRS else None
        other._take(_with_parents(stats), features, self.choice_, given)
        return other

    def _fit_statistics(
        self, stats: SufficientStatistics, config: RidgeConfig, features: FeatureMap
    ) -> None:
        if self._rows is not None:
            self._held_out, features = self._of_rows(features)
        stats = _with_parents(stats)
        choice = self._search(stats, config)
        self._take(stats, features, choice, choice.scales)

    def _search(self, stats: SufficientStatistics, config: RidgeConfig) -> Choice:
        return search(stats, self._held_out, config, spread_of_regressors(stats), self._known)

    def _fit_rows(
        self,
        stats: SufficientStatistics,
        config: RidgeConfig,
        features: FeatureMap,
        rows: StoredRows | None,
    ) -> None:
        """Choose, weigh rows by what was chosen, and choose again by weighted rows."""
        if self._rows is not None:
            self._held_out, features = self._of_rows(features)
            X, y, groups, runs = self._rows
            number = _numbered(runs, np.asarray(X, dtype=np.float64))[0]
            rows = to_rows(np.asarray(X), np.asarray(y), groups, number)
        stats = _with_parents(stats)
        choice = self._search(stats, config)
        self._settle(stats, config, features, choice, rows)
        if self._held_out and rows is not None:
            unweighted = self._held_out
            self._held_out = weighted_folds(unweighted, self._folds, rows, self.summaries_)
            choice = self._search(self.weighted_.stats, config)
            self._settle(stats, config, features, choice, rows)
            self._held_out = unweighted

    def _settle(
        self,
        stats: SufficientStatistics,
        config: RidgeConfig,
        features: FeatureMap,
        choice: Choice,
        rows: StoredRows | None,
    ) -> None:
        """Fit what was chosen to rows that are weighted until their weights stand."""
        near: list[Near | None] = [None for _ in choice.trials]

        def fit(weighted: SufficientStatistics) -> Stage1CoeffSummaries:
            found = []
            for i, trial in enumerate(choice.trials):
                model = (self._configured(trial), features, self._known)
                if given is None:
                    one, near[i] = fitted_near(weighted, *model, near[i])
                else:
                    one = fitted(weighted, *model, given[i])
                found.append(one[1])
            return mixed(found, choice.weights)

        def widened(
            weighted: SufficientStatistics, wide: SufficientStatistics
        ) -> Stage1CoeffSummaries:
            self._take(weighted, features, choice, given)
            means = self.summaries_
            self._take(wide, features, choice, self._scales)
            return of_both(means, self.summaries_)

        given: list[ScalePosterior] | None = None
        tails, some = None, judged_pairs(stats)
        if rows is not None and some.G < stats.G:
            # Of many pairs a part says all there is to say of the few scales and of errors.
            self._weigh(some, rows.of(some.keys), config, fit, widened)
            tails, given = self.summaries_.tails, self._scales
        self._weigh(stats, rows, config, fit, widened, tails)

    def _take(
        self,
        stats: SufficientStatistics,
        features: FeatureMap,
        choice: Choice,
        given: Sequence[ScalePosterior] | None,
    ) -> None:
        """Fit what was chosen, and mix; by a method other than map, scales are found again."""
        if features.range is not None:
            features = replace(features, range=replace(features.range, follow=choice.follow))
        fits, notes = [], list(_sentences(choice))
        for i, trial in enumerate(choice.trials):
            config = self._configured(trial)
            scales = given[i] if given is not None and config.method == "map" else None
            fits.append(fitted(stats, config, features, self._known, scales))
        self._scales = [scales for scales, _ in fits]
        first = fits[int(np.argmax(choice.weights))][0]
        self.__dict__.pop("idata_", None)
        self.choice_, self.structure_ = choice, choice.table
        self.scale_posterior_, self.scales_ = first, first.summary()
        self.log_likelihood_ = first.log_likelihood
        if stats.G > MAX_PAIRS:
            notes.append(f"scales found on part of the {stats.G} pairs")
        self.notes_ = (*first.notes, *notes)
        artefact = mixed([summaries for _, summaries in fits], choice.weights)
        self.summaries_ = replace(artefact, structure=choice.table)

    def _add_runs(self, stats: SufficientStatistics, rows: StoredRows | None) -> None:
        super()._add_runs(_with_parents(stats), rows)

    def _model_of_runs(self) -> RidgeConfig:
        # Of a mixture the heaviest alone.
        return self._configured(self.choice_.trials[int(np.argmax(self.choice_.weights))])

    def _configured(self, trial: Trial) -> RidgeConfig:
        """Return what was chosen, with how its scales are found: one σ a group needs priors."""
        config, likelihood = trial.candidate.config, self.method in ("ml", "reml")
        method = "map" if likelihood and config.sigma == "group" else self.method
        return config.model_copy(update={"method": method})

    def _of_rows(self, features: FeatureMap) -> tuple[list[HeldOut], FeatureMap]:
        assert self._rows is not None
        X, y, groups, runs = self._rows
        X, y = np.asarray(X, dtype=np.float64), np.asarray(y, dtype=np.float64)
        ids = as_groups(groups, len(X))
        number, ordered = _numbered(runs, X)
        folds = folds_of_rows(number, X, ordered=ordered)
        self._folds = folds
        found = [_held_out(f, number, (X, y, ids), features, self.group_col) for f in folds]
        ends = (X.min(axis=0), X.max(axis=0)) if len(X) else (np.zeros(0), np.zeros(0))
        return found, replace(features, range=ReadingRange(*ends))


def _numbered(runs: Any, X: FloatArray) -> tuple[IntArray, bool]:
    """Return the run of each row, numbered in acquisition order if that is known."""
    if runs is None:
        if not X.shape[1]:
            return np.zeros(len(X), dtype=np.int64), False
        number = np.unique(X, axis=0, return_inverse=True)[1]
        return np.asarray(number, dtype=np.int64).ravel(), False
    return numbered(runs, X)[0], True


def folds_of_rows(number: IntArray, X: FloatArray, *, ordered: bool) -> list[RunFold]:
    """Return the runs that are left out together, of rows in memory.

    Parameters
    ----------
    number : ndarray of int64, [N]
        Run of each row, in acquisition order.
    X : ndarray, [N, P]
        Covariates.
    ordered : bool
        Whether the order is known.
    """
    n_runs = int(number.max(initial=-1)) + 1
    shape = (n_runs, X.shape[1])
    total, low, high = np.zeros(shape), np.full(shape, np.inf), np.full(shape, -np.inf)
    np.add.at(total, number, X)
    np.minimum.at(low, number, X)
    np.maximum.at(high, number, X)
    return plan_folds(total / np.bincount(number)[:, None], low, high, ordered=ordered)


def _held_out(
    fold: RunFold,
    number: IntArray,
    rows: tuple[FloatArray, FloatArray, IntArray],
    features: FeatureMap,
    group_col: str,
) -> HeldOut:
    out = fold.members[number]
    X, y, ids = rows[0][out], rows[1][out], rows[2][out]
    z = fold.regressors(X, features)
    names = [f"z{j}" for j in range(z.shape[1])]
    return HeldOut(fold.name, to_statistics(z, y, ids, names, group_col, "none")[0])


def _with_parents(stats: SufficientStatistics) -> SufficientStatistics:
    """Return statistics in which groups without supercategories are of one."""
    if stats.parents is not None:
        return stats
    groups: npt.NDArray[np.int64] = np.unique(stats.group_ids)
    return replace(stats, parents=GroupParents(groups, np.zeros_like(groups)))


def _sentences(choice: Choice) -> tuple[str, ...]:
    """Return what was chosen, in words."""
    taken = ", ".join(f"{name} ({weight:.0%})" for name, weight in choice.table.taken)
    if len(choice.trials) == 1:
        taken = choice.table.taken[0][0]
    by = "runs left out" if np.isfinite(choice.table.rmse).any() else "marginal likelihood"
    found = [f"structure chosen by {by} from {len(choice.table.names)}: {taken}"]
    if choice.follow < 1:
        how = "not followed" if choice.follow == 0 else f"followed to {choice.follow:.0%}"
        found.append(f"slopes are {how} beyond the range of the training, as runs left out say")
    return tuple(found)
