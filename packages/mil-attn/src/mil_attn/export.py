"""Attention as tables and SD files: one row a conformer and task."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from molpool_common import atomic_path, listed
from numpy.typing import NDArray

from mil_attn.data.bag_data import BagData
from mil_attn.errors import MILError
from mil_attn.explain import leave_one_out
from mil_attn.training.devices import prediction_device
from mil_attn.training.loader import BagLoader
from mil_attn.training.module import MILModule

if TYPE_CHECKING:
    from rdkit.Chem import Mol


def attention_frame(module: MILModule, data: BagData, *, effects: bool = True) -> pl.DataFrame:
    """Return the attention to every instance for every task.

    Parameters
    ----------
    module : MILModule
        Trained, with a 3D branch.
    data : BagData
        N bags with M instances, not scaled.
    effects : bool
        Whether to add what leaving the instance out changes, see `leave_one_out`.

    Returns
    -------
    DataFrame
        M · T rows: ``molecule_id, conformer_id, energy`` (kcal/mol above the lowest, null where not
        known), ``task, attention`` (sums to 1 over a molecule and task), ``prediction`` (of the
        molecule) and ``effect`` (null in molecules of one conformer).

    Raises
    ------
    MILError
        If the model has no 3D branch, or the features are others.
    """
    if module.network.in_3d is None:
        raise MILError("model: expected one with a 3D branch; found one of 2D features alone.")
    attention, predicted = _outputs(module, data)
    bag_of = np.repeat(np.arange(len(data)), data.sizes)
    n, n_tasks = len(bag_of), len(module.task_names)
    names = data.instance_ids or [str(i) for i in np.arange(n) - data.bounds[:-1][bag_of]]
    energies = np.full(n, np.nan) if data.energies is None else data.energies
    columns = {
        "molecule_id": np.repeat(np.array(data.ids, dtype=object)[bag_of], n_tasks),
        "conformer_id": np.repeat(np.array(names, dtype=object), n_tasks),
        "energy": np.repeat(energies, n_tasks),
        "task": np.tile(np.array(module.task_names, dtype=object), n),
        "attention": attention.reshape(-1),
        "prediction": predicted[bag_of].reshape(-1),
    }
    text = dict.fromkeys(("molecule_id", "conformer_id", "task"), pl.String)
    frame = pl.DataFrame(columns, schema_overrides=text)
    if effects:
        frame = frame.with_columns(effect=leave_one_out(module, data).reshape(-1))
    return frame.with_columns(pl.selectors.float().fill_nan(None))


def export_attention(
    module: MILModule, data: BagData, path: str | Path, *, effects: bool = True
) -> pl.DataFrame:
    """Write `attention_frame` as Parquet and as CSV.

    Parameters
    ----------
    module, data, effects
        As for `attention_frame`.
    path : str or Path
        Without an ending: ``PATH.parquet`` and ``PATH.csv`` are written, each whole or not at all.

    Returns
    -------
    DataFrame
        What was written.

    Raises
    ------
    MILError
        As `attention_frame`.
    """
    frame = attention_frame(module, data, effects=effects)
    path = Path(path)
    with atomic_path(path.with_name(f"{path.name}.parquet")) as temporary:
        frame.write_parquet(temporary)
    with atomic_path(path.with_name(f"{path.name}.csv")) as temporary:
        frame.write_csv(temporary)
    return frame


def export_attention_sdf(frame: pl.DataFrame, mols: Mapping[str, Mol], path: str | Path) -> None:
    """Write conformers with their attention as properties of an SD file.

    Parameters
    ----------
    frame : DataFrame
        Of `attention_frame`.
    mols : mapping of str to Mol
        The molecules by id, their conformers in the order of the instances. Others of the frame
        are left out.
    path : str or Path
        The file. Each entry is a conformer, with ``molecule_id``, ``conformer_id``, ``energy`` and
        for each task ``attention TASK``, ``prediction TASK`` and, where it is there, ``effect
        TASK``.

    Raises
    ------
    MILError
        If a molecule has another number of conformers than the frame, or none is in the frame.
    """
    check_molecules(frame, mols)
    from rdkit.Chem import SDWriter

    with atomic_path(Path(path)) as temporary, SDWriter(str(temporary)) as writer:
        for (name,), rows in frame.group_by("molecule_id", maintain_order=True):
            if name in mols:
                _write_molecule(writer, str(name), mols[str(name)], rows)


def check_molecules(frame: pl.DataFrame, mols: Mapping[str, Mol]) -> None:
    """Raise `MILError` unless some of the molecules are in a frame of `attention_frame`."""
    known = frame["molecule_id"].unique(maintain_order=True).to_list()
    if not any(name in mols for name in known):
        raise MILError(
            f"mols: expected molecules of the frame, such as {known[0]!r}; "
            f"found {listed([repr(n) for n in list(mols)[:3]]) or 'none'}."
        )


def conformers_of_frame(name: str, mol: Mol, rows: pl.DataFrame) -> list[pl.DataFrame]:
    """Return the rows of each conformer of a molecule, in its order.

    Raises
    ------
    MILError
        If the molecule has another number of conformers than the frame.
    """
    groups = rows.partition_by("conformer_id", maintain_order=True)
    if mol.GetNumConformers() != len(groups):
        raise MILError(
            f"mols: expected {len(groups)} conformers of {name!r}, as the frame has; "
            f"found {mol.GetNumConformers()}."
        )
    return groups


def _write_molecule(writer: object, name: str, mol: Mol, rows: pl.DataFrame) -> None:
    from rdkit.Chem import Mol as Copy

    groups = conformers_of_frame(name, mol, rows)
    for conformer, of_one in zip(mol.GetConformers(), groups, strict=True):
        entry = Copy(mol)
        entry.SetProp("_Name", name)
        for key in ("molecule_id", "conformer_id", "energy"):
            if of_one[key][0] is not None:
                entry.SetProp(key, str(of_one[key][0]))
        for row in of_one.iter_rows(named=True):
            for key in ("attention", "prediction", "effect"):
                if row.get(key) is not None:
                    entry.SetProp(f"{key} {row['task']}", f"{row[key]:.6g}")
        writer.write(entry, confId=conformer.GetId())  # type: ignore[attr-defined]


def _outputs(module: MILModule, data: BagData) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return attention [M, T] and predictions [N, T]."""
    scaled = module.prepare(data, with_labels=False)
    attention, values = [], []
    with prediction_device(module) as device:
        for bags in BagLoader(scaled, 512):
            output = module(bags.to(device))
            attention.append(output.attention.cpu().double().numpy())
            values.append(module.values(output.logits).cpu().double().numpy())
    return np.concatenate(attention), np.concatenate(values)
