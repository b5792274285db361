"""A page of conformers to turn, beside the attention that each task pays them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from molpool_common import Code, Section, Text, Widget, render_report, write_text
from numpy.typing import NDArray

from mil_attn.data.bag_data import BagData
from mil_attn.export import check_molecules, conformers_of_frame

if TYPE_CHECKING:
    from rdkit.Chem import Mol

DRAWN_BY = "3Dmol.js 2.5.5 (BSD-3-Clause)"


def export_attention_page(
    frame: pl.DataFrame,
    mols: Mapping[str, Mol],
    path: str | Path,
    *,
    data: BagData | None = None,
    conformers: int = 8,
    title: str = "Attention",
) -> None:
    """Write a page that shows conformers in three dimensions beside their attention.

    It needs no other file and no network: the drawing library is in it.

    Parameters
    ----------
    frame : DataFrame
        Of `attention_frame`.
    mols : mapping of str to Mol
        The molecules by id, in the order in which they are offered, with their conformers in the
        order of the instances.
    path : str or Path
        The file, whole or not there at all.
    data : BagData, optional
        Its labels stand beside the predictions.
    conformers : int
        Most conformers of a molecule: those of most attention, the tasks taking turns.
    title : str
        Heading.

    Raises
    ------
    MILError
        If a molecule has another number of conformers than the frame, or none is in the frame.
    """
    check_molecules(frame, mols)
    tasks = frame["task"].unique(maintain_order=True).to_list()
    wanted = frame.filter(pl.col("molecule_id").is_in(list(mols)))
    rows = {str(key[0]): part for key, part in wanted.group_by("molecule_id", maintain_order=True)}
    shown = [_molecule(n, mols[n], rows[n], len(tasks), conformers) for n in mols if n in rows]
    for entry in shown:
        entry["labels"] = None if data is None else _labels(data, entry["id"], tasks)
    values = {"tasks": tasks, "effects": "effect" in frame.columns, "molecules": shown}
    write_text(Path(path), _page(title, values))


def _page(title: str, values: Mapping[str, Any]) -> str:
    n, n_tasks = len(values["molecules"]), len(values["tasks"])
    plurals = [
        f"{k} {what}{'' if k == 1 else 's'}" for k, what in ((n, "molecule"), (n_tasks, "task"))
    ]
    widget = Widget(
        _asset("attention.html"),
        style=_asset("attention.css"),
        scripts=[_asset("3Dmol-min.js"), _asset("attention.js")],
        data={"attention-data": values},
    )
    sections = [
        Section("Conformers", [widget]),
        Section("How to read it", [Text(text) for text in _reading(values["effects"])]),
        Section("Drawn with", [Code(DRAWN_BY, _asset("3Dmol.LICENSE.txt"))]),
    ]
    return render_report(title, ", ".join(plurals), sections)


def _reading(effects: bool) -> Iterator[str]:
    yield (
        "A bar is the share of a task's attention that a conformer gets; over all conformers of a "
        "molecule it sums to 1. The line across is even attention. Choose a bar to see its "
        "conformer; conformers are laid over the first by their heavy atoms."
    )
    if effects:
        yield (
            "The effect is the molecule's logit (for regression, its value) minus what it would be "
            "without the conformer: to the right where the conformer speaks for class 1, or for a "
            "higher value. Its bars are relative to the largest shown. Attention says where the "
            "model looks, the effect what comes of it."
        )
    yield "Drag to turn, Ctrl and wheel to zoom; energies are above the molecule's lowest."


def _asset(name: str) -> str:
    return (files("mil_attn") / "assets" / name).read_text(encoding="utf-8")


def _molecule(name: str, mol: Mol, rows: pl.DataFrame, n_tasks: int, most: int) -> dict[str, Any]:
    """Return the plain values that the page draws a molecule from."""
    groups = conformers_of_frame(name, mol, rows)
    attention = rows["attention"].to_numpy().reshape(-1, n_tasks)
    # rank[k, t]: place of conformer k for task t, from 1.
    rank = 1 + np.argsort(np.argsort(-attention, axis=0, kind="stable"), axis=0)
    drawn, positions = _drawing(mol)
    return {
        "id": name,
        **drawn,
        "n": len(groups),
        "predictions": groups[0]["prediction"].to_list(),
        "conformers": [
            {
                "id": groups[k]["conformer_id"][0],
                "energy": groups[k]["energy"][0],
                "attention": attention[k].tolist(),
                "rank": rank[k].tolist(),
                "effect": groups[k]["effect"].to_list() if "effect" in rows.columns else None,
                "xyz": positions[k].ravel().tolist(),
            }
            # The best place that a task gives decides.
            for k in sorted(np.argsort(rank.min(axis=1), kind="stable")[:most].tolist())
        ],
    }


def _drawing(mol: Mol) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """Return SMILES, elements and bonds, and the positions [K, A, 3] in Å, laid over another."""
    from rdkit.Chem import Kekulize, MolToSmiles, RemoveHs
    from rdkit.Chem import Mol as Copy
    from rdkit.Chem.rdMolAlign import AlignMolConformers

    mol = Copy(mol)
    smiles = MolToSmiles(RemoveHs(mol))
    heavy = [a.GetIdx() for a in mol.GetAtoms() if a.GetAtomicNum() > 1]
    AlignMolConformers(mol, atomIds=heavy)
    Kekulize(mol, clearAromaticFlags=True)
    positions = np.stack([c.GetPositions() for c in mol.GetConformers()])
    bonds = [
        [b.GetBeginAtomIdx(), b.GetEndAtomIdx(), round(b.GetBondTypeAsDouble()) or 1]
        for b in mol.GetBonds()
    ]
    elements = [a.GetSymbol() for a in mol.GetAtoms()]
    # A thousandth of an Å is less than anyone sees.
    return {"smiles": smiles, "elements": elements, "bonds": bonds}, positions.round(3)


def _labels(data: BagData, name: str, tasks: list[str]) -> list[float | None] | None:
    """Return a molecule's label of each task, None where there is none."""
    if data.labels is None:
        return None
    of_bag = dict(zip(data.task_names, data.labels[data.ids.index(name)].tolist(), strict=True))
    found = (of_bag.get(task, np.nan) for task in tasks)
    return [None if np.isnan(value) else value for value in found]
