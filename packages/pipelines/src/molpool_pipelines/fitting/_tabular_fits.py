"""Which models a run on features has, and with what weights: fits out of fold, and of all rows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np
from molpool_common import Float32Array, FloatArray, IntArray, doing, told
from rich.console import Console

from molpool_pipelines.fitting._baselines import FEATURES, baseline_names
from molpool_pipelines.fitting._budget import Budget
from molpool_pipelines.fitting._config import TrainTabularConfig
from molpool_pipelines.fitting._draws import epoch_sampler
from molpool_pipelines.fitting._related import (
    parts_of,
    seconds_to_learn,
    surrogate_columns,
    with_heads,
)
from molpool_pipelines.fitting._related_use import (
    Candidates,
    Plan,
    Use,
    Verdict,
    best_uses,
    compare_uses,
    plans_of,
    sentences,
)
from molpool_pipelines.fitting._tabular_rows import TrainingRows
from molpool_pipelines.models import (
    WORDS,
    Blend,
    Member,
    MemberName,
    Molecules,
    asks_sd,
    blend_weights,
    build_member,
    fit_member,
    predict_member,
)
from molpool_pipelines.tables import MoleculeTable, exact_labels

if TYPE_CHECKING:
    from multitask_models import MultitaskMLP, MultitaskModel

_PILOT = 0.125
"""Share of the rows by which is told, under a time budget, what a fit of all of them would take."""

_LEAST_PILOT = 64
"""Rows below which no pilot is worth it."""

_ONE_A_TASK: frozenset[MemberName] = frozenset(
    ("lightgbm", "forest", "extra_trees", "xgboost", "catboost", "tabicl")
)
"""Models that learn each task by itself, so that some tasks tell what all take."""

_PILOT_TASKS = 12
"""Tasks of a pilot of these: of hundreds, an eighth of the rows alone may outlast the budget."""

_PILOT_LABELS = 5_000
"""Labels of a pilot of a Gaussian process, which takes their square."""

_GROWTH: dict[MemberName, float] = {"gp": 1.8}
"""Power of the labels with which the time of a fit grows: measured from 170 to 1 400 rows, 1.7, and
2 from 700 on; of the others about 1."""

_SURE = 0.85
"""Share of the time left that is planned for: pilots tell times of fits by a tenth or so."""

_FEWEST = 2
"""Folds that are predicted however short the time is."""

_BESIDE = 0.25
"""Share of the budget that one of the simple models beside the run's own may take."""


@dataclass
class Surrogates:
    """What networks of the related tables say of the rows that are not tested, out of fold.

    Parameters
    ----------
    columns : list of ndarray of float32 [N, R]
        One a table.
    models : list of MultitaskModel
        Fitted to all of each table.
    notes : list of str
        What had no time.
    """

    columns: list[Float32Array] = field(default_factory=list)
    models: list[MultitaskModel] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, config: TrainTabularConfig, rows: TrainingRows, budget: Budget) -> Surrogates:
        """Fit them; none where no related table may be features.

        A table of which they would take more than half of the time that is left is dropped.
        """
        found = cls()
        molecules, blocks = rows.table.groups, rows.features.blocks
        part = parts_of(molecules, rows.folds, seed=config.seed)
        for related in list(rows.related) if config.related.use in ("auto", "features") else ():
            left = budget.left
            with doing(f"Learning {related.name}"):
                if left is not None:
                    wanted = seconds_to_learn(related, molecules, part, blocks)
                    if wanted > left / 2:
                        rows.related.remove(related)
                        found.notes.append(
                            f"{related.name} left out, as learning it would take {wanted:.0f} s of "
                            "the time budget."
                        )
                        continue
                columns, model = surrogate_columns(
                    related, molecules, rows.molecules.X, part, blocks, seed=config.seed
                )
            found.columns.append(columns)
            found.models.append(model)
        return found


