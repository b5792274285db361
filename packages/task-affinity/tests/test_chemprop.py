"""Affinities of a table of molecules, by Chemprop's own model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from task_affinity import TaskAffinityComputer, TaskAffinityConfig, compute_task_affinity
from task_affinity._chemprop import ChempropLosses, build_model, mixed_cells
from task_affinity._errors import TaskAffinityError
from task_affinity._gradients import RandomState, encoder_parameters
from task_affinity._measures import EncoderGradients, Step

pytest.importorskip("chemprop", reason="needs the extra task-affinity[chemprop]")
pytestmark = pytest.mark.slow

SMILES = [
    "C", "CCO", "CC(=O)O", "CC(C)N", "CCCCCC", "CC#N", "C1CCCCC1", "c1ccccc1",
    "Cc1ccccc1", "Oc1ccccc1", "Nc1ccccc1", "Clc1ccccc1", "Brc1ccc(O)cc1", "c1ccncc1",
    "c1ccsc1", "CN1C=NC2=C1C(=O)N(C)C(=O)N2C", "[Na+]", "O=C1CCCN1", "NCC(=O)O", "C[N+](C)(C)C",
]  # fmt: skip


@pytest.fixture
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    targets = rng.normal([5, 0, -100], [1, 10, 30], size=(len(SMILES), 3))
    targets[:10, 1] = np.nan
    targets[10:, 2] = np.nan
    toxic = rng.integers(0, 2, len(SMILES)).astype(float)
    toxic[3] = np.nan
    return pd.DataFrame(targets, columns=["logd", "sol", "clint"]).assign(smi=SMILES, tox=toxic)


TASKS = ["logd", "sol", "clint", "tox"]
SMALL = TaskAffinityConfig(device="cpu", affinity_batch_size=5, n_groups=2)


def test_gives_matrix_names_and_groups(table):
    matrix, names, groups = compute_task_affinity(table, "smi", TASKS, SMALL)
    assert names == TASKS
    assert sorted(t for g in groups for t in g) == sorted(TASKS)
    assert len(groups) == 2
    assert matrix.shape == (4, 4)
    np.testing.assert_allclose(matrix, matrix.T)
    assert np.diag(matrix).tolist() == [1, 1, 1, 1]


def test_follows_from_the_seed_alone_whatever_holds_the_table(table):
    state = torch.get_rng_state()
    first, _ = TaskAffinityComputer(SMALL).compute_from_dataframe(table, "smi", TASKS)
    torch.manual_seed(123)
    other = pl.DataFrame({name: table[name].to_list() for name in table}, nan_to_null=True)
    second, _ = TaskAffinityComputer(SMALL).compute_from_dataframe(other, "smi", TASKS)
    torch.set_rng_state(state)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    "settings",
    [
        {"affinity_type": "lookahead", "clustering_method": "tag"},
        {"gradient_scope": "representation"},
        {"estimator": "probe", "n_probes": 2},
        {"encoder_param_patterns": ["W_o"]},
    ],
)
def test_every_kind_runs(table, settings):
    config = TaskAffinityConfig(**SMALL.model_dump() | settings)
    matrix, _, _ = compute_task_affinity(table, "smi", TASKS, config)
    assert np.isfinite(matrix).all()


def first_batch(n_tasks: int):
    from chemprop.data import MoleculeDatapoint, MoleculeDataset, build_dataloader

    rng = np.random.default_rng(1)
    targets = rng.normal(size=(len(SMILES), n_tasks))
    targets[rng.random(targets.shape) < 0.5] = np.nan
    targets[:10, 0] = targets[10:, 1] = np.nan
    points: Any = [
        MoleculeDatapoint.from_smi(s, y, weight=w)
        for s, y, w in zip(SMILES, targets, rng.uniform(1, 2, len(SMILES)), strict=True)
    ]
    (batch,) = build_dataloader(MoleculeDataset(points), 64, shuffle=False)
    return batch


def test_parts_give_the_gradients_of_the_whole_batch():
    batch, losses = first_batch(5), ChempropLosses()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model(5).double()
    batch = batch._replace(Y=batch.Y.double(), w=batch.w.double())
    batch.bmg.V, batch.bmg.E = batch.bmg.V.double(), batch.bmg.E.double()
    random = RandomState.now(torch.device("cpu"))
    values, present = losses(model, batch)
    step = Step(batch, values, present.nonzero().squeeze(1), random)
    parameters = encoder_parameters(model)

    parts = losses.parts(model, batch)
    assert len(parts) > 1
    total = sum(p.weights * losses(model, p.batch)[0] for p in parts)
    torch.testing.assert_close(total, values)
    divided = EncoderGradients(model, losses, parameters, cosine=False).jacobian(step)
    whole = EncoderGradients(model, losses.__call__, parameters, cosine=False).jacobian(step)
    # Double precision; sums over atoms in another order.
    torch.testing.assert_close(divided, whole, rtol=0, atol=1e-12)


def test_batch_normalisation_keeps_a_batch_whole():
    from chemprop import models, nn

    model = models.MPNN(
        nn.BondMessagePassing(d_h=8),
        nn.MeanAggregation(),
        nn.RegressionFFN(n_tasks=5, input_dim=8),
        batch_norm=True,
    )
    assert ChempropLosses().parts(model, first_batch(5)) == []


def test_losses_are_masked_means_of_weighted_cells():
    batch = first_batch(2)
    model = build_model(2)
    values, present = ChempropLosses(mixed_cells([False, True]))(model, batch)
    assert present.all()
    with torch.no_grad():
        outputs = model.predictor.train_step(model.fingerprint(batch.bmg)).numpy()
    Y, w = batch.Y.numpy(), batch.w.numpy()[:, 0]
    squares = np.nanmean((outputs[:, 0] - Y[:, 0]) ** 2 * w)
    logits, y = outputs[:, 1], Y[:, 1]
    entropies = np.nanmean((np.log1p(np.exp(logits)) - logits * y) * w)
    np.testing.assert_allclose(values.detach(), [squares, entropies], rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ({}, ("smiles", TASKS), "smiles_col: expected a column.*'smiles'. Did you mean 'smi'"),
        ({}, ("smi", ["logd", "soll"]), "target_cols: .*found 'soll'. Did you mean 'sol'"),
        ({}, ("smi", []), "at least one column"),
        ({}, ("smi", ["sol"]), "n_groups: expected 1 to 1, .*found 2"),
        ({}, ("smi", ["sol", "sol"]), "found twice sol"),
        ({"sol": "low"}, ("smi", TASKS), "expected numbers in 'sol'; found 'low' in row 0"),
        ({"sol": np.inf}, ("smi", TASKS), "finite numbers or NaN in 'sol'; found inf in row 0"),
        ({"sol": np.nan}, ("smi", TASKS), "No gradient steps were performed for sol: "),
        (
            dict.fromkeys(TASKS, np.nan),
            ("smi", TASKS),
            "No gradient .*logd, sol, clint, tox: ",
        ),
    ],
)
def test_a_table_that_does_not_fit(table, change, arguments, message):
    smiles_col, target_cols = arguments
    with pytest.raises(TaskAffinityError, match=message):
        compute_task_affinity(table.assign(**change), smiles_col, target_cols, SMALL)


def test_a_batch_larger_than_the_table(table):
    with pytest.raises(RuntimeError, match=r"at most the 20 molecules .* found 65"):
        compute_task_affinity(table, "smi", TASKS, TaskAffinityConfig(affinity_batch_size=65))


def test_smiles_that_are_no_molecule(table):
    table.loc[4, "smi"] = "C1CC"
    with pytest.raises(ValueError, match=r"smi \(rows 4\): expected SMILES that RDKit reads"):
        compute_task_affinity(table, "smi", TASKS, SMALL)
