"""Chemprop's model as the one that is measured: its table, its batches, its losses.

Everything here needs the extra ``task-affinity[chemprop]``. The loss of a task is a masked mean,
and a batch can be divided by its labels, so that exact gradients go back through no molecule that
has no label of the task.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from molpool_common import FloatArray, did_you_mean, listed
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from task_affinity._config import TaskAffinityConfig
from task_affinity._errors import NoGradientStepsError, TaskAffinityError
from task_affinity._gradients import Part, label_blocks
from task_affinity._last_layer import OutputLayer

try:
    from chemprop import models
    from chemprop import nn as chemprop_nn
    from chemprop.data import (
        BatchMolGraph,
        MoleculeDatapoint,
        MoleculeDataset,
        build_dataloader,
    )
    from chemprop.data.collate import TrainingBatch
    from molpool_common import parse_smiles
except ImportError as error:
    raise ImportError(
        "task_affinity: affinities of a table of SMILES need Chemprop, which the extra `chemprop` "
        "installs: pip install 'task-affinity[chemprop]'"
    ) from error

ENCODER_OUTPUT = "bn"
"""Module of a `chemprop.models.MPNN` that puts out the fingerprint, batch norm or not."""

CellLoss = Callable[[Tensor, Tensor, Any], Tensor]
"""From predictions [B, T], targets [B, T] without NaN and the batch to the loss of each cell."""


class ChempropLosses:
    """Mean loss of each task of a `chemprop.models.MPNN` on a `TrainingBatch`.

    Parameters
    ----------
    cells : callable, optional
        ``cells(predictions, targets, batch)`` gives the loss of each cell [B, T] before row
        weights and mask; squared errors by default.

    See Also
    --------
    mixed_cells : squared errors and cross-entropies side by side.
    """

    def __init__(self, cells: CellLoss | None = None) -> None:
        self._cells = cells if cells is not None else _squared_errors

    def __call__(self, model: Any, batch: TrainingBatch, /) -> tuple[Tensor, Tensor]:
        """Return the mean loss of each task [T], and whether it has a label [T]."""
        batch = to_device(batch, next(model.parameters()).device)
        predictions = model.predictor.train_step(model.fingerprint(batch.bmg, batch.V_d, batch.X_d))
        labelled = batch.Y.isfinite()
        cells = self._cells(predictions, batch.Y.nan_to_num(nan=0.0), batch) * batch.w
        counts = labelled.sum(dim=0)
        # `where`, not a product with the mask: 0 * inf or 0 * NaN of a masked cell would be NaN.
        losses = torch.where(labelled, cells, 0.0).sum(dim=0) / counts.clamp(min=1)
        return losses, counts > 0

    def parts(self, model: nn.Module, batch: TrainingBatch) -> Sequence[Part]:
        """Divide a batch by label patterns, unless the model mixes its molecules."""
        # Batch norm couples molecules: the gradient of a part is then not that of the batch.
        if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules()):
            return []
        labelled = batch.Y.isfinite()
        bonds = torch.bincount(
            batch.bmg.batch[batch.bmg.edge_index[0]], minlength=len(labelled)
        ).double()
        # Message passing works per bond, so directed bonds measure a molecule's cost better than
        # atoms.
        sizes = (bonds / bonds.mean().clamp(min=1)).cpu().numpy()
        blocks = label_blocks(labelled.cpu().numpy(), sizes)
        if len(blocks) < 2:
            return []
        totals = labelled.sum(dim=0).clamp(min=1)
        rows = [torch.from_numpy(block).to(labelled.device) for block in blocks]
        return [
            Part(take_rows(batch, r), (labelled[r].sum(dim=0) / totals.to(batch.Y.dtype)))
            for r in rows
        ]


def mixed_cells(is_class: Sequence[bool]) -> CellLoss:
    """Return squared errors, and for classes 0 and 1 the cross-entropy of logits.

    Parameters
    ----------
    is_class : sequence of bool [T]
        Which tasks have classes.
    """
    classes = torch.tensor(list(is_class))

    def cells(predictions: Tensor, targets: Tensor, batch: TrainingBatch) -> Tensor:
        values = _squared_errors(predictions, targets, batch)
        logits = functional.binary_cross_entropy_with_logits(predictions, targets, reduction="none")
        return torch.where(classes.to(values.device), logits, values)

    return cells


def _squared_errors(predictions: Tensor, targets: Tensor, batch: TrainingBatch) -> Tensor:
    return functional.mse_loss(predictions, targets, reduction="none")


class Subgraphs(BatchMolGraph):  # type: ignore[misc]  # chemprop has no types here
    """Some of the molecules of a batch.

    Parameters
    ----------
    batch : BatchMolGraph
        The batch.
    rows : Tensor of int [R]
        Molecules to keep, ascending.
    """

    def __init__(self, batch: BatchMolGraph, rows: Tensor) -> None:
        place = torch.full((len(batch),), -1, device=rows.device)
        place[rows] = torch.arange(len(rows), device=rows.device)
        self.atoms = place[batch.batch] >= 0
        # Bonds never join two molecules, so that the first atom decides.
        bonds = self.atoms[batch.edge_index[0]]
        self.V = batch.V[self.atoms]
        self.E = batch.E[bonds]
        # The cumulative sum of a mask, less one, is each selected item's place after selection.
        self.edge_index = (self.atoms.cumsum(0) - 1)[batch.edge_index[:, bonds]]
        self.rev_edge_index = (bonds.cumsum(0) - 1)[batch.rev_edge_index[bonds]]
        self.batch = place[batch.batch[self.atoms]]
        self._length = len(rows)

    def __len__(self) -> int:
        return self._length


def take_rows(batch: TrainingBatch, rows: Tensor) -> TrainingBatch:
    """Return some rows of a batch, ascending, as a batch."""
    graphs = Subgraphs(batch.bmg, rows)

    def of(values: Tensor | None) -> Tensor | None:
        return None if values is None else values[rows]

    return TrainingBatch(
        graphs,
        None if batch.V_d is None else batch.V_d[graphs.atoms],
        of(batch.X_d),
        of(batch.Y),
        of(batch.w),
        of(batch.lt_mask),
        of(batch.gt_mask),
    )


def to_device(batch: TrainingBatch, device: torch.device) -> TrainingBatch:
    """Return a batch on a device; the graphs of the given one go there too."""
    batch.bmg.to(device)
    rest = (None if x is None else x.to(device) for x in batch[1:])
    return TrainingBatch(batch.bmg, *rest)


def build_model(n_tasks: int) -> Any:
    """Return a Chemprop network of default size for T tasks; torch's generator draws it."""
    return models.MPNN(
        chemprop_nn.BondMessagePassing(),
        chemprop_nn.MeanAggregation(),
        chemprop_nn.RegressionFFN(n_tasks=n_tasks),
    )


