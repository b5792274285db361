"""Effects of runs, as an artefact keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from molpool_common import FloatArray

from rt_ridge._config import RunPrior


@dataclass(frozen=True, eq=False)
class RunEffects:
    """What all compounds of a run are shifted by.

    Parameters
    ----------
    column : str
        Column of the run.
    names : tuple of str
        Runs seen, in their order.
    mean, variance : ndarray, [R]
        Of the effect of each.
    new_variance : float
        Of a run's effect, or of its step from the run before.
    prior : {"independent", "random_walk", "spline"}
        Whether effects are independent, a random walk, or a cubic spline of the runs' order.

    Notes
    -----
    A run never seen has the effect 0, or in an order that of the last run, and the variance
    that it may have. Lines and effects are added as if independent, though a run that is
    estimated late has its lines estimated early; intervals are by that a little wide.
    """

    column: str
    names: tuple[str, ...]
    mean: FloatArray
    variance: FloatArray
    new_variance: float
    prior: RunPrior

    def of(self, runs: npt.ArrayLike | None, n_rows: int) -> tuple[FloatArray, FloatArray]:
        """Return mean and variance of the effect of each row's run, [N] each.

        Parameters
        ----------
        runs : array_like, [N], or None
            Names; None: no row is of a run that was seen.
        n_rows : int
            N.
        """
        mean, variance = self._new
        if runs is None:
            return np.full(n_rows, mean), np.full(n_rows, variance)
        known = {name: place for place, name in enumerate(self.names)}
        place = np.array([known.get(str(run), -1) for run in np.asarray(runs).tolist()])
        # Place -1, of a run never seen, is the last.
        return np.append(self.mean, mean)[place], np.append(self.variance, variance)[place]

    @property
    def _new(self) -> tuple[float, float]:
        if self.prior == "independent" or not len(self.mean):
            return 0.0, self.new_variance
        return float(self.mean[-1]), float(self.variance[-1]) + self.new_variance

    def forgotten(self) -> RunEffects:
        """Return the effects as before any run was seen."""
        nothing = np.zeros(0)
        return RunEffects(self.column, (), nothing, nothing, self.new_variance, self.prior)

    def to_arrays(self) -> dict[str, Any]:
        """Return what a file keeps."""
        return {
            "run_column": np.array(self.column),
            "run_names": np.array(self.names, dtype=np.str_),
            "run_mean": self.mean,
            "run_variance": self.variance,
            "run_new_variance": np.array(self.new_variance),
            "run_prior": np.array(self.prior),
        }
