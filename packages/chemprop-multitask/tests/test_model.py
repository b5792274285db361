from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chemprop_multitask import ChempropError, ChempropModel, EpochRecord, MoleculeData
from numpy.typing import NDArray
from torch.utils.data import SequentialSampler

TASKS = ("a", "b", "c")


class WithoutFirst(SequentialSampler):
    """Every row but the first, in order."""

    def __iter__(self) -> Iterator[int]:
        return iter(range(1, 32))

    def __len__(self) -> int:
        return 31


def val_losses(records: list[EpochRecord]) -> list[float]:
    return [r.val_loss for r in records if r.val_loss is not None]


def weights(model: ChempropModel) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in model.module.state_dict().items()}


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


@pytest.mark.slow
def test_it_overfits_32_molecules(
    smiles: list[str], table: NDArray[np.float64], data: MoleculeData, settings: Any
) -> None:
    config = settings(epochs=150, width=64, batch_size=16, learning_rate=5e-3)
    model = ChempropModel.from_config(config, task_names=TASKS)
    records = model.fit(data)
    residual = (model.predict(smiles) - table) / np.nanstd(table, axis=0)
    # The labels are noise: a model that predicted the means would leave 1 of each.
    assert np.nanmax(np.nanmean(residual**2, axis=0)) < 0.01
    assert records[-1].train_loss < 0.01 < records[0].train_loss


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["bce", "focal"])
def test_it_learns_classes(
    smiles: list[str], classes: NDArray[np.float64], settings: Any, loss: str
) -> None:
    data = MoleculeData(smiles, classes, task_names=("Cl", "ring"))
    config = settings(epochs=60, width=64, learning_rate=1e-2, loss=loss)
    model = ChempropModel.from_config(config, task_names=("Cl", "ring"), task_type="classification")
    model.fit(data)
    predicted = model.predict(smiles)
    assert ((predicted >= 0) & (predicted <= 1)).all()
    assert ((predicted > 0.5) == classes).all()
    assert model.task_type == "classification"


@pytest.mark.slow
@pytest.mark.parametrize("groups", [None, [["ring"], ["carbons"]]])
def test_one_model_of_both_kinds(
    smiles: list[str], classes: NDArray[np.float64], settings: Any, groups: Any
) -> None:
    carbons = np.array([s.upper().count("C") for s in smiles], dtype=float)
    targets = np.column_stack([carbons, classes[:, 1]])
    data = MoleculeData(smiles, targets, task_names=("carbons", "ring"))
    config = settings(
        groups=groups, epochs=40, learning_rate=1e-2, loss="mae", model={"aggregation": "sum"}
    )
    model = ChempropModel.from_config(
        config, task_names=("carbons", "ring"), task_types=("regression", "classification")
    )
    model.fit(data)
    predicted = model.predict(smiles)
    # A model of the mean would be off by 2.1 carbons.
    assert np.abs(predicted[:, 0] - carbons).mean() < 0.7
    assert ((predicted[:, 1] > 0.5) == classes[:, 1]).all()
    assert model.loss_description.startswith("MAE and BCE, mean over tasks")
    with pytest.raises(ChempropError, match="this model has both"):
        _ = model.task_type


def test_a_task_without_labels_in_the_batches_moves_no_weight_of_its_own(
    smiles: list[str], table: NDArray[np.float64], settings: Any
) -> None:
    """Labels of task c are only in a row that is never drawn."""
    table[:, 2] = np.nan
    table[0, 2] = 1.0
    data = MoleculeData(smiles, table, task_names=TASKS)
    model = ChempropModel.from_config(settings(), task_names=TASKS)
    before = weights(model)["predictor.ffn.2.2.weight"]
    model.fit(data, sampler=WithoutFirst(data))
    after = weights(model)["predictor.ffn.2.2.weight"]
    assert torch.equal(before[2], after[2])
    assert not torch.equal(before[0], after[0])


