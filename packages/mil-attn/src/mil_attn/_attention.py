"""What a prediction rests on: attention and leave-one-out effects, as tables, SD files, a page."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from molpool_common import (
    Code,
    FloatArray,
    IntArray,
    Section,
    Text,
    Widget,
    atomic_path,
    formulas_marked,
    listed,
    render_report,
    write_text,
)

from mil_attn._bags import Bags
from mil_attn._errors import MILError
from mil_attn.data._bag_data import BagData
from mil_attn.models._model import MILTaskAttnMixerWithAux
from mil_attn.training._loop import BagLoader
from mil_attn.training._module import MILModule, prediction_device

if TYPE_CHECKING:
    from rdkit.Chem import Mol

DRAWN_BY = "3Dmol.js 2.5.5 (BSD-3-Clause)"


def leave_one_out(
    module: MILModule, data: BagData, *, batch_size: int = 512, rows_at_once: int = 1 << 17
) -> FloatArray:
    """Return how much of a bag's logit is owed to each instance.

    The logit of the complete bag minus that of the bag without the instance: positive where the
    instance speaks for class 1. Attention says where a model looks, this what comes of it. Each
    instance is encoded once.

    Parameters
    ----------
    module : MILModule
        Trained, with a 3D branch.
    data : BagData
        N bags with M instances, not scaled.
    batch_size : int
        Bags encoded at a time.
    rows_at_once : int
        Instances in the reduced bags that are pooled at a time.

    Returns
    -------
    ndarray [M, T]
        In units of the logit; for regression of the labels. NaN in bags of one instance, of which
        nothing would be left.

    Raises
    ------
    MILError
        If the model has no 3D branch, or the features are others.
    """
    if module.network.in_3d is None:
        raise MILError("model: expected one with a 3D branch; found one of 2D features alone.")
    scaled = module.prepare(data, with_labels=False)
    with prediction_device(module) as device:
        # The mean logit predicts, so that the mean of the members' effects is the effect.
        parts = [
            np.mean([_effects(m, bags.to(device), rows_at_once) for m in module.members], axis=0)
            for bags in BagLoader(scaled, batch_size)
        ]
    found = np.concatenate(parts) if parts else np.empty((0, len(module.task_names)))
    if module.is_classifier:
        return found
    values: FloatArray = found * module.units[1]
    return values


def _effects(network: MILTaskAttnMixerWithAux, bags: Bags, rows_at_once: int) -> FloatArray:
    molecules, instances = network.encode(bags)
    assert instances is not None
    complete = network.mix(molecules, instances, bags.offsets).logits
    effects = complete.new_full((len(instances), complete.shape[1]), torch.nan)
    offsets = bags.offsets.cpu().numpy()
    for left_out, bag, rows, bounds in _reduced(offsets, rows_at_once):
        at = torch.from_numpy(bag).to(complete.device)
        reduced = network.mix(
            None if molecules is None else molecules[at],
            instances[torch.from_numpy(rows).to(complete.device)],
            torch.from_numpy(bounds).to(complete.device),
        ).logits
        effects[torch.from_numpy(left_out).to(complete.device)] = complete[at] - reduced
    result: FloatArray = effects.cpu().double().numpy()
    return result


def _reduced(
    offsets: IntArray, rows_at_once: int
) -> Iterator[tuple[IntArray, IntArray, IntArray, IntArray]]:
    """Yield chunks of bags less one instance.

    Each is what was left out [R], its bag [R], the instances that remain, and their bounds [R + 1].
    """
    sizes = np.diff(offsets)
    bag_of = np.repeat(np.arange(len(sizes)), sizes)
    left_out = np.flatnonzero(sizes[bag_of] > 1)
    chunk = (np.cumsum(sizes[bag_of[left_out]] - 1) - 1) // rows_at_once
    for number in np.unique(chunk):
        some = left_out[chunk == number]
        bag = bag_of[some]
        bounds = np.concatenate([[0], np.cumsum(sizes[bag] - 1)]).astype(np.int64)
        position = np.arange(bounds[-1]) - np.repeat(bounds[:-1], sizes[bag] - 1)
        gap = np.repeat(some - offsets[bag], sizes[bag] - 1)
        rows = np.repeat(offsets[bag], sizes[bag] - 1) + position + (position >= gap)
        yield some, bag, rows, bounds


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
    attention, predicted = attention_and_values(module, data)
    bag_of = np.repeat(np.arange(len(data)), data.sizes)
    n, n_tasks = len(bag_of), len(module.task_names)
    # Instances without names are numbered within their bag, from 0.
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
        Without an ending: ``PATH.parquet`` and ``PATH.csv`` are written, each atomically.

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
        formulas_marked(frame).write_csv(temporary)
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
    # A frame has the tasks of one conformer after the other.
    return list(rows.iter_slices(rows.height // _conformers(name, mol, rows["conformer_id"])))


def _conformers(name: str, mol: Mol, named: Iterable[str]) -> int:
    n = len(set(named))
    if mol.GetNumConformers() != n:
        raise MILError(
            f"mols: expected {n} conformers of {name!r}, as the frame has; "
            f"found {mol.GetNumConformers()}."
        )
    return n


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


def attention_and_values(module: MILModule, data: BagData) -> tuple[FloatArray, FloatArray]:
    """Return attention [M, T] and predictions [N, T]."""
    scaled = module.prepare(data, with_labels=False)
    attention, values = [], []
    with prediction_device(module) as device:
        for bags in BagLoader(scaled, 512):
            output = module(bags.to(device))
            attention.append(output.attention.cpu().double().numpy())
            # float64 for the table alone: attention of a bag then sums to 1 as printed.
            values.append(module.values(output.logits).numpy())
    return np.concatenate(attention), np.concatenate(values)


def export_attention_page(
    frame: pl.DataFrame,
    mols: Mapping[str, Mol],
    path: str | Path,
    *,
    data: BagData | None = None,
    conformers: int = 8,
    title: str = "Attention",
    trust: Sequence[str] = (),
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
        The file, written atomically.
    data : BagData, optional
        Its labels stand beside the predictions.
    conformers : int
        Most conformers of a molecule: those of most attention, the tasks taking turns.
    title : str
        Heading.
    trust : sequence of str
        Sentences on what of the page can be trusted.

    Raises
    ------
    MILError
        If a molecule has another number of conformers than the frame, or none is in the frame.
    """
    check_molecules(frame, mols)
    tasks = frame["task"].unique(maintain_order=True).to_list()
    rows = _by_molecule(frame, list(mols))
    entries = [_molecule(n, mols[n], rows[n], len(tasks), conformers) for n in mols if n in rows]
    place = {} if data is None else {name: n for n, name in enumerate(data.ids)}
    for entry in entries:
        entry["labels"] = None if data is None else _labels(data, place[entry["id"]], tasks)
    values = {"tasks": tasks, "effects": "effect" in frame.columns, "molecules": entries}
    write_text(Path(path), _page(title, values, trust))


