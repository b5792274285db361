"""Ceilings and floors of assays: which labels stand at them, and what is reported there.

Above the highest concentration or below the lowest signal an assay reports its limit, exactly (a
floor of 0.675 under 958 of 3 087 clearances) or with the scatter of the read-out (41 % of the
kinetic solubilities of one programme lie between 250 and 325 µM, where all of the compound is in
solution). Such a label is a bound: the truth is there or beyond.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np
from molpool_common import BoolArray, FloatArray, IntArray, SignArray
from numpy.typing import ArrayLike

from multitask_models._errors import ModelError
from multitask_models._labels import Labels

_LEAST_LABELS = 20
"""Fewer labels of a task than this show no limit."""

_LEAST_SHARE = 0.01
"""Share of the labels that must stand at one value at the edge for it to be a limit."""

_BINS = 40
"""Bins of a histogram over the range of the middle 90 % of labels."""

_LEAST_PLATEAU = 0.1
"""Share of the labels that must stand in a plateau."""

_MOST_WIDTH = 0.12
"""Widest plateau, as a share of the range of the middle 90 % of labels."""

_MOST_OUTERMOST = 0.2
"""Share of a plateau's labels in its outermost quarter, at most: scatter falls off at its end."""


@dataclass(frozen=True)
class AssayLimits:
    """Floors and ceilings of T assays.

    Parameters
    ----------
    floor, ceiling : ndarray [T]
        Where labels become bounds; -inf and inf where an assay has no limit.
    at_floor, at_ceiling : ndarray [T]
        What the assay reports there: the median of the labels at or beyond the limit.
    """

    floor: FloatArray
    ceiling: FloatArray
    at_floor: FloatArray
    at_ceiling: FloatArray

    @classmethod
    def none(cls, n_tasks: int) -> AssayLimits:
        """Return limits that no value reaches."""
        low, high = np.full(n_tasks, -np.inf), np.full(n_tasks, np.inf)
        return cls(low, high, low.copy(), high.copy())

    @classmethod
    def of(cls, asked: Literal["auto"] | ArrayLike | None, labels: Labels) -> AssayLimits:
        """Return those that `limits` of a model asks for: found, given, or none.

        Raises
        ------
        ModelError
            At another word, or as `given`.
        """
        if asked is None:
            return cls.none(labels.values.shape[1])
        if isinstance(asked, str):
            if asked != "auto":
                raise ModelError(f"limits: expected None, 'auto' or an array; found {asked!r}.")
            return find_limits(labels)
        return cls.given(asked, labels)

    @classmethod
    def given(cls, limits: ArrayLike, labels: Labels) -> AssayLimits:
        """Return limits [T, 2] that the caller knows, NaN or infinite where there is none.

        Raises
        ------
        ModelError
            At another shape, or a floor that is not below its ceiling.
        """
        array = np.asarray(limits, dtype=np.float64)
        n_tasks = labels.values.shape[1]
        if array.shape != (n_tasks, 2):
            raise ModelError(
                f"limits: expected floor and ceiling of each of {n_tasks} tasks, shape "
                f"{(n_tasks, 2)}; found {array.shape}."
            )
        floor = np.where(np.isnan(array[:, 0]), -np.inf, array[:, 0])
        ceiling = np.where(np.isnan(array[:, 1]), np.inf, array[:, 1])
        wrong = np.flatnonzero(floor >= ceiling)
        if len(wrong):
            task = wrong[0]
            raise ModelError(
                f"limits of task {task}: expected a floor below the ceiling; found "
                f"{floor[task]:g} and {ceiling[task]:g}."
            )
        return cls(floor, ceiling, floor, ceiling)._as_reported(labels)

    def _as_reported(self, labels: Labels) -> AssayLimits:
        """Return the same limits with what labels at them say."""
        at_floor, at_ceiling = self.floor.copy(), self.ceiling.copy()
        for t, column in enumerate(labels.exact.T):
            below, above = column[column <= self.floor[t]], column[column >= self.ceiling[t]]
            if len(below):
                at_floor[t] = np.median(below)
            if len(above):
                at_ceiling[t] = np.median(above)
        return replace(self, at_floor=at_floor, at_ceiling=at_ceiling)

    @property
    def any(self) -> BoolArray:
        """Return which tasks have a floor or a ceiling, [T]."""
        return np.isfinite(self.floor) | np.isfinite(self.ceiling)

    @property
    def bounds(self) -> FloatArray:
        """Floor and ceiling of each task, [T, 2], as models take them."""
        return np.stack([self.floor, self.ceiling], axis=1)

    def of_tasks(self, columns: Sequence[int]) -> AssayLimits:
        """Return those of some tasks."""
        own = list(columns)
        return AssayLimits(*(getattr(self, field.name)[own] for field in fields(self)))

    def by_name(self, names: Sequence[str]) -> dict[str, tuple[float, float, float, float]]:
        """Return floor, ceiling, and what is reported at each, of the tasks that have a limit."""
        each = zip(self.floor, self.ceiling, self.at_floor, self.at_ceiling, strict=True)
        numbers = [tuple(map(float, four)) for four in each]
        return {n: four for n, four, any_ in zip(names, numbers, self.any, strict=True) if any_}  # type: ignore[misc]  # of four

    @classmethod
    def from_names(
        cls, said: Mapping[str, tuple[float, float, float, float]], names: Sequence[str]
    ) -> AssayLimits:
        """Return the limits of tasks from those that `by_name` gave."""
        none = (-np.inf, np.inf, -np.inf, np.inf)
        return cls(*np.array([said.get(name, none) for name in names]).reshape(-1, 4).T)

    def censor(self, labels: Labels) -> Labels:
        """Return the labels with those at or beyond a limit as bounds at that limit."""
        values, signs = labels.values, labels.signs
        # A label that says `<` proves nothing about the ceiling, nor `>` about the floor.
        above = (values >= self.ceiling) & (signs >= 0)
        below = (values <= self.floor) & (signs <= 0)
        return replace(
            labels,
            values=np.where(above, self.ceiling, np.where(below, self.floor, values)),
            signs=above.astype(np.int8) + np.where(below, np.int8(-1), np.where(above, 0, signs)),
        )

    def report(self, latent: FloatArray) -> FloatArray:
        """Return what the assays would report of latent values, [N, T]."""
        inside = np.where(latent >= self.ceiling, self.at_ceiling, latent)
        return np.where(latent <= self.floor, self.at_floor, inside)

    def describe(self, labels: Labels, names: Sequence[str]) -> str:
        """Return the limits in words, as ``KSOL: 41 % of 5,128 labels at or above 2.4``."""
        parts = []
        for t, name in enumerate(names):
            column = labels.values[labels.present[:, t], t]
            for limit, beyond, word in (
                (self.floor[t], column <= self.floor[t], "below"),
                (self.ceiling[t], column >= self.ceiling[t], "above"),
            ):
                if np.isfinite(limit):
                    share = f"{beyond.mean():.0%}".replace("%", " %")
                    parts.append(
                        f"{name}: {share} of {len(column):,} labels at or {word} {limit:.4g}"
                    )
        return "; ".join(parts)