def test_seeds_reproduce_and_differ_and_the_global_generator_stays(
    data: MoleculeData, settings: Any
) -> None:
    config = settings(model={"ffn": {"hidden_size": 16, "dropout": 0.3}})
    torch.manual_seed(5)
    state = torch.get_rng_state()

    def fitted(build: int, fit: int) -> dict[str, torch.Tensor]:
        model = ChempropModel.from_config(config, task_names=TASKS, seed=build)
        model.fit(data, data, seed=fit)
        return weights(model)

    first = fitted(1, 1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)  # what others draw does not matter
    assert equal(first, fitted(1, 1))
    assert not equal(first, fitted(2, 1))
    assert not equal(first, fitted(1, 2))


def test_the_best_epoch_is_kept(
    smiles: list[str], table: NDArray[np.float64], data: MoleculeData, settings: Any
) -> None:
    # Labels of other molecules: the better the model learns, the worse it does on them.
    others = MoleculeData(smiles, table[::-1].copy(), task_names=TASKS)
    config = settings(epochs=8, width=64, learning_rate=1e-2, patience=None)
    model = ChempropModel.from_config(config, task_names=TASKS)
    losses = val_losses(model.fit(data, others))
    assert losses.index(min(losses)) != 7  # else this test shows nothing
    residual = (model.predict(smiles) - table[::-1]) / np.nanstd(table, axis=0)
    found = np.nanmean(residual**2, axis=0).mean()
    assert found == pytest.approx(min(losses), rel=1e-4)  # single precision


def test_early_stopping_counts_epochs(data: MoleculeData, smiles: Any, settings: Any) -> None:
    assert data.targets is not None
    others = MoleculeData(smiles, data.targets[::-1].copy(), task_names=TASKS)
    config = settings(epochs=30, width=64, learning_rate=1e-2, patience=3)
    losses = val_losses(ChempropModel.from_config(config, task_names=TASKS).fit(data, others))
    assert len(losses) == losses.index(min(losses)) + 1 + 3 < 30


def test_the_validation_loss_is_no_mean_of_batch_means(
    smiles: list[str], table: NDArray[np.float64], settings: Any
) -> None:
    """A task with one label, which batches of 8 would weigh by a quarter."""
    table[1:, 2] = np.nan
    table[0, 2] = 1.0
    table[:, 2] = np.where(np.arange(32) == 9, -1.0, table[:, 2])
    data = MoleculeData(smiles, table, task_names=TASKS)
    model = ChempropModel.from_config(settings(epochs=1), task_names=TASKS)
    (record,) = model.fit(data, data)
    residual = (model.predict(data) - table) / np.nanstd(table, axis=0)
    expected = np.nanmean(residual**2, axis=0).mean()
    assert record.val_loss == pytest.approx(expected, rel=1e-4)


def test_prediction_does_not_depend_on_the_batch(
    smiles: list[str], data: MoleculeData, settings: Any
) -> None:
    model = ChempropModel.from_config(
        settings(model={"batch_norm": True, "ffn": {"dropout": 0.5}}), task_names=TASKS
    )
    model.fit(data)
    whole = model.predict(data)
    model.config = settings(batch_size=1)
    np.testing.assert_allclose(model.predict(data), whole, rtol=1e-5, atol=1e-5)
    order = np.random.default_rng(0).permutation(32)
    shuffled = MoleculeData([smiles[i] for i in order])
    np.testing.assert_allclose(model.predict(shuffled), whole[order], rtol=1e-5, atol=1e-5)
    assert model.predict([]).shape == (0, 3)


def test_batch_norm_outlives_a_last_batch_of_one(data: MoleculeData, settings: Any) -> None:
    config = settings(model={"batch_norm": True}, batch_size=31)
    ChempropModel.from_config(config, task_names=TASKS).fit(data, data)
    one = MoleculeData(["CC"], np.ones((1, 3)), task_names=TASKS)
    with pytest.raises(ChempropError, match="training molecules for a batch; found 1"):
        ChempropModel.from_config(config, task_names=TASKS).fit(one)


def test_row_weights_multiply_the_loss(
    smiles: list[str], table: NDArray[np.float64], settings: Any
) -> None:
    """Rows of weight 0 are as if they had no label, but for the counts and the scale."""
    plain = MoleculeData(smiles, table, task_names=TASKS)
    doubled = MoleculeData(smiles, table, task_names=TASKS, weights=[2.0] * 32)
    first, second = (
        ChempropModel.from_config(settings(epochs=1), task_names=TASKS).fit(d)[0]
        for d in (plain, doubled)
    )
    # The first epoch warms up from a tenth of the rate; weights hardly move in it.
    assert second.train_loss == pytest.approx(2 * first.train_loss, rel=0.01)


