"""Features on one scale for networks and kernels, block by block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from molpool_common import BoolArray, Float32Array, FloatArray
from numpy.typing import NDArray

from molecule_features._errors import FeatureError
from molecule_features._featurizer import KINDS, Block

_FORMAT = 1
_CONSTANT = 1e-6
"""A column whose spread is less than this part of its size holds rounding errors."""


class FeatureScaler:
    """Scale blocks of features as their kinds ask for; molecules and models play no part.

    Counts become log(1 + count), bits stay, and columns of descriptors and embeddings become
    z-scores, bent by ``clip · tanh(z / clip)``, so that one odd molecule moves nothing by more than
    `clip`. Then each block is multiplied by 1/sqrt(width / 256): without it 2 048 counts drown 200
    descriptors. Columns that are constant in training, or never defined, become 0, whatever they
    hold later. NaN becomes the column's mean. A row of nothing but NaN, a molecule without
    features, stays so.

    Parameters
    ----------
    clip : float
        In standard deviations; ``inf`` leaves z-scores as they are.
    reference_width : float
        Width of a block that is not multiplied.

    Attributes
    ----------
    blocks : tuple of Block
        Those of `fit`.
    centre, spread : ndarray of float64 [F]
        Mean of each column, after the logarithm, and what it is divided by; 1 where nothing is.
    constant : ndarray of bool [F]
        Columns that become 0.
    imputed : ndarray of int64 [F]
        How many NaN each column had in training, in rows that are not all NaN.
    """

    blocks: tuple[Block, ...]
    centre: FloatArray
    spread: FloatArray
    constant: BoolArray
    imputed: NDArray[np.int64]

    def __init__(self, clip: float = 3.0, reference_width: float = 256.0) -> None:
        for name, value in (("clip", clip), ("reference_width", reference_width)):
            if not value > 0:
                raise FeatureError(f"{name}: expected a positive number; found {value}")
        self.clip = float(clip)
        self.reference_width = float(reference_width)

    def fit(self, values: Float32Array, blocks: Sequence[Block]) -> FeatureScaler:
        """Learn means and spreads of the columns.

        Parameters
        ----------
        values : ndarray [N, F]
            As in `Features.values`.
        blocks : sequence of Block
            As in `Features.blocks`.

        Raises
        ------
        FeatureError
            If blocks and columns do not agree, or no row has features.
        """
        values = np.asarray(values)
        _check_blocks(values, blocks)
        values = values[~np.isnan(values).all(axis=1)]
        if not len(values):
            raise FeatureError("values: expected molecules with features; found none")
        self.blocks = tuple(blocks)
        width = values.shape[1]
        self.centre, self.spread = np.zeros(width), np.ones(width)
        self.constant = np.zeros(width, dtype=np.bool_)
        self.imputed = np.isnan(values).sum(axis=0)
        for block in self.blocks:
            self._fit_block(block, values[:, block.columns])
        return self

    def _fit_block(self, block: Block, values: NDArray[Any]) -> None:
        columns = _levelled(values, block)
        known = ~np.isnan(columns)
        n = np.maximum(known.sum(axis=0), 1)
        columns = np.where(known, columns, 0)
        mean = columns.sum(axis=0) / n
        columns -= mean
        columns[~known] = 0
        spread = np.sqrt(np.square(columns).sum(axis=0) / n)
        self.centre[block.columns] = mean
        # Largest deviations rather than the spread: one molecule in 10 000 that differs counts.
        largest = np.abs(columns).max(axis=0)
        constant = largest <= _CONSTANT * np.maximum(np.abs(mean), np.finfo(np.float32).tiny)
        self.constant[block.columns] = constant
        if block.kind in ("descriptor", "embedding"):
            self.spread[block.columns] = np.where(constant, 1, spread)

    def transform(self, values: Float32Array) -> Float32Array:
        """Return the scaled features, float32 [N, F]; the input stays as it is."""
        if not hasattr(self, "blocks"):
            raise FeatureError("FeatureScaler: expected `fit` before `transform`; found neither")
        values = np.asarray(values)
        _check_blocks(values, self.blocks)
        scaled = np.empty(values.shape, dtype=np.float32)
        for block in self.blocks:
            at = block.columns
            columns = _levelled(values[:, at], block)
            columns = np.where(np.isnan(columns), self.centre[at], columns)
            if block.kind in ("descriptor", "embedding"):
                columns = self._bent((columns - self.centre[at]) / self.spread[at])
            columns[:, self.constant[at]] = 0
            scaled[:, at] = columns / np.sqrt(block.width / self.reference_width)
        scaled[np.isnan(values).all(axis=1)] = np.nan
        return scaled

    def _bent(self, z: FloatArray) -> FloatArray:
        return self.clip * np.tanh(z / self.clip) if np.isfinite(self.clip) else z

    def fit_transform(self, values: Float32Array, blocks: Sequence[Block]) -> Float32Array:
        """Return the scaled features of those that it learns from."""
        return self.fit(values, blocks).transform(values)

    def __str__(self) -> str:
        n = len(self.constant)
        gaps = int(np.count_nonzero(self.imputed))
        return (
            f"{n} features in {len(self.blocks)} blocks: {int(self.constant.sum())} constant, set "
            f"to 0; {gaps} with undefined values, {int(self.imputed.sum())} in all, set to the mean"
        )

    def state(self) -> dict[str, NDArray[Any]]:
        """Return all that was learnt as plain arrays, for an npz file without pickle."""
        return {
            "format": np.array(_FORMAT),
            "settings": np.array([self.clip, self.reference_width]),
            "centre": self.centre,
            "spread": self.spread,
            "constant": self.constant,
            "imputed": self.imputed,
            "block_names": np.array([b.name for b in self.blocks], dtype=np.str_),
            "block_kinds": np.array([b.kind for b in self.blocks], dtype=np.str_),
            "block_versions": np.array([b.version for b in self.blocks], dtype=np.str_),
            "block_stops": np.array([b.stop for b in self.blocks], dtype=np.int64),
            "block_trained_on": np.array(
                ["".join(f"{t}\n" for t in b.trained_on) for b in self.blocks], dtype=np.str_
            ),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, NDArray[Any]]) -> FeatureScaler:
        """Return the scaler whose `state` this is.

        Raises
        ------
        FeatureError
            If something is missing, or of another format.
        """
        lacking = {"format", "settings", "centre", "block_trained_on"} - set(state)
        if lacking or int(state["format"]) != _FORMAT:
            found = f"none of {', '.join(sorted(lacking))}" if lacking else int(state["format"])
            raise FeatureError(f"state: expected a scaler of format {_FORMAT}; found {found}")
        scaler = cls(*map(float, state["settings"]))
        stops = [int(stop) for stop in state["block_stops"]]
        names, kinds = state["block_names"].tolist(), state["block_kinds"].tolist()
        versions, seen = state["block_versions"].tolist(), state["block_trained_on"].tolist()
        scaler.blocks = tuple(
            Block(names[i], start, stop, kinds[i], versions[i], tuple(seen[i].split("\n")[:-1]))
            for i, (start, stop) in enumerate(zip([0, *stops[:-1]], stops, strict=True))
        )
        scaler.centre = np.array(state["centre"], dtype=np.float64)
        scaler.spread = np.array(state["spread"], dtype=np.float64)
        scaler.constant = np.array(state["constant"], dtype=np.bool_)
        scaler.imputed = np.array(state["imputed"], dtype=np.int64)
        return scaler


def _levelled(values: NDArray[Any], block: Block) -> FloatArray:
    """Return float64 columns, counts as log(1 + count)."""
    columns: FloatArray = values.astype(np.float64)
    return np.log1p(columns) if block.kind == "count" else columns


def _check_blocks(values: NDArray[Any], blocks: Sequence[Block]) -> None:
    if values.ndim != 2:
        raise FeatureError(f"values: expected an array [N, F]; found shape {values.shape}")
    unknown = [block.kind for block in blocks if block.kind not in KINDS]
    if unknown:
        raise FeatureError(f"blocks: expected kinds {', '.join(KINDS)}; found {unknown[0]!r}")
    ends = [0, *(block.stop for block in blocks)]
    if [block.start for block in blocks] != ends[:-1] or ends[-1] != values.shape[1]:
        raise FeatureError(
            f"values: expected {ends[-1]} columns, in blocks that follow one another; "
            f"found {values.shape[1]}"
        )
    if np.isinf(values).any():
        raise FeatureError("values: expected finite numbers or NaN; found infinity")
