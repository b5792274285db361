"""Integration over the log scales about their mode (`laplace`).

The log posterior is expanded to second order at its mode, and its tails bent to those of a normal;
points are drawn from a t distribution there, evenly by a scrambled Sobol sequence, and weighted by
posterior over proposal, so that the result converges to the posterior itself and not to its
approximation.
"""

from __future__ import annotations

import numpy as np
from molpool_common import FloatArray
from scipy.special import gammaln
from scipy.stats import chi2, norm
from scipy.stats.qmc import Sobol

from rt_ridge.hierarchy._hierarchy import Hierarchy
from rt_ridge.scales._posterior import ScalePosterior
from rt_ridge.scales._whitening import Whitening

NU = 8.0
"""Degrees of freedom of the proposal: tails wider than those of the posterior."""

ENOUGH = 0.1
"""Share of effective points below which the weights are said to be uneven."""


def find_laplace(hierarchy: Hierarchy) -> ScalePosterior:
    """Return weighted points; `diagnostics` holds their effective number and the log evidence."""
    whitening = Whitening.at_mode(hierarchy)
    draws, seed = hierarchy.config.sampling.draws, hierarchy.config.seed
    u, log_proposal = _propose(hierarchy.layout.size, draws, seed)
    points = np.array([hierarchy.natural(phi) for phi in whitening.phi(u)])
    log_likelihood = np.array([hierarchy.state(point).log_likelihood for point in points])
    log_prior = np.array([hierarchy.layout.log_prior(point)[0] for point in points])
    log_ratio = log_likelihood + log_prior + whitening.log_volume(u) - log_proposal
    # About the largest, so that `exp` stays in range.
    weights = np.exp(log_ratio - log_ratio.max())
    evidence = float(log_ratio.max() + np.log(weights.mean()))
    weights /= weights.sum()
    # Kish's effective sample size of normalised weights.
    effective = float(1 / (weights**2).sum())
    notes = list(hierarchy.structure.notes)
    if effective < ENOUGH * len(points):
        notes.append(
            f"laplace: {effective:.0f} of {len(points)} points are effective; the posterior of the "
            "scales is far from normal, nuts is the safer method"
        )
    return ScalePosterior.of_sample(
        hierarchy.layout.names,
        points,
        weights,
        log_likelihood=float(weights @ log_likelihood),
        diagnostics={"ess": effective, "log_evidence": evidence},
        notes=tuple(notes),
    )


def _propose(size: int, count: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """Return standard t points [count, size] and their log densities; one point of no entries."""
    if not size:
        return np.zeros((1, 0)), np.zeros(1)
    # The last dimension is the chi-square of the t distribution.
    # Quasi-random points: few are needed where the proposal is close to the posterior.
    sobol = Sobol(size + 1, scramble=True, rng=np.random.default_rng(seed))
    # Sobol points are balanced in powers of two.
    uniform = sobol.random(2 ** int(np.ceil(np.log2(count))))[:count]
    # Quantiles of 0 and 1 are infinite.
    uniform = np.clip(uniform, 1e-12, 1 - 1e-12)
    t = norm.ppf(uniform[:, :size]) * np.sqrt(NU / chi2.ppf(uniform[:, size:], NU))
    log_density = gammaln((NU + size) / 2) - gammaln(NU / 2) - size / 2 * np.log(NU * np.pi)
    return t, log_density - (NU + size) / 2 * np.log1p((t**2).sum(axis=1) / NU)
