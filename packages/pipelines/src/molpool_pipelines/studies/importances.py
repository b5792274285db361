"""How much of the differences between scores each parameter explains."""

from __future__ import annotations

import warnings
from typing import Any

import optuna
from optuna.importance import FanovaImportanceEvaluator
from optuna.trial import FrozenTrial

from molpool_pipelines.studies.stored import StoredStudy, score

LEAST = 4
"""Complete trials below which importances would be noise."""


def importances(stored: StoredStudy) -> dict[str, float]:
    """Return the share of variance that each parameter explains alone, the largest first.

    Functional ANOVA over a random forest (Hutter, Hoos and Leyton-Brown 2014, An Efficient Approach
    for Assessing Hyperparameter Importance). Conditional parameters are each judged over the trials
    that have them.

    Parameters
    ----------
    stored : StoredStudy
        The study.

    Returns
    -------
    dict of str to float
        By parameter; empty with fewer than four complete trials, or scores that are all the same.
    """
    trials = stored.complete()
    if len(trials) < LEAST or len({score(t) for t in trials}) < 2:
        return {}
    everywhere = [n for n in _varied(trials) if all(n in t.params for t in trials)]
    found = _evaluate(trials, everywhere, stored)
    for name in _varied(trials):
        if name not in everywhere:
            having = [t for t in trials if name in t.params]
            if len(having) >= LEAST and len({score(t) for t in having}) > 1:
                both = [*everywhere, name]
                found[name] = _evaluate(having, both, stored).get(name, 0.0)
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _varied(trials: list[FrozenTrial]) -> list[str]:
    values: dict[str, set[Any]] = {}
    for trial in trials:
        for name, value in trial.params.items():
            values.setdefault(name, set()).add(value)
    return [name for name, seen in values.items() if len(seen) > 1]


def _evaluate(trials: list[FrozenTrial], names: list[str], stored: StoredStudy) -> dict[str, float]:
    if not names:
        return {}
    study = optuna.create_study(direction=stored.direction)
    study.add_trials(sorted(trials, key=lambda t: t.number))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of scikit-learn's forests
        return dict(
            optuna.importance.get_param_importances(
                study, params=names, evaluator=FanovaImportanceEvaluator(seed=0)
            )
        )
