from __future__ import annotations

import numpy as np
import pytest
from molpool_pipelines.demo._properties import PROPERTIES, compute, esol
from rdkit import Chem

pytestmark = pytest.mark.core


def test_esol_of_benzene_by_hand() -> None:
    # logP 1.6866 (six aromatic CH of Wildman and Crippen's table, 0.1581 + 0.1230 each),
    # weight 78.114, no rotatable bond, all heavy atoms aromatic.
    by_hand = 0.16 - 0.63 * 6 * (0.1581 + 0.1230) - 0.0062 * 78.114 - 0.74
    assert esol(Chem.MolFromSmiles("c1ccccc1")) == pytest.approx(by_hand, abs=1e-3)


def test_compute_keeps_the_order_of_the_molecules() -> None:
    methane, benzene = Chem.MolFromSmiles("C"), Chem.MolFromSmiles("c1ccccc1")
    np.testing.assert_array_equal(compute("Fsp3", [methane, benzene]), [1.0, 0.0])
    assert set(PROPERTIES) == {"LogP", "LogS", "QED", "MR", "TPSA", "Fsp3"}
