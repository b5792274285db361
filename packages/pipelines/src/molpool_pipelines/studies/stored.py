"""A study as it lies in its folder and its storage, to be read by `show`, `retrain` and reports."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from molpool_common import InputError
from optuna.trial import FrozenTrial, TrialState

from molpool_pipelines.studies.objective import Direction
from molpool_pipelines.studies.opening import IDENTITY
from molpool_pipelines.studies.queue import Retry, in_study, retried
from molpool_pipelines.studies.storage import open_storage, shown

STUDY = "study.json"
"""The file by which a folder is known as that of a study."""


@dataclass(frozen=True)
class StoredStudy:
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
    tried_again: int

    @property
    def done(self) -> int:
        """Trials that have ended and are not tried again."""
        return self.complete + self.pruned + self.failed

    @classmethod
    def of(cls, trials: Sequence[FrozenTrial]) -> Counts:
        """Count trials."""
        again = retried(trials)
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


def stored_study(study: optuna.Study, n_trials: int) -> StoredStudy:
    """Return what a study of ours holds now."""
    identity = dict(study.user_attrs[IDENTITY])
    trials = in_study(study.get_trials(deepcopy=False), n_trials)
    return StoredStudy(study.study_name, identity, n_trials, trials, study)


def read_study(folder: str | Path, storage: str | None = None) -> StoredStudy:
    """Read the study of a folder.

    Parameters
    ----------
    folder : str or Path
        What `molpool-hpo chemprop` or `mil` left behind.
    storage : str, optional
        Where the study is kept, if not where the folder says: the folder never holds a password.

    Returns
    -------
    StoredStudy

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
        )
    said = json.loads(file.read_text(encoding="utf-8"))
    address = storage or said["storage"] or str(folder / said["journal"])
    if "://" not in address and not Path(address).is_file():
        raise InputError("--storage", expected="the study's journal file", found=f"no {address!r}")
    opened = open_storage(
        address,
        heartbeat_interval=60,
        grace_period=120,
        stale=Retry(max_retry=0),
        keep_connected=False,
    )
    try:
        study = optuna.load_study(study_name=said["name"], storage=opened)
    except KeyError:
        raise InputError(
            "--storage", expected=f"the study {said['name']!r}", found=f"none in {shown(address)}"
        ) from None
    return stored_study(study, said["n_trials"])
