"""The ExpansionRx table, whose molecule numbers follow time."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from molpool_common._chem import parse_smiles
from molpool_common.splits import molecule_groups, split

_NEAR = (p / "shared" / "data" for p in Path(__file__).resolve().parents)
_FOLDER = os.environ.get("MOLPOOL_DATA") or next(filter(Path.is_dir, _NEAR), "")
_TABLE = Path("admet") / "expansionrx" / "expansion_data_train.csv"


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    path = Path(_FOLDER) / _TABLE
    if not path.exists():
        pytest.skip(f"no {_TABLE}: set MOLPOOL_DATA to the folder of the public tables")
    return pl.read_csv(path)


@pytest.mark.realdata
def test_time_split_tests_on_the_latest_molecules(table: pl.DataFrame) -> None:
    mols = parse_smiles(table["SMILES"].to_list()).require_all()
    groups = molecule_groups(mols)
    names = table["Molecule Name"].to_list()
    sides = split("time", (0.8, 0.0, 0.2), groups=groups, times=names)
    # By hand: a molecule's number is the lowest of its rows; the latest fifth of rows by it.
    frame = pl.DataFrame({"group": groups.tolist(), "number": [int(n[2:]) for n in names]})
    number = frame.select(pl.col("number").min().over("group")).to_series().to_numpy()
    latest_fifth = np.sort(number)[int(0.8 * len(number))]
    assert number[sides.train].max() < number[sides.test].min()
    # The boundary may lie within a molecule of several rows.
    largest = frame.group_by("group").len()["len"].max()
    assert isinstance(largest, int)
    assert abs((number >= latest_fifth).sum() - len(sides.test)) <= largest
    assert abs(len(sides.test) - 0.2 * len(names)) <= largest
