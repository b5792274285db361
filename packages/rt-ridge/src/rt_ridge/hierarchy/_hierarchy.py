"""Marginal likelihood of the scales and exact posterior of all locations given them."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass

import numpy as np
from molpool_common import FloatArray

from rt_ridge._config import RidgeConfig
from rt_ridge._errors import RTRidgeError, listed
from rt_ridge.hierarchy._factor_system import FactorSystem
from rt_ridge.hierarchy._intercepts import InterceptSystem
from rt_ridge.hierarchy._linear_system import LinearSystem, Solution, arrange, dense_scales
from rt_ridge.hierarchy._messages import Messages, Shrunk, Spectra, Swept
from rt_ridge.hierarchy._structure import (
    CompoundFacts,
    ScaleLayout,
    Structure,
    StructureBuilder,
    data_units,
)
from rt_ridge.statistics._sufficient import SufficientStatistics
from rt_ridge.tables._compounds import UNCLASSED, CompoundClasses, CompoundDescriptors

SMALLEST = 1e-12
"""Eigenvalue of the covariates' correlation below which they are taken for dependent."""

LEAST = 1e-24
"""Variance of slopes over σ² that stands for 0, whose precision has no number."""

RESOLUTION = 1e-7
"""Least noise over the size of retention times."""

NO_ROWS = 1e-12
"""Rows of a pair that has none: its mean is then known to a variance of 10¹² σ²."""

QUICK = ("nuts", "advi")
"""Methods that evaluate thousands of points, and solve intercepts alone, and factors with
descriptors, in ways of their own; others keep their last bits."""

MeanCov = tuple[FloatArray, FloatArray]


@dataclass(frozen=True)
class State:
    """A model at given scales.

    Parameters
    ----------
    scales : ndarray
        All standard deviations, in the layout's order.
    sigma2 : ndarray, [G]
        σ² of each pair.
    messages : Messages
        Of the pairs.
    solution : Solution
        Of the linear system.
    log_likelihood : float
        Of all rows, locations integrated (flat ones maximised over, if profiled).
    """

    scales: FloatArray
    sigma2: FloatArray
    messages: Messages
    solution: Solution
    log_likelihood: float


