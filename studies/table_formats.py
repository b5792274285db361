"""One table in each format that laboratories use: are the models equal to the bit.

Heads of public tables are written as CSV, as semicolon CSV with decimal commas in cp1252, as tabs
in UTF-16, as Excel, Parquet and SDF; LightGBM on Morgan counts and a small Chemprop network are
trained on each, and all predictions are compared with those of the plain CSV. An SDF file has no
SMILES, so that all formats have those that are read of it.

    MOLPOOL_DATA=... python studies/table_formats.py --rows 300
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from chemprop_multitask import ChempropModel, MoleculeData
from molecule_features import featurize
from molpool_common import FloatArray, read_table, validate_values
from molpool_pipelines.datasets import locate
from molpool_pipelines.fitting import TrainChempropConfig, read_inputs
from multitask_models import MultitaskLightGBM


class Source(NamedTuple):
    """A public table: data set, file, columns of SMILES and names, and targets."""

    dataset: str
    file: str | None
    smiles: str
    name: str
    targets: tuple[str, ...]


SOURCES = {
    "ExpansionRx": Source("expansionrx", None, "SMILES", "Molecule Name", ("LogD", "KSOL")),
    "Biogen": Source(
        "biogen",
        None,
        "SMILES",
        "Internal ID",
        ("LOG HLM_CLint (mL/min/kg)", "LOG MDR1-MDCK ER (B-A/A-B)"),
    ),
    "EUOS25": Source("euos25", None, "SMILES", "ID", ("Transmittance_340", "Transmittance_450")),
}


def head(source: Source, rows: int) -> pl.DataFrame:
    """Return ``SMILES, Name`` and targets of the first rows that have a label of each kind."""
    frame = read_table(locate(source.dataset, source.file))
    frame = frame.select(
        pl.col(source.smiles).alias("SMILES"),
        pl.col(source.name).alias("Name"),
        *source.targets,
        # A letter that cp1252 and UTF-8 write differently.
        pl.lit("µ").alias("remark"),
    )
    return frame.filter(pl.any_horizontal(pl.col(t).is_not_null() for t in source.targets)).head(
        rows
    )


def write_sdf(frame: pl.DataFrame, path: Path) -> None:
    """Write molecules with drawn coordinates, whose wedges carry the stereo, and properties."""
    from rdkit import Chem
    from rdkit.Chem.rdDepictor import Compute2DCoords

    with Chem.SDWriter(str(path)) as writer:
        for row in frame.iter_rows(named=True):
            mol = Chem.MolFromSmiles(row["SMILES"])
            Compute2DCoords(mol)
            for name, value in row.items():
                if name != "SMILES" and value is not None:
                    mol.SetProp(name, str(value))
            writer.write(mol)


def writers(targets: tuple[str, ...]) -> dict[str, tuple[str, Callable[[pl.DataFrame, Path], Any]]]:
    """Return file name and writer of each format."""
    numbers = [pl.col(t).cast(pl.Float64) for t in targets]
    commas = [pl.col(t).str.replace(".", ",", literal=True) for t in targets]

    def text(frame: pl.DataFrame, path: Path, separator: str, encoding: str) -> None:
        path.write_bytes(frame.write_csv(separator=separator).encode(encoding))

    return {
        "CSV": ("t.csv", lambda f, p: text(f, p, ",", "utf-8")),
        "semicolons, decimal commas, cp1252": (
            "german.csv",
            lambda f, p: text(f.with_columns(commas), p, ";", "cp1252"),
        ),
        "tabs, UTF-16": ("wide.tsv", lambda f, p: text(f, p, "\t", "utf-16")),
        "Excel": (
            "t.xlsx",
            lambda f, p: f.with_columns(numbers).write_excel(p, float_precision=12, autofit=False),
        ),
        "Parquet": ("t.parquet", lambda f, p: f.with_columns(numbers).write_parquet(p)),
        "SDF": ("t.sdf", write_sdf),
    }


def trained(path: Path, targets: tuple[str, ...], kind: str) -> FloatArray:
    """Read and split a table as a run does, train on it, and return predictions of all rows."""
    data = {
        "target_columns": list(targets), "id_column": "Name", "cache_dir": "none",
        "unlabelled_tasks": "drop",
    }  # fmt: skip
    small = {"message_passing": {"hidden_size": 32}, "ffn": {"hidden_size": 32}}
    values = {
        "data_path": str(path), "data": data, "model": small,
        "training": {"epochs": 1, "accelerator": "cpu"},
    }  # fmt: skip
    config = validate_values(TrainChempropConfig, values)
    inputs = read_inputs(config)
    if kind == "LightGBM":
        of_all, of_train = (
            featurize(table.modelled, "morgan_count", cache=None).values
            for table in (inputs.table, inputs.tables.train)
        )
        trees = MultitaskLightGBM(task_kinds=list(inputs.task_types), random_state=0)
        return trees.fit(of_train, inputs.tables.train.targets).predict(of_all)
    names = inputs.table.task_names
    network = ChempropModel.from_config(
        config, task_names=names, task_types=inputs.task_types, seed=0
    )
    train, val, every = (
        MoleculeData.from_table(table)
        for table in (inputs.tables.train, inputs.tables.val, inputs.table)
    )
    network.fit(train, val, seed=0)
    return network.predict(every)


KINDS = ("LightGBM", "Chemprop")


def compare(
    source: Source, rows: int, folder: Path, kinds: Sequence[str] = KINDS
) -> dict[str, dict[str, str]]:
    """Return, of each format and kind of model, whether predictions are those of the plain CSV."""
    targets = source.targets
    write_sdf(head(source, rows), folder / "first.sdf")
    # What is read of it is what the other formats have; of some molecules a drawing in two
    # dimensions says another stereo, which a second drawing keeps.
    read = read_table(folder / "first.sdf").select("SMILES", "Name", *targets, "remark")
    found: dict[str, dict[str, str]] = {}
    first: dict[str, FloatArray] = {}
    for name, (file, write) in writers(targets).items():
        write(read, folder / file)
        found[name] = {}
        for kind in kinds:
            ours = trained(folder / file, targets, kind)
            expected = first.setdefault(kind, ours)
            found[name][kind] = difference(expected, ours)
    return found


def difference(expected: FloatArray, ours: FloatArray) -> str:
    """Return ``equal``, or how many predictions differ and by how much."""
    if np.array_equal(expected, ours):
        return f"equal ({len(ours)} rows)"
    if expected.shape != ours.shape:
        return f"{expected.shape} and {ours.shape}"
    apart = np.abs(expected - ours)
    return f"{int((apart > 0).sum())} predictions differ, by up to {apart.max():.3g}"


def main() -> int:
    """Print a line per data set, format and kind of model; 1 where any differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--sets", nargs="*", default=list(SOURCES))
    given = parser.parse_args()
    failed = 0
    for name in given.sets:
        with tempfile.TemporaryDirectory() as folder:
            found = compare(SOURCES[name], given.rows, Path(folder))
        for form, by_kind in found.items():
            for kind, said in by_kind.items():
                failed += not said.startswith("equal")
                sys.stdout.write(f"{name}, {form}, {kind}: {said}\n")
                sys.stdout.flush()
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
