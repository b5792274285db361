"""What fits take, told from trial steps, and how large a run's models may be in a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol

import numpy as np
from molpool_common import BoolArray, IntArray

from molpool_pipelines.models import MemberName

STEPS: Mapping[MemberName, str] = {
    "mlp": "epochs",
    "lightgbm": "n_estimators",
    "xgboost": "n_estimators",
    "catboost": "n_estimators",
    "forest": "n_estimators",
    "extra_trees": "n_estimators",
}
"""Parameter that counts the steps of a fit, where a fit has steps."""

_TRIAL: Mapping[str, tuple[int, int]] = {"epochs": (1, 3), "n_estimators": (5, 15)}
"""Steps of two trials, whose difference is what a step takes."""

_BOOSTED: frozenset[MemberName] = frozenset(("lightgbm", "xgboost", "catboost"))
_QUICKEST = 0.2
"""Highest learning rate of trees that are fewer than they should be."""

_LEAST_STEPS: Mapping[str, int] = {"epochs": 1, "n_estimators": 8}
"""Steps from which on a fit is worth more than few of another kind. Measured in equal times on
Biogen, AqSolDB, ExpansionRx and Tox21: a network of less than a pass errs more than eight trees."""

_LEAST_ROWS = 0.1
"""Share of the rows from which on a fit without steps is."""

_PILOT, _LEAST_PILOT, _MOST_PILOT = 0.125, 1_000, 4_000
"""Share of the rows of a trial, rows of the first one, below which all are, and rows that are
enough. A first one that says far too long is the only one."""

_ONE_A_TASK: frozenset[MemberName] = frozenset(
    ("lightgbm", "xgboost", "catboost", "forest", "extra_trees", "tabicl")
)
"""Models that learn each task by itself, so that some tasks tell what all take."""

_PILOT_TASKS = 6
"""Tasks of a trial of these."""

_PILOT_LABELS = (300, 1_250, 5_000)
"""Labels of trials of a Gaussian process, which takes about their square; the next where those
before do not say that it takes far too long."""

_SAID = 128
"""Rows of a trial that are predicted."""

_GROWTH: Mapping[MemberName, float] = {"gp": 1.8}
"""Power of the labels with which the time of a fit grows: measured from 170 to 1 400 rows, 1.7, and
2 from 700 on; of the others about 1."""

SURE = 0.85
"""Share of the time left that is planned for: trials tell times of fits by a tenth or so."""

LEAST = 0.05
"""Share of a budget that its only model has at least, where nothing is left: a network after a few
steps errs more than the mean does, and a small table's model is whole in that time."""

_FEWEST = 2
"""Folds that are predicted where they have time with some model."""


@dataclass(frozen=True)
class Cost:
    """Seconds of a model of all rows.

    Parameters
    ----------
    fixed : float
        Of a fit, beside its steps.
    step : float
        Of each step.
    steps : int
        Of a whole fit.
    said : float
        Of predicting all rows.
    """

    fixed: float
    step: float = 0.0
    steps: int = 0
    said: float = 0.0

    @property
    def fit(self) -> float:
        """Of a whole fit."""
        return self.fixed + self.step * self.steps


@dataclass(frozen=True)
class Size:
    """How large a run's models are.

    Parameters
    ----------
    folds : int
        That are predicted.
    one_network : bool
        Whether there is one network in the place of several.
    short : MemberName or None
        The only model, with less than its steps or rows: none fits whole. None where some do.
    seconds : float
        That each of its fits to all rows may take.
    over : bool
        Whether that is longer than the budget.
    """

    folds: int
    one_network: bool = False
    short: MemberName | None = None
    seconds: float = 0.0
    over: bool = False


