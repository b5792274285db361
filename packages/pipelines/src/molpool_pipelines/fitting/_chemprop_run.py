"""Train, evaluate and write one Chemprop run whose inputs are known to be right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from chemprop_multitask import (
    ChempropError,
    ChempropModel,
    Ensemble,
    EpochRecord,
    NonFiniteLossError,
)
from molpool_common import (
    FloatArray,
    IntArray,
    RunFolder,
    first_rank_first,
    from_first_rank,
    leave_ranks,
    listed,
    rank,
)
from rich.console import Console

from molpool_pipelines.affinity import Affinity
from molpool_pipelines.fitting._affinity import (
    applied,
    check_affinity,
    find_affinity,
    write_affinity,
)
from molpool_pipelines.fitting._baselines import ReferenceRows, baseline_names, with_baselines
from molpool_pipelines.fitting._config import TrainChempropConfig
from molpool_pipelines.fitting._evaluate import Part, evaluate, predict_part
from molpool_pipelines.fitting._inputs import Inputs, write_unseen
from molpool_pipelines.fitting._interruption import interruptible
from molpool_pipelines.fitting._jobs import (
    TrainingJob,
    build_jobs,
    check_checkpoints,
    ensemble_members,
    with_graphs,
)
from molpool_pipelines.fitting._learning_curve import CurveRequest, with_learning_curve
from molpool_pipelines.fitting._loop import (
    TrainingScreen,
    on_epoch_end,
)
from molpool_pipelines.fitting._origins import fit_aside, of_earlier_origins
from molpool_pipelines.fitting._results import (
    Results,
    against_baselines,
    metric_table,
    shown_rows,
    write_results,
)
from molpool_pipelines.fitting._tracked import sources_of, track_results
from molpool_pipelines.runs import (
    AFFINITY,
    GROUPS,
    MODEL,
    MODELS,
    Tracker,
    open_folder,
    remember_notes,
    tracking,
    write_rejected,
)
from molpool_pipelines.tables import MoleculeTable


def train_and_write(
    console: Console,
    config: TrainChempropConfig,
    inputs: Inputs,
    path: Path,
    arguments: Sequence[str],
) -> Path:
    """Featurise, measure groups, train, evaluate and write; see `train_chemprop`."""
    # The order is from cheap to dear: checks, graphs, measurement, models. The folder is opened
    # only when all models could be built, so that a refused run leaves nothing behind.
    check_affinity(config, inputs)
    with first_rank_first():
        inputs = with_graphs(console, config, inputs)
    measured = inputs
    affinity = from_first_rank(lambda: find_affinity(console, config, measured, path))
    jobs = build_jobs(applied(config, affinity.grouping) if affinity else config, inputs)
    if config.resume:
        check_checkpoints(jobs, path)
    if rank() > 0:
        _train_along(config, jobs, path)
        return path
    run = open_folder(config, path, arguments)
    inputs.rows.write(run)
    if not config.accept_changed_table:  # what was noted may be of the earlier table
        remember_notes(run, inputs.notes)
    # Around all of it: an ensemble can be stopped between two members, or while results are drawn.
    with (
        interruptible(run, "chemprop"),
        tracking(config.tracking, path, config.model_dump(mode="json")) as tracker,
    ):
        if affinity is not None:
            write_affinity(run, affinity)
        fitting = Fitting(console, config, run, inputs, jobs, tracker, affinity)
        fitting.train()
        leave_ranks()
        fitting.write()
    fitting.close()
    return path


def _train_along(config: TrainChempropConfig, jobs: Sequence[TrainingJob], path: Path) -> None:
    """Train as one of the ranks that say and write nothing."""
    for job in jobs:
        _share_seed(job)
        job.model.fit(
            job.train,
            job.val if len(job.val) else None,
            sampler=job.sampling.sampler,
            callbacks=job.sampling.callbacks,
            checkpoint_dir=job.checkpoints(path),
            resume_from=job.last_checkpoint(path) if config.resume else None,
            seed=job.seed,
        )
    leave_ranks()


def _share_seed(job: TrainingJob) -> None:
    """Have all ranks draw the first one's stream, where its seed is not given."""
    if (sampler := job.sampling.sampler) is not None:
        sampler.seed = from_first_rank(lambda: sampler.seed)


