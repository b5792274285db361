"""What structures were tried before a fit, how they did, and which were taken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from molpool_common import FloatArray

from rt_ridge._errors import RTRidgeError

SCORES = ("rmse", "mae", "error_se", "log_density", "log_density_se", "log_likelihood", "weight")
"""Attributes of `StructureTable` that have a number for each candidate."""


@dataclass(frozen=True)
class StructureTable:
    """Candidates of a structure, best first.

    Parameters
    ----------
    names : tuple of str
        Of C candidates.
    rmse, mae : ndarray, [C]
        Of rows left out, in the unit of the target; `mae` is over cells of a pair and a fold, the
        root mean square within each. NaN where no runs could be left out.
    error_se : ndarray, [C]
        Standard error, over folds, of the logarithm of the error over that of the first.
    log_density : ndarray, [C]
        Log predictive density of these rows, mean of a row.
    log_density_se : ndarray, [C]
        Standard error of its difference from the first, over folds.
    log_likelihood : ndarray, [C]
        Marginal log likelihood of all rows that the choice was made on.
    weight : ndarray, [C]
        In the fit; they sum to 1.
    """

    names: tuple[str, ...]
    rmse: FloatArray
    mae: FloatArray
    error_se: FloatArray
    log_density: FloatArray
    log_density_se: FloatArray
    log_likelihood: FloatArray
    weight: FloatArray

    def __post_init__(self) -> None:
        for name in SCORES:
            found = getattr(self, name).shape
            if found != (len(self.names),):
                raise RTRidgeError(
                    f"structure: expected {len(self.names)} values of {name}, found shape "
                    f"{list(found)}"
                )
        if not np.isclose(self.weight.sum(), 1) or (self.weight < 0).any():
            raise RTRidgeError("structure: expected weights >= 0 that sum to 1")

    def rows(self) -> list[dict[str, float | str | None]]:
        """Return one dictionary for each candidate, None for what could not be measured."""
        columns = {name: getattr(self, name) for name in SCORES}
        return [
            {
                "name": candidate,
                **{n: float(v[i]) if np.isfinite(v[i]) else None for n, v in columns.items()},
            }
            for i, candidate in enumerate(self.names)
        ]

    @property
    def taken(self) -> list[tuple[str, float]]:
        """Candidates of the fit and their weights, the heaviest first."""
        order = np.argsort(-self.weight, kind="stable")
        return [(self.names[i], float(self.weight[i])) for i in order if self.weight[i] > 0]
