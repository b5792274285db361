from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from mil_attn.config import MILConfig
from mil_attn.data.bag_data import BagData
from mil_attn.errors import MILError
from mil_attn.explain import leave_one_out
from mil_attn.export import export_attention, export_attention_sdf
from mil_attn.fitting import predict
from mil_attn.training.module import MILModule

MakeData = Callable[..., BagData]


@pytest.fixture
def module(settings: Callable[..., MILConfig], make_data: MakeData) -> MILModule:
    torch.manual_seed(0)
    return MILModule.from_data(settings(), make_data(16))


def test_fault_attention_exported_unnormalised(
    module: MILModule, make_data: MakeData, tmp_path: Path
) -> None:
    data = make_data(40, seed=1)
    frame = export_attention(module, data, tmp_path / "attention")
    sums = frame.group_by("molecule_id", "task").agg(pl.col("attention").sum())["attention"]
    assert len(sums) == 80
    np.testing.assert_allclose(sums.to_numpy(), 1, atol=1e-6)  # float32 softmax
    assert frame["attention"].min() >= 0  # type: ignore[operator]
    # A bag exported alone has the attention that it has beside longer ones.
    alone = export_attention(module, data.take([3]), tmp_path / "alone")
    same = frame.filter(pl.col("molecule_id") == data.ids[3])
    np.testing.assert_allclose(alone["attention"], same["attention"], atol=1e-6)


def test_one_row_a_conformer_and_task_in_both_files(
    module: MILModule, make_data: MakeData, tmp_path: Path
) -> None:
    plain = make_data(5, seed=1)
    m = plain.n_instances
    data = plain.replace(
        instance_ids=[f"c{i}" for i in range(m)], energies=np.r_[np.nan, np.arange(1.0, m)]
    )
    frame = export_attention(module, data, tmp_path / "attention")
    assert frame.columns == [
        *("molecule_id", "conformer_id", "energy", "task", "attention", "prediction", "effect")
    ]
    assert frame.height == 2 * m
    assert frame["energy"].null_count() == 2
    for t, task in enumerate(("a", "b")):
        rows = frame.filter(pl.col("task") == task)
        assert rows["conformer_id"].to_list() == [f"c{i}" for i in range(m)]
        by_bag = rows.group_by("molecule_id", maintain_order=True).first()
        np.testing.assert_allclose(by_bag["prediction"], predict(module, data)[:, t], rtol=1e-6)
        effects = leave_one_out(module, data)[:, t]
        np.testing.assert_array_equal(rows["effect"].fill_null(np.nan).to_numpy(), effects)
    assert pl.read_parquet(tmp_path / "attention.parquet").equals(frame)
    assert pl.read_csv(tmp_path / "attention.csv", schema=frame.schema).equals(frame)


def test_conformers_are_named_by_number_where_they_have_no_names(
    module: MILModule, make_data: MakeData, tmp_path: Path
) -> None:
    data = make_data(5, seed=1)
    frame = export_attention(module, data, tmp_path / "attention", effects=False)
    assert "effect" not in frame.columns
    numbers = frame.filter(pl.col("task") == "a")["conformer_id"].to_list()
    assert numbers == [str(i) for n in data.sizes for i in range(n)]


def test_an_sd_file_has_attention_as_properties(
    module: MILModule, make_data: MakeData, tmp_path: Path
) -> None:
    chem = pytest.importorskip("rdkit.Chem")
    geometry = pytest.importorskip("rdkit.Chem.rdDistGeom")
    data = make_data(3, seed=1)
    frame = export_attention(module, data, tmp_path / "attention")
    mols = {}
    for name, n in zip(data.ids, data.sizes, strict=True):
        mol = chem.AddHs(chem.MolFromSmiles("CCCO"))
        geometry.EmbedMultipleConfs(mol, int(n), randomSeed=1)
        mols[name] = mol
    export_attention_sdf(frame, mols, tmp_path / "attention.sdf")
    entries = list(chem.SDMolSupplier(str(tmp_path / "attention.sdf"), removeHs=False))
    assert len(entries) == data.n_instances
    row = frame.row(2 * 1, named=True)
    second = entries[1]
    assert second.GetProp("_Name") == row["molecule_id"]
    assert second.GetProp("conformer_id") == row["conformer_id"]
    assert float(second.GetProp("attention a")) == pytest.approx(row["attention"], rel=1e-5)
    assert second.HasProp("prediction b")
    again = mols[row["molecule_id"]].GetConformer(1).GetPositions()
    np.testing.assert_allclose(second.GetConformer().GetPositions(), again, atol=1e-4)
    mols[data.ids[0]].RemoveAllConformers()
    with pytest.raises(MILError, match=rf"conformers of '{data.ids[0]}'.*found 0"):
        export_attention_sdf(frame, mols, tmp_path / "other.sdf")
    assert not (tmp_path / "other.sdf").exists()
    with pytest.raises(MILError, match="mols: expected molecules of the frame"):
        export_attention_sdf(frame, {}, tmp_path / "other.sdf")
