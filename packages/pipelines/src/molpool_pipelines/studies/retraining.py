"""From a study to trained models, their score on the outer test, and the optimism of the inner."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from molpool_common import MARKER, InputError, RunFolder, dump_config
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console

from molpool_pipelines.studies.baseline_run import outer_baselines
from molpool_pipelines.studies.kinds import StudyKind, study_kind
from molpool_pipelines.studies.members import train_member
from molpool_pipelines.studies.optimism import Contender, OuterScore, outer_scores
from molpool_pipelines.studies.outcome import outcome_sections, result_table
from molpool_pipelines.studies.outer import (
    TestSide,
    check_same_rows,
    mean_frame,
    mean_unseen,
    read_test,
)
from molpool_pipelines.studies.report import study_report
from molpool_pipelines.studies.results import RESULT
from molpool_pipelines.studies.retrain import RetrainConfig
from molpool_pipelines.studies.stored import StoredStudy, read_study
from molpool_pipelines.studies.trials import folds_of, params_of

PLAN = "plan.json"


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
    console = Console()
    stored = read_study(config.study, config.storage)
    kind = study_kind(stored.identity["kind"], config.study)
    plan = _plan(config, stored)
    run = _open(config, plan, arguments)
    members = [_train(kind, t, run.path / f"member-{i:03d}") for i, t in enumerate(plan.trials)]
    default = _train(kind, plan.defaults, run.path / "defaults") if plan.defaults else None
    _write_models(run, kind, members)
    sides = [read_test(path, kind.tasks) for path in (*members, *([default] if default else []))]
    check_same_rows(sides)
    scores = _scores(run, config, kind, plan, sides)
    _write_results(run, config, stored, plan, scores, len(sides[0]))
    page = _study_page(config.study, stored)
    console.print(result_table(stored.metric, scores))
    console.print(f"Models in {run.path}, report {page}", highlight=False, soft_wrap=True)
    return run.path


def _plan(config: RetrainConfig, stored: StoredStudy) -> Plan:
    trials = stored.best(config.k)
    if config.trial is not None:
        trials = [t for t in stored.complete() if t.number == config.trial]
        if not trials:
            known = sorted(t.number for t in stored.complete())
            raise InputError(
                "--trial", expected=f"a complete trial: {known}", found=str(config.trial)
            )
    defaults = None
    if config.defaults:
        own = [t for t in stored.trials if t.user_attrs.get("source") == "defaults"]
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
    if (path / MARKER).is_file() and not config.overwrite:
        before = json.loads((path / PLAN).read_text(encoding="utf-8"))
        if before != wanted:
            raise InputError(
                "--name",
                expected=f"trials {wanted['trials']}, as the study has them now",
                found=f"{str(path)!r}, retrained from trials {before['trials']}",
                hint="Give another --name, or --overwrite true.",
            )
        return RunFolder.resume(path)
    run = RunFolder.create(path, overwrite=config.overwrite, arguments=arguments)
    if config.overwrite:
        for old in (*path.glob("member-*"), path / "defaults"):
            _remove(old)
    run.write_json(PLAN, wanted)
    run.write_text("config.resolved.yaml", dump_config(config))
    return run


def _remove(path: Path) -> None:
    import shutil

    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _numbers(trial: FrozenTrial) -> list[dict[str, float]]:
    return [fold["numbers"] for fold in folds_of(trial)]


def _inner(trial: FrozenTrial) -> tuple[float, ...]:
    return tuple(fold["value"] for fold in folds_of(trial))


def _train(kind: StudyKind, trial: FrozenTrial, path: Path) -> Path:
    values = kind.final(kind.resolve(params_of(trial)), _numbers(trial))
    train_member(kind.name, values, path)
    return path


def _write_models(run: RunFolder, kind: StudyKind, members: Sequence[Path]) -> None:
    run.write_folder("models", lambda folder: kind.join(members, folder))
    sides = [read_test(path, kind.tasks) for path in members]
    run.write_frame("predictions.parquet", mean_frame(sides, kind.tasks))
    unseen = mean_unseen(members)
    if unseen is not None:
        run.write_frame("predictions_unseen.parquet", unseen)
        run.write_text("predictions_unseen.csv", unseen.write_csv())


def _scores(
    run: RunFolder, config: RetrainConfig, kind: StudyKind, plan: Plan, sides: Sequence[TestSide]
) -> list[OuterScore]:
    labels, n = sides[0].labels, len(plan.trials)
    best = plan.trials[0]
    contenders = [Contender(f"trial {best.number}", sides[0].predictions, _inner(best))]
    if n > 1:
        mean = np.mean([side.predictions for side in sides[:n]], axis=0)
        contenders.append(Contender(f"mean of the {n} best", mean))
    if plan.defaults is not None:
        contenders.append(Contender("defaults", sides[-1].predictions, _inner(plan.defaults)))
    if config.baselines:
        contenders += outer_baselines(run, config.study, kind, sides[0])
    score = kind.score(kind.resolve(params_of(best)))
    return outer_scores(contenders, labels, kind.tasks, score, seed=kind.seed)


def _write_results(
    run: RunFolder,
    config: RetrainConfig,
    stored: StoredStudy,
    plan: Plan,
    scores: Sequence[OuterScore],
    n_rows: int,
) -> None:
    others = [f for f in config.study.glob(f"retrained/*/{RESULT}") if f.parent != run.path]
    run.write_json(
        RESULT,
        {
            "study": stored.name,
            "metric": stored.metric,
            "direction": stored.direction,
            "trials": plan.numbers(),
            "trials_complete": len(stored.complete()),
            "outer_test_rows": n_rows,
            "outer_test_scored_before": len(others),
            "models": [score.to_dict() for score in scores],
        },
    )
    run.log("scored", trials=plan.numbers())


def _study_page(folder: Path, stored: StoredStudy) -> Path:
    """Write the page of the study again, with what is known now."""
    run = RunFolder.resume(folder)
    return run.write_text("report.html", study_report(stored, folder, outcome_sections(folder)))
