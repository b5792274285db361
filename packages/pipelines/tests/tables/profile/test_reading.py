from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from molpool_common import InputError, MoleculeTable, load_config, open_table
from molpool_pipelines.demo import DEMO_NOTICE, DEMO_TASKS, build_demo
from molpool_pipelines.tables import (
    Columns,
    DataConfig,
    TableConfig,
    _molecules,
    load_molecules,
)
from molpool_pipelines.tables.profile._page import describe
from molpool_pipelines.tables.profile._reading import (
    Described,
    read_configured,
    read_named,
)
from sampling_core import DEFAULT_QUALITIES

CSV = """\
smiles,Index,Name,A,B,Empty,Quality
CCO,1,x,0.5,1,,high
CCC,2,y,,0,,low
CCN,3,z,1.5,1,,low
nope,4,w,2.5,1,,low
"""


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    path.write_text(CSV)
    return path


def read(path: Path, **columns: str | tuple[str, ...]) -> Described:
    return read_named(str(path), None, Columns(**columns))  # type: ignore[arg-type]


def test_columns_are_found(csv: Path) -> None:
    described = read(csv)
    table = described.table
    assert described.name == "table.csv"
    assert table.task_names == ("A", "B")
    assert list(table.smiles) == ["CCO", "CCC", "CCN"]
    assert table.quality == ["high", "low", "low"]
    assert table.dropped["SMILES"].to_list() == ["nope"]
    (note,) = described.notes
    assert "all 2 columns of numbers" in note
    assert "number or divide the rows: Index" in note


def test_named_columns_are_used_as_they_are(csv: Path) -> None:
    described = read(csv, targets=("B", "Index"), identity="Name")
    assert described.table.task_names == ("B", "Index")
    assert described.table.origin["id"].to_list() == ["x", "y", "z"]
    assert described.notes == []


