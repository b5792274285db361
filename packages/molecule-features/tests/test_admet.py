"""The networks of ADMET-AI in NumPy, held against Chemprop and ADMET-AI."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from molecule_features import FeatureSet, MissingExtraError, featurize
from molecule_features._admet import _N_NETWORKS, AdmetFingerprint, _Graphs, _networks
from molecule_features._featurizer import read


def test_without_admet_ai_the_extra_is_named() -> None:
    if find_spec("admet_ai") is None:
        with pytest.raises(MissingExtraError, match=r"pip install 'molecule-features\[admet\]'"):
            FeatureSet.named("admet_prediction")
    else:
        assert FeatureSet.named("admet_prediction").width == 41


def test_admet_ais_end_points_are_told() -> None:
    assert len(AdmetFingerprint.trained_on) == 41
    assert {"hERG", "Lipophilicity_AstraZeneca"} < set(AdmetFingerprint.trained_on)


@pytest.fixture(scope="module")
def models() -> list[Any]:
    """Return the files of ADMET-AI's first and last network."""
    pytest.importorskip("admet_ai")
    from pathlib import Path

    spec: Any = find_spec("admet_ai")
    folder = Path(spec.origin).parent / "resources" / "models"
    kinds = ("classification", "regression")
    return [
        folder / f"admet_{kind}" / f"model_{k}.pt" for kind, k in zip(kinds, (0, 4), strict=True)
    ]


def test_graphs_and_embeddings_are_chemprops(
    models: list[Any], drugs: list[str], odd: list[str]
) -> None:
    import torch
    from chemprop.data import BatchMolGraph
    from chemprop.featurizers import SimpleMoleculeMolGraphFeaturizer
    from chemprop.models.utils import load_model

    # Elements, charges, hybridisations, bonds and stereo that the features have no column for.
    mols = [
        read(text) for text in (*drugs, *odd, "[U+6]", "F[U](F)(F)(F)(F)F", "N->[Pt]", "C/C=C/C")
    ]
    ours = _Graphs.of(mols)
    graphs = BatchMolGraph([SimpleMoleculeMolGraphFeaturizer()(mol) for mol in mols])
    np.testing.assert_array_equal(ours.atoms, graphs.V.numpy())
    theirs = np.hstack([graphs.V.numpy()[graphs.edge_index[0]], graphs.E.numpy()])
    assert sorted(map(tuple, ours.bonds.tolist())) == sorted(map(tuple, theirs.tolist()))
    networks = _networks("admet_fingerprint")
    for path, place in zip(models, (0, 2 * _N_NETWORKS - 1), strict=True):
        network: Any = load_model(path).eval()
        with torch.inference_mode():
            expected = network.fingerprint(graphs).numpy()
        np.testing.assert_allclose(networks[place].embedding(ours), expected, rtol=1e-4, atol=1e-6)


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
