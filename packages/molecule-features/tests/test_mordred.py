"""mordred's descriptors, held against its own call."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from molecule_features import featurize
from rdkit import Chem

mordred = pytest.importorskip("mordred")


@pytest.mark.slow
def test_the_numbers_are_mordreds(drugs: list[str]) -> None:
    from mordred import descriptors

    found = featurize(drugs[:3], "mordred", cache=None)
    calculator = mordred.Calculator(descriptors, ignore_3D=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame = calculator.pandas([Chem.MolFromSmiles(t) for t in drugs[:3]], nproc=1, quiet=True)
        expected = frame.fill_missing().to_numpy(dtype=float)
    assert found.names == tuple(frame.columns)
    np.testing.assert_allclose(found.values, expected.astype(np.float32), rtol=1e-6)


def test_a_large_molecule_is_refused() -> None:
    found = featurize(["C" * 121], "mordred", cache=None)
    assert found.reasons == ["mordred: too large: 121 heavy atoms, of at most 120"]
