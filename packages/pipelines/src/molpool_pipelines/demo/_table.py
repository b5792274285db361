"""The demo table: which molecule is labelled for which task, how well, and with what noise."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from molpool_common import InputError, atomic_path
from numpy.typing import NDArray
from rdkit import Chem

from molpool_pipelines.demo._library import enumerate_molecules, heavy_atoms
from molpool_pipelines.demo._properties import compute

if TYPE_CHECKING:
    from numpy.random import Generator

DEMO_NOTICE = (
    "Synthetic: molecules enumerated by code, values computed by RDKit plus noise. "
    "Nothing was measured."
)
"""What every copy of the table says of itself."""

DEMO_TASKS = ("LogP", "LogS", "QED", "MR", "TPSA", "Fsp3")
"""Tasks, from the most frequent to the rarest."""

QUALITY_NOISE = {"high": 0.1, "medium": 0.3, "low": 0.8}
"""Quality -> sd of the noise, as a share of the task's own sd, at the mean molecule size."""

QUALITY_SHARES = {"high": 0.40, "medium": 0.35, "low": 0.25}
"""Quality -> expected share of the molecules."""

IMBALANCE = 40
"""Labels of the most frequent task for each label of the rarest."""

MINIMUM = 100
"""Fewest molecules; below, the rarest task would have a single label."""

_CASCADE = 0.5
"""Weight of drug-likeness (in sds of QED) in who is measured, against standard Gumbel noise."""


@lru_cache(maxsize=4)
def build_demo(n: int = 1500, seed: int = 0) -> pl.DataFrame:
    """Build the synthetic demo table. Nothing in it was measured.

    Molecules are enumerated from hand-written building blocks through common couplings. Each task
    is a property that RDKit computes, plus noise: normal, with an sd that is the task's sd times
    `QUALITY_NOISE` of the row's quality times the molecule's heavy atoms over their mean. The noise
    is not clipped, so a noisy `QED` may pass 1.

    Labels are not missing at random: the rarer tasks are measured sooner for molecules of high QED,
    as later assays of a project see its better compounds. Label counts fall geometrically over the
    tasks, the first 40 times the last; every molecule has at least one label.

    Parameters
    ----------
    n : int
        Number of molecules, at least 100; the blocks make several thousand.
    seed : int
        Seed of molecules, labels, qualities and noise. Same `n`, seed and library versions, same
        table.

    Returns
    -------
    polars.DataFrame
        `Molecule Name` (DEMO-00001, ...), `SMILES`, the columns of `DEMO_TASKS` (float64, null
        where not labelled) and `Quality` (high, medium or low). Units: LogS log10 mol/L,
        MR cm^3/mol, TPSA A^2; LogP, QED and Fsp3 have none.

    Raises
    ------
    InputError
        If `n` is below 100 or above what the building blocks make, or the seed is negative.
    """
    if n < MINIMUM:
        raise InputError("n", expected=f"at least {MINIMUM} molecules", found=str(n))
    if seed < 0:
        raise InputError("seed", expected="a whole number from 0 up", found=str(seed))
    rng = np.random.default_rng(seed)
    molecules = enumerate_molecules(n, rng)
    quality = rng.choice(list(QUALITY_SHARES), size=n, p=list(QUALITY_SHARES.values()))
    size = heavy_atoms(molecules)
    # Larger molecules are noisier, so that the error is not the same everywhere and a model's
    # uncertainty has something to find.
    spread = np.array([QUALITY_NOISE[q] for q in quality]) * size / size.mean()
    values = {task: compute(task, molecules) for task in DEMO_TASKS}
    labelled = _labelled(values["QED"], rng)

    columns: dict[str, pl.Series] = {}
    for t, task in enumerate(DEMO_TASKS):
        noise = rng.standard_normal(n) * spread * values[task].std()
        # As tables in the wild have it; full precision would give away what was computed.
        measured = np.round(values[task] + noise, 4)
        columns[task] = pl.Series(np.where(labelled[:, t], measured, np.nan)).fill_nan(None)
    return pl.DataFrame(
        {
            "Molecule Name": [f"DEMO-{i:05d}" for i in range(1, n + 1)],
            "SMILES": [Chem.MolToSmiles(m) for m in molecules],
            **columns,
            "Quality": quality.tolist(),
        }
    )


def label_counts(n: int) -> tuple[int, ...]:
    """Return the labels of each task among `n` molecules, from the most frequent to the rarest."""
    rarest = n * 14 // (15 * IMBALANCE)
    steps = np.linspace(1.0, 0.0, len(DEMO_TASKS))
    return tuple(round(rarest * IMBALANCE**step) for step in steps)


def _labelled(qed: NDArray[np.float64], rng: Generator) -> NDArray[np.bool_]:
    """Return which molecule is labelled for which task, bool [N, T]."""
    counts = label_counts(len(qed))
    liking = _CASCADE * (qed - qed.mean()) / qed.std()
    labelled = np.zeros((len(qed), len(counts)), dtype=np.bool_)
    for t, count in enumerate(counts):
        # The largest of score + Gumbel noise: a draw without replacement, weighted by exp(score).
        score = rng.gumbel(size=len(qed)) + (liking if t > 0 else 0.0)
        if t == 1:
            # The second task takes what the first left, so that no molecule is without a label.
            score[~labelled[:, 0]] = np.inf
        labelled[np.argsort(-score, kind="stable")[:count], t] = True
    return labelled


def write_demo(output: Path, *, n: int, seed: int) -> pl.DataFrame:
    """Build the demo table, write it atomically, and return it.

    Parameters
    ----------
    output : Path
        A .csv or .parquet file. Parquet carries the notice and the seed in its metadata; a comment
        line in a CSV file would break its readers, so there the ids (DEMO-00001) must do.
    n, seed : int
        As for `build_demo`.

    Raises
    ------
    InputError
        If `n` or `seed` is out of range.
    """
    table = build_demo(n=n, seed=seed)
    with atomic_path(output) as temporary:
        if output.suffix.lower() == ".csv":
            table.write_csv(temporary)
        else:
            table.write_parquet(temporary, metadata={"notice": DEMO_NOTICE, "seed": str(seed)})
    return table
