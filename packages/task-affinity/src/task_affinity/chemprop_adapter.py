"""From a table of molecules to task affinities, with a Chemprop model of default size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from molpool_common.chem import parse_smiles
from numpy.typing import NDArray

from task_affinity.config import TaskAffinityConfig
from task_affinity.errors import NoGradientStepsError, TaskAffinityError, did_you_mean, listed
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
    smiles = _column(df, smiles_col, "smiles_col").tolist()
    targets = _targets(df, target_cols)
    rows = np.flatnonzero(np.isfinite(targets).any(axis=1))
    _check_batch(config, len(rows))
    is_class = [bool(np.isin(y[np.isfinite(y)], (0, 1)).all()) for y in targets.T]
    # Weights, dropout and shuffling follow from the seed; the caller's generators stay untouched.
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        return computer.compute(
            build_model(len(target_cols)),
            _loader(
                parse_smiles(smiles).require_all(smiles_col),
                _scaled(targets, is_class),
                rows,
                config,
            ),
            ChempropLosses(mixed_cells(is_class)),
            task_names=list(target_cols),
            encoder_output=ENCODER_OUTPUT,
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


def _loader(
    mols: Sequence[Any],
    targets: NDArray[np.float64],
    rows: NDArray[np.int64],
    config: TaskAffinityConfig,
) -> Any:
    from chemprop.data import MoleculeDatapoint, MoleculeDataset, build_dataloader

    dataset = MoleculeDataset([MoleculeDatapoint(mols[i], targets[i]) for i in rows])
    dataset.cache = True  # each molecule is featurised once, not once an epoch
    return build_dataloader(dataset, config.affinity_batch_size, seed=config.seed, drop_last=False)


def _column(df: Any, name: str, parameter: str) -> NDArray[Any]:
    columns = [str(c) for c in df.columns]
    if name not in columns:
        raise TaskAffinityError(
            f"{parameter}: expected a column of the table; found {name!r}. "
            f"{did_you_mean(name, columns)}"
        )
    return np.asarray(df[name])


def _targets(df: Any, names: Sequence[str]) -> NDArray[np.float64]:
    """Return the targets [N, T]; every task has a label."""
    if not names:
        raise TaskAffinityError("target_cols: expected at least one column; found none")
    twice = sorted({n for n in names if list(names).count(n) > 1})
    if twice:
        raise TaskAffinityError(
            f"target_cols: expected distinct names; found twice {listed(twice)}"
        )
    targets = np.column_stack([_numbers(_column(df, n, "target_cols"), n) for n in names])
    empty = [n for n, y in zip(names, targets.T, strict=True) if not np.isfinite(y).any()]
    if empty:
        which = "any task" if len(empty) == len(names) else listed(empty)
        raise NoGradientStepsError(
            f"No gradient steps were performed for {listed(empty)}: expected values of "
            f"each task; found only missing ones of {which}"
        )
    return targets


def _numbers(column: NDArray[Any], name: str) -> NDArray[np.float64]:
    try:
        numbers = column.astype(np.float64)
    except (TypeError, ValueError):
        row, value = next((i, v) for i, v in enumerate(column) if not _is_number(v))
        raise TaskAffinityError(
            f"target_cols: expected numbers in {name!r}; found {value!r} in row {row}"
        ) from None
    if np.isinf(numbers).any():
        row = int(np.flatnonzero(np.isinf(numbers))[0])
        raise TaskAffinityError(
            f"target_cols: expected finite numbers or NaN in {name!r}; found {numbers[row]} in "
            f"row {row}"
        )
    return numbers


def _is_number(value: Any) -> bool:
    try:
        float(np.float64(value))
    except (TypeError, ValueError):
        return False
    return True


def _scaled(targets: NDArray[np.float64], is_class: Sequence[bool]) -> NDArray[np.float64]:
    """Return values with mean 0 and variance 1 in each task; classes as they are."""
    mean = np.where(is_class, 0.0, np.nanmean(targets, axis=0))
    scale = np.where(is_class, 1.0, np.nanstd(targets, axis=0))
    return (targets - mean) / np.where(scale > 0, scale, 1.0)


def _check_batch(config: TaskAffinityConfig, n_rows: int) -> None:
    if config.affinity_batch_size > n_rows:
        raise NoGradientStepsError(
            "No gradient steps were performed: affinity_batch_size: expected at most the "
            f"{n_rows} molecules that have a label; found {config.affinity_batch_size}"
        )