class Fits:
    """Fits the models of a run, out of fold or to all rows.

    Parameters
    ----------
    console : Console
        The screen.
    config : TrainTabularConfig
        The run.
    rows : TrainingRows
        N rows that are not tested.
    kinds : sequence of {"regression", "classification"}, length T
        Of the tasks.
    budget : Budget
        The time that is left.
    """

    def __init__(
        self,
        console: Console,
        config: TrainTabularConfig,
        rows: TrainingRows,
        kinds: Sequence[Any],
        budget: Budget,
    ) -> None:
        self.config, self.rows, self.kinds = config, rows, tuple(kinds)
        self._console, self._budget = console, budget
        self.surrogates = Surrogates.of(config, rows, budget)
        self.farther: dict[Plan, tuple[FloatArray, FloatArray]] = {}
        self._seconds: dict[Plan, float] = {}

    def beside(self, names: Sequence[MemberName]) -> tuple[list[MemberName], list[str]]:
        """Return the simple models that the time budget allows, and what it does not.

        Their time is kept from the run's own models, which come first.
        """
        if self._budget.seconds is None or not len(self.rows.tested.smiles):
            return list(names), []
        # They take fewer features than those that are timed here.
        features = self.rows.features.blocks
        width = sum(block.width for block in features)
        theirs = sum(block.width for block in features if block.name in FEATURES.split("+"))
        share = theirs / width if theirs else 1.0
        wanted = {
            # By a fingerprint that they compute themselves.
            name: 0.0
            if name == "neighbours"
            and not any(block.kind in ("count", "bit") for block in features)
            else share * self._expected(Plan(name))
            for name in names
        }
        kept = [name for name in names if wanted[name] < _BESIDE * self._budget.seconds]
        self._budget.promise(sum(wanted[name] for name in kept))
        return kept, [
            f"Left out of the simple models beside it, as it would take about {wanted[name]:.0f} s "
            f"of the time budget: {WORDS[name]}."
            for name in names
            if name not in kept
        ]

    def plain(self) -> tuple[Candidates, list[str]]:
        """Return the models of the configuration as tried out of fold, and what had no time."""
        names = list(dict.fromkeys(self.config.model))
        if self._budget.seconds is not None:
            # The cheapest first, so that as many as possible have their turn.
            names.sort(key=lambda name: self._expected(Plan(name)))
        notes = self._leave_out_folds(names)
        tried = {name: self.try_out(Plan(name)) for name in names}
        if all(said is None for said in tried.values()):
            # There is none to fall back on.
            tried[names[0]] = self.try_out(Plan(names[0]), always=True)
            notes.append(f"Longer than the time budget, with one model alone: {WORDS[names[0]]}.")
        found = Candidates()
        for name in dict.fromkeys(self.config.model):
            said = tried[name]
            if said is not None:
                found.add(Plan(name), *said)
            else:
                notes.append(
                    f"Left out, as it would take longer than the time budget: {WORDS[name]}."
                )
        return found, notes

    def _leave_out_folds(self, names: Sequence[MemberName]) -> list[str]:
        """Keep as many folds as the models have time for, where with all some would have none.

        A second model brings more than weights and intervals that rest on all rows. Where no model
        has time, the fewest. All, where their number was given.
        """
        left, n = self._budget.left, len(self.rows.folds)
        if left is None or self.config.is_given("folds"):
            return []
        upto = np.cumsum([self._expected(Plan(name)) for name in names])

        def models(folds: int) -> int:
            return int(np.sum(upto * self._work(folds) <= _SURE * left))

        fewest = min(_FEWEST, n)
        kept = max(range(fewest, n + 1), key=lambda folds: (models(folds), folds))
        if not models(kept):
            # One is fitted all the same, for as short as may be.
            kept = fewest
        if kept == n:
            return []
        rows = self.rows
        self.rows = replace(rows, folds=rows.folds[-kept:], farther=rows.farther[-kept:])
        return [
            f"For the time budget, molecules of {kept} of {n} folds are predicted out of fold: "
            "weights and intervals rest on these."
        ]

    def _work(self, folds: int) -> float:
        """Return how many fits to all rows those of the last folds and of all rows make."""
        rows = self.rows
        return 1 + sum(len(train) for train, _ in rows.folds[-folds:]) / len(rows.table)

    def try_out(self, plan: Plan, *, always: bool = False) -> tuple[FloatArray, FloatArray] | None:
        """Return what a model says out of fold, mean and sd [N, T]; None where time is too short.

        Parameters
        ----------
        plan : Plan
            The model.
        always : bool
            Whether it is fitted whatever it takes.
        """
        rows, left = self.rows, self._budget.left
        mean, sd = (np.full(rows.table.targets.shape, np.nan) for _ in range(2))
        # Fits to all rows, in rows that are trained on; the last one of all rows included.
        work = self._work(len(rows.folds)) * len(rows.table)
        wanted = self._expected(plan) if left is not None or plan.name == "chemprop" else 0.0
        # Asked anew, as what it takes was perhaps tried just now.
        left = self._budget.left
        if left is not None and not always and wanted * work / len(rows.table) > left:
            return None
        start, done = perf_counter(), 0
        farther: list[tuple[FloatArray, FloatArray]] = []
        folds = zip(rows.folds, rows.farther, strict=True)
        words = f"Out of fold, {plan.words(rows.related)}"
        for (train, val), beyond in told(folds, words, len(rows.folds), "folds"):
            both = np.concatenate([val, beyond])
            hidden = {rows.table.groups[row] for row in both}
            model = self.fitted(plan, train, hidden)
            said = self._said(model, plan, both)
            mean[val], sd[val] = (values[: len(val)] for values in said)
            farther.append((said[0][len(val) :], said[1][len(val) :]))
            done += len(train)
            spent = (perf_counter() - start) * work / done
            if left is not None and not always and spent > left:
                return None
        self._budget.promise((perf_counter() - start) * len(rows.table) / done)
        of_folds = zip(*farther, strict=True)
        self.farther[plan] = tuple(np.concatenate(values) for values in of_folds)  # type: ignore[assignment]  # of pairs
        return mean, sd

    def _expected(self, plan: Plan) -> float:
        """Return about how many seconds a fit to all rows takes; each is told but once."""
        if plan not in self._seconds:
            # Imports its framework, whose seconds say nothing of what fits take.
            build_member(plan.name, self.rows.settings(self.config, self.kinds, plan))
            told_of = self._of_networks if plan.name == "chemprop" else self._of_pilot
            self._seconds[plan] = told_of(plan)
        return self._seconds[plan]

    def _of_pilot(self, plan: Plan) -> float:
        """Return what a fit to an eighth of the rows tells of one to all."""
        n, known = len(self.rows.table), np.isfinite(self.rows.table.targets)
        some = np.random.default_rng(self.config.seed).permutation(n)[: int(_PILOT * n)]
        if len(some) < _LEAST_PILOT:
            return 0.0
        tasks = _some_tasks(plan.name, known[some].sum(axis=0))
        labels = int(known[np.ix_(some, tasks)].sum())
        if not labels:
            return 0.0
        start = perf_counter()
        self.fitted(plan, np.sort(some), (), tasks)
        growth = (known.sum() / labels) ** _GROWTH.get(plan.name, 1.0)
        return (perf_counter() - start) * float(growth)

    def _of_networks(self, plan: Plan) -> float:
        """Say what Chemprop's networks will take, told from a few steps; return that of one fit.

        One fold of them may already be longer than the budget, so that it is told before the first.
        """
        from molpool_pipelines.models import GraphNetworks

        rows = self.rows
        settings = rows.settings(self.config, self.kinds, plan)
        model = build_member("chemprop", settings)
        assert isinstance(model, GraphNetworks)
        molecules, table = rows.molecules, rows.table
        whole = model.expected_seconds(
            molecules.smiles, table.targets, features=molecules.X, censoring=table.censoring
        )
        work = self._work(len(rows.folds))
        mp = model.config.model.message_passing
        self._console.print(
            f"Chemprop: {model.n_networks * len(model.groups)} networks, {mp.hidden_size} wide, "
            f"depth {mp.depth}, {model.config.training.epochs} epochs, fitted "
            f"{len(rows.folds) + 1} times: about {_minutes(whole * work)}.",
            highlight=False,
        )
        return whole

    def _said(self, model: Member, plan: Plan, at: IntArray) -> tuple[FloatArray, FloatArray]:
        with_sd = asks_sd(plan.name, self.config.model)
        mean, sd = predict_member(model, self._inputs(plan, at), with_sd=with_sd)
        return mean[:, : len(self.kinds)], sd[:, : len(self.kinds)]

    def _inputs(self, plan: Plan, at: IntArray) -> Molecules:
        molecules = self.rows.molecules.take(at)
        columns = [self.surrogates.columns[i][at] for i in plan.surrogates]
        return Molecules(molecules.smiles, np.hstack([molecules.X, *columns]))

    def fitted(
        self,
        plan: Plan,
        at: IntArray,
        hidden: Collection[str],
        tasks: IntArray | None = None,
    ) -> Member:
        """Return a model fitted to some rows, and to related labels of molecules not hidden.

        Parameters
        ----------
        plan : Plan
            The model.
        at : ndarray of int
            The rows.
        hidden : collection of str
            Keys of molecules of which related tables tell it nothing.
        tasks : ndarray of int or None
            Of which it sees labels; None: of all.
        """
        table, molecules = self.rows.table.take(at), self._inputs(plan, at)
        if tasks is not None and len(tasks) < len(self.kinds):
            seen = np.isin(np.arange(len(self.kinds)), tasks)
            table = replace(table, targets=np.where(seen, table.targets, np.nan))
        if not plan.heads:
            model = build_member(plan.name, self.rows.settings(self.config, self.kinds, plan))
            if plan.pretraining and (before := self._pretrained(plan, hidden)) is not None:
                model = cast("MultitaskMLP", model).starting_from(before)
            return fit_member(
                model,
                molecules,
                table.targets,
                censoring=table.censoring,
                sampler=self._sampler(plan, table),
            )
        related = [self.rows.related[i].without(hidden) for i in plan.heads]
        learnt = with_heads(molecules.X, table, self.kinds, related, self.config.related.weight)
        model = build_member(plan.name, self.rows.settings(self.config, learnt.kinds, plan))
        smiles = [*molecules.smiles, *(s for one in related for s in one.table.modelled)]
        return fit_member(
            model,
            Molecules(smiles, learnt.X),
            learnt.y,
            censoring=learnt.censoring,
            sample_weight=learnt.weights,
        )

    def _pretrained(self, plan: Plan, hidden: Collection[str]) -> MultitaskMLP | None:
        """Return a network of the run's kind of related tables alone; None if they tell nothing."""
        each = [self.rows.related[i].without(hidden) for i in plan.pretraining]
        each = [one for one in each if len(one.table)]
        if not each:
            return None
        first = each[0]
        assert first.X is not None
        learnt = with_heads(first.X, first.table, first.kinds, each[1:], 1.0)
        settings = self.rows.settings(self.config, learnt.kinds, Plan("mlp"))
        model = build_member("mlp", replace(settings, limits="auto"))
        smiles = [s for one in each for s in one.table.modelled]
        fit_member(model, Molecules(smiles, learnt.X), learnt.y, censoring=learnt.censoring)
        varies = bool(np.isnan(model.single_values_).any())
        return cast("MultitaskMLP", model) if varies else None

    def _sampler(self, plan: Plan, table: MoleculeTable) -> Any:
        if plan.name != "mlp":
            return None
        return epoch_sampler(
            self.config.joint_sampling,
            table.targets,
            table.quality,
            epochs=self.config.mlp.epochs,
        )


