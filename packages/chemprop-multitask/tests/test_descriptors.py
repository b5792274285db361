"""Features beside Chemprop's own: its own training and command give the same numbers."""

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
from chemprop.featurizers import SimpleMoleculeMolGraphFeaturizer
from chemprop.models import MPNN
from chemprop_multitask import ChempropError, ChempropModel, MoleculeData
from chemprop_multitask._data import descriptor_scale
from numpy.typing import NDArray
from rdkit import Chem
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
def of_graphs(smiles: list[str]) -> dict[str, list[NDArray[np.float32]]]:
    """Two features of each atom and three of each bond, one value missing."""
    rng = np.random.default_rng(4)
    mols = [Chem.MolFromSmiles(text) for text in smiles]
    atoms = [rng.normal(7, 3, (mol.GetNumAtoms(), 2)).astype(np.float32) for mol in mols]
    bonds = [rng.normal(0, 9, (mol.GetNumBonds(), 3)).astype(np.float32) for mol in mols]
    atoms[1][0, 1] = np.nan
    return {"atom_features": atoms, "bond_features": bonds}


@pytest.fixture
def described(
    smiles: list[str],
    table: NDArray[np.float64],
    descriptors: NDArray[np.float32],
    of_graphs: dict[str, Any],
) -> MoleculeData:
    return MoleculeData(smiles, table, task_names=TASKS, descriptors=descriptors, **of_graphs)


def model_of(settings: Any, **training: Any) -> ChempropModel:
    return ChempropModel.from_config(
        settings(**training),
        task_names=TASKS,
        n_descriptors=5,
        n_graph_features=(2, 3),
        descriptors=SIGNATURE,
        seed=1,
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
    of_graphs: dict[str, Any],
    described: MoleculeData,
    settings: Any,
) -> None:
    """Same weights, batches and schedule: the same predictions after three epochs."""
    model = model_of(settings, epochs=3, loss_average="cell")
    ours = model.module.state_dict()
    mean, scale = np.nanmean(table, axis=0), np.nanstd(table, axis=0)
    # A copy each: a data point overwrites its missing descriptors.
    each = zip(smiles, (table - mean) / scale, descriptors, *of_graphs.values(), strict=True)
    points: list[Any] = [
        MoleculeDatapoint.from_smi(s, y, x_d=x.copy(), V_f=atoms.copy(), E_f=bonds.copy())
        for s, y, x, atoms, bonds in each
    ]
    data = MoleculeDataset(
        points, SimpleMoleculeMolGraphFeaturizer(extra_atom_fdim=2, extra_bond_fdim=3)
    )
    scaler, *graphs = (data.normalize_inputs(key) for key in ("X_d", "V_f", "E_f"))
    transforms = [
        nn.ScaleTransform.from_standard_scaler(scaler, pad=own)
        for scaler, own in zip(graphs, (72, 14), strict=True)
    ]
    block = nn.BondMessagePassing(
        d_v=74, d_e=17, d_h=16, graph_transform=nn.GraphTransform(*transforms)
    )
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
    trained = ("message_passing.W", "predictor.ffn")
    weights = {k: v for k, v in ours.items() if k.startswith(trained)}
    peer.load_state_dict({**peer.state_dict(), **weights})
    trainer = pl.Trainer(
        max_epochs=3, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, accelerator="cpu",
    )  # fmt: skip
    trainer.fit(peer, build_dataloader(data, 8, num_workers=0, seed=5))
    model.fit(described, seed=5)
    peer.eval()
    data.reset()
    data.cache = False  # anew: else its graphs keep the scaled features
    loader = build_dataloader(data, 8, num_workers=0, shuffle=False)
    with torch.inference_mode():
        wanted = torch.cat([peer(bmg, V_d, X_d) for bmg, V_d, X_d, *_ in loader]).numpy()
    found = model.predict(MoleculeData(smiles, descriptors=descriptors, **of_graphs))
    np.testing.assert_allclose((found - mean) / scale, (wanted - mean) / scale, atol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Chemprop's command warns of what is not ours
def test_chemprop_predict_takes_the_file_and_the_features(
    smiles: list[str],
    descriptors: NDArray[np.float32],
    of_graphs: dict[str, Any],
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
    for name, arrays in of_graphs.items():
        np.savez(tmp_path / f"{name}.npz", *arrays)
    from chemprop.cli.main import main

    arguments = [
        "predict", "-i", str(tmp_path / "in.csv"), "--model-path", str(tmp_path / "model.pt"),
        "--descriptors-path", str(tmp_path / "x.npz"),
        "--atom-features-path", str(tmp_path / "atom_features.npz"),
        "--bond-features-path", str(tmp_path / "bond_features.npz"),
        "-o", str(tmp_path / "out.csv"), "--accelerator", "cpu", "--logfile", str(tmp_path / "log"),
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["chemprop", *arguments])
    main()
    rows = (tmp_path / "out.csv").read_text().splitlines()[1:]
    found = np.array([[float(cell) for cell in row.split(",")[1:]] for row in rows])
    wanted = model.predict(MoleculeData(smiles, descriptors=descriptors, **of_graphs))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_a_loaded_model_knows_its_descriptors_and_their_scale(
    described: MoleculeData, settings: Any, tmp_path: Path
) -> None:
    model = model_of(settings, epochs=1)
    model.fit(described)
    model.save(tmp_path / "model.pt")
    loaded = ChempropModel.load(tmp_path / "model.pt")
    assert (loaded.n_descriptors, loaded.descriptors) == (5, SIGNATURE)
    assert loaded.n_graph_features == (2, 3)
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


def test_features_of_atoms_that_do_not_fit_are_named(
    smiles: list[str], descriptors: NDArray[np.float32], of_graphs: Any, settings: Any
) -> None:
    bare = MoleculeData(smiles, descriptors=descriptors)
    with pytest.raises(ChempropError, match=r"expected 2 of each atom and 3 of each bond"):
        model_of(settings).predict(bare)
    atoms = of_graphs["atom_features"]
    with pytest.raises(ChempropError, match="an array for each of 32 molecules; found 31"):
        MoleculeData(smiles, atom_features=atoms[1:])
    shorter = [*atoms[:2], atoms[2][:-1], *atoms[3:]]
    with pytest.raises(ChempropError, match=r"a row for each atom of the molecule in row 3"):
        MoleculeData(smiles, atom_features=shorter)
    endless = [np.full_like(atoms[0], np.inf), *atoms[1:]]
    with pytest.raises(ChempropError, match="infinity in row 1"):
        MoleculeData(smiles, atom_features=endless)
