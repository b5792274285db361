"""A study in its storage: made or found to be the same, read as it is now, written down as tables.

`show`, `retrain` and the page see a `StudySnapshot`, or the tables that `write_tables` makes of it.
"""

from __future__ import annotations

import json
import shlex
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import polars as pl
from molpool_common import (
    InputError,
    RunFolder,
    checked,
    folders_inside,
    listed,
    only_warned,
    parse_yaml,
    read_text,
    without_secrets,
)
from optuna.importance import FanovaImportanceEvaluator
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from molpool_pipelines.runs import ACCEPT, IMPORTANCES, PARAMETER, REPORT, RETRIED, STUDY, TRIALS
from molpool_pipelines.studies._queue import (
    PROCESS,
    Retry,
    WorkerProcess,
    counted_trials,
    origin,
    retried,
)
from molpool_pipelines.studies._storage import open_storage
from molpool_pipelines.studies._trials import (
    Direction,
    Problem,
    StudyWorker,
    error_text,
    folds_of,
    params_of,
)

IDENTITY = "molpool"
"""Attribute of a study: what it must not change while it goes on."""

_PATIENCE = 10.0
"""Seconds to wait for another process that is just making the study."""


def identity(problem: Problem, seed: int) -> dict[str, Any]:
    """Return what every run of one study shares, as JSON."""
    return {
        "kind": problem.kind,
        "metric": problem.metric,
        "direction": problem.direction,
        "n_folds": problem.n_folds,
        # The seed is in it: with another, folds and draws would be those of another study.
        "seed": seed,
        **problem.identity,
        "space": problem.space.describe(),
    }


_LATER = {
    "split_column": None,
    "split_file": None,
    "split_index": 0,
    "test_path": None,
    "split_overlap": "drop",
    "group_column": None,
    "standardize": "none",
    "unlabelled_tasks": "error",
    "split": None,
    "structure": "given",
    "time_column": None,
    "cluster_method": "leaders",
    "cluster_distance": 0.65,
}
"""Keys of tables and splits that came after studies which go on, and what those did."""


def _without_later(section: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in section.items() if k not in _LATER or v != _LATER[k]}