def test_parquet_and_a_missing_quality(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    frame = pl.DataFrame({"SMILES": ["C", "CC"], "y": [1.5, None], "Quality": ["high", None]})
    frame.write_parquet(path)
    described = read(path)
    assert described.table.quality is None
    assert described.table.task_names == ("y",)
    assert any("Quality not used: 1 row" in note for note in described.notes)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"smiles": "Smile"}, "--smiles-column.*'Smile'.*'smiles'"),
        ({"targets": ("AA",)}, "--target-columns.*'AA'"),
        ({"quality": "Qality"}, "--quality-column.*'Quality'"),
        ({"identity": "Nme"}, "--id-column.*'Name'"),
        ({"targets": ("Name",)}, "column 'Name'.*a number"),
    ],
)
def test_wrong_columns(csv: Path, columns: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(csv, **columns)


def test_no_column_of_numbers(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("SMILES,Index,Name\nC,1,a\nCC,2,b\nCCC,3,c\n")
    with pytest.raises(InputError, match=r"--target-columns.*Index.*numbers the rows"):
        read(path)


def test_a_missing_file_that_is_no_data_set_either(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file"):
        read(tmp_path / "nothing.csv")


def test_the_demo_by_name() -> None:
    described = read_named("demo", None, Columns())
    table = described.table
    assert described.notes == [DEMO_NOTICE]
    assert (len(table), len(table.task_names)) == (1500, 6)
    assert set(table.quality or []) == {"high", "medium", "low"}


@pytest.mark.parametrize("files", ["*.parquet", ".", "*.csv"])
def test_what_is_counted_some_rows_at_a_time_is_what_the_whole_table_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: str
) -> None:
    demo = build_demo(n=100)
    demo = pl.concat([demo, demo[:30].with_columns(LogP=pl.col("LogP") + 1), demo[40:41]])
    demo = demo.with_columns(
        SMILES=pl.when(pl.arange(0, pl.len()) == 7).then(None).otherwise("SMILES")
    )
    for i, start in enumerate(range(0, len(demo), 60)):
        demo[start : start + 60].write_parquet(tmp_path / f"{i}.parquet")
        demo[start : start + 60].write_csv(tmp_path / f"{i}.csv")
    data = DataConfig(target_columns=list(DEMO_TASKS))
    whole = load_molecules(
        data,
        str(tmp_path / "*.parquet"),
        quality_column="Quality",
        qualities=DEFAULT_QUALITIES,
        on_bad_smiles="drop",
    )
    monkeypatch.setattr("molpool_pipelines.tables._molecules._AT_A_TIME", 23)
    monkeypatch.setattr("molpool_pipelines.tables._columns._CELLS", 500)
    counted = read_named(str(tmp_path / files), None, Columns())
    expected, found = describe(replace(counted, table=whole)), describe(counted)
    assert found.facts() == expected.facts()
    for part in ("tasks", "common", "qualities", "scaffolds", "duplicates", "settings"):
        assert repr(getattr(found, part)) == repr(getattr(expected, part)), part
    assert counted.facts["Missing values"].startswith("SMILES: 1 empty")
    assert found.table.dropped["row"].to_list() == [8]


def test_a_configuration_with_sources(tmp_path: Path, csv: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(
        f"""
training: {{epochs: nonsense}}
data:
  target_columns: [A, B]
  split_type: time
  time_column: not read
  sources:
    - {{path: {csv}, smiles_column: smiles, quality: good, columns: {{A: B}}}}
    - path: {csv}
      smiles_column: smiles
      quality: bad
      columns: {{B: {{column: B, transform: [{{multiply: 2}}]}}}}
"""
    )
    table = read_configured(config, None).table
    assert table.quality == ["good"] * 3 + ["bad"] * 3
    assert table.targets[:3, 0].tolist() == [1, 0, 1]
    assert table.targets[3:, 1].tolist() == [2, 0, 2]


def test_a_configuration_with_one_table_and_a_curriculum(tmp_path: Path, csv: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(
        f"data_path: {csv}\ndata: {{smiles_column: smiles, target_columns: [A]}}\n"
        "joint_sampling: {enabled: true, curriculum: {enabled: true}}\n"
    )
    assert read_configured(config, None).table.quality == ["high", "low", "low"]


@pytest.mark.parametrize(
    "keys",
    [
        "modifier_columns: {A: sign}, transforms: {A: [{multiply: -1}]}",
        "modifier_suffix: ' sign', id_column: Name",
        "transforms: {B: [log10p1]}",
        "",
    ],
)
def test_a_configuration_is_described_as_it_is_trained(tmp_path: Path, keys: str) -> None:
    table = tmp_path / "t.csv"
    table.write_text("smiles,Name,A,A sign,sign,B\nCCO,x,1,<,>,2\nCCC,y,2,,=,\nCCN,z,3,>,,4\n")
    path = tmp_path / "run.yaml"
    path.write_text(
        f"data_path: {table}\ndata: {{smiles_column: smiles, target_columns: [A, B], {keys}}}\n"
    )
    described = read_configured(path, None)
    config = load_config(TableConfig, path)
    trained = load_molecules(config.data, config.data_path)
    for field in fields(MoleculeTable):
        ours, theirs = (getattr(t, field.name) for t in (described.table, trained))
        if field.name == "groups":  # numbers stand for molecules that are only counted
            ours, theirs = (
                np.unique(np.asarray(part), return_inverse=True)[1] for part in (ours, theirs)
            )
            assert len(set(zip(ours, theirs, strict=True))) == len(set(theirs))
        elif isinstance(theirs, pl.DataFrame):
            assert ours.equals(theirs)
        else:
            np.testing.assert_array_equal(ours, theirs)
    assert (trained.censoring is not None) == ("modifier" in keys)
    assert ("A 1 <" in " ".join(described.notes)) == ("modifier" in keys)


@pytest.mark.parametrize(
    ("keys", "used"),
    [
        ("", ["A", "B"]),
        ("modifier_columns: {A: sign}, id_column: Name", ["Name", "A", "sign", "B"]),
        ("modifier_suffix: ' sign', split_column: side", ["A", "A sign", "B", "side"]),
        ("split_type: time, time_column: year, group_column: Name", ["Name", "A", "B"]),
    ],
)
def test_a_configuration_reads_the_columns_that_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: str, used: list[str]
) -> None:
    table, path = tmp_path / "t.csv", tmp_path / "run.yaml"
    table.write_text(
        "smiles,Name,A,A sign,sign,B,side,year,more\n"
        "CCO,x,1,<,>,2,train,2001,\nCCC,y,2,,=,3,test,2002,\n"
    )
    path.write_text(
        f"data_path: {table}\ndata: {{smiles_column: smiles, target_columns: [A, B], {keys}}}\n"
    )
    read: list[Sequence[str] | None] = []

    def spied(*args: Any, names: Sequence[str] | None = None, **kwargs: Any) -> Any:
        read.append(names)
        return open_table(*args, names=names, **kwargs)

    monkeypatch.setattr(_molecules, "open_table", spied)
    read_configured(path, None)
    assert read == [used]


@pytest.mark.parametrize("key", ["id_column: Mame", "group_column: Mame"])
def test_the_nearest_of_all_columns_is_named(tmp_path: Path, key: str) -> None:
    table, path = tmp_path / "t.csv", tmp_path / "run.yaml"
    table.write_text("smiles,Name,A\nCCO,x,1\nCCC,y,2\n")
    path.write_text(
        f"data_path: {table}\ndata: {{smiles_column: smiles, target_columns: [A], {key}}}\n"
    )
    with pytest.raises(InputError, match="'Name'"):
        read_configured(path, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: {target_columns: [A]}\n", "data_path.*none of them"),
        ("data: {dataset: demo, target_columns: [A]}\ndata_path: x.csv\n", "data_path and"),
        ("data: {dataset: demo}\n", "data.target_columns"),
        ("data: {target_colums: [A]}\n", "'target_columns'"),
    ],
)
def test_wrong_configurations(tmp_path: Path, text: str, message: str) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(text)
    with pytest.raises(InputError, match=message):
        read_configured(config, None)