def find_limits(labels: Labels) -> AssayLimits:
    """Find the floors and ceilings of regression tasks in their labels.

    A limit is one of

    * the value of at least half of a task's labels with the same sign, no exact label beyond it;
    * the largest (smallest) value, if at least 1 % of the labels have it;
    * the inner edge of a plateau: at least a tenth of the labels in a narrow band at the end of
      the range, scattered about a value within it and apart from the others in the histogram,
      for positive labels on a logarithmic scale too. A bounded quantity, as a percentage, crowds
      to the very end, and is left alone.

    Parameters
    ----------
    labels : Labels

    Returns
    -------
    AssayLimits
    """
    limits = AssayLimits.none(labels.values.shape[1])
    for t in np.flatnonzero(~labels.classification):
        column, signs = labels.values[:, t], labels.signs[:, t]
        limits.ceiling[t] = _limit(column, signs, 1)
        limits.floor[t] = _limit(column, signs, -1)
    crossed = limits.floor >= limits.ceiling
    limits.floor[crossed], limits.ceiling[crossed] = -np.inf, np.inf
    return limits._as_reported(labels)


def _limit(values: FloatArray, signs: SignArray, side: int) -> float:
    """Return the ceiling (`side` 1) or floor (-1) that labels show; infinite if they show none."""
    none = side * np.inf
    exact, bounds = values[(signs == 0) & ~np.isnan(values)], values[signs == side]
    if len(bounds) and len(exact) + len(bounds) >= _LEAST_LABELS:
        common = _most_common(bounds)
        if (bounds == common).mean() >= 0.5 and not (side * exact > side * common).any():
            return common
    if len(exact) < _LEAST_LABELS:
        return none
    top = side * (side * exact).max()
    at_top = (exact == top).sum()
    # Rounded labels are all shared by several molecules; a limit is shared by many more.
    shared = len(exact) / len(np.unique(exact))
    if at_top >= max(_LEAST_SHARE * len(exact), 5) and at_top >= 5 * shared:
        return float(top)
    edge = side * _plateau(side * exact)
    if not (exact > 0).all():
        return edge
    # Positive quantities may scatter by factors. Then a ceiling is wide on a linear scale, where
    # only the logarithm shows it, and the mode of a skewed distribution narrow there alone.
    by_factor = side * _plateau(side * np.log(exact))
    if np.isinf(by_factor):
        return none
    return edge if np.isfinite(edge) else float(np.exp(by_factor))


