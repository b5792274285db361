"""From a table of molecules to task affinities, with a Chemprop model of default size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from task_affinity.config import TaskAffinityConfig
from task_affinity.dataframe import column, target_table
from task_affinity.errors import NoGradientStepsError
from task_affinity.last_layer import OutputLayer
from task_affinity.result import AffinityResult
from task_affinity.run import AffinityProgress

if TYPE_CHECKING:
    from task_affinity.computer import TaskAffinityComputer

ENCODER_OUTPUT = "bn"
"""Module of a `chemprop.models.MPNN` that puts out the fingerprint, batch norm or not."""


def compute_task_affinity(
    df_train: Any,
    smiles_col: str,
    target_cols: Sequence[str],
    config: TaskAffinityConfig | None = None,
) -> tuple[NDArray[np.float64], list[str], list[list[str]]]:
    """Measure the affinities of the tasks of a table of molecules, and group the tasks.

    Parameters
    ----------
    df_train : DataFrame
        Of pandas or polars; NaN or null where there is no label.
    smiles_col : str
        Column of SMILES.
    target_cols : sequence of str
        Columns of the T tasks. One that holds only 0 and 1 is taken as classes.
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
    from task_affinity.computer import TaskAffinityComputer
    from task_affinity.grouping.checks import checked_n_groups
    from task_affinity.grouping.grouper import select_groups

    config = config if config is not None else TaskAffinityConfig()
    if target_cols and config.n_groups != "auto":
        checked_n_groups(config.n_groups, len(target_cols))  # before minutes of training
    computer = TaskAffinityComputer(config)
    matrix, names = computer.compute_from_dataframe(df_train, smiles_col, target_cols)
    return matrix, names, select_groups(matrix, names, config).groups


def measure_dataframe(
    computer: TaskAffinityComputer,
    df: Any,
    smiles_col: str,
    target_cols: Sequence[str],
    on_step: Callable[[AffinityProgress], None] | None = None,
) -> AffinityResult:
    """Measure on a table; see `TaskAffinityComputer.compute_from_dataframe`."""
    _require_chemprop()
    from task_affinity.chemprop_losses import ChempropLosses, mixed_cells

    config = computer.config
    smiles = column(df, smiles_col, "smiles_col").tolist()
    targets, is_class = target_table(df, target_cols)
    labelled = np.isfinite(targets).any(axis=1)
    _check_batch(config, int(labelled.sum()))
    # Weights, dropout and shuffling follow from the seed; the caller's generators stay untouched.
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        model = build_model(len(target_cols))
        return computer.compute(
            model,
            build_loader(
                smiles,
                targets,
                batch_size=config.affinity_batch_size,
                seed=config.seed,
                parameter=smiles_col,
            ),
            ChempropLosses(mixed_cells(is_class)),
            task_names=list(target_cols),
            encoder_output=ENCODER_OUTPUT,
            output_layer=output_layer(model),
            on_step=on_step,
        )


def _require_chemprop() -> None:
    try:
        import chemprop  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "compute_from_dataframe: expected chemprop; install task-affinity[chemprop]"
        ) from error


def build_model(n_tasks: int) -> Any:
    """Return a Chemprop network of default size for T tasks; torch's generator draws it."""
    from chemprop import models, nn

    return models.MPNN(
        nn.BondMessagePassing(), nn.MeanAggregation(), nn.RegressionFFN(n_tasks=n_tasks)
    )


def output_layer(model: Any) -> OutputLayer | None:
    """Return where the encoder of a `chemprop.models.MPNN` ends; None where it does not say.

    Parameters
    ----------
    model : chemprop.models.MPNN
        With atom descriptors after the last layer its units are mixed once more.
    """
    block = model.message_passing
    plain = isinstance(getattr(block, "W_o", None), torch.nn.Linear)
    if not plain or getattr(block, "W_d", None) is not None:
        return None
    return OutputLayer(block.W_o, model.bn)


def build_loader(
    smiles: Sequence[str],
    targets: NDArray[np.float64],
    *,
    batch_size: int,
    seed: int,
    parameter: str = "smiles",
) -> Any:
    """Return Chemprop's loader of shuffled batches, each molecule featurised once.

    Parameters
    ----------
    smiles : sequence of str
        N molecules.
    targets : ndarray [N, T]
        Scaled values or classes, NaN where there is no label.
    batch_size, seed : int
        Of the shuffled batches.
    parameter : str
        What the SMILES are called in a message.

    Raises
    ------
    InputError
        If any SMILES is no molecule.
    """
    from chemprop.data import MoleculeDatapoint, MoleculeDataset, build_dataloader
    from molpool_common import parse_smiles

    mols = parse_smiles(smiles).require_all(parameter)
    points = [MoleculeDatapoint(mol, y) for mol, y in zip(mols, targets, strict=True)]
    dataset = MoleculeDataset(points)
    dataset.cache = True
    return build_dataloader(dataset, batch_size, seed=seed, drop_last=False)


def _check_batch(config: TaskAffinityConfig, n_rows: int) -> None:
    if config.affinity_batch_size > n_rows:
        raise NoGradientStepsError(
            "No gradient steps were performed: affinity_batch_size: expected at most the "
            f"{n_rows} molecules that have a label; found {config.affinity_batch_size}"
        )
