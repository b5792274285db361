"""What an artefact must be to be predicted from; each fault has a message of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from molpool_common import FloatArray, IntArray

from rt_ridge._errors import RTRidgeError, did_you_mean
from rt_ridge.prediction._backoff import CoefficientPredictor, CompoundEffect, NoiseVariance
from rt_ridge.prediction._conformal import RunCalibration
from rt_ridge.prediction._effects import BackoffLevel, ClassEffect, ClassTable, DescriptorEffect
from rt_ridge.tables._features import FeatureMap
from rt_ridge.tables._keys import unpack

Label = Callable[[int], str]

LEVEL_NAMES = ("group", "parent", "global")
EXPANSIONS = ("none", "poly2")

ROUNDING = 1e-9
"""Asymmetry, or a negative eigenvalue, over the largest entry that rounding explains."""


def check_summaries(
    features: FeatureMap,
    coefficients: CoefficientPredictor,
    noise: NoiseVariance,
    n: IntArray,
    calibration: RunCalibration | None,
) -> None:
    """Raise `RTRidgeError` naming the first thing that is wrong; see `Stage1CoeffSummaries`."""
    _check_features(features)
    size = features.n_coefficients
    _check_pairs(coefficients, n, size)
    _check_levels(coefficients.levels, size, "level")
    _check_effect(coefficients.compound, size, "compound")
    _check_descriptors(coefficients.descriptors, size)
    _check_classes(coefficients.classes, size)
    _check_parents(coefficients)
    _check_noise(noise)
    if calibration is not None and calibration.low is not None:
        _check_array("calibration: low", calibration.low, (len(features.names),))


def check_equal(keys: IntArray, of_normal: IntArray, cov: FloatArray, size: int) -> None:
    """Raise `RTRidgeError` unless a fit with normal errors is of the same pairs.

    Parameters
    ----------
    keys, of_normal : ndarray of int64, [G]
        Pairs of a fit with heavy tails, and of one with normal errors.
    cov : ndarray, [G, D, D]
        Covariance of coefficients at equal weights.
    size : int
        D.
    """
    if not np.array_equal(keys, of_normal):
        raise RTRidgeError("normal: expected the pairs of the fit with heavy tails, found others")
    _check_array("normal: equal_cov", cov, (len(keys), size, size))
    _check_definite("normal: equal_cov", cov, _of_pair(keys))


def _check_features(features: FeatureMap) -> None:
    """Raise `RTRidgeError` unless centre, rotation and expansion fit the names."""
    size = len(features.names)
    if len(set(features.names)) != size:
        raise RTRidgeError(f"feature_names: expected distinct names, found {features.names}")
    _check_array("feature_center", features.center, (size,))
    if features.rotation is not None:
        _check_array("feature_rotation", features.rotation, (size, size))
        # Centred readings must be turned, not stretched: slopes are in the covariates' unit.
        turned = features.rotation.T @ features.rotation
        if not np.allclose(turned, np.eye(size), rtol=0, atol=1e-8):
            raise RTRidgeError("feature_rotation: expected an orthogonal matrix, found another")
    if features.scale is not None:
        _check_array("feature_scale", features.scale, (features.n_coefficients - 1,))
        if (features.scale <= 0).any():
            raise RTRidgeError(f"feature_scale: expected > 0, found {features.scale.min()}")
    if features.range is not None:
        _check_array("range_low", features.range.low, (size,))
        _check_array("range_high", features.range.high, (size,))
        follow = features.range.follow
        if not 0 <= follow <= 1 or (features.range.low > features.range.high).any():
            raise RTRidgeError(
                "range: expected low <= high and a share to follow in [0, 1], found "
                f"{features.range.low.tolist()}, {features.range.high.tolist()} and {follow}"
            )
    if features.expansion not in EXPANSIONS:
        hint = did_you_mean(features.expansion, EXPANSIONS)
        raise RTRidgeError(f"anchor_expansion: unknown {features.expansion!r}; {hint}")


def _check_pairs(coefficients: CoefficientPredictor, n: IntArray, size: int) -> None:
    keys = coefficients.keys
    _check_ids("keys", keys)
    label = _of_pair(keys)
    _check_table("", (coefficients.mean, coefficients.cov), (len(keys), size), label)
    _check_definite("cov", coefficients.cov, label, strictly=True)
    _check_array("n", n, (len(keys),))
    if (n < 1).any():
        row = int(np.flatnonzero(n < 1)[0])
        raise RTRidgeError(f"n: expected at least 1, found {n[row]} for {label(row)}")


def _of_pair(keys: IntArray) -> Label:
    def label(row: int) -> str:
        group, compound = unpack(keys[row : row + 1])
        return f"group {group[0]}, compound {compound[0]}"

    return label


def _check_levels(levels: Sequence[BackoffLevel], size: int, kind: str) -> None:
    names = [level.name for level in levels]
    for name in names:
        if name not in LEVEL_NAMES:
            raise RTRidgeError(f"{kind}s: unknown {name!r}; {did_you_mean(name, LEVEL_NAMES)}")
    if names != [name for name in LEVEL_NAMES if name in names]:
        raise RTRidgeError(f"{kind}s: expected each once and the nearest first, found {names}")
    for level in levels:
        prefix = f"{kind} {level.name}: "
        _check_ids(prefix + "ids", level.ids)
        if level.name == "global" and level.ids.tolist() != [0]:
            raise RTRidgeError(f"{prefix}ids: expected [0], found {level.ids.tolist()[:5]}")
        label = _labelled("id", level.ids)
        _check_table(prefix, (level.mean, level.cov), (len(level.ids), size), label)
        _check_definite(prefix + "cov", level.cov, label)


def _check_effect(effect: CompoundEffect | ClassTable | None, size: int, name: str) -> None:
    if effect is None:
        return
    _check_ids(f"{name}: ids", effect.ids)
    label = _labelled(name, effect.ids)
    _check_table(f"{name}: ", (effect.mean, effect.cov), (len(effect.ids), size), label)
    _check_definite(f"{name}: cov", effect.cov, label)
    _check_array(f"{name}: new_cov", effect.new_cov, (size, size))
    _check_definite(f"{name}: new_cov", effect.new_cov[None], lambda row: f"a new {name}")


def _check_descriptors(effect: DescriptorEffect | None, size: int) -> None:
    if effect is None:
        return
    width = len(effect.names)
    _check_ids("descriptor: ids", effect.ids)
    _check_array("descriptor: center", effect.center, (width,))
    label = _labelled("compound", effect.ids)
    _check_array("descriptor: values", effect.values, (len(effect.ids), width), label)
    # Coefficients of intercepts alone, or of slopes too.
    length = width * (size if effect.mean.shape == (width * size,) else 1)
    _check_array("descriptor: mean", effect.mean, (length,))
    for name, matrix, side in (("cov", effect.cov, length), ("blind_cov", effect.blind_cov, size)):
        _check_array(f"descriptor: {name}", matrix, (side, side))
        _check_definite(f"descriptor: {name}", matrix[None], lambda row: "all compounds")
    _check_levels(effect.heads, length, "head")


def _check_classes(effect: ClassEffect | None, size: int) -> None:
    if effect is None:
        return
    _check_ids("class: compounds", effect.compounds)
    _check_array("class: of compounds", effect.classes, effect.compounds.shape)
    _check_effect(effect.own, size, "class")
    _check_effect(effect.within, size, "class within supercategory")


def _check_parents(coefficients: CoefficientPredictor) -> None:
    parents = coefficients.parents
    if parents is None:
        return
    _check_ids("parents: group", parents.group)
    _check_array("parents: parent", parents.parent, parents.group.shape)


def _check_noise(noise: NoiseVariance) -> None:
    _check_ids("sigma2: group_ids", noise.group_ids)
    _check_array("sigma2: group_mean", noise.group_mean, noise.group_ids.shape)
    for value in (noise.mean, *noise.group_mean[noise.group_mean <= 0]):
        if not (np.isfinite(value) and value > 0):
            raise RTRidgeError(f"sigma2_mean: expected a positive number, found {value}")


def _check_definite(name: str, cov: FloatArray, label: Label, *, strictly: bool = False) -> None:
    """Raise `RTRidgeError` unless every matrix is symmetric and positive (semi)definite.

    Parameters
    ----------
    name : str
        Of the table, for the message.
    cov : ndarray, [L, D, D]
        The matrices.
    label : callable
        Names a row.
    strictly : bool
        Whether an eigenvalue of 0 is refused too.
    """
    if not len(cov):
        return
    largest = np.abs(cov).max(axis=(1, 2))
    skew = np.abs(cov - cov.transpose(0, 2, 1)).max(axis=(1, 2))
    _refuse(f"{name}: expected symmetric", skew > ROUNDING * largest, skew, "asymmetry", label)
    # Quick where all is well; eigenvalues are for naming the pair that fails.
    if strictly and _has_cholesky(cov):
        return
    smallest = np.linalg.eigvalsh(cov)[:, 0]
    bad = smallest <= 0 if strictly else smallest < -ROUNDING * largest
    kind = "positive definite" if strictly else "positive semidefinite"
    _refuse(f"{name}: expected {kind}", bad, smallest, "eigenvalue", label)


def _has_cholesky(cov: FloatArray) -> bool:
    try:
        np.linalg.cholesky(cov)
    except np.linalg.LinAlgError:
        return False
    return True


def _refuse(
    message: str, bad: npt.NDArray[np.bool_], value: npt.NDArray[Any], what: str, label: Label
) -> None:
    rows = np.flatnonzero(bad)
    if len(rows):
        row = int(rows[0])
        rest = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
        raise RTRidgeError(f"{message}, found {what} {value[row]:.3g} for {label(row)}{rest}")


def _check_table(
    prefix: str, table: tuple[FloatArray, FloatArray], shape: tuple[int, int], label: Label
) -> None:
    rows, size = shape
    _check_array(f"{prefix}mean", table[0], (rows, size), label)
    _check_array(f"{prefix}cov", table[1], (rows, size, size), label)


def _check_array(
    name: str, array: npt.NDArray[Any], shape: tuple[int, ...], label: Label | None = None
) -> None:
    if array.shape != shape:
        raise RTRidgeError(f"{name}: expected shape {list(shape)}, found {list(array.shape)}")
    if array.dtype.kind not in "if" or array.dtype.itemsize != 8:
        raise RTRidgeError(f"{name}: expected float64 or int64, found {array.dtype}")
    finite = np.isfinite(array)
    if not finite.all():
        place = tuple(int(i) for i in np.argwhere(~finite)[0])
        where = label(place[0]) if label else f"entry {list(place)}"
        raise RTRidgeError(f"{name}: expected finite values, found {array[place]} for {where}")


def _check_ids(name: str, ids: IntArray) -> None:
    if ids.ndim != 1 or ids.dtype != np.int64:
        raise RTRidgeError(f"{name}: expected int64 [L], found {ids.dtype} {list(ids.shape)}")
    drop = np.flatnonzero(np.diff(ids) <= 0)
    if len(drop):
        after = f"{ids[drop[0] + 1]} after {ids[drop[0]]}"
        raise RTRidgeError(f"{name}: expected ascending, found {after}")
    if len(ids) and ids[0] < 0:
        raise RTRidgeError(f"{name}: expected ids >= 0, found {ids[0]}")


def _labelled(what: str, ids: IntArray) -> Label:
    return lambda row: f"{what} {ids[row]}"
