"""Trains a model for a little while and measures how its tasks' gradients agree.

`TaskAffinityComputer` is the entrance; `AffinityRun` is the training loop of one measurement. The
configuration chooses the device and what is measured.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from molpool_common import FloatArray, listed
from torch import Tensor, nn

from task_affinity._config import TaskAffinityConfig
from task_affinity._errors import NoGradientStepsError, TaskAffinityError
from task_affinity._gradients import (
    EncoderOutput,
    FunctionalLosses,
    RandomState,
    TaskLosses,
    encoder_parameters,
)
from task_affinity._grouping import checked_n_groups, select_groups
from task_affinity._last_layer import LastLayer, OutputLayer
from task_affinity._measures import (
    EncoderGradients,
    Lookahead,
    Measure,
    RepresentationGradients,
    Step,
)
from task_affinity._probes import ProbedGradients
from task_affinity._result import AffinityResult, PairAccumulator

logger = logging.getLogger(__name__)

PROBE_ABOVE = 100
"""Number of tasks above which ``auto`` estimates encoder gradients with probes."""


def resolve_device(name: str) -> torch.device:
    """Return the device of a configuration; ``auto`` is CUDA where there is one.

    Raises
    ------
    TaskAffinityError
        If this machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise TaskAffinityError(
            f"device: expected auto, cpu or one of {torch.cuda.device_count()} CUDA devices; "
            f"found {name!r}"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise TaskAffinityError(f"device: expected auto or cpu; found {name!r}, not available here")
    return device


def build_measure(
    config: TaskAffinityConfig,
    estimator: str,
    model: nn.Module,
    losses: TaskLosses,
    parameters: Mapping[str, Tensor],
    output: EncoderOutput | None,
    output_layer: OutputLayer | None = None,
) -> Measure:
    """Return the measure of a configuration for a model on its device."""
    cosine = not config.normalizes_means  # dot products of unit gradients are cosines
    if config.affinity_type == "lookahead":
        return Lookahead(model, losses, parameters, step=config.affinity_lr)
    if estimator == "probe":
        device = next(iter(parameters.values())).device
        last = None
        if output_layer is not None and output is None:
            last = LastLayer(model, losses, parameters, output_layer)
        return ProbedGradients(
            model,
            losses,
            parameters,
            output,
            n_probes=config.n_probes,
            generator=torch.Generator(device).manual_seed(config.seed),
            cosine=cosine,
            last=last,
        )
    if output is not None:
        return RepresentationGradients(output, cosine=cosine)
    return EncoderGradients(model, losses, parameters, cosine=cosine)


def choose_estimator(config: TaskAffinityConfig, n_tasks: int) -> str:
    """Return ``exact`` or ``probe``; heads alone go back quickly for any number of tasks."""
    if config.estimator != "auto":
        return config.estimator
    of_encoder = config.affinity_type != "lookahead" and config.gradient_scope == "encoder"
    return "probe" if of_encoder and n_tasks > PROBE_ABOVE else "exact"


def choose_output(
    config: TaskAffinityConfig, model: nn.Module, encoder_output: str | nn.Module | None
) -> EncoderOutput | None:
    """Return what catches the encoder's output, None for encoder gradients.

    Raises
    ------
    TaskAffinityError
        If the scope and the type do not fit, or it was not said where the encoder ends.
    """
    if config.gradient_scope == "encoder":
        return None
    if config.affinity_type == "lookahead":
        raise TaskAffinityError(
            "gradient_scope: expected 'encoder' with affinity_type = 'lookahead', which steps the "
            "encoder's parameters; found 'representation'"
        )
    if encoder_output is None:
        raise TaskAffinityError(
            "encoder_output: expected the encoder's last module or its name, as gradient_scope is "
            "'representation'; found none"
        )
    return EncoderOutput(model, encoder_output)


@dataclass(frozen=True)
class AffinityProgress:
    """Where a measurement stands.

    Parameters
    ----------
    step : int
        Training steps so far.
    n_steps : int or None
        Steps in all; None where the loader has no length.
    pairs : PairAccumulator
        ``pairs.matrix`` is the matrix so far.
    """

    step: int
    n_steps: int | None
    pairs: PairAccumulator


class AffinityRun:
    """One measurement: the training loop and what it has gathered."""

    def __init__(
        self,
        config: TaskAffinityConfig,
        model: nn.Module,
        losses: TaskLosses,
        encoder_output: str | nn.Module | None,
        output_layer: OutputLayer | None,
        device: torch.device,
    ) -> None:
        self._config = config
        self._model = model
        self._losses = losses
        self._device = device
        self._parameters = encoder_parameters(model, config.encoder_param_patterns)
        self._output = choose_output(config, model, encoder_output)
        self._output_layer = output_layer
        self._optimizer = torch.optim.Adam(
            [p for p in model.parameters() if p.requires_grad], lr=config.affinity_lr
        )
        self._measure: Measure | None = None
        self._estimator = ""
        self._names: tuple[str, ...] = ()
        self._lacking = torch.zeros(0, dtype=torch.bool)
        self._pairs = PairAccumulator(0)
        self._steps = 0
        self._measured = 0

    def train(
        self,
        loader: Iterable[Any],
        task_names: Sequence[str] | None,
        on_step: Callable[[AffinityProgress], None] | None,
    ) -> None:
        """Train for the configured number of epochs."""
        length = len(loader) if isinstance(loader, Sized) else None
        total = None if length is None else length * self._config.affinity_epochs
        sampler = getattr(loader, "sampler", None)
        for epoch in range(self._config.affinity_epochs):
            if sampler is not None and hasattr(sampler, "set_epoch"):
                sampler.set_epoch(epoch)
            for batch in loader:
                self._step(batch, task_names)
                if on_step is not None:
                    on_step(AffinityProgress(self._steps, total, self._pairs))

    def _step(self, batch: Any, task_names: Sequence[str] | None) -> None:
        random = RandomState.now(self._device)
        if self._measure is None:
            self._measure = self._begin(batch, random, task_names)
        measured = self._steps % self._config.every_n_steps == 0 or self._is_first(batch, random)
        with self._measure.watching(batch, random) if measured else nullcontext():
            losses, present = self._losses(self._model, batch)
        self._steps += 1
        tasks = present.nonzero().squeeze(1)
        if not len(tasks):
            return
        self._check_finite(losses, tasks)
        found = self._measure(Step(batch, losses, tasks, random)) if measured else None
        self._optimizer.zero_grad()
        losses[tasks].mean().backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        if found is not None:  # now that the step's graph is gone, there is room
            self._pairs.add(tasks.cpu().numpy(), found)
            self._lacking[tasks.cpu()] = False
            self._measured += 1

    def _is_first(self, batch: Any, random: RandomState) -> bool:
        """Return whether a batch has a label of a task that has not been measured at all.

        Else a rare task might be measured never. Costs a forward pass while there is such a task.
        """
        if not self._lacking.any():
            return False
        with torch.no_grad():
            _, present = FunctionalLosses(self._model, self._losses)(batch, random)
        return bool((present.cpu() & self._lacking).any())

    def _begin(self, batch: Any, random: RandomState, task_names: Sequence[str] | None) -> Measure:
        """Learn from the first batch how many tasks there are, and return what measures them."""
        with torch.no_grad():
            losses, _ = FunctionalLosses(self._model, self._losses)(batch, random)
        n_tasks = len(losses)
        names = tuple(task_names or (f"task_{t}" for t in range(n_tasks)))
        if len(names) != n_tasks or len(set(names)) != n_tasks:
            raise TaskAffinityError(
                f"task_names: expected {n_tasks} different names, one for each loss; found "
                f"{len(names)}: {listed(names)}"
            )
        self._names = names
        self._lacking = torch.ones(n_tasks, dtype=torch.bool)
        config = self._config
        self._pairs = PairAccumulator(n_tasks, normalize=config.normalizes_means)
        self._estimator = choose_estimator(config, n_tasks)
        return build_measure(
            config,
            self._estimator,
            self._model,
            self._losses,
            self._parameters,
            self._output,
            self._output_layer,
        )

    def _check_finite(self, losses: Tensor, tasks: Tensor) -> None:
        finite = losses[tasks].isfinite()
        if not finite.all():
            bad = [self._names[t] for t in tasks[~finite].tolist()]
            raise TaskAffinityError(
                f"losses: expected finite numbers; at training step {self._steps} found one that "
                f"is not for {listed(bad)}. A smaller affinity_lr or scaled targets may help"
            )

    def result(self) -> AffinityResult:
        """Return what was measured.

        Raises
        ------
        NoGradientStepsError
            If there is a task of which nothing was.
        """
        counts = self._pairs.counts
        lost = [name for name, n in zip(self._names, np.diag(counts), strict=True) if n == 0]
        if lost or not self._names:
            raise NoGradientStepsError(self._why_no_steps(lost))
        return AffinityResult(
            task_names=self._names,
            matrix=self._pairs.matrix,
            standard_errors=self._pairs.standard_errors,
            counts=counts.astype(np.int64),
            block_sums=self._pairs.blocks.sums,
            block_counts=self._pairs.blocks.counts,
            config=self._config,
            estimator=self._estimator,
            n_steps=self._steps,
            n_measured=self._measured,
        )

    def _why_no_steps(self, lost: Sequence[str]) -> str:
        if not self._steps:
            return "No gradient steps were performed: expected batches from the loader; found none"
        return (
            f"No gradient steps were performed for {listed(lost)}: expected a label of each in one "
            f"of {self._steps} batches; found none"
        )


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
            Called after each training step.

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
            _log_matrix(format_matrix(self.result_.matrix, self.result_.task_names))
        return self.result_

    def compute_chemprop(
        self,
        model: nn.Module,
        loader: Iterable[Any],
        losses: TaskLosses,
        *,
        task_names: Sequence[str] | None = None,
        on_step: Callable[[AffinityProgress], None] | None = None,
    ) -> AffinityResult:
        """Train a `chemprop.models.MPNN` and measure; see `compute`.

        The model says where its encoder ends, so that no caller can leave that out: without it
        ``estimator: probe`` would be another, noisier estimator.

        Raises
        ------
        TaskAffinityError
            As `compute`.
        ImportError
            Without the extra ``task-affinity[chemprop]``.
        """
        from task_affinity._chemprop import ENCODER_OUTPUT, output_layer

        return self.compute(
            model,
            loader,
            losses,
            task_names=task_names,
            encoder_output=ENCODER_OUTPUT,
            output_layer=output_layer(model),
            on_step=on_step,
        )

    def compute_from_dataframe(
        self,
        df: Any,
        smiles_col: str,
        target_cols: Sequence[str],
        *,
        on_step: Callable[[AffinityProgress], None] | None = None,
    ) -> tuple[FloatArray, list[str]]:
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
            Called after each training step.

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
        from task_affinity._chemprop import build_model, table_of_molecules

        loader, losses = table_of_molecules(df, smiles_col, target_cols, self.config)
        # Weights, dropout and shuffling follow from the seed; the caller's generators stay as
        # they are.
        with torch.random.fork_rng():
            torch.manual_seed(self.config.seed)
            result = self.compute_chemprop(
                build_model(len(target_cols)),
                loader,
                losses,
                task_names=list(target_cols),
                on_step=on_step,
            )
        return result.matrix, list(result.task_names)


def compute_task_affinity(
    df_train: Any,
    smiles_col: str,
    target_cols: Sequence[str],
    config: TaskAffinityConfig | None = None,
) -> tuple[FloatArray, list[str], list[list[str]]]:
    """Measure the affinities of the tasks of a table of molecules, and group the tasks.

    Parameters
    ----------
    df_train, smiles_col, target_cols
        As of `TaskAffinityComputer.compute_from_dataframe`.
    config : TaskAffinityConfig, optional
        What to measure and how to group; the defaults otherwise.

    Returns
    -------
    matrix : ndarray [T, T]
        Affinities; row i receives from column j.
    task_names : list of str
    groups : list of lists of str

    Raises
    ------
    TaskAffinityError
        If a column is missing or no number, a task has no label, or a batch would be larger than
        the table.
    ImportError
        Without the extra ``task-affinity[chemprop]``.
    """
    config = config if config is not None else TaskAffinityConfig()
    if target_cols and config.n_groups != "auto":
        n_groups = config.n_groups_of(len(target_cols))
        checked_n_groups(n_groups, len(target_cols))  # before minutes of training
    computer = TaskAffinityComputer(config)
    matrix, names = computer.compute_from_dataframe(df_train, smiles_col, target_cols)
    return matrix, names, select_groups(matrix, names, config).groups


def _log_matrix(text: str) -> None:
    """Log a text; print it where logs go nowhere, as in a notebook."""
    if logger.hasHandlers():
        logger.info("%s", text)
    else:
        sys.stdout.write(text + "\n")


def format_matrix(matrix: FloatArray, task_names: Sequence[str]) -> str:
    """Return the text that `log_affinity_matrix` logs, one row per task."""
    rows = (
        f"  {name}: [{' '.join(f'{value:.3f}' for value in row)}]"
        for name, row in zip(task_names, matrix, strict=True)
    )
    return "\n".join(["Task affinity matrix computed:", *rows])
