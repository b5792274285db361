"""What a study asks of a kind of model: train on one fold, say how well it did."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from molpool_pipelines.studies.space import Space

Direction = Literal["minimize", "maximize"]
Tell = Callable[[int, float], None]
"""Takes epoch (from 0) and its validation score; raises `optuna.TrialPruned` to end the fold."""


@dataclass(frozen=True)
class FoldResult:
    """What one fold gave.

    Parameters
    ----------
    value : float
        The metric on the fold's validation rows.
    numbers : dict of str to float
        Whatever else is worth keeping: the metric of each task, ``best_epoch``.
    """

    value: float
    numbers: dict[str, float] = field(default_factory=dict)


class Objective(Protocol):
    """One kind of model over inner folds.

    Attributes
    ----------
    n_folds : int
        Inner folds; a trial's value is the mean over them.
    epochs_per_fold : int
        Most epochs that a fold tells of, whatever the parameters; 1 for models without epochs.
    direction : {"minimize", "maximize"}
        Which scores are better.
    metric : str
        Name of the score, as shown: ``macro MA-RAE``.
    """

    n_folds: int
    epochs_per_fold: int
    direction: Direction
    metric: str

    def run_fold(self, params: Mapping[str, Any], fold: int, tell: Tell, seed: int) -> FoldResult:
        """Train on the inner training rows of a fold and score its inner validation rows.

        Parameters
        ----------
        params : mapping of str to Any
            Value of each active parameter of the space, fixed ones too.
        fold : int
            From 0.
        tell : callable
            To be called with epoch and score as they come. What it raises must pass through.
        seed : int
            Of weights, shuffling and dropout; the same when a killed trial is tried again.

        Returns
        -------
        FoldResult
        """


@dataclass(frozen=True)
class Problem:
    """A kind of model, ready to be tuned.

    Parameters
    ----------
    kind : str
        The subcommand: ``chemprop``, ``mil``.
    build : callable
        Makes the objective; called once in each worker process, to which it is sent by pickle
        (`functools.partial` of a module's function with the configuration).
    n_folds, metric, direction
        As the objective has them, known without building it.
    space : Space
        What is drawn.
    defaults : mapping of str to Any
        The configuration's own value of each parameter of the space: the first trial.
    identity : mapping of str to Any
        What a study must not change while it goes on, as JSON: digest of the data, kind of folds,
        seed, the settings that no parameter sets. A resumed study with another is refused.
    resolve : callable
        Turns parameters into a whole configuration that ``molpool-train`` takes: best.yaml.
    notes : tuple of str
        Said at the start and in the report.
    """

    kind: str
    build: Callable[[], Objective]
    n_folds: int
    metric: str
    direction: Direction
    space: Space
    defaults: Mapping[str, Any]
    identity: Mapping[str, Any]
    resolve: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    notes: tuple[str, ...] = ()