def _page(title: str, values: Mapping[str, Any], trust: Sequence[str]) -> str:
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
        Section("How to read it", [Text(text) for text in (*_reading(values["effects"]), *trust)]),
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


def _by_molecule(frame: pl.DataFrame, names: Collection[str]) -> dict[str, dict[str, list[Any]]]:
    """Return the columns of a frame as lists, for each of some molecules."""
    wanted = frame.filter(pl.col("molecule_id").is_in(names)).sort(
        "molecule_id", maintain_order=True
    )
    whole = wanted.to_dict(as_series=False)
    runs = wanted["molecule_id"].rle().struct.unnest()
    ends = runs["len"].cum_sum().to_list()
    found = {}
    for name, start, end in zip(runs["value"], [0, *ends], ends, strict=False):
        found[name] = {column: values[start:end] for column, values in whole.items()}
    return found


def _molecule(
    name: str, mol: Mol, columns: Mapping[str, list[Any]], n_tasks: int, most: int
) -> dict[str, Any]:
    """Return the plain values that the page draws a molecule from."""
    n = _conformers(name, mol, columns["conformer_id"])
    attention = np.array(columns["attention"]).reshape(n, n_tasks)
    effects = columns.get("effect", [])
    # rank[k, t]: place of conformer k for task t, from 1.
    rank = 1 + np.argsort(np.argsort(-attention, axis=0, kind="stable"), axis=0)
    structure, positions = _drawing(mol)
    return {
        "id": name,
        **structure,
        "n": n,
        "predictions": columns["prediction"][:n_tasks],
        "conformers": [
            {
                "id": columns["conformer_id"][k * n_tasks],
                "energy": columns["energy"][k * n_tasks],
                "attention": attention[k].tolist(),
                "rank": rank[k].tolist(),
                "effect": effects[k * n_tasks : (k + 1) * n_tasks] or None,
                "xyz": positions[k].ravel().tolist(),
            }
            # The best place that a task gives decides.
            for k in sorted(np.argsort(rank.min(axis=1), kind="stable")[:most].tolist())
        ],
    }


def _drawing(mol: Mol) -> tuple[dict[str, Any], FloatArray]:
    """Return SMILES, elements and bonds, and the positions [K, A, 3] in Å, laid over another."""
    from rdkit.Chem import GetAdjacencyMatrix, Kekulize, MolToSmiles, RemoveHs
    from rdkit.Chem import Mol as Copy
    from rdkit.Chem.rdMolAlign import AlignMolConformers

    mol = Copy(mol)
    # Not checked again: the molecule was, and it is a tenth of the page's time.
    smiles = MolToSmiles(RemoveHs(mol, sanitize=False))
    # By number: walking `GetAtoms` was half of what a page of many molecules costs.
    elements = [mol.GetAtomWithIdx(i).GetSymbol() for i in range(mol.GetNumAtoms())]
    AlignMolConformers(mol, atomIds=[i for i, name in enumerate(elements) if name != "H"])
    Kekulize(mol, clearAromaticFlags=True)
    positions = np.stack([c.GetPositions() for c in mol.GetConformers()])
    # As matrices: walking the bonds took a quarter of the page's time. Those of order 0 are drawn.
    ends = np.nonzero(np.triu(GetAdjacencyMatrix(mol, force=True)))
    orders = GetAdjacencyMatrix(mol, useBO=True, force=True)[ends].round().clip(1)
    bonds = np.column_stack([*ends, orders]).astype(int).tolist()
    # A thousandth of an Å is less than anyone sees.
    return {"smiles": smiles, "elements": elements, "bonds": bonds}, positions.round(3)


def _labels(data: BagData, bag: int, tasks: list[str]) -> list[float | None] | None:
    """Return a bag's label of each task, None where there is none."""
    if data.labels is None:
        return None
    of_bag = dict(zip(data.task_names, data.labels[bag].tolist(), strict=True))
    found = (of_bag.get(task, np.nan) for task in tasks)
    return [None if np.isnan(value) else value for value in found]
