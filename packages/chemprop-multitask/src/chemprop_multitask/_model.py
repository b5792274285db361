"""A multi-task Chemprop model: build, fit, predict, save, load.

Measuring task affinity asks two things of a model besides: `shuffled_batches` as training sees
them, and `cell_losses`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from molpool_common import FloatArray, StepSeed, Structure, fast_matmul, fit_module
from torch import Tensor
from torch.utils.data import Sampler

from chemprop_multitask._batches import BatchLoader, ChempropShuffle
from chemprop_multitask._checkpoint import (
    Limits,
    as_foundation,
    check_resumable,
    model_files,
    read_model,
    use_foundation,
    write_model,
)
from chemprop_multitask._chemprop import pytorch as pl
from chemprop_multitask._config import ChempropConfig
from chemprop_multitask._data import (
    MoleculeData,
    Scaling,
    check_labels,
    scaling_of,
)
from chemprop_multitask._errors import ChempropError, NonFiniteLossError
from chemprop_multitask._network import MultiTaskMPNN, build_network
from chemprop_multitask._tasks import TaskType, resolve_task_types
from chemprop_multitask._training import (
    MONITOR,
    BestPerTask,
    EpochRecord,
    Recorder,
    lightning_precision,
    uses_bf16,
)


class ChempropModel:
    """A message passing network with one output per task, missing labels masked.

    Make one with `from_config` or `load`.

    Parameters
    ----------
    config : ChempropConfig
        Architecture and training.
    task_names : sequence of str
        Names of the T tasks, in the order of the outputs.
    task_types : sequence of {"regression", "classification"}
        Kind of each task; classes are 0 and 1.
    module : MultiTaskMPNN
        The network.
    serves : mapping of str to int, optional
        For a model of some tasks of a `SeparateModels`: the tasks that it predicts there, each with
        its column. `predict` gives all of the model's own tasks nevertheless.
    descriptors : mapping, optional
        What the descriptors are that it takes beside molecules, in plain values, for whoever
        computes them; kept in its file.
    structure : {"given", "parent", "tautomer"}
        What the model sees of SMILES that it predicts, as of those that trained it; Chemprop's own
        command knows nothing of it.
    limits : mapping of str to (float, float, float, float), optional
        Of tasks whose labels at an assay's floor or ceiling were learnt as bounds: both, infinite
        where there is none, and what is reported at each; kept in its file for whoever says what
        the assay would report. `predict` gives values beyond them.

    Raises
    ------
    ChempropError
        If `serves` names another model's task.
    """

    def __init__(
        self,
        config: ChempropConfig,
        task_names: Sequence[str],
        task_types: Sequence[TaskType],
        module: MultiTaskMPNN,
        *,
        serves: Mapping[str, int] | None = None,
        descriptors: Mapping[str, Any] | None = None,
        structure: Structure = "given",
        limits: Mapping[str, Limits] | None = None,
    ) -> None:
        for name in serves or ():
            if name not in task_names:
                raise ChempropError(
                    f"serves: expected tasks of the model, {list(task_names)}; found {name!r}"
                )
        self.config = config
        self.task_names = tuple(task_names)
        self.task_types = tuple(task_types)
        self.module = module
        self.serves = None if serves is None else dict(serves)
        self.descriptors = None if descriptors is None else dict(descriptors)
        self.structure: Structure = structure
        self.limits = dict(limits or {})
        self._best: BestPerTask | None = None

    @property
    def n_descriptors(self) -> int:
        """Number of descriptors that it takes beside molecules."""
        return self.module.n_descriptors

    @property
    def n_graph_features(self) -> tuple[int, int]:
        """Number of features of an atom and of a bond that it takes beyond Chemprop's own."""
        return self.module.n_graph_features

    @classmethod
    def from_config(
        cls,
        config: ChempropConfig,
        *,
        task_names: Sequence[str],
        task_type: TaskType = "regression",
        task_types: Sequence[TaskType] | None = None,
        serves: Mapping[str, int] | None = None,
        n_descriptors: int = 0,
        n_graph_features: tuple[int, int] = (0, 0),
        descriptors: Mapping[str, Any] | None = None,
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
        task_types : sequence of {"regression", "classification"}, optional
            Kind of each task, instead of one for all.
        serves : mapping of str to int, optional
            For a model of some tasks of a `SeparateModels`: those that it predicts there.
        n_descriptors : int
            Number of descriptors that its predictor takes beside the fingerprint.
        n_graph_features : (int, int)
            Number of features of an atom and of a bond beyond Chemprop's own.
        descriptors : mapping, optional
            What the descriptors are; see the class.
        seed : int
            Seed of the initial weights; the global generator is left as it was.

        Raises
        ------
        ChempropError
            If names, kinds, groups, loss or weights do not fit together, or the foundation file is
            not one of this architecture.
        """
        kinds = resolve_task_types(task_names, task_type if task_types is None else task_types)
        config = as_foundation(config)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = build_network(config, task_names, kinds, n_descriptors, n_graph_features)
        use_foundation(module.message_passing, config.model)
        return cls(config, task_names, kinds, module, serves=serves, descriptors=descriptors)

    @property
    def task_type(self) -> TaskType:
        """Kind of all tasks.

        Raises
        ------
        ChempropError
            If the model has tasks of both kinds.
        """
        if len(set(self.task_types)) > 1:
            raise ChempropError(
                "task_type: expected tasks of one kind; this model has both, see task_types"
            )
        return self.task_types[0]

    @property
    def loss_description(self) -> str:
        """One line for a log: which loss is trained, averaged over what."""
        return str(self.module.criterion.description)

    def fit(
        self,
        train: MoleculeData,
        val: MoleculeData | None = None,
        *,
        sampler: Sampler[int] | None = None,
        callbacks: Sequence[pl.Callback] = (),
        on_epoch: Callable[[EpochRecord], None] | None = None,
        checkpoint_dir: str | Path | None = None,
        resume_from: str | Path | None = None,
        seed: int = 42,
    ) -> list[EpochRecord]:
        """Train, and keep the weights of the best validation loss.

        Parameters
        ----------
        train, val : MoleculeData
            With targets, NaN where missing. Without `val` the last epoch's weights are kept.
        sampler : Sampler, optional
            Draws the training rows; by default every row once per epoch, shuffled. For exact
            resuming its order must follow from `set_epoch` and `state_dict` alone.
        callbacks : sequence of lightning.pytorch.Callback
            For curricula, logging and progress.
        on_epoch : callable, optional
            Called with the record of each epoch.
        checkpoint_dir : str or Path, optional
            Where ``best.ckpt`` and ``last.ckpt`` stay; by default beside `resume_from`, and without
            that they are not written.
        resume_from : str or Path, optional
            A ``last.ckpt`` of the same configuration and data. On the machine that wrote it the
            run ends with the weights that it would have had without the break.
        seed : int
            Seed of shuffling and dropout; the global generator is left as it was.

        Returns
        -------
        list of EpochRecord

        Raises
        ------
        ChempropError
            If the data's tasks or features are not the model's, a task has no training label, a
            loss is not finite (names epoch, rows and tasks), or the checkpoint is of another model.
        """
        check_labels(train, self.task_names, self.task_types)
        if val is not None:
            check_labels(val, self.task_names, self.task_types)
        for data in (train, val):
            self._check_features(data)
        resume = self.check_checkpoint(resume_from) if resume_from is not None else None
        scaling = self._fit_scaling(train)
        self.module.skipped = None if self.config.training.non_finite == "stop" else []
        self.module.train()  # a prediction before has left dropout switched off
        recorder = Recorder(on_epoch)
        by_task = self.config.training.best_epoch == "task" and val is not None
        self._best = BestPerTask(len(self.task_names)) if by_task else None
        # A resumed run may find no better epoch than the best before, which lies there.
        folder = resume.parent if checkpoint_dir is None and resume else checkpoint_dir
        with torch.random.fork_rng():
            checkpoints = fit_module(
                self.module,
                self._loader(train.scaled(scaling), sampler or ChempropShuffle(len(train), seed)),
                self._loader(val.scaled(scaling)) if val is not None else None,
                self.config.training,
                monitor=MONITOR,
                seed=StepSeed(seed),
                recorder=recorder,
                checkpoint_dir=None if folder is None else Path(folder),
                callbacks=[*callbacks, *([self._best] if self._best else [])],
                resume_from=resume,
                precision=lightning_precision(self.config.training),
                # Chemprop keeps classes among its hyperparameters.
                weights_only=False,
            )
            self.module.load_state_dict(checkpoints.best_state())
        self.module.float()  # where it was trained in double
        return recorder.records

    @property
    def skipped(self) -> list[NonFiniteLossError]:
        """Batches that the last `fit` left out, as ``training.non_finite: skip`` has it."""
        return self.module.skipped or []

    def by_task(self) -> list[ChempropModel]:
        """Return the models that predict the tasks, each of the tasks whose best epoch it is of.

        With ``training.best_epoch: task`` and validation rows `fit` keeps them; together they make
        a `SeparateModels`. Otherwise, and where one epoch was best for all tasks, it is the model.
        """
        epochs = [] if self._best is None else self._best.epochs
        if self._best is None or len(set(epochs) - {-1}) < 2:
            return [self]
        columns = self.serves or {name: t for t, name in enumerate(self.task_names)}
        models = []
        for epoch in sorted(set(epochs)):
            tasks = {
                name: columns[name]
                for name, own in zip(self.task_names, epochs, strict=True)
                if own == epoch and name in columns
            }
            # Tasks without a validation label stay with the weights that are best for all.
            state = self._best.states.get(epoch, self.module.state_dict())
            if tasks:
                models.append(self._with_weights(state, tasks))
        return models

    def _with_weights(
        self, state: Mapping[str, Tensor], serves: Mapping[str, int]
    ) -> ChempropModel:
        with torch.random.fork_rng(devices=[]):
            module = build_network(
                self.config,
                self.task_names,
                self.task_types,
                self.n_descriptors,
                self.n_graph_features,
            )
        module.load_state_dict(state)
        module.units = self.module.units
        return ChempropModel(
            self.config,
            self.task_names,
            self.task_types,
            module,
            serves=serves,
            descriptors=self.descriptors,
            structure=self.structure,
            limits=self.limits,
        )

    def check_checkpoint(self, path: str | Path) -> Path:
        """Return the path of a training checkpoint that `fit` could go on from.

        Raises
        ------
        ChempropError
            If the file is missing, damaged, no training checkpoint, or of another model or
            featuriser.
        """
        return check_resumable(path, self.module)

    def _loader(self, data: MoleculeData, sampler: Sampler[int] | None = None) -> BatchLoader:
        training_data = sampler is not None
        loader = BatchLoader(
            data,
            self.config.training.batch_size,
            sampler,
            drop_single=training_data and self.config.model.batch_norm,
            dtype=torch.float64 if self.config.training.precision == "64" else torch.float32,
        )
        if not len(loader) and training_data:
            raise ChempropError(f"data: expected training molecules for a batch; found {len(data)}")
        return loader

    def _fit_scaling(self, train: MoleculeData) -> Scaling:
        """Return how the training data are scaled; the module's own scaling is set to it."""
        scaling = scaling_of(train, self.task_names, self.task_types)
        self.module.use_units(scaling.mean, scaling.scale)
        if scaling.descriptors is not None:
            self.module.use_descriptor_scale(*scaling.descriptors)
        self.module.use_graph_scale(scaling)
        return scaling

    def _check_features(self, data: MoleculeData | None) -> None:
        if data is not None and data.n_descriptors != self.n_descriptors:
            raise ChempropError(
                f"descriptors: expected {self.n_descriptors or 'none'} of each molecule, as the "
                f"model takes them; found {data.n_descriptors or 'none'}"
            )
        if data is not None and data.n_graph_features != self.n_graph_features:
            atoms, bonds = self.n_graph_features
            raise ChempropError(
                f"atom_features, bond_features: expected {atoms} of each atom and {bonds} of each "
                f"bond, as the model takes them; found {data.n_graph_features[0]} and "
                f"{data.n_graph_features[1]}"
            )

    def predict(
        self, molecules: MoleculeData | Sequence[str], *, batch_size: int | None = None
    ) -> FloatArray:
        """Predict every task of every molecule.

        Parameters
        ----------
        molecules : MoleculeData or sequence of str
            N molecules or SMILES.
        batch_size : int, optional
            Molecules predicted at a time, by default as in training; no number depends on it beyond
            rounding.

        Returns
        -------
        ndarray [N, T]
            Values in the unit of the training targets, or probabilities of class 1.

        Raises
        ------
        ChempropError
            If the data have not the features that the model takes.
        """
        data = MoleculeData.seen_as(molecules, self.structure)
        self._check_features(data)
        self.module.eval()
        device = next(self.module.parameters()).device
        parts = []
        with torch.inference_mode(), fast_matmul(device):
            for batch in BatchLoader(data, batch_size or self.config.training.batch_size):
                batch.bmg.to(device)
                X_d = None if batch.X_d is None else batch.X_d.to(device)
                scaled = self.module.scaled(batch.bmg, X_d=X_d)
                parts.append(self.module.in_units(scaled).numpy())
        return np.concatenate(parts) if parts else np.empty((0, len(self.task_names)))

    def save(self, path: str | Path) -> None:
        """Write the model in Chemprop's own file format, with our configuration beside it."""
        write_model(
            path,
            self.config,
            self.task_names,
            self.task_types,
            self.module,
            serves=self.serves,
            descriptors=self.descriptors,
            structure=self.structure,
            limits=self.limits,
        )

    @classmethod
    def load(cls, path: str | Path) -> ChempropModel:
        """Read a model that `save` or `chemprop train` wrote, only from a trusted source.

        Parameters
        ----------
        path : str or Path
            The file, or a folder with one model in it; of several, see `Ensemble.load`.

        Raises
        ------
        ChempropError
            If the file is missing, damaged, of another program or of another featuriser.
        """
        files = model_files(path)
        if len(files) > 1:
            raise ChempropError(
                f"model: expected one model; found {len(files)} in {path}. Ensemble.load reads them"
            )
        saved = read_model(files[0])
        return cls(
            saved.config,
            saved.task_names,
            saved.task_types,
            saved.network,
            serves=saved.serves,
            descriptors=saved.descriptors,
            structure=saved.structure,
            limits=saved.limits,
        )


def shuffled_batches(
    model: ChempropModel, train: MoleculeData, batch_size: int, seed: int
) -> BatchLoader:
    """Return training data as the model would see them: scaled, shuffled, in batches.

    Parameters
    ----------
    model : ChempropModel
        Its tasks and their kinds say how targets are scaled.
    train : MoleculeData
        With targets; they alone decide the scale.
    batch_size : int
        Molecules per batch.
    seed : int
        Seed of the order.

    Raises
    ------
    ChempropError
        If there are no targets, or a task has no label.
    """
    if train.targets is None:
        raise ChempropError("data: expected targets; found none")
    return BatchLoader(
        train.scaled(scaling_of(train, model.task_names, model.task_types)),
        batch_size,
        ChempropShuffle(len(train), seed),
        drop_single=model.config.model.batch_norm,
    )


_TOLD_BY = 4
"""Steps that tell how long a training takes; the first is not timed."""


def training_seconds(model: ChempropModel, train: MoleculeData) -> float:
    """Return about how many seconds `fit` would take, told from a few steps; nothing is learnt.

    Parameters
    ----------
    model : ChempropModel
        Not to be used afterwards.
    train : MoleculeData
        With targets.
    """
    training = model.config.training
    batches = list(islice(shuffled_batches(model, train, training.batch_size, seed=0), _TOLD_BY))
    rows, start = 0, perf_counter()
    with fast_matmul(), torch.random.fork_rng(devices=[]):
        for step in range(_TOLD_BY):
            batch = batches[step % len(batches)]
            with torch.autocast("cpu", torch.bfloat16, enabled=uses_bf16(training)):
                loss: Any = model.module.training_step(batch, step)
            loss.backward()
            rows += len(batch.bmg)
            if step == 0:  # the first sets up what the others find
                rows, start = 0, perf_counter()
    return (perf_counter() - start) / rows * len(train) * training.epochs


def cell_losses(model: ChempropModel) -> Callable[[Tensor, Tensor, Any], Tensor]:
    """Return the loss that a model is trained with, cell by cell; bounds are bounds in it.

    Returns
    -------
    callable
        Predictions [B, T], scaled targets [B, T] and the batch to losses [B, T].
    """
    criterion = model.module.criterion

    def cells(predictions: Tensor, targets: Tensor, batch: Any) -> Tensor:
        loss: Tensor = criterion.cells(predictions, targets, batch.lt_mask, batch.gt_mask)
        return loss

    return cells