@dataclass(frozen=True)
class Planning:
    """What a choice of sizes rests on.

    Parameters
    ----------
    cost : callable
        Gives the cost of a model; of one network where the second argument is true.
    names : sequence of str
        The models.
    folds : int
        That there are.
    work : callable
        Gives how many fits to all rows those of some folds and of all rows make.
    predicted : float
        Rows that each model predicts, as a share of those that it is fitted to.
    several : bool
        Whether the network is an ensemble.
    given : bool
        Whether the number of folds was given, and stays.
    """

    cost: Callable[[MemberName, bool], Cost]
    names: Sequence[MemberName]
    folds: int
    work: Callable[[int], float]
    predicted: float = 1.0
    several: bool = False
    given: bool = False

    def needs(self, name: MemberName, folds: int, one: bool = False) -> float:
        """Return the seconds of all that a model does."""
        cost = self.cost(name, one)
        return cost.fit * self.work(folds) + cost.said * self.predicted

    def size(self, left: float, least: float = 0.0) -> Size:
        """Return the size that fits into the seconds left.

        As many models as have time with two folds, which bring more than weights and intervals
        that rest on all rows; then as many folds. One network where that brings a model or a fold:
        several say how unsure they are and err as one does. Where none has time with two folds,
        one; where none has with one, the model that comes nearest, for as long as there is, or for
        the `least` seconds. All folds, where their number was given.
        """
        time, every = SURE * left, self.folds
        fewest, one = (every, every) if self.given else (min(_FEWEST, every), 1)
        whole = (len(self.names), every)
        best = max((*self._models(k, False, time), True) for k in range(fewest, every + 1))
        if best[:2] < whole and self.several:
            single = ((*self._models(k, True, time), False) for k in range(fewest, every + 1))
            best = max(best, *single)
        if not best[0]:
            best = (*self._models(one, self.several, time), not self.several)
        if best[0]:
            return Size(best[1], not best[2])
        name, seconds = self._nearest(max(time, least), one)
        return Size(one, self.several, name, seconds, over=time < least)

    def _models(self, folds: int, one: bool, time: float) -> tuple[int, int]:
        """Return how many models have time, the cheapest first, and the folds."""
        each = np.sort([self.needs(name, folds, one) for name in self.names])
        return int(np.sum(np.cumsum(each) <= time)), folds

    def _nearest(self, time: float, folds: int) -> tuple[MemberName, float]:
        """Return the model of which the largest share has time, and the seconds of a fit.

        First come those that have begun to learn in that time.
        """
        found = []
        for name in self.names:
            cost = self.cost(name, self.several)
            seconds = (time - cost.said * self.predicted) / self.work(folds)
            stepped = cost.step * cost.steps
            share = (seconds - cost.fixed) / stepped if stepped else seconds / (cost.fit or 1.0)
            begun = share >= _LEAST_ROWS
            if name in STEPS:
                begun = share * cost.steps >= _LEAST_STEPS[STEPS[name]]
            # Where there is no time at all: what learns something of all rows in a few steps.
            found.append((begun, max(share, 0.0), name in STEPS, -cost.fit, name, seconds))
        *_, name, seconds = max(found)
        return name, seconds


def shortened(name: MemberName, cost: Cost, seconds: float, share: float = 1.0) -> dict[str, Any]:
    """Return the parameters with which a fit to all rows takes some seconds.

    `share` is that of the rows to which the fit is.
    """
    if name not in STEPS:
        return {}
    if name == "mlp":
        # At least as long as a pass takes: what has hardly begun to learn is of no use.
        return {"time_limit": share * max(seconds - cost.fixed, cost.step, 0.01)}
    steps = max(1, min(cost.steps, int((seconds - cost.fixed) / max(cost.step, 1e-9))))
    found: dict[str, Any] = {"n_estimators": steps}
    if name in _BOOSTED:
        found["learning_rate"] = min(_QUICKEST, 0.03 * cost.steps / steps)
    return found


def share_of_rows(name: MemberName, cost: Cost, seconds: float) -> float:
    """Return of which share of the rows a fit takes some seconds; all where it has steps."""
    if name in STEPS or cost.fit <= seconds:
        return 1.0
    share = max(seconds / cost.fit, 1e-3)
    return float(share ** (1 / _GROWTH.get(name, 1.0)))


class Trial(Protocol):
    """Fits a model to some rows and tasks, with so many steps where it has such."""

    def __call__(self, rows: IntArray, tasks: IntArray, steps: int | None, /) -> Predict: ...


