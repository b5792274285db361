"""Embeddings of Chemprop's networks, held against Chemprop and ADMET-AI."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from molecule_features import FeatureError, FeatureSet, MissingExtraError, featurize
from molecule_features._chemprop import AdmetFingerprint

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


def test_without_admet_ai_the_extra_is_named() -> None:
    if find_spec("admet_ai") is None:
        with pytest.raises(MissingExtraError, match=r"pip install 'molecule-features\[admet\]'"):
            FeatureSet.named("admet_prediction")
    else:
        assert FeatureSet.named("admet_prediction").width == 41


def test_admet_ais_end_points_are_told() -> None:
    assert len(AdmetFingerprint.trained_on) == 41
    assert {"hERG", "Lipophilicity_AstraZeneca"} < set(AdmetFingerprint.trained_on)


@pytest.mark.slow
def test_predictions_are_admet_ais(drugs: list[str]) -> None:
    pytest.importorskip("admet_ai")
    found = featurize(drugs, "admet_fingerprint+admet_prediction", cache=None)
    assert found.block("admet_fingerprint").shape == (len(drugs), 3000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from admet_ai import ADMETModel  # pyrefly: ignore[missing-import]

        peer: Any = ADMETModel(include_physchem=False, drugbank_path=None, num_workers=0).predict(
            drugs
        )
    names = [name.removeprefix("admet_") for name in found.names[3000:]]
    # Their order of atoms is that of the SMILES, which is canonical here: chiral tags follow it.
    np.testing.assert_allclose(
        found.block("admet_prediction"), peer[names].to_numpy(), rtol=1e-5, atol=1e-5
    )
    seen = found.seen(["LogD", "lipophilicity", "HERG", "Caco-2 Wang", "Solubility_AqSolDB"])
    asked = ["lipophilicity", "HERG", "Caco-2 Wang", "Solubility_AqSolDB"]
    assert seen == {"admet_fingerprint": asked, "admet_prediction": asked}