def _some_tasks(name: MemberName, labels: IntArray) -> IntArray:
    """Return the tasks of a pilot, of which rows have so many labels, [T]."""
    most = len(labels)
    if name in _ONE_A_TASK:
        most = _PILOT_TASKS
    elif name == "gp":
        most = max(1, int(most * _PILOT_LABELS / max(labels.sum(), 1)))
    if most >= len(labels):
        return np.arange(len(labels))
    # Evenly from the task of fewest labels to that of most.
    places = np.linspace(0, len(labels) - 1, most).round().astype(np.int64)
    return np.argsort(labels, kind="stable")[places]


def _minutes(seconds: float) -> str:
    return f"{max(seconds, 1):.0f} seconds" if seconds < 90 else f"{seconds / 60:.0f} minutes"


@dataclass(frozen=True)
class Chosen:
    """The models of a run and their weights.

    Parameters
    ----------
    found : Candidates
        M models that predict some task.
    weights : ndarray [M, T]
        Columns sum to 1.
    fits : Fits
        Fits them.
    verdicts : list of Verdict
        What each related table brings.
    notes : list of str
        What was left out, and what related tables bring.
    beside : list of str
        Simple models that are held beside them.
    """

    found: Candidates
    weights: FloatArray
    fits: Fits
    verdicts: list[Verdict]
    notes: list[str]
    beside: list[MemberName]

    @property
    def farther(self) -> tuple[FloatArray, FloatArray]:
        """What the models say of the farther rows of each fold, mean and sd [M, R, T]."""
        each = [self.fits.farther[plan] for plan in self.found.plans]
        return np.stack([mean for mean, _ in each]), np.stack([sd for _, sd in each])


