"""From run covariates as a table has them to the regressors of the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from molpool_common import FloatArray

from rt_ridge._errors import RTRidgeError, listed

FeatureCenter = Literal["none", "global"]
FeatureRotation = Literal["none", "pca"]
AnchorExpansion = Literal["none", "poly2"]

SQUARE = "^2"
"""Ending of the name of a squared regressor."""


@dataclass(frozen=True)
class ReadingRange:
    """Covariates of the training rows, and how far slopes are followed beyond them.

    Parameters
    ----------
    low, high : ndarray, [P]
        Ends of each covariate.
    follow : float
        Share of a slope's effect that is expected beyond the ends, in [0, 1]: 1 follows the line,
        0 stays at its end, as where a reading so far out is a standard that was misidentified.
    """

    low: FloatArray
    high: FloatArray
    follow: float = 1.0

    def held(self, X: FloatArray) -> FloatArray:
        """Return covariates [N, P], what lies beyond the ends shortened."""
        inside = np.clip(X, self.low, self.high)
        return inside + self.follow * (X - inside)

    @property
    def unsure(self) -> float:
        """Variance of the share that is in truth followed: uniform over [0, 1], about `follow`."""
        return 0.0 if self.follow == 1 else 1 / 12 + (0.5 - self.follow) ** 2


@dataclass(frozen=True)
class FeatureMap:
    """Centre, rotate, and expand covariates by their squares, in this order.

    It is fitted on the training rows alone and travels with the coefficients, so that a row is
    always seen as it was at the fit. All regressors are 0 at the centre, where the intercept is
    therefore the expected retention time.

    Parameters
    ----------
    names : tuple of str
        The P covariates, in order.
    center : ndarray, [P]
        What is subtracted.
    rotation : ndarray, [P, P], or None
        Orthogonal; regressors are ``(x - center) @ rotation``.
    expansion : {"none", "poly2"}
        "poly2" adds the square of each centred, rotated covariate.
    scale : ndarray, [D - 1], or None
        Standard deviation of each regressor, by which the fit divided it where it standardises;
        slopes are per unit of the regressor itself.
    range : ReadingRange or None
        Covariates of the training; None: lines are followed anywhere.
    """

    names: tuple[str, ...]
    center: FloatArray
    rotation: FloatArray | None = None
    expansion: AnchorExpansion = "none"
    scale: FloatArray | None = None
    range: ReadingRange | None = None

    @classmethod
    def plain(cls, names: Sequence[str]) -> FeatureMap:
        """Return the map that takes covariates as they are."""
        return cls(tuple(names), np.zeros(len(names)))

    @classmethod
    def fit(
        cls,
        names: Sequence[str],
        mean: FloatArray,
        scatter: FloatArray,
        *,
        center: FeatureCenter = "global",
        rotation: FeatureRotation = "none",
        expansion: AnchorExpansion = "none",
    ) -> FeatureMap:
        """Fit a map to the moments of the training rows.

        Parameters
        ----------
        names : sequence of str
            The P covariates.
        mean : ndarray, [P]
            Mean over the training rows.
        scatter : ndarray, [P, P]
            Any multiple of their covariance: see `pooled_moments`.
        center : {"none", "global"}
            Subtract nothing, or the mean.
        rotation : {"none", "pca"}
            Principal axes, widest first; the largest entry of each is positive.
        expansion : {"none", "poly2"}
            Whether squares are added.
        """
        names = tuple(names)
        shift = np.array(mean, dtype=np.float64) if center == "global" else np.zeros(len(names))
        turn = _principal_axes(scatter) if rotation == "pca" else None
        return cls(names, shift, turn, expansion)

    @property
    def regressors(self) -> tuple[str, ...]:
        """Names of the slopes: the covariates, or ``pc1``, ... after a rotation, then squares."""
        base = self.names
        if self.rotation is not None:
            base = tuple(f"pc{j + 1}" for j in range(len(base)))
        if self.expansion == "none":
            return base
        return base + tuple(name + SQUARE for name in base)

    @property
    def offset(self) -> FloatArray:
        """Size of what is subtracted from each regressor, [D - 1]."""
        size = np.abs(self.center)
        if self.rotation is not None:
            size = np.full(len(size), np.linalg.norm(self.center))
        return size if self.expansion == "none" else np.concatenate([size, size**2])

    @property
    def n_coefficients(self) -> int:
        """Number D of coefficients: the intercept and one slope per regressor."""
        return 1 + len(self.names) * (1 if self.expansion == "none" else 2)

    def transform(self, X: Any) -> FloatArray:
        """Return the regressors of a table.

        Parameters
        ----------
        X : array_like, [N, P], or DataFrame
            Covariates; from a data frame they are taken by name.

        Returns
        -------
        ndarray, [N, D - 1]
            The regressors.

        Raises
        ------
        RTRidgeError
            If a covariate is missing, their number is another, or a value is not finite.
        """
        covariates = self.covariates(X)
        return self._regressors(covariates if self.range is None else self.range.held(covariates))

    def beyond(self, X: Any) -> FloatArray | None:
        """Return what the line would add to the regressors where readings leave the range.

        Parameters
        ----------
        X : array_like, [N, P], or DataFrame
            Covariates.

        Returns
        -------
        ndarray, [N, D - 1], or None
            From the ends of the training to the readings; None where no range is known.
        """
        if self.range is None:
            return None
        covariates = self.covariates(X)
        inside = np.clip(covariates, self.range.low, self.range.high)
        return self._regressors(covariates) - self._regressors(inside)

    def _regressors(self, covariates: FloatArray) -> FloatArray:
        z = covariates - self.center
        if self.rotation is not None:
            z = z @ self.rotation
        if self.expansion == "poly2":
            z = np.concatenate([z, z * z], axis=1)
        return z

    def design(self, X: Any) -> FloatArray:
        """Return a column of ones and the regressors of a table, [N, D]; see `transform`."""
        z = self.transform(X)
        return np.concatenate([np.ones((len(z), 1)), z], axis=1)

    def covariates(self, X: Any) -> FloatArray:
        """Return the covariates of a table as they are, [N, P]; see `transform`."""
        columns = getattr(X, "columns", None)
        if columns is not None:
            missing = [name for name in self.names if name not in list(columns)]
            if missing:
                raise RTRidgeError(
                    f"covariates: fitted with {listed(self.names)}; the table lacks"
                    f" {listed(missing)} and has {listed(list(columns))}"
                )
            # A frame of no columns has no rows either.
            X = X[list(self.names)].to_numpy() if self.names else np.empty((len(X), 0))
        matrix = np.asarray(X, dtype=np.float64)
        if matrix.ndim != 2 or matrix.shape[1] != len(self.names):
            raise RTRidgeError(
                f"X: expected [N, {len(self.names)}] for {listed(self.names)},"
                f" found shape {list(matrix.shape)}"
            )
        if not np.isfinite(matrix).all():
            row, column = np.argwhere(~np.isfinite(matrix))[0]
            raise RTRidgeError(
                f"X: expected finite values, found {matrix[row, column]} in row {row}"
                f" of {self.names[column]!r}"
            )
        return matrix


def pooled_moments(
    n: npt.NDArray[np.int64] | FloatArray, mean_x: FloatArray, sxx: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the mean and scatter over all rows from those of groups.

    Parameters
    ----------
    n : ndarray, [G]
        Rows of each group, or the sum of their weights.
    mean_x : ndarray, [G, P]
        Means of the groups.
    sxx : ndarray, [G, P, P]
        Centred cross products of the groups.

    Returns
    -------
    mean : ndarray, [P]
    scatter : ndarray, [P, P]
    """
    mean = np.average(mean_x, axis=0, weights=n)
    # Total scatter = within + between groups (Chan et al. 1983), all of it centred.
    offset = mean_x - mean
    scatter = sxx.sum(axis=0) + (offset * n[:, None]).T @ offset
    return mean, scatter


def _principal_axes(scatter: FloatArray) -> FloatArray:
    values, axes = np.linalg.eigh(scatter)
    axes = axes[:, np.argsort(values)[::-1]]
    # An axis has no sign of its own; without one the artefact would depend on the LAPACK in use.
    largest = np.abs(axes).argmax(axis=0)
    signed: FloatArray = axes * np.sign(axes[largest, np.arange(len(axes))])
    return signed
