from __future__ import annotations

import hashlib
import json
import re
import runpy
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from mil_attn._attention import (
    export_attention,
    export_attention_page,
    export_attention_sdf,
    leave_one_out,
)
from mil_attn._config import MILConfig
from mil_attn._errors import MILError
from mil_attn._fitting import predict
from mil_attn.data._bag_data import BagData
from mil_attn.training._module import MILModule


@pytest.mark.parametrize("rows_at_once", [3, 1 << 17])
@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_it_is_the_difference_to_the_bag_without_the_instance(
    rows_at_once: int,
    kind: str,
    settings: Callable[..., MILConfig],
    make_data: Callable[..., BagData],
) -> None:
    data = make_data(8, task_kind=kind)
    torch.manual_seed(0)
    members = 1 if kind == "regression" else 2
    module = MILModule.from_data(settings(task_kind=kind, members=members), data).eval()
    found = leave_one_out(module, data, rows_at_once=rows_at_once, batch_size=3)
    logit: Any = (lambda p: np.log(p / (1 - p))) if kind == "classification" else (lambda p: p)
    whole = logit(predict(module, data))
    assert data.instances is not None
    for b in range(8):
        first, last = data.bounds[b : b + 2]
        for i in range(first, last):
            if last - first == 1:
                assert np.isnan(found[i]).all()
                continue
            rest = data.take([b]).replace(
                instances=np.delete(data.instances[first:last], i - first, axis=0),
                offsets=np.array([0, last - first - 1]),
            )
            expected = whole[b] - logit(predict(module, rest))[0]
            # float32 logits, through probabilities and back
            np.testing.assert_allclose(found[i], expected, atol=2e-5 * np.abs(whole).max())


def test_it_wants_instances(
    settings: Callable[..., MILConfig], make_data: Callable[..., BagData]
) -> None:
    data = make_data(8)
    module = MILModule.from_data(settings({"use_3d": False}), data)
    with pytest.raises(MILError, match="3D branch; found one of 2D features alone"):
        leave_one_out(module, data)


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


Written = Callable[..., str]
BROWSER = runpy.run_path(str(Path(__file__).with_name("browser.py")))
ASSETS = files("mil_attn") / "assets"
HOSTILE = "</script><!--<script>alert(1)"


@pytest.fixture
def mols() -> dict[str, Any]:
    """Aspirin-like molecules of 5, 3 and 1 conformers, the second with a hostile name."""
    chem = pytest.importorskip("rdkit.Chem")
    geometry = pytest.importorskip("rdkit.Chem.rdDistGeom")
    made = {}
    for name, smiles, n in (("m1", "c1ccccc1CO", 5), (HOSTILE, "CCCO", 3), ("m3", "C", 1)):
        mol = chem.AddHs(chem.MolFromSmiles(smiles))
        geometry.EmbedMultipleConfs(mol, n, randomSeed=1)
        made[name] = mol
    return made


@pytest.fixture
def frame(mols: dict[str, Any]) -> pl.DataFrame:
    """What `attention_frame` gives of two tasks, with numbers that tell conformers apart."""
    rows = []
    for name, mol in mols.items():
        n = mol.GetNumConformers()
        # Task a prefers the first conformers, task b the last.
        share = np.arange(n, 0, -1) / np.arange(1, n + 1).sum()
        for k in range(n):
            for task, attention in (("a", share[k]), ("b", share[::-1][k])):
                effect = None if n == 1 else (k + 1) * (0.1 if task == "a" else -0.1)
                rows.append((name, f"c{k}", 0.5 * k, task, attention, 0.25, effect))
    columns = [
        *("molecule_id", "conformer_id", "energy", "task", "attention", "prediction", "effect")
    ]
    return pl.DataFrame(rows, schema=columns, orient="row")


def values(page: str) -> Any:
    found = re.search(r'id="attention-data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_each_molecule_has_the_numbers_of_the_frame(
    frame: pl.DataFrame, mols: dict[str, Any], tmp_path: Path
) -> None:
    order = {name: mols[name] for name in ("m3", "m1", HOSTILE)}
    export_attention_page(frame, order, tmp_path / "page.html", title="T & T")
    shown = values((tmp_path / "page.html").read_text())
    assert shown["tasks"] == ["a", "b"]
    assert [m["id"] for m in shown["molecules"]] == list(order)
    for molecule in shown["molecules"]:
        rows = frame.filter(molecule_id=molecule["id"])
        assert molecule["predictions"] == [0.25, 0.25]
        for conformer in molecule["conformers"]:
            of_one = rows.filter(conformer_id=conformer["id"])
            for key in ("attention", "effect"):
                assert conformer[key] == of_one[key].to_list()
            assert conformer["energy"] == of_one["energy"][0]
    assert [c["rank"] for c in shown["molecules"][1]["conformers"]] == [
        [1, 5], [2, 4], [3, 3], [4, 2], [5, 1]
    ]  # fmt: skip


