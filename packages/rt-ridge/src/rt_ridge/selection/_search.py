"""The search for a structure: candidates fitted, scored, refined, and one or several taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from molpool_common import FloatArray, told

from rt_ridge._config import RidgeConfig
from rt_ridge._errors import RTRidgeError
from rt_ridge.hierarchy._hierarchy import Hierarchy
from rt_ridge.hierarchy._linear_system import UnsolvableError, matched_threads
from rt_ridge.scales._mode import find_mode, with_intervals
from rt_ridge.selection._candidates import (
    Candidate,
    first_candidates,
    other_priors,
    refined_candidates,
)
from rt_ridge.selection._choice import (
    ROUNDING,
    Choice,
    Errors,
    Trial,
    choose,
    ranked,
    settled_choice,
)
from rt_ridge.selection._held_out import HeldOut
from rt_ridge.selection._judge import Judge, subset_of
from rt_ridge.statistics._sufficient import SufficientStatistics, standardised
from rt_ridge.tables._compounds import CompoundClasses, CompoundDescriptors

MAX_PAIRS, MANY_COVARIATES = 3_000, 5
"""Pairs that a choice is made on, of that many covariates: more say the same, and cost time."""

OTHER_PRIORS = 3
"""Best slope heads that are tried under every prior of intercepts."""

REFINED = 2
"""Best structures that are tried with one σ a group, and with a spread for each covariate."""


def search(
    stats: SufficientStatistics,
    held_out: Sequence[HeldOut],
    config: RidgeConfig,
    scale: FloatArray,
    known: tuple[CompoundDescriptors | None, CompoundClasses | None] = (None, None),
) -> Choice:
    """Choose a structure.

    Parameters
    ----------
    stats : SufficientStatistics
        Of all rows.
    held_out : sequence of HeldOut
        Folds of runs, and of pairs; without any of runs marginal likelihoods decide.
    config : RidgeConfig
        What all candidates have.
    scale : ndarray, [P]
        What regressors are divided by.
    known : tuple
        Descriptors and classes of compounds, if any.

    Raises
    ------
    RTRidgeError
        If no candidate can be fitted; the first one's message.
    """
    some = judged_pairs(stats)
    folds = [f for f in (fold.of(some.keys) for fold in held_out) if f.stats.G]
    searching = _Search(some, folds, scale, known)
    base = config.model_copy(update={"standardise": True, "method": "map"})
    trials = searching.tried(first_candidates(some, base))
    if not trials:
        raise searching.refusal or RTRidgeError("structure: expected a candidate, found none")
    heads = ranked(trials, searching.judge, OTHER_PRIORS)
    if searching.judge_of_unseen is not None:
        shared = [t for t in trials if t.candidate.carries_slopes]
        heads += [t for t in shared if all(t is not other for other in heads)]
    for trial in heads:
        # A prior that the user set stands in every candidate.
        if base.intercept_prior == RidgeConfig().intercept_prior:
            trials += searching.tried(other_priors(trial.candidate, some), trial)
    for trial in ranked(trials, searching.judge, REFINED):
        trials += searching.tried(refined_candidates(trial.candidate, some), trial)
    chosen = choose(trials, searching.judge)
    last = told(chosen.trials, "Scales of structures", len(chosen.trials))
    chosen = settled_choice(chosen, [searching.settled(t) for t in last], searching.judge)
    refused = "" if searching.refusal is None else str(searching.refusal)
    return replace(chosen, unseen=searching.of_unseen(trials, chosen), refused=refused)


def judged_pairs(stats: SufficientStatistics) -> SufficientStatistics:
    """Return the pairs that a choice is made on: all, or a part of many."""
    return subset_of(stats, most_pairs(stats))


def most_pairs(stats: SufficientStatistics) -> int:
    """Return how many pairs a choice is made on: fewer of many covariates, which say more each."""
    return int(MAX_PAIRS * min(1.0, ((1 + MANY_COVARIATES) / (1 + stats.P)) ** 2))


class _Search:
    """Fits candidates one by one; those that cannot be are left out."""

    def __init__(
        self,
        stats: SufficientStatistics,
        folds: Sequence[HeldOut],
        scale: FloatArray,
        known: tuple[CompoundDescriptors | None, CompoundClasses | None],
    ) -> None:
        self.stats, self.known = standardised(stats, scale), known
        of_runs = [fold for fold in folds if fold.kind == "runs"]
        of_pairs = [fold for fold in folds if fold.kind != "runs"]
        self.judge = Judge(stats, of_runs, scale) if of_runs else None
        self.judge_of_unseen = Judge(stats, of_pairs, scale) if of_pairs else None
        self.refusal: RTRidgeError | None = None

    def tried(self, candidates: Sequence[Candidate], like: Trial | None = None) -> list[Trial]:
        """Return trials of the candidates that can be fitted, much like one that was."""
        found = []
        for candidate in told(candidates, "Structures", len(candidates)):
            try:
                found.append(self._trial(candidate, like))
            except RTRidgeError as error:
                # Such as global slopes of covariates that are constant: others do without them.
                self.refusal = self.refusal or error
        return found

    def _trial(self, candidate: Candidate, like: Trial | None) -> Trial:
        hierarchy = Hierarchy(self.stats, candidate.config, *self.known)
        with matched_threads(hierarchy.system.arrangement.n_dense):
            scales, best = find_mode(hierarchy, None if like is None else like.scales)
            judges = (self.judge, self.judge_of_unseen)
            trial = Trial.of(candidate, hierarchy, scales, best, *judges)
        finite = bool(np.isfinite(trial.criterion))
        if trial.scores is not None:
            finite &= bool(np.isfinite(trial.scores.log_density).all())
        if not finite:
            raise RTRidgeError(f"structure: {candidate.name} has no finite score")
        return trial

    def settled(self, trial: Trial) -> Trial:
        """Return a trial with its scales at the mode itself, and their intervals.

        Where rounding leaves no system there, or of a fold, the trial as it was.
        """
        hierarchy = Hierarchy(self.stats, trial.candidate.config, *self.known)
        with matched_threads(hierarchy.system.arrangement.n_dense):
            try:
                scales = with_intervals(hierarchy, trial.best)
                judges = (self.judge, self.judge_of_unseen)
                return Trial.of(trial.candidate, hierarchy, scales, trial.best, *judges)
            except UnsolvableError:
                return trial

    def of_unseen(self, trials: Sequence[Trial], chosen: Choice) -> Choice | None:
        """Return the candidate that predicts pairs left out whole best, None where none were.

        Parameters
        ----------
        trials : sequence of Trial
            Of all candidates.
        chosen : Choice
            What is taken for pairs that were seen.
        """
        known = [replace(t, scores=t.unseen) for t in trials if t.unseen is not None]
        if self.judge_of_unseen is None or not known:
            return None
        found = choose(known, self.judge_of_unseen, mix=False)
        (trial,) = found.trials
        if np.ptp(Errors([trial], self.judge_of_unseen).log_error) < ROUNDING:
            # Without slopes there is nothing to follow.
            found = replace(found, follow=chosen.follow)
        same = [t for t in chosen.trials if t.candidate == trial.candidate]
        return replace(found, trials=(same[0] if same else self.settled(trial),))