class Fitting:
    """One run from checked inputs to a full run folder: `train`, `write`, `close`, in this order.

    Parameters
    ----------
    console : Console
        The screen.
    config : TrainChempropConfig
        The run.
    run : RunFolder
        Where it goes.
    inputs : Inputs
        Checked tables.
    jobs : sequence of TrainingJob
        A job per member and group of tasks.
    tracker : Tracker
        Where numbers are logged besides.
    affinity : Affinity or None
        What the groups were made from, if they were measured.
    """

    def __init__(
        self,
        console: Console,
        config: TrainChempropConfig,
        run: RunFolder,
        inputs: Inputs,
        jobs: Sequence[TrainingJob],
        tracker: Tracker,
        affinity: Affinity | None = None,
    ) -> None:
        self._console = console
        self._config = config
        self._run = run
        self._inputs = inputs
        self._jobs = jobs
        self._tracker = tracker
        self._affinity = affinity
        self._trained: list[TrainingJob] = []
        self._epochs = 0

    @property
    def _loss(self) -> str:
        each = dict.fromkeys(t.model.loss_description for t in self._jobs)
        return "; ".join(each)  # groups of classes and groups of values have different ones

    def train(self) -> None:
        """Fit each model; an interrupted run can be resumed, and goes on with the same one.

        Raises
        ------
        ChempropError
            If a loss is not finite, naming molecules and tasks.
        """
        self._say(f"Loss: {self._loss}")
        for job in self._jobs:
            try:
                self._epochs += len(self._fit(job))
            except NonFiniteLossError as error:
                self._run.log("failed", error=str(error))
                # The model knows rows of its training split only; users know lines of their files.
                raise ChempropError(error.describe(_places(error, job))) from None
            if skipped := job.model.skipped:
                first = skipped[0].describe(_places(skipped[0], job))
                self._note(f"{len(skipped)} training batches were skipped. The first: {first}")
            self._trained.append(job)

    def _fit(self, job: TrainingJob) -> list[EpochRecord]:
        """Fit one model; one that was through before it was interrupted comes back as it was."""
        if title := _title(job, self._jobs):
            self._say(title)
        log = [job.log] if job.log else []
        _share_seed(job)
        for callback in job.sampling.callbacks:
            callback.on_warning = self._note
        joint = self._config.joint_sampling
        screen = TrainingScreen(self._console, self._config.training.epochs, job.log)
        return job.model.fit(
            job.train,
            job.val if len(job.val) else None,
            sampler=job.sampling.sampler,
            callbacks=[*job.sampling.callbacks, *log, screen],
            on_epoch=on_epoch_end(
                self._run,
                self._tracker,
                screen,
                log=job.log,
                drawn=(lambda: self._sampling_frame(job)) if joint.log_weight_statistics else None,
                track_sampling=joint.log_to_mlflow,
                which=_which(job),
                prefix="" if job.name is None else f"{job.name}/",
            ),
            checkpoint_dir=job.checkpoints(self._run.path),
            resume_from=job.last_checkpoint(self._run.path) if self._config.resume else None,
            seed=job.seed,
        )

    def _note(self, note: str) -> None:
        """Say what is found during training, and put it on the page; members find the same."""
        if note not in self._inputs.notes:
            remember_notes(self._run, self._inputs.notes, [note])
            self._console.print(note, highlight=False, markup=False)

    def _sampling_frame(self, job: TrainingJob) -> pl.DataFrame:
        """Return the sampling statistics so far, with member and group where there are several."""
        frames = [
            t.log.frame().select(
                *(pl.lit(number).alias(name) for name, number in _which(t).items()), pl.all()
            )
            # The file is rewritten as a whole each epoch: rows of models that are trained already
            # have to be in it again.
            for t in (*self._trained, job)
            if t.log is not None
        ]
        # Groups have different tasks and hence different count columns.
        return pl.concat(frames, how="diagonal_relaxed")

    def write(self) -> None:
        """Evaluate, and write models, predictions, metrics and report."""
        inputs, run = self._inputs, self._run
        # An ensemble of one predicts as its model does, so that unseen rows need no second path.
        ensemble = Ensemble([m.model for m in ensemble_members(self._jobs)])
        # First of all: what took the hours must not wait for what can fail.
        single = ensemble.members[0]
        if len(ensemble.members) == 1 and isinstance(single, ChempropModel):
            model = run.write_file(MODEL, single.save)
        else:
            model = run.write_folder(MODELS, ensemble.save)
        files = [model]
        farther, notes = of_earlier_origins(self._applied, inputs)
        results = evaluate(self._config, inputs, self._jobs, farther)
        results = replace(results, remarks=(*results.remarks, *notes))
        self._results = self._with_curve(self._with_baselines(results))
        write_rejected(run, inputs.rejected)
        if self._affinity is not None:
            files += [run.path / name for name in (AFFINITY, GROUPS)]
        facts = {
            "Distinct molecules": len(set(inputs.table.groups)),
            "Task types": ", ".join(
                f"{inputs.task_types.count(kind)} {kind}" for kind in sorted(set(inputs.task_types))
            ),
            "Loss": self._loss,
        }
        self._page = write_results(
            run,
            self._results,
            "chemprop",
            inputs.notes,
            facts,
            self._epochs,
            page=self._config.page,
        )
        if inputs.unseen is not None:
            # As predict does, with what the run has just left.
            level = self._results.level
            self._unseen = write_unseen(run, self._config, inputs.unseen, level)
            files += self._unseen
        track_results(
            self._tracker,
            run.path,
            self._results,
            inputs.rows,
            self._page,
            files,
            source=sources_of(self._config),
        )

    def _with_baselines(self, results: Results) -> Results:
        inputs, tables = self._inputs, self._inputs.tables
        if results.reported == "train" or (len(inputs.folds) > 1 and results.reported != "test"):
            return results  # no row that one model of all others could be tested on
        tested = tables.test if results.reported == "test" else tables.val
        known = set(tables.test.groups)
        rest = [i for i, group in enumerate(inputs.table.groups) if group not in known]
        # The models of an ensemble have together seen all rows that are not tested.
        many = len(inputs.folds) > 1
        train = inputs.table.take(np.array(rest, dtype=np.int64)) if many else tables.train
        return with_baselines(
            self._console,
            self._run,
            results,
            ReferenceRows(train, tested, self._config.data.structure),
            inputs.task_types,
            baseline_names(self._config.baselines),
            model="Chemprop",
            seed=self._config.seed,
            cache=self._config.data.cache_dir,
        )

    def _with_curve(self, results: Results) -> Results:
        """Return the results with those of models of fewer rows, where that was asked for."""
        config, inputs = self._config, self._inputs
        known = set(inputs.tables.test.groups)
        rows = [i for i, group in enumerate(inputs.table.groups) if group not in known]
        every = inputs.table.take(np.array(rows, dtype=np.int64))
        train = inputs.tables.train if len(inputs.folds) == 1 else every
        asked = CurveRequest(config.learning_curve, train, config.seed)

        def refit(part: IntArray) -> FloatArray:
            return self._of_fewer(set(train.take(part).units))

        return with_learning_curve(results, asked, inputs.task_types, refit)

    @property
    def _applied(self) -> TrainChempropConfig:
        """The run with the groups that were measured."""
        affinity = self._affinity
        return self._config if affinity is None else applied(self._config, affinity.grouping)

    def _of_fewer(self, kept: set[Any]) -> FloatArray:
        """Return what models trained on some of the molecules say of the test rows."""
        inputs = self._inputs
        folds = [replace(of, train=_of_units(of.train, kept)) for of in inputs.folds]
        fewer = replace(inputs, folds=folds, tables=replace(inputs.tables, train=folds[0].train))
        jobs = build_jobs(self._applied, fewer)
        fit_aside(jobs)
        return predict_part(Part("test", inputs.tables.test), jobs, inputs).mean

    def close(self) -> None:
        """Print the table of metrics and where the files are."""
        split = self._results.reported
        columns, rows = shown_rows(self._results.metrics[split])
        n = self._config.ensemble.n_members
        mean = f", mean of {n} members" if n > 1 else ""
        title = f"Metrics by task, {split} molecules{mean}"
        self._console.print(metric_table(rows, columns, title))
        for line in (*self._results.notes, *against_baselines(self._results)):
            self._console.print(line, highlight=False, markup=False)
        if self._inputs.unseen is not None:
            self._say(f"Predictions: {self._unseen[-1]}")
        if self._page is not None:
            self._say(f"Report: {self._page}")

    def _say(self, line: str) -> None:
        self._console.print(line, highlight=False, soft_wrap=True)


