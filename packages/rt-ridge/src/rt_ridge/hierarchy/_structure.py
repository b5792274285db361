"""From a configuration and the pairs' statistics to the effects (factors) and scales of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from molpool_common import FloatArray, IntArray

from rt_ridge._config import RidgeConfig, ScalePrior
from rt_ridge._errors import RTRidgeError
from rt_ridge.hierarchy._linear_system import CROSSED, FLAT, NO_DESCRIPTOR, Factor
from rt_ridge.statistics._sufficient import SufficientStatistics

SLOPE_SCALES = {
    "parent": "tau_slope_supercategory",
    "group": "tau_slope_group",
    "compound": "tau_slope_compound",
    "class": "tau_slope_class",
    CROSSED: "tau_slope_supercategory_class",
}
HEAD_LEVELS = {
    "none": (),
    "global": ("global",),
    "cluster": ("global", "parent"),
    "species": ("global", "parent", "group"),
}
HEAD_SUFFIX = {"global": "", "parent": "_supercategory", "group": "_group"}


@dataclass(frozen=True)
class Scale:
    """One standard deviation.

    Parameters
    ----------
    name : str
        Such as ``sigma``, ``tau_pair`` or ``tau_group[3]``.
    prior : ScalePrior
        Used by all methods but `ml` and `reml`.
    unit : float
        What a relative prior's scale of 1 stands for.
    count : int
        About how many terms inform it; their logarithm's curvature is twice that.
    fixed : float or None
        Its value where it is known.
    start : float or None
        Where to start looking for it.
    """

    name: str
    prior: ScalePrior
    unit: float
    count: int = 1
    fixed: float | None = None
    start: float | None = None

    def described(self) -> str:
        """Return its name and its prior, in the model's units."""
        if self.fixed is not None:
            return f"{self.name} = {self.fixed:.6g}"
        prior = self.prior
        size = prior.scale * self.unit if prior.relative else prior.scale
        freedom = f"{prior.nu:g}, " if prior.family == "half_t" else ""
        return f"{self.name} ~ {prior.family}({freedom}{size:.6g})"


@dataclass
class ScaleLayout:
    """The scales of a model in order, and the group offsets of log σ after them.

    A point is a vector: the standard deviations that are not known, then, where σ differs by
    group, one standard normal offset a group, σ_g = σ exp(spread · offset_g).

    Parameters
    ----------
    scales : list of Scale
        All of them, known or not.
    n_offsets : int
        Groups with their own σ, or 0.
    """

    scales: list[Scale] = field(default_factory=list)
    n_offsets: int = 0

    def add(self, scale: Scale) -> int:
        """Append a scale and return its place."""
        self.scales.append(scale)
        return len(self.scales) - 1

    def place(self, name: str) -> int | None:
        """Return the place of a scale, None where the model has none of that name."""
        names = [scale.name for scale in self.scales]
        return names.index(name) if name in names else None

    @property
    def free(self) -> npt.NDArray[np.int64]:
        """Places of the scales that are not known."""
        return np.flatnonzero([scale.fixed is None for scale in self.scales])

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the entries of a point."""
        offsets = [f"sigma_offset[{i}]" for i in range(self.n_offsets)]
        return (*(self.scales[i].name for i in self.free), *offsets)

    @property
    def n_free(self) -> int:
        """Scales that are not known."""
        return len(self.free)

    @property
    def size(self) -> int:
        """Entries of a point."""
        return self.n_free + self.n_offsets

    def full(self, point: FloatArray) -> FloatArray:
        """Return all scales, known ones filled in, from the first entries of a point."""
        values = np.array([np.nan if s.fixed is None else s.fixed for s in self.scales])
        values[self.free] = point[: self.n_free]
        return values

    def described(self) -> tuple[str, ...]:
        """Return each scale and its prior in words, such as ``tau_pair ~ half_normal(0.31)``."""
        return tuple(scale.described() for scale in self.scales)

    def start(self) -> FloatArray:
        """Return a point to start from: each scale's own, or a part of its unit."""
        # A scale explains part of the spread, seldom all of it.
        units = [self.scales[i].start or 0.3 * self.scales[i].unit for i in self.free]
        return np.concatenate([units, np.zeros(self.n_offsets)])

    def steps(self) -> FloatArray:
        """Return about the posterior's width in each log scale and offset."""
        # The log of a scale informed by n normal terms has curvature 2n; a prior adds about 1.
        counts = np.array([self.scales[i].count for i in self.free], dtype=float)
        return np.concatenate([1 / np.sqrt(2 * counts + 1), np.ones(self.n_offsets)])

    def log_prior(self, point: FloatArray) -> tuple[float, FloatArray]:
        """Return the log prior density of log scales and offsets, and its gradient by them.

        Parameters
        ----------
        point : ndarray, [size]
            Standard deviations and offsets.
        """
        gradient = np.empty(self.size)
        total = 0.0
        for entry, place in enumerate(self.free):
            scale = self.scales[place]
            value = point[entry]
            density, by_log = scale.prior.log_density(value, scale.unit)
            # The Jacobian of the logarithm: density of log τ is that of τ times τ.
            total += float(density) + float(np.log(value))
            gradient[entry] = by_log + 1
        offsets = point[self.n_free :]
        gradient[self.n_free :] = -offsets
        total -= float(offsets @ offsets) / 2 + len(offsets) * float(np.log(2 * np.pi)) / 2
        return total, gradient