Predict = Callable[[IntArray], object]
"""Predicts some rows by the model of a trial."""


def tried_cost(
    name: MemberName, known: BoolArray, steps: int, trial: Trial, *, seed: int, left: float
) -> Cost:
    """Return the cost of a model, told from trials.

    Parameters
    ----------
    name : str
        Of the model.
    known : ndarray of bool [N, T]
        Where there are labels.
    steps : int
        Of a whole fit; 0 where it has none.
    trial : callable
        Fits the model.
    seed : int
        Of the rows that are tried.
    left : float
        Seconds; what takes longer need not be told closely.
    """
    order = np.random.default_rng(seed).permutation(len(known))
    n_rows = min(max(int(_PILOT * len(known)), _LEAST_PILOT), _MOST_PILOT)
    if name == "gp":
        some = np.sort(order[:n_rows])
        for most in _PILOT_LABELS:
            found = _of_labels(known, some, most, trial)
            if found.fit > left or known[some].sum() <= most:
                break
        return found
    # What is done but once is done before the first, and told by none.
    found = _of_rows(name, known, np.sort(order[:_LEAST_PILOT]), steps, trial, before=1)
    if n_rows > _LEAST_PILOT and found.fit + found.said <= left:
        found = _of_rows(name, known, np.sort(order[:n_rows]), steps, trial)
    return found


def _of_rows(
    name: MemberName,
    known: BoolArray,
    some: IntArray,
    steps: int,
    trial: Trial,
    *,
    before: int = 0,
) -> Cost:
    """Return the cost of a model by a trial of some rows, and of others `before` that is timed."""
    tasks = _spread_tasks(known[some].sum(axis=0), _PILOT_TASKS if name in _ONE_A_TASK else None)
    labels = int(known[np.ix_(some, tasks)].sum())
    if not labels:
        return Cost(0.0)
    more = known.sum() / labels
    if name not in STEPS:
        seconds, said = _timed(trial, some, tasks, None)
        # Each row that is predicted is compared with each that is known.
        again = len(known) / len(some) if name == "neighbours" else 1.0
        return Cost(more * seconds, said=more * again * said)
    few, many = _TRIAL[STEPS[name]]
    trials = [_timed(trial, some, tasks, n) for n in (*[few] * before, few, many)]
    (short, _), (long, said) = trials[-2:]
    step = max(long - short, 0.0) / (many - few)
    said *= steps / many if name in _ONE_A_TASK else 1.0
    return Cost(more * max(short - few * step, 0.0), more * step, steps, more * said)


def _timed(trial: Trial, rows: IntArray, tasks: IntArray, steps: int | None) -> tuple[float, float]:
    """Return the seconds of fitting and of predicting the rows."""
    start = perf_counter()
    predict = trial(rows, tasks, steps)
    fitted = perf_counter()
    predict(rows[:_SAID])
    return fitted - start, (perf_counter() - fitted) * len(rows) / len(rows[:_SAID])


def _of_labels(known: BoolArray, rows: IntArray, most: int, trial: Trial) -> Cost:
    """Return the cost of a Gaussian process by a trial of so many labels."""
    labels = known[rows].sum(axis=0)
    share = min(1.0, most / max(labels.sum(), 1))
    tasks = _spread_tasks(labels, max(1, int(share * len(labels))))
    # Fewer rows where the labels of one task are still too many.
    each = known[np.ix_(rows, tasks)].sum()
    rows = rows[:: max(1, round(each / most))]
    n = int(known[np.ix_(rows, tasks)].sum())
    if not n:
        return Cost(0.0)
    seconds, said = _timed(trial, rows, tasks, None)
    more = float(known.sum() / n)
    return Cost(more ** _GROWTH["gp"] * seconds, said=more ** _GROWTH["gp"] * said)


def _spread_tasks(labels: IntArray, most: int | None) -> IntArray:
    """Return tasks, of which rows have so many labels [T], evenly from the fewest to the most."""
    if most is None or most >= len(labels):
        return np.arange(len(labels))
    places = np.linspace(0, len(labels) - 1, most).round().astype(np.int64)
    return np.argsort(labels, kind="stable")[places]
