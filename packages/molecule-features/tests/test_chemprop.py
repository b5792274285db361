"""Embeddings of Chemprop's networks, held against Chemprop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from molecule_features import FeatureError, featurize

chemprop = pytest.importorskip("chemprop")


@pytest.fixture
def network() -> Any:
    """Return a small network, not trained."""
    import torch
    from chemprop import nn
    from chemprop.models import MPNN

    torch.manual_seed(20260)
    passing = nn.BondMessagePassing(d_h=24)
    return MPNN(passing, nn.NormAggregation(), nn.RegressionFFN(input_dim=24), batch_norm=True)


def expected(network: Any, smiles: list[str]) -> Any:
    """Return Chemprop's own fingerprints."""
    import torch
    from chemprop.data import BatchMolGraph
    from chemprop.featurizers import SimpleMoleculeMolGraphFeaturizer
    from rdkit import Chem

    featurizer = SimpleMoleculeMolGraphFeaturizer()
    graphs = BatchMolGraph([featurizer(Chem.MolFromSmiles(text)) for text in smiles])
    with torch.inference_mode():
        return network.eval().fingerprint(graphs).numpy()


def test_a_checkpoint_gives_chemprops_fingerprint(
    network: Any, tmp_path: Path, drugs: list[str], odd: list[str]
) -> None:
    from chemprop.models.utils import save_model

    save_model(tmp_path / "a+b.pt", network)
    found = featurize([*drugs, *odd], [f"chemprop:{tmp_path / 'a+b.pt'}"], cache=None)
    np.testing.assert_allclose(
        found.values, expected(network, [*drugs, *odd]), rtol=1e-5, atol=1e-6
    )
    assert found.names[-1] == "a+b_23"
    assert found.blocks[0].kind == "embedding"


def test_message_passing_alone_is_averaged_over_atoms_as_chemeleon_is(
    network: Any, tmp_path: Path, drugs: list[str]
) -> None:
    import torch
    from chemprop import nn

    passing = network.message_passing
    content = {"hyper_parameters": dict(passing.hparams), "state_dict": passing.state_dict()}
    torch.save(content, tmp_path / "mp.pt")
    network.agg, network.bn = nn.MeanAggregation(), torch.nn.Identity()
    found = featurize(drugs, f"chemprop:{tmp_path / 'mp.pt'}", cache=None)
    np.testing.assert_allclose(found.values, expected(network, drugs), rtol=1e-5, atol=1e-6)


def test_another_file_of_the_same_name_is_another_version(network: Any, tmp_path: Path) -> None:
    from chemprop.models.utils import save_model
    from molecule_features._chemprop import ChempropEmbedding

    save_model(tmp_path / "m.pt", network)
    first = ChempropEmbedding(str(tmp_path / "m.pt")).version
    network.message_passing.W_i.weight.data += 1
    save_model(tmp_path / "m.pt", network)
    assert ChempropEmbedding(str(tmp_path / "m.pt")).version != first


@pytest.mark.parametrize("content", [b"no network", b""])
def test_what_is_no_network_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(FeatureError, match="expected a Chemprop network; found what torch cannot"):
        featurize(["CCO"], f"chemprop:{tmp_path / 'x.pt'}")


def test_weights_of_something_else_are_named(tmp_path: Path) -> None:
    import torch

    torch.save({"state_dict": {"layer.weight": torch.zeros(2)}}, tmp_path / "x.pt")
    with pytest.raises(FeatureError, match=r"found weights layer\.weight"):
        featurize(["CCO"], f"chemprop:{tmp_path / 'x.pt'}")
