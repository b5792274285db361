"""Conformers of the molecules that a model is surest of, for an SD file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from mil_attn import BagData, conformer_molecule, conformers_of
from molpool_common import cache_folder

from molpool_pipelines.fitting.config import TrainMILConfig

if TYPE_CHECKING:
    from rdkit.Chem import Mol


def top_molecules(frame: pl.DataFrame, n: int) -> list[str]:
    """Return the ids of the `n` molecules of highest predictions, the tasks taking turns.

    Parameters
    ----------
    frame : DataFrame
        Of `mil_attn.attention_frame`.
    n : int
        At most so many.
    """
    bags = frame.unique(["molecule_id", "task"], maintain_order=True)
    place = pl.col("prediction").rank("ordinal", descending=True).over("task").alias("place")
    ranked = bags.with_columns(place).sort("place", maintain_order=True)
    return ranked["molecule_id"].unique(maintain_order=True).head(n).to_list()


def structures(config: TrainMILConfig, data: BagData, ids: list[str]) -> dict[str, Mol]:
    """Return molecules with the conformers that are their instances, by id.

    Parameters
    ----------
    config : TrainMILConfig
        Of a run on SMILES: conformers that are kept are not computed again.
    data : BagData
        With SMILES.
    ids : list of str
        Which molecules.
    """
    assert data.smiles is not None
    settings = config.data.features.conformers
    place = {name: i for i, name in enumerate(data.ids)}
    smiles = {name: data.smiles[place[name]] for name in ids}
    distinct = list(dict.fromkeys(smiles.values()))
    found = conformers_of(distinct, settings, cache=cache_folder(config.data.cache_dir))
    by_smiles = dict(zip(distinct, found, strict=True))
    return {
        name: conformer_molecule(text, by_smiles[text], settings) for name, text in smiles.items()
    }
