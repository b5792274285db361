"""One run of a study, from configuration to report: screen, records, folder, and the run itself."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import yaml
from molpool_common import (
    BEST,
    ConfigModel,
    InputError,
    RunFolder,
    absolute_paths,
    answer,
    check_free,
    checked,
    default_folder,
    interruption,
    tell,
    without_secrets,
)
from molpool_common import (
    console as new_console,
)
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from molpool_pipelines.runs import (
    STUDY,
    Tracker,
    TrackingConfig,
    as_begun,
    check_same_table,
    tracking,
    write_config,
    write_rejected,
)
from molpool_pipelines.studies._config import HPOError, StudyConfig
from molpool_pipelines.studies._queue import Queue, retried
from molpool_pipelines.studies._samplers import SamplerFactory, make_pruner
from molpool_pipelines.studies._snapshot import (
    Counts,
    StudySnapshot,
    first_trials,
    open_study,
    score,
    seconds_of,
    state_of,
    take_snapshot,
    write_page,
    write_tables,
)
from molpool_pipelines.studies._storage import (
    JOURNAL,
    SEALED,
    is_database,
    journal_path,
)
from molpool_pipelines.studies._trials import Problem, StudyWorker, error_text, folds_of, params_of
from molpool_pipelines.studies._workers import supervise
from molpool_pipelines.tables import with_tasks


class StudyScreen:
    """A progress bar with the best score, and a line for each trial that ends.

    Parameters
    ----------
    console : Console
        Where to draw.
    n_trials : int
        Trials of the study.
    """

    def __init__(self, console: Console, n_trials: int) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[counts]}", markup=False),
            console=console,
            transient=True,
        )
        self._n_trials = n_trials
        self._task: TaskID | None = None
        self._has_header = False

    @contextmanager
    def live(self) -> Iterator[None]:
        """Draw the bar while the block runs."""
        try:
            yield
        finally:
            if self._task is not None:
                self._progress.stop()

    def update(self, snapshot: StudySnapshot) -> None:
        """Draw where the study stands."""
        counts = Counts.of(snapshot.trials)
        best = snapshot.complete()[:1]
        text = f"best {score(best[0]):.4f}, trial {best[0].number}" if best else "no score yet"
        others = f"{counts.pruned} pruned, {counts.failed} failed, {counts.running} running"
        # Lines of ended trials are printed either way; a bar would fill a log file.
        if not self._console.is_terminal:
            tell("Study", counts.done, self._n_trials, "trials")
            return
        if self._task is None:
            self._progress.start()
            # What was done before is no sign of how fast it goes now.
            self._task = self._progress.add_task(
                text, total=self._n_trials, completed=counts.done, counts=others
            )
        self._progress.update(self._task, description=text, completed=counts.done, counts=others)

    def trial(self, trial: FrozenTrial, snapshot: StudySnapshot, again: set[int]) -> None:
        """Print the line of a trial that ended; a star marks the best so far."""
        if not self._has_header:
            self._has_header = True
            self._print(f"trial       score        s  state     ({snapshot.metric})", style="bold")
        is_best = bool(snapshot.complete()) and snapshot.complete()[0].number == trial.number
        value = f"{score(trial):.4f}" if trial.state == TrialState.COMPLETE else "–"
        seconds = seconds_of(trial)
        error = error_text(trial) if trial.state == TrialState.FAIL else None
        line = f"{trial.number:>5}  {value:>9}{'*' if is_best else ' '}  {seconds or 0:>7.1f}  "
        self._print(line + state_of(trial, again) + (f": {error}" if error else ""))

    def print(self, text: str) -> None:
        """Print a line above the bar."""
        self._print(text)

    def _print(self, text: str, style: str | None = None) -> None:
        self._console.print(text, highlight=False, markup=False, style=style, soft_wrap=True)


_EVERY = 15.0
"""Seconds between tables, which take longer the more trials there are."""


class StudyRecorder:
    """Follows a study in its storage, whoever runs its trials.

    Parameters
    ----------
    queue : Queue
        The study's.
    problem : Problem
        What is tuned.
    run : RunFolder
        The study's folder.
    screen : StudyScreen
        Where it is displayed.
    tracker : Tracker
        Where trials are logged, each below the study.
    """

    def __init__(
        self, queue: Queue, problem: Problem, run: RunFolder, screen: StudyScreen, tracker: Tracker
    ) -> None:
        self._queue = queue
        self.problem = problem
        self._run = run
        self._screen = screen
        self._tracker = tracker
        # A resumed study has reported before what it did then.
        # By number, not by count: trials of other workers end in any order.
        self._seen = {t.number for t in queue.trials() if t.state.is_finished()}
        self._written = time.monotonic()
        self._best: int | None = None

    def snapshot(self) -> StudySnapshot:
        """Return what the study holds now."""
        return take_snapshot(self._queue.study, self._queue.n_trials)

    def update(self) -> None:
        """Report the trials that have ended since the last time."""
        snapshot = self.snapshot()
        ended = [t for t in snapshot.trials if t.state.is_finished() and t.number not in self._seen]
        again = retried(snapshot.trials)
        # Also those that other processes and machines ran: the storage is the only place that knows
        # of all.
        for trial in ended:
            self._seen.add(trial.number)
            self._screen.trial(trial, snapshot, again)
            self._log(trial, again)
            self._track(trial)
        self._screen.update(snapshot)
        if ended and time.monotonic() - self._written > _EVERY:
            self.write(snapshot)

    def write(self, snapshot: StudySnapshot) -> None:
        """Write the tables and the best configuration."""
        write_tables(self._run, snapshot)
        best = snapshot.complete()[:1]
        # best.yaml is rewritten only for a new best, so that its time says when it was found.
        if best and best[0].number != self._best:
            self._best = best[0].number
            self._run.write_text(BEST, best_yaml(snapshot, best[0], self.problem))
        self._written = time.monotonic()

    def _log(self, trial: FrozenTrial, again: set[int]) -> None:
        self._run.log(
            "trial",
            number=trial.number,
            state=state_of(trial, again),
            value=trial.value if trial.state == TrialState.COMPLETE else None,
            seconds=seconds_of(trial),
            params=params_of(trial),
            error=error_text(trial),
        )

    def _track(self, trial: FrozenTrial) -> None:
        failed = trial.state == TrialState.FAIL
        name = f"trial-{trial.number:04d}"
        with self._tracker.nested(name, params_of(trial), failed=failed) as tracker:
            for step, value in sorted(trial.intermediate_values.items()):
                tracker.metrics({"running_mean": value}, step)
            for k, fold in enumerate(folds_of(trial)):
                tracker.metrics({"fold_value": fold["value"]}, k)
                numbers = {n: v for n, v in fold["numbers"].items() if v is not None}
                tracker.metrics(numbers, k)
            if trial.state == TrialState.COMPLETE:
                tracker.metrics({self.problem.metric: score(trial)})


def best_yaml(snapshot: StudySnapshot, trial: FrozenTrial, problem: Problem) -> str:
    """Return the configuration of a trial as a file that molpool-train takes."""
    resolved: Mapping[str, Any] = problem.resolve(params_of(trial))
    text = yaml.safe_dump(dict(resolved), sort_keys=False, allow_unicode=True, width=100)
    head = f"# Trial {trial.number} of {snapshot.name}: {snapshot.metric} {score(trial):.4f}"
    return f"{head} over {snapshot.identity['n_folds']} inner folds\n{text}"


def summary(snapshot: StudySnapshot) -> str:
    """Return one line on how a study stands."""
    counts = Counts.of(snapshot.trials)
    parts = [f"{counts.complete} complete", f"{counts.pruned} pruned", f"{counts.failed} failed"]
    if counts.retried:
        parts.append(f"{counts.retried} retried")
    return f"{counts.done} of {snapshot.n_trials} trials: {', '.join(parts)}"


def check_folder(settings: TuningConfig, path: Path) -> None:
    """Refuse early, before data are read, a folder that holds something else."""
    if settings.overwrite and is_database(settings.study.storage):
        raise InputError(
            "overwrite",
            expected="a study in its own folder",
            found="one in a database, which others may share",
            hint="Give another --study-name.",
        )
    if settings.overwrite or not (path / STUDY).is_file():
        check_free(path, overwrite=settings.overwrite, restart=True)


def open_folder(
    worker: StudyWorker, path: Path, arguments: Sequence[str], *, overwrite: bool
) -> RunFolder:
    """Make the folder of a study, or open it to go on, and write down which study it is."""
    facts = _facts(worker)
    if (path / STUDY).is_file() and not overwrite:
        before = json.loads(checked(path / STUDY).read_text(encoding="utf-8"))
        _check_same_study(before, facts, path)
        run = RunFolder.resume(path, alone=False)
        # What was written at the end of an earlier attempt, such as the space, is kept until it is
        # rewritten.
        facts = before | facts
    else:
        run = RunFolder.create(path, overwrite=overwrite, restart=True, arguments=arguments)
        # `create` removes what any run writes; a journal is of studies alone.
        for name in (JOURNAL, JOURNAL + SEALED):
            (path / name).unlink(missing_ok=True)
    run.write_json(STUDY, facts)
    # Other commands may work on the study too.
    run.close()
    return run


def _facts(worker: StudyWorker) -> dict[str, Any]:
    own = worker.config.storage is None
    return {
        "name": worker.name,
        "journal": JOURNAL if own else None,
        "storage": None if own else _public(worker.storage),
        "n_trials": worker.config.n_trials,
        "direction": worker.direction,
    }


def _check_same_study(before: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> None:
    for key in ("name", "storage"):
        if before[key] != now[key]:
            raise InputError(
                f"study.{'study_name' if key == 'name' else key}",
                expected=f"{before[key] or 'none'}, as the folder {str(path)!r} was started with",
                found=str(now[key] or "none"),
                hint="Give another --save-dir for another study.",
            )


def _public(storage: str) -> str:
    if is_database(storage):
        return without_secrets(storage)
    return str(Path(storage).resolve())


class TuningConfig(Protocol):
    """What a configuration must hold beside its model's own sections."""

    study: StudyConfig
    tracking: TrackingConfig
    save_dir: str | None
    overwrite: bool
    accept_changed_table: bool
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
    console = new_console()
    path = _folder(settings, name)
    check_folder(settings, path)
    if not settings.overwrite:
        config = as_begun(config, path)
    config, found = with_tasks(config)
    # Trials and best.yaml name the table in full too.
    config = absolute_paths(config)
    problem = make_problem(config)
    accept = settings.accept_changed_table
    goes_on = (path / STUDY).is_file() and not settings.overwrite
    changes = (
        check_same_table(path, problem.rows, accept=accept, what="the study")
        if goes_on and problem.rows is not None
        else []
    )
    for note in (*found, *problem.notes, *changes):
        console.print(note, highlight=False, markup=False)
    worker = _worker(settings, problem, path)
    # Made for their errors, before a folder is.
    first_trials(worker, problem)
    SamplerFactory(worker.config, worker.space, worker.seed)
    make_pruner(worker.config, problem.n_folds)
    opened = partial(open_folder, worker, path, arguments, overwrite=settings.overwrite)
    # A folder is made for its journal, but not for a database that cannot be reached.
    run = opened() if settings.study.storage is None else None
    storage = worker.open_storage()
    _, is_new = open_study(worker, problem, storage, accept_changed_table=accept)
    run = run or opened()
    write_config(run, config)
    if problem.rejected is not None:
        write_rejected(run, problem.rejected)
    if problem.rows is not None:
        problem.rows.write(run)
    if changes:
        run.log("table changed", notes=changes)
    queue = worker.queue(storage)
    if not is_new:
        # A new study has no lost trials, and asking a database costs a round trip.
        queue.requeue_lost()
    # Failures of an earlier attempt do not count towards `max_failures`: the cause may be mended.
    known = frozenset(t.number for t in queue.trials() if t.state.is_finished())
    run.log("started" if is_new else "resumed", arguments=list(arguments), trials=len(known))
    screen = StudyScreen(console, worker.config.n_trials)
    _print_start(screen, worker, path, len(known))
    with tracking(settings.tracking, path, config.model_dump(mode="json")) as tracker:
        recorder = StudyRecorder(queue, problem, run, screen, tracker)
        limit = settings.study.timeout
        deadline = None if limit is None else time.time() + limit
        return _work(
            replace(worker, known=known, deadline=deadline), queue, recorder, screen, run, tracker
        )


