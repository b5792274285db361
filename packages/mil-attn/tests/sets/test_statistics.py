"""Statistics of bags against NumPy, bag by bag."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mil_attn import STATISTICS, BagData, MILError, bag_statistics, boltzmann_weights
from molpool_common import FloatArray


def some_bags(sizes: tuple[int, ...] = (1, 4, 2, 4, 7), **changes: Any) -> BagData:
    draw = np.random.default_rng(0)
    values: dict[str, Any] = {
        "ids": [f"b{i}" for i in range(len(sizes))],
        "instances": draw.normal(size=(sum(sizes), 3)),
        "offsets": np.concatenate([[0], np.cumsum(sizes)]),
        "energies": draw.exponential(size=sum(sizes)),
    }
    return BagData(**{**values, **changes})


def dense(bag: FloatArray, energies: FloatArray) -> dict[str, FloatArray]:
    boltzmann = np.exp(-energies / (0.0019872043 * 298.15))
    return {
        "mean": bag.mean(axis=0),
        "min": bag.min(axis=0),
        "max": bag.max(axis=0),
        "sd": bag.std(axis=0),
        "quantiles": np.quantile(bag, (0.1, 0.5, 0.9), axis=0).ravel(),
        "boltzmann": np.average(bag, axis=0, weights=boltzmann),
        "count": np.log([len(bag)]),
    }


@pytest.mark.parametrize("kind", [k for k in STATISTICS if k != "covariance"])
def test_a_statistic_is_that_of_each_bag(kind: Any) -> None:
    data = some_bags()
    assert data.instances is not None
    assert data.energies is not None
    values, names = bag_statistics(data, [kind])
    assert values.shape == (len(data), len(names))
    for b, (start, stop) in enumerate(zip(data.bounds, data.bounds[1:], strict=False)):
        bag = data.instances[start:stop].astype(np.float64)
        # Single precision of what is returned.
        expected = dense(bag, data.energies[start:stop])[kind]
        np.testing.assert_allclose(values[b], expected, rtol=1e-6, atol=1e-7)


def test_covariances_are_those_of_the_same_directions_in_every_table() -> None:
    data = some_bags()
    values, names = bag_statistics(data, ["covariance"])
    assert len(names) == 3 * 4 // 2
    alone, _ = bag_statistics(data.take([4]), ["covariance"])
    np.testing.assert_allclose(values[4:], alone, rtol=1e-5)
    # One instance varies in no direction; what varies does so by the same square.
    np.testing.assert_allclose(values[0], 0, atol=1e-12)
    assert data.instances is not None
    doubled, _ = bag_statistics(data.replace(instances=2 * data.instances), ["covariance"])
    np.testing.assert_allclose(doubled, 4 * values, rtol=1e-5, atol=1e-9)


def test_order_of_instances_counts_for_nothing_and_own_features_follow() -> None:
    data = some_bags(x2d=np.arange(5.0)[:, None], feature_names_2d=["logp"])
    values, names = bag_statistics(data, ["mean", "sd", "quantiles"])
    assert names[0] == "mean f1"
    assert names[-1] == "logp"
    np.testing.assert_array_equal(values[:, -1], np.arange(5.0))
    at = np.concatenate([np.arange(a, b)[::-1] for a, b in zip(data.bounds, data.bounds[1:])])  # noqa: B905  # pairs
    assert data.instances is not None
    turned, _ = bag_statistics(
        data.replace(instances=data.instances[at]), ["mean", "sd", "quantiles"]
    )
    np.testing.assert_allclose(turned, values, rtol=1e-6, atol=1e-7)


def test_energies_are_of_all_of_a_bag_or_of_none() -> None:
    offsets = np.array([0, 2, 4])
    weights = boltzmann_weights(np.array([0.0, 0.0, np.nan, np.nan]), offsets)
    np.testing.assert_allclose(weights, 0.5)
    with pytest.raises(MILError, match="bag number 1"):
        boltzmann_weights(np.array([0.0, 1.0, np.nan, 0.0]), offsets)


def test_what_cannot_be_computed_is_refused() -> None:
    with pytest.raises(MILError, match="'max'"):
        bag_statistics(some_bags(), ["maxx"])  # type: ignore[list-item]
    with pytest.raises(MILError, match="energies"):
        bag_statistics(some_bags(energies=None), ["boltzmann"])
