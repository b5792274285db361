"""Quality labels of rows: read into codes, and weighed by the phase of a curriculum."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
from molpool_common import FloatArray, IntArray, did_you_mean, listed
from numpy.typing import NDArray

from sampling_core._cells import Codes, WeightStatistics, statistics_of_weights
from sampling_core._curriculum import PHASES, CurriculumState
from sampling_core._errors import SamplingError
from sampling_core._targets import count_codes, row_chunks

_MISSING = -1
_UNKNOWN = -2


def encode_quality(labels: Any, qualities: Sequence[str]) -> Codes:
    """Return for each row the number of its label in `qualities`.

    Parameters
    ----------
    labels : sequence of str, ndarray, pandas or polars column, (N,)
        Text, a categorical of it, or integers that number `qualities`. Categoricals and integers
        are read without touching a string for each row.
    qualities : sequence of str
        The valid labels.

    Returns
    -------
    ndarray of int8 or int16, (N,)

    Raises
    ------
    SamplingError
        If a label is missing (None, NaN, empty, a negative code) or not in `qualities`.
    """
    dtype = np.min_scalar_type(-max(len(qualities), 2))
    number = {label: i for i, label in enumerate(qualities)}
    # Recognised by what they offer, so that neither pandas nor polars need be installed.
    if hasattr(labels, "to_physical") and hasattr(labels.dtype, "categories"):
        encoded = _encode_polars(labels, number, dtype)
    elif hasattr(getattr(labels, "dtype", None), "categories"):
        encoded = _encode_pandas(labels, number, dtype)
    else:
        array = labels.to_numpy() if hasattr(labels, "to_numpy") else labels
        integers = isinstance(array, np.ndarray) and array.dtype.kind in "iu"
        encoded = (_encode_numbers if integers else _encode_text)(array, number, dtype)
    _refuse_missing(encoded)
    _refuse_unknown(encoded, labels, qualities)
    return encoded


def check_length(labels: Any, n_rows: int) -> None:
    """Refuse labels of another number than that of rows."""
    if len(labels) != n_rows:
        raise SamplingError(f"quality_labels: expected {n_rows}, one per row, found {len(labels)}")


def _encode_polars(labels: Any, number: dict[str, int], dtype: np.dtype[Any]) -> Codes:
    distinct = labels.drop_nulls().unique()
    physical = distinct.to_physical().to_list()
    translation = np.full(max(physical, default=-1) + 2, _MISSING, dtype=dtype)
    translation[physical] = [_code(number, name) for name in distinct.to_list()]
    encoded = np.empty(len(labels), dtype=dtype)
    for rows in row_chunks(len(labels)):
        # The last entry of the translation, which no label has, is that of a null.
        codes = labels[rows].to_physical().cast(int).fill_null(-1).to_numpy()
        encoded[rows] = translation[codes]
    return encoded


def _encode_pandas(labels: Any, number: dict[str, int], dtype: np.dtype[Any]) -> Codes:
    categorical = getattr(labels, "cat", labels)
    codes = np.asarray(categorical.codes)
    # The last entry is that of code -1, as which pandas writes a missing value.
    translation = np.array(
        [_code(number, name) for name in categorical.categories] + [_MISSING], dtype=dtype
    )
    encoded = np.empty(len(codes), dtype=dtype)
    for rows in row_chunks(len(codes)):
        encoded[rows] = translation[codes[rows]]
    return encoded


def _encode_numbers(
    codes: NDArray[np.integer], number: dict[str, int], dtype: np.dtype[Any]
) -> Codes:
    encoded = np.empty(len(codes), dtype=dtype)
    for rows in row_chunks(len(codes)):
        chunk = codes[rows]
        known = np.where(chunk < len(number), chunk, _UNKNOWN)
        encoded[rows] = np.where(chunk < 0, _MISSING, known)
    return encoded


def _encode_text(labels: Any, number: dict[str, int], dtype: np.dtype[Any]) -> Codes:
    codes = map(_LabelCodes(number).__getitem__, _plain(labels))
    return np.fromiter(codes, dtype=dtype, count=len(labels))


def _plain(labels: Any) -> Iterator[Any]:
    """Return an iterator of plain Python objects, which arrays hand out many at a time."""
    if not isinstance(labels, np.ndarray):
        return iter(labels)
    return chain.from_iterable(labels[rows].tolist() for rows in row_chunks(len(labels)))


class _LabelCodes(dict[Any, int]):
    """Code of each label; one that is not among them is missing or unknown."""

    def __missing__(self, label: object) -> int:
        return _code(self, label)


def _code(number: dict[str, int], label: Any) -> int:
    # NaN differs from itself; pandas' NA is known by its type, as it compares to nothing.
    if label is None or type(label).__name__ == "NAType" or label == "" or label != label:
        return _MISSING
    return number.get(label, _UNKNOWN)


def _refuse_missing(encoded: Codes) -> None:
    rows = np.flatnonzero(encoded == _MISSING)
    if len(rows):
        raise SamplingError(
            f"quality_labels: expected a label for every row, found none in {len(rows)} rows:"
            f" {listed(rows.tolist())}"
        )


def _refuse_unknown(encoded: Codes, labels: Any, qualities: Sequence[str]) -> None:
    rows = np.flatnonzero(encoded == _UNKNOWN)
    if len(rows):
        at = operator.attrgetter("iloc")(labels) if hasattr(labels, "iloc") else labels
        label = at[int(rows[0])]
        raise SamplingError(
            f"quality_labels: unknown label {str(label)!r} in row {rows[0]}; rows with an"
            f" unknown label: {len(rows)} ({listed(rows.tolist())})."
            f" {did_you_mean(str(label), qualities)}"
        )


def phase_vector(state: CurriculumState, phase: str, counts: IntArray) -> FloatArray:
    """Return the weight of one row of each quality in a phase (Q,).

    Parameters
    ----------
    counts : ndarray of int64, (Q,)
        Drawable rows of each quality; a count-normalised share is divided by them, and is 0 where
        there are none.
    """
    weights = state.weights(phase)
    vector = np.array([weights[label] for label in state.qualities])
    if not state.count_normalize:
        return vector
    share: FloatArray = np.zeros_like(vector)
    np.divide(vector, counts, out=share, where=counts > 0)
    return share


def refuse_empty_phases(state: CurriculumState, counts: IntArray) -> None:
    """Refuse data that the current phase, or one after it, gives no weight at all.

    A later phase counts too: it would stop the training hours later.

    Raises
    ------
    SamplingError
        Naming the phase, its weights and the qualities present.
    """
    present = {q: int(n) for q, n in zip(state.qualities, counts, strict=True) if n}
    for phase in PHASES[state.phase_index :]:
        weights = state.weights(phase)
        if not any(weights[label] > 0 for label in present):
            raise SamplingError(
                f"curriculum: phase {phase!r} gives every row weight 0: its weights are {weights},"
                f" the drawable rows by quality {present}"
            )


class QualityWeights:
    """Loss weight of each row for the strategy `weighted`: that of its quality in the phase of now.

    Rows are then drawn without regard to their quality.

    Parameters
    ----------
    labels : sequence of str or column, (N,)
        Quality labels, as for the samplers.
    state : CurriculumState
        Read anew at each access. With `count_normalize` a weight is the quality's share over its
        fraction of the rows, so that the mean over all rows is 1.

    Raises
    ------
    SamplingError
        If a label is missing or unknown, or a phase gives every row weight 0.
    """

    def __init__(self, labels: Any, state: CurriculumState) -> None:
        self._state = state
        self._codes = encode_quality(labels, state.qualities)
        self._counts = count_codes(self._codes, len(state.qualities))
        refuse_empty_phases(state, self._counts)
        by_phase = {phase: phase_vector(state, phase, self._counts) for phase in PHASES}
        scale = len(self._codes) if state.count_normalize else 1.0
        self._by_phase = {phase: (scale * v).tolist() for phase, v in by_phase.items()}

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._codes)

    def by_quality(self) -> dict[str, float]:
        """Return the weight of a row of each quality in the current phase."""
        weights = self._by_phase[self._state.phase]
        return dict(zip(self._state.qualities, weights, strict=True))

    def statistics(self) -> WeightStatistics:
        """Return what the weights do to the loss, as samplers do of what they draw.

        Of rows in proportion to their weight: effective samples are (Σw)²/Σw².
        """
        weights = np.array(self._by_phase[self._state.phase])
        return statistics_of_weights(weights, self._counts)

    def __getitem__(self, row: int) -> float:
        """Return the weight of a row in the current phase."""
        return float(self._by_phase[self._state.phase][self._codes[row]])