class Hierarchy:
    """A partially pooled ridge regression, its rows reduced to sufficient statistics.

    Cost of an evaluation is linear in the pairs; where compounds cross groups, add the cube of the
    coefficients of the smaller of the two (see `rt_ridge.hierarchy._linear_system.Arrangement`).

    Parameters
    ----------
    stats : SufficientStatistics
        Of G pairs and P regressors.
    config : RidgeConfig
        The model.
    descriptors : CompoundDescriptors or None
        Descriptors of the compounds; they are standardised over those in the data.
    classes : CompoundClasses or None
        Classes of the compounds.

    Raises
    ------
    RTRidgeError
        If the statistics lack what the configuration asks for.
    """

    def __init__(
        self,
        stats: SufficientStatistics,
        config: RidgeConfig,
        descriptors: CompoundDescriptors | None = None,
        classes: CompoundClasses | None = None,
    ) -> None:
        self.stats, self.config, self.classes = stats, config, classes
        self.described = None
        if descriptors is not None:
            self.described = descriptors.of(stats.compound_ids, config.descriptor_components)
        self.structure: Structure = StructureBuilder(stats, config, self._facts()).build()
        self._note_unknown()
        self.layout: ScaleLayout = self.structure.layout
        self.with_head = bool(config.slope_effects) and stats.P > 0
        self.pooled = config.intercept_prior != "flat"
        if self.with_head:
            check_global_slopes(stats, flat_intercepts=not self.pooled)
        weights = stats.mass / stats.mass.sum()
        # Times about their mean: its size costs no digits in the sums that follow.
        self.offset = float(weights @ stats.mean_y)
        # Times that a line fits without error have no σ of their own to find.
        resolution = RESOLUTION * (abs(self.offset) + data_units(stats).rt)
        self._rounding = resolution**2 if config.standardise else 0.0
        arrangement = arrange(self.structure.factors, stats.compound_ids)
        self.system = LinearSystem(arrangement, 1 + stats.P if self.with_head else 1)
        self._intercepts: InterceptSystem | None = None
        self._factors: FactorSystem | None = None
        if config.method in QUICK:
            if InterceptSystem.fits(arrangement, self.system.n_entries):
                self._intercepts = InterceptSystem(arrangement)
            elif FactorSystem.fits(arrangement):
                self._factors = FactorSystem(arrangement, self.system.n_entries)
        self._largest = largest_scatter(stats)
        self._spectra: Spectra | None = None
        self._shrunk: tuple[FloatArray, Shrunk] | None = None
        names = [f"tau_slope[{name}]" for name in stats.covariates] if self.by_covariate else []
        self._slope_places = np.array([self.layout.place(name) for name in names], dtype=np.int64)
        # Raises where one precision is given for each of more or fewer covariates.
        self.precision_pattern()
        self._sigma_level = np.unique(stats.group_ids, return_inverse=True)[1]

    def _facts(self) -> CompoundFacts:
        described, classes = self.described, self.classes
        return CompoundFacts(
            None if described is None else described.of_pairs,
            None if classes is None else classes.of(self.stats.compound_ids),
        )

    def _note_unknown(self) -> None:
        notes, described, classes = self.structure.notes, self.described, self.classes
        if described is not None and described.undescribed:
            notes.append(f"{described.undescribed} compounds without descriptors taken as average")
        if classes is not None and self.config.class_slopes != "none":
            count = int((classes.of(np.unique(self.stats.compound_ids)) == UNCLASSED).sum())
            if count:
                notes.append(f"{count} compounds without a class taken as a class of their own")

    @property
    def n_flat(self) -> int:
        """Number of effects with flat priors."""
        return self.system.arrangement.n_flat

    @property
    def prior(self) -> tuple[float, float] | None:
        """Mean, about the offset, and standard deviation of the grand intercept's prior."""
        if self.config.location_sd is None or not self.pooled:
            return None
        return self.config.location_mean - self.offset, self.config.location_sd

    def precision_pattern(self) -> FloatArray:
        """Return the ridge precisions, [P]; ones where a common factor is estimated."""
        given, size = self.config.lambda_slopes, self.stats.P
        if isinstance(given, str):
            return np.ones(size)
        if isinstance(given, list):
            if len(given) != size:
                raise RTRidgeError(
                    f"lambda_slopes: expected one number or {size}, one for each of "
                    f"{', '.join(self.stats.covariates)}; found {len(given)}"
                )
            return np.array(given, dtype=float)
        return np.full(size, float(given))

    @property
    def by_covariate(self) -> bool:
        """Whether the slopes of pairs have a spread for each covariate."""
        return self.config.slope_scales == "covariate" and self.config.lambda_slopes == "estimate"

    def slope_ratios(self, scales: FloatArray) -> FloatArray:
        """Return the variance of each covariate's slopes over σ², [P]."""
        if not self.by_covariate:
            return self.psi(scales) / self.precision_pattern()
        return np.asarray((scales[self._slope_places] / scales[0]) ** 2)

    def psi(self, scales: FloatArray) -> float:
        """Return the variance of slopes over σ², as a multiple of the inverse pattern."""
        # Pairs that do not differ from their head are the limit λ → ∞.
        if self.config.lambda_slopes in ("pooled", "zero"):
            return 0.0
        place = self.layout.place("tau_slope")
        return 1.0 if place is None else float((scales[place] / scales[0]) ** 2)

    def sigma2(self, scales: FloatArray, offsets: FloatArray) -> FloatArray:
        """Return σ² of each pair, [G]."""
        if not self.layout.n_offsets:
            return np.full(self.stats.G, scales[0] ** 2 + self._rounding)
        by_group = scales[0] ** 2 * np.exp(2 * scales[1] * offsets) + self._rounding
        return np.asarray(by_group[self._sigma_level])

    @property
    def rows_by_group(self) -> FloatArray:
        """Return the rows of each group, in ascending order of ids."""
        return np.bincount(self._sigma_level, self.stats.n).astype(np.float64)

    def group_sigma2(self, state: State) -> FloatArray:
        """Return σ² of each group, in ascending order of ids."""
        by_group = np.empty(int(self._sigma_level.max()) + 1)
        by_group[self._sigma_level] = state.sigma2
        return by_group

    def state(self, point: FloatArray, *, profile: bool = False) -> State:
        """Solve the model at a point of the layout.

        Parameters
        ----------
        point : ndarray, [layout.size]
            Standard deviations that are not known, and offsets of log σ.
        profile : bool
            Maximise over flat effects (`ml`) instead of integrating over them (`reml`).
        """
        return self._solved(point, self.system, profile=profile)

    def _solved(self, point: FloatArray, system: LinearSystem, *, profile: bool) -> State:
        scales, messages = self._messages(point)
        solution = system.solve(
            messages.precision, messages.linear, scales, self.prior, profile=profile
        )
        total = float(messages.constant.sum()) + solution.log_evidence
        return State(scales, messages.sigma2, messages, solution, total)

    def _messages(self, point: FloatArray) -> tuple[FloatArray, Messages]:
        """Return all scales at a point, and what pairs say there."""
        scales = self.layout.full(point)
        sigma2 = self.sigma2(scales, point[self.layout.n_free :])
        place = self.layout.place("tau_pair")
        tau2 = None if place is None else float(scales[place] ** 2)
        return scales, Messages(self._shrink(scales), sigma2, tau2, self.with_head)

    def log_likelihood(
        self, point: FloatArray, *, profile: bool = False
    ) -> tuple[float, FloatArray]:
        """Return the log likelihood and its gradient by log scales and offsets."""
        if self._intercepts is not None and not profile:
            return self._of_intercepts(self._intercepts, point)
        quick = None if profile else self._factors
        state = self._solved(point, quick or self.system, profile=profile)
        by_effects = self._by_effects(state.solution)
        found = state.solution, state.scales
        moments = pair_locations(self.system, *found) if quick is None else quick.locations(*found)
        gradient = self._gradient(state.messages, state.scales, by_effects, moments, point)
        return state.log_likelihood, gradient

    def _of_intercepts(
        self, system: InterceptSystem, point: FloatArray
    ) -> tuple[float, FloatArray]:
        """Return the log likelihood and its gradient where locations are intercepts alone."""
        scales, messages = self._messages(point)
        J, h = messages.precision[:, 0, 0], messages.linear[:, 0]
        found = system.solve(J, h, scales, self.prior)
        at, size = self.system.arrangement, len(scales)
        assert at.eliminated is not None
        excess = found.dense_mean**2 + found.dense_variance - 1
        # Flat columns point to the last bin, which is dropped.
        place = np.where(at.scale < 0, size, at.scale)
        gradient = np.bincount(place, excess, size + 1)[:size].astype(np.float64)
        excess = found.level_mean**2 + found.level_variance - 1
        gradient += np.bincount(at.eliminated.scale[:, 0], excess, size)
        moments = found.mean[:, None], found.variance[:, None, None]
        value = float(messages.constant.sum()) + found.log_evidence
        return value, self._gradient(messages, scales, gradient, moments, point)

    def log_posterior(self, phi: FloatArray) -> tuple[float, FloatArray]:
        """Return the log density of log scales and offsets, up to the evidence, and its gradient.

        Parameters
        ----------
        phi : ndarray, [layout.size]
            Logarithms of the standard deviations, then offsets.
        """
        point = self.natural(phi)
        value, gradient = self.log_likelihood(point)
        prior, by_prior = self.layout.log_prior(point)
        return value + prior, gradient + by_prior

    def natural(self, phi: FloatArray) -> FloatArray:
        """Return the point of unconstrained coordinates."""
        n = self.layout.n_free
        # A line search may try what `exp` cannot hold.
        return np.concatenate([np.exp(np.clip(phi[:n], -300, 300)), phi[n:]])

    def unconstrained(self, point: FloatArray) -> FloatArray:
        """Return the unconstrained coordinates of a point."""
        n = self.layout.n_free
        return np.concatenate([np.log(point[:n]), point[n:]])

    def pair_locations(self, state: State) -> MeanCov:
        """Return mean [G, D] and covariance [G, D, D] of the location of each pair."""
        return pair_locations(self.system, state.solution, state.scales)

    def _shrink(self, scales: FloatArray) -> Shrunk:
        # ψ moves only where λ is estimated; steps in other scales reuse what hangs on it alone.
        # Chains that run side by side share this: what is found is read, and set, once.
        known = self._shrunk
        if self.by_covariate:
            ratios = self.slope_ratios(scales)
            if known is None or not np.array_equal(known[0], ratios):
                spectra = self._spectra_at(1 / np.maximum(ratios, LEAST))
                kind = Swept if Swept.fits(self._largest, spectra.precision) else Shrunk
                known = self._shrunk = ratios, self._shrunk_at(spectra, 1.0, kind)
            return known[1]
        psi = self.psi(scales)
        if known is None or known[1].psi != psi:
            spectra = self._spectra or self._spectra_at(self.precision_pattern())
            self._spectra = spectra
            known = self._shrunk = np.array([psi]), self._shrunk_at(spectra, psi)
        return known[1]

    def _spectra_at(self, precision: FloatArray) -> Spectra:
        return Spectra(self.stats.sxx, self.stats.sxy, self.stats.mean_x, precision)

    def _shrunk_at(self, spectra: Spectra, psi: float, kind: type[Shrunk] = Shrunk) -> Shrunk:
        stats = self.stats
        centred = stats.mean_y - self.offset
        if stats.mean_low is not None:
            centred = centred + stats.mean_low[:, -1]
        # A pair without rows in sums that were taken from says nothing of its location.
        n, weight = (np.maximum(size, NO_ROWS) for size in (stats.n, stats.mass))
        return kind(spectra, n, weight, centred, stats.syy, psi)

    def on(self, stats: SufficientStatistics, spectra: Spectra | None = None) -> Hierarchy:
        """Return the same model of other rows of the same pairs, some of which may have none.

        Parameters
        ----------
        stats : SufficientStatistics
            Of the same keys.
        spectra : Spectra or None
            Theirs at equal precisions, where they are known.
        """
        other = copy(self)
        other.stats, other._spectra, other._shrunk = stats, spectra, None
        other._largest = largest_scatter(stats)
        return other

    def _gradient(
        self,
        messages: Messages,
        scales: FloatArray,
        by_effects: FloatArray,
        moments: MeanCov,
        point: FloatArray,
    ) -> FloatArray:
        """Return the gradient by log scales and offsets, from the moments of pairs' locations."""
        by_psi = self.layout.place("tau_slope") is not None
        found = messages.derivatives(*moments, by_psi=by_psi, by_covariate=self.by_covariate)
        gradient = by_effects
        # What σ adds to the variance; the rest is rounding.
        by_sigma = found.by_sigma * (1 - self._rounding / messages.sigma2)
        gradient[0] += by_sigma.sum()
        if by_psi:
            # ψ = (τ_slope / σ)²: log σ enters with the opposite sign.
            gradient[0] -= found.by_psi
            gradient[self.layout.place("tau_slope")] += found.by_psi
        if found.by_covariate is not None:
            gradient[0] -= found.by_covariate.sum()
            gradient[self._slope_places] += found.by_covariate
        pair = self.layout.place("tau_pair")
        if pair is not None:
            gradient[pair] += found.by_tau
        offsets = point[self.layout.n_free :]
        if not len(offsets):
            return np.asarray(gradient[self.layout.free])
        by_group = np.bincount(self._sigma_level, by_sigma, len(offsets))
        # log σ_g = log σ + spread·offset_g, differentiated by log spread and by the offsets.
        gradient[1] += scales[1] * float(by_group @ offsets)
        return np.concatenate([gradient[self.layout.free], by_group * scales[1]])

    def _by_effects(self, solution: Solution) -> FloatArray:
        """Return derivatives by the logs of the effects' standard deviations: Σ E[ũ²] − 1."""
        at, size = self.system.arrangement, len(self.layout.scales)
        excess = solution.dense_mean**2 + np.diagonal(solution.dense_cov) - 1
        # Flat columns point to the last bin, which is dropped.
        place = np.where(at.scale < 0, size, at.scale)
        gradient = np.bincount(place, excess, size + 1)[:size].astype(np.float64)
        if at.eliminated is not None:
            variance = self._level_variance(solution)
            excess = solution.level_mean**2 + variance - 1
            gradient += np.bincount(at.eliminated.scale.ravel(), excess.ravel(), size)
        return gradient

    def _level_variance(self, solution: Solution) -> FloatArray:
        at, gain = self.system.arrangement, solution.gain
        if not at.nested:
            return np.diagonal(solution.level_cov, axis1=1, axis2=2)
        # Law of total variance: given the dense columns, and what these carry over.
        own = np.diagonal(solution.level_inverse, axis1=1, axis2=2)
        columns = at.cell_columns
        cov = solution.dense_cov[columns[:, :, None], columns[:, None, :]]
        falls = np.matmul(gain, cov[self.system.level_cell])
        return np.asarray(own + np.einsum("ldm,ldm->ld", falls, gain))


