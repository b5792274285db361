"""One run of a study, from configuration to report."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from molpool_common import ConfigModel, RunFolder, default_folder, dump_config
from rich.console import Console

from molpool_pipelines.runs import Tracker, TrackingConfig, tracking
from molpool_pipelines.studies.config import StudyConfig
from molpool_pipelines.studies.errors import HPOError
from molpool_pipelines.studies.folder import CONFIG, check_folder, open_folder
from molpool_pipelines.studies.monitor import Monitor, summary
from molpool_pipelines.studies.objective import Problem
from molpool_pipelines.studies.opening import open_study
from molpool_pipelines.studies.queue import Queue
from molpool_pipelines.studies.samplers import SamplerFactory, make_pruner
from molpool_pipelines.studies.screen import StudyScreen
from molpool_pipelines.studies.storage import journal_path, shown, without_password
from molpool_pipelines.studies.stored import StoredStudy, score
from molpool_pipelines.studies.task import StudyTask
from molpool_pipelines.studies.trials import error_text
from molpool_pipelines.studies.workers import supervise

REPORT = "report.html"


class TuningConfig(Protocol):
    """What a configuration must hold beside its model's own sections."""

    study: StudyConfig
    tracking: TrackingConfig
    save_dir: str | None
    overwrite: bool
    seed: int


ConfigT = TypeVar("ConfigT", bound=ConfigModel)


def run_study(
    config: ConfigT,
    make_problem: Callable[[ConfigT], Problem],
    *,
    name: str,
    arguments: Sequence[str] = (),
) -> int:
    """Run a study, or go on with it, and leave its folder behind.

    Parameters
    ----------
    config : ConfigModel
        With the sections of `TuningConfig`.
    make_problem : callable
        Reads the data and says what is tuned.
    name : str
        Names the folder where `save_dir` and `study_name` do not.
    arguments : sequence of str
        The command line, for the record.

    Returns
    -------
    int
        Exit code: 0 if a trial is complete.

    Raises
    ------
    InputError
        If configuration, data, space, storage or folder are wrong; then no trial has been started.
    HPOError
        If the first trials fail, or all of them.
    KeyboardInterrupt
        With a note on how to go on; trials that ran are put back.
    """
    settings: TuningConfig = config  # type: ignore[assignment]  # checked by who defines it
    console = Console()
    path = _folder(settings, name)
    check_folder(settings, path)
    problem = make_problem(config)
    for note in problem.notes:
        console.print(note, highlight=False, markup=False)
    task = _task(settings, problem, path)
    SamplerFactory(task.config, task.space, task.seed)
    make_pruner(task.config, problem.n_folds)
    public = _to_write_down(config, settings)
    arguments = [without_password(a, settings.study.storage) for a in arguments]
    opened = partial(open_folder, task, path, arguments, overwrite=settings.overwrite)
    # A folder is made for its journal, but not for a database that cannot be reached.
    run = opened() if settings.study.storage is None else None
    storage = task.open_storage()
    _, is_new = open_study(task, problem, storage)
    run = run or opened()
    run.write_text(CONFIG, dump_config(public))
    queue = task.queue(storage)
    if not is_new:
        queue.collect_lost()
    known = frozenset(t.number for t in queue.trials() if t.state.is_finished())
    run.log("started" if is_new else "resumed", arguments=list(arguments), trials=len(known))
    screen = StudyScreen(console, task.config.n_trials)
    _say_start(screen, task, path, len(known))
    with tracking(settings.tracking, path, public.model_dump(mode="json")) as tracker:
        monitor = Monitor(queue, problem, run, screen, tracker)
        limit = settings.study.timeout
        deadline = None if limit is None else time.time() + limit
        return _work(
            replace(task, known=known, deadline=deadline), queue, monitor, screen, run, tracker
        )


def _work(
    task: StudyTask,
    queue: Queue,
    monitor: Monitor,
    screen: StudyScreen,
    run: RunFolder,
    tracker: Tracker,
) -> int:
    try:
        with screen.shown():
            monitor.update()
            if task.config.workers == 1:
                task.work(queue, monitor.update)
            else:
                supervise(task, queue, task.config.workers, monitor.update)
    except KeyboardInterrupt:
        monitor.update()
        monitor.write(monitor.stored())
        run.log("interrupted")
        raise KeyboardInterrupt(
            f"Interrupted. Trials that ran are tried again: repeat the command with "
            f"--save-dir {run.path} to go on."
        ) from None
    except HPOError:
        _finish(monitor, run, tracker)
        raise
    if task.config.baselines:
        from molpool_pipelines.studies.baseline_run import write_baselines

        write_baselines(run, monitor.problem.kind, monitor.problem.metric)
    stored = _finish(monitor, run, tracker)
    run.log("ended", summary=summary(stored))
    return _say_end(screen, task, stored, run.path)


def _finish(monitor: Monitor, run: RunFolder, tracker: Tracker) -> StoredStudy:
    # What draws takes seconds to import, which no trial needs to wait for.
    from molpool_pipelines.studies.outcome import outcome_sections
    from molpool_pipelines.studies.report import study_report

    monitor.update()
    stored = monitor.stored()
    monitor.write(stored)
    report = run.write_text(REPORT, study_report(stored, run.path, outcome_sections(run.path)))
    tracker.file(report)
    if stored.complete():
        tracker.metrics({stored.metric: score(stored.complete()[0])})
    return stored


def _folder(settings: TuningConfig, name: str) -> Path:
    if settings.save_dir:
        return Path(settings.save_dir)
    if settings.study.study_name:
        # So that repeating the command goes on with the study.
        return Path("runs") / settings.study.study_name
    return default_folder(name)


def _to_write_down(config: ConfigT, settings: TuningConfig) -> ConfigT:
    storage = settings.study.storage
    public = None if storage is None else without_password(storage, storage)
    study = settings.study.model_copy(update={"storage": public})
    return config.model_copy(update={"study": study, "overwrite": False})


def _task(settings: TuningConfig, problem: Problem, path: Path) -> StudyTask:
    study = settings.study
    return StudyTask(
        name=study.study_name or path.name,
        storage=journal_path(study.storage, path),
        config=study,
        seed=settings.seed if study.seed is None else study.seed,
        direction=problem.direction,
        space=problem.space,
        defaults=dict(problem.defaults),
        build=problem.build,
    )


def _say_start(screen: StudyScreen, task: StudyTask, path: Path, n_done: int) -> None:
    what = f"{len(task.space.drawn)} parameters, {task.config.n_trials} trials"
    done = f", {n_done} of them done before" if n_done else ""
    who = "1 worker" if task.config.workers == 1 else f"{task.config.workers} workers"
    screen.say(f"Study {task.name} in {shown(task.storage)}: {what}{done}, {who}. Folder {path}")


def _say_end(screen: StudyScreen, task: StudyTask, stored: StoredStudy, path: Path) -> int:
    screen.say(summary(stored))
    if task.is_late():
        screen.say("Time is up; repeat the command to go on.")
    complete = stored.complete()
    if not complete:
        errors = [e for e in map(error_text, stored.trials) if e]
        last = f" The last error: {errors[-1]}" if errors else ""
        raise HPOError(f"study {task.name!r}: expected a trial that completes; found none.{last}")
    best = complete[0]
    screen.say(f"Best {stored.metric}: {score(best):.4f} (trial {best.number}), in {path}")
    return 0