def choose_models(
    console: Console,
    config: TrainTabularConfig,
    rows: TrainingRows,
    kinds: Sequence[Any],
    budget: Budget,
) -> Chosen:
    """Try the models out of fold, with and without related tables, and weigh them."""
    fits = Fits(console, config, rows, kinds, budget)
    beside, without = fits.beside(baseline_names(config.baselines))
    found, notes = fits.plain()
    uses, tables, verdicts, said = _uses(fits, found)
    names = [plan.name for plan in found.plans if plan == Plan(plan.name)]
    for use in tables:
        for plan in plans_of(names, use, tables):
            tried = None if found.of(plan) is not None else fits.try_out(plan)
            if tried is not None:
                found.add(plan, *tried)
        if any(found.of(plan) is None for plan in plans_of(names, use, tables)):
            said.append(f"Related tables as {use} left out: all models with them take too long.")
            uses = [None if one == use else one for one in uses]
    weights = np.zeros((len(found.plans), len(kinds)))
    exact = exact_labels(rows.table.targets, rows.table.censoring)
    for wanted in dict.fromkeys(uses):
        own = [found.plans.index(plan) for plan in plans_of(names, wanted, tables)]
        of_use = _weights(config, exact, np.stack([found.mean[i] for i in own]), kinds)
        for t in [t for t, one in enumerate(uses) if one == wanted]:
            weights[own, t] = of_use[:, t]
    # With related tables, what only served the comparison is not fitted again.
    kept = [i for i in range(len(weights)) if not rows.related or weights[i].max(initial=0) > 0]
    columns = (found.plans, found.mean, found.sd)
    left = Candidates(*([column[i] for i in kept] for column in columns))  # type: ignore[arg-type]  # each of its kind
    every = [*fits.surrogates.notes, *notes, *said, *without]
    return Chosen(left, weights[kept], fits, verdicts, every, beside)


