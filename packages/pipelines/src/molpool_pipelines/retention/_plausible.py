"""What a table can hardly mean.

Times of 0 or of days, two units in one table, one name in two spellings, and readings of standards
far from those of the fit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches

import numpy as np
import polars as pl
from molpool_common import FloatArray, listed
from rt_ridge import Stage1CoeffSummaries, outside_range

DAY = {"min": 1_440.0, "s": 86_400.0}
"""A day in the units that retention times have."""

LONG_RUN = 180.0
"""Minutes that few gradients take: where half the times are above, they are taken for seconds."""

PER_MINUTE = (45.0, 80.0)
"""Ratios of the times of two runs by which one is taken for seconds, the other for minutes."""

RARE = 0.05
"""Share of a spelling's rows below which another that is nearly the same is taken for a slip."""

FAR = 3.0
"""Widths of the range of training readings beyond which a reading is hardly one of the standard."""

MOST_LISTED = 20
"""Rows that are remembered, the first."""

NEARLY = 0.83
"""Similarity of two names from which one is taken for a slip: plasma and plasam have .833."""

MOST_COMPARED = 200
"""Names of letters alone that are looked through for slips."""


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


def two_units(times: pl.Series, compounds: pl.Series, runs: pl.Series) -> list[str]:
    """Return what is said where some runs have about 60 times the times of the others.

    Parameters
    ----------
    times, compounds, runs : Series, [N]
        The retention time of each row, and what it is of.
    """
    rows = pl.DataFrame({"time": times, "compound": compounds, "run": runs}).drop_nulls()
    log = pl.col("time").log()
    # Compound by compound, so that runs of other compounds are no slower for that.
    rows = rows.filter(pl.col("time") > 0).with_columns(
        log=log - log.median().over("compound"), n=pl.col("run").n_unique().over("compound")
    )
    rows = rows.filter(pl.col("n") > 1)
    of_runs = rows.group_by("run").agg(pl.col("log").median()).sort("log", "run")
    if of_runs.height < 2:
        return []
    logs, names = of_runs["log"].to_numpy(), of_runs["run"].cast(pl.String).to_list()
    cut = int(np.argmax(np.diff(logs))) + 1
    ratio = float(np.exp(np.median(logs[cut:]) - np.median(logs[:cut])))
    if not PER_MINUTE[0] <= ratio <= PER_MINUTE[1]:
        return []
    return [
        f"Times of {len(names) - cut:,} of {len(names):,} runs ({listed(names[cut:], 3)}) are about"
        f" {ratio:.0f} times those of the same compounds in the others: seconds and minutes in one"
        " table? They are used as they are."
    ]


def alike_names(
    column: str, names: pl.Series, known: Iterable[str] | None = None, *, slips: bool = True
) -> list[str]:
    """Return what is said of names that differ in case, blanks and dashes alone, or by a slip.

    Parameters
    ----------
    column : str
        What the table calls the column.
    names : Series, [N]
        The name of each row, as text.
    known : iterable of str, optional
        Names of earlier tables; others are said to be new.
    slips : bool
        Whether slips of letters are looked for: not of compounds, which are alike by nature.
    """
    counts = dict(names.drop_nulls().value_counts(sort=True).iter_rows())
    earlier = None if known is None else dict.fromkeys(known)
    said = []
    if earlier is not None and (new := sorted(counts.keys() - earlier)):
        shown = listed([repr(n) for n in new], 5)
        said.append(
            f"column {column!r}: names that earlier tables do not have get ids of their own:"
            f" {shown}."
        )
    pairs = [*_twins(counts, earlier or {}), *(_slips(counts, earlier or {}) if slips else ())]
    if pairs:
        shown = listed([f"{n!r} ({counts[n]:,} rows) beside {o!r}" for n, o in pairs], 5)
        said.append(
            f"column {column!r}: {shown}: nearly the same, and taken for different ones. Where they"
            " are one, write them alike."
        )
    return said


def _twins(counts: dict[str, int], earlier: dict[str, None]) -> Iterator[tuple[str, str]]:
    """Yield names that differ in case or blanks from one of more rows, or of earlier tables."""
    common: dict[str, str] = {}
    for name in (*earlier, *counts):
        twin = common.setdefault(_bare(name), name)
        if twin != name and name not in earlier:
            yield name, twin


def _slips(counts: dict[str, int], earlier: dict[str, None]) -> Iterator[tuple[str, str]]:
    """Yield rare or new names with a usual one of nearly the same letters."""
    # Those with numbers are alike by nature, as plasma 1 and plasma 2.
    bare = {n: _bare(n) for n in (*earlier, *counts) if not any(c.isdigit() for c in n)}
    if len(bare) > MOST_COMPARED:
        return
    least = RARE * max(counts.values(), default=0)
    usual = {t: n for n, t in bare.items() if (n in earlier if earlier else counts[n] > least)}
    for name, text in bare.items():
        # One that is there differs in case or blanks alone.
        close = [] if text in usual else get_close_matches(text, usual, 1, NEARLY)
        if close:
            yield name, usual[close[0]]


def _bare(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name.casefold())


@dataclass
class FarReadings:
    """Rows whose readings of standards are outside the range that a fit knows.

    Attributes
    ----------
    name : str
        Of the fit.
    covariates : tuple of str
        In the order of the fit.
    low, high : ndarray, [P], or None
        Ends of the training readings; None where the fit does not say.
    n, n_out : int
        Rows, and those outside by more than a tenth of the range.
    farthest : ndarray, [P]
        The reading of each that is farthest off.
    """

    name: str
    covariates: tuple[str, ...]
    low: FloatArray | None
    high: FloatArray | None
    n: int = 0
    n_out: int = 0
    farthest: FloatArray = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def of(cls, name: str, summaries: Stage1CoeffSummaries) -> FarReadings:
        """Take the range from the intervals of a fit, or from its slopes."""
        known = summaries.calibration
        if known is None or known.low is None:
            ends = summaries.features.range
            low, high = (None, None) if ends is None else (ends.low, ends.high)
        else:
            low, high = known.low, known.high
        middle = np.zeros(0) if low is None or high is None else (low + high) / 2
        return cls(name, summaries.feature_names, low, high, farthest=middle)

    def add(self, frame: pl.DataFrame) -> None:
        """Count the rows of a frame with the covariates."""
        if self.low is None or self.high is None or not self.covariates or not frame.height:
            return
        readings = frame.select(self.covariates).to_numpy()
        self.n += len(readings)
        self.n_out += int(outside_range(readings, self.low, self.high).sum())
        seen = np.vstack([self.farthest, readings])
        off = np.maximum(self.low - seen, seen - self.high)
        self.farthest = seen[off.argmax(axis=0), np.arange(seen.shape[1])]

    def notes(self) -> list[str]:
        """Return what the user should know, if anything."""
        if not self.n_out or self.low is None or self.high is None:
            return []
        off = np.maximum(self.low - self.farthest, self.farthest - self.high)
        width = self.high - self.low
        shown = [
            f"{self.covariates[j]} {self.farthest[j]:.4g} (fitted: {self.low[j]:.4g} to"
            f" {self.high[j]:.4g})"
            for j in np.argsort(-off)
            if off[j] > 0
        ]
        said = (
            f"{self.n_out:,} of {self.n:,} rows have readings of standards beyond those that"
            f" {self.name} was fitted to, at the farthest {listed(shown, 3)}: slopes are followed"
            " there on trust, and intervals are wider and not calibrated."
        )
        if (off > FAR * np.maximum(width, 0.1 * np.abs(self.high))).any():
            said += " So far out: another unit, or another peak than the standard's?"
        return [said]
