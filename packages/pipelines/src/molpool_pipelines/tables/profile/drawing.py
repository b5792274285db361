"""What joint sampling would draw from the table, by mode and exponent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from molpool_common import MoleculeTable
from numpy.typing import NDArray

ALPHAS = (0.0, 0.3, 0.5, 1.0)


@dataclass(frozen=True)
class Drawing:
    """The row distribution of one setting.

    Parameters
    ----------
    mode : str
        ``multiplicative`` or ``hierarchical``.
    alpha : float
        Exponent of the label count.
    effective_rows : float
        1 / Σp².
    distinct_rows : float
        Expected number of distinct rows among as many draws as there are rows.
    task_share : ndarray [T]
        Probability that a drawn row has a label of the task.
    """

    mode: str
    alpha: float
    effective_rows: float
    distinct_rows: float
    task_share: NDArray[np.float64]


def draw_settings(table: MoleculeTable) -> list[Drawing]:
    """Return the distributions of both modes at each of `ALPHAS`, without a curriculum.

    Parameters
    ----------
    table : MoleculeTable
        Rows without a label are left out, as samplers never draw them.

    Returns
    -------
    list of Drawing
        Empty for a table without labels.
    """
    # Imports torch, which takes seconds: only once everything else has been computed.
    from sampling_core import JointSampler

    labelled = np.isfinite(table.targets)
    rows = labelled.any(axis=1)
    if not rows.any():
        return []
    targets, labelled = table.targets[rows], labelled[rows].astype(np.float64)
    settings = []
    for mode in ("multiplicative", "hierarchical"):
        for alpha in ALPHAS:
            sampler = JointSampler(targets, task_alpha=alpha, composition_mode=mode, seed=0)
            p = sampler.probabilities()
            settings.append(
                Drawing(
                    mode,
                    alpha,
                    effective_rows=sampler.statistics().effective_samples,
                    distinct_rows=float(-np.expm1(len(p) * np.log1p(-p)).sum())
                    if len(p) > 1
                    else 1.0,
                    task_share=p @ labelled,
                )
            )
    return settings
