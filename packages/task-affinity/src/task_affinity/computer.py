"""Trains a model for a little while and measures how its tasks' gradients agree."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from task_affinity.config import TaskAffinityConfig
from task_affinity.device import resolve_device
from task_affinity.last_layer import OutputLayer
from task_affinity.losses import TaskLosses
from task_affinity.result import AffinityResult
from task_affinity.run import AffinityProgress, AffinityRun

logger = logging.getLogger(__name__)


class TaskAffinityComputer:
    """Measures the affinities of tasks while a model is trained.

    Parameters
    ----------
    config : TaskAffinityConfig, optional
        What to measure, how often and how long; the defaults otherwise.

    Attributes
    ----------
    result_ : AffinityResult
        The last measurement, with standard errors.
    """

    result_: AffinityResult

    def __init__(self, config: TaskAffinityConfig | None = None) -> None:
        self.config = config if config is not None else TaskAffinityConfig()

    def compute(
        self,
        model: nn.Module,
        loader: Iterable[Any],
        losses: TaskLosses,
        *,
        task_names: Sequence[str] | None = None,
        encoder_output: str | nn.Module | None = None,
        output_layer: OutputLayer | None = None,
        on_step: Callable[[AffinityProgress], None] | None = None,
    ) -> AffinityResult:
        """Train a model with Adam for `affinity_epochs`, and measure.

        Measuring itself changes nothing: the weights at the end, batch statistics and the state of
        torch's generators are those of the same training without it.

        Parameters
        ----------
        model : Module
            The model, which is trained in place; hand in a copy to keep it.
        loader : iterable
            Gives the batches of an epoch each time it is iterated.
        losses : TaskLosses
            ``losses(model, batch)`` gives the mean loss of each of the T tasks and whether the
            batch has labels of it. With `SeparableLosses` exact gradients cost less.
        task_names : sequence of str, optional
            Names of the tasks; ``task_0`` and so on by default.
        encoder_output : str or Module, optional
            The encoder's last module or its name; for ``gradient_scope: representation``.
        output_layer : OutputLayer, optional
            Where the encoder ends, so that ``estimator: probe`` takes its last layer exactly, which
            leaves a fraction of the noise.
        on_step : callable, optional
            Told of each training step.

        Returns
        -------
        AffinityResult

        Raises
        ------
        NoGradientStepsError
            If no measured batch had a label of some task.
        TaskAffinityError
            If no parameter is the encoder's, the encoder's output is not what was said, a loss is
            not finite, or the device is not there.
        """
        device = resolve_device(self.config.device)
        home = next((p.device for p in model.parameters()), device)
        was_training = model.training
        run = AffinityRun(
            self.config, model.to(device).train(), losses, encoder_output, output_layer, device
        )
        try:
            run.train(loader, task_names, on_step)
        finally:
            model.zero_grad(set_to_none=True)
            model.to(home).train(was_training)
        self.result_ = run.result()
        if self.config.log_affinity_matrix:
            logger.info("%s", format_matrix(self.result_.matrix, self.result_.task_names))
        return self.result_

    def compute_from_dataframe(
        self,
        df: Any,
        smiles_col: str,
        target_cols: Sequence[str],
        *,
        on_step: Callable[[AffinityProgress], None] | None = None,
    ) -> tuple[NDArray[np.float64], list[str]]:
        """Measure with a Chemprop model on a table of molecules.

        Parameters
        ----------
        df : DataFrame
            Of pandas or polars; NaN or null where there is no label.
        smiles_col : str
            Column of SMILES.
        target_cols : sequence of str
            Columns of the T tasks. One that holds only 0 and 1 is taken as classes.
        on_step : callable, optional
            Told of each training step.

        Returns
        -------
        matrix : ndarray [T, T]
        task_names : list of str

        Raises
        ------
        TaskAffinityError
            If a column is missing or no number, a task has no label, or a batch would be larger
            than the table.
        ImportError
            Without the extra ``task-affinity[chemprop]``.
        """
        from task_affinity.chemprop_adapter import measure_dataframe

        self.result_ = measure_dataframe(self, df, smiles_col, target_cols, on_step)
        return self.result_.matrix, list(self.result_.task_names)


def format_matrix(matrix: NDArray[np.float64], task_names: Sequence[str]) -> str:
    """Return the text that `log_affinity_matrix` logs: a row a task."""
    rows = (
        f"  {name}: [{' '.join(f'{value:.3f}' for value in row)}]"
        for name, row in zip(task_names, matrix, strict=True)
    )
    return "\n".join(["Task affinity matrix computed:", *rows])
