"""Task affinities of a run: measured on its training side with its own architecture."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from chemprop_multitask import (
    BatchLoader,
    ChempropModel,
    MoleculeData,
    cell_losses,
    shuffled_batches,
)
from molpool_common import InputError, fast_matmul
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from sampling_core import sampling_from_config
from task_affinity import (
    AffinityProgress,
    AffinityResult,
    ChempropLosses,
    TaskAffinityComputer,
    TaskAffinityError,
    output_layer,
    resolve_device,
)

from molpool_pipelines.fitting import Inputs, TrainChempropConfig


def check_measurable(config: TrainChempropConfig, inputs: Inputs) -> None:
    """Stop before molecules are featurised at what would stop the measurement.

    Raises
    ------
    InputError, SamplingError
        If a batch would be larger than the training side, there is no such device, or the rows
        cannot be drawn as `joint_sampling` has it.
    """
    train = inputs.tables.train
    sampling_from_config(config.joint_sampling, train.targets, train.quality)
    section = config.task_affinity
    rows = int(np.isfinite(train.targets).any(axis=1).sum())
    if section.affinity_batch_size > rows:
        raise InputError(
            "task_affinity.affinity_batch_size",
            expected=f"at most the {rows} training rows that have a label",
            found=str(section.affinity_batch_size),
            hint="No gradient steps were performed.",
        )
    try:
        resolve_device(section.device)
    except TaskAffinityError as error:
        raise InputError(
            "task_affinity.device",
            expected="a device of this machine",
            found=f"{section.device!r} ({error})",
            hint="--task-affinity.device auto takes CUDA where there is one, else the processor.",
        ) from None


def measure(console: Console, config: TrainChempropConfig, inputs: Inputs) -> AffinityResult:
    """Train a model of the run's architecture for a short while and measure.

    That model has one head, is of `task_affinity.seed` and is thrown away: the models of the run
    start as if nothing had been measured. Held-out rows are not seen. Rows are shuffled, not
    sampled. The training side is that of the split, also where an ensemble has folds.

    Parameters
    ----------
    console : Console
        Where progress is drawn.
    config : TrainChempropConfig
        The run.
    inputs : Inputs
        Checked tables.

    Raises
    ------
    TaskAffinityError
        If nothing of a task could be measured, or no parameter is the encoder's.
    ChempropError
        If architecture, loss or foundation do not fit.
    """
    section = config.task_affinity
    model = ChempropModel.from_config(
        config,
        task_names=inputs.table.task_names,
        task_types=inputs.task_types,
        seed=section.seed,
    )
    computer = TaskAffinityComputer(section)
    progress = _progress(console)
    with progress, fast_matmul(), torch.random.fork_rng():
        torch.manual_seed(section.seed)
        return computer.compute(
            model.module,
            _loader(config, inputs, model),
            ChempropLosses(cell_losses(model)),
            task_names=inputs.table.task_names,
            encoder_output=model.module.bn,
            output_layer=output_layer(model.module),
            on_step=_shown(progress),
        )


def _loader(config: TrainChempropConfig, inputs: Inputs, model: ChempropModel) -> BatchLoader:
    section = config.task_affinity
    train = MoleculeData.from_table(inputs.tables.train, cache=inputs.graphs)
    return shuffled_batches(model, train, section.affinity_batch_size, section.seed)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("Measuring task affinity"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("steps"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


def _shown(progress: Progress) -> Callable[[AffinityProgress], None]:
    bar = progress.add_task("", total=None)
    return lambda now: progress.update(bar, completed=now.step, total=now.n_steps)
