"""Bags as a kernel model sees them: scaled, and as sets of their instances or of one row each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

import numpy as np
from molpool_common import FloatArray, did_you_mean
from numpy.typing import NDArray

from mil_attn._errors import MILError
from mil_attn.data._bag_data import BagData
from mil_attn.data._molecule_features import boltzmann_weights
from mil_attn.data._scaling import ColumnScale, FeatureScaler
from mil_attn.sets._set_kernels import (
    Sets,
    bag_distances,
    clique_weights,
    mmd_squared,
    set_kernels,
)
from mil_attn.sets._statistics import StatisticName, bag_statistics

BagKernelName = Literal[
    "statistics", "set", "boltzmann", "mi_graph", "mean_map", "mean_min", "hausdorff"
]
BAG_KERNELS: tuple[BagKernelName, ...] = get_args(BagKernelName)

_STATISTICS: tuple[StatisticName, ...] = ("min", "max")
"""Those of Gärtner's minimax kernel; means beside them were no better on MUSK1 or Tiger."""

_MOST_PROTOTYPES = 500
"""Training bags whose distances stand for a bag."""

_PAIRS = 4096
"""Random pairs whose median distance is a kernel's unit of length."""


@dataclass(frozen=True, eq=False)
class Views:
    """N bags: as sets, and their own features as sets of one; either may be missing."""

    sets: Sets | None
    bags: Sets | None

    def take(self, rows: NDArray[Any]) -> Views:
        """Return the bags at these positions."""
        at = np.arange(len(self))[rows]
        return Views(*(None if s is None else s.take(at) for s in (self.sets, self.bags)))

    def bounded(self, limit: float | None) -> Views:
        """Return the same bags with values drawn in; None: as they are."""
        if limit is None:
            return self
        return Views(*(None if s is None else s.bounded(limit) for s in (self.sets, self.bags)))

    def __len__(self) -> int:
        known = self.sets if self.sets is not None else self.bags
        assert known is not None
        return len(known)


