"""A ridge regression whose structure is chosen by how it predicts runs left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from molpool_common import FloatArray, IntArray
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from rt_ridge._config import RidgeConfig
from rt_ridge._errors import RTRidgeError
from rt_ridge._estimators import (
    PartialPoolingRidge,
    as_groups,
    fitted,
    fitted_near,
    numbered,
    of_both,
    settled_scales,
    to_rows,
    to_statistics,
)
from rt_ridge.prediction._effects import LineTable
from rt_ridge.prediction._summaries import NormalErrors, Stage1CoeffSummaries
from rt_ridge.prediction._tails import NORMAL
from rt_ridge.robust._em import ABOUT, SETTLED, Settled, scaled
from rt_ridge.robust._folds import weighted_folds
from rt_ridge.robust._rows import StoredRows
from rt_ridge.robust._trial import LeftOut, errors_of, looks_heavy, rows_of
from rt_ridge.robust._weights import reweighted
from rt_ridge.runs._cells import RunCells
from rt_ridge.scales._mode import Near
from rt_ridge.scales._posterior import ScalePosterior
from rt_ridge.selection._choice import Choice, Trial
from rt_ridge.selection._held_out import (
    GroupRanges,
    HeldOut,
    RunFold,
    plan_folds,
    plan_unseen,
    runs_of_one,
)
from rt_ridge.selection._mixture import mixed
from rt_ridge.selection._search import judged_pairs, most_pairs, search
from rt_ridge.statistics._sufficient import SufficientStatistics, spread_of_regressors
from rt_ridge.tables._compounds import CompoundClasses, CompoundDescriptors
from rt_ridge.tables._features import FeatureMap, ReadingRange
from rt_ridge.tables._keys import GroupParents, pack, unpack


class AutoRidge(PartialPoolingRidge):
    """Ridge regression of every (group, compound), its structure chosen by runs left out.

    Tried are priors of intercepts, heads of slopes, one σ or one a group, one spread of slopes or
    one for each covariate. Each candidate is judged on runs that were left out: on blocks of
    acquisition order, and on the ends of the covariates' range, which also say how far slopes are
    to be followed beyond the training. Where several together predict better than the best one,
    they are mixed. What is said of pairs never seen is chosen by itself, on whole groups and on
    pairs left out. Covariates are standardised inside, so that their units do not matter.

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

    _first: Choice | None = None
    """By unweighted rows, where it was made before."""

    _normal: AutoRidge | None = None
    """The fit with normal errors, where heavy tails were found to be better."""

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
            With statistics: the sums of rows that are left out together. Without any of runs
            marginal likelihoods decide.
        folds : sequence of RunFold
            With `rows`: which rows those are.

        Returns
        -------
        self
        """
        self._held_out, self._folds, self._stored = list(held_out or ()), list(folds), rows
        self._rows = self._normal = None
        self.__dict__.pop("weighted_", None)
        if not isinstance(X, SufficientStatistics):
            self._rows = (X, y, groups, runs)
        known: dict[str, Any] = {"descriptors": descriptors, "classes": classes}
        super().fit(X, y, groups, features=features, rows=rows, runs=runs, **known)
        self._rows = self._stored = None
        return self

    def ridge_config(self) -> RidgeConfig:
        """Return what all candidates have."""
        return super().ridge_config().model_copy(update={"standardise": True})

    def refit(
        self,
        stats: SufficientStatistics,
        features: FeatureMap,
        equal: SufficientStatistics | None = None,
    ) -> AutoRidge:
        """Return what was chosen, fitted to other rows; this estimator stays as it is.

        Parameters
        ----------
        stats : SufficientStatistics
            Of these rows, weighted as errors of heavy tails weigh them.
        features : FeatureMap
            As for `fit`.
        equal : SufficientStatistics or None
            Of these rows at equal weights, where tails are heavy by choice.
        """
        check_is_fitted(self, "choice_")
        other: AutoRidge = clone(self)
        other._descriptors, other._classes = self._descriptors, self._classes
        other._with_groups, other.n_features_in_ = self._with_groups, self.n_features_in_
        # Of many pairs a part says all there is to say of the few scales.
        given = self.choice_.scales if most_pairs(stats) < stats.G else None
        other._take(_with_parents(stats), features, self.choice_, given)
        own = self.summaries_
        if self._normal is not None and own.normal is not None and equal is not None:
            cov = other._cov_of(_with_parents(equal), features)
            other._stand_by(self._normal.refit(equal, features), cov, own.normal.left)
        return other

    def _fit_statistics(
        self, stats: SufficientStatistics, config: RidgeConfig, features: FeatureMap
    ) -> None:
        if self._rows is not None:
            self._held_out, features = self._of_rows(stats, features)
        stats = _with_parents(stats)
        choice = self._search(stats, config, features)
        self._take(stats, features, choice, choice.scales)
        if config.tries_tails and choice.judge is not None and stats.weight is None:
            self._try_tails(stats, config, features, choice)

    def _try_tails(
        self,
        stats: SufficientStatistics,
        config: RidgeConfig,
        features: FeatureMap,
        choice: Choice,
    ) -> None:
        """Take a t for errors where runs left out are predicted better so.

        Of many pairs on a part: it says all there is to say of errors.
        """
        rows = self._rows_again()
        if rows is None:
            return
        some = judged_pairs(stats)
        part = rows.of(some.keys)
        if not looks_heavy(part, self.summaries_):
            return
        other: AutoRidge = clone(self).set_params(likelihood="student_t")
        runs_out: dict[str, Any] = {"held_out": self._held_out, "folds": self._folds}
        of_compounds: dict[str, Any] = {"descriptors": self._descriptors, "classes": self._classes}
        other._first = choice
        other.fit(some, features=features, rows=part, **runs_out, **of_compounds)
        left = other._left_out(choice, part, some, features).speaks_from()
        if left is None:
            self.notes_ = (*self.notes_, "errors of heavy tails tried: runs left out gain nothing")
            return
        normal = clone(self)
        normal.__dict__ |= vars(self) | {"_rows": None, "_stored": None}
        if some.G < stats.G:
            config = config.model_copy(update={"likelihood": "student_t"})
            self._settle(stats, config, features, other.choice_, rows, of_part=other)
        else:
            of_fit = {k: v for k, v in vars(other).items() if k.endswith("_") or k == "_scales"}
            self.__dict__ |= of_fit
        # As of weights that are themselves estimated.
        equal = self._cov_of(scaled(stats, self.summaries_.tails.information), features)
        self._stand_by(normal, equal, left)
        self.notes_ = (
            *self.notes_,
            "errors of heavy tails (student_t): runs left out gain by it; where they leave less"
            f" than {left:.0%} of what rows say of a line, the fit with normal errors speaks",
        )

    def _left_out(
        self, normal: Choice, rows: StoredRows, stats: SufficientStatistics, features: FeatureMap
    ) -> LeftOut:
        """Return errors on runs left out, the others weighed anew without them.

        Weights by all rows know those that are left out, and flatter heavy tails.

        Parameters
        ----------
        normal : Choice
            The one with normal errors, whose judge left runs out.
        rows, stats, features
            What this was fitted to.
        """
        assert normal.judge is not None
        named, found = {fold.name: fold for fold in self._folds}, []
        config, choice = self.ridge_config(), replace(self.choice_, unseen=None)
        equally = replace(self.summaries_, tails=NORMAL)
        for number, cells in enumerate(normal.judge.folds):
            fold = named[cells.name]
            others = rows.where(partial(rows_of, fold, out=False))
            seen = features
            if features.range is not None:
                seen = replace(features, range=ReadingRange(fold.low, fold.high))
            equal = replace(reweighted(stats, others, equally).statistics(), weight=None)
            heavy: AutoRidge = clone(self)
            heavy._descriptors, heavy._classes = self._known
            start: dict[str, Any] = {"start": self.weighted_, "settled": ABOUT, "of_part": self}
            heavy._settle(equal, config, seen, choice, others, **start)
            known, of_equal = heavy.summaries_, scaled(equal, heavy.summaries_.tails.information)
            lines = LineTable(known.mean, heavy._cov_of(of_equal, seen))
            for part in rows:
                out = rows_of(fold, part)
                keys = np.repeat(out.keys, out.n)
                mean = known.predict(out.covariates, *unpack(keys)).mean
                share = known.share_left(lines, out.covariates, keys)
                by_normal = errors_of(normal, number, fold, out, features)
                found.append(LeftOut(out.y - mean, by_normal, share))
        return LeftOut.joined(found)

    def _stand_by(self, normal: AutoRidge, equal: FloatArray, left: float) -> None:
        """Let a fit with normal errors speak where heavy tails leave too little; `NormalErrors`."""
        errors = NormalErrors(replace(normal.summaries_, unseen=None), equal, left)
        self._normal, self.summaries_ = normal, replace(self.summaries_, normal=errors)

    def _cov_of(self, stats: SufficientStatistics, features: FeatureMap) -> FloatArray:
        """Return the covariance of pairs, [G, D, D], by other weights of the same rows."""
        fits = self._fits(stats, features, self.choice_, self._scales)
        return mixed([summaries for _, summaries in fits], self.choice_.weights).cov

    def _rows_again(self) -> StoredRows | None:
        """Return the rows to be gone through again, None where statistics alone are known."""
        if self._rows is None:
            return self._stored
        X, y, groups, runs = self._rows
        number = _numbered(runs, np.asarray(X, dtype=np.float64))[0]
        return to_rows(np.asarray(X), np.asarray(y), groups, number)

    def _search(
        self, stats: SufficientStatistics, config: RidgeConfig, features: FeatureMap
    ) -> Choice:
        scale = spread_of_regressors(stats, features)
        return search(stats, self._held_out, config, scale, self._known)

    def _fit_rows(
        self,
        stats: SufficientStatistics,
        config: RidgeConfig,
        features: FeatureMap,
        rows: StoredRows | None,
    ) -> None:
        """Choose, weigh rows by what was chosen, and choose again by weighted rows."""
        if self._rows is not None:
            self._held_out, features = self._of_rows(stats, features)
            rows = self._rows_again()
        stats = _with_parents(stats)
        choice = self._first or self._search(stats, config, features)
        if not (self._held_out and rows is not None):
            self._settle(stats, config, features, choice, rows)
            return
        # Rows are first weighted by one structure: others would weigh them much the same.
        some = judged_pairs(stats)
        part = rows if some.G == stats.G else rows.of(some.keys)
        self._settle(some, config, features, choice.alone, part, settled=ABOUT)
        unweighted, first = self._held_out, self.weighted_
        self._held_out = weighted_folds(unweighted, self._folds, part, self.summaries_)
        choice = self._search(first.stats, config, features)
        self._held_out = unweighted
        self._settle(some, config, features, choice, part, start=first)
        if some.G < stats.G:
            self._settle(stats, config, features, choice, rows, of_part=self)

    def _settle(
        self,
        stats: SufficientStatistics,
        config: RidgeConfig,
        features: FeatureMap,
        choice: Choice,
        rows: StoredRows | None,
        *,
        start: Settled | None = None,
        settled: float = SETTLED,
        of_part: AutoRidge | None = None,
    ) -> None:
        """Fit what was chosen to rows that are weighted until their weights stand.

        Of many pairs scales and errors are known from a part.
        """
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
            scales: Sequence[ScalePosterior | None] = given or [
                *(
                    settled_scales(weighted, self._configured(trial), self._known, at, features)
                    for trial, at in zip(choice.trials, near, strict=True)
                ),
                *([] if choice.apart is None else [None]),
            ]
            self._take(weighted, features, choice, scales)
            means = self.summaries_
            self._take(wide, features, choice, self._scales)
            return of_both(means, self.summaries_)

        tails = None if of_part is None else of_part.summaries_.tails
        given = None if of_part is None else of_part._scales
        self._weigh(stats, rows, config, fit, widened, tails, start, settled)

    def _take(
        self,
        stats: SufficientStatistics,
        features: FeatureMap,
        choice: Choice,
        given: Sequence[ScalePosterior | None] | None,
    ) -> None:
        """Fit what was chosen, and mix; by a method other than map, scales are found again."""
        notes = list(_sentences(choice))
        fits = self._fits(stats, features, choice, given)
        self._scales: list[ScalePosterior | None] = [scales for scales, _ in fits]
        unseen = None
        if choice.apart is not None:
            scales = None if given is None else given[-1]
            scales, unseen = self._of_unseen(stats, features, choice.apart, scales)
            self._scales.append(scales)
            if unseen is None:
                notes.append(
                    "these rows do not tell its scales: what was taken speaks of all pairs"
                )
        first = fits[int(np.argmax(choice.weights))][0]
        self.__dict__.pop("idata_", None)
        self.choice_, self.structure_ = choice, choice.table
        self.scale_posterior_, self.scales_ = first, first.summary()
        self.log_likelihood_ = first.log_likelihood
        if most_pairs(stats) < stats.G:
            notes.append(f"scales found on part of the {stats.G} pairs")
        self.notes_ = (*first.notes, *notes)
        artefact = mixed([summaries for _, summaries in fits], choice.weights)
        self.summaries_ = replace(artefact, structure=choice.table, unseen=unseen)

    def _fits(
        self,
        stats: SufficientStatistics,
        features: FeatureMap,
        choice: Choice,
        given: Sequence[ScalePosterior | None] | None,
    ) -> list[tuple[ScalePosterior, Stage1CoeffSummaries]]:
        """Return scales and artefact of each candidate that was taken."""
        fits, seen = [], _followed(features, choice)
        for i, trial in enumerate(choice.trials):
            config = self._configured(trial)
            scales = given[i] if given is not None and config.method == "map" else None
            fits.append(fitted(stats, config, seen, self._known, scales))
        return fits

    def _of_unseen(
        self,
        stats: SufficientStatistics,
        features: FeatureMap,
        apart: Choice,
        scales: ScalePosterior | None = None,
    ) -> tuple[ScalePosterior | None, Stage1CoeffSummaries | None]:
        """Fit what speaks of pairs never seen, at the mode of its scales.

        None where these rows do not tell its scales, as without some runs: what was taken for pairs
        that were seen then speaks of all.
        """
        config = apart.trials[0].candidate.config
        try:
            found, summaries = fitted(
                stats, config, _followed(features, apart), self._known, scales
            )
        except RTRidgeError:
            return None, None
        return found, replace(summaries.levels_alone(), structure=apart.table)

    def _add_runs(self, stats: SufficientStatistics, rows: StoredRows | None) -> None:
        stats, chosen = _with_parents(stats), self.notes_
        super()._add_runs(stats, rows)
        # What was chosen stands, whose runs are fitted once more.
        self.notes_ = tuple(dict.fromkeys((*self.notes_, *chosen)))
        self.summaries_ = replace(self.summaries_, structure=self.choice_.table)
        effects, features = self.summaries_.runs, self.summaries_.features
        if self.choice_.apart is not None and effects is not None and rows is not None:
            # Levels of times less the effects of their runs, as those of pairs seen are.
            cells = RunCells.of(stats, rows, features, len(effects.names), None)
            less = cells.without(stats, effects.mean)
            unseen = self._of_unseen(less, features, self.choice_.apart)[1]
            self.summaries_ = replace(self.summaries_, unseen=unseen)

    def _model_of_runs(self) -> RidgeConfig:
        # Of a mixture the heaviest alone.
        return self._configured(self.choice_.trials[int(np.argmax(self.choice_.weights))])

    def _configured(self, trial: Trial) -> RidgeConfig:
        """Return what was chosen, with how its scales are found: one σ a group needs priors."""
        config, likelihood = trial.candidate.config, self.method in ("ml", "reml")
        method = "map" if likelihood and config.sigma == "group" else self.method
        return config.model_copy(update={"method": method})

    def _of_rows(
        self, stats: SufficientStatistics, features: FeatureMap
    ) -> tuple[list[HeldOut], FeatureMap]:
        assert self._rows is not None
        X, y, groups, runs = self._rows
        X, y = np.asarray(X, dtype=np.float64), np.asarray(y, dtype=np.float64)
        ids = as_groups(groups, len(X))
        number, ordered = _numbered(runs, X)
        folds = folds_of_rows(number, X, ordered=ordered, groups=ids[:, 0])
        ranges = GroupRanges.of_rows(ids[:, 0], X)
        folds += plan_unseen(judged_pairs(stats), ranges, int(number.max(initial=-1)) + 1)
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


def folds_of_rows(
    number: IntArray, X: FloatArray, *, ordered: bool, groups: IntArray | None = None
) -> list[RunFold]:
    """Return the runs that are left out together, of rows in memory.

    Parameters
    ----------
    number : ndarray of int64, [N]
        Run of each row, in acquisition order.
    X : ndarray, [N, P]
        Covariates.
    ordered : bool
        Whether the order is known.
    groups : ndarray of int64, [N], or None
        Group of each row.
    """
    n_runs = int(number.max(initial=-1)) + 1
    shape = (n_runs, X.shape[1])
    total, low, high = np.zeros(shape), np.full(shape, np.inf), np.full(shape, -np.inf)
    np.add.at(total, number, X)
    np.minimum.at(low, number, X)
    np.maximum.at(high, number, X)
    ends = None
    if groups is not None and len(groups):
        first, last = np.full(n_runs, groups.max()), np.full(n_runs, groups.min())
        np.minimum.at(first, number, groups)
        np.maximum.at(last, number, groups)
        ends = runs_of_one(first, last)
    mean = total / np.bincount(number)[:, None]
    return plan_folds(mean, low, high, ordered=ordered, groups=ends)


def _held_out(
    fold: RunFold,
    number: IntArray,
    rows: tuple[FloatArray, FloatArray, IntArray],
    features: FeatureMap,
    group_col: str,
) -> HeldOut:
    out = fold.rows(number, pack(rows[2][:, 0], rows[2][:, 1]))
    X, y, ids = rows[0][out], rows[1][out], rows[2][out]
    z = fold.regressors(X, features)
    names = [f"z{j}" for j in range(z.shape[1])]
    stats = to_statistics(z, y, ids, names, group_col, "none")[0]
    return HeldOut(fold.name, stats, kind=fold.kind)


def _with_parents(stats: SufficientStatistics) -> SufficientStatistics:
    """Return statistics in which groups without supercategories are of one."""
    if stats.parents is not None:
        return stats
    groups: npt.NDArray[np.int64] = np.unique(stats.group_ids)
    return replace(stats, parents=GroupParents(groups, np.zeros_like(groups)))


def _followed(features: FeatureMap, choice: Choice) -> FeatureMap:
    """Return features that follow slopes beyond the training's range as was chosen."""
    if features.range is None:
        return features
    return replace(features, range=replace(features.range, follow=choice.follow))


def _sentences(choice: Choice) -> tuple[str, ...]:
    """Return what was chosen, in words."""
    taken = ", ".join(f"{name} ({weight:.0%})" for name, weight in choice.table.taken)
    if len(choice.trials) == 1:
        taken = choice.table.taken[0][0]
    by = "runs left out" if np.isfinite(choice.table.rmse).any() else "marginal likelihood"
    found = [f"structure chosen by {by} from {len(choice.table.names)}: {taken}"]
    if choice.refused:
        found.append(f"some structures could not be tried ({choice.refused})")
    if choice.follow < 1:
        found.append(f"slopes are {_how(choice)} the range of the training, as runs left out say")
    if choice.apart is not None:
        name = choice.apart.table.taken[0][0]
        found.append(
            f"of pairs never seen groups and pairs left out say: {name}, its slopes"
            f" {_how(choice.apart)} the range"
        )
    return tuple(found)


def _how(choice: Choice) -> str:
    if choice.follow == 1:
        return "followed beyond"
    how = "not followed" if choice.follow == 0 else f"followed to {choice.follow:.0%}"
    return f"{how} beyond"
