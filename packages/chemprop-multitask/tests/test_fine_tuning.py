"""What training of a foundation spares: learning rates by layer, layers unfrozen one by one."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from chemprop.models.utils import load_model
from chemprop_multitask import ChempropConfig, ChempropModel, MoleculeData, SeparateModels
from pydantic import ValidationError

TASKS = ("a", "b", "c")
LAYERS = ("W_o", "W_h", "W_i")


class Rates(pl.Callback):  # type: ignore[misc]  # lightning has no types here
    """Takes down the learning rates of each step, and which layers are trained."""

    def __init__(self) -> None:
        self.rates: list[list[float]] = []
        self.trained: list[list[bool]] = []

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        self.rates.append([g["lr"] for g in trainer.optimizers[0].param_groups])
        layers = [getattr(pl_module.message_passing, name).weight for name in LAYERS]
        self.trained.append([layer.requires_grad for layer in layers])


def test_each_layer_has_the_schedule_in_proportion(data: MoleculeData, settings: Any) -> None:
    seen, plain = Rates(), Rates()
    for decay, rates in ((0.5, seen), (1.0, plain)):
        model = ChempropModel.from_config(settings(layer_decay=decay), task_names=TASKS)
        model.fit(data, callbacks=[rates])
    whole = np.array(plain.rates)
    np.testing.assert_allclose(seen.rates, whole * [[1.0, 0.5, 0.25, 0.125]], rtol=1e-12)


def test_layers_are_unfrozen_from_the_last(data: MoleculeData, settings: Any) -> None:
    seen = Rates()
    model = ChempropModel.from_config(settings(epochs=4, unfreeze_every=1), task_names=TASKS)
    before = {k: v.clone() for k, v in model.module.message_passing.state_dict().items()}
    model.fit(data, callbacks=[seen])
    by_epoch = seen.trained[::4]
    assert by_epoch == [[False] * 3, [True, False, False], [True, True, False], [True] * 3]
    after = model.module.message_passing.state_dict()
    assert all(not torch.equal(after[name], before[name]) for name in before)


def test_a_frozen_encoder_is_not_unfrozen() -> None:
    with pytest.raises(ValidationError, match="expected 0 with model"):
        ChempropConfig.model_validate(
            {"model": {"freeze_encoder": True}, "training": {"unfreeze_every": 2}}
        )


def test_each_task_has_the_weights_of_its_best_epoch(
    smiles: list[str], data: MoleculeData, table: Any, settings: Any
) -> None:
    """By hand: the predictions of every epoch, and of each task those of its least error."""
    held_out = MoleculeData(smiles[:16], -table[:16], task_names=TASKS)  # best early, not at once
    config = settings(epochs=6, loss="mae", best_epoch="task", patience=None)
    model = ChempropModel.from_config(config, task_names=TASKS)
    each: list[Any] = []
    twin = ChempropModel.from_config(config, task_names=TASKS)

    class Keep(pl.Callback):  # type: ignore[misc]
        def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
            twin.module.load_state_dict(pl_module.state_dict())
            twin.module.units = pl_module.units
            each.append(twin.predict(held_out))

    model.fit(data, held_out, callbacks=[Keep()])
    errors = np.nanmean(np.abs(np.array(each) + table[:16]), axis=1)
    best = errors.argmin(axis=0)
    models = model.by_task()
    assert len(models) == len(set(best.tolist()))
    together = models[0] if len(models) == 1 else SeparateModels(models)
    wanted = np.array([each[epoch][:, t] for t, epoch in enumerate(best)]).T
    np.testing.assert_allclose(together.predict(held_out), wanted, rtol=1e-6)


def test_without_validation_rows_the_model_is_of_all_tasks(
    data: MoleculeData, settings: Any
) -> None:
    model = ChempropModel.from_config(settings(epochs=1, best_epoch="task"), task_names=TASKS)
    model.fit(data)
    assert model.by_task() == [model]


def test_bfloat16_learns_what_single_precision_learns(data: MoleculeData, settings: Any) -> None:
    losses = []
    for precision in ("32", "bf16"):
        config = settings(epochs=4, precision=precision)
        model = ChempropModel.from_config(config, task_names=TASKS)
        losses.append([record.train_loss for record in model.fit(data)])
        assert next(model.module.parameters()).dtype == torch.float32
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.05)
    assert losses[0] != losses[1]


def test_learnt_scales_are_trained_and_stay_out_of_the_file(
    data: MoleculeData, settings: Any, tmp_path: Any
) -> None:
    config = settings(loss="mae", loss_average="uncertainty", learning_rate=0.01)
    model = ChempropModel.from_config(config, task_names=TASKS)
    records = model.fit(data, data)
    scales: Any = model.module.criterion.log_scale
    assert (scales.detach().abs() > 1e-3).all()
    assert all(record.val_loss is not None for record in records)
    model.save(tmp_path / "model.pt")
    # Chemprop refuses parameters that its own losses do not have.
    assert load_model(tmp_path / "model.pt").n_tasks == 3
    loaded = ChempropModel.load(tmp_path / "model.pt")
    np.testing.assert_array_equal(loaded.predict(data), model.predict(data))