@dataclass(frozen=True, eq=False)
class Representation:
    """How bags become sets of vectors, learnt from training bags.

    Parameters
    ----------
    kernel : str
        Which kernel it is for.
    scaler : FeatureScaler
        Of instances and bags.
    prototypes : Sets or None
        Training bags, whose distances are the vectors of the kernels on distances.
    columns : ColumnScale or None
        Of vectors of whole bags.
    limit : float or None
        Standard deviations that a value approaches at most, so that no one value makes a bag
        unlike all others; None for values as they are.
    """

    kernel: BagKernelName
    scaler: FeatureScaler
    prototypes: Sets | None
    columns: ColumnScale | None
    limit: float | None = None

    @classmethod
    def fit(cls, kernel: BagKernelName, train: BagData, seed: int = 0) -> Self:
        """Learn scales and take prototypes.

        Raises
        ------
        MILError
            If the kernel is unknown, or ``boltzmann`` has no energies.
        """
        if kernel not in BAG_KERNELS:
            raise MILError(f"kernel: found {kernel!r}. {did_you_mean(kernel, BAG_KERNELS)}")
        plain = cls(kernel, FeatureScaler.fit(train), None, None)
        if train.instances is None:
            return plain
        prototypes = None
        if kernel in ("mean_min", "hausdorff"):
            n = min(len(train), _MOST_PROTOTYPES)
            picked = np.sort(np.random.default_rng(seed).permutation(len(train))[:n])
            prototypes = plain._instances(plain.scaler.transform(train)).take(picked)
        found = cls(kernel, plain.scaler, prototypes, None)
        vectors = found._vectors(plain.scaler.transform(train))
        if vectors is None:
            return found
        names = [f"{kernel} {i + 1}" for i in range(vectors.shape[1])]
        return cls(kernel, plain.scaler, prototypes, ColumnScale.fit(vectors, names))

    def __call__(self, data: BagData) -> Views:
        """Return bags as sets.

        Raises
        ------
        MILError
            If the features are not those of training.
        """
        scaled = self.scaler.transform(data)
        bags = None if scaled.x2d is None else Sets.single(scaled.x2d.astype(np.float64))
        vectors, sets = self._vectors(scaled), None
        if vectors is not None and self.columns is not None:
            sets = Sets.single(self.columns.transform(vectors))
        elif scaled.instances is not None:
            sets = self._instances(scaled)
        return Views(sets, bags).bounded(self.limit)

    def _vectors(self, scaled: BagData) -> FloatArray | None:
        """Return a row for each bag, of kernels that see whole bags."""
        if scaled.instances is None:
            return None
        if self.kernel == "statistics":
            values, _ = bag_statistics(scaled.replace(x2d=None, feature_names_2d=()), _STATISTICS)
            return values.astype(np.float64)
        if self.prototypes is None:
            return None
        kind: Any = self.kernel
        return bag_distances(self._instances(scaled), self.prototypes, kind=kind)

    def _instances(self, scaled: BagData) -> Sets:
        assert scaled.instances is not None
        weights = None
        if self.kernel == "boltzmann":
            if scaled.energies is None:
                raise MILError("boltzmann: expected energies of the instances; found none.")
            weights = boltzmann_weights(scaled.energies, scaled.bounds)
        sets = Sets(scaled.instances.astype(np.float64), scaled.bounds, weights)
        return clique_weights(sets) if self.kernel == "mi_graph" else sets

    def to_arrays(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return plain values, and arrays, that `from_arrays` reads back."""
        plain = {
            "kernel": self.kernel,
            "scaler": self.scaler.to_dict(),
            "columns": None if self.columns is None else self.columns.to_dict(),
            "limit": self.limit,
        }
        return plain, {} if self.prototypes is None else _arrays("prototypes", self.prototypes)

    @classmethod
    def from_arrays(cls, plain: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Return what `to_arrays` gave."""
        columns = plain["columns"]
        return cls(
            plain["kernel"],
            FeatureScaler.from_dict(plain["scaler"]),
            _sets("prototypes", arrays),
            None if columns is None else ColumnScale.from_dict(columns),
            plain.get("limit"),
        )


@dataclass(frozen=True)
class Similarity:
    """A kernel of bags of given units of length.

    Parameters
    ----------
    of_distance : bool
        Whether it is a Gaussian of the maximum mean discrepancy.
    units : tuple of float, length 3
        Median squared distances: of members of the sets, of the bags' own features, and between
        sets by their discrepancy.
    """

    of_distance: bool
    units: tuple[float, float, float]

    @classmethod
    def fit(cls, kernel: BagKernelName, train: Views, seed: int = 0) -> Self:
        """Return the kernel with units of the training bags."""
        members, bags = (_unit(sets, seed) for sets in (train.sets, train.bags))
        between = 1.0
        if kernel == "mean_map" and train.sets is not None:
            some = np.random.default_rng(seed).permutation(len(train))[:256]
            apart = mmd_squared(train.sets.take(some), gamma=1 / members)
            between = _median(apart)
        return cls(kernel == "mean_map", (members, bags, between))

    def path(self, views: Views, width: float, n: int) -> FloatArray:
        """Return similarities of bags with one another at `width`, 2 `width`, ... [n, N, N]."""
        return self._at(views, None, width, n)

    def __call__(self, a: Views, b: Views, width: float) -> FloatArray:
        """Return similarities [N, L] at `width`, in the units' inverse.

        The mean of those of the sets and of the bags' own features, where there are both.
        """
        return np.asarray(self._at(a, b, width, 1)[0])

    def _at(self, a: Views, b: Views | None, width: float, n: int) -> FloatArray:
        members, bags, between = self.units
        found = []
        if a.sets is not None:
            other = None if b is None else b.sets
            if self.of_distance:
                apart = mmd_squared(a.sets, other, gamma=1 / members)
                widths = width * 2.0 ** np.arange(n)
                found.append(np.exp(-widths[:, None, None] / between * apart))
            else:
                found.append(set_kernels(a.sets, other, gamma=width / members, n=n))
        if a.bags is not None:
            other = None if b is None else b.bags
            found.append(set_kernels(a.bags, other, gamma=width / bags, n=n))
        return np.asarray(np.mean(found, axis=0))


def _unit(sets: Sets | None, seed: int) -> float:
    if sets is None:
        return 1.0
    i, j = np.random.default_rng(seed).integers(len(sets.instances), size=(2, _PAIRS))
    return _median(((sets.instances[i] - sets.instances[j]) ** 2).sum(axis=1))


def _median(values: FloatArray) -> float:
    apart = values[values > 0]
    return float(np.median(apart)) if apart.size else 1.0


def _arrays(name: str, sets: Sets) -> dict[str, NDArray[Any]]:
    return {
        f"{name}.instances": sets.instances,
        f"{name}.offsets": sets.offsets,
        f"{name}.weights": sets.member_weights,
    }


def _sets(name: str, arrays: Mapping[str, NDArray[Any]]) -> Sets | None:
    if f"{name}.offsets" not in arrays:
        return None
    return Sets(*(arrays[f"{name}.{part}"] for part in ("instances", "offsets", "weights")))


def views_to_arrays(views: Views) -> dict[str, NDArray[Any]]:
    """Return the arrays of bags, which `views_from_arrays` reads back."""
    found: dict[str, NDArray[Any]] = {}
    for name, sets in (("sets", views.sets), ("bags", views.bags)):
        found |= {} if sets is None else _arrays(name, sets)
    return found


def views_from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Views:
    """Return what `views_to_arrays` gave."""
    return Views(_sets("sets", arrays), _sets("bags", arrays))
