"""The artefact as one npz file, without pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np

from rt_ridge.backoff import BackoffLevel, CoefficientPredictor, CompoundEffect
from rt_ridge.classes import ClassEffect, ClassTable
from rt_ridge.descriptors import DescriptorEffect, HeadLevel
from rt_ridge.errors import RTRidgeError, listed
from rt_ridge.features import AnchorExpansion, FeatureMap
from rt_ridge.intervals import IntervalCalibration
from rt_ridge.npz import Arrays, read_npz, write_npz
from rt_ridge.parents import GroupParents
from rt_ridge.reach import Extrapolation
from rt_ridge.summaries import SCHEMA_VERSION, NoiseVariance, Stage1CoeffSummaries

SCHEMA = "rt_ridge.stage1_coeff_summaries"

_PARTS = ("ids", "mean", "cov")
_CALIBRATED = ("coverages", "reach", "edges")
_BEYOND = ("low", "high", "reach")
_DESCRIBED = ("center", "ids", "values", "mean", "cov", "blind_cov")


def write_summaries(summaries: Stage1CoeffSummaries, path: Path) -> None:
    """Write the artefact; see `Stage1CoeffSummaries.save`."""
    write_npz({"schema": np.array(SCHEMA), **_arrays(summaries)}, path)


def read_summaries(path: Path) -> Stage1CoeffSummaries:
    """Read an artefact; see `Stage1CoeffSummaries.load`."""
    arrays = read_npz(path, "artefact")
    found = (str(_take(arrays, "schema", "U")), int(_take(arrays, "schema_version", "iu")))
    if found != (SCHEMA, SCHEMA_VERSION):
        raise RTRidgeError(
            f"schema ({path.name}): expected {SCHEMA} version {SCHEMA_VERSION};"
            f" found {found[0]} version {found[1]}"
        )
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
    )


def _arrays(summaries: Stage1CoeffSummaries) -> Arrays:
    coefficients, features = summaries.coefficients, summaries.features
    arrays: Arrays = {
        "schema_version": np.array(summaries.schema_version),
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
    if features.rotation is not None:
        arrays["feature_rotation"] = features.rotation
    if summaries.calibration is not None:
        of = summaries.calibration
        arrays |= {f"calibration_{part}": getattr(of, part) for part in _CALIBRATED}
        if of.extrapolation is not None:
            arrays |= {f"beyond_{part}": getattr(of.extrapolation, part) for part in _BEYOND}
    for level in coefficients.levels:
        arrays |= {f"level_{level.name}_{part}": getattr(level, part) for part in _PARTS}
    if coefficients.compound is not None:
        parts = (*_PARTS, "new_cov")
        arrays |= {f"compound_{part}": getattr(coefficients.compound, part) for part in parts}
    if coefficients.parents is not None:
        arrays["parents_group"] = coefficients.parents.group
        arrays["parents_parent"] = coefficients.parents.parent
    arrays |= _class_arrays(coefficients.classes)
    return arrays | _descriptor_arrays(coefficients.descriptors)


def _class_arrays(effect: ClassEffect | None) -> Arrays:
    if effect is None:
        return {}
    arrays: Arrays = {"class_compounds": effect.compounds, "class_of_compound": effect.classes}
    for name, table in (("own", effect.own), ("within", effect.within)):
        if table is not None:
            parts = (*_PARTS, "new_cov")
            arrays |= {f"class_{name}_{part}": getattr(table, part) for part in parts}
    return arrays


def _descriptor_arrays(effect: DescriptorEffect | None) -> Arrays:
    if effect is None:
        return {}
    arrays: Arrays = {
        "descriptor_names": np.array(effect.names, dtype=np.str_),
        "descriptor_heads": np.array([head.name for head in effect.heads], dtype=np.str_),
    }
    arrays |= {f"descriptor_{part}": getattr(effect, part) for part in _DESCRIBED}
    for head in effect.heads:
        arrays |= {f"head_{head.name}_{part}": getattr(head, part) for part in _PARTS}
    return arrays


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


_SCALARS = ("schema", "schema_version", "group_col", "method", "anchor_expansion", "sigma2_mean")


def _features(arrays: Arrays) -> FeatureMap:
    rotation = None
    if "feature_rotation" in arrays:
        rotation = _take(arrays, "feature_rotation", "f")
    return FeatureMap(
        tuple(str(name) for name in _take(arrays, "feature_names", "U")),
        _take(arrays, "feature_center", "f"),
        rotation,
        cast(AnchorExpansion, str(_take(arrays, "anchor_expansion", "U"))),
    )


def _calibration(arrays: Arrays) -> IntervalCalibration | None:
    if "calibration_reach" not in arrays:
        return None
    coverages, reach = (_take(arrays, f"calibration_{part}", "f") for part in _CALIBRATED[:2])
    beyond = None
    if "beyond_reach" in arrays:
        beyond = Extrapolation(*(_take(arrays, f"beyond_{part}", "f") for part in _BEYOND))
    return IntervalCalibration(coverages, reach, _take(arrays, "calibration_edges", "i"), beyond)


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
            HeadLevel(str(name), *_table(arrays, f"head_{name}_"))
            for name in _take(arrays, "descriptor_heads", "U")
        ),
        **{part: _take(arrays, f"descriptor_{part}", kinds.get(part, "f")) for part in _DESCRIBED},
    )


def _table(arrays: Arrays, prefix: str) -> tuple[Any, Any, Any]:
    ids = _take(arrays, prefix + "ids", "i")
    return ids, _take(arrays, prefix + "mean", "f"), _take(arrays, prefix + "cov", "f")
