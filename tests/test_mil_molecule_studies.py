"""The studies of molecules: what they draw, what trees see, how they compare; that they run."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest
from mil_attn import BagData

STUDIES = Path(__file__).parents[1] / "studies"


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(STUDIES))
    return importlib.import_module("mil_peers")


@pytest.fixture
def euos(peers: ModuleType) -> ModuleType:
    pytest.importorskip("sklearn")
    return importlib.import_module("mil_euos_study")


@pytest.fixture
def qsar(peers: ModuleType) -> ModuleType:
    return importlib.import_module("mil_qsar_study")


@pytest.fixture
def data() -> BagData:
    x = np.array([[1, np.nan], [3, 5], [2, np.nan], [7, 8], [9, 10], [11, 12]], dtype=np.float32)
    return BagData(
        ["a", "b", "c"],
        x,
        np.array([0, 2, 3, 6]),
        energies=np.array([0.0, 1, 0, 0, 2, 3]),
        undefined_ok=True,
    )


def test_trees_see_mean_least_and_largest(peers: ModuleType, data: BagData) -> None:
    nan = np.nan
    expected = [[2, 5, 1, 5, 3, 5], [2, nan, 2, nan, 2, nan], [9, 10, 7, 8, 11, 12]]
    np.testing.assert_array_equal(peers.three_d(data), expected)


def test_the_lowest_conformers_are_the_first_of_each_molecule(
    peers: ModuleType, data: BagData
) -> None:
    found = peers.lowest(data, 2)
    assert found.sizes.tolist() == [2, 1, 2]
    assert found.energies.tolist() == [0, 1, 0, 0, 2]
    assert found.instances[:, 0].tolist() == [1, 3, 2, 7, 9]


def test_drawn_molecules_count_for_the_whole(euos: ModuleType) -> None:
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"ID": np.arange(4000)}).with_columns(
        pl.Series(task, (rng.random(4000) < share).astype(int))
        for task, share in zip(euos.TASKS, (0.1, 0.05, 0.2, 0.01), strict=True)
    )
    found = euos.drawn(frame)
    assert found["weight"].sum() == pytest.approx(4000)
    assert found[euos.RAREST].sum() == frame[euos.RAREST].sum()
    assert found.filter(stratum="none")["weight"].unique().item() == pytest.approx(20, rel=0.02)


def test_areas_weigh_molecules_by_what_they_count_for(euos: ModuleType) -> None:
    # A positive above the negative of weight 3 and below that of weight 1: 3/4 of the pairs.
    frame = pl.DataFrame({"ID": [1, 2, 3], "weight": [1.0, 3.0, 1.0]}).with_columns(
        pl.Series(task, [1, 0, 0] if task == euos.RARE else [0, 0, 0]) for task in euos.TASKS
    )
    row = {"fold": 0, "ids": [3, 2, 1], "p": [[0.9] * 4, [0.1] * 4, [0.5] * 4]}
    auc, ap = euos.scores([row], frame)
    assert auc[1, 0] == pytest.approx(0.75)
    assert ap[1, 0] == pytest.approx(0.5)  # half of the weight at or above it is positive
    assert np.isnan(auc[[0, 2, 3]]).all()


def test_the_sets_nearest_to_the_median_size_of_small_molecules(qsar: ModuleType) -> None:
    pytest.importorskip("rdkit")
    sizes = {"a": (1, 6), "b": (2, 6), "c": (3, 33), "d": (4, 32), "e": (9, 6)}
    names = [name for name, (rows, _) in sizes.items() for _ in range(rows)]
    frame = pl.DataFrame({"dataset": names, "SMILES": ["C" * sizes[name][1] for name in names]})
    # Median size 3, of which the molecules are too large; then b and d by name, a, e.
    assert qsar.chosen_sets(frame, 3) == ["b", "d", "a"]


def test_a_difference_of_errors_resamples_the_same_molecules(qsar: ModuleType) -> None:
    y, p = np.zeros(50), np.full(50, 0.5)
    # Errors of 0.5 and 0.2 on every molecule: the difference does not vary.
    assert qsar.against((y, p), (y, p - 0.3)) == "+0.300 (+0.300 to +0.300)"


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.filterwarnings("ignore:validation. no positive label")
@pytest.mark.parametrize(
    ("name", "table", "count"),
    [
        ("mil_euos_study", "euos25_train.csv.gz", 12),
        ("mil_qsar_study", "mil_qsar_chembl200.csv.gz", 18),
    ],
)
def test_a_study_runs_and_goes_on_where_it_stopped(
    peers: ModuleType,
    name: str,
    table: str,
    count: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for needed in ("lightgbm", "sklearn", "rdkit"):
        pytest.importorskip(needed)
    study = importlib.import_module(name)
    try:
        folder = study.table_folder()
    except SystemExit as reason:
        pytest.skip(str(reason))
    if not (folder / table).exists():
        pytest.skip(f"no mil/{table}: set MOLPOOL_DATA to the folder of the public tables")
    out = tmp_path / "results.jsonl"
    cache = ["--cache", str(tmp_path / "cache")]
    monkeypatch.setattr("sys.argv", ["study", str(out), "--quick", *cache])
    study.main()
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == count
    assert all(np.isfinite(row["p"]).all() for row in rows)
    assert "| LightGBM, 2D | " in capsys.readouterr().out
    study.main()
    assert len(out.read_text().splitlines()) == count
