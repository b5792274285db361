"""Coefficients of other regressors, such as standardised ones, as those of the regressors."""

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
    return in_basis(coefficients, np.diag(np.append(1.0, 1 / scale)))


def in_basis(coefficients: CoefficientPredictor, back: FloatArray) -> CoefficientPredictor:
    """Return coefficients [b, w] that are `back` times those given.

    Parameters
    ----------
    coefficients : CoefficientPredictor
        Of D coefficients.
    back : ndarray, [D, D]
        From these to those of the regressors as they are.
    """
    c = coefficients
    return replace(
        c,
        mean=c.mean @ back.T,
        cov=_squared(c.cov, back),
        levels=tuple(_table(level, back) for level in c.levels),
        compound=None if c.compound is None else _with_new(c.compound, back),
        descriptors=None if c.descriptors is None else _descriptors(c.descriptors, back),
        classes=None if c.classes is None else _classes(c.classes, back),
    )


def _squared(cov: FloatArray, back: FloatArray) -> FloatArray:
    moved = back @ cov @ back.T
    return np.asarray((moved + np.swapaxes(moved, -1, -2)) / 2)


def _table(table: Table, back: FloatArray) -> Table:
    return replace(table, mean=table.mean @ back.T, cov=_squared(table.cov, back))


def _with_new(table: Table, back: FloatArray) -> Table:
    assert not isinstance(table, BackoffLevel)
    return replace(_table(table, back), new_cov=_squared(table.new_cov, back))


def _classes(effect: ClassEffect, back: FloatArray) -> ClassEffect:
    own, within = (
        None if table is None else _with_new(table, back) for table in (effect.own, effect.within)
    )
    return replace(effect, own=own, within=within)


def _descriptors(effect: DescriptorEffect, back: FloatArray) -> DescriptorEffect:
    # By descriptor, then by the entries that are regressed on it: intercepts alone, or all.
    count = len(effect.names)
    entries = len(effect.mean) // count
    tiled = np.asarray(np.kron(np.eye(count), back[:entries, :entries]), dtype=np.float64)
    return replace(
        effect,
        mean=tiled @ effect.mean,
        cov=_squared(effect.cov, tiled),
        blind_cov=_squared(effect.blind_cov, back),
        heads=tuple(_table(head, tiled) for head in effect.heads),
    )