def largest_scatter(stats: SufficientStatistics) -> FloatArray:
    """Return the largest centred sum of squares of each covariate in any pair, [P]."""
    return np.asarray(np.diagonal(stats.sxx, axis1=1, axis2=2).max(axis=0, initial=0.0))


def check_global_slopes(stats: SufficientStatistics, *, flat_intercepts: bool) -> None:
    """Raise `RTRidgeError`, naming covariates, if slopes with flat priors are not determined.

    Parameters
    ----------
    stats : SufficientStatistics
        Of the pairs.
    flat_intercepts : bool
        Whether only what varies within a pair counts.
    """
    scatter = stats.sxx.sum(axis=0)
    # Pooled intercepts leave what differs between pairs to the slopes too.
    if not flat_intercepts:
        off = stats.mean_x - np.average(stats.mean_x, axis=0, weights=stats.mass)
        scatter = scatter + (off * stats.mass[:, None]).T @ off
    sd = np.sqrt(np.diagonal(scatter))
    size = np.sqrt((stats.mass[:, None] * stats.mean_x**2).sum(axis=0)) + sd
    constant = sd <= 1e-10 * size
    if constant.any():
        names = [name for name, bad in zip(stats.covariates, constant, strict=True) if bad]
        what = f"found {listed(names)} constant{' within pairs' if flat_intercepts else ''}"
    else:
        # Of the correlation, so that the units of covariates do not matter.
        values, vectors = np.linalg.eigh(scatter / np.outer(sd, sd))
        if values[0] > SMALLEST:
            return
        involved = np.abs(vectors[:, 0]) > 1e-3
        names = [name for name, bad in zip(stats.covariates, involved, strict=True) if bad]
        what = f"found {listed(names)} linearly dependent"
    raise RTRidgeError(
        f"slope head: expected covariates whose global slopes the data determine; {what}. "
        "Leave such covariates out, or use slope_head_mode none."
    )