@dataclass
class FactorColumns:
    """What is known so far of the effects that share one index.

    Parameters
    ----------
    name : str
        Of the factor.
    ids : ndarray of int64, [L]
        What its levels are in the data.
    level : ndarray of int64, [G]
        Level of each pair.
    """

    name: str
    ids: IntArray
    level: IntArray
    rows: list[int] = field(default_factory=list)
    _scale: list[IntArray] = field(default_factory=list)
    _descriptor: list[int] = field(default_factory=list)

    @property
    def n_levels(self) -> int:
        """Number of levels, L."""
        return len(self.ids)

    def add(self, row: int, scale: int | IntArray, descriptor: int = NO_DESCRIPTOR) -> None:
        """Add a column.

        Parameters
        ----------
        row : int
            Entry of the location [η, m] that it adds to.
        scale : int, or ndarray of int64 [L]
            Place of its standard deviation, of all levels or of each.
        descriptor : int
            Number of the descriptor that multiplies it, if one does.
        """
        self.rows.append(row)
        self._scale.append(np.broadcast_to(np.asarray(scale, dtype=np.int64), (self.n_levels,)))
        self._descriptor.append(descriptor)

    def factor(self, descriptors: FloatArray | None) -> Factor:
        """Return the factor, for the descriptors [G, Q] of the compound of each pair."""
        descriptor = np.array(self._descriptor, dtype=np.int64)
        weights = None
        if descriptors is not None and (descriptor != NO_DESCRIPTOR).any():
            ones = np.ones((len(self.level), 1))
            # Place -1, of columns that no descriptor multiplies, is the last.
            weights = np.concatenate([descriptors, ones], axis=1)[:, descriptor]
        return Factor(
            name=self.name,
            ids=self.ids,
            level=self.level,
            rows=np.array(self.rows, dtype=np.int64),
            scale=np.stack(self._scale, axis=1),
            descriptor=descriptor,
            weights=weights,
        )


@dataclass(frozen=True)
class Units:
    """Spread of the data, to which relative priors refer.

    `rt` is the standard deviation of the target over all rows, `slope` the same over the root
    mean square of the regressors.
    """

    rt: float
    slope: float


@dataclass(frozen=True)
class CompoundFacts:
    """What is known of the compounds of G pairs besides their rows.

    Parameters
    ----------
    descriptors : ndarray, [G, Q], or None
        Descriptors z.
    classes : ndarray of int64, [G], or None
        Classes.
    """

    descriptors: FloatArray | None = None
    classes: IntArray | None = None


@dataclass
class Structure:
    """Factors and scales of a model, and what was left out of it.

    `notes` holds a sentence for each effect that the data cannot separate from another.
    """

    factors: tuple[Factor, ...] = ()
    layout: ScaleLayout = field(default_factory=ScaleLayout)
    notes: list[str] = field(default_factory=list)