def _uses(
    fits: Fits, found: Candidates
) -> tuple[list[Use | None], dict[Use, tuple[int, ...]], list[Verdict], list[str]]:
    """Return how each task uses related tables, which, and what was found when they were tried."""
    config, rows = fits.config, fits.rows
    tasks, related = rows.table.task_names, rows.related
    asked = config.related.use
    if not related:
        return [None] * len(tasks), {}, [], []
    if asked != "auto":
        return [asked] * len(tasks), {asked: tuple(range(len(related)))}, [], []
    # A sampler draws rows of the tasks, and knows nothing of others.
    tried = [use for use in get_args(Use) if use != "heads" or not config.joint_sampling.enabled]
    exact = exact_labels(rows.table.targets, rows.table.censoring)
    verdicts, said = compare_uses(found, related, tried, fits.try_out, tasks, fits.kinds, exact)
    uses, tables = best_uses(verdicts, related, tasks)
    return uses, tables, verdicts, [*said, *sentences(verdicts)]


def _weights(
    config: TrainTabularConfig, exact: FloatArray, each: FloatArray, kinds: Sequence[Any]
) -> FloatArray:
    if config.weights == "fitted":
        return blend_weights(exact, each, tuple(kinds))
    return np.full((len(each), exact.shape[1]), 1 / len(each))


def final_blend(chosen: Chosen) -> Blend:
    """Return the chosen models fitted to all rows that are not tested."""
    fits, plans = chosen.fits, chosen.found.plans
    every = np.arange(len(fits.rows.table))
    stage = told(plans, "Fitting to all rows", len(plans), "models")
    members = tuple(fits.fitted(plan, every, ()) for plan in stage)
    used = sorted({i for plan in plans for i in plan.surrogates})
    return Blend(
        tuple(plan.name for plan in plans),
        members,
        chosen.weights,
        tuple(asks_sd(plan.name, fits.config.model) for plan in plans),
        tuple(fits.surrogates.models[i] for i in used),
        tuple(tuple(used.index(i) for i in plan.surrogates) for plan in plans) if used else (),
    )
