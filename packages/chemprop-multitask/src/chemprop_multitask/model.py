"""A multi-task Chemprop model: build, fit, predict, save, load."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import numpy as np
import torch
from chemprop import nn
from chemprop.models import MPNN
from numpy.typing import NDArray
from torch.utils.data import Sampler

from chemprop_multitask import training
from chemprop_multitask.config import ChempropConfig, ModelConfig, TrainingConfig
from chemprop_multitask.data import MoleculeData
from chemprop_multitask.errors import ChempropError
from chemprop_multitask.shuffle import EpochShuffle

TaskType = Literal["regression", "classification"]

_AGGREGATION = {
    "mean": nn.MeanAggregation,
    "sum": nn.SumAggregation,
    "norm": nn.NormAggregation,
}


class ChempropModel:
    """A message passing network with one output a task, missing labels masked.

    Make one with `from_config` or `load`.

    Parameters
    ----------
    config : ChempropConfig
        Architecture and training.
    task_names : sequence of str
        Names of the T tasks, in the order of the outputs.
    task_type : {"regression", "classification"}
        Kind of all tasks; classes are 0 and 1.
    module : chemprop.models.MPNN
        The network.
    """

    def __init__(
        self,
        config: ChempropConfig,
        task_names: Sequence[str],
        task_type: TaskType,
        module: MPNN,
    ) -> None:
        self.config = config
        self.task_names = tuple(task_names)
        self.task_type = task_type
        self.module = module

    @classmethod
    def from_config(
        cls,
        config: ChempropConfig,
        *,
        task_names: Sequence[str],
        task_type: TaskType = "regression",
        seed: int = 42,
    ) -> ChempropModel:
        """Build an untrained model.

        Parameters
        ----------
        config : ChempropConfig
            Architecture and training.
        task_names : sequence of str
            Names of the tasks.
        task_type : {"regression", "classification"}
            Kind of all tasks.
        seed : int
            Seed of the initial weights; the global generator is left as it was.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = _build(config.model, config.training, len(task_names), task_type)
        return cls(config, task_names, task_type, module)

    def fit(
        self,
        train: MoleculeData,
        val: MoleculeData | None = None,
        *,
        sampler: Sampler[int] | None = None,
        callbacks: Sequence[pl.Callback] = (),
        on_epoch: Callable[[training.EpochRecord], None] | None = None,
        checkpoint_dir: str | Path | None = None,
        resume_from: str | Path | None = None,
        seed: int = 42,
    ) -> list[training.EpochRecord]:
        """Train, and keep the weights of the best validation loss.

        Parameters
        ----------
        train, val : MoleculeData
            With targets, NaN where missing. Without `val` the last epoch's weights are kept.
        sampler : Sampler, optional
            Draws the training rows; by default every row once an epoch, shuffled.
        callbacks : sequence of lightning.pytorch.Callback
            For curricula, logging and progress.
        on_epoch : callable, optional
            Told of each epoch as it ends.
        checkpoint_dir : str or Path, optional
            Where ``best.ckpt`` and ``last.ckpt`` stay; by default they are not kept.
        resume_from : str or Path, optional
            A ``last.ckpt`` of the same configuration.
        seed : int
            Seed of shuffling and dropout; the global generator is left as it was.

        Returns
        -------
        list of EpochRecord

        Raises
        ------
        ChempropError
            If the data's tasks are not the model's, or a task has no training label.
        """
        self._check(train)
        if val is not None:
            self._check(val)
        mean, scale = self._fit_scaler(train)
        sampler = sampler if sampler is not None else EpochShuffle(len(train), seed)
        size = self.config.training.batch_size
        with tempfile.TemporaryDirectory() as scratch, torch.random.fork_rng():
            torch.manual_seed(seed)
            result = training.run(
                self.module,
                self.config.training,
                training.loader(train.scaled(mean, scale), size, sampler),
                training.loader(val.scaled(mean, scale), size) if val is not None else None,
                checkpoint_dir=Path(checkpoint_dir or scratch),
                callbacks=callbacks,
                on_epoch=on_epoch,
                resume_from=Path(resume_from) if resume_from else None,
            )
            if result.best is not None:
                state = torch.load(result.best, map_location="cpu", weights_only=False)
                self.module.load_state_dict(state["state_dict"])
        return result.records

    def predict(self, molecules: MoleculeData | Sequence[str]) -> NDArray[np.float64]:
        """Predict every task of every molecule.

        Parameters
        ----------
        molecules : MoleculeData or sequence of str
            N molecules or SMILES.

        Returns
        -------
        ndarray [N, T]
            Values in the unit of the training targets, or probabilities of class 1.
        """
        data = molecules if isinstance(molecules, MoleculeData) else MoleculeData(molecules)
        self.module.eval()
        device = next(self.module.parameters()).device
        parts = []
        with torch.inference_mode():
            for batch in training.loader(data, self.config.training.batch_size):
                batch.bmg.to(device)
                parts.append(self.module(batch.bmg).cpu().double().numpy())
        return np.concatenate(parts) if parts else np.empty((0, len(self.task_names)))

    def save(self, path: str | Path) -> None:
        """Write the model in Chemprop's own file format, with our configuration beside it."""
        torch.save(
            {
                "hyper_parameters": self.module.hparams,
                "state_dict": self.module.state_dict(),
                "output_columns": list(self.task_names),
                "chemprop_multitask": {
                    "config": self.config.model_dump(mode="json"),
                    "task_type": self.task_type,
                },
            },
            path,
        )

    @classmethod
    def load(cls, path: str | Path) -> ChempropModel:
        """Read a model that `save` wrote. Like any torch file, only from a trusted source.

        Raises
        ------
        ChempropError
            If the file is missing, damaged, or of another program.
        """
        path = Path(path)
        try:
            content = torch.load(path, map_location="cpu", weights_only=False)
            extra = content["chemprop_multitask"]
            config = ChempropConfig.model_validate(extra["config"])
            module = MPNN.load_from_file(path, map_location="cpu")
        except FileNotFoundError:
            raise ChempropError(f"model: expected a saved model; found no file {path}") from None
        except Exception as error:  # torch raises half a dozen kinds for a damaged file
            raise ChempropError(
                f"model: expected a file that ChempropModel.save wrote; {path} is not ({error})"
            ) from error
        return cls(config, content["output_columns"], extra["task_type"], module)

    def _check(self, data: MoleculeData) -> None:
        if data.targets is None or data.task_names != self.task_names:
            raise ChempropError(
                f"data: expected targets for {list(self.task_names)}; "
                f"found {list(data.task_names) if data.targets is not None else 'none'}"
            )
        if self.task_type == "classification":
            _check_classes(data.targets, self.task_names)

    def _fit_scaler(self, train: MoleculeData) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and scale of each task's training labels; also set the module's unscaling."""
        assert train.targets is not None
        labels = np.isfinite(train.targets).sum(axis=0)
        if (labels == 0).any():
            name = self.task_names[int(np.argmin(labels))]
            raise ChempropError(f"task {name!r}: expected training labels; found none")
        if self.task_type == "classification":
            return np.zeros(len(labels)), np.ones(len(labels))
        mean = np.nanmean(train.targets, axis=0)
        scale = np.nanstd(train.targets, axis=0)
        # A constant task is already as close to zero as it gets.
        scale = np.where(scale > 1e-12 * np.maximum(np.abs(mean), 1), scale, 1.0)
        unscale = self.module.predictor.output_transform
        unscale.mean.copy_(torch.as_tensor(mean, dtype=torch.float32)[None])
        unscale.scale.copy_(torch.as_tensor(scale, dtype=torch.float32)[None])
        return mean, scale


def _check_classes(targets: NDArray[np.float64], task_names: Sequence[str]) -> None:
    bad = np.argwhere(np.isfinite(targets) & ~np.isin(targets, (0.0, 1.0)))
    if len(bad):
        row, task = bad[0]
        raise ChempropError(
            f"task {task_names[task]!r}: expected classes 0 and 1; "
            f"found {targets[row, task]:g} in row {row + 1}"
        )


def _build(config: ModelConfig, train: TrainingConfig, n_tasks: int, kind: TaskType) -> Any:
    mp = config.message_passing
    message_passing = nn.BondMessagePassing(
        d_h=mp.hidden_size,
        depth=mp.depth,
        dropout=mp.dropout,
        activation=mp.activation,
        bias=mp.bias,
        undirected=mp.undirected,
    )
    shared = {
        "n_tasks": n_tasks,
        "input_dim": message_passing.output_dim,
        "hidden_dim": config.ffn.hidden_size,
        "n_layers": config.ffn.num_layers,
        "dropout": config.ffn.dropout,
    }
    predictor = (
        nn.RegressionFFN(
            **shared, output_transform=nn.UnscaleTransform(np.zeros(n_tasks), np.ones(n_tasks))
        )
        if kind == "regression"
        else nn.BinaryClassificationFFN(**shared)
    )
    return MPNN(
        message_passing,
        _AGGREGATION[config.aggregation](),
        predictor,
        batch_norm=config.batch_norm,
        warmup_epochs=min(train.warmup_epochs, train.epochs - 1),
        init_lr=train.init_lr or train.peak_lr / 10,
        max_lr=train.peak_lr,
        final_lr=train.final_lr or train.peak_lr / 10,
    )
