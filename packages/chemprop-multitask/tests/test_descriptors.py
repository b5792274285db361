"""Descriptors beside molecules: Chemprop's own training and command give the same numbers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from chemprop import nn
from chemprop.data import MoleculeDatapoint, MoleculeDataset, build_dataloader
from chemprop.models import MPNN
from chemprop_multitask import ChempropError, ChempropModel, MoleculeData
from chemprop_multitask._data import descriptor_scale
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler

TASKS = ("a", "b", "c")
SIGNATURE = {"features": ["rdkit2d"], "widths": [5]}


@pytest.fixture
def descriptors(smiles: list[str]) -> NDArray[np.float32]:
    """Five columns far from 0 and 1, one of them constant, with two values missing."""
    rng = np.random.default_rng(3)
    values = rng.normal(size=(len(smiles), 5)) * [1, 100, 1e-3, 0, 5] + [0, 7, 0, 3, -50]
    values[2, 0] = values[7, 1] = np.nan
    return values.astype(np.float32)


@pytest.fixture
def described(
    smiles: list[str], table: NDArray[np.float64], descriptors: NDArray[np.float32]
) -> MoleculeData:
    return MoleculeData(smiles, table, task_names=TASKS, descriptors=descriptors)


def model_of(settings: Any, **training: Any) -> ChempropModel:
    return ChempropModel.from_config(
        settings(**training), task_names=TASKS, n_descriptors=5, descriptors=SIGNATURE, seed=1
    )


def test_descriptors_are_scaled_as_scikit_learn_scales_them(described: MoleculeData) -> None:
    assert described.descriptors is not None
    mean, scale = descriptor_scale(described.descriptors)
    peer = StandardScaler().fit(described.descriptors.astype(np.float64))
    assert peer.mean_ is not None
    assert peer.scale_ is not None
    np.testing.assert_allclose(mean, peer.mean_, rtol=1e-12)
    np.testing.assert_allclose(scale, peer.scale_, rtol=1e-12)
    assert described.descriptors[2, 0] == 0  # as in Chemprop's data points


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Lightning says what loaders could have
def test_training_is_chemprops(
    smiles: list[str],
    table: NDArray[np.float64],
    descriptors: NDArray[np.float32],
    described: MoleculeData,
    settings: Any,
) -> None:
    """Same weights, batches and schedule: the same predictions after three epochs."""
    model = model_of(settings, epochs=3, loss_average="cell")
    ours = model.module.state_dict()
    mean, scale = np.nanmean(table, axis=0), np.nanstd(table, axis=0)
    # A copy each: a data point overwrites its missing descriptors.
    points: list[Any] = [
        MoleculeDatapoint.from_smi(s, y, x_d=x.copy())
        for s, y, x in zip(smiles, (table - mean) / scale, descriptors, strict=True)
    ]
    data = MoleculeDataset(points)
    scaler = data.normalize_inputs("X_d")
    block = nn.BondMessagePassing(d_h=16)
    unscale = nn.UnscaleTransform(mean, scale)
    head = nn.RegressionFFN(
        n_tasks=3, input_dim=21, hidden_dim=16, n_layers=2, output_transform=unscale
    )
    peer = MPNN(
        block,
        nn.MeanAggregation(),
        head,
        warmup_epochs=1,
        X_d_transform=nn.ScaleTransform.from_standard_scaler(scaler),
    )
    weights = {k: v for k, v in ours.items() if k.startswith(("message_passing.", "predictor.ffn"))}
    peer.load_state_dict({**peer.state_dict(), **weights})
    trainer = pl.Trainer(
        max_epochs=3, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, accelerator="cpu",
    )  # fmt: skip
    trainer.fit(peer, build_dataloader(data, 8, num_workers=0, seed=5))
    model.fit(described, seed=5)
    peer.eval()
    data.reset()
    loader = build_dataloader(data, 8, num_workers=0, shuffle=False)
    with torch.inference_mode():
        wanted = torch.cat([peer(bmg, V_d, X_d) for bmg, V_d, X_d, *_ in loader]).numpy()
    found = model.predict(MoleculeData(smiles, descriptors=descriptors))
    np.testing.assert_allclose((found - mean) / scale, (wanted - mean) / scale, atol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Chemprop's command warns of what is not ours
def test_chemprop_predict_takes_the_file_and_the_descriptors(
    smiles: list[str],
    descriptors: NDArray[np.float32],
    described: MoleculeData,
    settings: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = model_of(settings)
    model.fit(described, described)
    model.save(tmp_path / "model.pt")
    (tmp_path / "in.csv").write_text("smiles\n" + "\n".join(smiles) + "\n")
    np.savez(tmp_path / "x.npz", descriptors)
    from chemprop.cli.main import main

    arguments = [
        "predict", "-i", str(tmp_path / "in.csv"), "--model-path", str(tmp_path / "model.pt"),
        "--descriptors-path", str(tmp_path / "x.npz"), "-o", str(tmp_path / "out.csv"),
        "--accelerator", "cpu", "--logfile", str(tmp_path / "log"),
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["chemprop", *arguments])
    main()
    rows = (tmp_path / "out.csv").read_text().splitlines()[1:]
    found = np.array([[float(cell) for cell in row.split(",")[1:]] for row in rows])
    wanted = model.predict(MoleculeData(smiles, descriptors=descriptors))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_a_loaded_model_knows_its_descriptors_and_their_scale(
    described: MoleculeData, settings: Any, tmp_path: Path
) -> None:
    model = model_of(settings, epochs=1)
    model.fit(described)
    model.save(tmp_path / "model.pt")
    loaded = ChempropModel.load(tmp_path / "model.pt")
    assert (loaded.n_descriptors, loaded.descriptors) == (5, SIGNATURE)
    np.testing.assert_array_equal(loaded.predict(described), model.predict(described))


def test_descriptors_that_do_not_fit_are_named(
    smiles: list[str], data: MoleculeData, described: MoleculeData, settings: Any
) -> None:
    with pytest.raises(ChempropError, match=r"expected 5 of each molecule.* found none"):
        model_of(settings).fit(data)
    with pytest.raises(ChempropError, match=r"expected none of each molecule.* found 5"):
        ChempropModel.from_config(settings(), task_names=TASKS).predict(described)
    with pytest.raises(ChempropError, match=r"a row for each of 32 molecules.*\(31, 5\)"):
        MoleculeData(smiles, descriptors=np.zeros((31, 5)))
    with pytest.raises(ChempropError, match="infinity in row 1, column 2"):
        MoleculeData(smiles[:1], descriptors=np.array([[0.0, 1e300]]))
