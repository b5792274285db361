"""The artefact of a fit: coefficients of every pair, what is expected of any other, and its file.

The file is one npz without pickle. Versions 1 and 2 held conformal quantiles instead of the scores
that they are of, in version 1 under another name; such files are read as well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import numpy.typing as npt
from molpool_common import BoolArray, FloatArray, IntArray

from rt_ridge._config import Likelihood, RunPrior
from rt_ridge._errors import RTRidgeError, did_you_mean, listed
from rt_ridge._npz import Arrays, read_npz, write_npz
from rt_ridge.prediction._backoff import (
    LEVELS,
    CoefficientPredictor,
    CompoundEffect,
    Located,
    NoiseVariance,
)
from rt_ridge.prediction._checks import check_equal, check_summaries
from rt_ridge.prediction._conformal import RunCalibration
from rt_ridge.prediction._effects import (
    BackoffLevel,
    ClassEffect,
    ClassTable,
    DescriptorEffect,
    LineTable,
)
from rt_ridge.prediction._run_effects import RunEffects
from rt_ridge.prediction._structure import SCORES, StructureTable
from rt_ridge.prediction._tails import NORMAL, Tails
from rt_ridge.tables._features import AnchorExpansion, FeatureMap, ReadingRange
from rt_ridge.tables._keys import GroupParents, check_ids, find, pack, unpack

SCHEMA = "rt_ridge.stage1_coeff_summaries"
SCHEMA_VERSION = 3

_SCALARS = (
    "schema",
    "schema_version",
    "group_col",
    "method",
    "anchor_expansion",
    "sigma2_mean",
    "range_follow",
    *("likelihood", "nu", "share", "spread", "leave_out"),
    *("run_column", "run_prior", "run_new_variance", "left"),
)
_TABLE = ("ids", "mean", "cov")
_CALIBRATION = "calibration_"
_UNSEEN, _NORMAL = "unseen_", "normal_"
_OUTSIDE = ("low", "high", "quantiles")
_DESCRIBED = ("center", "ids", "values", "mean", "cov", "blind_cov")
_VERSION_1 = {
    "calibration_reach": "calibration_quantiles",
    **{f"beyond_{part}": f"extrapolation_{part}" for part in ("low", "high")},
    "beyond_reach": "extrapolation_quantiles",
}
"""Names of arrays in files of version 1, and what they are called now."""


@dataclass(frozen=True)
class Prediction:
    """Predictive distribution of N rows: a normal line and an error about it.

    Intervals are theirs, unless they were calibrated.

    Attributes
    ----------
    mean : ndarray, [N]
        Expected retention time, in the unit of the target; NaN where nothing is known.
    std : ndarray, [N]
        Standard deviation of a new measurement.
    std_mean : ndarray, [N]
        Standard deviation of the expected retention time itself.
    level_code : ndarray of int8, [N]
        Index into `LEVELS`.
    support : ndarray of int64, [N], or None
        Training rows of each row's pair, where intervals are calibrated.
    calibration : RunCalibration or None
        Conformal quantiles of runs held out; None: those of a normal distribution.
    extrapolated : ndarray of bool, [N], or None
        Rows whose readings lie outside the range of the training, where it is known.
    tails : Tails
        Distribution of errors.
    normal : ndarray of bool, [N], or None
        Rows whose errors are normal nevertheless; see `NormalErrors`.
    """

    mean: FloatArray
    std: FloatArray
    std_mean: FloatArray
    level_code: npt.NDArray[np.int8]
    support: IntArray | None = None
    calibration: RunCalibration | None = None
    extrapolated: BoolArray | None = None
    tails: Tails = NORMAL
    normal: BoolArray | None = None

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
            half = self.tails.half_width(self.std, self.std_mean, coverage)
            if self.normal is None:
                return half
            return np.where(self.normal, NORMAL.half_width(self.std, self.std_mean, coverage), half)
        return self.calibration.half_width(self.std, self.support, coverage, self.extrapolated)

    @property
    def level(self) -> npt.NDArray[np.str_]:
        """Where the coefficients of each row came from, [N]; see `LEVELS`."""
        return np.array(LEVELS)[self.level_code]

    def take(self, rows: BoolArray | IntArray) -> Prediction:
        """Return the prediction of some rows, given as a mask [N] or by number."""
        return Prediction(
            self.mean[rows],
            self.std[rows],
            self.std_mean[rows],
            self.level_code[rows],
            support=None if self.support is None else self.support[rows],
            calibration=self.calibration,
            extrapolated=None if self.extrapolated is None else self.extrapolated[rows],
            tails=self.tails,
            normal=None if self.normal is None else self.normal[rows],
        )


@dataclass(frozen=True)
class NormalErrors:
    """A fit with normal errors, for rows of whose line heavy tails leave too little.

    Rows that are far off weigh little where errors have heavy tails. Where most of them are, in a
    pair or towards an end of the covariates, they are no outliers but all that is known.

    Parameters
    ----------
    summaries : Stage1CoeffSummaries
        That fit, to the same pairs.
    cov : ndarray, [G, D, D]
        Covariance of the pairs' coefficients by the fit with heavy tails, were its rows of equal
        weight.
    left : float
        Share of what they say then, below which heavy tails leave too little.
    """

    summaries: Stage1CoeffSummaries
    cov: FloatArray
    left: float

    @cached_property
    def lines(self) -> LineTable:
        """Lines of the pairs at equal weights."""
        return LineTable(self.summaries.mean, self.cov)


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
    calibration : RunCalibration or None
        Conformal quantiles of runs held out; see `calibrate_intervals`.
    structure : StructureTable or None
        Candidates that were tried, where the structure was chosen.
    tails : Tails
        Distribution of errors; σ² is their scale.
    leave_out : float or None
        Distance, in σ, from which training rows were left out.
    runs : RunEffects or None
        Effects of runs, where the model has them.
    unseen : Stage1CoeffSummaries or None
        What speaks of pairs never seen where another structure does, without pairs of its own;
        errors, effects of runs and calibration are those of this artefact.
    normal : NormalErrors or None
        What speaks of lines of which heavy tails leave too little.
    priors : tuple of str
        Of the scales, in words: ``sigma ~ half_t(4, 0.31)``; none where the method has none.

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
    calibration: RunCalibration | None = None
    schema_version: int = SCHEMA_VERSION
    structure: StructureTable | None = None
    tails: Tails = NORMAL
    leave_out: float | None = None
    priors: tuple[str, ...] = ()
    runs: RunEffects | None = None
    unseen: Stage1CoeffSummaries | None = None
    normal: NormalErrors | None = None

    def __post_init__(self) -> None:
        check_summaries(self.features, self.coefficients, self.noise, self.n, self.calibration)
        if self.normal is not None:
            others, cov = self.normal.summaries.keys, self.normal.cov
            check_equal(self.keys, others, cov, self.features.n_coefficients)

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
        """Posterior mean of σ², of groups without their own; see `Tails` for the variance."""
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
    def weighs_rows(self) -> bool:
        """Whether training rows differ in weight."""
        return self.tails != NORMAL or self.leave_out is not None

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
        runs: npt.ArrayLike | None = None,
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
        runs : array_like, [N], or None
            Names of the rows' runs, where the model has effects of runs; None: never seen.

        Returns
        -------
        Prediction
            NaN where the model says nothing of a pair never seen.

        Raises
        ------
        RTRidgeError
            If lengths differ, a covariate is missing or not finite, or an id is out of range.
        """
        covariates = self.features.covariates(X)
        size = len(covariates)
        group_ids = _column(groups, size, "groups")
        compound_ids = _column(compounds, size, "compounds")
        parent_ids = None if parents is None else _column(parents, size, "parents")
        z, pairs = self._described(descriptors), (group_ids, compound_ids)
        mean, variance, noise, level = self._lines(covariates, pairs, parent_ids, z)
        if self.unseen is not None:
            new = np.flatnonzero(level != LEVELS.index("pair"))
            pairs = (group_ids[new], compound_ids[new])
            above = None if parent_ids is None else parent_ids[new]
            z = None if z is None else z[new]
            of_new = self.unseen._lines(covariates[new], pairs, above, z)
            mean[new], variance[new], noise[new], level[new] = of_new
        if self.runs is not None:
            shift, unknown = self.runs.of(runs, size)
            mean, variance = mean + shift, variance + unknown
        # A new measurement scatters about the expected time by its group's noise.
        total = variance + self.tails.variance * noise
        normal = None
        if self.normal is not None:
            keys = pack(group_ids, compound_ids)
            share = self.share_left(self.normal.lines, covariates, keys)
            normal = share < self.normal.left
            rows = np.flatnonzero(normal)
            pairs = (group_ids[rows], compound_ids[rows])
            mean[rows], variance[rows], noise, _ = self.normal.summaries._lines(
                covariates[rows], pairs, None, None
            )
            total[rows] = variance[rows] + noise
        floats = (mean, np.sqrt(total), np.sqrt(variance))
        found = Prediction(*floats, level, tails=self.tails, normal=normal)
        beyond = self.features.beyond(covariates)
        if beyond is not None:
            found = replace(found, extrapolated=(beyond != 0).any(axis=1))
        if self.calibration is None:
            return found
        support = self.support(group_ids, compound_ids)
        outside = self.calibration.extrapolated(covariates)
        return replace(found, support=support, calibration=self.calibration, extrapolated=outside)

    def _lines(
        self,
        covariates: FloatArray,
        pairs: tuple[IntArray, IntArray],
        parents: IntArray | None,
        descriptors: FloatArray | None,
    ) -> tuple[FloatArray, FloatArray, FloatArray, npt.NDArray[np.int8]]:
        """Return mean and variance of the line at each row, σ², and where it comes from, [N]."""
        located = self.coefficients.locate(*pairs, parents)
        design = self.features.design(covariates)
        mean, variance = self.coefficients.moments(design, located, descriptors)
        beyond = self.features.beyond(covariates)
        if beyond is not None:
            variance = variance + self._unsure(beyond, located)
        return mean, variance, self.noise.of(pairs[0]), located.level

    def _unsure(self, beyond: FloatArray, located: Located) -> FloatArray:
        """Return the variance of not knowing how far slopes go on beyond the training, [N]."""
        variance = np.zeros(len(beyond))
        rows = np.flatnonzero((beyond != 0).any(axis=1))
        share = 0.0 if self.features.range is None else self.features.range.unsure
        if share and len(rows):
            design = np.concatenate([np.zeros((len(rows), 1)), beyond[rows]], axis=1)
            mean, spread = self.coefficients.moments(design, located.take(rows))
            # Of a product with the share: the second moment of the step, times its variance.
            variance[rows] = share * np.nan_to_num(mean**2 + spread)
        return variance

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

    def share_left(self, equal: LineTable, covariates: FloatArray, keys: IntArray) -> FloatArray:
        """Return what weights leave of what rows of equal weight say of a line, [N].

        Parameters
        ----------
        equal : LineTable
            Lines of the pairs at equal weights.
        covariates : ndarray, [N, P]
            As the table has them.
        keys : ndarray of int64, [N]
            Pairs; 1 of pairs never seen.
        """
        located = self.coefficients.locate(*unpack(keys))
        share, seen = np.ones(len(keys)), np.flatnonzero(located.source == 0)
        design, pairs = self.features.design(covariates[seen]), located.take(seen)
        weighted = self.coefficients.moments(design, pairs)[1]
        share[seen] = equal.moments(design, pairs.row)[1] / weighted
        return share

    def levels_alone(self) -> Stage1CoeffSummaries:
        """Return what is said of pairs never seen, without the pairs that were."""
        known = self.coefficients
        none = replace(known, keys=known.keys[:0], mean=known.mean[:0], cov=known.cov[:0])
        return replace(self, coefficients=none, n=self.n[:0], normal=None)

    def save(self, path: str | Path) -> None:
        """Write an npz file atomically, without pickle."""
        arrays = {"schema": np.array(SCHEMA), **_arrays(self)}
        if self.unseen is not None:
            arrays |= {_UNSEEN + name: array for name, array in _arrays(self.unseen).items()}
        if self.normal is not None:
            inner = _arrays(self.normal.summaries)
            inner |= {"equal_cov": self.normal.cov, "left": np.array(self.normal.left)}
            arrays |= {_NORMAL + name: array for name, array in inner.items()}
        write_npz(arrays, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Stage1CoeffSummaries:
        """Read what `save` wrote.

        Raises
        ------
        RTRidgeError
            If the file is no artefact, of another schema, or wrong in any way listed above.
        """
        arrays = read_npz(Path(path), "artefact")
        found = (str(_take(arrays, "schema", "U")), int(_take(arrays, "schema_version", "iu")))
        if found == (SCHEMA, 1):
            arrays = {_VERSION_1.get(name, name): array for name, array in arrays.items()}
        elif found not in ((SCHEMA, 2), (SCHEMA, SCHEMA_VERSION)):
            raise RTRidgeError(
                f"schema ({Path(path).name}): expected {SCHEMA} version {SCHEMA_VERSION};"
                f" found {found[0]} version {found[1]}"
            )
        return _summaries(arrays)


def _summaries(arrays: Arrays) -> Stage1CoeffSummaries:
    unseen, normal = (
        {name.removeprefix(of): a for name, a in arrays.items() if name.startswith(of)}
        for of in (_UNSEEN, _NORMAL)
    )
    errors = None
    if normal:
        left = float(_take(normal, "left", "f"))
        errors = NormalErrors(_summaries(normal), _take(normal, "equal_cov", "f"), left)
    return Stage1CoeffSummaries(
        group_col=str(_take(arrays, "group_col", "U")),
        features=_features(arrays),
        coefficients=_coefficients(arrays),
        noise=NoiseVariance(
            float(_take(arrays, "sigma2_mean", "f")),
            _take(arrays, "sigma2_group_ids", "i"),
            _take(arrays, "sigma2_group_mean", "f"),
        ),
        n=_take(arrays, "n", "i"),
        method=str(_take(arrays, "method", "U")),
        calibration=_calibration(arrays),
        structure=_structure(arrays),
        tails=_tails(arrays),
        leave_out=float(arrays["leave_out"]) if "leave_out" in arrays else None,
        priors=_priors(arrays),
        runs=_runs(arrays),
        unseen=_summaries(unseen) if unseen else None,
        normal=errors,
    )


def _column(values: npt.ArrayLike, n_rows: int, name: str) -> IntArray:
    ids = np.asarray(values)
    if ids.shape != (n_rows,):
        raise RTRidgeError(f"{name}: expected shape [{n_rows}]; found {list(ids.shape)}")
    if name == "parents":
        # Unknown supercategories are written -1, which is no id.
        return np.where(ids == -1, -1, check_ids(np.where(ids == -1, 0, ids), name))
    return check_ids(ids, name)


def _arrays(summaries: Stage1CoeffSummaries) -> Arrays:
    coefficients, features = summaries.coefficients, summaries.features
    arrays: Arrays = {
        "schema_version": np.array(SCHEMA_VERSION),
        "group_col": np.array(summaries.group_col),
        "method": np.array(summaries.method),
        "feature_names": np.array(features.names, dtype=np.str_),
        "feature_center": features.center,
        "anchor_expansion": np.array(features.expansion),
        "keys": coefficients.keys,
        "mean": coefficients.mean,
        "cov": coefficients.cov,
        "n": summaries.n,
        "sigma2_mean": np.array(summaries.noise.mean),
        "sigma2_group_ids": summaries.noise.group_ids,
        "sigma2_group_mean": summaries.noise.group_mean,
        "levels": np.array([level.name for level in coefficients.levels], dtype=np.str_),
    }
    arrays |= _error_arrays(summaries)
    if features.rotation is not None:
        arrays["feature_rotation"] = features.rotation
    if features.scale is not None:
        arrays["feature_scale"] = features.scale
    if features.range is not None:
        arrays |= _parts("range", features.range, ("low", "high"))
        arrays["range_follow"] = np.array(features.range.follow)
    if summaries.priors:
        arrays["priors"] = np.array(summaries.priors, dtype=np.str_)
    if summaries.structure is not None:
        arrays["structure_names"] = np.array(summaries.structure.names, dtype=np.str_)
        arrays |= _parts("structure", summaries.structure, SCORES)
    if summaries.calibration is not None:
        stored = summaries.calibration.to_arrays()
        arrays |= {_CALIBRATION + name: array for name, array in stored.items()}
    for level in coefficients.levels:
        arrays |= _parts(f"level_{level.name}", level, _TABLE)
    if coefficients.compound is not None:
        arrays |= _parts("compound", coefficients.compound, (*_TABLE, "new_cov"))
    if coefficients.parents is not None:
        arrays |= _parts("parents", coefficients.parents, ("group", "parent"))
    arrays |= _class_arrays(coefficients.classes)
    return arrays | _descriptor_arrays(coefficients.descriptors)


def _error_arrays(summaries: Stage1CoeffSummaries) -> Arrays:
    """Return what a file keeps of errors; nothing where they are normal, as in earlier files."""
    arrays: Arrays = {}
    if summaries.tails.likelihood != "gaussian":
        arrays |= summaries.tails.to_arrays()
    if summaries.runs is not None:
        arrays |= summaries.runs.to_arrays()
    if summaries.leave_out is not None:
        arrays["leave_out"] = np.array(summaries.leave_out)
    return arrays


def _class_arrays(effect: ClassEffect | None) -> Arrays:
    if effect is None:
        return {}
    arrays: Arrays = {"class_compounds": effect.compounds, "class_of_compound": effect.classes}
    for name, table in (("own", effect.own), ("within", effect.within)):
        if table is not None:
            arrays |= _parts(f"class_{name}", table, (*_TABLE, "new_cov"))
    return arrays


def _descriptor_arrays(effect: DescriptorEffect | None) -> Arrays:
    if effect is None:
        return {}
    arrays: Arrays = {
        "descriptor_names": np.array(effect.names, dtype=np.str_),
        "descriptor_heads": np.array([head.name for head in effect.heads], dtype=np.str_),
    }
    arrays |= _parts("descriptor", effect, _DESCRIBED)
    for head in effect.heads:
        arrays |= _parts(f"head_{head.name}", head, _TABLE)
    return arrays


def _parts(prefix: str, of: object, names: tuple[str, ...]) -> Arrays:
    return {f"{prefix}_{name}": getattr(of, name) for name in names}


def _take(arrays: Arrays, name: str, kinds: str) -> Any:
    """Return an entry whose dtype is of one of the `kinds` that numpy names by a letter."""
    if name not in arrays:
        raise RTRidgeError(f"artefact: lacks {name!r}; it has {listed(sorted(arrays), 30)}")
    array = arrays[name]
    if array.dtype.kind not in kinds or (kinds in ("i", "f") and array.dtype.itemsize != 8):
        names = {"i": "int64", "f": "float64", "U": "text", "iu": "a whole number"}
        raise RTRidgeError(f"{name}: expected {names[kinds]}, found {array.dtype}")
    if array.ndim == 0 or name not in _SCALARS:
        return array
    raise RTRidgeError(f"{name}: expected one value, found shape {list(array.shape)}")


def _features(arrays: Arrays) -> FeatureMap:
    rotation = None
    if "feature_rotation" in arrays:
        rotation = _take(arrays, "feature_rotation", "f")
    return FeatureMap(
        tuple(str(name) for name in _take(arrays, "feature_names", "U")),
        _take(arrays, "feature_center", "f"),
        rotation,
        cast(AnchorExpansion, str(_take(arrays, "anchor_expansion", "U"))),
        _take(arrays, "feature_scale", "f") if "feature_scale" in arrays else None,
        _range(arrays),
    )


def _tails(arrays: Arrays) -> Tails:
    if "likelihood" not in arrays:
        return NORMAL
    likelihood = str(_take(arrays, "likelihood", "U"))
    if likelihood not in get_args(Likelihood):
        hint = did_you_mean(likelihood, get_args(Likelihood))
        raise RTRidgeError(f"likelihood: unknown {likelihood!r}; {hint}")
    nu, share, spread = (float(_take(arrays, name, "f")) for name in ("nu", "share", "spread"))
    if not (nu > 2 and 0 < share < 1 and spread > 1 and np.isfinite([nu, spread]).all()):
        raise RTRidgeError(
            "likelihood: expected nu > 2, a share in (0, 1) and a spread > 1; found "
            f"{nu}, {share} and {spread}"
        )
    return Tails(cast(Likelihood, likelihood), nu, share, spread)


def _runs(arrays: Arrays) -> RunEffects | None:
    if "run_names" not in arrays:
        return None
    prior = str(_take(arrays, "run_prior", "U"))
    if prior not in get_args(RunPrior):
        hint = did_you_mean(prior, get_args(RunPrior))
        raise RTRidgeError(f"run_prior: unknown {prior!r}; {hint}")
    mean, variance = (_take(arrays, f"run_{name}", "f") for name in ("mean", "variance"))
    names = tuple(str(name) for name in _take(arrays, "run_names", "U"))
    new = float(_take(arrays, "run_new_variance", "f"))
    if not (mean.shape == variance.shape == (len(names),) and new >= 0 and (variance >= 0).all()):
        raise RTRidgeError(
            f"run_mean, run_variance: expected one of each of {len(names)} runs, variances >= 0"
        )
    column = str(_take(arrays, "run_column", "U"))
    return RunEffects(column, names, mean, variance, new, cast(RunPrior, prior))


def _priors(arrays: Arrays) -> tuple[str, ...]:
    if "priors" not in arrays:
        return ()
    return tuple(str(prior) for prior in _take(arrays, "priors", "U"))


def _structure(arrays: Arrays) -> StructureTable | None:
    if "structure_names" not in arrays:
        return None
    names = tuple(str(name) for name in _take(arrays, "structure_names", "U"))
    return StructureTable(names, **{n: _take(arrays, f"structure_{n}", "f") for n in SCORES})


def _range(arrays: Arrays) -> ReadingRange | None:
    if "range_low" not in arrays:
        return None
    low, high = (_take(arrays, f"range_{end}", "f") for end in ("low", "high"))
    return ReadingRange(low, high, float(_take(arrays, "range_follow", "f")))


def _calibration(arrays: Arrays) -> RunCalibration | None:
    if "calibration_scores" in arrays:
        names = [name for name in arrays if name.startswith(_CALIBRATION)]
        own = {name.removeprefix(_CALIBRATION): arrays[name] for name in names}
        return RunCalibration.from_arrays(own)
    if "calibration_quantiles" not in arrays:
        return None
    outside = None
    if "extrapolation_quantiles" in arrays:
        low, high, quantiles = (_take(arrays, f"extrapolation_{part}", "f") for part in _OUTSIDE)
        outside = (low, high, quantiles)
    coverages, quantiles = (
        _take(arrays, f"{_CALIBRATION}{part}", "f") for part in ("coverages", "quantiles")
    )
    edges = _take(arrays, f"{_CALIBRATION}edges", "i")
    return RunCalibration.of_quantiles(coverages, quantiles, edges, outside)


def _coefficients(arrays: Arrays) -> CoefficientPredictor:
    levels = tuple(
        BackoffLevel(str(name), *_table(arrays, f"level_{name}_"))
        for name in _take(arrays, "levels", "U")
    )
    compound = None
    if "compound_ids" in arrays:
        new_cov = _take(arrays, "compound_new_cov", "f")
        compound = CompoundEffect(*_table(arrays, "compound_"), new_cov)
    parents = None
    if "parents_group" in arrays:
        group = _take(arrays, "parents_group", "i")
        parents = GroupParents(group, _take(arrays, "parents_parent", "i"))
    keys = _take(arrays, "keys", "i")
    mean, cov = _take(arrays, "mean", "f"), _take(arrays, "cov", "f")
    described = _descriptors(arrays)
    upper = (levels, compound, parents, described, _classes(arrays))
    return CoefficientPredictor(keys, mean, cov, *upper)


def _classes(arrays: Arrays) -> ClassEffect | None:
    if "class_compounds" not in arrays:
        return None
    known = (_take(arrays, name, "i") for name in ("class_compounds", "class_of_compound"))
    tables = (
        ClassTable(*_table(arrays, f"class_{name}_"), _take(arrays, f"class_{name}_new_cov", "f"))
        if f"class_{name}_ids" in arrays
        else None
        for name in ("own", "within")
    )
    return ClassEffect(*known, *tables)


def _descriptors(arrays: Arrays) -> DescriptorEffect | None:
    if "descriptor_names" not in arrays:
        return None
    kinds = {"ids": "i"}
    return DescriptorEffect(
        names=tuple(str(name) for name in _take(arrays, "descriptor_names", "U")),
        heads=tuple(
            BackoffLevel(str(name), *_table(arrays, f"head_{name}_"))
            for name in _take(arrays, "descriptor_heads", "U")
        ),
        **{part: _take(arrays, f"descriptor_{part}", kinds.get(part, "f")) for part in _DESCRIBED},
    )


def _table(arrays: Arrays, prefix: str) -> tuple[Any, Any, Any]:
    ids = _take(arrays, prefix + "ids", "i")
    return ids, _take(arrays, prefix + "mean", "f"), _take(arrays, prefix + "cov", "f")