def _work(
    worker: StudyWorker,
    queue: Queue,
    recorder: StudyRecorder,
    screen: StudyScreen,
    run: RunFolder,
    tracker: Tracker,
) -> int:
    try:
        with screen.live():
            recorder.update()
            if worker.config.workers == 1:
                worker.work(queue, recorder.update)
            else:
                supervise(worker, queue, worker.config.workers, recorder.update)
    except KeyboardInterrupt:
        again = f"repeat the command with --save-dir {run.path} to go on."
        with interruption(f"Interrupted. Trials that ran are retried: {again}"):
            recorder.update()
            # Tables and best.yaml, but no page: who pressed Ctrl-C does not wait for figures.
            recorder.write(recorder.snapshot())
            run.log("interrupted")
            raise
    except HPOError:
        # Also where all failed: the page lists the errors.
        _finish(recorder, run, tracker)
        raise
    if worker.config.baselines != "none":
        # These read the data anew, and import what no other study needs.
        from molpool_pipelines.studies._baselines import names_of, write_baselines
        from molpool_pipelines.studies._registry import study_kind

        kind = study_kind(recorder.problem.kind, run.path)
        names = names_of(worker.config.baselines)
        write_baselines(run, kind, recorder.problem.metric, names)
    snapshot = _finish(recorder, run, tracker)
    run.log("ended", summary=summary(snapshot))
    return _print_end(screen, worker, snapshot, run.path)


