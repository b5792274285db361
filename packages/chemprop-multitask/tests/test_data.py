from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from chemprop.featurizers import SimpleMoleculeMolGraphFeaturizer
from chemprop_multitask import ChempropError, MoleculeData, censoring_from_signs
from chemprop_multitask._data import Scaling, check_labels, label_scale
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
    twin = data.scaled(Scaling(np.array([3.0, -2.0]), np.array([2.0, 1.0])))
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


def test_signs_become_numbers() -> None:
    signs: list[list[str | None]] = [["<", None], [">=", "="], [" > ", ""], ["<=", None]]
    assert censoring_from_signs(signs, ["a", "b"]).tolist() == [[-1, 0], [1, 0], [1, 0], [-1, 0]]


def test_an_unknown_sign_names_row_and_task() -> None:
    with pytest.raises(ChempropError, match=r"task 'b': .* found '~' in row 2"):
        censoring_from_signs([["<", None], [">", "~"]], ["a", "b"])


def test_bounds_reach_the_datum() -> None:
    targets = np.array([[1.0, 2.0], [3.0, np.nan]])
    censoring = np.array([[-1, 1], [0, 0]], dtype=np.int8)
    data = MoleculeData(["C", "CC"], targets, task_names="ab", censoring=censoring)
    assert data[0].lt_mask is not None
    assert data[0].gt_mask is not None
    assert data[0].lt_mask.tolist() == [True, False]
    assert data[0].gt_mask.tolist() == [False, True]
    assert MoleculeData(["C", "CC"], targets, task_names="ab")[0].lt_mask is None


@pytest.mark.parametrize(
    ("censoring", "message"),
    [
        ([[0, 0], [0, 2]], "found 2 in row 2, task 'b'"),
        ([[0, 0]], r"shape of the targets, \(2, 2\); found \(1, 2\)"),
    ],
)
def test_wrong_censoring_is_named(censoring: Any, message: str) -> None:
    with pytest.raises(ChempropError, match=message):
        MoleculeData(["C", "CC"], np.ones((2, 2)), task_names="ab", censoring=np.array(censoring))


NAN = np.nan


def test_mean_and_standard_deviation_by_hand() -> None:
    # Column b: 2, 4, 4, 4, 5, 5, 7, 9 has mean 5 and population standard deviation 2.
    b = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0, NAN]
    table = np.array([[3.0, y, float(i % 2)] for i, y in enumerate(b)])
    mean, scale = label_scale(table, "abc", ["regression", "regression", "classification"])
    np.testing.assert_allclose(mean, [3.0, 5.0, 0.0], rtol=1e-15)
    # a is constant, c is a class: neither is scaled.
    np.testing.assert_allclose(scale, [1.0, 2.0, 1.0], rtol=1e-15)


def test_a_task_without_labels_is_named() -> None:
    with pytest.raises(ChempropError, match="'b': expected training labels; found none"):
        label_scale(np.array([[1.0, NAN]]), "ab", ["regression"] * 2)


@pytest.mark.parametrize(
    ("options", "kinds", "message"),
    [
        ({"task_names": "ba"}, ["regression"] * 2, r"\['a', 'b'\]; found \['b', 'a'\]"),
        ({"targets": None}, ["regression"] * 2, "found none"),
        ({}, ["regression", "classification"], "'b': expected classes 0 and 1; found 2 in row 2"),
        (
            {"censoring": np.array([[0, 0], [1, 0]])},
            ["classification", "regression"],
            "'a': expected classes without < and >; found one in row 2",
        ),
    ],
)
def test_labels_that_do_not_fit_are_named(options: Any, kinds: Any, message: str) -> None:
    given: dict[str, Any] = {
        "targets": np.array([[0.0, 1.0], [1.0, 2.0]]),
        "task_names": "ab",
        **options,
    }
    with pytest.raises(ChempropError, match=message):
        check_labels(MoleculeData(["C", "CC"], **given), "ab", kinds)
