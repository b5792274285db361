"""What classes of compounds say of pairs never seen, averaged over the scales."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rt_ridge.classes import ClassEffect, ClassTable
from rt_ridge.compound_classes import CompoundClasses
from rt_ridge.hierarchy import State
from rt_ridge.levels import CROSSED
from rt_ridge.locations import MeanCov
from rt_ridge.mixture import Mixture
from rt_ridge.node_locations import Share
from rt_ridge.nodes import NodeTables


class ClassTables:
    """Slopes of classes, and of classes within supercategories.

    Parameters
    ----------
    tables : NodeTables
        Of the model.
    classes : CompoundClasses
        Of the compounds.

    Notes
    -----
    As compounds are about the mean of their class, classes are about the mean over all, and what
    a supercategory adds is about the mean over the classes seen there; the levels above take the
    means in. A class within a supercategory is told with the class itself: the two may be far from
    independent.
    """

    def __init__(self, tables: NodeTables, classes: CompoundClasses) -> None:
        self.tables, self.classes = tables, classes
        names = [name for name in ("class", CROSSED) if name in tables.factors]
        self._known = {name: Mixture() for name in names}
        self._new = {name: Mixture() for name in names}

    def add(self, weight: float, state: State) -> None:
        """Add the effects at one point of the scales."""
        for name, mixture in self._known.items():
            mixture.add(weight, self._moments(name, state))
            variance = self.tables.effect_variance(self.tables.factors[name], state)[0]
            new = np.diag(variance * (1 + 1 / self._size(name)))[None]
            self._new[name].add(weight, (np.zeros(new.shape[:2]), new))

    def effect(self) -> ClassEffect | None:
        """Return what the artefact holds, None if no class has an effect."""
        found = {
            name: ClassTable(
                self.tables.ids(name), *mixture.moments(), self._new[name].moments()[1][0]
            )
            for name, mixture in self._known.items()
        }
        if not found:
            return None
        known = (self.classes.ids, self.classes.classes)
        return ClassEffect(*known, found.get("class"), found.get(CROSSED))

    def _moments(self, name: str, state: State) -> MeanCov:
        tables = self.tables
        factor = tables.factors[name]
        size, place = factor.n_levels, np.arange(factor.n_levels)
        levels, shares = {name: place}, list[Share]()
        if name == CROSSED:
            parents = np.searchsorted(tables.parent_ids, factor.ids >> 32)
            shares.append(tables.mean_of_parent(parents, -1.0))
        if "class" in tables.factors:
            levels["class"] = np.searchsorted(tables.ids("class"), factor.ids & 0xFFFFFFFF)
            shares += tables.mean_class(size, -1.0)
            if tables.class_of_compound is not None:
                # What its compounds have in common is told of the class.
                slopes = tables.mean_compound(size, 1.0, levels["class"])[1]
                shares += [slopes, replace(slopes, weights=-slopes.weights, node=None, level=None)]
        return tables.moments(state, tables.node(size, levels, shares))

    def _size(self, name: str) -> float:
        """Return the number of effects that a mean is over: of the classes in one place."""
        ids = self.tables.factors[name].ids
        return len(ids) / len(np.unique(ids >> 32)) if name == CROSSED else len(ids)
