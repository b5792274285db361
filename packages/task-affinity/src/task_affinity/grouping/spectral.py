"""Spectral clustering of tasks, with (affinity + 1) / 2 as the weights of the graph."""

from __future__ import annotations

import warnings

import numpy as np
from molpool_common import FloatArray

from task_affinity.grouping.agglomerative import Labels


def spectral(affinity: FloatArray, n_groups: int, seed: int) -> Labels:
    """Return the cluster [T] of each task.

    Parameters
    ----------
    affinity : ndarray [T, T]
        Symmetric, between -1 and 1.
    n_groups : int
        Number of clusters, 1 to T; every one gets a task.
    seed : int
        Seed of k-means in the space of eigenvectors.
    """
    n_tasks = len(affinity)
    if n_groups in (1, n_tasks):
        return np.arange(n_tasks) if n_groups > 1 else np.zeros(n_tasks, dtype=np.intp)
    from sklearn.cluster import SpectralClustering

    weights = np.clip(((affinity + affinity.T) / 2 + 1) / 2, 0.0, 1.0)
    clustering = SpectralClustering(n_groups, affinity="precomputed", random_state=seed)
    with warnings.catch_warnings():
        # Tasks that are all alike, or in parts without a tie, are the caller's data, not a fault.
        warnings.simplefilter("ignore")
        labels = clustering.fit_predict(weights)
    return _filled(np.asarray(labels, dtype=np.intp), n_groups)


def _filled(labels: Labels, n_groups: int) -> Labels:
    """Split the largest clusters until there are `n_groups`: k-means merges equal points."""
    labels = labels.copy()
    for label in range(n_groups):
        if not (labels == label).any():
            largest = np.bincount(labels, minlength=n_groups).argmax()
            labels[np.flatnonzero(labels == largest)[-1]] = label
    return labels
