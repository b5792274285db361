from __future__ import annotations

import numpy as np
import pytest
from molpool_pipelines.scores.comparison.assumptions import check_assumptions, greenhouse_geisser
from scipy import stats


def test_figures_are_those_of_scipy() -> None:
    x = np.random.default_rng(0).normal(size=(15, 3)) + np.arange(15)[:, None]
    rest = x - x.mean(axis=1, keepdims=True) - x.mean(axis=0) + x.mean()
    found = check_assumptions(x)
    assert found.normality_p == pytest.approx(stats.shapiro(rest.ravel()).pvalue)
    assert found.friedman_p == pytest.approx(stats.friedmanchisquare(*x.T).pvalue)
    variances = x.var(axis=0, ddof=1)
    assert found.variance_ratio == pytest.approx(variances.max() / variances.min())


@pytest.mark.parametrize("seed", range(5))
def test_epsilon_by_the_eigenvalues_of_contrasts(seed: int) -> None:
    """(Σλ)² / ((M - 1) Σλ²) of the covariance of orthonormal contrasts."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(12, 4)) * [1, 2, 3, 4]
    basis = np.linalg.qr(np.column_stack([np.ones(4), rng.normal(size=(4, 3))]))[0][:, 1:]
    eigenvalues = np.linalg.eigvalsh(basis.T @ np.cov(x, rowvar=False) @ basis)
    expected = eigenvalues.sum() ** 2 / (3 * np.square(eigenvalues).sum())
    found = greenhouse_geisser(x)
    assert found == pytest.approx(expected)
    assert found is not None
    assert 1 / 3 <= found <= 1


def test_two_models_are_always_spherical() -> None:
    assert greenhouse_geisser(np.random.default_rng(0).normal(size=(9, 2))) == pytest.approx(1.0)


def test_doubts_are_said() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_t(1.0, size=(40, 3)) * [1, 1, 30]
    doubts = " ".join(check_assumptions(x).doubts)
    for word in ("not normal", "variances of the models are unlike", "differences vary unalike"):
        assert word in doubts


def test_scores_without_doubt_and_scores_that_do_not_vary() -> None:
    assert check_assumptions(np.random.default_rng(3).normal(size=(20, 3))).doubts == ()
    still = check_assumptions(np.zeros((5, 3)))
    assert (still.normality_p, still.epsilon, still.friedman_p) == (None, None, None)
    assert still.variance_ratio == 1.0
