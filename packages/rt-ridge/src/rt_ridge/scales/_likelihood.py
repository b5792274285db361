"""Maximum likelihood (`ml`) and restricted maximum likelihood (`reml`) of the scales."""

from __future__ import annotations

import numpy as np
from molpool_common import FloatArray
from scipy.stats import norm

from rt_ridge._errors import RTRidgeError
from rt_ridge.hierarchy._hierarchy import Hierarchy
from rt_ridge.scales._mode import Optimum, curvature, maximise, spread
from rt_ridge.scales._posterior import TAIL, ScalePosterior

NEGLIGIBLE = 1e-8
"""Fall of the log likelihood at which a small scale is taken for 0, relative to its size."""
PROBE = 0.02
"""Standard deviation over σ at which a scale that stands at 0 is tried once more."""


def find_ml(hierarchy: Hierarchy) -> ScalePosterior:
    """Maximise the marginal likelihood; flat effects are maximised (`ml`) or integrated (`reml`).

    Raises
    ------
    RTRidgeError
        If there are no rows left over to estimate σ from.
    """
    search = _Search(hierarchy)
    best = search.run()
    point = search.point(best.at)
    zero = point == 0
    notes = [
        f"{name} estimated at exactly 0"
        for name, at_zero in zip(hierarchy.layout.names, zero, strict=True)
        if at_zero
    ]
    low, high = _wald(hierarchy, point, search.profile)
    return ScalePosterior(
        names=hierarchy.layout.names,
        points=point[None],
        weights=np.ones(1),
        low=low,
        high=high,
        log_likelihood=best.value,
        diagnostics={"steps": float(best.steps), "gradient": best.slope},
        notes=(*hierarchy.structure.notes, *notes),
    )


class _Search:
    """Coordinates [log σ, τ/σ, ...], in which a variance of 0 is an ordinary bound."""

    def __init__(self, hierarchy: Hierarchy) -> None:
        self.hierarchy = hierarchy
        self.profile = hierarchy.config.method == "ml"
        self.fixed_sigma = hierarchy.layout.scales[0].fixed
        # Entry of the first standard deviation over σ.
        self.first = 0 if self.fixed_sigma is not None else 1
        stats = hierarchy.stats
        if self.fixed_sigma is None and stats.n_rows - hierarchy.n_flat < 1:
            raise RTRidgeError(
                f"method: {hierarchy.config.method} needs more rows than global effects; expected "
                f"more than {hierarchy.n_flat}, found {stats.n_rows}"
            )

    def run(self) -> Optimum:
        """Climb, then try every scale at 0 and every scale that stands at 0 away from it."""
        size = self.hierarchy.layout.size
        # Only log σ is free of a bound.
        lower = np.full(size, 0.0)
        lower[: self.first] = -np.inf
        start = self._start()
        steps = self.hierarchy.layout.steps()
        # Coordinates other than log σ are ratios, which scale with their size.
        steps[self.first :] *= start[self.first :]
        best = maximise(self.objective, start, steps, lower)
        for _ in range(3):
            best = self._to_zero(best)
            away = self._away_from_zero(best)
            if away is None:
                break
            best = maximise(self.objective, away, steps, lower)
        return best

    def point(self, x: FloatArray) -> FloatArray:
        """Return the standard deviations at coordinates x."""
        sigma = self.fixed_sigma if self.fixed_sigma is not None else float(np.exp(x[0]))
        return np.concatenate([np.full(self.first, sigma), x[self.first :] * sigma])

    def objective(self, x: FloatArray) -> tuple[float, FloatArray]:
        """Return the log likelihood and its gradient by x."""
        value, by_log = self.hierarchy.log_likelihood(self.point(x), profile=self.profile)
        ratios = x[self.first :]
        gradient = by_log.copy()
        if self.first:
            # τ = ratio · σ: log σ moves all standard deviations together.
            gradient[0] = by_log.sum()
        # The likelihood is even in τ: its slope at 0 is 0.
        safe = np.where(ratios > 1e-9, ratios, 1.0)
        gradient[self.first :] = np.where(ratios > 1e-9, by_log[self.first :] / safe, 0.0)
        return value, gradient

    def _start(self) -> FloatArray:
        hierarchy = self.hierarchy
        start = hierarchy.layout.start()
        if self.fixed_sigma is not None:
            return start / self.fixed_sigma
        sigma = start[0]
        return np.concatenate([[np.log(sigma)], start[1:] / sigma])

    def _to_zero(self, best: Optimum) -> Optimum:
        for entry in range(self.first, len(best.at)):
            if 0 < best.at[entry] < PROBE:
                x = best.at.copy()
                x[entry] = 0.0
                value = self.objective(x)[0]
                if value >= best.value - NEGLIGIBLE * max(1.0, abs(best.value)):
                    best = Optimum(x, value, best.slope, best.steps)
        return best

    def _away_from_zero(self, best: Optimum) -> FloatArray | None:
        """Return a better point with a scale off 0; its slope there says nothing, being 0."""
        for entry in range(self.first, len(best.at)):
            if best.at[entry] == 0:
                x = best.at.copy()
                x[entry] = PROBE
                value = self.objective(x)[0]
                if value > best.value + NEGLIGIBLE * max(1.0, abs(best.value)):
                    return x
        return None


def _wald(hierarchy: Hierarchy, point: FloatArray, profile: bool) -> tuple[FloatArray, FloatArray]:
    """Return 95 % intervals, normal in the logarithms; NaN where a scale stands at 0."""
    inside = np.flatnonzero(point > 0)

    def objective(logs: FloatArray) -> tuple[float, FloatArray]:
        moved = point.copy()
        moved[inside] = np.exp(logs)
        value, gradient = hierarchy.log_likelihood(moved, profile=profile)
        return value, gradient[inside]

    logs = np.log(point[inside])
    low, high = np.full(len(point), np.nan), np.full(len(point), np.nan)
    if len(inside):
        half = norm.isf(TAIL) * np.sqrt(np.diagonal(spread(curvature(objective, logs))))
        low[inside], high[inside] = np.exp(logs - half), np.exp(logs + half)
    return low, high