def _content(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a study is without where its files lie, whose content is in it as digests."""
    if isinstance(identity.get("split"), dict):
        identity = {**identity, "split": _without_later(identity["split"])}
    if isinstance(identity.get("data"), dict):  # of bags; a digest of the table otherwise
        identity = {**identity, "data": _without_later(identity["data"])}
    settings = dict(identity.get("settings", {}))
    if not settings:
        return dict(identity)
    settings.pop("data_path", None)
    if not settings.get("origins"):  # as before there was the key
        settings.pop("origins", None)
    data = _without_later(settings.get("data", {}))
    sources = [
        {k: v for k, v in _without_later(s).items() if k != "path"} for s in data.get("sources", [])
    ]
    settings["data"] = data | {"sources": sources}
    model = settings.get("model")  # none of a study of several kinds
    if isinstance(model, dict) and model.get("from_foundation"):
        settings["model"] = model | {"from_foundation": Path(model["from_foundation"]).name}
    return {**identity, "settings": settings}


def stored_identity(study: Study) -> dict[str, Any]:
    """Return what a study was made as, in the words of today.

    Earlier ones called a single task's error a mean, and a weight that is sampled drawn.

    Raises
    ------
    InputError
        If it is none of ours, or its storage has lost what it was made as.
    """
    if not isinstance(study.user_attrs.get(IDENTITY), Mapping):
        raise InputError(
            "study",
            expected="one that molpool-hpo made",
            found=f"{study.study_name!r}, whose storage does not say what it was made as",
            hint="The storage is damaged, or the study another program's.",
        )
    stored = dict(study.user_attrs[IDENTITY])
    metric = str(stored.get("metric"))
    if metric == "MA-RAE" or (metric == "macro MA-RAE" and _has_one_task(stored)):
        stored["metric"] = "RAE"
    elif metric.endswith("(min_w drawn)"):
        stored["metric"] = metric.replace("(min_w drawn)", "(min_w sampled)")
        stored["study"] = {**stored["study"], "min_w": "sampled"}
    return stored


def _has_one_task(identity: Mapping[str, Any]) -> bool:
    data = identity.get("data")
    if identity.get("kind") != "mil" or not isinstance(data, Mapping):
        return False
    return len(data.get("target_columns") or identity.get("tasks") or ["label"]) == 1


def open_study(
    task: StudyWorker,
    problem: Problem,
    storage: optuna.storages.BaseStorage,
    *,
    accept_changed_table: bool = False,
) -> tuple[Study, bool]:
    """Make the study of a task with its first trials, or check that it is the same.

    Parameters
    ----------
    task : StudyWorker
        Name, storage and settings.
    problem : Problem
        What is tuned.
    storage : BaseStorage
        Where the study is stored.
    accept_changed_table : bool
        Whether a study on another table goes on with this one.

    Returns
    -------
    study : Study
    is_new : bool

    Raises
    ------
    InputError
        If a study of this name has another space, direction, metric or data, showing what differs;
        or the file of trials to enqueue is wrong.
    """
    wanted = identity(problem, task.seed)
    first = first_trials(task, problem)
    try:
        study = optuna.create_study(study_name=task.name, storage=storage, direction=task.direction)
    except optuna.exceptions.DuplicatedStudyError:
        study = optuna.load_study(study_name=task.name, storage=storage)
        # The defaults were enqueued when the study was made; enqueued files may be new.
        accept = accept_changed_table
        if _check_same(study, task, wanted, problem.unset, accept_changed_table=accept):
            if accept_changed_table:
                study.set_user_attr(IDENTITY, wanted)
            _enqueue(study, [t for t in first if t[0] != "defaults"])
            return study, False
    _enqueue(study, first)
    # Last: other processes wait for it.
    study.set_user_attr(IDENTITY, wanted)
    return study, True


_OF_TABLE = ("data ", "folds ", "files.", "files ")
"""What the identity of a study says of the content of its table."""


def _check_same(
    study: Study,
    task: StudyWorker,
    wanted: Mapping[str, Any],
    unset: Mapping[str, Any],
    *,
    accept_changed_table: bool,
) -> bool:
    """Raise if a study is another one; false if it was never finished being made."""
    until = time.monotonic() + _PATIENCE
    while IDENTITY not in study.user_attrs:
        # A study that plain Optuna made has trials of its own and never gets our attribute.
        others = any("source" not in t.user_attrs for t in study.get_trials(deepcopy=False))
        if others and time.monotonic() > until:
            raise InputError(
                "study.study_name",
                expected="a new name, or a study of molpool-hpo",
                found=f"{task.name!r} in {without_secrets(task.storage)}, made by something else",
            )
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    differences = _differences(_content(stored_identity(study)), _content(wanted), unset)
    of_table = [d for d in differences if d.startswith(_OF_TABLE)]
    if accept_changed_table:
        differences = [d for d in differences if d not in of_table]
    if differences:
        only_table = len(of_table) == len(differences)
        raise InputError(
            "study.study_name",
            hint=f"The table has changed; {ACCEPT} true goes on with it." if only_table else None,
            expected=f"the study {task.name!r} as it was started, or a new name",
            found="; ".join(differences[:5])
            + (f"; and {len(differences) - 5} more" if len(differences) > 5 else ""),
            where=without_secrets(task.storage),
        )
    return True


def _differences(
    before: Mapping[str, Any], now: Mapping[str, Any], unset: Mapping[str, Any], prefix: str = ""
) -> list[str]:
    found: list[str] = []
    for key in [*before, *(k for k in now if k not in before)]:
        old, new = before.get(key), now.get(key)
        # A key that is null says as much as none: studies of before lack keys that came since.
        if old == new:
            continue
        # A key that an earlier version did not have, and that nobody sets.
        if key not in before and key in unset and new == unset[key]:
            continue
        # A parameter of the space is reported with all that it declares.
        if prefix != "space." and isinstance(old, dict) and isinstance(new, dict):
            below = unset.get(key)
            own = below if isinstance(below, Mapping) else {}
            found += _differences(old, new, own, f"{prefix}{key}.")
        else:
            was = f"was {old!r}" if key in before else "was not there"
            found.append(f"{prefix}{key} {was}, is {f'now {new!r}' if key in now else 'gone'}")
    return found


def first_trials(task: StudyWorker, problem: Problem) -> list[tuple[str, dict[str, Any]]]:
    """Return the trials that a study begins with, each with where it is from.

    Raises
    ------
    InputError
        If the file of ``study.enqueue`` cannot be read, or names other parameters.
    """
    trials: list[tuple[str, dict[str, Any]]] = []
    # A grid has its own points, and counts no others.
    if task.config.try_defaults and task.config.sampler != "GridSampler":
        trials.append(("defaults", task.space.clip(problem.defaults, problem.defaults)))
    if task.config.enqueue is not None:
        trials += [("enqueued", t) for t in _read_enqueued(Path(task.config.enqueue), task)]
    return [(source, task.space.to_optuna(values)) for source, values in trials]


def _enqueue(study: Study, trials: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    for source, values in trials:
        # skip_if_exists: repeating the command must not run them again.
        study.enqueue_trial(dict(values), user_attrs={"source": source}, skip_if_exists=True)


def _read_enqueued(path: Path, task: StudyWorker) -> list[dict[str, Any]]:
    where = "study.enqueue"
    read = parse_yaml(read_text(path, where), path.name, where)  # JSON is YAML
    if isinstance(read, dict):
        read = [read]
    if not isinstance(read, list) or not all(isinstance(t, dict) for t in read):
        raise InputError(
            where,
            expected="a list of mappings of parameters to values",
            found=listed([type(t).__name__ for t in read])
            if isinstance(read, list)
            else type(read).__name__,
            where=path.name,
        )
    return [
        task.space.check(values, f"study.enqueue, trial {i + 1} of {path.name}")
        for i, values in enumerate(read)
    ]


@dataclass(frozen=True)
class StudySnapshot:
    """A study and what it holds.

    Parameters
    ----------
    name : str
        In its storage.
    identity : dict
        ``kind``, ``metric``, ``direction``, ``n_folds``, ``space``, and what else it must not
        change.
    n_trials : int
        How many it shall have.
    trials : list of FrozenTrial
        Those that count, in order.
    study : optuna.Study
        As Optuna has it.
    """

    name: str
    identity: dict[str, Any]
    n_trials: int
    trials: list[FrozenTrial]
    study: optuna.Study

    @property
    def metric(self) -> str:
        """Name of the score."""
        return str(self.identity["metric"])

    @property
    def direction(self) -> Direction:
        """Which scores are better."""
        direction: Direction = self.identity["direction"]
        return direction

    def complete(self) -> list[FrozenTrial]:
        """Return the trials with a score, the best first; of equal ones the earlier."""
        done = [t for t in self.trials if t.state == TrialState.COMPLETE]
        sign = 1 if self.direction == "minimize" else -1
        # Ties by number, so that the best is the same whichever worker reads it.
        return sorted(done, key=lambda t: (sign * score(t), t.number))

    def best(self, k: int = 1) -> list[FrozenTrial]:
        """Return the `k` best trials.

        Raises
        ------
        InputError
            If fewer are complete.
        """
        done = self.complete()
        if len(done) < k:
            raise InputError(
                f"study {self.name!r}",
                expected=f"at least {k} complete trials",
                found=f"{len(done)} of {len(self.trials)}",
            )
        return done[:k]


def score(trial: FrozenTrial) -> float:
    """Return the value of a complete trial."""
    if trial.value is None:
        raise ValueError(f"trial {trial.number}: expected a complete one; found {trial.state}")
    return float(trial.value)


@dataclass(frozen=True)
class Counts:
    """How many trials are where."""

    complete: int
    pruned: int
    failed: int
    running: int
    retried: int

    @property
    def done(self) -> int:
        """Trials that have ended and are not retried."""
        return self.complete + self.pruned + self.failed

    @classmethod
    def of(cls, trials: Sequence[FrozenTrial]) -> Counts:
        """Count trials."""
        again = retried(trials)
        # Otherwise each lost process would add a failure.
        ended = [t for t in trials if t.number not in again]

        def n(state: TrialState) -> int:
            return sum(t.state == state for t in ended)

        return cls(
            n(TrialState.COMPLETE),
            n(TrialState.PRUNED),
            n(TrialState.FAIL),
            n(TrialState.RUNNING),
            sum(t.number in again for t in trials),
        )


def take_snapshot(study: optuna.Study, n_trials: int) -> StudySnapshot:
    """Return what a study of ours holds now."""
    identity = stored_identity(study)
    trials = counted_trials(study.get_trials(deepcopy=False), n_trials)
    return StudySnapshot(study.study_name, identity, n_trials, trials, study)


def read_study(folder: str | Path, storage: str | None = None) -> StudySnapshot:
    """Read the study of a folder.

    Parameters
    ----------
    folder : str or Path
        What `molpool-hpo chemprop` or `mil` left behind.
    storage : str, optional
        Where the study is stored, if not where the folder says: the folder never holds a password.

    Returns
    -------
    StudySnapshot

    Raises
    ------
    InputError
        If the folder is not that of a study, or its storage or the study in it is missing.
    """
    folder = Path(folder)
    file = folder / STUDY
    if not file.is_file():
        raise InputError(
            "--study-dir",
            expected="the folder of a study",
            found=f"no {STUDY} in {str(folder)!r}" if folder.is_dir() else f"no {str(folder)!r}",
            hint=folders_inside(folder, STUDY),
        )
    facts = json.loads(checked(file).read_text(encoding="utf-8"))
    address = storage or facts["storage"] or str(folder / facts["journal"])
    if "://" not in address and not Path(address).is_file():
        raise InputError("--storage", expected="the study's journal file", found=f"no {address!r}")
    # Read only: no heartbeats, and no trial is put back by a look at it.
    opened = open_storage(
        address,
        heartbeat_interval=60,
        grace_period=120,
        stale=Retry(max_retry=0),
        keep_connected=False,
    )
    try:
        study = optuna.load_study(study_name=facts["name"], storage=opened)
    except KeyError:
        raise InputError(
            "--storage",
            expected=f"the study {facts['name']!r}",
            found=f"none in {without_secrets(address)}",
        ) from None
    return take_snapshot(study, facts["n_trials"])


_STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


def state_of(trial: FrozenTrial, again: set[int]) -> str:
    """Return the state of a trial in words; `again` are those that another takes the place of."""
    return RETRIED if trial.number in again else _STATES[trial.state]


def seconds_of(trial: FrozenTrial) -> float | None:
    """Return how long a trial ran, in seconds."""
    return None if trial.duration is None else trial.duration.total_seconds()


def trials_frame(snapshot: StudySnapshot) -> pl.DataFrame:
    """Return the trials as a table.

    Returns
    -------
    DataFrame
        A row per trial: number, state, value; the mean over folds that it reported last
        (``last_value``) and at which step; the number of the trial that it repeats (``retry_of``);
        start, seconds, host, pid, ``source`` (``defaults``, ``enqueued``, ``sampler``), error, a
        column ``fold_k`` of each fold's score and one ``param: NAME`` of each parameter.
    """
    again = retried(snapshot.trials)
    n_folds = snapshot.identity["n_folds"]
    names = sorted({name for t in snapshot.trials for name in params_of(t)})
    rows = [_row(t, again, n_folds) for t in snapshot.trials]
    columns: dict[str, Any] = {
        "number": pl.Int64,
        "state": pl.String,
        "value": pl.Float64,
        "last_value": pl.Float64,
        "last_step": pl.Int64,
        "retry_of": pl.Int64,
        "started": pl.Datetime("us"),
        "seconds": pl.Float64,
        "host": pl.String,
        "pid": pl.Int64,
        "source": pl.String,
        "error": pl.String,
        **{f"fold_{k}": pl.Float64 for k in range(n_folds)},
    }
    frame = pl.DataFrame(rows, schema=columns)
    values = [_column(PARAMETER + n, [params_of(t).get(n) for t in snapshot.trials]) for n in names]
    return frame.with_columns(values)


def _row(trial: FrozenTrial, again: set[int], n_folds: int) -> dict[str, Any]:
    owner = trial.user_attrs.get(PROCESS)
    process = WorkerProcess.from_dict(owner) if owner else None
    folds = [fold["value"] for fold in folds_of(trial)]
    return {
        "number": trial.number,
        "state": state_of(trial, again),
        "value": trial.value if trial.state == TrialState.COMPLETE else None,
        "last_value": trial.intermediate_values.get(trial.last_step),
        "last_step": trial.last_step,
        "retry_of": origin(trial) if origin(trial) != trial.number else None,
        "started": trial.datetime_start,
        "seconds": seconds_of(trial),
        "host": process.host if process else None,
        "pid": process.pid if process else None,
        "source": trial.user_attrs.get("source", "sampler"),
        "error": error_text(trial),
        **{f"fold_{k}": folds[k] if k < len(folds) else None for k in range(n_folds)},
    }


def _column(name: str, values: list[Any]) -> pl.Series:
    given = [v for v in values if v is not None]
    # Before integers: True is one in Python.
    if given and all(isinstance(v, bool) for v in given):
        return pl.Series(name, values, dtype=pl.Boolean)
    if given and all(isinstance(v, int) and not isinstance(v, bool) for v in given):
        return pl.Series(name, values, dtype=pl.Int64)
    if given and all(isinstance(v, int | float) and not isinstance(v, bool) for v in given):
        return pl.Series(name, values, dtype=pl.Float64)
    texts = [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]
    return pl.Series(name, texts, dtype=pl.String)


LEAST = 4
"""Complete trials below which importances would be noise."""


def importances(snapshot: StudySnapshot) -> dict[str, float]:
    """Return the share of variance that each parameter explains alone, the largest first.

    Functional ANOVA over a random forest (Hutter, Hoos and Leyton-Brown 2014, An Efficient Approach
    for Assessing Hyperparameter Importance). Conditional parameters are each assessed over the
    trials that have them.

    Parameters
    ----------
    snapshot : StudySnapshot
        The study.

    Returns
    -------
    dict of str to float
        By parameter; empty with fewer than four complete trials, or scores that are all the same.
    """
    trials = snapshot.complete()
    if len(trials) < LEAST or len({score(t) for t in trials}) < 2:
        return {}
    everywhere = [n for n in _varied(trials) if all(n in t.params for t in trials)]
    found = _evaluate(trials, everywhere, snapshot)
    for name in _varied(trials):
        # fANOVA needs one set of parameters for all trials: a conditional one is assessed where it
        # was active.
        if name not in everywhere:
            having = [t for t in trials if name in t.params]
            if len(having) >= LEAST and len({score(t) for t in having}) > 1:
                both = [*everywhere, name]
                found[name] = _evaluate(having, both, snapshot).get(name, 0.0)
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _varied(trials: list[FrozenTrial]) -> list[str]:
    values: dict[str, set[Any]] = {}
    for trial in trials:
        for name, value in trial.params.items():
            values.setdefault(name, set()).add(value)
    return [name for name, seen in values.items() if len(seen) > 1]


def _evaluate(
    trials: list[FrozenTrial], names: list[str], snapshot: StudySnapshot
) -> dict[str, float]:
    if not names:
        return {}
    # A study in memory of these trials alone: Optuna's evaluator takes a study, not trials.
    study = optuna.create_study(direction=snapshot.direction)
    study.add_trials(sorted(trials, key=lambda t: t.number))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of scikit-learn's forests
        return dict(
            optuna.importance.get_param_importances(
                study, params=names, evaluator=FanovaImportanceEvaluator(seed=0)
            )
        )


def write_tables(run: RunFolder, snapshot: StudySnapshot) -> None:
    """Write the table of trials, and into `study.json` what a reader of the folder needs to know.

    Parameters
    ----------
    run : RunFolder
        The study's, which has a `study.json`.
    snapshot : StudySnapshot
        The study.
    """
    run.write_frame(TRIALS, trials_frame(snapshot))
    # What `open_folder` wrote stays: where the study is stored.
    facts = json.loads(checked(run.path / STUDY).read_text(encoding="utf-8"))
    known = {key: snapshot.identity[key] for key in ("kind", "metric", "n_folds", "space")}
    run.write_json(STUDY, {**facts, "direction": snapshot.direction, **known})


def write_page(run: RunFolder, snapshot: StudySnapshot) -> Path | None:
    """Write all tables of a study, and the page that is made from them.

    None, with a warning, where the page cannot be drawn.
    """
    # What draws takes seconds to import, which no trial needs to wait for.
    from molpool_pipelines.reports import study_page

    write_tables(run, snapshot)
    run.write_json(IMPORTANCES, importances(snapshot))
    again = f"molpool-evaluate report --study {shlex.quote(str(run.path))} tries again"
    return only_warned(
        REPORT,
        f"The study is whole; {again}.",
        lambda: run.write_text(REPORT, study_page(run.path, snapshot.name)),
    )
