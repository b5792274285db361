"""Which columns are tasks where none are named."""

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from molpool_common import InputError, read_table
from molpool_pipelines.fitting import TrainAutoConfig, TrainMILConfig, TrainTabularConfig
from molpool_pipelines.tables import Columns, TableConfig, choose_columns, with_tasks

NEAR = [parent / "shared" / "data" for parent in Path(__file__).parents]
DATA = Path(os.environ.get("MOLPOOL_DATA") or next(filter(Path.is_dir, NEAR), "")) / "admet"
SMILES = ["C" * n for n in range(1, 9)]
VALUES = np.arange(8) / 3


def frame(*names: str) -> pl.DataFrame:
    return pl.DataFrame({"SMILES": SMILES, **{name: VALUES + k for k, name in enumerate(names)}})


def chosen(*names: str, ask: bool = False) -> tuple[str, ...]:
    return choose_columns(frame(*names), Columns(), "t.csv", ask=ask)[0].targets


def test_a_row_of_units_hides_no_column_and_rows_have_their_own_numbers(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = [
        "SMILES,KSOL,CL",
        ",µM,mL/min",
        *[f"{'C' * i},{i},{'' if i < 5 else i / 2}" for i in range(1, 30)],
    ]
    path.write_text("\n".join([*rows, "CCO,7,oops"]))
    found, notes = choose_columns(read_table(path), Columns(), path.name)
    assert found.targets == ("KSOL",)
    assert "found 'oops' in row 31" in notes[0]


@pytest.mark.parametrize(
    "name",
    ["fold", "Split", "weights", "plate_id", "PlateId", "batch", "", "Vendor ID", "index", "year"],
)
def test_what_numbers_or_divides_rows_is_no_task(name: str) -> None:
    assert chosen("LogD", name, ask=True) == ("LogD",)
    with pytest.raises(InputError, match="name it to use it"):
        chosen(name, ask=True)


@pytest.mark.parametrize(
    "name",
    [
        *("SD", "pEC50_std.error (-log10(molarity))", "pEC50_ci.lower (-log10(molarity))"),
        *("Prediction", "p_value", "n_replicates", "Occurrences", "log2_fc_stderr"),
        *("concentration_M", "KSOL uncertainty"),
    ],
)
def test_what_may_be_about_another_column_is_asked_for(name: str) -> None:
    with pytest.raises(InputError) as caught:
        chosen("LogD", "KSOL µM", name, ask=True)
    for part in ("--target-columns LogD 'KSOL µM'", name, "t.csv"):
        assert part in str(caught.value)
    # What only describes leaves it out, and says so.
    found, notes = choose_columns(frame("LogD", name), Columns(), "t.csv")
    assert found.targets == ("LogD",)
    assert name in notes[0]
    assert "no measurements" in notes[0]


@pytest.mark.parametrize(
    "name",
    [
        *("LogD", "HLM CLint", "Retention time", "Standardised clearance", "Plasma stability 1 h"),
        *("Caco-2 Permeability Papp A>B", "NR-AhR", "Emax_estimate (log2FC vs. baseline)"),
        *("Density", "CI50", "Terror", "Tm (°C)", "IC50 (nM)", "MDR1 ER", "runs away", "TPSA"),
    ],
)
def test_a_measurement_is_a_task(name: str) -> None:
    assert chosen("other", name, ask=True) == ("other", name)


def test_descriptors_of_the_structure_are_asked_for_where_there_are_several() -> None:
    some = ("MolWt", "MolLogP", "NumHDonors", "TPSA")
    with pytest.raises(InputError, match=r"MolWt, MolLogP, NumHDonors, TPSA.*Columns|likeliest"):
        chosen("Solubility", *some, ask=True)
    assert chosen("Solubility", *some) == ("Solubility",)
    # Alone, they may well be what is wanted.
    assert chosen("TPSA", "QED", ask=True) == ("TPSA", "QED")
    assert chosen(*some) == some


@pytest.mark.parametrize(
    ("config", "keys"),
    [
        (TableConfig, {"time_column": "week", "group_column": "series", "split_type": "time"}),
        (TrainTabularConfig, {"time_column": "week", "split_column": "series"}),
        (TrainAutoConfig, {"modifier_columns": {}, "id_column": "week", "group_column": "series"}),
        (TrainMILConfig, {"weight_columns": ["week"], "id_column": "series"}),
    ],
)
def test_columns_named_as_something_else_are_no_tasks(config, keys, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    frame("LogD", "week", "series", "CL").write_csv(path)
    found, notes = with_tasks(config.model_validate({"data_path": str(path), "data": keys}))
    assert found.data.target_columns == ["LogD", "CL"]
    assert notes[-1] == "Tasks: LogD, CL."
    again, said = with_tasks(found)
    assert (again, said) == (found, [])


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "tasks", "asked"),
    [
        ("expansionrx/expansion_data_train.csv", 9, None),
        ("biogen/ADME_public_set_3521.csv", 6, None),
        ("tox21/tox21.csv.gz", 12, None),
        ("toxcast/toxcast_data.csv.gz", 617, None),
        ("aqsoldb/data_curated.csv", 1, "SD, Occurrences, MolWt"),
        ("pxr/pxr_train.csv", 3, "pEC50_std.error"),
        ("pxr/pxr_screen_train.csv.gz", 2, "concentration_M, log2_fc_stderr"),
    ],
)
def test_tables_of_chemists(name: str, tasks: int, asked: str | None) -> None:
    if not (DATA / name).is_file():
        pytest.skip(f"no admet/{name}: set MOLPOOL_DATA to the folder of the public tables")
    table = read_table(DATA / name)
    assert len(choose_columns(table, Columns(), name)[0].targets) == tasks
    if asked is None:
        assert len(choose_columns(table, Columns(), name, ask=True)[0].targets) == tasks
    else:
        with pytest.raises(InputError) as caught:
            choose_columns(table, Columns(), name, ask=True)
        assert asked in str(caught.value)
