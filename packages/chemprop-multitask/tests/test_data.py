from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from chemprop.featurizers import SimpleMoleculeMolGraphFeaturizer
from chemprop_multitask import ChempropError, MoleculeData
from rdkit import Chem


def test_graphs_are_chemprops_in_single_precision() -> None:
    molecules = [Chem.MolFromSmiles("CCO"), Chem.MolFromSmiles("c1ccccc1")]
    data = MoleculeData(molecules)
    for row in range(2):
        peer = SimpleMoleculeMolGraphFeaturizer()(molecules[row])
        graph = data.graph(row)
        assert graph.V.dtype == graph.E.dtype == np.float32
        np.testing.assert_array_equal(graph.V, peer.V.astype(np.float32))
        np.testing.assert_array_equal(graph.E, peer.E.astype(np.float32))
        np.testing.assert_array_equal(graph.edge_index, peer.edge_index)


def test_scaled_is_by_hand_and_shares_graphs() -> None:
    targets = np.array([[1.0, np.nan], [5.0, -2.0]])
    data = MoleculeData(["C", "CC"], targets, task_names=("a", "b"))
    twin = data.scaled(np.array([3.0, -2.0]), np.array([2.0, 1.0]))
    np.testing.assert_array_equal(twin[0].y, [-1.0, np.nan])
    np.testing.assert_array_equal(twin[1].y, [1.0, 0.0])
    np.testing.assert_array_equal(data[1].y, [5.0, -2.0])
    assert twin.graphs is data.graphs


def test_row_weights_are_asked_for_at_each_draw() -> None:
    weights = [1.0, 2.0]
    data = MoleculeData(["C", "CC"], np.ones((2, 1)), task_names="a", weights=weights)
    assert data[1].weight == 2.0
    weights[1] = 7.0
    assert data[1].weight == 7.0


def test_no_targets_is_for_prediction() -> None:
    assert MoleculeData(["C"])[0].y is None


@pytest.mark.parametrize(
    ("molecules", "options", "message"),
    [
        (["C", "C1CC"], {}, "found 'C1CC' in row 2"),
        (["C"], {"targets": np.ones((2, 1)), "task_names": "a"}, r"\(1, 1\).*found \(2, 1\)"),
        (["C"], {"targets": np.ones((1, 2)), "task_names": "a"}, r"\(1, 1\).*found \(1, 2\)"),
        (
            ["C", "C"],
            {"targets": np.array([[1.0], [-np.inf]]), "task_names": ["logD"]},
            "infinity in row 2, task 'logD'",
        ),
        (["C"], {"weights": [1.0, 2.0]}, "weights: expected one for each of 1 .*found 2"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_wrong_data_is_named(molecules: Any, options: Any, message: str) -> None:
    with pytest.raises(ChempropError, match=message):
        MoleculeData(molecules, **options)
