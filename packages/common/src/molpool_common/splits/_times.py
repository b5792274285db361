"""A column of times as numbers that rise with time: numbers, dates, or numbered identifiers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from itertools import product
from typing import Any

import numpy as np

from molpool_common._arrays import FloatArray
from molpool_common._errors import InputError, listed
from molpool_common.splits._rows import Times

_DAYS = (
    *("%d.%m.%Y", "%d.%m.%y", "%d/%m/%Y", "%m/%d/%Y", "%d/%m/%y", "%m/%d/%y"),
    *("%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y.%m.%d", "%d-%b-%Y", "%d-%b-%y"),
    *("%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y"),
)
"""Dates as laboratories write them; with points the day is always first."""

_HOURS = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
_LOOKED_AT = 200
"""Distinct cells that tell which ways of writing dates are worth trying on all."""

_SHOWN = datetime(2024, 1, 31, 13, 45, tzinfo=UTC)
_NUMBERED = re.compile(r"(?P<series>.*?)(?P<number>\d+)\s*", re.DOTALL)


class TimesError(InputError):
    """A column of times cannot be read.

    Parameters
    ----------
    rows : sequence of int
        Those that do not fit, from 0.
    expected, found, hint : str
        As of `InputError`.
    """

    def __init__(
        self, rows: Sequence[int], *, expected: str, found: str, hint: str | None = None
    ) -> None:
        self.rows = list(rows)
        where = f"rows {listed(self.rows)}" if self.rows else None
        super().__init__("times", expected=expected, found=found, where=where, hint=hint)


def parse_times(values: Times) -> FloatArray:
    """Read a column of times as numbers that rise with time.

    The whole column is read one way, the first that any of its values fits: numbers; ISO 8601 dates
    or times (naive ones as UTC); dates as laboratories write them (``31.01.2024``, ``1/31/2024``,
    ``31-Jan-24``), where the column as a whole says which of day and month is first; identifiers of
    one series whose trailing number was counted up, such as `E-0001321`.

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
        Naming the rows that do not fit, or the two ways in which dates can be read.
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
    written = _written_dates(given)
    return _series_numbers(given) if written is None else written


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


def _written_dates(given: Sequence[object]) -> FloatArray | None:
    """Return the seconds of dates that are written in one way; None where there is no such date."""
    texts = [value.strip() if isinstance(value, str) else "" for value in given]
    distinct = list(dict.fromkeys(text for text in texts if text))
    head = distinct[:_LOOKED_AT]
    ways = [way for way in _ways() if sum(_seconds(text, way) is not None for text in head) > 0]
    if not ways:
        return None
    read = {way: {text: _seconds(text, way) for text in distinct} for way in ways}
    known = {way: sum(s is not None for s in read[way].values()) for way in ways}
    most = max(known.values())
    best = [way for way in ways if known[way] == most]
    if len(best) > 1 and read[best[0]] != read[best[1]]:
        raise _ambiguous(given, texts, read, best)
    seconds = [read[best[0]].get(text) for text in texts]
    return _all_read(seconds, given, f"a date as {_SHOWN.strftime(best[0])}, as in other rows")


def _ways() -> Iterator[str]:
    for hours, day in product(_HOURS, _DAYS):
        yield day + hours


def _seconds(text: str, way: str) -> float | None:
    try:
        return datetime.strptime(text, way).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _ambiguous(
    given: Sequence[object],
    texts: Sequence[str],
    read: dict[str, dict[str, float | None]],
    best: Sequence[str],
) -> TimesError:
    one, other = (read[way] for way in best[:2])
    row = next(i for i, text in enumerate(texts) if text and one[text] != other[text])

    def shown(seconds: float | None) -> str:
        return "no date" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"

    return TimesError(
        [row],
        expected="dates that can be read in one way",
        found=f"{given[row]!r}, {shown(one[texts[row]])} or {shown(other[texts[row]])}",
        hint="No row tells whether day or month is first: write them as 2024-01-31.",
    )


def _series_numbers(given: list[Any]) -> FloatArray:
    matches = [_NUMBERED.fullmatch(v) if isinstance(v, str) else None for v in given]
    numbers = [None if m is None else float(m["number"]) for m in matches]
    times = _all_read(numbers, given, "a number, a date or an id with a trailing number")
    series = sorted({m["series"].strip() for m in matches if m is not None})
    if len(series) > 1:
        raise TimesError(
            [],
            expected="identifiers of one series, or numbers, or dates",
            found=f"{len(series)} series: {listed([repr(s) for s in series], limit=3)}",
            hint="Numbers of different series say nothing about which came first.",
        )
    return times


def _all_read(read: list[float | None], given: Sequence[object], expected: str) -> FloatArray:
    wrong = [row for row, r in enumerate(read) if r is None]
    if wrong:
        raise TimesError(
            wrong, expected=expected, found=listed([repr(given[row]) for row in wrong], limit=3)
        )
    return np.array(read, dtype=np.float64)
