"""Coefficients of standardised regressors in the units of the regressors themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np
from molpool_common import FloatArray

from rt_ridge.prediction._backoff import CoefficientPredictor, CompoundEffect
from rt_ridge.prediction._effects import BackoffLevel, ClassEffect, ClassTable, DescriptorEffect

Table = TypeVar("Table", BackoffLevel, CompoundEffect, ClassTable)


def in_units(coefficients: CoefficientPredictor, scale: FloatArray) -> CoefficientPredictor:
    """Return coefficients per unit of each regressor.

    Parameters
    ----------
    coefficients : CoefficientPredictor
        Per standard deviation.
    scale : ndarray, [D - 1]
        Those standard deviations.
    """
    per_unit = np.append(1.0, 1 / scale)
    c = coefficients
    return replace(
        c,
        mean=c.mean * per_unit,
        cov=_squared(c.cov, per_unit),
        levels=tuple(_table(level, per_unit) for level in c.levels),
        compound=None if c.compound is None else _with_new(c.compound, per_unit),
        descriptors=None if c.descriptors is None else _descriptors(c.descriptors, per_unit),
        classes=None if c.classes is None else _classes(c.classes, per_unit),
    )


def _squared(cov: FloatArray, per_unit: FloatArray) -> FloatArray:
    return cov * np.outer(per_unit, per_unit)


def _table(table: Table, per_unit: FloatArray) -> Table:
    return replace(table, mean=table.mean * per_unit, cov=_squared(table.cov, per_unit))


def _with_new(table: Table, per_unit: FloatArray) -> Table:
    assert not isinstance(table, BackoffLevel)
    return replace(_table(table, per_unit), new_cov=_squared(table.new_cov, per_unit))


def _classes(effect: ClassEffect, per_unit: FloatArray) -> ClassEffect:
    own, within = (
        None if table is None else _with_new(table, per_unit)
        for table in (effect.own, effect.within)
    )
    return replace(effect, own=own, within=within)


def _descriptors(effect: DescriptorEffect, per_unit: FloatArray) -> DescriptorEffect:
    # By descriptor, then by the entries that are regressed on it: intercepts alone, or all.
    entries = len(effect.mean) // len(effect.names)
    tiled = np.tile(per_unit[:entries], len(effect.names))
    return replace(
        effect,
        mean=effect.mean * tiled,
        cov=_squared(effect.cov, tiled),
        blind_cov=_squared(effect.blind_cov, per_unit),
        heads=tuple(_table(head, tiled) for head in effect.heads),
    )
