"""What the rows of each pair say of its location, its own coefficients integrated out.

A pair k has intercept b ~ N(η, τ²) and slopes w ~ N(m, σ²ψΛ⁻¹) about its location v = [η, m].
Given the scales its rows are summed up by two independent statistics: the scatter within the pair,
which speaks of m alone, and r = ȳ − x̄·ŵ, normal about η + a·m with variance
s = τ² + σ²(1/n + q). Both are computed in the eigen-coordinates of the scatter, where ridge
shrinkage is one number per direction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from molpool_common import FloatArray

_CHUNK_BYTES = 64 * 2**20
_CACHED_BYTES = 2**18
"""Of a part of the pairs that stays near the processor, its temporaries included."""

MAX_SWEPT = 1e10
"""Largest S_xx over a ridge precision that a sweep takes.

It multiplies the rounding, as it does in a decomposition. That alone sets to 0 what rounding leaves
of directions without data, which counts where this nears the inverse of the resolution of a number.
"""

LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True)
class Spectra:
    """Eigendecomposition of L⁻¹ S_xx L⁻¹ for each pair, L = diag(√lambda), when first asked for.

    Parameters
    ----------
    sxx, sxy, mean_x : ndarray, [G, P, P], [G, P], [G, P]
        Centred sums and means.
    precision : ndarray, [P]
        Ridge precisions over σ⁻² (their pattern, where a common factor is estimated).

    Notes
    -----
    With ψ = 1/λ and t = 1/(1 + ψd), every quantity of the ridge posterior is a sum over P
    directions, regular at ψ = 0 (slopes do not vary) as at any other value.
    """

    sxx: FloatArray
    sxy: FloatArray
    mean_x: FloatArray
    precision: FloatArray

    @cached_property
    def _eigen(self) -> tuple[FloatArray, FloatArray]:
        root = np.sqrt(self.precision)
        n_pairs, size = self.mean_x.shape
        d = np.empty((n_pairs, size))
        basis = np.empty((n_pairs, size, size))
        for part in _chunks(n_pairs if size else 0, 8 * size * size, _CHUNK_BYTES):
            values, vectors = np.linalg.eigh(self.sxx[part] / np.outer(root, root))
            # A direction without data has d = 0 exactly, not what rounding left.
            floor = size * np.finfo(float).eps * values.max(axis=1, keepdims=True)
            d[part] = np.where(values > floor, values, 0.0)
            basis[part] = root[:, None] * vectors
        return d, basis

    @property
    def d(self) -> FloatArray:
        """Eigenvalues, not negative, [G, P]."""
        return self._eigen[0]

    @property
    def basis(self) -> FloatArray:
        """L U, [G, P, P]: ``basis.T @ m`` are the eigen-coordinates of slopes m."""
        return self._eigen[1]

    @cached_property
    def dual(self) -> FloatArray:
        """L⁻¹ U, [G, P, P]: from eigen-coordinates to slopes."""
        return np.asarray(self.basis / self.precision[:, None])

    @cached_property
    def z(self) -> FloatArray:
        """Coordinates of S_xy, [G, P]."""
        return np.where(self.d > 0, np.einsum("gpq,gp->gq", self.dual, self.sxy), 0.0)

    @cached_property
    def h(self) -> FloatArray:
        """Coordinates of the mean covariates, [G, P]."""
        return np.asarray(np.einsum("gpq,gp->gq", self.dual, self.mean_x))


def _chunks(size: int, bytes_each: int, limit: int) -> Iterator[slice]:
    """Cut a range into parts that take no more memory than the limit."""
    step = max(1, limit // max(bytes_each, 1))
    return (slice(start, start + step) for start in range(0, size, step))


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
class Swept(Shrunk):
    """The same at ψ = 1 where `fits`, without a decomposition, which costs most of an evaluation.

    Precisions that move one by one leave no eigen-coordinates to keep.
    """

    @staticmethod
    def fits(largest: FloatArray, precision: FloatArray) -> bool:
        """Whether rounding leaves directions without data near enough to 0.

        Parameters
        ----------
        largest, precision : ndarray, [P]
            Largest S_xx of any pair, and ridge precision, of each covariate.
        """
        return bool((largest <= MAX_SWEPT * precision).all())

    def __post_init__(self) -> None:
        # Kept where cached properties look first; found now, for they would lock out other chains.
        names = "within", "a", "linear", "q", "r", "rss", "log_det"
        vars(self).update(zip(names, self._sums(), strict=True))

    def _sums(self) -> tuple[FloatArray, ...]:
        """Return the quantities that `Shrunk` derives from a decomposition.

        Prior variances ψ_p = 1/λ_p are let in one after another. Each takes the rank-one term
        M_p M_pᵀ ψ_p / (1 + ψ_p M_pp) from the sums M of [x, x̄, y], which end as Λ(S + Λ)⁻¹[S_xx,
        x̄, S_xy], −q, r and rss. Nothing is inverted: singular sums are ordinary ones.
        """
        s = self.spectra
        n_pairs, P = s.mean_x.shape
        found = tuple(np.empty((n_pairs, *shape)) for shape in ((P, P), (P,), (P,), (), (), (), ()))
        # One triangle of M, pairs last, so that each step is one on long rows.
        i, j = np.triu_indices(P + 2)
        at = np.zeros((P + 2, P + 2), dtype=np.int64)
        at[i, j] = at[j, i] = np.arange(len(i))
        slopes, x, y = at[:P, :P], at[:P, P], at[:P, P + 1]
        q, r, rss = at[P, P], at[P, P + 1], at[P + 1, P + 1]
        for part in _chunks(n_pairs, 8 * len(i), _CACHED_BYTES):
            M = np.zeros((len(i), len(self.n[part])))
            M[slopes], M[x], M[y] = s.sxx[part].T, s.mean_x[part].T, s.sxy[part].T
            M[r], M[rss] = self.mean_y[part], self.syy[part]
            log_det = np.zeros(M.shape[1])
            for p, precision in enumerate(s.precision):
                row = M[at[p]]
                # Rounding may leave less than nothing of sums that others were taken from.
                pivot = np.maximum(row[p], 0.0)
                log_det += np.log1p(pivot / precision)
                M -= (row / (precision + pivot))[i] * row[j]
            # Rounding may take a perfect fit below 0.
            M[rss] = np.maximum(M[rss], 0.0)
            ends = M[slopes].T, M[x].T, M[y].T, -M[q], M[r], M[rss], log_det
            for whole, end in zip(found, ends, strict=True):
                whole[part] = end
        return found


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
        with_rho = np.einsum("gp,gpq->gq", self._with_rho(cov)[:, 1:], s.basis)
        return HeadMoments(m, variance, -with_rho)

    def derivatives(
        self, mean: FloatArray, cov: FloatArray, *, by_psi: bool, by_covariate: bool
    ) -> Derivatives:
        """Differentiate the log likelihood, locations integrated (Fisher's identity).

        Parameters
        ----------
        mean, cov : ndarray, [G, D], [G, D, D]
            Posterior moments of each pair's location.
        by_psi : bool
            Whether ψ is estimated.
        by_covariate : bool
            Whether each covariate has a spread of its own, at ψ = 1.
        """
        s, p = self.shrunk, self.p
        rho = s.r - np.einsum("gd,gd->g", self.e, mean)
        with_rho = self._with_rho(cov)
        var_rho = np.einsum("gd,gd->g", with_rho, self.e)
        # Twice the derivative of log N(ρ | 0, s) by s; ds / dlog τ = 2τ² makes up for the factor.
        by_variance = p**2 * (rho**2 + var_rho) - p
        rss, left = s.rss.copy(), None
        if self.with_head:
            m = mean[:, 1:]
            left = s.linear - np.einsum("gpq,gq->gp", s.within, m)
            rss -= np.einsum("gp,gp->g", s.linear + left, m)
            # The trace of `within` and the covariance of m, by J = p eeᵀ + within / σ².
            trace = np.einsum("gd,gd->g", *(x.reshape(len(x), -1) for x in (self.precision, cov)))
            rss += self.sigma2 * (trace - p * var_rho)
        # n − 1 rows of a pair inform σ within it; their mean does through s.
        by_sigma = (1 - s.n) + rss / self.sigma2 + self.noise * by_variance
        by_tau = 0.0 if self.tau2 is None else self.tau2 * float(by_variance.sum())
        by_each = self._by_covariate(cov, rho, left) if by_covariate else None
        if not by_psi:
            return Derivatives(by_sigma, by_tau, 0.0, by_each)
        head = self.slopes(mean, cov)
        sp, psi, t = s.spectra, s.psi, s.t
        # Residuals along each direction about the slope head; its uncertainty adds d² variance.
        residual = sp.z - sp.d * head.mean
        squared = residual**2 + sp.d**2 * head.variance
        total = (psi * t**2 * squared / self.sigma2[:, None]).sum() - (psi * sp.d * t).sum()
        total += (psi * self.sigma2 * by_variance) @ (sp.h**2 * t**2).sum(axis=1)
        cross = rho[:, None] * residual - sp.d * head.with_rho
        total += 2 * psi * p @ (sp.h * t**2 * cross).sum(axis=1)
        return Derivatives(by_sigma, by_tau, float(total), by_each)

    def _by_covariate(
        self, cov: FloatArray, rho: FloatArray, left: FloatArray | None
    ) -> FloatArray:
        """Differentiate by the log spread of each covariate's slopes, [P].

        Parameters
        ----------
        cov : ndarray, [G, D, D]
            Posterior covariance of each pair's location.
        rho : ndarray, [G]
            Mean of ρ.
        left : ndarray, [G, P], or None
            What the scatter says of slopes beyond the head's mean, times σ²; None without a head.

        Notes
        -----
        The sum over pairs of E[(w − m)²] / σ²ψ − 1. Here w − m = σ²ψu, u = h − Jv what the rows say
        of slopes beyond their location v, so that no spread is divided by, however small. The mean
        of u counts squared, its variance JCJ by the location's, and J what ψ itself allows for.
        """
        s, p = self.shrunk, self.p
        left = s.linear if left is None else left
        beyond = (p * rho)[:, None] * s.a + left / self.sigma2[:, None]
        if self.with_head:
            J = self.precision[:, 1:]
            allowed = np.diagonal(J, offset=1, axis1=1, axis2=2)
            variance = np.einsum("gpd,gpd->gp", np.matmul(J, cov), J)
        else:
            by_location = p[:, None] * s.a
            within = np.diagonal(s.within, axis1=1, axis2=2)
            allowed = by_location * s.a + within / self.sigma2[:, None]
            variance = by_location**2 * cov[:, 0]
        return np.asarray(self.sigma2 @ (beyond**2 + variance - allowed)) / s.spectra.precision

    def _with_rho(self, cov: FloatArray) -> FloatArray:
        """Return minus the covariance of the location and ρ, [G, D]."""
        return np.asarray(np.einsum("gd,gde->ge", self.e, cov))


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

    `by_sigma` [G] is by log σ of each pair, `by_tau` by log τ, `by_psi` by log √ψ, and
    `by_covariate` [P] by the log spread of each covariate's slopes.
    """

    by_sigma: FloatArray
    by_tau: float
    by_psi: float
    by_covariate: FloatArray | None
