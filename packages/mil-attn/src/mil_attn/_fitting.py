"""Train a model on bags, and predict with it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import torch
from molpool_common import EpochShuffle, Float32Array, FloatArray, listed
from torch.utils.data import Sampler

from mil_attn._config import MILConfig
from mil_attn._errors import MILError
from mil_attn.data._bag_data import BagData
from mil_attn.training._loop import BagLoader, EpochRecord, train_epochs
from mil_attn.training._module import MILModule, check_resumable, prediction_device
from mil_attn.training._objective import check_labels
from mil_attn.training._score import decision_thresholds


@dataclass(frozen=True)
class FitResult:
    """A trained model and how it came about.

    Attributes
    ----------
    module : MILModule
        With the weights of the best epoch, its scaler and decision thresholds.
    records : list of EpochRecord
        One per epoch.
    best_epoch : int
        From 0.
    """

    module: MILModule
    records: list[EpochRecord]
    best_epoch: int


def fit(
    config: MILConfig,
    train: BagData,
    val: BagData | None = None,
    *,
    sampler: Sampler[int] | None = None,
    callbacks: Sequence[pl.Callback] = (),
    on_epoch: Callable[[EpochRecord], None] | None = None,
    checkpoint_dir: str | Path | None = None,
    resume_from: str | Path | None = None,
    seed: int = 42,
    threshold_metric: str = "f1",
) -> FitResult:
    """Train a model, and keep the epoch of the best validation score.

    Features, auxiliary targets and the values of regression tasks are scaled by what the training
    bags say of them. The score is ``val_macro_ap``, for regression the validation loss.

    Parameters
    ----------
    config : MILConfig
        The model and its training. Tasks are those of the data where it names none.
    train, val : BagData
        With labels, NaN where missing. Without `val` the last epoch counts, and every decision
        threshold is 0.5.
    sampler : Sampler, optional
        Draws training bags, as `sampling_core.RarePositiveSampler`; by default every bag once an
        epoch, shuffled. For exact resuming its order must follow from `set_epoch`.
    callbacks : sequence of lightning.pytorch.Callback
        For logging and progress.
    on_epoch : callable, optional
        Called with the record of each epoch at its end.
    checkpoint_dir : str or Path, optional
        Where ``best.ckpt`` and ``last.ckpt`` stay; by default nowhere.
    resume_from : str or Path, optional
        A ``last.ckpt`` of the same configuration and data: the run ends with the weights that it
        would have had without the break, on the machine that wrote it.
    seed : int
        Seed of weights, shuffling and dropout; the global generators are left as they were.
    threshold_metric : {"f1", "accuracy", "balanced_accuracy", "mcc"}
        What the decision thresholds maximise on `val`, see `decision_thresholds`.

    Returns
    -------
    FitResult

    Raises
    ------
    MILError
        If data and configuration do not fit, a task has no training label, no validation task has
        a positive, a loss is not finite (names epoch and bags), or the checkpoint is not one of
        this model.
    """
    # Seeding torch is global; the fork gives the caller's generators back as they were.
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = MILModule.from_data(config, train)
        scaled = module.prepare(train)
        scaled_val = None if val is None else module.prepare(val)
        if scaled_val is not None:
            _check_validation(scaled_val, module.task_names)
        size = module.config.training.batch_size
        result = train_epochs(
            module,
            module.config.training,
            BagLoader(
                scaled, size, sampler if sampler is not None else EpochShuffle(len(train), seed)
            ),
            None if scaled_val is None else BagLoader(scaled_val, size),
            seed=seed,
            checkpoint_dir=None if checkpoint_dir is None else Path(checkpoint_dir),
            callbacks=callbacks,
            on_epoch=on_epoch,
            resume_from=None if resume_from is None else check_resumable(resume_from, module),
        )
        module.load_state_dict(result.best_state)
    module.cpu()
    if module.skipped:
        n, first = len(module.skipped), module.skipped[0]
        warnings.warn(
            f"{n} training batches were skipped for their loss. The first: {first}", stacklevel=2
        )
    if val is not None and module.is_classifier:
        assert val.labels is not None
        # On validation labels, never on training's, whose probabilities are too confident.
        module.thresholds = decision_thresholds(
            val.labels,
            predict(module, val),
            threshold_metric,
            least=config.training.threshold_least,
        )
    return FitResult(module, result.records, result.best_epoch)


def predict(module: MILModule, data: BagData, *, batch_size: int = 512) -> FloatArray:
    """Predict every task of every bag.

    Parameters
    ----------
    module : MILModule
        Trained.
    data : BagData
        N bags, not scaled, with the features that the model was trained on.
    batch_size : int
        Bags predicted at a time; no number depends on it beyond rounding.

    Returns
    -------
    ndarray [N, T]
        Probabilities of class 1, or values in the unit of the training labels.

    Raises
    ------
    MILError
        If the features are others.
    """
    scaled = module.prepare(data, with_labels=False)
    with prediction_device(module) as device:
        outputs = [module(bags.to(device)).logits for bags in BagLoader(scaled, batch_size)]
        if not outputs:
            return np.empty((0, len(module.task_names)))
        values: FloatArray = module.values(torch.cat(outputs)).numpy()
    return values


def encode(module: MILModule, data: BagData, *, batch_size: int = 512) -> Float32Array:
    """Return the embeddings of bags that the heads of the tasks read.

    Parameters
    ----------
    module : MILModule
        Trained.
    data : BagData
        N bags, not scaled, with the features that the model was trained on.
    batch_size : int
        Bags encoded at a time.

    Returns
    -------
    ndarray of float32 [N, M T H]
        Task after task, H numbers each (``mixer_hidden``), of each of M networks.

    Raises
    ------
    MILError
        If the features are others.
    """
    scaled = module.prepare(data, with_labels=False)
    width = len(module.members) * len(module.task_names) * module.config.model.mixer_hidden
    parts = [np.empty((0, width), dtype=np.float32)]
    with prediction_device(module) as device:
        for bags in BagLoader(scaled, batch_size):
            each = [member(bags.to(device)).z_tasks.flatten(1) for member in module.members]
            parts.append(torch.cat(each, dim=1).float().cpu().numpy())
    return np.concatenate(parts)


def _check_validation(val: BagData, task_names: tuple[str, ...]) -> None:
    check_labels(val, task_names, "validation", least=0)
    if val.task_kind != "classification":
        return
    assert val.labels is not None
    # Average precision without positives is undefined, not 0 (models.md, section 3).
    positives = (val.labels == 1).sum(axis=0)
    lacking = [name for name, n in zip(val.task_names, positives, strict=True) if n == 0]
    if len(lacking) == len(val.task_names):
        raise MILError(
            "validation: expected a positive label of at least one task, to choose the best epoch "
            f"by; found none in {len(val)} bags."
        )
    if lacking:
        warnings.warn(
            f"validation: no positive label of {listed([repr(n) for n in lacking])}: left out of "
            "val_macro_ap and val_min_ap",
            stacklevel=3,
        )
