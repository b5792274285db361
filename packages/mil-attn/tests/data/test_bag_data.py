"""The container of bags: what it refuses, and that rows stay with their bags."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mil_attn import BagData, MILError


def bags(sizes: list[int], **changes: Any) -> BagData:
    """Data whose instance features tell bag and place: (bag, place)."""
    n = len(sizes)
    rows = [(b, i) for b, size in enumerate(sizes) for i in range(size)]
    values: dict[str, Any] = {
        "ids": [f"m{b}" for b in range(n)],
        "instances": np.array(rows, dtype=np.float32).reshape(-1, 2),
        "offsets": np.concatenate([[0], np.cumsum(sizes)]),
        "x2d": np.arange(n, dtype=np.float32)[:, None],
        "labels": np.array([[b % 2, np.nan] for b in range(n)]),
        "task_names": ("a", "b"),
        "aux": {"abs": np.arange(n, dtype=np.float64)[:, None] * 10},
        "weights": np.ones((n, 2)),
        "instance_ids": [f"m{b}-{i}" for b, i in rows],
        "energies": np.array([float(i) for _, i in rows]),
        "smiles": ["C" * (b + 1) for b in range(n)],
    }
    return BagData(**{**values, **changes})


@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=8),
    draw=st.randoms(use_true_random=False),
)
def test_instances_stay_with_their_bag(sizes: list[int], draw: Any) -> None:
    data = bags(sizes)
    picked = draw.sample(range(len(sizes)), draw.randint(1, len(sizes)))
    part = data.take(picked)
    expected = [[b, i] for b in picked for i in range(sizes[b])]
    assert part.instances is not None
    assert part.instances.tolist() == expected
    assert list(part.ids) == [f"m{b}" for b in picked]
    assert list(part.instance_ids or ()) == [f"m{b}-{i}" for b, i in expected]
    assert part.aux["abs"][:, 0].tolist() == [10.0 * b for b in picked]
    assert list(part.smiles or ()) == ["C" * (b + 1) for b in picked]
    part.replace()  # what was taken passes the checks of the whole


def test_batch_repeats_bags_and_masks_missing_labels() -> None:
    batch = bags([2, 1, 3]).batch([2, 0, 2])
    assert batch.offsets.tolist() == [0, 3, 5, 8]
    assert batch.instances is not None
    assert batch.instances[:, 0].tolist() == [2, 2, 2, 0, 0, 2, 2, 2]
    assert batch.mask is not None
    assert batch.mask.tolist() == [[True, False]] * 3
    assert batch.aux["abs"][:, 0].tolist() == [20, 0, 20]
    assert batch.aux_mask["abs"].all()


def test_bags_with_features_of_one_kind() -> None:
    flat = bags([1, 1], instances=None, offsets=None, instance_ids=None, energies=None)
    assert flat.batch([1]).instances is None
    assert flat.sizes.tolist() == [0, 0]
    deep = bags([2, 1], x2d=None).batch(np.array([False, True]))
    assert deep.x2d is None
    assert deep.instances is not None
    assert len(deep.instances) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"offsets": [0, 2, 2, 3]},
            r"bags: expected at least one instance each; found none in 'm1'",
        ),
        ({"offsets": [0, 2, 1, 3]}, "offsets: expected ascending bounds; found 2 before 1"),
        ({"offsets": [0, 1, 2, 4]}, "from 0 to the number of instances, 3; found 0 to 4"),
        ({"offsets": [0, 3]}, r"offsets: expected shape \[4\]"),
        ({"offsets": None}, "offsets: expected bounds"),
        ({"ids": ["a", "b", "a"]}, "ids: expected distinct values; found twice 'a'"),
        (
            {"labels": [[0, 0], [0, 2], [1, 1]]},
            "task 'b': expected 0, 1 or NaN .*found 2 in bag 'm1', row 2",
        ),
        ({"labels": [[0, 0], [0, np.inf], [1, 1]]}, "found inf in bag 'm1'"),
        ({"labels": [[0.0]] * 3}, r"labels: expected shape \[3, 2\]; found \[3, 1\]"),
        ({"weights": [[1, -1]] * 3}, "weights: expected finite .*found -1 in bag 'm0', column 2"),
        ({"aux": {"abs": [[1], [np.inf], [0]]}}, "'abs1': expected finite .*'m1', row 2"),
        ({"aux_weights": {"fluo": [[1]] * 3}}, r"groups of aux, \['abs'\]; found 'fluo'"),
        ({"smiles": ["C"]}, "smiles: expected one per bag, 3; found 1"),
        ({"energies": [0.0]}, "energies: expected one per instance, 3; found 1"),
        ({"instances": None, "x2d": None}, "expected instances, x2d or both"),
        ({"feature_names_2d": ["p", "q"]}, r"x2d: expected shape \[3, 2\]; found \[3, 1\]"),
    ],
)
def test_refuses(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(MILError, match=message):
        bags([1, 1, 1], **changes)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_refuses_features_that_are_not_finite_by_row_and_column(value: float) -> None:
    instances = np.zeros((3, 2), dtype=np.float32)
    instances[2, 1] = value
    with pytest.raises(MILError, match=r"instances: .*row 3, of bag 'm1', column 'q'\.$"):
        bags([2, 1], instances=instances, feature_names_3d=["p", "q"])
    with pytest.raises(MILError, match=r"x2d: .*bag 'm1', row 2, column 'f1'\.$"):
        bags([2, 1], x2d=[[0], [value]])


def test_undefined_features_pass_where_allowed_but_not_into_a_batch() -> None:
    data = bags([2, 1], x2d=[[0], [np.nan]], undefined_ok=True)
    assert data.batch([0]).x2d is not None
    with pytest.raises(MILError, match="x2d: expected scaled features"):
        data.batch([0, 1])
    with pytest.raises(MILError, match="found inf"):
        bags([2, 1], x2d=[[0], [np.inf]], undefined_ok=True)


def test_regression_labels_may_be_any_number() -> None:
    data = bags([1, 2], labels=[[7.5, np.nan], [-2, 0]], task_kind="regression")
    assert data.batch([0, 1]).labels is not None
    with pytest.raises(MILError, match="task 'a': expected finite values"):
        bags([1, 2], labels=[[np.inf, 0], [0, 0]], task_kind="regression")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([0, 3], "positions from 0 to 2; found 0 to 3"),
        ([-1], "positions from 0 to 2; found -1"),
        ([True, False], r"a mask of shape \[3\]"),
        ([0.5], "expected positions"),
        ([1, 1], "found one twice"),
    ],
)
def test_refuses_rows(rows: list[Any], message: str) -> None:
    with pytest.raises(MILError, match=message):
        bags([1, 1, 1]).take(rows)
