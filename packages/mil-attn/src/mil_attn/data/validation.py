"""Check of a whole data set when it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mil_attn.data.checks import (
    check_bounds,
    check_classes,
    check_distinct,
    check_features,
    check_shape,
    check_targets,
    check_weights,
)
from mil_attn.errors import MILError

if TYPE_CHECKING:
    from mil_attn.data.bag_data import BagData


def check_data(data: BagData) -> None:
    """Raise MILError at the first thing of a data set that is wrong; see `BagData`."""
    check_distinct("ids", data.ids)
    _check_features(data)
    _check_targets(data)


def _check_features(data: BagData) -> None:
    n = len(data.ids)
    if data.instances is None and data.x2d is None:
        raise MILError("features: expected instances, x2d or both; found neither.")
    if data.smiles is not None and len(data.smiles) != n:
        raise MILError(f"smiles: expected one a bag, {n}; found {len(data.smiles)}.")
    if data.x2d is not None:
        check_shape("x2d", data.x2d, n, len(data.feature_names_2d))
        check_features(
            "x2d",
            data.x2d,
            data.feature_names_2d,
            lambda r: f"bag {data.ids[r]!r}, row {r + 1}",
            undefined_ok=data.undefined_ok,
        )
    if data.instances is not None:
        _check_instances(data, data.instances)


def _check_instances(data: BagData, instances: NDArray[np.float32]) -> None:
    m = len(instances)
    check_shape("instances", instances, m, len(data.feature_names_3d))
    check_bounds(data.bounds, data.ids, m)
    for name in ("instance_ids", "energies"):
        value = getattr(data, name)
        if value is not None and len(value) != m:
            raise MILError(f"{name}: expected one an instance, {m}; found {len(value)}.")
    check_features(
        "instances",
        instances,
        data.feature_names_3d,
        lambda r: f"row {r + 1}, of bag {data.ids[data.bag_of(r)]!r}",
        undefined_ok=data.undefined_ok,
    )


def _check_targets(data: BagData) -> None:
    n, t = len(data.ids), len(data.task_names)
    check_distinct("task_names", data.task_names)
    if data.labels is not None:
        check_shape("labels", data.labels, n, t)
        if data.task_kind == "classification":
            check_classes(data.labels, data.task_names, data.ids)
        check_targets("labels of task", data.labels, data.task_names, data.ids)
    if data.weights is not None:
        check_shape("weights", data.weights, n, t)
        check_weights("weights", data.weights, data.ids)
    for group, values in data.aux.items():
        names = data.aux_names[group]
        check_shape(f"aux[{group!r}]", values, n, len(names))
        check_targets("auxiliary target", values, names, data.ids)
    for group, weights in data.aux_weights.items():
        if group not in data.aux:
            raise MILError(
                f"aux_weights: expected groups of aux, {list(data.aux)}; found {group!r}."
            )
        check_shape(f"aux_weights[{group!r}]", weights, n, data.aux[group].shape[1])
        check_weights(f"aux_weights[{group!r}]", weights, data.ids)
