"""Time split: the latest molecules are tested on, as a model in use is.

A molecule has the earliest time of its rows. Molecules of one time stay together, so that each
split is strictly later than the one before it.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime
from typing import Any

import numpy as np

from molpool_common._arrays import FloatArray
from molpool_common.errors import InputError, listed
from molpool_common.splits._fill import cut
from molpool_common.splits._rows import Assign, Rows, Shares, Times
from molpool_common.splits._split import Indices

_NUMBERED = re.compile(r"(?P<series>.*?)(?P<number>\d+)\s*", re.DOTALL)


def prepare_time(rows: Rows) -> Assign:
    """Return the assignment of molecules by time."""
    earliest = np.full(len(rows.size), np.inf)
    np.minimum.at(earliest, rows.molecule, parse_times(rows.need_times()))

    def assign(members: Indices, shares: Shares, rng: np.random.Generator) -> Indices:
        del rng  # nothing here is random
        times, moment = np.unique(earliest[members], return_inverse=True)
        if len(times) < len(shares):
            raise InputError(
                "times",
                expected=f"at least {len(shares)} distinct times, one per split",
                found=str(len(times)),
            )
        size = np.bincount(moment, weights=rows.size[members]).astype(np.int64)
        return cut(size, shares)[moment]

    return assign


def parse_times(values: Times) -> FloatArray:
    """Read a column of times as numbers that rise with time.

    The whole column is read one way, the first that any of its values fits: numbers; ISO 8601 dates
    or times (naive ones as UTC); identifiers of one series whose trailing number was counted up,
    such as `E-0001321`.

    Parameters
    ----------
    values : sequence, length N
        Numbers, text, `date`, `datetime` or `numpy.datetime64`.

    Returns
    -------
    ndarray [N]
        The number itself, seconds since 1970, or the trailing number.

    Raises
    ------
    InputError
        Naming the rows that do not fit.
    """
    if isinstance(values, np.ndarray) and np.issubdtype(values.dtype, np.datetime64):
        # Finer units come out of tolist() as bare integers.
        values = values.astype("datetime64[us]")
    given = values.tolist() if isinstance(values, np.ndarray) else list(values)
    for reader, meaning in (
        (_number, "a finite number, as in other rows"),
        (_moment, "an ISO 8601 date or time, as in other rows"),
    ):
        read = [reader(value) for value in given]
        if any(r is not None for r in read):
            return _all_read(read, given, meaning)
    return _series_numbers(given)


def _number(value: object) -> float | None:
    if isinstance(value, bool | date):
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _moment(value: object) -> float | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if not isinstance(value, datetime):
        return None
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()


def _series_numbers(given: list[Any]) -> FloatArray:
    matches = [_NUMBERED.fullmatch(v) if isinstance(v, str) else None for v in given]
    numbers = [None if m is None else float(m["number"]) for m in matches]
    times = _all_read(numbers, given, "a number, an ISO 8601 date or an id with a trailing number")
    series = sorted({m["series"].strip() for m in matches if m is not None})
    if len(series) > 1:
        raise InputError(
            "times",
            expected="identifiers of one series, or numbers, or dates",
            found=f"{len(series)} series: {listed([repr(s) for s in series], limit=3)}",
            hint="Numbers of different series say nothing about which came first.",
        )
    return times


def _all_read(read: list[float | None], given: list[Any], expected: str) -> FloatArray:
    wrong = [row for row, r in enumerate(read) if r is None]
    if wrong:
        raise InputError(
            "times",
            expected=expected,
            found=listed([repr(given[row]) for row in wrong], limit=3),
            where=f"rows {listed(wrong)}",
        )
    return np.array(read, dtype=np.float64)
