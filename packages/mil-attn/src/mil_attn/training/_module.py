"""The network with its losses and metrics, as Lightning trains it, and its files.

Model files and training checkpoints hold plain values and tensors, so that reading runs no code.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import lightning.pytorch as pl
import numpy as np
import torch
from molpool_common import (
    DamagedFileError,
    FloatArray,
    ResumableLoader,
    check_intact,
    checked,
    fast_matmul,
    listed,
    of_every_rank,
)
from torch import Tensor

from mil_attn._bags import Bags, drop_instances, with_targets_of
from mil_attn._config import MILConfig
from mil_attn._errors import MILError, NonFiniteLossError
from mil_attn.data._bag_data import BagData
from mil_attn.data._scaling import ColumnScale, FeatureScaler
from mil_attn.models._model import MILEnsemble, MILOutput, MILTaskAttnMixerWithAux, Mixing
from mil_attn.training._objective import (
    Objective,
    check_aux,
    check_labels,
    positive_weights,
    resolve_tasks,
)
from mil_attn.training._score import average_precisions, macro_ma_rae

KEY = "mil_attn"

_SO_FAR = "train_loss_so_far"
_SKIPPED = "skipped"


class RunningMean:
    """Weighted mean of what was added since the last `reset`.

    Lightning's own mean over an epoch starts anew where the epoch is gone on with.
    """

    def __init__(self) -> None:
        self._sum: Tensor | float = 0.0
        self._weight = 0

    def add(self, value: Tensor, weight: int) -> None:
        """Add a value, a tensor without dimensions; it stays on its device."""
        # Not `+=`, which would write into the tensor that the caller holds.
        self._sum = self._sum + value.detach() * weight
        self._weight += weight

    def __bool__(self) -> bool:
        return bool(self._weight)

    def mean(self) -> Tensor | float:
        """Return the mean."""
        return self._sum / self._weight

    def reset(self) -> None:
        """Forget all values."""
        self._sum, self._weight = 0.0, 0

    def state_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"sum": float(self._sum), "weight": self._weight}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from values that `state_dict` returned."""
        self._sum, self._weight = float(state["sum"]), int(state["weight"])


def read_file(path: str | Path, parameter: str = "model") -> dict[str, Any]:
    """Return the content of a model file or checkpoint of this package.

    Raises
    ------
    MILError
        If it is missing, damaged, or of another program.
    """
    path = Path(path)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no file"
        raise MILError(
            f"{parameter}: expected a file that this package wrote; found {found} {path}."
        )
    try:
        # `weights_only`: a model file from elsewhere must not run code when it is unpickled.
        check_intact(checked(path))
        content = torch.load(path, map_location="cpu", weights_only=True)
    except DamagedFileError as error:
        raise MILError(f"{parameter}: {error}") from None
    except (RuntimeError, OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0][:120]
        raise MILError(
            f"{parameter}: expected a complete file that this package wrote; {path}: {reason}"
        ) from error
    if not isinstance(content, dict) or KEY not in content or "state_dict" not in content:
        raise MILError(
            f"{parameter}: expected a file that this package wrote; {path} is of another program."
        )
    return content