def _most_common(values: FloatArray) -> float:
    distinct, counts = np.unique(values, return_counts=True)
    return float(distinct[counts.argmax()])


def _plateau(values: FloatArray) -> float:
    """Return the inner edge of a plateau at the upper end of labels, inf if there is none."""
    low, high = np.quantile(values, [0.05, 0.95])
    width = (high - low) / _BINS
    # A few bins are no histogram; very many are one of outliers.
    if not 20 <= np.ptp(values) / max(width, 1e-300) <= 100 * _BINS:
        return np.inf
    top = values.max()
    edges = np.arange(top + width / 2, values.min() - 2 * width, -width)[::-1]
    counts = np.histogram(values, edges)[0]
    outer = len(counts) - _BINS // 5
    mode = outer + int(counts[outer:].argmax())
    if not _parted(counts, mode):
        return np.inf
    # Inwards from the mode the plateau ends where the histogram falls below a third of it.
    first = int(np.flatnonzero(counts[:mode] <= counts[mode] / 3)[-1]) + 1
    edge = float(edges[first])
    inside = values[values >= edge]
    narrow = np.quantile(values, 0.995) - edge <= _MOST_WIDTH * (high - low)
    outermost = (inside > top - (top - edge) / 4).mean()
    crowded = len(inside) < _LEAST_PLATEAU * len(values) or outermost > _MOST_OUTERMOST
    return np.inf if crowded or not narrow else edge


def _parted(counts: IntArray, mode: int) -> bool:
    """Return whether the bin `mode` stands apart from the histogram below it.

    It is three times as high as all bins but its neighbours, or there is a valley before a rise
    to twice its height, by more than four standard errors of a count.
    """
    smooth = np.convolve(counts, np.ones(3) / 3, "same")
    if counts[mode] >= 3 * smooth[: mode - 2].max():
        return True
    rise, valley = np.maximum.accumulate(smooth)[: mode - 1], smooth[1:mode]
    error = np.sqrt(rise / 3)
    parted = (rise >= 2 * valley) & (rise - valley > 4 * error) & (counts[mode] >= 3 * valley)
    return bool(parted.any())
