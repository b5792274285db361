"""From a configuration and the pairs' statistics to factors and scales."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from rt_ridge.config import RidgeConfig
from rt_ridge.errors import RTRidgeError
from rt_ridge.levels import FLAT, Factor
from rt_ridge.priors import ScalePrior
from rt_ridge.scale_layout import Scale, ScaleLayout
from rt_ridge.statistics import SufficientStatistics

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

SLOPE_SCALES = {
    "parent": "tau_slope_supercategory",
    "group": "tau_slope_group",
    "compound": "tau_slope_compound",
}
HEAD_LEVELS = {"none": (), "cluster": ("parent",), "species": ("parent", "group")}


@dataclass(frozen=True)
class Units:
    """Spread of the data, to which relative priors refer.

    `rt` is the standard deviation of the target over all rows, `slope` the same over the root
    mean square of the regressors.
    """

    rt: float
    slope: float


@dataclass
class Structure:
    """Factors and scales of a model, and what was left out of it.

    `notes` holds a sentence for each effect that the data cannot tell from another.
    """

    factors: tuple[Factor, ...] = ()
    layout: ScaleLayout = field(default_factory=ScaleLayout)
    notes: list[str] = field(default_factory=list)


@dataclass
class _Columns:
    """Columns of one factor while it is being built."""

    rows: list[int] = field(default_factory=list)
    scale: list[IntArray] = field(default_factory=list)
    weights: list[FloatArray | None] = field(default_factory=list)


def data_units(stats: SufficientStatistics) -> Units:
    """Return the spread of target and regressors over all rows."""
    n = stats.n.astype(float)
    total = n.sum()
    centre = n @ stats.mean_y / total
    rt = np.sqrt((stats.syy.sum() + n @ (stats.mean_y - centre) ** 2) / total)
    squares = np.einsum("gpp->", stats.sxx) + (n[:, None] * stats.mean_x**2).sum()
    x = np.sqrt(squares / (total * max(stats.P, 1)))
    rt = float(rt) if rt > 0 else 1.0
    return Units(rt, rt / float(x) if x > 0 else rt)


def build_structure(
    stats: SufficientStatistics, config: RidgeConfig, descriptors: FloatArray | None
) -> Structure:
    """Lay out the factors of a model.

    Parameters
    ----------
    stats : SufficientStatistics
        Of G pairs.
    config : RidgeConfig
        Which effects there are.
    descriptors : ndarray, [G, d], or None
        Descriptors z of the compound of each pair.

    Raises
    ------
    RTRidgeError
        If an effect needs supercategories or descriptors that are not there.
    """
    return _Builder(stats, config, descriptors).build()


class _Builder:
    def __init__(
        self, stats: SufficientStatistics, config: RidgeConfig, descriptors: FloatArray | None
    ) -> None:
        self.stats, self.config, self.descriptors = stats, config, descriptors
        self.units = data_units(stats)
        self.structure = Structure()
        self.pooled = config.intercept_prior != "flat"
        self.ids, self.level = self._indices()

    def build(self) -> Structure:
        self._pair_scales()
        columns = {name: _Columns() for name in ("global", *self.ids)}
        if self.pooled:
            columns["global"].rows.append(0)
            columns["global"].scale.append(np.full(1, FLAT))
            columns["global"].weights.append(None)
            self._intercepts(columns)
            self._descriptors(columns)
        self._slopes(columns)
        ids = {"global": np.zeros(1, dtype=np.int64), **self.ids}
        level = {"global": np.zeros(self.stats.G, dtype=np.int64), **self.level}
        self.structure.factors = tuple(
            _factor(name, ids[name], level[name], columns[name], self.stats.G)
            for name in columns
            if columns[name].rows
        )
        return self.structure

    def _indices(self) -> tuple[dict[str, IntArray], dict[str, IntArray]]:
        ids, level = {}, {}
        if self.stats.parents is not None:
            parents = self.stats.parents
            of_pair = parents.parent[np.searchsorted(parents.group, self.stats.group_ids)]
            ids["parent"], level["parent"] = np.unique(of_pair, return_inverse=True)
        for name in ("group", "compound"):
            of_pair = self.stats.group_ids if name == "group" else self.stats.compound_ids
            ids[name], level[name] = np.unique(of_pair, return_inverse=True)
        return ids, level

    def _pair_scales(self) -> None:
        """Add the scales that pairs have, whatever lies above them."""
        config, layout, priors = self.config, self.structure.layout, self.config.priors
        rows, pairs = self.stats.n_rows, self.stats.G
        start = self._within_sd()
        layout.add(Scale("sigma", priors.sigma, self.units.rt, rows, config.sigma_fixed, start))
        if config.sigma == "group":
            layout.add(Scale("sigma_spread", priors.sigma_spread, 1.0, len(self.ids["group"])))
            layout.n_offsets = len(self.ids["group"])
        if self.pooled:
            layout.add(Scale("tau_pair", priors.intercept, self.units.rt, pairs))
        if config.lambda_slopes == "estimate" and self.stats.P:
            layout.add(Scale("tau_slope", priors.slope, self.units.slope, pairs * self.stats.P))

    def _within_sd(self) -> float | None:
        """Return the standard deviation within pairs about common slopes, None if there is none."""
        stats = self.stats
        left = float((stats.n - 1).sum()) - stats.P
        fit = np.linalg.lstsq(stats.sxx.sum(axis=0), stats.sxy.sum(axis=0), rcond=None)[0]
        scatter = float(stats.syy.sum() - fit @ stats.sxy.sum(axis=0))
        return float(np.sqrt(scatter / left)) if left > 0 and scatter > 0 else None

    def _intercepts(self, columns: dict[str, _Columns]) -> None:
        supercat = self.config.intercept_prior == "comp_hier_supercat"
        if supercat and "parent" not in self.ids:
            raise RTRidgeError(
                "intercept_prior: comp_hier_supercat needs the supercategory of each group; "
                "expected statistics with a parent column, found none"
            )
        prior, unit = self.config.priors.intercept, self.units.rt
        n_pairs, compounds = self.stats.G, len(self.ids["compound"])
        if compounds == 1 or (compounds == n_pairs and n_pairs > 1):
            why = "there is one compound" if compounds == 1 else "no compound has two pairs"
            self.structure.notes.append(f"tau_compound left out: {why}")
        else:
            self._add(columns["compound"], "compound", 0, "tau_compound", prior, unit)
        if not supercat:
            return
        if len(self.ids["parent"]) == 1:
            self.structure.notes.append("tau_supercategory left out: there is one supercategory")
        else:
            self._add(columns["parent"], "parent", 0, "tau_supercategory", prior, unit)
        self._group_intercepts(columns["group"], prior, unit)

    def _group_intercepts(self, columns: _Columns, prior: ScalePrior, unit: float) -> None:
        """Add μ_g, with a standard deviation of its own for each supercategory."""
        parent_of = np.zeros(len(self.ids["group"]), dtype=np.int64)
        parent_of[self.level["group"]] = self.level["parent"]
        counts = np.bincount(parent_of)
        places = [
            self.structure.layout.add(Scale(f"tau_group[{s}]", prior, unit, int(count)))
            for s, count in zip(self.ids["parent"], counts, strict=True)
        ]
        columns.rows.append(0)
        columns.scale.append(np.array(places)[parent_of])
        columns.weights.append(None)

    def _descriptors(self, columns: dict[str, _Columns]) -> None:
        if self.descriptors is None:
            if self.config.descriptor_heads != "none":
                raise RTRidgeError(
                    "descriptor_heads: expected compound descriptors, found none; hand them to fit"
                )
            return
        prior, unit = self.config.priors.descriptor, self.units.rt
        scales = {"parent": "tau_theta_supercategory", "group": "tau_theta_group"}
        for name in ("global", *HEAD_LEVELS[self.config.descriptor_heads]):
            if name == "global" or len(self.ids.get(name, ())) > 1:
                self._add(
                    columns[name],
                    name,
                    0,
                    scales.get(name, "tau_theta"),
                    prior,
                    unit,
                    described=True,
                )

    def _slopes(self, columns: dict[str, _Columns]) -> None:
        for name in self.config.slope_effects if self.stats.P else ():
            rows = range(1, 1 + self.stats.P)
            if name == "global":
                for row in rows:
                    columns[name].rows.append(row)
                    columns[name].scale.append(np.full(1, FLAT))
                    columns[name].weights.append(None)
                continue
            if name == "parent" and name not in self.ids:
                raise RTRidgeError(
                    "slope_head_mode: slopes by supercategory need the supercategory of each "
                    "group; expected statistics with a parent column, found none"
                )
            if len(self.ids[name]) == 1:
                self.structure.notes.append(f"{SLOPE_SCALES[name]} left out: there is one {name}")
                continue
            prior, unit = self.config.priors.slope, self.units.slope
            place = self.structure.layout.add(
                Scale(SLOPE_SCALES[name], prior, unit, len(self.ids[name]))
            )
            for row in rows:
                columns[name].rows.append(row)
                columns[name].scale.append(np.full(len(self.ids[name]), place))
                columns[name].weights.append(None)

    def _add(
        self,
        columns: _Columns,
        name: str,
        row: int,
        scale: str,
        prior: ScalePrior,
        unit: float,
        *,
        described: bool = False,
    ) -> None:
        """Add one column, or one a descriptor, that shares one scale."""
        n_levels = len(self.ids[name]) if name != "global" else 1
        place = self.structure.layout.add(Scale(scale, prior, unit, n_levels))
        weights: list[FloatArray | None] = [None]
        if described and self.descriptors is not None:
            weights = list(self.descriptors.T)
        for weight in weights:
            columns.rows.append(row)
            columns.scale.append(np.full(n_levels, place))
            columns.weights.append(weight)


def _factor(name: str, ids: IntArray, level: IntArray, columns: _Columns, n_pairs: int) -> Factor:
    weights = None
    if any(w is not None for w in columns.weights):
        ones = np.ones(n_pairs)
        weights = np.stack([ones if w is None else w for w in columns.weights], axis=1)
    return Factor(
        name=name,
        ids=ids,
        level=level,
        rows=np.array(columns.rows, dtype=np.int64),
        scale=np.stack(columns.scale, axis=1).astype(np.int64),
        described=np.array([w is not None for w in columns.weights]),
        weights=weights,
    )
