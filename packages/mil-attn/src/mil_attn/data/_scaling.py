"""Features and auxiliary targets to mean 0 and standard deviation 1, by the training fold alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from molpool_common import Float32Array, FloatArray, listed, write_text
from numpy.typing import NDArray

from mil_attn._errors import MILError
from mil_attn.data._bag_data import BagData

_BLOCK = 1 << 14
"""Rows that are in double precision at a time."""

_ROUNDING = {True: 1e-7, False: 1e-14}
"""Relative spread of equal values after rounding to single precision (half a unit: 6e-8)."""

_FORMAT = "mil_attn.FeatureScaler/1"


@dataclass(frozen=True, eq=False)
class ColumnScale:
    """Mean and standard deviation of columns over training rows.

    Parameters
    ----------
    names : tuple of str [F]
        Names of the columns.
    mean, scale : ndarray of float64 [F]
        Over the values that are there. Scale 0 stands for a column that is constant.
    """

    names: tuple[str, ...]
    mean: FloatArray
    scale: FloatArray

    @classmethod
    def fit(cls, values: NDArray[Any], names: Sequence[str]) -> Self:
        """Take mean and standard deviation of columns [R, F]; NaN does not count."""
        count = np.zeros(values.shape[1])
        total = np.zeros(values.shape[1])
        for block in _blocks(values):
            there = ~np.isnan(block)
            count += there.sum(axis=0)
            total += np.where(there, block, 0).sum(axis=0)
        mean = total / np.maximum(count, 1)
        # A second pass about the mean: Σx² - n·mean² cancels where a column's mean is large.
        squares = np.zeros(values.shape[1])
        for block in _blocks(values):
            squares += (np.where(np.isnan(block), 0, block - mean) ** 2).sum(axis=0)
        scale = np.sqrt(squares / np.maximum(count, 1))
        # Equal values differ by less than this: dividing by it would blow noise up.
        rounding = _ROUNDING[values.dtype == np.float32]
        return cls(tuple(names), mean, np.where(scale > rounding * np.abs(mean), scale, 0.0))

    def transform(self, values: NDArray[Any]) -> FloatArray:
        """Return (values - mean) / scale; 0 in columns that were constant."""
        inverse = np.divide(1.0, self.scale, out=np.zeros_like(self.scale), where=self.scale > 0)
        return (values - self.mean) * inverse

    def inverse(self, values: NDArray[Any]) -> FloatArray:
        """Return values · scale + mean: a column that was constant is its mean."""
        return values * self.scale + self.mean

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists that `from_dict` reads back exactly."""
        return {
            "names": list(self.names),
            "mean": self.mean.tolist(),
            "scale": self.scale.tolist(),
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """Return what `to_dict` wrote."""
        mean, scale = (np.array(state[key], dtype=np.float64) for key in ("mean", "scale"))
        return cls(tuple(state["names"]), mean, scale)


@dataclass(frozen=True, eq=False)
class FeatureScaler:
    """Scales of the features and auxiliary targets of a training fold.

    A column that is constant in training has nothing to teach: it becomes 0 everywhere, so that
    another value at prediction cannot reach weights that were never trained. An undefined feature
    (NaN) becomes 0, the training mean; a missing auxiliary target stays missing.

    Parameters
    ----------
    instances, x2d : ColumnScale or None
        Scales of the two kinds of features; every instance, every bag counts once.
    aux : mapping of str to ColumnScale
        Scales of auxiliary targets by group.
    """

    instances: ColumnScale | None
    x2d: ColumnScale | None
    aux: Mapping[str, ColumnScale]

    @classmethod
    def fit(cls, train: BagData) -> Self:
        """Return the scales of training bags.

        Raises
        ------
        MILError
            If there is no bag.
        """
        if not len(train):
            raise MILError("training bags: expected at least one; found none.")
        three_d, two_d = train.instances, train.x2d
        return cls(
            None if three_d is None else ColumnScale.fit(three_d, train.feature_names_3d),
            None if two_d is None else ColumnScale.fit(two_d, train.feature_names_2d),
            {key: ColumnScale.fit(y, train.aux_names[key]) for key, y in train.aux.items()},
        )

    def transform(self, data: BagData) -> BagData:
        """Return the same bags with scaled features and auxiliary targets.

        Raises
        ------
        MILError
            If the features or auxiliary targets are not those that were scaled in training, by
            name and order.
        """
        _check_names("3D features", self.instances, data.instances, data.feature_names_3d)
        _check_names("2D features", self.x2d, data.x2d, data.feature_names_2d)
        aux = {}
        for key, values in data.aux.items():
            _check_names(
                f"auxiliary targets {key!r}", self.aux.get(key), values, data.aux_names[key]
            )
            aux[key] = self.aux[key].transform(values)
        return data.replace(
            instances=_features(self.instances, data.instances),
            x2d=_features(self.x2d, data.x2d),
            aux=aux,
            undefined_ok=False,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, names of the features among them, that `from_dict` reads back."""
        return {
            "format": _FORMAT,
            "instances": None if self.instances is None else self.instances.to_dict(),
            "x2d": None if self.x2d is None else self.x2d.to_dict(),
            "aux": {key: scale.to_dict() for key, scale in self.aux.items()},
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """Return what `to_dict` wrote.

        Raises
        ------
        MILError
            If it is something else.
        """
        if not isinstance(state, Mapping) or state.get("format") != _FORMAT:
            found = state.get("format") if isinstance(state, Mapping) else type(state).__name__
            raise MILError(f"scaler: expected format {_FORMAT!r}; found {found!r}.")
        features = [
            None if state[key] is None else ColumnScale.from_dict(state[key])
            for key in ("instances", "x2d")
        ]
        aux = {key: ColumnScale.from_dict(scale) for key, scale in state["aux"].items()}
        return cls(features[0], features[1], aux)

    def save(self, path: str | Path) -> None:
        """Write the scales to a JSON file."""
        write_text(Path(path), json.dumps(self.to_dict()) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read the scales that `save` wrote.

        Raises
        ------
        MILError
            If the file is missing or holds something else.
        """
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError) as error:
            if isinstance(error, MILError):
                raise
            raise MILError(
                f"scaler {str(path)!r}: expected a file that FeatureScaler.save wrote; "
                f"found {error}."
            ) from None


def _blocks(values: NDArray[Any]) -> Iterator[FloatArray]:
    for start in range(0, len(values), _BLOCK):
        # float64 per block: sums over millions of float32 instances lose digits, a full copy the
        # memory.
        yield values[start : start + _BLOCK].astype(np.float64)


def _features(scale: ColumnScale | None, values: Float32Array | None) -> Float32Array | None:
    if scale is None or values is None:
        return None
    scaled = np.empty_like(values)
    for start in range(0, len(values), _BLOCK):
        block = scale.transform(values[start : start + _BLOCK])
        # 0 is the training mean in scaled units: an undefined feature is imputed by it.
        scaled[start : start + _BLOCK] = np.where(np.isnan(block), 0.0, block)
    return scaled


def _check_names(
    what: str, scale: ColumnScale | None, values: object, names: Sequence[str]
) -> None:
    expected = () if scale is None else scale.names
    found = () if values is None else tuple(names)
    if (scale is None) == (values is None) and expected == found:
        return
    if scale is None or values is None:
        raise MILError(
            f"{what}: expected {'none' if scale is None else f'the {len(expected)} of training'}; "
            f"found {len(found) or 'none'}."
        )
    raise MILError(
        f"{what}: expected the {len(expected)} of training; found {_difference(expected, found)}."
    )


def _difference(expected: Sequence[str], found: Sequence[str]) -> str:
    lacking = [n for n in expected if n not in set(found)]
    more = [n for n in found if n not in set(expected)]
    if not lacking and not more:
        i = next(i for i, name in enumerate(expected) if name != found[i])
        return f"another order, {found[i]!r} for {expected[i]!r} in column {i + 1}"
    lacks = f"no {listed([repr(n) for n in lacking], 3)}" if lacking else ""
    others = f"{listed([repr(n) for n in more], 3)} that training had not" if more else ""
    return f"{' but '.join(filter(None, (lacks, others)))} ({len(found)} columns)"
