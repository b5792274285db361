"""From a study to trained models, their score on the outer test, and the optimism of the inner.

Each model is a training run in a process of its own, gone on with where it broke off.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from molpool_common import (
    INTERRUPTED,
    InputError,
    RunFolder,
    absolute_paths,
    checked,
    dump_config,
    write_text,
)
from molpool_common import (
    console as new_console,
)
from optuna.trial import FrozenTrial, TrialState

from molpool_pipelines.runs import (
    CHECKPOINTS,
    CONFIG,
    LAST_CHECKPOINT,
    LOG,
    MODELS,
    OUTER_SCORES,
    REPORT,
    RETRAINED,
    check_same_table,
    predictions_of_table,
    write_predictions,
)
from molpool_pipelines.scores import types_of_run
from molpool_pipelines.studies import _member
from molpool_pipelines.studies._baselines import names_of, outer_baselines
from molpool_pipelines.studies._config import HPOError, RetrainConfig
from molpool_pipelines.studies._kinds import StudyKind
from molpool_pipelines.studies._outer_test import (
    TestPredictions,
    check_same_rows,
    mean_frame,
    mean_unseen,
    read_test_predictions,
)
from molpool_pipelines.studies._registry import study_kind
from molpool_pipelines.studies._scoring import Contender, OuterScore, outer_scores
from molpool_pipelines.studies._show import result_table
from molpool_pipelines.studies._snapshot import StudySnapshot, read_study, write_page
from molpool_pipelines.studies._trials import folds_of, params_of

PLAN = "plan.json"


def train_member(kind: str, values: dict[str, Any], path: Path) -> None:
    """Train one model, unless it is there; an interrupted one goes on.

    Parameters
    ----------
    kind : str
        Of the model.
    values : dict
        Its full configuration, which is written beside the run folder.
    path : Path
        Its run folder.

    Raises
    ------
    HPOError
        If training fails; it has printed why.
    KeyboardInterrupt
        On Ctrl-C or SIGTERM, once the run can be resumed.
    """
    if is_done(path):
        return
    # Without a checkpoint there is nothing to resume; the folder is then replaced.
    begun = any((path / CHECKPOINTS).rglob(LAST_CHECKPOINT))
    replaces = not begun and path.is_dir() and any(path.iterdir())
    # Whether the table is that of the study was asked before.
    run = {
        "save_dir": str(path),
        "resume": begun,
        "overwrite": replaces,
        "accept_changed_table": True,
    }
    file = path.with_name(f"{path.name}.yaml")
    values = values | run
    write_text(file, yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100))
    _run_process([sys.executable, "-m", _member.__name__, kind, str(file)], path)


def is_done(path: Path) -> bool:
    """Return whether the run of a folder came to its end."""
    log = path / LOG
    if not (path / REPORT).is_file() or not log.is_file():
        return False
    lines = log.read_text(encoding="utf-8").splitlines()
    # The report may be there from before a replacement; the last event says how the run ended.
    return bool(lines) and json.loads(lines[-1]).get("event") == "finished"


def _run_process(command: list[str], path: Path) -> None:
    process = None
    try:
        with _interrupts_deferred():
            # In a session of its own: a Ctrl-C reaches us alone, and we pass it on once.
            process = subprocess.Popen(command, start_new_session=True)  # noqa: S603  # our own
        code = process.wait()
    except KeyboardInterrupt:
        if process is not None:
            # SIGTERM, which the child takes as an interrupt: it writes its checkpoint and ends.
            process.terminate()
            process.wait()
        raise
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code:
        raise HPOError(f"retrain: training failed with exit code {code}, in {path}.")


@contextmanager
def _interrupts_deferred() -> Iterator[None]:
    """Raise what interrupts the block at its end.

    Within `Popen`, between the start of a process and the return of its number, an interrupt would
    leave a process behind that nobody ends.
    """
    received: list[int] = []
    stops = (signal.SIGINT, signal.SIGTERM)
    try:
        before = [signal.signal(stop, lambda number, _: received.append(number)) for stop in stops]
    except ValueError:  # not the main thread, which no signal interrupts
        yield
        return
    try:
        yield
    finally:
        for stop, handler in zip(stops, before, strict=True):
            signal.signal(stop, handler)
    if received:
        raise KeyboardInterrupt


@dataclass(frozen=True)
class Plan:
    """What is trained.

    Parameters
    ----------
    trials : list of FrozenTrial
        The best first.
    defaults : FrozenTrial or None
        The trial of the configuration's own values, if it is trained too.
    """

    trials: list[FrozenTrial]
    defaults: FrozenTrial | None

    def numbers(self) -> list[int]:
        """Return the numbers of the trials."""
        return [trial.number for trial in self.trials]


def retrain(config: RetrainConfig, *, arguments: Sequence[str] = ()) -> Path:
    """Train the best trials of a study on all but the outer test, and score them there.

    Parameters
    ----------
    config : RetrainConfig
        Which trials, and what to compare them with.
    arguments : sequence of str
        The command line, for the record.

    Returns
    -------
    Path
        The folder of the retrained models.

    Raises
    ------
    InputError
        If the folder is not that of a study, the study has too few complete trials, or other trials
        were retrained under this name.
    HPOError
        If a training run fails.
    KeyboardInterrupt
        On Ctrl-C or SIGTERM; repeating the command goes on.
    """
    console = new_console()
    snapshot = read_study(config.study, config.storage)
    kind = study_kind(snapshot.identity["kind"], config.study)
    plan = _plan(config, snapshot)
    accept = config.accept_changed_table
    changes = check_same_table(config.study, kind.rows(), accept=accept, what="the study")
    for note in changes:
        console.print(note, highlight=False, markup=False)
    with _open(config, plan, arguments) as run:
        if changes:
            run.log("table changed", notes=changes)
        scores = _train_and_score(run, config, kind, snapshot, plan)
    page = write_page(RunFolder.resume(config.study, alone=False), snapshot)
    console.print(result_table(snapshot.metric, scores))
    console.print(f"Models in {run.path}, report {page}", highlight=False, soft_wrap=True)
    return run.path


def _train_and_score(
    run: RunFolder, config: RetrainConfig, kind: StudyKind, snapshot: StudySnapshot, plan: Plan
) -> list[OuterScore]:
    """Train all members, or those that are not there yet, and score them on the outer test."""
    try:
        members = [_train(kind, t, run.path / f"member-{i:03d}") for i, t in enumerate(plan.trials)]
        default = _train(kind, plan.defaults, run.path / "defaults") if plan.defaults else None
    except KeyboardInterrupt:
        raise KeyboardInterrupt("Interrupted. Repeat the command to go on.") from None
    # The default last, so that `tests[:n]` are the members.
    runs = [*members, default] if default else members
    tests = [read_test_predictions(path, kind.tasks) for path in runs]
    # Trained by configurations that differ in parameters only; a table changed in between would
    # show here.
    check_same_rows(tests)
    _write_models(run, kind, members, tests[: len(members)])
    scores = _scores(run, config, kind, plan, tests)
    _write_results(run, config, snapshot, plan, scores, len(tests[0]))
    return scores


def _plan(config: RetrainConfig, snapshot: StudySnapshot) -> Plan:
    trials = snapshot.best(config.k)
    if config.trial is not None:
        trials = [t for t in snapshot.complete() if t.number == config.trial]
        if not trials:
            known = sorted(t.number for t in snapshot.complete())
            raise InputError(
                "--trial", expected=f"a complete trial: {known}", found=str(config.trial)
            )
    defaults = None
    if config.defaults:
        # The defaults may have been retried: then the complete one counts.
        own = [t for t in snapshot.trials if t.user_attrs.get("source") == "defaults"]
        defaults = next((t for t in own if t.state == TrialState.COMPLETE), None)
        if defaults is None:
            raise InputError(
                "--defaults",
                expected="a study whose trial of the defaults is complete",
                found="none" if not own else f"one that is {own[0].state.name.lower()}",
            )
    return Plan(trials, defaults)


def _open(config: RetrainConfig, plan: Plan, arguments: Sequence[str]) -> RunFolder:
    path = config.folder
    wanted = {"trials": plan.numbers()}
    if (path / PLAN).is_file() and not config.overwrite:
        before = json.loads(checked(path / PLAN).read_text(encoding="utf-8"))
        # By now the study may have better trials: members of two choices must not be mixed.
        if before != wanted:
            raise InputError(
                "--name",
                expected=f"trials {wanted['trials']}, as the study has them now",
                found=f"{str(path)!r}, retrained from trials {before['trials']}",
                hint="Give another --name, or --overwrite true.",
            )
        return RunFolder.resume(path)
    run = RunFolder.create(path, overwrite=config.overwrite, restart=True, arguments=arguments)
    if config.overwrite:
        for old in (*path.glob("member-*"), *path.glob("defaults*")):
            if old.is_dir():
                shutil.rmtree(old)
            else:
                old.unlink()
    run.write_json(PLAN, wanted)
    run.write_text(CONFIG, dump_config(absolute_paths(config)))
    return run


def _numbers(trial: FrozenTrial) -> list[dict[str, float]]:
    return [fold["numbers"] for fold in folds_of(trial)]


def _inner(trial: FrozenTrial) -> tuple[float, ...]:
    return tuple(fold["value"] for fold in folds_of(trial))


def _train(kind: StudyKind, trial: FrozenTrial, path: Path) -> Path:
    values = kind.final(kind.resolve(params_of(trial)), _numbers(trial))
    train_member(kind.name, values, path)
    return path


def _write_models(
    run: RunFolder, kind: StudyKind, members: Sequence[Path], tests: Sequence[TestPredictions]
) -> None:
    run.write_folder(MODELS, lambda folder: kind.join(members, folder))
    types = types_of_run(members[0])
    write_predictions(run, mean_frame(tests, kind.tasks), types)
    unseen = mean_unseen(members, kind.tasks)
    if unseen is not None:
        files = (predictions_of_table("unseen"), predictions_of_table("unseen", ".csv"))
        write_predictions(run, unseen, types, *files)


def _scores(
    run: RunFolder,
    config: RetrainConfig,
    kind: StudyKind,
    plan: Plan,
    tests: Sequence[TestPredictions],
) -> list[OuterScore]:
    n = len(plan.trials)
    best = plan.trials[0]
    contenders = [Contender(f"trial {best.number}", tests[0].predictions, _inner(best))]
    if n > 1:
        # Without inner folds: the mean of several trials was never scored on them.
        mean = np.mean([test.predictions for test in tests[:n]], axis=0)
        contenders.append(Contender(f"mean of the {n} best", mean))
    if plan.defaults is not None:
        contenders.append(Contender("defaults", tests[-1].predictions, _inner(plan.defaults)))
    if config.baselines != "none":
        names = names_of(config.baselines)
        contenders += outer_baselines(run, config.study, kind, tests[0], names)
    score = kind.score(kind.resolve(params_of(best)))
    return outer_scores(contenders, tests[0].labels, kind.tasks, score, keys=tests[0].keys)


def _write_results(
    run: RunFolder,
    config: RetrainConfig,
    snapshot: StudySnapshot,
    plan: Plan,
    scores: Sequence[OuterScore],
    n_rows: int,
) -> None:
    # Written into the result: each look at the outer test that leads to a choice spends some of it.
    others = [f for f in config.study.glob(f"{RETRAINED}/*/{OUTER_SCORES}") if f.parent != run.path]
    run.write_json(
        OUTER_SCORES,
        {
            "study": snapshot.name,
            "metric": snapshot.metric,
            "direction": snapshot.direction,
            "trials": plan.numbers(),
            "trials_complete": len(snapshot.complete()),
            "outer_test_rows": n_rows,
            "outer_test_scored_before": len(others),
            "models": [score.to_dict() for score in scores],
        },
    )
    run.log("scored", trials=plan.numbers())
