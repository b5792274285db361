"""The artefact of a fit: coefficients of every pair, and what is expected of any other."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt
from molpool_common import FloatArray, IntArray

from rt_ridge.backoff import LEVELS, BackoffLevel, CoefficientPredictor
from rt_ridge.errors import RTRidgeError, listed
from rt_ridge.features import FeatureMap
from rt_ridge.intervals import IntervalCalibration
from rt_ridge.keys import check_ids, pack
from rt_ridge.keys import find

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class NoiseVariance:
    """Posterior mean of σ², one for all rows or one a group.

    Parameters
    ----------
    mean : float
        Of groups without their own.
    group_ids : ndarray of int64, [M]
        Groups with their own, ascending; empty where σ is global.
    group_mean : ndarray, [M]
        Theirs.
    """

    mean: float
    group_ids: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    group_mean: FloatArray = field(default_factory=lambda: np.zeros(0))

    def of(self, groups: IntArray) -> FloatArray:
        """Return σ² of the group of each row, [N]."""
        place = find(self.group_ids, groups)
        # Place -1 is the last entry.
        return np.append(self.group_mean, self.mean)[place]


@dataclass(frozen=True)
class Prediction:
    """Predictive distribution of N rows: normal, unless its intervals were calibrated.

    Attributes
    ----------
    mean : ndarray, [N]
        Expected retention time, in the unit of the target; NaN where nothing is known.
    std : ndarray, [N]
        Standard deviation of a new measurement.
    std_mean : ndarray, [N]
        Standard deviation of the expected retention time itself.
    level_code : ndarray of int8, [N]
        Index into `rt_ridge.backoff.LEVELS`.
    support : ndarray of int64, [N], or None
        Training rows of each row's pair, where intervals are calibrated.
    calibration : IntervalCalibration or None
        How far errors reached on runs held out; None: as a normal distribution's.
    far : ndarray of bool, [N], or None
        Rows whose readings lie beyond those of the training, where intervals are calibrated.
    """

    mean: FloatArray
    std: FloatArray
    std_mean: FloatArray
    level_code: npt.NDArray[np.int8]
    support: IntArray | None = None
    calibration: IntervalCalibration | None = None
    far: npt.NDArray[np.bool_] | None = None

    def half_width(self, coverage: float) -> FloatArray:
        """Return half the width of each row's central interval, [N].

        Parameters
        ----------
        coverage : float
            Nominal coverage, in (0, 1).

        Raises
        ------
        RTRidgeError
            If it is not.
        """
        if not 0 < coverage < 1:
            raise RTRidgeError(f"coverage: expected a number in (0, 1); found {coverage!r}")
        if self.calibration is None or self.support is None:
            return self.std * NormalDist().inv_cdf((1 + coverage) / 2)
        return self.calibration.half_width(self.std, self.support, coverage, self.far)

    @property
    def level(self) -> npt.NDArray[np.str_]:
        """Where the coefficients of each row came from, [N]; see `rt_ridge.backoff.LEVELS`."""
        return np.array(LEVELS)[self.level_code]

    def take(self, rows: npt.NDArray[np.bool_] | IntArray) -> Prediction:
        """Return the prediction of some rows, given as a mask [N] or by number."""
        floats = (self.mean[rows], self.std[rows], self.std_mean[rows])
        support = None if self.support is None else self.support[rows]
        far = None if self.far is None else self.far[rows]
        return Prediction(*floats, self.level_code[rows], support, self.calibration, far)


@dataclass(frozen=True)
class Stage1CoeffSummaries:
    """Posterior of the coefficients [b, w] of every (group, compound), as a file keeps it.

    Parameters
    ----------
    group_col : str
        Column that the group id is read from: ``species`` or ``species_cluster``.
    features : FeatureMap
        From covariates to regressors.
    coefficients : CoefficientPredictor
        Keys, means and covariances, and the levels that unseen pairs back off to.
    noise : NoiseVariance
        σ².
    n : ndarray of int64, [G]
        Training rows of each pair.
    method : str
        How the scales were found, for the reader.
    calibration : IntervalCalibration or None
        How far errors reached on runs held out; see `calibrate_intervals`.

    Raises
    ------
    RTRidgeError
        If shapes disagree, ids do not ascend, a value is not finite, or a covariance is not
        positive definite; the message names the table and the pair.
    """

    group_col: str
    features: FeatureMap
    coefficients: CoefficientPredictor
    noise: NoiseVariance
    n: IntArray
    method: str = ""
    calibration: IntervalCalibration | None = None
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        from rt_ridge.summary_checks import check_summaries

        check_summaries(self)

    @property
    def keys(self) -> IntArray:
        """Pairs seen, ascending, [G]."""
        return self.coefficients.keys

    @property
    def mean(self) -> FloatArray:
        """Mean of [b, w], the intercept at the centre first, [G, D]."""
        return self.coefficients.mean

    @property
    def cov(self) -> FloatArray:
        """Covariance of [b, w], [G, D, D]."""
        return self.coefficients.cov

    @property
    def levels(self) -> tuple[BackoffLevel, ...]:
        """What unseen pairs back off to, nearest first."""
        return self.coefficients.levels

    @property
    def sigma2_mean(self) -> float:
        """Posterior mean of σ², of groups without their own."""
        return self.noise.mean

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The covariates."""
        return self.features.names

    @property
    def feature_center(self) -> FloatArray:
        """What is subtracted from the covariates, [P]."""
        return self.features.center

    @property
    def feature_rotation(self) -> FloatArray | None:
        """Rotation of the centred covariates, [P, P]."""
        return self.features.rotation

    @property
    def anchor_expansion(self) -> str:
        """Whether squares are added: "none" or "poly2"."""
        return self.features.expansion

    def predict(
        self,
        X: Any,
        groups: npt.ArrayLike,
        compounds: npt.ArrayLike,
        parents: npt.ArrayLike | None = None,
        descriptors: npt.ArrayLike | None = None,
    ) -> Prediction:
        """Predict rows, each from the nearest level that knows its pair.

        Parameters
        ----------
        X : array_like, [N, P], or DataFrame
            Covariates, as `features` names them.
        groups, compounds : array_like of int, [N]
            Ids of the rows; `groups` as in the column `group_col`.
        parents : array_like of int, [N], or None
            Supercategory of each row, for groups that the fit has not seen; -1 where unknown.
        descriptors : array_like, [N, Q], or None
            Descriptors of compounds that the fit has not seen; NaN where unknown.

        Returns
        -------
        Prediction
            NaN where the model says nothing of a pair never seen.

        Raises
        ------
        RTRidgeError
            If lengths differ, a covariate is missing or not finite, or an id is out of range.
        """
        design = self.features.design(X)
        group_ids = _column(groups, len(design), "groups")
        compound_ids = _column(compounds, len(design), "compounds")
        parent_ids = None if parents is None else _column(parents, len(design), "parents")
        located = self.coefficients.locate(group_ids, compound_ids, parent_ids)
        mean, variance = self.coefficients.moments(design, located, self._described(descriptors))
        total = variance + self.noise.of(group_ids)
        found = Prediction(mean, np.sqrt(total), np.sqrt(variance), located.level)
        if self.calibration is None:
            return found
        support = self.support(group_ids, compound_ids)
        far = self.calibration.far(self.features.covariates(X))
        return replace(found, support=support, calibration=self.calibration, far=far)

    def _described(self, descriptors: npt.ArrayLike | None) -> FloatArray | None:
        if descriptors is None:
            return None
        effect = self.coefficients.descriptors
        names = () if effect is None else effect.names
        z = np.asarray(descriptors, dtype=np.float64)
        if z.ndim != 2 or z.shape[1] != len(names):
            raise RTRidgeError(
                f"descriptors: expected [N, {len(names)}] for {listed(names) or 'a fit without'},"
                f" found shape {list(z.shape)}"
            )
        return z

    def support(self, groups: npt.ArrayLike, compounds: npt.ArrayLike) -> IntArray:
        """Return the training rows of the pair of each row, 0 for a pair never seen, [N]."""
        place = find(self.keys, pack(np.asarray(groups), np.asarray(compounds)))
        return np.append(self.n, 0)[place]

    def save(self, path: str | Path) -> None:
        """Write an npz file without pickle, whole or not at all."""
        from rt_ridge.summary_file import write_summaries

        write_summaries(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Stage1CoeffSummaries:
        """Read what `save` wrote.

        Raises
        ------
        RTRidgeError
            If the file is no artefact, of another schema, or wrong in any way listed above.
        """
        from rt_ridge.summary_file import read_summaries

        return read_summaries(Path(path))


def _column(values: npt.ArrayLike, n_rows: int, name: str) -> IntArray:
    ids = np.asarray(values)
    if ids.shape != (n_rows,):
        raise RTRidgeError(f"{name}: expected shape [{n_rows}]; found {list(ids.shape)}")
    if name == "parents":
        # Unknown supercategories are written -1, which is no id.
        return np.where(ids == -1, -1, check_ids(np.where(ids == -1, 0, ids), name))
    return check_ids(ids, name)
