"""What the rows of each pair say of its location, its own coefficients integrated out.

A pair k has intercept b ~ N(η, τ²) and slopes w ~ N(m, σ²ψΛ⁻¹) about its location v = [η, m].
Given the scales its rows are summed up by two independent statistics: the scatter within the pair,
which speaks of m alone, and r = ȳ − x̄·ŵ, normal about η + a·m with variance
s = τ² + σ²(1/n + q). Both are computed in the eigen-coordinates of the scatter, where ridge
shrinkage is one number per direction.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from molpool_common import FloatArray

_CHUNK_BYTES = 64 * 2**20
LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True)
class Spectra:
    """Eigendecomposition of L⁻¹ S_xx L⁻¹ for each pair, L = diag(√lambda).

    Parameters
    ----------
    root : ndarray, [P]
        √ of the ridge precisions (their pattern, where a common factor is estimated).
    d : ndarray, [G, P]
        Eigenvalues, not negative.
    basis : ndarray, [G, P, P]
        L U: from eigen-coordinates to covariates. ``basis.T @ m`` are the coordinates of slopes m.
    z : ndarray, [G, P]
        Coordinates of S_xy.
    h : ndarray, [G, P]
        Coordinates of the mean covariates.

    Notes
    -----
    With ψ = 1/λ and t = 1/(1 + ψd), every quantity of the ridge posterior is a sum over P
    directions, regular at ψ = 0 (slopes do not vary) as at any other value.
    """

    root: FloatArray
    d: FloatArray
    basis: FloatArray
    z: FloatArray
    h: FloatArray

    @property
    def dual(self) -> FloatArray:
        """L⁻¹ U, [G, P, P]: from eigen-coordinates to slopes."""
        return self.basis / (self.root**2)[:, None]


def decompose(
    sxx: FloatArray, sxy: FloatArray, mean_x: FloatArray, precision: FloatArray
) -> Spectra:
    """Decompose each pair's sums of squares, a chunk of pairs at a time.

    Parameters
    ----------
    sxx, sxy, mean_x : ndarray, [G, P, P], [G, P], [G, P]
        Centred sums and means.
    precision : ndarray, [P]
        Ridge precisions over σ⁻².
    """
    root = np.sqrt(precision)
    n_pairs, size = mean_x.shape
    d = np.empty((n_pairs, size))
    basis = np.empty((n_pairs, size, size))
    step = max(1, _CHUNK_BYTES // max(8 * size * size, 1))
    for start in range(0, n_pairs if size else 0, step):
        part = slice(start, start + step)
        values, vectors = np.linalg.eigh(sxx[part] / np.outer(root, root))
        # A direction without data has d = 0 exactly, not what rounding left.
        floor = size * np.finfo(float).eps * values.max(axis=1, keepdims=True)
        d[part] = np.where(values > floor, values, 0.0)
        basis[part] = root[:, None] * vectors
    inverse = basis / (root**2)[:, None]
    z = np.einsum("gpq,gp->gq", inverse, sxy)
    h = np.einsum("gpq,gp->gq", inverse, mean_x)
    return Spectra(root, d, basis, np.where(d > 0, z, 0.0), h)


@dataclass(frozen=True)
class Shrunk:
    """Ridge quantities of every pair at one ψ; they do not depend on any other scale.

    Parameters
    ----------
    spectra : Spectra
        Of the pairs.
    n, weight, mean_y, syy : ndarray, [G]
        Rows, the sum of their weights, mean and centred sum of squares of the target.
    psi : float
        1/λ: the variance of slopes over σ², not negative.
    """

    spectra: Spectra
    n: FloatArray
    weight: FloatArray
    mean_y: FloatArray
    syy: FloatArray
    psi: float

    @cached_property
    def t(self) -> FloatArray:
        """Weight of the head in each direction, [G, P]."""
        return np.asarray(1 / (1 + self.psi * self.spectra.d))

    @cached_property
    def q(self) -> FloatArray:
        """x̄ᵀ(S_xx + Λ)⁻¹x̄, [G]."""
        return np.asarray(
            self.psi * np.einsum("gp,gp,gp->g", self.spectra.h, self.spectra.h, self.t)
        )

    @cached_property
    def r(self) -> FloatArray:
        """ȳ − x̄·ŵ with ŵ the ridge slopes about 0, [G]."""
        s = self.spectra
        return np.asarray(self.mean_y - self.psi * np.einsum("gp,gp,gp->g", s.h, s.z, self.t))

    @cached_property
    def rss(self) -> FloatArray:
        """S_yy − S_xyᵀ(S_xx + Λ)⁻¹S_xy, [G]."""
        # Rounding may take a perfect fit below 0.
        z = self.spectra.z
        return np.asarray(
            np.maximum(self.syy - self.psi * np.einsum("gp,gp,gp->g", z, z, self.t), 0.0)
        )

    @cached_property
    def log_det(self) -> FloatArray:
        """log|S_xx + Λ| − log|Λ|, [G]."""
        return np.asarray(np.log1p(self.psi * self.spectra.d).sum(axis=1))

    @cached_property
    def a(self) -> FloatArray:
        """Λ(S_xx + Λ)⁻¹x̄, [G, P]: how r moves with the slope head."""
        return np.asarray(np.einsum("gpq,gq->gp", self.spectra.basis, self.t * self.spectra.h))

    @cached_property
    def within(self) -> FloatArray:
        """Λ(S_xx + Λ)⁻¹S_xx, [G, P, P]: precision of the slope head, times σ²."""
        s = self.spectra
        return np.asarray(
            np.matmul(s.basis * (s.d * self.t)[:, None, :], s.basis.transpose(0, 2, 1))
        )

    @cached_property
    def linear(self) -> FloatArray:
        """Λ(S_xx + Λ)⁻¹S_xy, [G, P]: linear term of the slope head, times σ²."""
        return np.asarray(np.einsum("gpq,gq->gp", self.spectra.basis, self.t * self.spectra.z))


@dataclass(frozen=True)
class Messages:
    """Gaussian messages of the pairs to their locations at given scales.

    Parameters
    ----------
    shrunk : Shrunk
        Ridge quantities.
    sigma2 : ndarray, [G]
        σ² of each pair.
    tau2 : float or None
        τ² of intercepts about their location; None: flat intercepts, r says nothing.
    with_head : bool
        Whether locations have slopes, D = 1 + P; else D = 1.
    """

    shrunk: Shrunk
    sigma2: FloatArray
    tau2: float | None
    with_head: bool

    @cached_property
    def noise(self) -> FloatArray:
        """σ²(1/n + q), [G], n the sum of the rows' weights."""
        return self.sigma2 * (1 / self.shrunk.weight + self.shrunk.q)

    @cached_property
    def p(self) -> FloatArray:
        """Precision of r about η + a·m, [G]."""
        if self.tau2 is None:
            return np.zeros_like(self.sigma2)
        return np.asarray(1 / (self.tau2 + self.noise))

    @cached_property
    def e(self) -> FloatArray:
        """[1, a], [G, D]."""
        ones = np.ones((len(self.p), 1))
        return np.concatenate([ones, self.shrunk.a], axis=1) if self.with_head else ones

    @cached_property
    def precision(self) -> FloatArray:
        """J, [G, D, D]."""
        e = self.e
        J = (self.p[:, None] * e)[:, :, None] * e[:, None, :]
        if self.with_head:
            J[:, 1:, 1:] += self.shrunk.within / self.sigma2[:, None, None]
        return J

    @cached_property
    def linear(self) -> FloatArray:
        """Linear term, [G, D]."""
        h = (self.p * self.shrunk.r)[:, None] * self.e
        if self.with_head:
            h[:, 1:] += self.shrunk.linear / self.sigma2[:, None]
        return h

    @cached_property
    def constant(self) -> FloatArray:
        """Log likelihood of each pair's rows at location 0, [G]; flat b integrated if flat."""
        s = self.shrunk
        log_lik = (s.n - 1) * (LOG_2PI + np.log(self.sigma2)) + np.log(s.weight)
        log_lik += s.log_det + s.rss / self.sigma2
        if self.tau2 is None:
            # ∫ db leaves 1/√n of the mean's density, and σ²q widens nothing that is observed.
            return np.asarray(-log_lik / 2)
        log_lik += LOG_2PI - np.log(self.p) + self.p * s.r**2
        return np.asarray(-log_lik / 2)

    def slopes(self, mean: FloatArray, cov: FloatArray) -> HeadMoments:
        """Return moments of the slope head in eigen-coordinates, zero without a head."""
        s = self.shrunk.spectra
        if not self.with_head:
            zero = np.zeros_like(s.d)
            return HeadMoments(zero, zero, zero)
        m = np.einsum("gpq,gp->gq", s.basis, mean[:, 1:])
        half = np.matmul(cov[:, 1:, 1:], s.basis)
        variance = np.einsum("gpq,gpq->gq", s.basis, half)
        with_rho = np.einsum("gd,gdp,gpq->gq", self.e, cov[:, :, 1:], s.basis)
        return HeadMoments(m, variance, -with_rho)

    def derivatives(self, mean: FloatArray, cov: FloatArray, *, by_psi: bool) -> Derivatives:
        """Differentiate the log likelihood, locations integrated (Fisher's identity).

        Parameters
        ----------
        mean, cov : ndarray, [G, D], [G, D, D]
            Posterior moments of each pair's location.
        by_psi : bool
            Whether ψ is estimated.
        """
        s, sp, p = self.shrunk, self.shrunk.spectra, self.p
        rho = s.r - np.einsum("gd,gd->g", self.e, mean)
        var_rho = np.einsum("gd,gde,ge->g", self.e, cov, self.e)
        # Twice the derivative of log N(ρ | 0, s) by s; ds / dlog τ = 2τ² makes up for the factor.
        by_variance = p**2 * (rho**2 + var_rho) - p
        rss = s.rss.copy()
        if self.with_head:
            m, M = mean[:, 1:], cov[:, 1:, 1:]
            rss += np.einsum("gpq,gpq->g", s.within, M + m[:, :, None] * m[:, None, :])
            rss -= 2 * np.einsum("gp,gp->g", s.linear, m)
        # n − 1 rows of a pair inform σ within it; their mean does through s.
        by_sigma = (1 - s.n) + rss / self.sigma2 + self.noise * by_variance
        by_tau = 0.0 if self.tau2 is None else self.tau2 * float(by_variance.sum())
        if not by_psi:
            return Derivatives(by_sigma, by_tau, 0.0)
        head = self.slopes(mean, cov)
        psi, t = s.psi, s.t
        # Residuals along each direction about the slope head; its uncertainty adds d² variance.
        residual = sp.z - sp.d * head.mean
        squared = residual**2 + sp.d**2 * head.variance
        total = (psi * t**2 * squared / self.sigma2[:, None]).sum() - (psi * sp.d * t).sum()
        total += (psi * self.sigma2 * by_variance) @ (sp.h**2 * t**2).sum(axis=1)
        cross = rho[:, None] * residual - sp.d * head.with_rho
        total += 2 * psi * p @ (sp.h * t**2 * cross).sum(axis=1)
        return Derivatives(by_sigma, by_tau, float(total))

    def by_covariate(self, mean: FloatArray, cov: FloatArray) -> FloatArray:
        """Differentiate by the log spread of each covariate's slopes, at ψ = 1, [P].

        Parameters
        ----------
        mean, cov : ndarray, [G, D], [G, D, D]
            Posterior moments of each pair's location.

        Notes
        -----
        Σ E[(w − m)²] / σ²ψ − 1 over pairs, where w − m is taken over √ψ, its prior's own unit, so
        that no spread is divided by, however small.
        """
        s, sp, p = self.shrunk, self.shrunk.spectra, self.p
        turn = sp.basis / sp.root[:, None]
        reach = self.sigma2[:, None] * np.einsum("gpq,gq->gp", turn, s.t * sp.h)
        rho = s.r - np.einsum("gd,gd->g", self.e, mean)
        left = s.t * (sp.z - sp.d * self.slopes(mean, cov).mean)
        excess = np.einsum("gpq,gq->gp", turn, left) + (p * rho)[:, None] * reach
        variance = self.sigma2[:, None] * np.einsum("gpq,gq->gp", turn**2, s.t)
        variance -= p[:, None] * reach**2
        by_location = -(p[:, None] * reach)[:, :, None] * self.e[:, None, :]
        if self.with_head:
            by_location[:, :, 1:] -= np.matmul(
                turn * (sp.d * s.t)[:, None, :], sp.basis.transpose(0, 2, 1)
            )
        variance += np.einsum("gpd,gde,gpe->gp", by_location, cov, by_location)
        return np.asarray(((excess**2 + variance) / self.sigma2[:, None] - 1).sum(axis=0))


@dataclass(frozen=True)
class HeadMoments:
    """Moments of the slope head in eigen-coordinates, [G, P] each.

    `with_rho` is the covariance with ρ = r − η − a·m.
    """

    mean: FloatArray
    variance: FloatArray
    with_rho: FloatArray


@dataclass(frozen=True)
class Derivatives:
    """Of the log likelihood by the logarithms of standard deviations.

    `by_sigma` [G] is by log σ of each pair, `by_tau` by log τ, `by_psi` by log √ψ.
    """

    by_sigma: FloatArray
    by_tau: float
    by_psi: float
