"""Slopes and intercepts that depend on species and chemistry together, for the simulator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from molpool_common import FloatArray, IntArray

from rt_ridge.simulate_config import SimulateConfig


@dataclass(frozen=True)
class Chemistry:
    """What classes and descriptors add to the coefficients of S species and C compounds.

    Attributes
    ----------
    intercept : ndarray, [S, C]
        Of species' own coefficients of the descriptors, min.
    slope : ndarray, [S, C, P]
        Of classes, of classes within clusters, and of species' own coefficients.
    """

    intercept: FloatArray
    slope: FloatArray


def draw_chemistry(
    config: SimulateConfig,
    cluster: IntArray,
    klass: IntArray,
    descriptors: FloatArray,
    rng: np.random.Generator,
) -> Chemistry:
    """Draw the interactions of a laboratory; all are 0 by default.

    Parameters
    ----------
    config : SimulateConfig
        Their spreads.
    cluster, klass : ndarray of int64, [S], [C]
        Cluster of each species, class of each compound.
    descriptors : ndarray, [C, Q]
        Of the compounds.
    rng : Generator
        Of these draws alone.
    """
    S, P, Q = config.n_species, config.n_covariates, config.n_descriptors
    each = 1 / np.sqrt(max(Q, 1))
    of_class = rng.normal(size=(config.n_classes, P)) * config.class_gamma_sd
    crossed = rng.normal(size=(config.n_clusters, config.n_classes, P))
    slope = of_class[klass] + (crossed * config.cluster_class_gamma_sd)[cluster][:, klass]
    theta = rng.normal(size=(S, Q)) * config.species_theta_sd * each
    gamma = rng.normal(size=(S, Q, P)) * config.species_theta_gamma_sd * each
    return Chemistry(theta @ descriptors.T, slope + np.einsum("cq,sqp->scp", descriptors, gamma))
