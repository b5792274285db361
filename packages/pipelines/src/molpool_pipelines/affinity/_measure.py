"""Measuring task affinity with Chemprop: one estimator for the command, for training and studies.

A model of the given architecture is trained for a short while on all tasks at once and thrown away;
what its tasks' gradients (or steps, for lookahead) do to one another is the affinity. The three
callers differ in the rows and the architecture that they hand in, and in nothing else: same rows,
architecture and seed give the same matrix to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from chemprop_multitask import (
    ChempropConfig,
    ChempropModel,
    MoleculeData,
    TaskType,
    cell_losses,
    shuffled_batches,
)
from molpool_common import InputError, fast_matmul
from task_affinity import (
    AffinityProgress,
    AffinityResult,
    ChempropLosses,
    TaskAffinityComputer,
    TaskAffinityConfig,
    TaskAffinityError,
    output_layer,
    resolve_device,
)


def check_measurement(section: TaskAffinityConfig, n_rows: int, *, rows: str = "rows") -> None:
    """Stop before molecules are featurised at what would stop the measurement.

    Parameters
    ----------
    section : TaskAffinityConfig
        How it is measured.
    n_rows : int
        Rows that have a label.
    rows : str
        What rows are called in messages.

    Raises
    ------
    InputError
        If a batch would be larger than the table, or there is no such device.
    """
    if section.batch_size_of(n_rows) > n_rows:
        raise InputError(
            "task_affinity.affinity_batch_size",
            expected=f"at most the {n_rows} {rows} that have a label",
            found=str(section.affinity_batch_size),
            hint="No gradient steps were performed. Reduce affinity_batch_size.",
        )
    check_device(section)


def check_device(section: TaskAffinityConfig, *, key: str = "task_affinity.") -> None:
    """Stop at a device that is not there.

    Raises
    ------
    InputError
        If there is no such device.
    """
    try:
        resolve_device(section.device)
    except TaskAffinityError as error:
        flag = f"--{key}device".replace("_", "-")
        raise InputError(
            f"{key}device",
            expected="a device of this machine",
            found=f"{section.device!r} ({error})",
            hint=f"{flag} auto takes CUDA where there is one, else the processor.",
        ) from None


def measure_affinity(
    section: TaskAffinityConfig,
    architecture: ChempropConfig,
    train: MoleculeData,
    task_types: Sequence[TaskType],
    *,
    on_step: Callable[[AffinityProgress], None] | None = None,
) -> AffinityResult:
    """Train a model for a short while and measure its tasks' affinities.

    The model has one head and weights of `section.seed`; rows are shuffled, not sampled, so that
    the affinities do not depend on how tasks are drawn. torch's generators stay as they were.

    Parameters
    ----------
    section : TaskAffinityConfig
        How it is measured.
    architecture : ChempropConfig
        Of the model, with loss and task weights; its groups are not looked at.
    train : MoleculeData
        Training rows alone, with their T tasks.
    task_types : sequence of {"regression", "classification"}, length T
        Kind of each task.
    on_step : callable, optional
        Told of each training step.

    Returns
    -------
    AffinityResult
        Affinities [T, T] with standard errors; row i receives from column j.

    Raises
    ------
    TaskAffinityError
        If nothing of a task could be measured, or no parameter is the encoder's.
    ChempropError
        If architecture, loss or foundation do not fit.
    """
    names = train.task_names
    section = section.for_table(len(names), len(train))
    model = ChempropModel.from_config(
        architecture,
        task_names=names,
        task_types=tuple(task_types),
        n_descriptors=train.n_descriptors,
        n_graph_features=train.n_graph_features,
        seed=section.seed,
    )
    # Inside a training run: the affinities of a run must not change the weights it then starts
    # from.
    with fast_matmul(), torch.random.fork_rng():
        torch.manual_seed(section.seed)
        return TaskAffinityComputer(section).compute(
            model.module,
            shuffled_batches(model, train, section.affinity_batch_size, section.seed),
            ChempropLosses(cell_losses(model)),
            task_names=names,
            encoder_output=model.module.bn,
            # Without it the probe would miss the encoder's last layer: another estimator.
            output_layer=output_layer(model.module),
            on_step=on_step,
        )


def labelled_rows(targets: np.ndarray) -> int:
    """Return how many rows of targets [N, T] have a label."""
    return int(np.isfinite(targets).any(axis=1).sum())
