"""Which models a run on features has, and with what weights: fits out of fold, and of all rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np
from molpool_common import Float32Array, FloatArray, IntArray, doing, told
from rich.console import Console

from molpool_pipelines.fitting._baselines import FEATURES, affordable, baseline_names
from molpool_pipelines.fitting._budget import Budget
from molpool_pipelines.fitting._config import TrainTabularConfig
from molpool_pipelines.fitting._costs import (
    LEAST,
    STEPS,
    SURE,
    Cost,
    Planning,
    Predict,
    Size,
    share_of_rows,
    shortened,
    tried_cost,
)
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
    MemberSettings,
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

_BESIDE = 0.2
"""Share of the budget that the simple models beside the run's own may take together."""


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
        self._of_folds: list[MultitaskMLP] = []
        self._took = 0.0
        self.networks = 1
        self.size, self._n_folds = Size(len(rows.folds)), len(rows.folds)
        self._costs: dict[tuple[Plan, bool], Cost] = {}
        self._passes = self.seconds_beside = 0.0

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
        tested = len(self.rows.tested.smiles) / len(self.rows.table)
        counted = any(block.kind in ("count", "bit") for block in features)

        def cost(name: MemberName) -> float:
            # Neighbours without a fingerprint here compute their own.
            if name == "neighbours" and not counted:
                return 0.0
            found = self.cost(Plan(name))
            return share * (found.fit + tested * found.said)

        most = _BESIDE * self._budget.seconds
        kept, wanted, notes = affordable(names, cost, most, "of the time budget")
        self.seconds_beside = wanted
        self._budget.promise(wanted)
        return kept, notes

    def plain(self) -> tuple[Candidates, list[str]]:
        """Return the models of the configuration as tried out of fold, and what had no time."""
        names, notes = self._sized(list(dict.fromkeys(self.config.model))), list[str]()
        tried = {name: self.try_out(Plan(name), first=name == names[0]) for name in names}
        found = Candidates()
        for name in dict.fromkeys(self.config.model):
            said = tried.get(name)
            if said is not None:
                found.add(Plan(name), *said)
            else:
                notes.append(
                    f"Left out, as it would take longer than the time budget: {WORDS[name]}."
                )
        if (kept := len(self.rows.folds)) < (n := self._n_folds):
            notes.append(
                f"For the time budget, molecules of {kept} of {n} folds are predicted out of fold: "
                "weights and intervals rest on these."
            )
        return found, notes

    def _sized(self, names: list[MemberName]) -> list[MemberName]:
        """Return the models that have time, the cheapest first."""
        if self._budget.left is None:
            return names

        def cost(name: MemberName, one: bool) -> Cost:
            return self.cost(Plan(name), one=one and name == "mlp")

        tested = len(self.rows.tested.smiles) / len(self.rows.table)
        planning = Planning(
            cost,
            names,
            len(self.rows.folds),
            self._work,
            1 + tested,
            several="mlp" in names and self.config.mlp.members > 1,
            given=self.config.is_given("folds"),
        )
        # Trials take time too.
        for name in names:
            self.cost(Plan(name))
        self.size = size = planning.size(
            max(self._budget.left or 0.0, 0.0), LEAST * (self._budget.seconds or 0.0)
        )
        self._keep_folds(size.folds)
        names.sort(key=lambda name: planning.needs(name, size.folds, size.one_network))
        return [size.short] if size.short else names

    def _keep_folds(self, kept: int, *, first: bool = False) -> None:
        """Keep some of the folds: the last, of which those by time know most."""
        rows = self.rows
        part = slice(kept) if first else slice(len(rows.folds) - kept, None)
        self.rows = replace(rows, folds=rows.folds[part], farther=rows.farther[part])

    def _work(self, folds: int) -> float:
        """Return how many fits to all rows those of the last folds and of all rows make."""
        rows = self.rows
        return 1 + sum(len(train) for train, _ in rows.folds[-folds:]) / len(rows.table)

    def try_out(self, plan: Plan, *, first: bool = False) -> tuple[FloatArray, FloatArray] | None:
        """Return what a model says out of fold, mean and sd [N, T]; None where time is too short.

        Parameters
        ----------
        plan : Plan
            The model.
        first : bool
            Whether the run has no other model yet: then fewer folds are predicted where it takes
            longer than was told.
        """
        rows, left = self.rows, self._budget.left
        mean, sd = (np.full(rows.table.targets.shape, np.nan) for _ in range(2))
        # Fits to all rows, in rows that are trained on; the last one of all rows included.
        work = self._work(len(rows.folds)) * len(rows.table)
        if left is not None or plan.name == "chemprop":
            cost = self.cost(plan, one=self.size.one_network and plan.name == "mlp")
            tested = len(rows.tested.smiles)
            wanted = cost.fit * work / len(rows.table) + cost.said * (1 + tested / len(rows.table))
            # Asked anew, as what it takes was perhaps tried just now.
            left = self._budget.left
            if left is not None and not first and wanted > left:
                return None
        start, done = perf_counter(), 0
        farther: list[tuple[FloatArray, FloatArray]] = []
        folds = zip(rows.folds, rows.farther, strict=True)
        words = f"Out of fold, {plan.words(rows.related)}"
        for (train, val), beyond in told(folds, words, len(rows.folds), "folds"):
            both = np.concatenate([val, beyond])
            hidden = {rows.table.groups[row] for row in both}
            model = self.fitted(plan, train, hidden)
            if self._may_grow(plan):
                self._of_folds.append(cast("MultitaskMLP", model))
            said = self._said(model, plan, both)
            mean[val], sd[val] = (values[: len(val)] for values in said)
            farther.append((said[0][len(val) :], said[1][len(val) :]))
            done += len(train)
            spent = (perf_counter() - start) * work / done
            if left is not None and spent > left and len(farther) < len(rows.folds):
                if not first:
                    return None
                if self.config.is_given("folds"):
                    continue
                self._keep_folds(len(farther), first=True)
                break
        took = perf_counter() - start
        self._budget.promise(took * len(rows.table) / done)
        if self._may_grow(plan):
            self._took = took * (1 + len(rows.table) / done)
        of_folds = zip(*farther, strict=True)
        self.farther[plan] = tuple(np.concatenate(values) for values in of_folds)  # type: ignore[assignment]  # of pairs
        return mean, sd

    def _may_grow(self, plan: Plan) -> bool:
        """Whether a model is one network in the place of several, to which others may be added."""
        size = self.size
        return plan == Plan("mlp") and size.one_network and not size.short and not self.rows.related

    def grow(self, found: Candidates) -> list[str]:
        """Add networks to the only one for as long as the time budget allows, out of fold.

        Each is tried on all folds before it counts, so that what is fitted to all rows is what the
        folds have predicted.

        Parameters
        ----------
        found : Candidates
            What the models say out of fold; that of the network is replaced.

        Returns
        -------
        list of str
            How many networks there are in the place of those that were asked for.
        """
        most = self.config.mlp.members
        while self._of_folds and self.networks < most:
            left = self._budget.left or 0.0
            if self._took > SURE * left or not self._grown(found):
                break
        self._of_folds.clear()
        if not self.size.one_network or self.size.short not in (None, "mlp"):
            return []
        if self.networks == most:
            return []
        n = "one network" if self.networks == 1 else f"{self.networks} networks"
        return [f"For the time budget, {n} in the place of {most}."]

    def _grown(self, found: Candidates) -> bool:
        """Add a network; return whether there was time for it on all folds."""
        rows, plan, start = self.rows, Plan("mlp"), perf_counter()
        mean, sd = (np.full(rows.table.targets.shape, np.nan) for _ in range(2))
        farther: list[tuple[FloatArray, FloatArray]] = []
        folds = zip(rows.folds, rows.farther, self._of_folds, strict=True)
        words = f"Out of fold, network {self.networks + 1}"
        for (train, val), beyond, model in told(folds, words, len(rows.folds), "folds"):
            left = self._budget.left
            if left is not None and left < self._took / (len(rows.folds) + 1):
                return False
            model.set_params(members=self.networks + 1, warm_start=True)
            self._learn(plan, model, train)
            both = np.concatenate([val, beyond])
            said = self._said(model, plan, both)
            mean[val], sd[val] = (values[: len(val)] for values in said)
            farther.append((said[0][len(val) :], said[1][len(val) :]))
        of_folds = zip(*farther, strict=True)
        self.farther[plan] = tuple(np.concatenate(values) for values in of_folds)  # type: ignore[assignment]  # of pairs
        found.replace(plan, mean, sd)
        self.networks += 1
        done = sum(len(train) for train, _ in rows.folds)
        took = perf_counter() - start
        self._budget.promise(took * len(rows.table) / done)
        self._took = took * (1 + len(rows.table) / done)
        return True

    def cost(self, plan: Plan, *, one: bool = False) -> Cost:
        """Return about what a model takes, of one network where asked; each is told but once."""
        if (plan, one) not in self._costs:
            if plan.name == "chemprop":
                found = Cost(self._of_networks(plan))
            else:
                found = self._of_trial(plan, {"members": 1} if one else {})
            self._costs[plan, one] = found
        return self._costs[plan, one]

    def _of_trial(self, plan: Plan, options: Mapping[str, Any]) -> Cost:
        # Imports its framework, whose seconds say nothing of what fits take.
        whole = build_member(plan.name, self.rows.settings(self.config, self.kinds, plan))
        steps = STEPS.get(plan.name)

        def trial(rows: IntArray, tasks: IntArray, n: int | None) -> Predict:
            more = options if n is None or steps is None else {**options, steps: n}
            model = self.fitted(plan, rows, (), tasks, more)
            return lambda at: self._said(model, plan, at)

        return tried_cost(
            plan.name,
            np.isfinite(self.rows.table.targets),
            getattr(whole, steps) if steps else 0,
            trial,
            seed=self.config.seed,
            left=self._budget.left or 0.0,
        )

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
        columns = [self.surrogates.columns[i][at] for i in plan.surrogates]
        return self.rows.molecules.take(at).beside(columns)

    def fitted(
        self,
        plan: Plan,
        at: IntArray,
        hidden: Collection[str],
        tasks: IntArray | None = None,
        options: Mapping[str, Any] | None = None,
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
        options : mapping or None
            Parameters that are others than the run's; None: those of the run's size.
        """
        if options is None:
            options, at = self._options(plan, at)
        table = self.rows.table.take(at)
        if tasks is not None and len(tasks) < len(self.kinds):
            seen = np.isin(np.arange(len(self.kinds)), tasks)
            table = replace(table, targets=np.where(seen, table.targets, np.nan))
        if not plan.heads:
            settings = self.rows.settings(self.config, self.kinds, plan)
            model = _built(plan.name, settings, options)
            if plan.pretraining and (before := self._pretrained(plan, hidden)) is not None:
                model = cast("MultitaskMLP", model).starting_from(before)
            self._learn(plan, model, at, table)
            self._passes = getattr(model, "epochs_", 0.0)
            return model
        molecules = self._inputs(plan, at)
        related = [self.rows.related[i].without(hidden) for i in plan.heads]
        learnt = with_heads(molecules.X, table, self.kinds, related, self.config.related.weight)
        model = _built(plan.name, self.rows.settings(self.config, learnt.kinds, plan), options)
        smiles = [*molecules.smiles, *(s for one in related for s in one.table.modelled)]
        return fit_member(
            model,
            Molecules(smiles, learnt.X),
            learnt.y,
            censoring=learnt.censoring,
            sample_weight=learnt.weights,
        )

    def _learn(
        self, plan: Plan, model: Member, at: IntArray, table: MoleculeTable | None = None
    ) -> None:
        """Fit a model to some rows, or to a table of them with fewer labels."""
        table = self.rows.table.take(at) if table is None else table
        sampler, molecules = self._sampler(plan, table), self._inputs(plan, at)
        fit_member(model, molecules, table.targets, censoring=table.censoring, sampler=sampler)

    def _options(self, plan: Plan, at: IntArray) -> tuple[dict[str, Any], IntArray]:
        """Return the parameters that the run's size asks for, and which of some rows are fitted."""
        size, found = self.size, dict[str, Any]()
        if size.one_network and plan.name == "mlp":
            found["members"] = self.networks
        if size.short != plan.name:
            return found, at
        cost = self.cost(Plan(plan.name), one="members" in found)
        share = len(at) / len(self.rows.table)
        found |= shortened(plan.name, cost, size.seconds, share)
        n = int(len(at) * share_of_rows(plan.name, cost, size.seconds))
        if n < len(at):
            order = np.random.default_rng(self.config.seed).permutation(len(at))
            at = np.sort(at[order[: max(n, 1)]])
        return found, at

    def shortened(self) -> list[str]:
        """Return a sentence of the only model, where it had less than its steps or rows."""
        name = self.size.short
        if name is None:
            return []
        cost = self.cost(Plan(name), one=self.size.one_network and name == "mlp")
        if name == "mlp":
            part = f"{self._passes:.2g} of {cost.steps} epochs"
        elif name in STEPS:
            steps = shortened(name, cost, self.size.seconds)["n_estimators"]
            part = f"{steps} of {cost.steps} trees"
        else:
            part = f"{share_of_rows(name, cost, self.size.seconds):.2g} of the rows"
        over = ", longer than it" if self.size.over or self.size.seconds <= cost.fixed else ""
        return [
            f"No model has time in the budget: {WORDS[name]} alone, with {part}{over}. Another run "
            "with this seed may differ."
        ]

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


def _built(name: MemberName, settings: MemberSettings, options: Mapping[str, Any]) -> Member:
    return build_member(name, replace(settings, options={**settings.options, **options}))


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
    notes += fits.grow(found)
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
