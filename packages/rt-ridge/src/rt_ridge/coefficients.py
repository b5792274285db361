"""Exact posterior of the intercept and slopes of each pair at given scales."""

from __future__ import annotations

import numpy as np
from molpool_common import FloatArray

from rt_ridge.hierarchy import Hierarchy, State
from rt_ridge.locations import MeanCov
from rt_ridge.messages import Messages


def pair_coefficients(hierarchy: Hierarchy, state: State) -> MeanCov:
    """Return mean [G, 1 + P] and covariance [G, 1 + P, 1 + P] of [b, w] of each pair.

    Notes
    -----
    Given its location v = [η, m] a pair's coefficients are normal with a mean linear in v; the
    location's own mean and covariance then pass through that line. Every term stays finite where
    a variance is exactly 0.
    """
    messages = state.messages
    location, spread = hierarchy.pair_locations(state)
    mean, cov, slope = _given_location(messages)
    if messages.with_head:
        mean += np.einsum("gij,gj->gi", slope, location)
        cov += np.matmul(slope, np.matmul(spread, slope.transpose(0, 2, 1)))
    else:
        mean += slope[:, :, 0] * location
        cov += slope[:, :, :1] * slope[:, None, :, 0] * spread
    mean[:, 0] += hierarchy.offset
    return mean, (cov + cov.transpose(0, 2, 1)) / 2


def _given_location(messages: Messages) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return mean, covariance and slope of [b, w] in the location, at location 0."""
    s, sp = messages.shrunk, messages.shrunk.spectra
    n_pairs, size = sp.d.shape
    sigma2 = messages.sigma2
    drift = (s.psi * sigma2)[:, None] * np.einsum("gpq,gq->gp", sp.dual, s.t * sp.h)  # Cov(w)·x̄
    if messages.tau2 is None:
        gain_b, gain_w = np.ones(n_pairs), np.zeros((n_pairs, size))
        cov_bb, cov_bw = messages.noise, -drift
    else:
        gain_b, gain_w = messages.tau2 * messages.p, messages.p[:, None] * drift
        cov_bb, cov_bw = gain_b * messages.noise, -gain_b[:, None] * drift
    mean = np.empty((n_pairs, 1 + size))
    mean[:, 0] = gain_b * s.r
    mean[:, 1:] = s.psi * np.einsum("gpq,gq->gp", sp.dual, s.t * sp.z) + gain_w * s.r[:, None]
    cov = np.empty((n_pairs, 1 + size, 1 + size))
    cov[:, 0, 0] = cov_bb
    cov[:, 0, 1:] = cov[:, 1:, 0] = cov_bw
    ridge = np.matmul(sp.dual * (s.psi * s.t)[:, None, :], sp.dual.transpose(0, 2, 1))
    cov[:, 1:, 1:] = sigma2[:, None, None] * ridge
    cov[:, 1:, 1:] -= gain_w[:, :, None] * drift[:, None, :]
    slope = np.zeros((n_pairs, 1 + size, messages.e.shape[1]))
    slope[:, 0, 0] = 1 - gain_b
    slope[:, 1:, 0] = -gain_w
    if messages.with_head:
        keep = np.matmul(sp.dual * s.t[:, None, :], sp.basis.transpose(0, 2, 1))
        slope[:, 0, 1:] = -gain_b[:, None] * s.a
        slope[:, 1:, 1:] = keep - gain_w[:, :, None] * s.a[:, None, :]
    return mean, cov, slope
