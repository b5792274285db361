"""Retention times that can hardly be any: 0 or below, or over a day."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl
from molpool_common import listed

DAY = {"min": 1_440.0, "s": 86_400.0}
"""A day in the units that retention times have."""

LONG_RUN = 180.0
"""Minutes that few gradients take: where half the times are above, they are taken for seconds."""

MOST_LISTED = 20
"""Rows that are remembered, the first."""


@dataclass
class OddTimes:
    """Counts them, chunk by chunk.

    Attributes
    ----------
    n, n_late : int
        Times seen, and those above `LONG_RUN`.
    counts : dict of str to int
        Times of 0 or below, and over a day in minutes or in seconds.
    rows : dict of str to list of int
        The first rows of each.
    """

    n: int = 0
    n_late: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    rows: dict[str, list[int]] = field(default_factory=dict)

    def add(self, times: pl.Series, rows: pl.Series) -> None:
        """Count times, which have numbers of rows."""
        values = times.cast(pl.Float64, strict=False)
        self.n += len(values)
        self.n_late += int((values > LONG_RUN).sum())
        odd = {"low": values <= 0} | {unit: values > day for unit, day in DAY.items()}
        for name, mask in odd.items():
            places = mask.fill_null(value=False).arg_true()
            if len(places):
                self.counts[name] = self.counts.get(name, 0) + len(places)
                known = self.rows.setdefault(name, [])
                known += rows.gather(places.head(MOST_LISTED - len(known))).to_list()

    def notes(self) -> list[str]:
        """Return what the user should know, if anything."""
        unit = "s" if self.n_late > self.n / 2 else "min"
        said = {
            "low": "of 0 or below: peaks that were not found?",
            unit: f"of over a day ({DAY[unit]:,.0f} {unit}): another unit, or a slip?",
        }
        return [
            f"{self.counts[name]:,} retention times {what} They are used as they are (rows"
            f" {listed(self.rows[name])})."
            for name, what in said.items()
            if name in self.counts
        ]