class MILModule(pl.LightningModule):  # type: ignore[misc]  # lightning has no types here
    """A `MILTaskAttnMixerWithAux` that is trained with AdamW.

    Logs ``train_loss``, ``val_loss`` and, for classification, ``val_macro_ap`` and ``val_min_ap``
    over the tasks that have a positive in the validation data, for regression
    ``val_macro_ma_rae``.

    Parameters
    ----------
    config : MILConfig
        Architecture, losses, optimisation.
    task_names : sequence of str
        Names of the T tasks.
    in_2d, in_3d : int or None
        Features of a bag and of an instance; of a branch in use.
    pos_weight : sequence of float [T], optional
        Weight of each task's positives.

    Attributes
    ----------
    network : MILTaskAttnMixerWithAux or MILEnsemble
        The model, or as many as ``training.members`` says.
    objective : Objective
        The loss.
    scaler : FeatureScaler or None
        Scales data as the training bags were.
    thresholds : ndarray [T]
        Probability from which a bag counts as positive; 0.5 until chosen on validation data.
    """

    label_mean: Tensor
    label_scale: Tensor

    def __init__(
        self,
        config: MILConfig,
        task_names: Sequence[str],
        *,
        in_2d: int | None = None,
        in_3d: int | None = None,
        pos_weight: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.task_names = tuple(task_names)
        members = [
            MILTaskAttnMixerWithAux.from_config(
                config, in_2d=in_2d, in_3d=in_3d, n_tasks=len(self.task_names)
            )
            for _ in range(config.training.members)
        ]
        # One alone keeps the names of its weights, which earlier files have too.
        self.network = members[0] if len(members) == 1 else MILEnsemble(members)
        self.objective = Objective(config, len(self.task_names), pos_weight)
        self.scaler: FeatureScaler | None = None
        self.thresholds = np.full(len(self.task_names), 0.5)
        # In single precision, for devices that have no other; `units` has all digits.
        self.register_buffer("label_mean", torch.zeros(len(self.task_names)))
        self.register_buffer("label_scale", torch.ones(len(self.task_names)))
        self._units: tuple[FloatArray, FloatArray] | None = None
        self._epoch_loss = RunningMean()
        self.skipped: list[str] = []
        self._val_logits: list[Tensor] = []
        self._val_labels: list[Tensor] = []

    @classmethod
    def from_data(cls, config: MILConfig, train: BagData) -> Self:
        """Return an untrained model for training bags: their scaler, their weights of positives.

        Of its branches it has those that the bags have features for.

        Raises
        ------
        MILError
            If tasks or auxiliary groups of configuration and data differ, or a task has no label.
        """
        tasks = resolve_tasks(config, train)
        check_aux(config, train)
        check_labels(train, tasks, "training")
        assert train.labels is not None
        config = _of_what_is_there(config, train)
        classes = config.task_kind == "classification"
        module = cls(
            config,
            tasks,
            in_2d=None if train.x2d is None else train.x2d.shape[1],
            in_3d=None if train.instances is None else train.instances.shape[1],
            pos_weight=positive_weights(train.labels, config.loss) if classes else None,
        )
        module.scaler = FeatureScaler.fit(train)
        if not classes:
            columns = ColumnScale.fit(train.labels, tasks)
            # Regression labels are standardised, so that λ and the learning rate do not depend on
            # their unit.
            module._use_units(columns.mean, np.where(columns.scale > 0, columns.scale, 1.0))
        return module

    def _use_units(self, mean: FloatArray, scale: FloatArray) -> None:
        self._units = mean, scale
        self.label_mean.copy_(torch.as_tensor(mean))
        self.label_scale.copy_(torch.as_tensor(scale))

    @property
    def units(self) -> tuple[FloatArray, FloatArray]:
        """Mean and scale [T] of the training labels in double precision; 0 and 1 of classes."""
        if self._units is not None:
            return self._units
        mean, scale = (b.cpu().double().numpy() for b in (self.label_mean, self.label_scale))
        return mean, scale

    def prepare(self, data: BagData, *, with_labels: bool = True) -> BagData:
        """Return data scaled as the model wants them.

        Parameters
        ----------
        data : BagData
            Not scaled.
        with_labels : bool
            Whether to keep labels and auxiliary targets, scaled for training.

        Raises
        ------
        MILError
            If the features are not those that the model was trained on.
        """
        if not with_labels:
            data = data.replace(
                labels=None, task_names=(), weights=None, aux={}, aux_weights={}, aux_names={}
            )
        scaled = data if self.scaler is None else self.scaler.transform(data)
        if self.is_classifier or scaled.labels is None:
            return scaled
        mean, scale = self.units
        return scaled.replace(labels=(scaled.labels - mean) / scale)

    def values(self, logits: Tensor) -> Tensor:
        """Return probabilities of class 1, or values in the unit of the labels, in float64."""
        if self.is_classifier:
            return logits.sigmoid().cpu().double()
        # Counts of a million that differ by one would all round to their mean in single precision.
        mean, scale = (torch.from_numpy(part) for part in self.units)
        return logits.cpu().double() * scale + mean

    @property
    def members(self) -> tuple[MILTaskAttnMixerWithAux, ...]:
        """The networks whose mean predicts; mostly one."""
        if isinstance(self.network, MILEnsemble):
            return self.network.each
        return (self.network,)

    @property
    def is_classifier(self) -> bool:
        """Whether tasks are classes."""
        return self.config.task_kind == "classification"

    @property
    def monitor(self) -> str:
        """Name of the metric that decides which epoch is best."""
        return "val_macro_ap" if self.is_classifier else "val_loss"

    def forward(self, bags: Bags) -> MILOutput:
        """Return logits, auxiliary values and attention of a batch."""
        output: MILOutput = self.network(bags)
        return output

    def training_step(self, batch: Bags, batch_idx: int) -> Tensor | None:
        """Return the loss of a batch, the mean over members, each with instances of its own.

        Of a batch that is skipped, None.

        Raises
        ------
        NonFiniteLossError
            If it is not finite, naming the bags, or that of no batch of the epoch is.
        """
        rate = self.config.training.instance_dropout
        try:
            losses = [self._training_loss(m, drop_instances(batch, rate)) for m in self.members]
        except NonFiniteLossError as error:
            if self.config.training.non_finite == "stop":
                raise
            # Weights that are not finite themselves never give a loss again.
            if self.trainer.is_last_batch and not self._epoch_loss:
                raise
            self.skipped.append(str(error))
            loss = None
        else:
            loss = torch.stack(losses).mean()
        if self._trainer is not None:  # one may take a step without
            if loss is not None:
                rows = self._rows(self.trainer.train_dataloader, batch, batch_idx)
                self._epoch_loss.add(loss, rows)
            if self._trainer.is_last_batch:
                mean = self._epoch_loss.mean()
                self.log("train_loss", mean, on_step=False, on_epoch=True, batch_size=1)
                self._epoch_loss.reset()
        return loss

    def validation_step(self, batch: Bags, batch_idx: int = 0) -> None:
        """Add a batch to the validation loss, and keep its logits for the epoch's metrics."""
        output = self(batch)
        rows = self._rows(self.trainer.val_dataloaders, batch, batch_idx)
        self.log("val_loss", self._loss(output, batch, "validation"), batch_size=rows)
        assert batch.labels is not None
        # Average precision is not a mean over batches: it needs all scores of the epoch.
        self._val_logits.append(output.logits.float().cpu())
        self._val_labels.append(batch.labels.float().cpu())

    def on_validation_epoch_end(self) -> None:
        """Log the average precision over tasks; of values their relative absolute error.

        Raises
        ------
        MILError
            If no task has a positive in the validation data.
        """
        own = torch.cat(self._val_logits), torch.cat(self._val_labels)
        logits, labels = (torch.cat(parts) for parts in zip(*of_every_rank(own), strict=True))
        self._val_logits.clear()
        self._val_labels.clear()
        if not self.is_classifier:
            # The scale of the labels, which is not undone here, cancels.
            error = macro_ma_rae(labels.numpy(), logits.numpy())
            if error is not None:
                self.log("val_macro_ma_rae", error)
            return
        # Which tasks are left out was said before the first epoch.
        scores = average_precisions(labels.numpy(), logits.numpy(), self.task_names, warn=False)
        if scores.macro is None or scores.worst is None:
            raise MILError(
                "validation: expected a positive label of at least one task, to choose the best "
                f"epoch by; found none in {len(labels)} bags."
            )
        self.log("val_macro_ap", scores.macro)
        self.log("val_min_ap", scores.worst)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW over what has a gradient."""
        # Weight decay would shrink frozen projections, such as that of a pool of instances.
        parameters = [p for p in self.network.parameters() if p.requires_grad]
        training = self.config.training
        # One pass over all weights: of small networks the optimiser took a fifth of the time.
        return torch.optim.AdamW(
            parameters, lr=training.lr, weight_decay=training.weight_decay, fused=True
        )

    def describe(self) -> dict[str, Any]:
        """Return, as plain values, all that is needed to build the model again."""
        own = set(
            MILConfig.model_fields
        )  # a run's configuration has more, which is not the model's
        return {
            "config": self.config.model_dump(mode="json", include=own),
            "task_names": list(self.task_names),
            "in_2d": self.network.in_2d,
            "in_3d": self.network.in_3d,
            "scaler": None if self.scaler is None else self.scaler.to_dict(),
            "thresholds": self.thresholds.tolist(),
            "units": None if self._units is None else [part.tolist() for part in self._units],
        }

    def save(self, path: str | Path) -> None:
        """Write the model: weights, scaler, thresholds, configuration."""
        torch.save({KEY: self.describe(), "state_dict": self.state_dict()}, path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a model that `save` wrote, or a training checkpoint.

        Raises
        ------
        MILError
            If the file is missing, damaged or of another program.
        """
        content = read_file(path)
        ours = content[KEY]
        module = cls(
            MILConfig.model_validate(ours["config"]),
            ours["task_names"],
            in_2d=ours["in_2d"],
            in_3d=ours["in_3d"],
        )
        if ours["scaler"] is not None:
            module.scaler = FeatureScaler.from_dict(ours["scaler"])
        module.thresholds = np.array(ours["thresholds"])
        module.load_state_dict(content["state_dict"])
        if ours.get("units") is not None:  # files of before have the buffers alone
            module._use_units(*(np.array(part) for part in ours["units"]))
        module.eval()
        return module

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Let a checkpoint say what it is of, so that `load` reads it."""
        checkpoint[KEY] = self.describe()
        checkpoint[_SO_FAR] = self._epoch_loss.state_dict()
        checkpoint[_SKIPPED] = self.skipped

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the loss of the epoch that was broken off."""
        self._epoch_loss.load_state_dict(checkpoint[_SO_FAR])
        self.skipped = list(checkpoint.get(_SKIPPED, ()))

    def _rows(self, loader: Any, batch: Bags, batch_idx: int) -> int:
        """Return the number of bags of a batch, of which this rank may have but a share."""
        return loader.rows_in(batch_idx) if isinstance(loader, ResumableLoader) else len(batch)

    def _training_loss(self, network: MILTaskAttnMixerWithAux, batch: Bags) -> Tensor:
        alpha = self.config.training.mixup
        if alpha == 0:
            return self._loss(network(batch), batch, "training")
        # One for the batch; each rank mixes the bags of its own part of it.
        share = of_every_rank(float(torch.distributions.Beta(alpha, alpha).sample()))[0]
        partner = torch.randperm(len(batch), device=batch.offsets.device)
        output = network(batch, Mixing(share, partner))
        own = self._loss(output, batch, "training")
        other = self._loss(output, with_targets_of(batch, partner), "training")
        return share * own + (1 - share) * other

    def _loss(self, output: MILOutput, batch: Bags, stage: str) -> Tensor:
        total: Tensor = self.objective(output, batch).total
        if not total.isfinite():
            raise NonFiniteLossError(self._not_finite(output, batch, stage))
        return total

    def _not_finite(self, output: MILOutput, batch: Bags, stage: str) -> str:
        wrong = (~output.logits.isfinite()).any(dim=1).nonzero()[:, 0].tolist()
        # Finite logits with a loss that is not: targets or sums are to blame, and any bag may be.
        rows: list[Any] = wrong or list(range(len(batch)))
        names = [str(r) if batch.ids is None else repr(batch.ids[r]) for r in rows]
        return (
            f"{stage} loss in epoch {self.current_epoch + 1}: expected a finite number; found NaN "
            f"or infinity in the batch of bags {listed(names)}. Look for extreme values there; "
            "else lower training.lr or set training.gradient_clip."
        )


def _of_what_is_there(config: MILConfig, train: BagData) -> MILConfig:
    there = {"use_2d": train.x2d is not None, "use_3d": train.instances is not None}
    used = {name: getattr(config.model, name) and known for name, known in there.items()}
    if not any(used.values()):
        return config  # the network says which features it wants
    return config.model_copy(update={"model": config.model.model_copy(update=used)})


def check_resumable(path: str | Path, module: MILModule) -> Path:
    """Return the path of a training checkpoint that a module could go on from.

    Parameters
    ----------
    path : str or Path
        The checkpoint.
    module : MILModule
        The untrained model of the run.

    Raises
    ------
    MILError
        If it is no training checkpoint, or of other tasks, features or architecture.
    """
    content = read_file(path, "resume_from")
    if "optimizer_states" not in content:
        raise MILError(
            f"resume_from: expected a training checkpoint, such as last.ckpt; {path} is none."
        )
    for what, wanted, found in _names(module.describe(), content[KEY]):
        if wanted != found:
            raise MILError(
                f"resume_from: expected a checkpoint of the same {what}; {path}: "
                f"{_first_difference(wanted, found)}"
            )
    wanted_shapes = {name: tuple(t.shape) for name, t in module.state_dict().items()}
    found_shapes = {name: tuple(t.shape) for name, t in content["state_dict"].items()}
    for name in sorted(wanted_shapes.keys() | found_shapes.keys()):
        if wanted_shapes.get(name) != found_shapes.get(name):
            raise MILError(
                f"resume_from: expected parameter {name!r} of shape {wanted_shapes.get(name)}; "
                f"found {found_shapes.get(name)} in {path}, a checkpoint of another model."
            )
    return Path(path)


def _names(
    ours: Mapping[str, Any], theirs: Mapping[str, Any]
) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield what is named: tasks and features, as this run and as the checkpoint has them."""
    yield "tasks", list(ours["task_names"]), list(theirs["task_names"])
    for what, key in (("3D features", "instances"), ("2D features", "x2d")):
        columns = [(of["scaler"] or {}).get(key) or {"names": []} for of in (ours, theirs)]
        yield what, list(columns[0]["names"]), list(columns[1]["names"])


def _first_difference(wanted: Sequence[str], found: Sequence[str]) -> str:
    if len(wanted) != len(found):
        return f"expected {len(wanted)}, found {len(found)}."
    i = next(i for i, (a, b) in enumerate(zip(wanted, found, strict=True)) if a != b)
    return f"expected {wanted[i]!r}, found {found[i]!r} at position {i + 1}."


@contextmanager
def prediction_device(module: MILModule) -> Iterator[torch.device]:
    """Put a model, not in training, where its configuration wants it trained; then back.

    Parameters
    ----------
    module : MILModule
        Lightning leaves it on the processor when training ends.

    Yields
    ------
    torch.device
        A GPU where there is one and ``training.accelerator`` is not ``cpu``; else where it was.
    """
    before = module.device
    module.eval()
    if module.config.training.accelerator not in {"cpu", "mps"} and torch.cuda.is_available():
        module.to("cuda")
    try:
        with torch.inference_mode(), fast_matmul(module.device):
            yield module.device
    finally:
        module.to(before)
