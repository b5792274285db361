"""Test molecules that a model was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from molpool_common import cache_folder

from molpool_pipelines.models import run_section
from molpool_pipelines.scores.prediction_table import Predictions
from molpool_pipelines.scores.training_molecules import training_molecules
from molpool_pipelines.tables import identify


def leak_notes(
    models: Sequence[Path], tested: Sequence[Predictions], names: Sequence[str]
) -> list[str]:
    """Say which models were trained on molecules that they are tested on.

    Parameters
    ----------
    models : sequence of Path
        Saved models; a run folder names its training molecules, others do not.
    tested : sequence of Predictions
        Of each, with SMILES.
    names : sequence of str
        What they are called.

    Returns
    -------
    list of str
        A note a model; stereoisomers count as one molecule, as in splits.
    """
    notes = []
    for path, found, name in zip(models, tested, names, strict=True):
        known = training_molecules(path) if path.is_dir() else None
        if known is None or found.smiles is None:
            continue
        cache = cache_folder(run_section(path, "data").get("cache_dir"))
        trained = set(identify(known.smiles, cache).blocks.tolist()) - {""}
        n = sum(b in trained for b in identify(found.smiles.tolist(), cache).blocks.tolist())
        if n:
            notes.append(
                f"{name} was trained on {n} of the {len(found)} test molecules: it looks better "
                "than it is."
            )
    return notes
