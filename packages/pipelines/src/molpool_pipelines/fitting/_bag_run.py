"""Train, evaluate and write one run of models over bags: attention alone, or several in a blend.

Bags that are not tested are predicted out of fold. These predictions weigh the models, choose
decision thresholds, calibrate intervals and are the run's validation; what is saved is fitted to
all of those bags.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from mil_attn import BagData, bag_folds, fit
from molpool_common import (
    FloatArray,
    InputError,
    IntArray,
    Split,
    first_rank_first,
    leave_ranks,
    listed,
    rank,
    read_npz,
    together,
)
from numpy.typing import NDArray
from rich.console import Console

from molpool_pipelines.fitting._bag_fits import OutOfFold, choose, out_of_fold, thresholds
from molpool_pipelines.fitting._bag_results import SaidOfBags, evaluate_bags
from molpool_pipelines.fitting._config import TrainMILConfig
from molpool_pipelines.fitting._interruption import interruptible
from molpool_pipelines.fitting._intervals import distance_to
from molpool_pipelines.fitting._mil_run import (
    MILFitting,
    MILInputs,
    check_run,
    models_of,
    rare_positive_sampler,
    read_inputs,
    with_size,
)
from molpool_pipelines.fitting._results import Results
from molpool_pipelines.models import (
    AttentionMember,
    BagBlend,
    BagMember,
    BagMemberName,
    Basis,
    fit_bag_member,
    shares,
)
from molpool_pipelines.runs import (
    BAGS_FOLDER,
    CHECKPOINTS,
    LAST_CHECKPOINT,
    check_same_table,
    open_folder,
    remember_notes,
    tracking,
)

_TRIED = "out-of-fold-{}.npz"
"""What a model says of bags out of fold, for a run that is resumed."""


def train_and_write(
    console: Console,
    config: TrainMILConfig,
    path: Path,
    arguments: Sequence[str],
    notes: Sequence[str] = (),
) -> Path:
    """Read bags, train, evaluate and write; see `train_mil`."""
    with first_rank_first():
        inputs = read_inputs(config)
    inputs.notes[:0] = notes
    n_notes = len(inputs.notes)
    config = with_size(config, inputs)
    of_size = inputs.notes[n_notes:]
    if config.resume:
        accept = config.accept_changed_table
        inputs.notes.extend(check_same_table(path, inputs.rows, accept=accept))
    for note in inputs.notes:
        console.print(note, highlight=False)
    check_run(config, inputs, path)
    alone = models_of(config, inputs) == ["attention"]
    if together() and not alone:
        raise InputError(
            "blend.models",
            expected="attention alone with several processes, which train one network",
            found=listed(models_of(config, inputs)),
            hint="--blend.models attention trains no other.",
        )
    if rank() > 0:
        _train_along(config, inputs, path)
        return path
    run = open_folder(config, path, arguments)
    inputs.rows.write(run)
    with (
        interruptible(run, "mil"),
        tracking(config.tracking, path, config.model_dump(mode="json")) as tracker,
    ):
        data = inputs.data
        of = {"instances": list(data.feature_names_3d), "bags": list(data.feature_names_2d)}
        run.log("features", **of)
        if not config.accept_changed_table:  # what was noted may be of the earlier table
            remember_notes(run, inputs.notes, of_size)
        kind = MILFitting if alone else BlendFitting
        fitting = kind(console, config, run, inputs, tracker)
        fitting.train()
        leave_ranks()
        fitting.write()
    fitting.close()
    return path


def _train_along(config: TrainMILConfig, inputs: MILInputs, path: Path) -> None:
    """Train as one of the ranks that say and write nothing."""
    last = path / CHECKPOINTS / LAST_CHECKPOINT
    train = inputs.of("train")
    fit(
        config,
        train,
        inputs.of("val") if "val" in inputs.splits else None,
        sampler=rare_positive_sampler(config, train, config.seed),
        checkpoint_dir=path / CHECKPOINTS,
        resume_from=last if config.resume and last.exists() else None,
        seed=config.seed,
    )
    leave_ranks()


class BlendFitting(MILFitting):
    """A run of several models of bags; see `MILFitting`."""

    _words = "the blend"

    def train(self) -> None:
        """Try the models out of fold, weigh them, and fit those that predict."""
        config, split = self._config, self._inputs.split
        self._rest: IntArray = np.sort(np.concatenate([split.train, split.val]))
        data = self._inputs.data.take(self._rest)
        assert data.labels is not None
        self._folds = inner_folds(config, data)
        tried = self._out_of_fold(data)
        left, self._weights, said = choose(
            tried, data.labels, config.task_kind, config.blend.weights
        )
        for note in said:
            self._console.print(note, highlight=False)
        self._inputs.notes.extend(said)
        self._said = left.mixed(self._weights)
        self._module = None
        if "attention" in left.names:
            super().train()
        members = tuple(self._final(name, data) for name in left.names)
        cuts = (0.5,) * len(data.task_names)
        if config.task_kind == "classification":
            cuts = thresholds(
                data.labels,
                self._said[0],
                config.threshold_metric,
                config.thresholds,
                data.task_names,
                config.training.threshold_least,
            )
        self._model = self._blend = BagBlend(
            left.names,
            members,
            self._weights,
            cuts,
            tuple(data.task_names),
            config.task_kind,
            tuple(data.feature_names_3d),
            tuple(data.feature_names_2d),
        )

    def _out_of_fold(self, data: BagData) -> OutOfFold:
        """Return what each model says out of fold; a resumed run has some of it already."""
        folder = self._run.path / BAGS_FOLDER
        folder.mkdir(exist_ok=True)

        def of(name: BagMemberName) -> Path:
            return folder / _TRIED.format(name)

        assert data.labels is not None
        # Of other bags or labels, as of a table that has changed, nothing is kept.
        of_these = {"ids": np.array(data.ids, dtype=np.str_), "labels": data.labels}
        known = {}
        for name in models_of(self._config, self._inputs) if self._config.resume else ():
            said = _read(of(name), of_these)
            if said is not None:
                known[name] = said

        def keep(name: BagMemberName, mean: FloatArray, sd: FloatArray) -> None:
            self._run.write_file(
                f"{BAGS_FOLDER}/{of(name).name}",
                lambda path: _write(path, mean=mean, sd=sd, **of_these),
            )

        names = models_of(self._config, self._inputs)
        return out_of_fold(names, data, self._folds, self._fit, known=known, keep=keep)

    def _fit(self, name: BagMemberName, data: BagData, fold: Split) -> BagMember:
        config = self._config
        if name != "attention":
            rows = np.sort(np.concatenate([fold.train, fold.val]))
            head, seed, limits = config.blend.head, config.seed, self._inputs.limits.bounds
            return fit_bag_member(name, data.take(rows), head=head, seed=seed, limits=limits)
        train = data.take(fold.train)
        result = fit(
            config,
            train,
            data.take(fold.val) if len(fold.val) else None,
            sampler=rare_positive_sampler(config, train, config.seed),
            seed=config.seed,
            threshold_metric=config.threshold_metric,
        )
        return AttentionMember(result.module)

    def _final(self, name: BagMemberName, data: BagData) -> BagMember:
        if name == "attention":
            return AttentionMember(self._result.module)
        every = np.arange(len(data))
        return self._fit(name, data, Split(every, every[:0], every[:0]))

    @property
    def _learnt(self) -> BagData:
        """The bags that models are fitted to, those that validate attention among them."""
        return self._inputs.data.take(self._rest)

    def _refitted(self, part: IntArray) -> FloatArray:
        """Return what the blend of models of some of these bags says of those that test."""
        fold = Split(part, part[:0], part[:0])
        members = tuple(self._fit(name, self._learnt, fold) for name in self._blend.names)
        mean, _ = replace(self._blend, members=members).predict_with_sd(self._inputs.of("test"))
        return mean

    def _save(self) -> list[Path]:
        files = super()._save() if self._module is not None else []
        return [*files, self._blend.save(self._run.path)]

    def _evaluate(self) -> Results:
        data = self._learnt
        mean, sd = self._said
        known = np.isfinite(mean).all(axis=1)
        said = {}
        if not known.all():
            # By time the earliest are tested by no fold.
            said["train"] = SaidOfBags.of(self._model, data.take(~known), None)
        distance = self._distance(data)
        said["val"] = SaidOfBags(
            data.take(known), mean[known], sd[known], None if distance is None else distance[known]
        )
        if "test" in self._inputs.splits:
            said["test"] = SaidOfBags.of(self._model, self._inputs.of("test"), data)
        basis: Basis = "rolling origin" if self._config.split.split_type == "time" else "folds"
        limits = self._inputs.limits
        return evaluate_bags(self._config, said, self._model, limits, basis)  # type: ignore[arg-type]  # names of splits

    def _distance(self, data: BagData) -> FloatArray | None:
        """Return how far each bag's molecule is from those that trained its fold."""
        if data.smiles is None:
            return None
        found = np.full(len(data), np.nan)
        for fold in self._folds:
            known = [data.smiles[row] for row in (*fold.train, *fold.val)]
            of_fold = distance_to(known, [data.smiles[row] for row in fold.test])
            if of_fold is None:
                return None
            found[fold.test] = of_fold
        return found

    def _facts(self) -> dict[str, Any]:
        said = shares(self._blend.names, self._weights)
        return super()._facts() | {"Models and their mean weight": said}


def inner_folds(config: TrainMILConfig, data: BagData) -> list[Split]:
    """Return folds of bags that are not tested, by the method of the split.

    Parameters
    ----------
    config : TrainMILConfig
        The run.
    data : BagData
        Labelled bags of its table.

    Raises
    ------
    InputError, MILError
        As `mil_attn.bag_folds`.
    """
    section = config.split.model_copy(update={"n_folds": config.blend.folds, "fold": 0})
    folds = bag_folds(data, config.model_copy(update={"split": section}))
    if len(folds) < 2:
        raise InputError("blend.folds", expected="two folds at least", found=str(len(folds)))
    return folds


def _write(path: Path, **arrays: NDArray[Any]) -> None:
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def _read(path: Path, of: Mapping[str, NDArray[Any]]) -> tuple[FloatArray, FloatArray] | None:
    """Return mean and sd of a file of `_write`; None where it is of other bags, or not there."""
    if not path.is_file():
        return None
    file = read_npz(path)
    same = all(
        np.array_equal(file[name], values, equal_nan=values.dtype.kind == "f")
        for name, values in of.items()
    )
    return (file["mean"], file["sd"]) if same else None
