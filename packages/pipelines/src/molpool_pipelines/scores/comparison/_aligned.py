"""Rows of several models under names that mean the same molecules in all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from molpool_common import InputError, listed

from molpool_pipelines.scores._config import Join
from molpool_pipelines.scores._joining import structure_keys
from molpool_pipelines.scores._predictions import Predictions


def aligned(
    models: Sequence[Predictions], names: Sequence[str], join: Join
) -> tuple[list[Predictions], list[str]]:
    """Return models whose rows of equal id are the same molecule.

    Parameters
    ----------
    models : sequence of Predictions
        Of several models.
    names : sequence of str
        What they are called.
    join : {"auto", "id", "structure", "row"}
        What tells rows. auto: ids; structures where these are of other molecules or where models
        have none in common, as numbers of rows of different tables are.

    Returns
    -------
    models : list of Predictions
    notes : list of str
        What told rows, where it was not the ids.

    Raises
    ------
    InputError
        If structures are asked for, or needed, and a model has none.
    """
    if join == "row":
        numbered = [
            replace(m, ids=np.array([str(row + 1) for row in range(len(m))], dtype=object))
            for m in models
        ]
        return numbered, ["Rows are paired by their number, as asked for."]
    if join == "id":
        return list(models), []
    without = [n for m, n in zip(models, names, strict=True) if m.smiles is None]
    if join == "structure" and without:
        raise InputError(
            "join", expected="SMILES in all models", found=f"none in {listed(without)}"
        )
    if without or (join == "auto" and _agree(models)):
        return list(models), []
    why = "as asked for" if join == "structure" else "their ids are of different tables"
    return [_by_structure(m) for m in models], [f"Rows are paired by structure: {why}."]


def _agree(models: Sequence[Predictions]) -> bool:
    """Return whether rows of equal id have equal structures, and there are such rows."""
    first = dict(zip(models[0].ids.tolist(), _smiles(models[0]), strict=True))
    for model in models[1:]:
        own = zip(model.ids.tolist(), _smiles(model), strict=True)
        pairs = {(first[name], text) for name, text in own if name in first}
        if not pairs:
            return False
        other = [pair for pair in pairs if pair[0] != pair[1]]
        # A salt in one table and its base in the other are one molecule of one name.
        keys, _ = structure_keys([text for pair in other for text in pair], "parent")
        if keys[::2] != keys[1::2]:
            return False
    return True


def _by_structure(model: Predictions) -> Predictions:
    keys, bad = structure_keys(_smiles(model))
    lost = {b.row: f"row {b.row + 1}" for b in bad}
    ids = [lost[row] if key is None else key for row, key in enumerate(keys)]
    return replace(model, ids=np.array(ids, dtype=object))


def _smiles(model: Predictions) -> list[str | None]:
    return [] if model.smiles is None else model.smiles.tolist()