def pair_locations(system: LinearSystem, solution: Solution, scales: FloatArray) -> MeanCov:
    """Return mean [G, D] and covariance [G, D, D] of the location of every pair."""
    at = system.arrangement
    entry = np.zeros((len(at.rows), system.n_entries))
    entry[np.arange(len(at.rows)), at.rows] = 1
    weights = dense_scales(at, scales)[at.cell_columns]
    if at.cell_weights is not None:
        weights = weights * at.cell_weights
    spread = weights[:, :, None] * entry  # [n_cells, m, D]
    mean = np.einsum("cm,cmd->cd", solution.dense_mean[at.cell_columns], spread)
    cov_cell = solution.dense_cov[at.cell_columns[:, :, None], at.cell_columns[:, None, :]]
    cov = np.matmul(spread.transpose(0, 2, 1), np.matmul(cov_cell, spread))
    if at.eliminated is None:
        mean, cov = mean[at.cell_of_joint], cov[at.cell_of_joint]
    else:
        mean, cov = _with_level(system, solution, scales, cov_cell, (mean, cov))
    alone = at.n_joints == len(at.joint_of_pair)
    return (mean, cov) if alone else (mean[at.joint_of_pair], cov[at.joint_of_pair])


def _with_level(
    system: LinearSystem,
    solution: Solution,
    scales: FloatArray,
    cov_cell: FloatArray,
    moments: MeanCov,
) -> MeanCov:
    """Return the moments of the joints: those of their cells and the eliminated factor's share.

    `cov_cell` [n_cells, m, m] is the covariance of each cell's columns.
    """
    at, gain = system.arrangement, solution.gain
    assert at.eliminated is not None
    terms, own, coupling = system.level_maps
    s = scales[at.eliminated.scale]
    mean, cov = (moment[at.cell_of_joint] for moment in moments)
    mean += (terms.T @ (s * solution.level_mean).ravel()).reshape(mean.shape)
    if at.nested:
        falls = np.matmul(gain, cov_cell[system.level_cell])
        level_cov = solution.level_inverse + np.matmul(falls, gain.transpose(0, 2, 1))
    else:
        falls, level_cov = solution.falls, solution.level_cov
    falls = falls * system.coupled_scales(scales)
    falls *= s[:, :, None]
    level_cov = level_cov * (s[:, :, None] * s[:, None, :])
    # Added both ways round, for the covariance with the dense columns counts for either place.
    share = (own.T @ level_cov.ravel()).reshape(cov.shape) / 2
    share -= (coupling.T @ falls.ravel()).reshape(cov.shape)
    cov += share
    cov += share.transpose(0, 2, 1)
    return mean, cov