def _finish(recorder: StudyRecorder, run: RunFolder, tracker: Tracker) -> StudySnapshot:
    recorder.update()
    snapshot = recorder.snapshot()
    recorder.write(snapshot)
    page = write_page(run, snapshot)
    if page is not None:
        tracker.file(page)
    if snapshot.complete():
        tracker.metrics({snapshot.metric: score(snapshot.complete()[0])})
    return snapshot


def _folder(settings: TuningConfig, name: str) -> Path:
    if settings.save_dir:
        return Path(settings.save_dir)
    if settings.study.study_name:
        # So that repeating the command goes on with the study.
        return Path("runs") / settings.study.study_name
    return default_folder(name)


def _worker(settings: TuningConfig, problem: Problem, path: Path) -> StudyWorker:
    study = settings.study
    return StudyWorker(
        name=study.study_name or path.name,
        storage=journal_path(study.storage, path),
        config=study,
        seed=settings.seed if study.seed is None else study.seed,
        direction=problem.direction,
        space=problem.space,
        defaults=dict(problem.defaults),
        build=problem.build,
    )


def study_summary(snapshot: StudySnapshot, folder: Path | None) -> dict[str, Any]:
    """Return a study, its best trial and all others, for the answer of a command."""
    again = retried(snapshot.trials)
    trials = [
        {
            "trial": trial.number,
            "state": state_of(trial, again),
            "score": score(trial) if trial in snapshot.complete() else None,
            "seconds": seconds_of(trial),
            "parameters": params_of(trial),
        }
        for trial in snapshot.trials
    ]
    best = [trial.number for trial in snapshot.complete()[:1]]
    return {
        "study": folder,
        "metric": snapshot.metric,
        "direction": snapshot.direction,
        "best": next((t for t in trials if t["trial"] in best), None),
        "trials": trials,
    }


