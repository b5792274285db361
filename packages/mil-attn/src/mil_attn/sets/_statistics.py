"""Statistics of a bag's instances: a bag as one row of numbers, for models on features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

import numpy as np
from molpool_common import Float32Array, FloatArray, did_you_mean

from mil_attn._errors import MILError
from mil_attn.data._bag_data import BagData
from mil_attn.data._molecule_features import boltzmann_weights

StatisticName = Literal["mean", "min", "max", "sd", "quantiles", "covariance", "boltzmann", "count"]
STATISTICS: tuple[StatisticName, ...] = get_args(StatisticName)

_QUANTILES = (0.1, 0.5, 0.9)

_SKETCH = 16
"""Random directions whose covariances within a bag stand for those of all pairs of features."""


def bag_statistics(
    data: BagData, kinds: Sequence[StatisticName] = ("mean", "min", "max", "sd", "count")
) -> tuple[Float32Array, tuple[str, ...]]:
    """Return the statistics of each bag's instances, and then its own features.

    Parameters
    ----------
    data : BagData
        N bags. An undefined feature of an instance (NaN) makes what is computed of it undefined.
    kinds : sequence of str
        ``mean``, ``min``, ``max``, ``sd`` (0 for one instance), ``quantiles`` (0.1, 0.5, 0.9,
        linear between instances), ``covariance`` (of 16 fixed random projections of the features,
        which should be of one scale), ``boltzmann`` (mean by the energies of conformers at 25 °C),
        ``count`` (log of the number of instances).

    Returns
    -------
    values : ndarray of float32 [N, K]
    names : tuple of str, length K
        ``mean f1``, ``max f1``, ...; features of the bag by their own names.

    Raises
    ------
    MILError
        If a statistic is unknown, or ``boltzmann`` is asked for without energies.
    """
    unknown = next((kind for kind in kinds if kind not in STATISTICS), None)
    if unknown is not None:
        raise MILError(f"statistics: found {unknown!r}. {did_you_mean(unknown, STATISTICS)}")
    columns: list[FloatArray] = []
    names: list[str] = []
    if data.instances is not None:
        x = data.instances.astype(np.float64)
        for kind in kinds:
            values, of_kind = _COMPUTE[kind](x, data)
            columns.append(values)
            names += of_kind
    if data.x2d is not None:
        columns.append(data.x2d.astype(np.float64))
        names += data.feature_names_2d
    return np.hstack(columns).astype(np.float32), tuple(names)


def _mean(x: FloatArray, data: BagData) -> FloatArray:
    return np.asarray(np.add.reduceat(x, data.bounds[:-1]) / data.sizes[:, None])


def _sd(x: FloatArray, data: BagData) -> FloatArray:
    off = x - np.repeat(_mean(x, data), data.sizes, axis=0)
    return np.asarray(np.sqrt(_mean(off**2, data)))


def _min(x: FloatArray, data: BagData) -> FloatArray:
    return np.asarray(np.minimum.reduceat(x, data.bounds[:-1]))


def _max(x: FloatArray, data: BagData) -> FloatArray:
    return np.asarray(np.maximum.reduceat(x, data.bounds[:-1]))


def _boltzmann(x: FloatArray, data: BagData) -> FloatArray:
    if data.energies is None:
        raise MILError("boltzmann: expected energies of the instances; found none.")
    weights = boltzmann_weights(data.energies, data.bounds)
    return np.asarray(np.add.reduceat(x * weights[:, None], data.bounds[:-1]))


def _by_feature(
    kind: str, compute: Callable[[FloatArray, BagData], FloatArray]
) -> Callable[[FloatArray, BagData], tuple[FloatArray, list[str]]]:
    def named(x: FloatArray, data: BagData) -> tuple[FloatArray, list[str]]:
        return compute(x, data), [f"{kind} {name}" for name in data.feature_names_3d]

    return named


def _quantiles(x: FloatArray, data: BagData) -> tuple[FloatArray, list[str]]:
    found = np.empty((len(data), len(_QUANTILES), x.shape[1]))
    # Bags of one size at once: sizes repeat, and there is no padding.
    for size in np.unique(data.sizes):
        bags = np.flatnonzero(data.sizes == size)
        rows = data.bounds[bags][:, None] + np.arange(size)
        found[bags] = np.quantile(x[rows], _QUANTILES, axis=1).transpose(1, 0, 2)
    names = [f"{q:g} quantile {name}" for q in _QUANTILES for name in data.feature_names_3d]
    return found.reshape(len(data), -1), names


def _covariance(x: FloatArray, data: BagData) -> tuple[FloatArray, list[str]]:
    """Return covariances within bags of random projections, 1/F of the features' variance each."""
    width = min(_SKETCH, x.shape[1])
    # Drawn alike for every table of so many features: training and prediction see the same.
    directions = np.random.default_rng(x.shape[1]).normal(size=(x.shape[1], width))
    seen = x @ directions / np.sqrt(x.shape[1])
    off = seen - np.repeat(_mean(seen, data), data.sizes, axis=0)
    rows, columns = np.triu_indices(width)
    return _mean(off[:, rows] * off[:, columns], data), [
        f"covariance {i + 1}, {j + 1}" for i, j in zip(rows, columns, strict=True)
    ]


def _count(x: FloatArray, data: BagData) -> tuple[FloatArray, list[str]]:
    return np.log(data.sizes.astype(np.float64))[:, None], ["log count"]


_COMPUTE: Mapping[str, Callable[[FloatArray, BagData], tuple[FloatArray, list[str]]]] = {
    "mean": _by_feature("mean", _mean),
    "min": _by_feature("min", _min),
    "max": _by_feature("max", _max),
    "sd": _by_feature("sd", _sd),
    "quantiles": _quantiles,
    "covariance": _covariance,
    "boltzmann": _by_feature("boltzmann", _boltzmann),
    "count": _count,
}
