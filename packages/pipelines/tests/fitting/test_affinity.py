"""What is measured: the run's own losses, on its training side, by its own architecture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chemprop_multitask import BatchLoader, ChempropModel, MoleculeData, cell_losses
from molpool_common import InputError, validate_values
from molpool_pipelines.fitting import Inputs, TrainChempropConfig, measure_run, read_inputs
from molpool_pipelines.fitting._affinity import check_affinity
from task_affinity import AffinityResult, ChempropLosses, TaskAffinityError

TASKS = ("LogP", "LogS", "QED")

pytestmark = pytest.mark.usefixtures("one_thread")

Settings = dict[str, Any]


def configuration(path: Path, affinity: Settings, **more: Any) -> TrainChempropConfig:
    small = {"message_passing": {"hidden_size": 8, "depth": 2}, "ffn": {"hidden_size": 8}}
    values = {
        "data_path": str(path),
        "data": {"target_columns": list(TASKS), "split_ratios": [0.6, 0.2, 0.2]},
        "model": small | more.pop("model", {}),
        "task_affinity": {"enabled": True, "affinity_batch_size": 16, **affinity},
    }
    return validate_values(TrainChempropConfig, values | more)


def measured(config: TrainChempropConfig, inputs: Inputs) -> AffinityResult:
    return measure_run(config, inputs)


@pytest.fixture(scope="module")
def inputs(demo_csv: Path) -> Inputs:
    return read_inputs(configuration(demo_csv, {}))


def test_one_step_is_the_cosine_of_plain_gradients(demo_csv: Path, inputs: Inputs) -> None:
    """A batch of all rows: one step, whose gradients are taken by hand from Chemprop's forward."""
    n = len(inputs.tables.train)
    config = configuration(demo_csv, {"affinity_batch_size": n, "seed": 7})
    result = measured(config, inputs)
    assert result.n_steps == 1
    model = ChempropModel.from_config(config, task_names=TASKS, seed=7)
    targets = inputs.tables.train.targets
    scaled = (targets - np.nanmean(targets, axis=0)) / np.nanstd(targets, axis=0)
    (batch,) = BatchLoader(MoleculeData.from_table(inputs.tables.train), n)
    module: Any = model.module
    predicted = module.predictor.ffn(module.fingerprint(batch.bmg))
    gradients = []
    for t in range(3):
        rows = np.isfinite(scaled[:, t])
        error = predicted[torch.from_numpy(rows), t] - torch.from_numpy(scaled[rows, t]).float()
        weights = list(model.module.message_passing.parameters())
        own = torch.autograd.grad((error**2).mean(), weights, retain_graph=True)
        gradients.append(torch.cat([g.flatten() for g in own]).double().numpy())
    norms = np.linalg.norm(gradients, axis=1)
    expected = np.array(gradients) @ np.array(gradients).T / np.outer(norms, norms)
    # Single precision, rows in another order.
    np.testing.assert_allclose(result.matrix, expected, atol=2e-4)


def test_held_out_rows_and_torch_s_generator_are_left_alone(demo_csv: Path, inputs: Inputs) -> None:
    config = configuration(demo_csv, {})
    state = torch.random.get_rng_state()
    first = measured(config, inputs)
    assert torch.equal(torch.random.get_rng_state(), state)
    tables = inputs.tables
    val, test = (replace(t, targets=t.targets * -1e6) for t in (tables.val, tables.test))
    other = replace(inputs, tables=replace(tables, val=val, test=test))
    np.testing.assert_array_equal(measured(config, other).matrix, first.matrix)


@pytest.mark.parametrize("kinds", [("regression",) * 3, ("regression", "classification") * 2])
def test_losses_are_those_that_the_run_trains(kinds: tuple[str, ...]) -> None:
    """Their mean over tasks is the model's own training loss, bounds and both kinds included."""
    names = tuple("abcd"[: len(kinds)])
    rng = np.random.default_rng(3)
    targets = rng.normal(size=(12, len(kinds)))
    is_class = np.array([kind == "classification" for kind in kinds])
    targets[:, is_class] = targets[:, is_class] > 0
    targets[rng.random(targets.shape) < 0.3] = np.nan
    signs = rng.integers(-1, 2, size=targets.shape).astype(np.int8)
    signs[:, is_class] = 0
    signs[np.isnan(targets)] = 0
    smiles = ["C" * (i + 1) + "O" for i in range(12)]
    data = MoleculeData(smiles, targets, task_names=names, censoring=signs)
    config = validate_values(TrainChempropConfig, {"training": {"loss": "huber"}})
    model = ChempropModel.from_config(config, task_names=names, task_types=kinds, seed=0)  # type: ignore[arg-type]
    model.module.train()
    (batch,) = BatchLoader(data, 12)
    losses, present = ChempropLosses(cell_losses(model))(model.module, batch)
    model.module.log = lambda *_, **__: None  # no trainer is attached
    own = model.module.training_step(batch, 0)
    assert present.all()
    torch.testing.assert_close(losses.mean(), own, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("affinity", "model"),
    [
        ({"affinity_type": "lookahead", "clustering_method": "tag"}, {}),
        ({"affinity_type": "dot_product", "every_n_steps": 2}, {"batch_norm": True}),
        ({"gradient_scope": "representation"}, {}),
        ({"estimator": "probe", "n_probes": 2}, {}),
        ({"encoder_param_patterns": ["message_passing"]}, {"aggregation": "norm"}),
    ],
    ids=["lookahead", "dot_product", "representation", "probe", "patterns"],
)
def test_every_way_of_measuring_takes_our_network(
    demo_csv: Path, inputs: Inputs, affinity: Settings, model: Settings
) -> None:
    result = measured(configuration(demo_csv, affinity, model=model), inputs)
    assert result.n_measured == (3 if "every_n_steps" in affinity else 6)
    assert np.isfinite(result.matrix).all()


def test_pattern_without_a_parameter_lists_some(demo_csv: Path, inputs: Inputs) -> None:
    config = configuration(demo_csv, {"encoder_param_patterns": ["mpnn"]})
    with pytest.raises(TaskAffinityError, match=r"mpnn.*message_passing\.W_i\.weight"):
        measured(config, inputs)


@pytest.mark.parametrize(
    ("affinity", "message"),
    [
        ({"affinity_batch_size": 91}, "at most the 90 training rows that have a label; found 91"),
        ({"device": "cuda:63"}, r"task_affinity\.device: .*found 'cuda:63'.*device auto"),
    ],
)
def test_what_cannot_be_measured_is_said_early(
    demo_csv: Path, inputs: Inputs, affinity: Settings, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        check_affinity(configuration(demo_csv, affinity), inputs)
