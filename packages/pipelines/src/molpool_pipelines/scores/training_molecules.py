"""The molecules that a run was trained on, from its predictions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from molpool_common import parse_smiles

from molpool_pipelines.runs import PREDICTIONS, split_column

if TYPE_CHECKING:
    from rdkit.Chem import Mol


@dataclass(frozen=True)
class TrainingMolecules:
    """M different molecules.

    Parameters
    ----------
    ids : list of str
        Their names; of several rows of one SMILES, the first.
    smiles : list of str
        Their SMILES.
    mols : list of Mol
        Parsed.
    """

    ids: list[str]
    smiles: list[str]
    mols: list[Mol]


def training_molecules(path: Path) -> TrainingMolecules | None:
    """Return the molecules that trained any model of a run.

    Parameters
    ----------
    path : Path
        A run folder.

    Returns
    -------
    TrainingMolecules or None
        None where the folder has no predictions with ids, SMILES and sides.

    Notes
    -----
    With folds, a row that validates one model trains the others, so that it counts.
    """
    file = path / PREDICTIONS
    if not file.is_file():
        return None
    names = list(pl.read_parquet_schema(file))
    split = split_column(names)
    if split is None or not {"id", "SMILES"} <= set(names):
        return None
    frame = pl.read_parquet(file, columns=["id", "SMILES", split])
    trained = ["train", "val"] if "fold" in names else ["train"]
    rows = frame.filter(pl.col(split).is_in(trained)).unique(
        "SMILES", keep="first", maintain_order=True
    )
    parsed = parse_smiles(rows["SMILES"].to_list())
    rows = rows.filter(pl.Series([mol is not None for mol in parsed.mols], dtype=pl.Boolean))
    mols = [mol for mol in parsed.mols if mol is not None]
    if not mols:
        return None
    return TrainingMolecules(rows["id"].cast(pl.String).to_list(), rows["SMILES"].to_list(), mols)