def test_bounds_that_hold_cost_nothing(smiles: list[str], settings: Any) -> None:
    targets = np.array([[10.0 + row] for row in range(32)])
    censoring = np.full((32, 1), -1, dtype=np.int8)
    data = MoleculeData(smiles, targets, task_names="a", censoring=censoring)
    model = ChempropModel.from_config(
        settings(epochs=30, learning_rate=5e-3, patience=None), task_names="a"
    )
    model.fit(data)
    # All labels are "less than": the model may sink below all of them.
    assert (model.predict(smiles)[:, 0] < targets[:, 0] + 1).all()


def test_a_loss_that_is_not_finite_names_epoch_rows_and_tasks(
    smiles: list[str], table: NDArray[np.float64], settings: Any
) -> None:
    table[:, 1] = np.where(np.arange(32) == 17, 1e25, 0.0)  # its square is beyond float32
    data = MoleculeData(smiles, table, task_names=TASKS)
    model = ChempropModel.from_config(settings(), task_names=TASKS)
    fine = table.copy()
    fine[17, 1] = 1.0
    with pytest.raises(
        ChempropError, match=r"validation loss in epoch 1: .* in rows 18 .*, tasks 'b'\."
    ):
        model.fit(MoleculeData(smiles, fine, task_names=TASKS), data)


def test_weights_that_overflow_name_the_batch(data: MoleculeData, settings: Any) -> None:
    options = {"learning_rate": 1e30}
    model = ChempropModel.from_config(settings(**options), task_names=TASKS)
    with pytest.raises(ChempropError, match=r"training loss in epoch 1: .* tasks 'a', 'b', 'c'"):
        model.fit(data)
    # To skip batches cures no weights.
    model = ChempropModel.from_config(settings(**options, non_finite="skip"), task_names=TASKS)
    with pytest.raises(ChempropError, match=r"training loss in epoch [12]: "):
        model.fit(data)


class OneInfinite:
    """Weights of 1, but for row 18."""

    def __len__(self) -> int:
        return 32

    def __getitem__(self, rows: Any) -> Any:
        return np.where(np.arange(32) == 17, np.inf, 1.0)[rows]


def test_a_batch_without_a_finite_loss_is_skipped_and_counted(
    smiles: list[str], table: NDArray[np.float64], settings: Any, tmp_path: Path
) -> None:
    data = MoleculeData(smiles, table, task_names=TASKS, weights=OneInfinite())
    config = settings(epochs=2, batch_size=8, non_finite="skip")
    model = ChempropModel.from_config(config, task_names=TASKS)
    records = model.fit(data, checkpoint_dir=tmp_path)
    assert [s.epoch for s in model.skipped] == [0, 1]
    assert all(s.rows == (17,) for s in model.skipped)
    assert np.isfinite([r.train_loss for r in records]).all()
    assert np.isfinite(model.predict(smiles)).all()
    again = ChempropModel.from_config(config, task_names=TASKS)
    again.fit(data, resume_from=tmp_path / "last.ckpt")
    assert [s.epoch for s in again.skipped] == [0, 1]
    stopping = ChempropModel.from_config(settings(epochs=2, batch_size=8), task_names=TASKS)
    with pytest.raises(ChempropError, match=r"training loss in epoch 1: .* in rows 18 of"):
        stopping.fit(data)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": [["a", "b"], ["cc"]]}, "Did you mean 'c'"),
        ({"task_weights": {"d": 1.0}}, "found 'd'"),
        ({"loss": "bce"}, "mse or mae or huber"),
    ],
)
def test_from_config_says_what_does_not_fit(
    settings: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ChempropError, match=message):
        ChempropModel.from_config(settings(**options), task_names=TASKS)


def test_data_of_other_tasks_are_refused(data: MoleculeData, settings: Any) -> None:
    with pytest.raises(ChempropError, match=r"expected targets for \['x'\]"):
        ChempropModel.from_config(settings(), task_names=["x"]).fit(data)
