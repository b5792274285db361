"""Shape descriptors of one conformer."""

from __future__ import annotations

import numpy as np
import pytest
from molecule_features import featurize
from molecule_features._shape3d import lowest_conformer
from rdkit import Chem
from rdkit.Chem import Descriptors3D, rdMolDescriptors


def test_the_numbers_are_rdkits_of_the_lowest_conformer(drugs: list[str]) -> None:
    found = featurize(drugs[:2], "shape3d", cache=None)
    for text, row in zip(drugs[:2], found.values, strict=True):
        placed = lowest_conformer(Chem.MolFromSmiles(text))
        own = [function(placed) for _, function in Descriptors3D.descList]
        usr = [*rdMolDescriptors.GetUSR(placed), *rdMolDescriptors.GetUSRCAT(placed)]
        np.testing.assert_array_equal(row, np.array([*own, *usr], dtype=np.float32))


def test_shapes_that_are_known() -> None:
    # Rod, disc and sphere: the corners of Sauer and Schwarz's triangle (2003).
    found = featurize(["C#CC#CC#C", "c1ccccc1", "C12C3C4C1C5C2C3C45"], "shape3d", cache=None)
    at = [found.names.index(name) for name in ("NPR1", "NPR2")]
    np.testing.assert_allclose(found.values[:, at], [[0, 1], [0.5, 0.5], [1, 1]], atol=0.02)


def test_a_counter_ion_changes_nothing() -> None:
    found = featurize(["CC(=O)[O-]", "CC(=O)[O-].[Na+]"], "shape3d", cache=None)
    np.testing.assert_array_equal(found.values[0], found.values[1])


def test_what_does_not_embed_has_a_reason() -> None:
    found = featurize(["C1#CC1", "CCO"], "shape3d", cache=None)
    assert found.reasons[0].startswith("shape3d: no conformer embeds")
    assert np.isnan(found.values[0]).all()
    assert found.reasons[1] == ""


@pytest.mark.parametrize("text", ["[He]", "[Na+].[Cl-]"])
def test_too_few_atoms_for_usr_leave_it_undefined(text: str) -> None:
    found = featurize([text], "shape3d", cache=None)
    usr = [i for i, name in enumerate(found.names) if name.startswith("usr")]
    assert np.isnan(found.values[0, usr]).all()
    assert found.reasons == [""]