def _of_units(table: MoleculeTable, kept: set[Any]) -> MoleculeTable:
    return table.take(np.flatnonzero([unit in kept for unit in table.units]))


def _which(job: TrainingJob) -> dict[str, int]:
    """Return the numbers that distinguish models of one run in log and statistics."""
    which = {} if job.member is None else {"member": job.member.number}
    return which if job.group is None else which | {"group": job.group.number}


def _title(job: TrainingJob, jobs: Sequence[TrainingJob]) -> str:
    """Return what the screen says before a model is trained; nothing of a single one."""
    words = []
    if (member := job.member) is not None:
        n = len({t.member.number for t in jobs if t.member is not None})
        words.append(
            f"Member {member.number} ({n} in all): seed {member.seed_number}, fold {member.fold}"
        )
    if (group := job.group) is not None:
        n = len({t.group.number for t in jobs if t.group is not None})
        words.append(f"Group {group.number} ({n} in all): {', '.join(job.model.task_names)}")
    return "; ".join(words)


def _places(error: NonFiniteLossError, job: TrainingJob) -> str:
    """Return the molecules of a loss that is not finite as their tables call them."""
    table = job.tables.train if error.stage == "training" else job.tables.val
    origin = table.origin[list(error.rows)]
    names = [
        f"row {row} of {source}" + ("" if name == str(row) else f" ({name})")
        for name, source, row in origin.select("id", "source", "row").iter_rows()
    ]
    return listed(names)