def data_units(stats: SufficientStatistics, *, standardised: bool = False) -> Units:
    """Return the spread of target and regressors over all rows.

    Parameters
    ----------
    stats : SufficientStatistics
        Of the pairs.
    standardised : bool
        Whether regressors have a spread of 1: a slope is then at most of the size of what varies
        within pairs, not of what compounds differ by.
    """
    n = stats.mass
    total = n.sum()
    centre = n @ stats.mean_y / total
    rt = np.sqrt((stats.syy.sum() + n @ (stats.mean_y - centre) ** 2) / total)
    squares = np.einsum("gpp->", stats.sxx) + (n[:, None] * stats.mean_x**2).sum()
    x = np.sqrt(squares / (total * max(stats.P, 1)))
    # Constant times and covariates have no unit of their own.
    rt = float(rt) if rt > 0 else 1.0
    if standardised:
        within = float(np.sqrt(stats.syy.sum() / max(stats.n_rows - stats.G, 1)))
        return Units(rt, within if within > 0 else rt)
    return Units(rt, rt / float(x) if x > 0 else rt)


class StructureBuilder:
    """Lays out the factors of a model.

    Parameters
    ----------
    stats : SufficientStatistics
        Of G pairs.
    config : RidgeConfig
        Which effects there are.
    facts : CompoundFacts
        Descriptors and classes of the compound of each pair.

    Raises
    ------
    RTRidgeError
        If an effect needs supercategories, descriptors or classes that are not there.
    """

    def __init__(
        self, stats: SufficientStatistics, config: RidgeConfig, facts: CompoundFacts
    ) -> None:
        self.stats, self.config, self.facts = stats, config, facts
        self.units = data_units(stats, standardised=config.standardise)
        self.structure = Structure()
        self.pooled = config.intercept_prior != "flat"
        self.columns = self._factors()

    def build(self) -> Structure:
        """Return factors, scales, and notes of what was left out."""
        self._pair_scales()
        if self.pooled:
            self.columns["global"].add(0, FLAT)
            self._intercepts()
        self._descriptors()
        if self.stats.P:
            self._slopes()
            self._described_slopes()
        self.structure.factors = tuple(
            columns.factor(self.facts.descriptors)
            for columns in self.columns.values()
            if columns.rows
        )
        return self.structure

    def _factors(self) -> dict[str, FactorColumns]:
        stats, index = self.stats, {"global": np.zeros(self.stats.G, dtype=np.int64)}
        parents = stats.parents
        if parents is not None:
            index["parent"] = parents.parent[np.searchsorted(parents.group, stats.group_ids)]
        index |= {"group": stats.group_ids, "compound": stats.compound_ids}
        if self.facts.classes is not None:
            index["class"] = self.facts.classes
            if parents is not None:
                index[CROSSED] = (index["parent"] << 32) + self.facts.classes
        return {
            name: FactorColumns(name, *np.unique(of_pair, return_inverse=True))
            for name, of_pair in index.items()
        }

    def _count(self, name: str) -> int:
        return self.columns[name].n_levels if name in self.columns else 0

    def _pair_scales(self) -> None:
        """Add the scales that pairs have, whatever lies above them."""
        config, layout, priors = self.config, self.structure.layout, self.config.priors
        rows, pairs = self.stats.n_rows, self.stats.G
        start = self._within_sd()
        layout.add(Scale("sigma", priors.sigma, self.units.rt, rows, config.sigma_fixed, start))
        if config.sigma == "group":
            layout.add(Scale("sigma_spread", priors.sigma_spread, 1.0, self._count("group")))
            layout.n_offsets = self._count("group")
        if self.pooled:
            pinned = self._of_one_pair() if pairs == 1 else self._without_replicates()
            layout.add(Scale("tau_pair", priors.intercept, self.units.rt, pairs, pinned))
        if config.lambda_slopes == "estimate" and self.stats.P:
            for name in self._slope_names("tau_slope"):
                count = pairs * (1 if self.by_covariate else self.stats.P)
                layout.add(Scale(name, priors.slope, self.units.slope, count))

    def _of_one_pair(self) -> float | None:
        """Return the spread of pairs where there is one, of which it says nothing."""
        if self.config.method in ("ml", "reml"):
            return None
        prior = self.config.priors.intercept
        value = prior.scale * (self.units.rt if prior.relative else 1.0)
        self.structure.notes.append(f"tau_pair kept at {value:.4g}, its prior's: there is one pair")
        return value

    def _without_replicates(self) -> float | None:
        """Return the spread of pairs where none has two rows: what is theirs alone is noise.

        Only where compounds are in several pairs, which then tell what is not.
        """
        config = self.config
        # A given structure by `map` and its kin stays what it was: there the prior decides.
        told = config.method not in ("ml", "reml") and not config.standardise
        crossed = 1 < self._count("compound") < self.stats.G
        single = self.stats.n.max(initial=0) <= 1
        if told or not (crossed and single) or config.sigma_fixed is not None:
            return None
        self.structure.notes.append("tau_pair kept at 0: no pair has two rows to tell it from σ")
        return 0.0

    @property
    def by_covariate(self) -> bool:
        """Whether each covariate has spreads of its own."""
        return self.config.slope_scales == "covariate"

    def _slope_names(self, name: str) -> list[str]:
        """Return the names of one level's spreads of slopes: one, or one per covariate."""
        return [f"{name}[{c}]" for c in self.stats.covariates] if self.by_covariate else [name]

    def _within_sd(self) -> float | None:
        """Return the standard deviation within pairs about common slopes, None if there is none."""
        stats = self.stats
        left = float((stats.n - 1).sum()) - stats.P
        fit = np.linalg.lstsq(stats.sxx.sum(axis=0), stats.sxy.sum(axis=0), rcond=None)[0]
        scatter = float(stats.syy.sum() - fit @ stats.sxy.sum(axis=0))
        return float(np.sqrt(scatter / left)) if left > 0 and scatter > 0 else None

    def _intercepts(self) -> None:
        supercat = self.config.intercept_prior == "comp_hier_supercat"
        if supercat:
            self._need_parents("intercept_prior: comp_hier_supercat needs")
        n_pairs, compounds = self.stats.G, self._count("compound")
        # One level cannot be separated from the grand mean, one pair per level not from the pairs.
        if compounds == 1 or (compounds == n_pairs and n_pairs > 1):
            self._without_compounds(one=compounds == 1)
        else:
            self.columns["compound"].add(0, self._intercept_scale("tau_compound", compounds))
        if not supercat:
            return
        if self._count("parent") == 1:
            self.structure.notes.append("tau_supercategory left out: there is one supercategory")
        else:
            place = self._intercept_scale("tau_supercategory", self._count("parent"))
            self.columns["parent"].add(0, place)
        if self._count("group") == 1:
            # One group cannot be separated from the grand mean: its scale would be the prior's.
            self.structure.notes.append("tau_group left out: there is one group")
            return
        self.columns["group"].add(0, self._group_scale())

    def _group_scale(self) -> int | IntArray:
        """Add the standard deviation of groups' intercepts: one, or one of each supercategory."""
        if self.config.intercept_shrinkage == "shared":
            return self._intercept_scale("tau_group", self._count("group"))
        return self._by_parent("tau_group", self.config.priors.intercept, self.units.rt)

    def _without_compounds(self, *, one: bool) -> None:
        """Say that nothing tells how compounds differ; of one, others may be anywhere."""
        notes, layout = self.structure.notes, self.structure.layout
        if not one or not self.config.standardise:
            why = "there is one compound" if one else "no compound has two pairs"
            notes.append(f"tau_compound left out: {why}")
            return
        # Times have a natural zero: most compounds elute before twice the time of a given one.
        weights = self.stats.n / self.stats.n_rows
        size = abs(float(weights @ self.stats.mean_y)) / 2 or self.units.rt
        prior = self.config.priors.intercept
        place = layout.add(Scale("tau_compound", prior, self.units.rt, 1, fixed=size))
        self.columns["compound"].add(0, place)
        notes.append(f"tau_compound kept at {size:.4g}, half the mean time: there is one compound")

    def _intercept_scale(self, name: str, count: int) -> int:
        prior, unit = self.config.priors.intercept, self.units.rt
        return self.structure.layout.add(Scale(name, prior, unit, count))

    def _by_parent(self, name: str, prior: ScalePrior, unit: float) -> IntArray:
        """Add a standard deviation for each supercategory; return that of each group, [L]."""
        groups, parents = self.columns["group"], self.columns["parent"]
        parent_of = np.zeros(groups.n_levels, dtype=np.int64)
        parent_of[groups.level] = parents.level
        places = [
            self.structure.layout.add(Scale(f"{name}[{s}]", prior, unit, int(count)))
            for s, count in zip(parents.ids, np.bincount(parent_of), strict=True)
        ]
        return np.array(places)[parent_of]

    def _descriptors(self) -> None:
        z, heads = self.facts.descriptors, self.config.descriptor_heads
        if z is None:
            for key in ("descriptor_heads", "descriptor_slopes"):
                if getattr(self.config, key) != "none":
                    raise RTRidgeError(
                        f"{key}: expected compound descriptors, found none; hand them to fit"
                    )
            return
        if not self.pooled:
            self.structure.notes.append("tau_theta left out: intercepts are flat")
            return
        levels = HEAD_LEVELS["global" if heads == "none" else heads]
        self._regressed("tau_theta", levels, (0,), self.config.priors.descriptor, self.units.rt)

    def _described_slopes(self) -> None:
        """Add slopes linear in the descriptors."""
        levels = HEAD_LEVELS[self.config.descriptor_slopes]
        prior, unit = self.config.priors.slope, self.units.slope
        self._regressed("tau_theta_slope", levels, self._slope_rows, prior, unit)

    @property
    def _slope_rows(self) -> tuple[int, ...]:
        return tuple(range(1, 1 + self.stats.P))

    def _regressed(
        self,
        scale: str,
        levels: tuple[str, ...],
        rows: tuple[int, ...],
        prior: ScalePrior,
        unit: float,
    ) -> None:
        """Add coefficients of all descriptors in some rows, with one scale per level."""
        z = self.facts.descriptors
        if z is None:
            return
        for name in levels:
            # One node deviates from nothing; its coefficients are θ.
            if name != "global" and self._count(name) <= 1:
                continue
            count = self._count(name)
            place = self.structure.layout.add(Scale(scale + HEAD_SUFFIX[name], prior, unit, count))
            for row in rows:
                for q in range(z.shape[1]):
                    self.columns[name].add(row, place, q)

    def _slopes(self) -> None:
        for name in self.config.slope_effects:
            if name == "global":
                self._slope_columns(name, [FLAT] * self.stats.P)
                continue
            if name in ("class", CROSSED) and self.facts.classes is None:
                raise RTRidgeError(
                    "class_slopes: expected the class of each compound, found none; hand them to "
                    "fit"
                )
            if name in ("parent", CROSSED):
                self._need_parents("slope_head_mode: slopes by supercategory need")
            if self._count(name) == 1:
                label = name.replace(CROSSED, "class of one parent")
                self.structure.notes.append(f"{SLOPE_SCALES[name]} left out: there is one {label}")
                continue
            self._slope_columns(name, self._slope_scale(name))

    def _slope_scale(self, name: str) -> Sequence[int | IntArray]:
        """Add the standard deviations of a level's slopes; return those of each covariate."""
        prior, unit = self.config.priors.slope, self.units.slope
        if name == "group" and self.config.slope_shrinkage == "supercat":
            self._need_parents("slope_shrinkage: supercat needs")
            return [self._by_parent(SLOPE_SCALES[name], prior, unit)] * self.stats.P
        names = self._slope_names(SLOPE_SCALES[name])
        count = self._count(name)
        places = [self.structure.layout.add(Scale(n, prior, unit, count)) for n in names]
        return places if self.by_covariate else places * self.stats.P

    def _slope_columns(self, name: str, scales: Sequence[int | IntArray]) -> None:
        for row, scale in zip(self._slope_rows, scales, strict=True):
            self.columns[name].add(row, scale, NO_DESCRIPTOR)

    def _need_parents(self, what: str) -> None:
        if "parent" not in self.columns:
            raise RTRidgeError(
                f"{what} the supercategory of each group; expected statistics with a parent "
                "column, found none"
            )