def test_positions_keep_their_shape_and_lie_over_one_another(
    frame: pl.DataFrame, mols: dict[str, Any], tmp_path: Path
) -> None:
    export_attention_page(frame, mols, tmp_path / "page.html")
    (first, *_) = values((tmp_path / "page.html").read_text())["molecules"]
    assert first["smiles"] == "OCc1ccccc1"
    assert first["elements"][:9] == [*"CCCCCCCO", "H"]
    assert sorted(order for *_, order in first["bonds"]).count(2) == 3, "Kekulé's benzene"
    heavy = [i for i, element in enumerate(first["elements"]) if element != "H"]
    placed = []
    for k, conformer in enumerate(first["conformers"]):
        xyz = np.array(conformer["xyz"]).reshape(-1, 3)
        placed.append(xyz[heavy].mean(axis=0))
        before = mols["m1"].GetConformer(k).GetPositions()
        distances = [np.linalg.norm(x[:, None] - x[None], axis=-1) for x in (xyz, before)]
        np.testing.assert_allclose(*distances, atol=4e-3)  # three decimals a coordinate
    np.testing.assert_allclose(placed, [placed[0]] * 5, atol=2e-3)
    assert mols["m1"].GetBondWithIdx(0).GetIsAromatic(), "the caller's molecule is left alone"


def test_the_tasks_take_turns_in_who_is_shown(
    frame: pl.DataFrame, mols: dict[str, Any], tmp_path: Path
) -> None:
    export_attention_page(frame.drop("effect"), mols, tmp_path / "page.html", conformers=2)
    page = (tmp_path / "page.html").read_text()
    first = values(page)["molecules"][0]
    assert first["n"] == 5
    assert [c["id"] for c in first["conformers"]] == ["c0", "c4"]
    assert first["conformers"][0]["effect"] is None
    assert not values(page)["effects"]
    assert "logit" not in page


def test_labels_stand_beside_predictions(
    frame: pl.DataFrame, mols: dict[str, Any], tmp_path: Path
) -> None:
    data = BagData(
        list(mols),
        x2d=np.zeros((3, 1), dtype=np.float32),
        labels=np.array([[1.0, np.nan], [0.0, 1.0], [np.nan, np.nan]]),
        task_names=("b", "a"),
    )
    export_attention_page(frame, mols, tmp_path / "page.html", data=data)
    shown = values((tmp_path / "page.html").read_text())["molecules"]
    assert [m["labels"] for m in shown] == [[None, 1.0], [1.0, 0.0], [None, None]]


def test_it_holds_all_it_needs_and_the_licence(
    frame: pl.DataFrame, mols: dict[str, Any], tmp_path: Path
) -> None:
    export_attention_page(frame, mols, tmp_path / "page.html", title=HOSTILE)
    page = (tmp_path / "page.html").read_text()
    assert "Copyright (c) 2014, University of Pittsburgh and contributors" in page
    assert not re.search(r"<[^>]+(src|href)=.?http|@import", page)
    assert "<!--<script>" not in page
    library = (ASSETS / "3Dmol-min.js").read_bytes()
    notice = (ASSETS / "NOTICE.md").read_text()
    assert hashlib.sha256(library).hexdigest() in notice
    assert "| 2.5.5 |" in notice
    assert b"</script" not in library.lower()
    assert b"<!--" not in library


def test_molecules_that_do_not_fit_are_named(
    frame: pl.DataFrame, mols: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "page.html"
    with pytest.raises(MILError, match=r"expected molecules of the frame, such as 'm1'; .*'other'"):
        export_attention_page(frame, {"other": mols["m1"]}, path)
    with pytest.raises(MILError, match=r"expected 1 conformers of 'm3', .* found 5"):
        export_attention_page(frame, {"m3": mols["m1"]}, path)
    assert not path.exists()


@pytest.mark.slow
@pytest.mark.skipif(not BROWSER["CHROMIUM"], reason="needs Chromium")
def test_in_a_browser_without_network(
    frame: pl.DataFrame, mols: dict[str, Any], tmp_path: Path
) -> None:
    export_attention_page(frame, mols, tmp_path / "page.html")
    with BROWSER["browser"]((tmp_path / "page.html").as_uri(), tmp_path / "profile") as page:
        words = "document.getElementById('viewer').getAttribute('aria-label')"
        names = "[...document.querySelectorAll('.row .name')].map(e => e.textContent)"
        about = "document.getElementById('about').textContent"
        assert page.run("document.querySelectorAll('#viewer canvas').length") == 1
        assert page.run(words).startswith("Conformer c0 of m1, 1 of 5 by attention for a: ")
        assert page.run(words).endswith(
            "attention 0.333, effect +0.100, 0.0 kcal/mol above the lowest."
        )
        before = page.picture()
        # By keyboard alone: another conformer, another task, another molecule.
        page.run("document.querySelector('[name=conformer]:checked').focus()")
        page.press("ArrowDown")
        assert page.run(words).startswith("Conformer c1 of m1, 2 of 5")
        assert page.picture() != before
        page.run("document.querySelector('[name=task]:checked').focus()")
        page.press("ArrowRight")
        assert page.run(names) == ["c4", "c3", "c2", "c1", "c0"]
        assert page.run(words).startswith("Conformer c1 of m1, 4 of 5 by attention for b")
        page.run("document.getElementById('next').click()")
        assert page.run("document.getElementById('molecule').value") == HOSTILE
        assert page.run(about) == "b: prediction 0.250. 3 conformers. CCCO"
        page.run("document.getElementById('next').click()")
        assert page.run(words).endswith("effect –, 0.0 kcal/mol above the lowest.")
        assert page.run("document.getElementById('next').disabled")
        for button in ("[data-turn]", "[data-zoom]", "#reset", "#others", "#hydrogens"):
            page.run(f"document.querySelector('{button}').click()")
        page.dark(True)
        for width in (320, 400, 1100):
            page.size(width)
            assert page.run("document.documentElement.scrollWidth") <= width
        assert page.complaints == []
        assert [url for url in page.requests if not url.startswith("file:")] == []