def _print_start(screen: StudyScreen, worker: StudyWorker, path: Path, n_done: int) -> None:
    what = f"{len(worker.space.sampled)} parameters, {worker.config.n_trials} trials"
    done = f", {n_done} of them done before" if n_done else ""
    who = "1 worker" if worker.config.workers == 1 else f"{worker.config.workers} workers"
    where = without_secrets(worker.storage)
    screen.print(f"Study {worker.name} in {where}: {what}{done}, {who}. Folder {path}")


def _print_end(
    screen: StudyScreen, worker: StudyWorker, snapshot: StudySnapshot, path: Path
) -> int:
    screen.print(summary(snapshot))
    if worker.is_late():
        screen.print("Time is up; repeat the command to go on.")
    complete = snapshot.complete()
    if not complete:
        errors = [e for e in map(error_text, snapshot.trials) if e]
        last = f" The last error: {errors[-1]}" if errors else ""
        raise HPOError(f"study {worker.name!r}: expected a trial that completes; found none.{last}")
    best = complete[0]
    retrain = ("molpool-hpo", "retrain", "--study-dir", path)
    answer(steps=[retrain], **study_summary(snapshot, path))
    screen.print(f"Best {snapshot.metric}: {score(best):.4f} (trial {best.number}), in {path}")
    return 0