def output_layer(model: Any) -> OutputLayer | None:
    """Return where the encoder of a `chemprop.models.MPNN` ends; None where it does not say.

    Parameters
    ----------
    model : chemprop.models.MPNN
        With atom descriptors after the last layer its units are mixed once more.
    """
    block = model.message_passing
    plain = isinstance(getattr(block, "W_o", None), nn.Linear)
    if not plain or getattr(block, "W_d", None) is not None:
        return None
    return OutputLayer(block.W_o, model.bn)


def build_loader(
    smiles: Sequence[str],
    targets: FloatArray,
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
    mols = parse_smiles(smiles).require_all(parameter)
    points = [MoleculeDatapoint(mol, y) for mol, y in zip(mols, targets, strict=True)]
    dataset = MoleculeDataset(points)
    dataset.cache = True
    return build_dataloader(dataset, batch_size, seed=seed, drop_last=False)


def table_of_molecules(
    df: Any, smiles_col: str, target_cols: Sequence[str], config: TaskAffinityConfig
) -> tuple[Any, ChempropLosses]:
    """Return Chemprop's loader of a table of molecules, and the losses of its tasks.

    Parameters
    ----------
    df : DataFrame
        Of pandas or polars; NaN or null where there is no label.
    smiles_col : str
        Column of SMILES.
    target_cols : sequence of str
        Columns of the T tasks. One that holds only 0 and 1 is taken as classes.
    config : TaskAffinityConfig
        Its batch size and seed.

    Raises
    ------
    TaskAffinityError
        If a column is missing or no number, a task has no label, or a batch would be larger than
        the table.
    """
    smiles = column(df, smiles_col, "smiles_col").tolist()
    targets, is_class = target_table(df, target_cols)
    n_labelled = int(np.isfinite(targets).any(axis=1).sum())
    batch_size = config.batch_size_of(n_labelled)
    if batch_size > n_labelled:
        raise NoGradientStepsError(
            "No gradient steps were performed: affinity_batch_size: expected at most the "
            f"{n_labelled} molecules that have a label; found {batch_size}"
        )
    loader = build_loader(
        smiles,
        targets,
        batch_size=batch_size,
        seed=config.seed,
        parameter=smiles_col,
    )
    return loader, ChempropLosses(mixed_cells(is_class))


def column(df: Any, name: str, parameter: str) -> NDArray[Any]:
    """Return a column of a table; `parameter` is what named it."""
    columns = [str(c) for c in df.columns]
    if name not in columns:
        raise TaskAffinityError(
            f"{parameter}: expected a column of the table; found {name!r}. "
            f"{did_you_mean(name, columns)}"
        )
    return np.asarray(df[name])


def target_table(df: Any, names: Sequence[str]) -> tuple[FloatArray, list[bool]]:
    """Return scaled targets, and which tasks have classes.

    Parameters
    ----------
    df : DataFrame
        Of pandas or polars.
    names : sequence of str
        Columns of the T tasks.

    Returns
    -------
    targets : ndarray [N, T]
        Values with mean 0 and variance 1 in each task; classes as they are; NaN without a label.
    is_class : list of bool
        Tasks that hold only 0 and 1.

    Raises
    ------
    TaskAffinityError
        If a column is missing, given twice or no number, or there is none.
    NoGradientStepsError
        If a task has no label.
    """
    if not names:
        raise TaskAffinityError("target_cols: expected at least one column; found none")
    twice = sorted({n for n in names if list(names).count(n) > 1})
    if twice:
        raise TaskAffinityError(
            f"target_cols: expected distinct names; found twice {listed(twice)}"
        )
    targets = np.column_stack([_numbers(column(df, n, "target_cols"), n) for n in names])
    empty = [n for n, y in zip(names, targets.T, strict=True) if not np.isfinite(y).any()]
    if empty:
        raise NoGradientStepsError(
            f"No gradient steps were performed for {listed(empty)}: expected values of "
            f"each task; found only missing ones"
        )
    is_class = [bool(np.isin(y[np.isfinite(y)], (0, 1)).all()) for y in targets.T]
    return _scaled(targets, is_class), is_class


def _numbers(column: NDArray[Any], name: str) -> FloatArray:
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


def _scaled(targets: FloatArray, is_class: Sequence[bool]) -> FloatArray:
    mean = np.where(is_class, 0.0, np.nanmean(targets, axis=0))
    scale = np.where(is_class, 1.0, np.nanstd(targets, axis=0))
    return (targets - mean) / np.where(scale > 0, scale, 1.0)
